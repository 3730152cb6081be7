"""Searches and browses what all members offer, this node included.

Owns no table: it reads `catalogue`, `folder`, `entry` and `search`, of the catalogues
shown only. Rules kept: at most one page is in memory; a search ends at its deadline
with what it has; words are data, never query syntax; the trigram index only proposes,
a hit counts once every word was found in the folded names themselves.
"""

import base64
import binascii
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from fonshare_agent.index.records import (
    Found,
    Kind,
    SearchResult,
    id_digest,
    id_tag,
    id_text,
)
from fonshare_agent.index.text import Matcher, fold_name, match_expression, split_words
from fonshare_agent.model import EntryId, GroupId, NodeId, Root, SharePath

PAGE = 200  # rows fetched at a time where more may be wanted
PROGRESS_STEPS = 2000  # SQLite instructions between two looks at the clock: < 1 ms
FOLDERS_KEPT = 512  # paths remembered during one call

_FILE = (
    "SELECT e.folder, e.name, e.size, e.modified, e.root, c.grp, c.member, c.own"
    " FROM entry e JOIN catalogue c ON c.id = e.catalogue"
)
_SHOWN = (
    "c.state = 'shown' AND (?1 IS NULL OR c.grp = ?1) AND (?2 IS NULL OR c.member = ?2)"
)


