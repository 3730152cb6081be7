"""Folders and entries of the catalogues, own ones and copies alike.

Owns the tables `folder` and `entry` and keeps them in step: every entry has its
folders, with their tags; a folder without content goes. An entry's trigrams come later,
but go with it (index/trigrams.py). A `Tree` lives for one transaction, because it
remembers folders. It must not know who numbers or sends the changes, nor what may be
offered to whom.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fonshare_agent.index.records import id_digest, id_tag
from fonshare_agent.index.text import fold_name
from fonshare_agent.index.trigrams import Trigrams
from fonshare_agent.model import GroupId, NodeId, Root

Parts = tuple[bytes, ...]

# What friends are told of an own file. Times before 1970 cannot be sent.
OFFERED = "name, size, max(0, mtime_ns / 1000000000), root"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an entry says about its file."""

    size: int
    modified: int
    root: Root | None


def metadata(size: int, mtime_ns: int, root: bytes | None) -> Metadata:
    """Return what friends are told; times before 1970 cannot be sent."""
    seconds = max(0, mtime_ns // 1_000_000_000)
    return Metadata(size, seconds, Root(root) if root is not None else None)


@dataclass(slots=True)
class _Folder:
    id: int
    text: str = ""  # see `_text`; "" until it is asked for
    is_new: bool = False  # made in this transaction, and nothing put into it


def _insert(rows: int) -> str:
    """Return what adds that many files to one folder."""
    values = (
        f"(?1, ?2, ?{at}, ?{at + 1}, ?{at + 2}, ?{at + 3})"
        for at in range(3, 3 + 4 * rows, 4)
    )
    columns = "catalogue, folder, name, size, modified, root"
    return f"INSERT INTO entry ({columns}) VALUES {', '.join(values)}"


# As in index/intake.py: a row in a long statement costs a third of one in its own.
_INSERTS = {rows: _insert(rows) for rows in (64, 16, 4, 1)}
_NAMED = f"folder = ? AND name IN ({', '.join('?' * 64)})"


class Tree:
    """One catalogue's tree within one transaction. *place* begins with the share."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalogue: int,
        group: GroupId,
        member: NodeId,
        weigh: Callable[[Parts], int] = lambda place: 1,
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._weigh = weigh
        self._group, self._member = group, member
        self._folders: dict[Parts, _Folder] = {}
        self._trigrams = Trigrams(connection)
        self._frontier = self._trigrams.frontier()
        self.added = 0  # weights more (or less) than at the beginning

    def put(self, place: Parts, data: Metadata, seq: int | None) -> bool:
        """Add the file at *place*, or note what is new about it; False if nothing."""
        folder = self._make_folder(place[:-1])
        name = place[-1]
        values = (data.size, data.modified, data.root)
        # Most are new, so the insert is tried first.
        cursor = self._connection.execute(
            "INSERT INTO entry"
            " (catalogue, folder, name, size, modified, root, seq)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (self._catalogue, folder.id, name, *values, seq),
        )
        if cursor.rowcount != 1:
            return self._update(folder.id, name, values, seq)
        folder.is_new = False
        self.added += self._weigh(place)
        return True

    def put_all(self, place: Parts, files: Mapping[bytes, Metadata]) -> None:
        """Do as `put` for all *files* of the folder *place*, by few statements."""
        folder, names = self._make_folder(place), list(files)
        known: set[bytes] = set()
        if not folder.is_new:
            for at in range(0, len(names), 64):
                some = names[at : at + 64]
                rows = self._connection.execute(
                    f"SELECT name FROM entry WHERE {_NAMED}",
                    (folder.id, *some, *[None] * (64 - len(some))),
                )
                known.update([name for (name,) in rows])
        for name in known:
            one = files[name]
            values = (one.size, one.modified, one.root)
            self._update(folder.id, name, values, None)
        fresh = [name for name in names if name not in known] if known else names
        self._add(folder.id, fresh, files)
        folder.is_new = folder.is_new and not fresh
        self.added += sum([self._weigh((*place, name)) for name in fresh])

    def _add(
        self, folder: int, names: Sequence[bytes], files: Mapping[bytes, Metadata]
    ) -> None:
        at = 0
        for rows, statement in _INSERTS.items():
            while len(names) - at >= rows:
                values: list[object] = [self._catalogue, folder]
                for name in names[at : at + rows]:
                    one = files[name]
                    values += (name, one.size, one.modified, one.root)
                self._connection.execute(statement, values)
                at += rows

    def put_own(
        self, place: Parts, first: int, last: int, seq: int | None
    ) -> int | None:
        """Add the own files *first* to *last*, all in the folder *place*.

        *seq* is the number of *first*. Returns the id of its entry, the others' follow;
        None if some are there already: then nothing is done.
        """
        folder = self._make_folder(place)
        if not folder.is_new and self._has_some(folder.id, first, last):
            return None
        cursor = self._connection.execute(
            "INSERT INTO entry (catalogue, folder, name, size, modified, root, seq)"
            f" SELECT ?3, ?4, {OFFERED}, ?5 + id - ?1 FROM own_file"
            " WHERE id BETWEEN ?1 AND ?2",
            (first, last, self._catalogue, folder.id, seq),
        )
        folder.is_new = False
        self.added += cursor.rowcount
        return (cursor.lastrowid or 0) - cursor.rowcount + 1

    def _has_some(self, folder: int, first: int, last: int) -> bool:
        """Tell whether a name of the own files *first* to *last* is in *folder*."""
        (has_some,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM own_file o CROSS JOIN entry e"
            " ON e.folder = ?1 AND e.name = o.name WHERE o.id BETWEEN ?2 AND ?3)",
            (folder, first, last),
        ).fetchone()
        return bool(has_some)

    def _update(
        self,
        folder: int,
        name: bytes,
        values: tuple[int, int, Root | None],
        seq: int | None,
    ) -> bool:
        cursor = self._connection.execute(
            "UPDATE entry SET size = ?1, modified = ?2, root = ?3, seq = ?4"
            " WHERE folder = ?5 AND name = ?6"
            " AND (size, modified, root) IS NOT (?1, ?2, ?3)",
            (*values, seq, folder, name),
        )
        return cursor.rowcount == 1

    def find(self, place: Parts) -> Metadata | None:
        """Return what the catalogue says about the file at *place*."""
        folder = self._find_folder(place[:-1])
        row = (
            folder
            and self._connection.execute(
                "SELECT size, modified, root FROM entry WHERE folder = ? AND name = ?",
                (folder.id, place[-1]),
            ).fetchone()
        )
        return Metadata(*row) if row else None

    def remove(self, place: Parts) -> bool:
        """Remove the file at *place* and the folders it leaves empty."""
        folder, name = self._find_folder(place[:-1]), place[-1]
        row = (
            folder
            and self._connection.execute(
                "SELECT id FROM entry WHERE folder = ? AND name = ?", (folder.id, name)
            ).fetchone()
        )
        if not folder or not row:
            return False
        if row[0] <= self._frontier:
            self._trigrams.remove(row[0], self._text(place[:-1]), name)
        self._connection.execute("DELETE FROM entry WHERE id = ?", (row[0],))
        self.added -= self._weigh(place)
        self._drop_empty(place[:-1])
        return True

    def remove_some(self, place: Parts, limit: int) -> list[Parts]:
        """Remove up to *limit* files below the folder *place* and return where.

        An empty answer means that nothing is left there; `()` is the whole catalogue.
        """
        removed: list[Parts] = []
        while len(removed) < limit and (leaf := self._find_leaf(place)):
            names = self._connection.execute(
                "SELECT name FROM entry WHERE folder = ? LIMIT ?",
                (self._folders[leaf].id, limit - len(removed)),
            ).fetchall()
            places = [(*leaf, name) for (name,) in names]
            for gone in places:
                self.remove(gone)
            removed += places
            self._drop_empty(leaf)
        return removed

    def close(self) -> None:
        """Note in the catalogue what came or went."""
        if self.added:
            self._connection.execute(
                "UPDATE catalogue SET entries = entries + ? WHERE id = ?",
                (self.added, self._catalogue),
            )

    def _tag(self, place: Parts) -> int:
        share, path = place[0], b"/".join(place[1:])
        return id_tag(id_digest("folder", self._group, self._member, share, path))

    def _find_folder(self, place: Parts) -> _Folder | None:
        known = self._folders.get(place)
        if known is not None:
            return known
        parent = self._find_folder(place[:-1]) if len(place) > 1 else None
        if len(place) > 1 and parent is None:
            return None
        row = self._connection.execute(
            "SELECT id FROM folder WHERE catalogue = ? AND parent = ? AND name = ?",
            (self._catalogue, parent.id if parent else 0, place[-1]),
        ).fetchone()
        if row is None:
            return None
        found = self._folders[place] = _Folder(row[0])
        return found

    def _make_folder(self, place: Parts) -> _Folder:
        known = self._folders.get(place)
        if known is not None:
            return known
        parent = self._make_folder(place[:-1]).id if len(place) > 1 else 0
        # Where many are made most are new, so the insert is tried first.
        cursor = self._connection.execute(
            "INSERT INTO folder (catalogue, parent, name, tag) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (self._catalogue, parent, place[-1], self._tag(place)),
        )
        if cursor.rowcount == 1:
            made = self._folders[place] = _Folder(cursor.lastrowid or 0, is_new=True)
            return made
        found = self._find_folder(place)
        assert found is not None
        return found

    def _text(self, place: Parts) -> str:
        """Return the names of a known folder, folded, each with a `/` after it."""
        folder = self._folders[place]
        if not folder.text:
            above = self._text(place[:-1]) if len(place) > 1 else ""
            folder.text = f"{above}{fold_name(place[-1])}/"
        return folder.text

    def _find_leaf(self, place: Parts) -> Parts | None:
        """Return a folder at or below *place* that has no folders in it."""
        folder = self._find_folder(place) if place else None
        if place and folder is None:
            return None
        row = self._connection.execute(
            "SELECT name FROM folder WHERE catalogue = ? AND parent = ? LIMIT 1",
            (self._catalogue, folder.id if folder else 0),
        ).fetchone()
        return self._find_leaf((*place, row[0])) if row else place or None

    def _drop_empty(self, place: Parts) -> None:
        while place:
            folder = self._find_folder(place)
            if folder is None or self._has_content(folder.id):
                return
            self._connection.execute("DELETE FROM folder WHERE id = ?", (folder.id,))
            del self._folders[place]
            place = place[:-1]

    def _has_content(self, folder: int) -> bool:
        (has_content,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE folder = ?1) OR EXISTS"
            " (SELECT 1 FROM folder WHERE catalogue = ?2 AND parent = ?1)",
            (folder, self._catalogue),
        ).fetchone()
        return bool(has_content)
