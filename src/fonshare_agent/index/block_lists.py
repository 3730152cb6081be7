"""The block hashes behind the roots of own files, kept in pages.

Owns the table `block_page`. A list is kept as long as any own file has that content.
Runs on the store thread, inside the caller's transaction.
"""

import sqlite3
from collections.abc import Sequence

from fonshare_agent.model import Root
from fonshare_agent.protocol.content import HASH_BYTES

PAGE_HASHES = 256  # block hashes in a row: 8 KiB


class BlockLists:
    """Block hashes by root."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, root: Root, hashes: Sequence[bytes]) -> None:
        """Keep *hashes*, which the caller has computed; known ones stay."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO block_page (root, page, hashes) VALUES (?, ?, ?)",
            (
                (root, at // PAGE_HASHES, b"".join(hashes[at : at + PAGE_HASHES]))
                for at in range(0, len(hashes), PAGE_HASHES)
            ),
        )

    def read(self, root: Root, first: int, count: int) -> list[bytes]:
        """Return up to *count* hashes from number *first* on."""
        last = first + count - 1
        pages = self._connection.execute(
            "SELECT hashes FROM block_page WHERE root = ? AND page BETWEEN ? AND ?"
            " ORDER BY page",
            (root, first // PAGE_HASHES, last // PAGE_HASHES),
        )
        raw = b"".join(page for (page,) in pages)
        start = (first % PAGE_HASHES) * HASH_BYTES
        end = min(len(raw), start + count * HASH_BYTES)
        return [raw[at : at + HASH_BYTES] for at in range(start, end, HASH_BYTES)]

    def forget(self, root: bytes | None) -> None:
        """Drop the hashes of *root* unless an own file still has this content."""
        if root is None:
            return
        self._connection.execute(
            "DELETE FROM block_page WHERE root = ?1 AND NOT EXISTS (SELECT 1"
            " FROM own_file WHERE substr(root, 1, 4) = substr(?1, 1, 4)"
            " AND root = ?1)",
            (root,),
        )
