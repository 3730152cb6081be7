"""Takes in what the scanner saw in a folder, and writes what is new about it.

Writes `own_file` within the caller's transaction. Rules kept:

- An unchanged folder costs one reading of its rows and no write.
- New files are written together, and reach each catalogue by one statement which copies
  the rows inside SQLite: Python handles a new file once, as a row to insert.
- A file whose inode, size and time are known with a root has that content: it was moved
  or linked, and is not read again.

Memory: one listing. It must not know who reads the folders, nor the groups.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from fonshare_agent.index.block_lists import BlockLists
from fonshare_agent.index.offering import Offering
from fonshare_agent.index.own_folders import FolderIds
from fonshare_agent.index.records import FileStamp, Listing, SeenFile
from fonshare_agent.index.tree import Parts, metadata
from fonshare_agent.model import Root

_NAME, _SIZE, _INODE = itemgetter(0), itemgetter(1), itemgetter(3)


@dataclass(slots=True)
class Work:
    """One share's changes within one transaction; what it now has more or less."""

    share: int
    name: bytes
    offerings: list[Offering]
    folders: FolderIds
    files: int = 0
    bytes: int = 0
    has_roots: bool | None = None  # any file at all; None: not asked yet


def _insert(rows: int) -> str:
    """Return what inserts that many files of one folder."""
    values = (
        f"(?1, ?2, ?{at}, ?{at + 1}, ?{at + 2}, ?{at + 3})"
        for at in range(3, 3 + 4 * rows, 4)
    )
    columns = "share, folder, name, size, mtime_ns, inode"
    return f"INSERT INTO own_file ({columns}) VALUES {', '.join(values)}"


# A row in a long statement costs a third of one in a statement of its own. Few lengths,
# since each is prepared and kept.
_INSERTS = {rows: _insert(rows) for rows in (64, 32, 16, 8, 4, 1)}


