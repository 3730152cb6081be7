"""The files of the own shares, as the scanner last saw them, and their hashes.

Owns the tables `share` and `own_file`. Rules kept:

- An unchanged file or folder is not written again (index/intake.py).
- What a scan misses is marked first and dropped when the scan is complete, so that a
  moved file hands its root on, and an interrupted scan deletes nothing.
- Each change reaches the own catalogues (`Offers`) in the same transaction.

Runs on the store thread, in batches the caller chooses; nothing here holds a list that
grows with the number of files. It must not touch the disk the files are on.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from fonshare_agent.index.block_lists import BlockLists
from fonshare_agent.index.database import transaction
from fonshare_agent.index.intake import Intake, Work
from fonshare_agent.index.offering import Offering
from fonshare_agent.index.offers import Offers
from fonshare_agent.index.own_folders import FolderIds, FolderPaths, OwnFolders
from fonshare_agent.index.records import FileStamp, Listing, OwnFile, Taken
from fonshare_agent.index.tree import metadata
from fonshare_agent.index.unhashed import keep_queue_behind
from fonshare_agent.model import GroupId, Root, SharePath

_COLUMNS = "id, folder, name, size, mtime_ns, inode, root"


class OwnFiles:
    """What is on the own shares. *offers* is told of every change."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        folders: OwnFolders,
        offers: Offers,
        lists: BlockLists,
    ) -> None:
        self._connection = connection
        self._folders = folders
        self._offers = offers
        self._lists = lists
        self._intake = Intake(connection, lists)

    # --- for the scanner ------------------------------------------------------------

    def take_listings(self, share: str, listings: Sequence[Listing]) -> Taken:
        """Note what the scanner saw."""
        with transaction(self._connection):
            work = self._begin(share)
            if work is None:
                return Taken(set())
            doubtful = [
                listing.folder
                for listing in listings
                if not self._intake.take(work, listing)
            ]
            return Taken(self._end(work), doubtful)

    def drop_gone(self, share: str, limit: int) -> tuple[set[GroupId], bool]:
        """Drop up to *limit* rows of what is marked; the second value: is more left?"""
        with transaction(self._connection):
            work = self._begin(share)
            if work is None:
                return set(), False
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM own_file"
                " WHERE share = ? AND gone IS NOT NULL ORDER BY id LIMIT ?",
                (work.share, limit),
            ).fetchall()
            self._drop_files(work, rows)
            is_more = bool(rows) or self._drop_folder(work, limit)
            return self._end(work), is_more

    def drop_unlisted(self, limit: int) -> bool:
        """Forget up to *limit* files of shares that are no longer in the settings.

        Not before their entries are withdrawn. False if nothing is left to do.
        """
        row = self._connection.execute(
            "SELECT id, name FROM share WHERE NOT listed AND id NOT IN"
            " (SELECT share FROM publication) LIMIT 1"
        ).fetchone()
        if row is None:
            return False
        with transaction(self._connection):
            work = self._work(row[0], row[1], [])
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM own_file WHERE share = ? LIMIT ?",
                (work.share, limit),
            ).fetchall()
            self._drop_files(work, rows)
            if not rows:
                for query in (
                    "DELETE FROM own_folder WHERE share = ?",
                    "DELETE FROM share WHERE id = ?",
                ):
                    self._connection.execute(query, (work.share,))
            self._end(work)
        return True

    # --- hashes ---------------------------------------------------------------------

    def set_root(
        self, file: OwnFile, root: Root, hashes: Sequence[bytes]
    ) -> set[GroupId] | None:
        """Note the content of *file*, unless it changed meanwhile: then None.

        Returns the groups whose catalogue moved.
        """
        with transaction(self._connection):
            row = self._find(file.share, file.path)
            if row is None or _stamp(row) != file.stamp:
                return None
            work = self._begin(file.share)
            assert work is not None
            self._connection.execute(
                "UPDATE own_file SET root = ? WHERE id = ?", (root, row[0])
            )
            if row[6] != root:
                self._lists.forget(row[6])
            self._lists.add(root, hashes)
            place = (work.name, *file.path.parts)
            for offering in work.offerings:
                offering.put(
                    place, metadata(file.stamp.size, file.stamp.mtime_ns, root)
                )
            return self._end(work)

    # --- questions ------------------------------------------------------------------

    def find_file(self, share: str, path: SharePath) -> OwnFile | None:
        row = self._find(share, path)
        if row is None:
            return None
        stamp = _stamp(row)
        return OwnFile(share, path, stamp, None if row[6] is None else Root(row[6]))

    def counts(self, share: str | None = None) -> tuple[int, int]:
        """Return the number and the bytes of the files on all shares, or on one."""
        files, size = self._connection.execute(
            "SELECT coalesce(sum(files), 0), coalesce(sum(bytes), 0) FROM share"
            " WHERE listed AND name = coalesce(?, name)",
            (share,),
        ).fetchone()
        return files, size

    # --- inside ---------------------------------------------------------------------

    def _begin(self, share: str) -> Work | None:
        row = self._connection.execute(
            "SELECT id FROM share WHERE name = ? AND listed", (share,)
        ).fetchone()
        if row is None:
            return None
        return self._work(row[0], share, self._offers.offerings(row[0]))

    def _work(self, number: int, name: str, offerings: list[Offering]) -> Work:
        folders = FolderIds(self._connection, number)
        return Work(number, name.encode(), offerings, folders)

    def _end(self, work: Work) -> set[GroupId]:
        if work.files or work.bytes:
            self._connection.execute(
                "UPDATE share SET files = files + ?, bytes = bytes + ? WHERE id = ?",
                (work.files, work.bytes, work.share),
            )
        return self._offers.close(work.offerings)

    def _drop_files(self, work: Work, rows: Sequence[Any]) -> None:
        paths = FolderPaths(self._connection)
        for number, folder, name, size, _, _, root in rows:
            place = (work.name, *paths.parts(folder), name)
            for offering in work.offerings:
                offering.remove(place)
            self._connection.execute("DELETE FROM own_file WHERE id = ?", (number,))
            self._lists.forget(root)
            work.files -= 1
            work.bytes -= size
        if rows:
            keep_queue_behind(self._connection)

    def _drop_folder(self, work: Work, limit: int) -> bool:
        """Drop what is in a missing folder, deepest first; False if none is missing."""
        row = self._connection.execute(
            "SELECT id FROM own_folder WHERE share = ? AND gone IS NOT NULL"
            " ORDER BY id DESC LIMIT 1",
            (work.share,),
        ).fetchone()
        if row is None:
            return False
        deeper = self._connection.execute(
            "UPDATE own_folder SET gone = 1 WHERE share = ? AND parent = ?"
            " AND gone IS NULL",
            (work.share, row[0]),
        )
        if deeper.rowcount:
            return True
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM own_file WHERE share = ? AND folder = ? LIMIT ?",
            (work.share, row[0], limit),
        ).fetchall()
        self._drop_files(work, rows)
        if not rows:
            self._connection.execute("DELETE FROM own_folder WHERE id = ?", row)
        return True

    def _find(self, share: str, path: SharePath) -> Any:
        found = self._folders.locate(share, path.parts[:-1])
        return (
            found
            and self._connection.execute(
                f"SELECT {_COLUMNS} FROM own_file WHERE share = ? AND folder = ?"
                " AND name = ? AND gone IS NULL",
                (*found, path.name),
            ).fetchone()
        )


def _stamp(row: Any) -> FileStamp:
    """Return the stamp in a row of _COLUMNS."""
    return FileStamp(inode=row[5], size=row[3], mtime_ns=row[4])
