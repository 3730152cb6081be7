"""Which own files wait to be hashed, in the order of the disk.

A scan that finds many files leaves them as they are, behind the queue's end
(`hash_queue.upto`); they are put into the queue in batches before hashing goes on.
Rules kept:

- Every file without a root whose id is not beyond the end is queued. It may stay so
  when it has a root: the index that is the queue has only those that have none.
- New files have ids beyond the end; SQLite gives the highest one and one more, so the
  end goes back when the highest ones are dropped.

Runs on the store thread. It must not know what hashing is.
"""

import sqlite3

from fonshare_agent.index.database import transaction
from fonshare_agent.index.own_folders import FolderPaths
from fonshare_agent.index.records import UNHASHED_START, FileStamp, OwnFile
from fonshare_agent.model import SharePath

OnDisk = tuple[int, int]  # folder and number of a file: the order of the disk
Queued = tuple[OwnFile, OnDisk]


class Unhashed:
    """The queue of files without a root."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def queue_some(self, limit: int) -> bool:
        """Look at up to *limit* files beyond the end; False if there are none."""
        (upto,) = self._connection.execute("SELECT upto FROM hash_queue").fetchone()
        (last,) = self._connection.execute(
            "SELECT max(id) FROM"
            " (SELECT id FROM own_file NOT INDEXED WHERE id > ? ORDER BY id LIMIT ?)",
            (upto, limit),
        ).fetchone()
        if last is None:
            return False
        with transaction(self._connection):
            # Those marked as gone as well: they may be back.
            self._connection.execute(
                "UPDATE own_file SET queued = 1"
                " WHERE id > ? AND id <= ? AND root IS NULL",
                (upto, last),
            )
            self._connection.execute("UPDATE hash_queue SET upto = ?", (last,))
        return True

    def next(self, after: OnDisk = UNHASHED_START) -> Queued | None:
        """Return the next queued file of a published share.

        The second value is what to give as *after* next time.
        """
        folder, number = after
        # Two questions, each a seek: SQLite seeks by the first column of a pair only.
        for condition, values in (
            ("o.folder = ? AND o.id > ?", (folder, number)),
            ("o.folder > ?", (folder,)),
        ):
            row = self._connection.execute(
                "SELECT o.id, o.folder, o.name, o.size, o.mtime_ns, o.inode,"
                " (SELECT name FROM share WHERE id = o.share)"
                " FROM own_file o INDEXED BY own_file_unhashed"
                " WHERE o.queued IS NOT NULL AND o.root IS NULL AND o.gone IS NULL"
                f" AND {condition} AND o.share IN"
                " (SELECT share FROM publication WHERE state != 'removing')"
                " ORDER BY o.folder, o.id LIMIT 1",
                values,
            ).fetchone()
            if row is not None:
                number, folder, name, size, mtime_ns, inode, share = row
                parts = FolderPaths(self._connection).parts(folder)
                stamp = FileStamp(inode=inode, size=size, mtime_ns=mtime_ns)
                file = OwnFile(share, SharePath((*parts, name)), stamp, None)
                return file, (folder, number)
        return None


def keep_queue_behind(connection: sqlite3.Connection) -> None:
    """Move the end back to the highest id; to be called when files were dropped."""
    connection.execute(
        "UPDATE hash_queue SET upto = (SELECT coalesce(max(id), 0) FROM own_file)"
        " WHERE upto > (SELECT coalesce(max(id), 0) FROM own_file)"
    )