class Intake:
    """Takes listings in."""

    def __init__(self, connection: sqlite3.Connection, lists: BlockLists) -> None:
        self._connection = connection
        self._lists = lists

    def take(self, work: Work, listing: Listing) -> bool:
        """Note one listing; False if the index knows more there than was seen."""
        folder = work.folders.make(listing.folder)
        for name in listing.folders:
            work.folders.make((*listing.folder, name))
        if work.folders.is_empty(folder):
            work.folders.note_filled(folder)
            files = list(listing.files)
            if len(set(map(_NAME, files))) < len(files):
                # A folder that changes while it is read may show a name twice.
                files = list({file[0]: file for file in files}.values())
            self._add(work, folder, listing.folder, files)
            return True
        if listing.total is None or len(listing.files) < listing.total[0]:
            unlike = self._unlike_named(work, folder, listing.files)
            self._take_unlike(work, folder, listing.folder, unlike)
            if listing.total is None:
                return True
            live = self._count_files(work, folder)
        else:
            unlike, live = self._unlike_any(work, folder, listing.files)
            live += self._take_unlike(work, folder, listing.folder, unlike)
        return listing.total == (live, work.folders.count_in(folder))

    # --- what is like it was --------------------------------------------------------

    def _unlike_any(
        self, work: Work, folder: int, files: Sequence[SeenFile]
    ) -> tuple[set[SeenFile], int]:
        """Return those of a whole folder's files that the index has not just so.

        The second value is how many files it has.
        """
        unlike, live = set(files), 0
        for row in self._connection.execute(
            "SELECT name, size, mtime_ns, inode FROM own_file"
            " WHERE share = ? AND folder = ? AND gone IS NULL",
            (work.share, folder),
        ):
            live += 1
            unlike.discard(row)
        return unlike, live

    def _unlike_named(
        self, work: Work, folder: int, files: Sequence[SeenFile]
    ) -> set[SeenFile]:
        """Return those of *files* that the index has not just so."""
        rows = self._named(
            "name, size, mtime_ns, inode", work, folder, files, "AND gone IS NULL"
        )
        return set(files).difference(rows)

    def _named(
        self,
        columns: str,
        work: Work,
        folder: int,
        files: Sequence[SeenFile],
        condition: str = "",
    ) -> sqlite3.Cursor:
        places = ",".join("?" * len(files))
        return self._connection.execute(
            f"SELECT {columns} FROM own_file WHERE share = ? AND folder = ?"
            f" AND name IN ({places}) {condition}",
            (work.share, folder, *map(_NAME, files)),
        )

    def _count_files(self, work: Work, folder: int) -> int:
        (files,) = self._connection.execute(
            "SELECT count(*) FROM own_file WHERE share = ? AND folder = ?"
            " AND gone IS NULL",
            (work.share, folder),
        ).fetchone()
        return int(files)

    # --- what is not ----------------------------------------------------------------

    def _take_unlike(
        self, work: Work, folder: int, parts: Parts, unlike: set[SeenFile]
    ) -> int:
        """Take files that are new or changed; return how many the folder has more."""
        if not unlike:
            return 0
        seen = {file[0]: file for file in unlike}
        columns = "name, id, size, mtime_ns, inode, root, gone"
        known = self._named(columns, work, folder, list(seen.values())).fetchall()
        more = 0
        for name, *row in known:
            self._change(work, parts, seen.pop(name), row)
            more += row[-1] is not None
        if seen:
            self._add(work, folder, parts, list(seen.values()))
        return more + len(seen)

    def _change(
        self, work: Work, parts: Parts, file: SeenFile, row: Sequence[Any]
    ) -> None:
        number, *known, root, _ = row
        name, *now = file
        if known == now:
            self._connection.execute(
                "UPDATE own_file SET gone = NULL WHERE id = ?", (number,)
            )
            return
        size, mtime_ns, inode = now
        fresh = self._root_of(FileStamp(inode, size, mtime_ns))
        self._connection.execute(
            "UPDATE own_file SET size = ?, mtime_ns = ?, inode = ?, root = ?,"
            " queued = 1, gone = NULL WHERE id = ?",
            (*now, fresh, number),
        )
        self._lists.forget(root)
        work.bytes += size - known[0]
        place = (work.name, *parts, name)
        for offering in work.offerings:
            offering.put(place, metadata(size, mtime_ns, fresh))

    def _add(
        self, work: Work, folder: int, parts: Parts, files: list[SeenFile]
    ) -> None:
        if not files:
            return
        files.sort(key=_INODE)  # they are hashed in the order of their ids
        last = 0
        for rows in _cut(files):
            values: list[Any] = [work.share, folder, *chain.from_iterable(rows)]
            # For bytes, unlike these, sqlite3 looks for an adapter, which takes longer.
            values[2::4] = map(bytearray, values[2::4])
            last = self._connection.execute(_INSERTS[len(rows)], values).lastrowid or 0
        # One after another, since nobody else writes: SQLite counts on from the last.
        first = last - len(files) + 1
        # None is there unless one was before: roots are handed on, and given elsewhere.
        if work.has_roots is None:
            work.has_roots = self._has_roots()
        if work.has_roots:
            self._inherit_roots(first, last)
        work.files += len(files)
        work.bytes += sum(map(_SIZE, files))
        for offering in work.offerings:
            offering.put_files((work.name, *parts), first, last)

    def _inherit_roots(self, first: int, last: int) -> None:
        """Give new files that were moved or linked the root they had."""
        known = (
            "FROM own_file AS old WHERE old.inode = own_file.inode AND old.inode != 0"
            " AND old.size = own_file.size AND old.mtime_ns = own_file.mtime_ns"
            " AND old.root IS NOT NULL"
        )
        self._connection.execute(
            f"UPDATE own_file SET root = (SELECT old.root {known} LIMIT 1)"
            f" WHERE id BETWEEN ? AND ? AND EXISTS (SELECT 1 {known})",
            (first, last),
        )

    def _has_roots(self) -> bool:
        (has_roots,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM own_file INDEXED BY own_file_inode"
            " WHERE root IS NOT NULL)"
        ).fetchone()
        return bool(has_roots)

    def _root_of(self, stamp: FileStamp) -> Root | None:
        if not stamp.inode:
            return None
        row = self._connection.execute(
            "SELECT root FROM own_file WHERE inode = ? AND size = ?"
            " AND mtime_ns = ? AND root IS NOT NULL LIMIT 1",
            (stamp.inode, stamp.size, stamp.mtime_ns),
        ).fetchone()
        return Root(row[0]) if row else None


def _cut(files: Sequence[SeenFile]) -> Iterator[Sequence[SeenFile]]:
    """Yield *files* in parts for which there is a statement."""
    at = 0
    for length in _INSERTS:
        while len(files) - at >= length:
            yield files[at : at + length]
            at += length
