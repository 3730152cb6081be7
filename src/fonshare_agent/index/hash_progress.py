"""How far the hashing of large files has come, so that a restart goes on inside them.

Owns the tables `hashing` and `hashing_page`. What is kept counts only while the file's
stamp is the same; another one begins anew. A few files at most are kept: one is hashed
in the background, others were asked for. Runs on the store thread.
"""

import sqlite3

from fonshare_agent.index.block_lists import PAGE_HASHES
from fonshare_agent.index.database import transaction
from fonshare_agent.index.records import OwnFile
from fonshare_agent.model import SharePath
from fonshare_agent.protocol.content import HASH_BYTES

FILES_KEPT = 8  # the oldest goes first; it is hashed from its start then


class HashProgress:
    """The block hashes of files that have no root yet."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load(self, file: OwnFile) -> list[bytes]:
        """Return the hashes of the first blocks of *file*, as far as they are known."""
        number = self._find(file)
        if number is None:
            return []
        pages = self._connection.execute(
            "SELECT hashes FROM hashing_page WHERE hashing = ? ORDER BY page", (number,)
        )
        raw = b"".join(page for (page,) in pages)
        return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]

    def save(self, file: OwnFile, hashes: list[bytes], kept: int) -> None:
        """Keep *hashes*, of which the first *kept* were kept before."""
        with transaction(self._connection):
            number = self._find(file)
            if number is None:
                number, kept = self._begin(file), 0
            for at in range(kept - kept % PAGE_HASHES, len(hashes), PAGE_HASHES):
                self._connection.execute(
                    "INSERT OR REPLACE INTO hashing_page VALUES (?, ?, ?)",
                    (
                        number,
                        at // PAGE_HASHES,
                        b"".join(hashes[at : at + PAGE_HASHES]),
                    ),
                )

    def forget(self, share: str, path: SharePath) -> None:
        """The file is hashed: its list is kept under its root."""
        row = self._connection.execute(
            "SELECT id FROM hashing WHERE share = ? AND path = ?", (share, path.raw)
        ).fetchone()
        if row is not None:
            with transaction(self._connection):
                self._drop(row[0])

    def _find(self, file: OwnFile) -> int | None:
        stamp = file.stamp
        row = self._connection.execute(
            "SELECT id FROM hashing WHERE share = ? AND path = ?"
            " AND inode = ? AND size = ? AND mtime_ns = ?",
            (file.share, file.path.raw, stamp.inode, stamp.size, stamp.mtime_ns),
        ).fetchone()
        return None if row is None else int(row[0])

    def _begin(self, file: OwnFile) -> int:
        old = self._connection.execute(
            "SELECT id FROM hashing WHERE (share = ? AND path = ?) OR id <="
            " (SELECT max(id) FROM hashing) - ?",
            (file.share, file.path.raw, FILES_KEPT - 1),
        ).fetchall()
        for (number,) in old:
            self._drop(number)
        stamp = file.stamp
        cursor = self._connection.execute(
            "INSERT INTO hashing (share, path, inode, size, mtime_ns)"
            " VALUES (?, ?, ?, ?, ?)",
            (file.share, file.path.raw, stamp.inode, stamp.size, stamp.mtime_ns),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _drop(self, number: int) -> None:
        for table, column in (("hashing_page", "hashing"), ("hashing", "id")):
            self._connection.execute(
                f"DELETE FROM {table} WHERE {column} = ?", (number,)
            )
