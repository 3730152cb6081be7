"""Counts what scans found missing in a share and nobody has dropped yet.

Reads the marks of `own_file` and `own_folder`, and carries a folder's mark on to the
folders in it. Runs on the store thread, a batch at a time.
"""

import sqlite3
from dataclasses import dataclass

from fonshare_agent.index.database import transaction

FOLDERS = 100  # looked at in one batch
FILES = 10_000  # marks counted in one batch; only an index is read


@dataclass(slots=True)
class Tally:
    """How far a count has come; `is_complete` when `files` is the whole number."""

    share: str
    files: int = 0
    is_complete: bool = False
    after_file: int | None = 0  # None: those are counted
    after_folder: int = 0


class Missing:
    """The marked rows of each share."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def count_some(self, tally: Tally) -> None:
        """Carry *tally* on by one batch."""
        row = self._connection.execute(
            "SELECT id FROM share WHERE name = ?", (tally.share,)
        ).fetchone()
        if row is None:
            tally.is_complete = True
        elif tally.after_file is not None:
            self._count_files(row[0], tally)
        else:
            self._count_folders(row[0], tally)

    def _count_files(self, share: int, tally: Tally) -> None:
        count, last = self._connection.execute(
            "SELECT count(*), max(id) FROM (SELECT id FROM own_file"
            " WHERE share = ? AND gone IS NOT NULL AND id > ? ORDER BY id LIMIT ?)",
            (share, tally.after_file, FILES),
        ).fetchone()
        tally.files += count
        tally.after_file = last

    def _count_folders(self, share: int, tally: Tally) -> None:
        """One pass upwards meets all: a folder's id is higher than its parent's."""
        with transaction(self._connection):
            for _ in range(FOLDERS):
                row = self._connection.execute(
                    "SELECT min(id) FROM own_folder"
                    " WHERE share = ? AND gone IS NOT NULL AND id > ?",
                    (share, tally.after_folder),
                ).fetchone()
                if row[0] is None:
                    tally.is_complete = True
                    return
                tally.after_folder = row[0]
                tally.files += self._count_in(share, row[0])

    def _count_in(self, share: int, folder: int) -> int:
        self._connection.execute(
            "UPDATE own_folder SET gone = 1"
            " WHERE share = ? AND parent = ? AND gone IS NULL",
            (share, folder),
        )
        (count,) = self._connection.execute(
            "SELECT count(*) FROM own_file"
            " WHERE share = ? AND folder = ? AND gone IS NULL",
            (share, folder),
        ).fetchone()
        return int(count)
