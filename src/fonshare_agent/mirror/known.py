"""What a mirror has copied, file by file: a database beside the node's own.

One for each mirror, in STATE/mirrors/. Lost or damaged it costs a comparison of what
lies there, never a file: what is not noted here is the owner's. Used by one process at
a time, which is short-lived; a path is its raw bytes below the mirror's folder.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from fonshare_agent.mirror.decide import Known, Local
from fonshare_agent.transfer.fxp_listing import Entry

ROWS_AT_ONCE: Final = 256
_COLUMNS: Final = "size, modified, stamp, local_size, local_modified, missed"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS files (
  path BLOB PRIMARY KEY, size INTEGER, modified BLOB, stamp BLOB,
  local_size INTEGER, local_modified INTEGER, missed INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS partials (
  path BLOB PRIMARY KEY, size INTEGER, modified BLOB, held INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fresh (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE seen (path BLOB PRIMARY KEY) WITHOUT ROWID;
"""


class KnownFiles:
    """The open database of one reading; it ends with the block.

    What a reading has seen is in memory: where nothing has changed nothing is written.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._open(file)
        except sqlite3.DatabaseError:
            # Half written by a power cut, or of a disk that failed: begin anew.
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    file.with_name(file.name + suffix).unlink()
            self._open(file)

    def _open(self, file: Path) -> None:
        self._base = sqlite3.connect(file, isolation_level=None)
        try:
            # What a power cut takes of it is found out by comparing: no sync for each.
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.execute("PRAGMA temp_store = MEMORY")
            self._base.executescript(_TABLES)
        except sqlite3.DatabaseError:
            self._base.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    # --- files ----------------------------------------------------------------------

    def find(self, path: bytes) -> Known | None:
        """Return what is noted of *path*."""
        row = self._base.execute(
            f"SELECT {_COLUMNS} FROM files WHERE path = ?", (path,)
        ).fetchone()
        return None if row is None else _known(row)

    def note(self, path: bytes, known: Known) -> None:
        """Note that *path* is here; it counts as seen in this reading."""
        local = known.local
        values = (known.size, known.modified, known.stamp, local.size)
        with self._base:
            self._base.execute("BEGIN")
            self._base.execute(
                "INSERT OR IGNORE INTO fresh SELECT ?1"
                " WHERE NOT EXISTS (SELECT 1 FROM files WHERE path = ?1)",
                (path,),
            )
            self._base.execute(
                f"REPLACE INTO files (path, {_COLUMNS}) VALUES (?,?,?,?,?,?,?)",
                (path, *values, local.modified_ns, known.missed),
            )
        self._base.execute("INSERT OR IGNORE INTO seen VALUES (?)", (path,))

    def see(self, paths: list[bytes]) -> None:
        """The server has these paths, whatever becomes of them here."""
        rows = [(path,) for path in paths]
        with self._base:
            self._base.execute("BEGIN")
            self._base.executemany("INSERT OR IGNORE INTO seen VALUES (?)", rows)
            self._base.executemany(
                "UPDATE files SET missed = 0 WHERE path = ? AND missed > 0", rows
            )

    def see_below(self, folder: bytes) -> None:
        """Nobody could look below *folder*: what it held counts as there."""
        self._base.execute(
            "INSERT OR IGNORE INTO seen"
            " SELECT path FROM files WHERE path >= ? AND path < ?",
            (folder + b"/", folder + b"0"),  # 0 follows the slash
        )

    def forget(self, path: bytes) -> None:
        self._base.execute("DELETE FROM files WHERE path = ?", (path,))

    def miss(self, path: bytes) -> None:
        """A complete listing lacked *path*."""
        self._base.execute(
            "UPDATE files SET missed = missed + 1 WHERE path = ?", (path,)
        )

    def count(self) -> tuple[int, int]:
        """Return how many files are here, and their bytes."""
        row = self._base.execute("SELECT count(*), total(size) FROM files").fetchone()
        return row[0], int(row[1])

    def count_missing(self) -> int:
        """Return how many of them this reading has not seen."""
        row = self._base.execute(
            "SELECT count(*) FROM files WHERE path NOT IN seen"
        ).fetchone()
        return int(row[0])

    def count_settled(self) -> tuple[int, int]:
        """Return how many came before the last `settle`, and are missing of these."""
        row = self._base.execute(
            "SELECT count(*), total(path NOT IN seen) FROM files"
            " WHERE path NOT IN fresh"
        ).fetchone()
        return row[0], int(row[1])

    def settle(self) -> None:
        """A complete listing was believed: what is here is what was there before."""
        if self._base.execute("SELECT 1 FROM fresh LIMIT 1").fetchone():
            self._base.execute("DELETE FROM fresh")

    def missing(self) -> Iterator[tuple[bytes, Known]]:
        """Yield what this reading has not seen; rows may be forgotten meanwhile."""
        after = b""
        while True:
            rows = self._base.execute(
                f"SELECT path, {_COLUMNS} FROM files WHERE path > ?"
                " AND path NOT IN seen ORDER BY path LIMIT ?",
                (after, ROWS_AT_ONCE),
            ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield from ((row[0], _known(row[1:])) for row in rows)

    # --- partials -------------------------------------------------------------------

    def hold(self, path: bytes, entry: Entry, held: int) -> None:
        """*held* bytes of that file are safely on the disk."""
        self._base.execute(
            "REPLACE INTO partials VALUES (?,?,?,?)",
            (path, entry.size, entry.modified, held),
        )

    def held(self, path: bytes, entry: Entry) -> int:
        """Return how much of that very file is on the disk, 0 if nothing."""
        row = self._base.execute(
            "SELECT size, modified, held FROM partials WHERE path = ?", (path,)
        ).fetchone()
        if row is None or (row[0], row[1]) != (entry.size, entry.modified):
            return 0
        return int(row[2])

    def let_go(self, path: bytes) -> None:
        self._base.execute("DELETE FROM partials WHERE path = ?", (path,))

    def partials(self) -> list[bytes]:
        """Return the paths that partials are kept of."""
        rows = self._base.execute("SELECT path FROM partials").fetchall()
        return [row[0] for row in rows]


def _known(row: tuple[int, bytes | None, bytes | None, int, int, int]) -> Known:
    size, modified, stamp, local_size, local_modified, missed = row
    return Known(size, modified, stamp, Local(local_size, local_modified), missed)