class Finder:
    """Read-only questions about all catalogues. *clock* is monotonic seconds."""

    def __init__(
        self, connection: sqlite3.Connection, clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._clock = clock

    def search(
        self,
        words: str,
        *,
        group: GroupId | None = None,
        member: NodeId | None = None,
        limit: int = 100,
        deadline: float | None = None,
    ) -> SearchResult:
        """Return the files whose share, folders and name hold all of *words*.

        Newest first. Ends at *deadline* (on the clock) with what was found so far.
        """
        wanted = split_words(words)
        if not wanted or limit <= 0:
            return SearchResult((), is_complete=True)
        found: list[Found] = []
        try:
            with _Deadline(self._connection, self._clock, deadline):
                for hit in self._hits(wanted, group, member):
                    if len(found) == limit:
                        return SearchResult(tuple(found), is_complete=False)
                    found.append(hit)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return SearchResult(tuple(found), is_complete=False)
        return SearchResult(tuple(found), is_complete=True)

    def browse(
        self,
        *,
        group: GroupId | None = None,
        member: NodeId | None = None,
        share: str | None = None,
        folder: SharePath | None = None,
        limit: int = PAGE,
        after: Found | None = None,
    ) -> list[Found]:
        """Return one level of the tree: the shares, or what is in one folder.

        Folders come first, then files, each in the order of their bytes. The next page
        begins after the last line of this one, given as *after*. Inside a share, group
        and member must both be given.
        """
        if share is None:
            return self._shares(group, member, limit, after)
        assert group is not None
        assert member is not None
        place = (share.encode(), *(folder.parts if folder else ()))
        number = self._locate(group, member, place)
        if number is None:
            return []
        found: list[Found] = []
        if after is None or after.kind == "folder":
            names = self._child_folders(number, after.name if after else b"", limit)
            found = [
                self._found_folder(group, member, (*place, name), own)
                for _, name, own in names
            ]
        name = after.name if after is not None and after.kind == "file" else b""
        files = self._files_in(number, name, limit - len(found))
        return found + [self._found_file(row, place) for row in files]

    def get(self, entry: EntryId) -> Found | None:
        """Return what the public id *entry* names, if it is shown now."""
        tag = _tag_of(entry)
        if tag is None:
            return None
        paths = _Places(self._connection)
        for row in self._connection.execute(
            _FILE + " WHERE e.tag = ? AND c.state = 'shown'", (tag,)
        ):
            found = self._found_file(row, paths.place(row[0]))
            if found.id == entry:
                return found
        for number, group, member, own in self._connection.execute(
            "SELECT f.id, c.grp, c.member, c.own FROM folder f"
            " JOIN catalogue c ON c.id = f.catalogue"
            " WHERE f.tag = ? AND c.state = 'shown'",
            (tag,),
        ):
            found = self._found_folder(group, member, paths.place(number), own)
            if found.id == entry:
                return found
        return None

    def resolve(
        self, group: GroupId, member: NodeId, share: str, path: SharePath | None
    ) -> Found | None:
        """Return the file, folder or share at that place, if it is shown now."""
        place = (share.encode(), *(path.parts if path else ()))
        if path is not None:
            parent = self._locate(group, member, place[:-1])
            row = (
                parent
                and self._connection.execute(
                    _FILE + " WHERE e.folder = ? AND e.name = ?", (parent, path.name)
                ).fetchone()
            )
            if row:
                return self._found_file(row, place[:-1])
        number = self._locate(group, member, place)
        if number is None:
            return None
        (own,) = self._connection.execute(
            "SELECT c.own FROM folder f JOIN catalogue c ON c.id = f.catalogue"
            " WHERE f.id = ?",
            (number,),
        ).fetchone()
        return self._found_folder(group, member, place, own)

    def walk(
        self, top: Found, after: SharePath | None = None, limit: int = PAGE
    ) -> list[Found]:
        """Return the next files below the folder or share *top*.

        *after* is the path of the last file of the page before; an empty page is the
        end. The order is fixed by the names alone, so pages fit together even if the
        catalogue changes in between.
        """
        place = (top.share.encode(), *(top.path.parts if top.path else ()))
        number = self._locate(top.group, top.member, place)
        if number is None:
            return []
        rest = after.parts[len(place) - 1 :] if after else ()
        return list(islice(self._walk(number, place, rest), limit))

    def sources(
        self, group: GroupId, root: Root, exclude: frozenset[NodeId] = frozenset()
    ) -> list[NodeId]:
        """Return the members of *group* that offer content of *root*."""
        rows = self._connection.execute(
            "SELECT DISTINCT c.member FROM entry e JOIN catalogue c"
            " ON c.id = e.catalogue WHERE substr(e.root, 1, 8) = substr(?1, 1, 8)"
            " AND e.root = ?1 AND c.grp = ?2 AND c.state = 'shown' ORDER BY c.id",
            (root, group),
        )
        return [NodeId(member) for (member,) in rows if member not in exclude]

    def find_offer(self, group: GroupId, member: NodeId, root: Root) -> Found | None:
        """Return a file by which *member* offers content of *root* to *group*."""
        paths = _Places(self._connection)
        for row in self._connection.execute(
            _FILE + " WHERE substr(e.root, 1, 8) = substr(?1, 1, 8) AND e.root = ?1"
            " AND c.grp = ?2 AND c.member = ?3 AND c.state = 'shown' LIMIT 1",
            (root, group, member),
        ):
            return self._found_file(row, paths.place(row[0]))
        return None

    # --- search ---------------------------------------------------------------------

    def _hits(
        self, words: Sequence[str], group: GroupId | None, member: NodeId | None
    ) -> Iterator[Found]:
        expression = match_expression(words)
        if expression is None:
            # Signs alone, as `%`: no trigram helps, so the names are gone through.
            rows = self._connection.execute(
                f"{_FILE} WHERE {_SHOWN} ORDER BY e.id DESC", (group, member)
            )
        else:
            rows = self._connection.execute(
                f"{_FILE} JOIN search ON search.rowid = e.id"
                f" WHERE search MATCH ?3 AND {_SHOWN} ORDER BY search.rowid DESC",
                (group, member, expression),
            )
        matcher, paths = Matcher(words), _Places(self._connection)
        for row in rows:
            if matcher.matches(paths.text(row[0]) + fold_name(row[1])):
                yield self._found_file(row, paths.place(row[0]))

    # --- the tree -------------------------------------------------------------------

    def _shares(
        self,
        group: GroupId | None,
        member: NodeId | None,
        limit: int,
        after: Found | None,
    ) -> list[Found]:
        key = (after.group, after.member, after.name) if after else (b"", b"", b"")
        rows = self._connection.execute(
            "SELECT c.grp, c.member, f.name, c.own FROM catalogue c"
            " JOIN folder f ON f.catalogue = c.id AND f.parent = 0"
            f" WHERE {_SHOWN} AND (c.grp, c.member, f.name) > (?3, ?4, ?5)"
            " ORDER BY c.grp, c.member, f.name LIMIT ?6",
            (group, member, *key, limit),
        )
        return [
            self._found_folder(grp, node, (name,), own) for grp, node, name, own in rows
        ]

    def _locate(
        self, group: GroupId, member: NodeId, place: Sequence[bytes]
    ) -> int | None:
        row = self._connection.execute(
            "SELECT id FROM catalogue WHERE grp = ? AND member = ? AND state = 'shown'",
            (group, member),
        ).fetchone()
        if row is None:
            return None
        catalogue, number = row[0], 0
        for name in place:
            row = self._connection.execute(
                "SELECT id FROM folder WHERE catalogue = ? AND parent = ? AND name = ?",
                (catalogue, number, name),
            ).fetchone()
            if row is None:
                return None
            number = row[0]
        return int(number)

    def _child_folders(
        self, number: int, after: bytes, limit: int
    ) -> list[tuple[int, bytes, int]]:
        return self._connection.execute(
            "SELECT f.id, f.name, c.own FROM folder f"
            " JOIN catalogue c ON c.id = f.catalogue WHERE f.parent = ?1"
            " AND f.catalogue = (SELECT catalogue FROM folder WHERE id = ?1)"
            " AND f.name > ?2 ORDER BY f.name LIMIT ?3",
            (number, after, limit),
        ).fetchall()

    def _files_in(self, number: int, after: bytes, limit: int) -> list[Any]:
        return self._connection.execute(
            _FILE + " WHERE e.folder = ? AND e.name > ? ORDER BY e.name LIMIT ?",
            (number, after, limit),
        ).fetchall()

    def _walk(
        self, number: int, place: tuple[bytes, ...], after: Sequence[bytes]
    ) -> Iterator[Found]:
        """Yield a folder's files, then what its folders hold, from *after* on."""
        name = b""
        if len(after) <= 1:
            name = after[0] if after else b""
            while rows := self._files_in(number, name, PAGE):
                for row in rows:
                    yield self._found_file(row, place)
                name = rows[-1][1]
            name = b""
        else:
            name = after[0]
            child = self._child_folders_named(number, name)
            if child is not None:
                yield from self._walk(child, (*place, name), after[1:])
        while children := self._child_folders(number, name, PAGE):
            for child, name, _ in children:
                yield from self._walk(child, (*place, name), ())

    def _child_folders_named(self, number: int, name: bytes) -> int | None:
        row = self._connection.execute(
            "SELECT id FROM folder WHERE parent = ?1 AND name = ?2"
            " AND catalogue = (SELECT catalogue FROM folder WHERE id = ?1)",
            (number, name),
        ).fetchone()
        return None if row is None else int(row[0])

    # --- results --------------------------------------------------------------------

    def _found_file(self, row: Any, place: Sequence[bytes]) -> Found:
        _, name, size, modified, root, group, member, own = row
        path = SharePath((*place[1:], name))
        return Found(
            id=id_text(id_digest("file", group, member, place[0], path.raw)),
            kind="file",
            group=group,
            member=member,
            share=place[0].decode(),
            path=path,
            size=size,
            modified=modified,
            root=root,
            own=bool(own),
        )

    def _found_folder(
        self, group: GroupId, member: NodeId, place: Sequence[bytes], own: int
    ) -> Found:
        kind: Kind = "folder" if len(place) > 1 else "share"
        path = SharePath(tuple(place[1:])) if len(place) > 1 else None
        raw = path.raw if path else b""
        return Found(
            id=id_text(id_digest(kind, group, member, place[0], raw)),
            kind=kind,
            group=group,
            member=member,
            share=place[0].decode(),
            path=path,
            size=0,
            modified=0,
            root=None,
            own=bool(own),
        )


class _Deadline:
    """Interrupts SQLite when the time is over; also a search that finds nothing."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        deadline: float | None,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._deadline = deadline

    def __enter__(self) -> None:
        if self._deadline is not None:
            self._connection.set_progress_handler(self._is_over, PROGRESS_STEPS)

    def __exit__(self, *_: object) -> None:
        self._connection.set_progress_handler(None, 0)

    def _is_over(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline


class _Places:
    """Places and folded texts of folders, a bounded number remembered."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[int, tuple[tuple[bytes, ...], str]] = {}

    def place(self, folder: int) -> tuple[bytes, ...]:
        return self._look_up(folder)[0]

    def text(self, folder: int) -> str:
        return self._look_up(folder)[1]

    def _look_up(self, folder: int) -> tuple[tuple[bytes, ...], str]:
        known = self._known.get(folder)
        if known is None:
            parent, name = self._connection.execute(
                "SELECT parent, name FROM folder WHERE id = ?", (folder,)
            ).fetchone()
            above, text = self._look_up(parent) if parent else ((), "")
            if len(self._known) >= FOLDERS_KEPT:
                self._known.clear()
            known = ((*above, name), f"{text}{fold_name(name)}/")
            self._known[folder] = known
        return known


def _tag_of(entry: str) -> int | None:
    try:
        return id_tag(base64.b32decode(entry.upper()))
    except (binascii.Error, ValueError):
        return None
