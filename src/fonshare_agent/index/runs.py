"""Entries that came together, numbered as a row instead of one by one.

Owns the table `entry_run`. An entry's number is its own `seq`; where that is NULL, the
run in which its id lies tells it. Of a run's entries those that were removed, or were
numbered again since, no longer count. Runs on the store thread.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any

RUN_LEAST = 8  # entries; fewer get numbers of their own, so that runs stay few
_NO_END = (1 << 63) - 1  # no number is as high


@dataclass(slots=True)
class _Run:
    seq: int  # of the first entry
    entry: int  # its id
    count: int


class Runs:
    """The runs of one own catalogue within one transaction."""

    def __init__(self, connection: sqlite3.Connection, catalogue: int) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._run: _Run | None = None  # the last one; written by `close`

    def add(self, seq: int, entry: int, count: int) -> None:
        """Number *count* entries from the id *entry* on, beginning with *seq*."""
        run = self._run or self._last()
        if run and (seq, entry) == (run.seq + run.count, run.entry + run.count):
            run.count += count
        else:
            self.close()
            run = _Run(seq, entry, count)
        self._run = run

    def close(self) -> None:
        """Write what is not written yet."""
        if self._run is not None:
            self._connection.execute(
                "INSERT INTO entry_run (catalogue, seq, entry, count)"
                " VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET count = excluded.count",
                (self._catalogue, self._run.seq, self._run.entry, self._run.count),
            )
            self._run = None

    def _last(self) -> _Run | None:
        row = self._connection.execute(
            "SELECT seq, entry, count FROM entry_run"
            " WHERE catalogue = ? ORDER BY seq DESC LIMIT 1",
            (self._catalogue,),
        ).fetchone()
        return _Run(*row) if row else None


def entries_after(
    connection: sqlite3.Connection, catalogue: int, after: int, limit: int
) -> list[Any]:
    """Return entries with their numbers beyond *after*; see the query for the columns.

    The *limit* lowest are among them; they are in no order.
    """
    rows = connection.execute(
        "SELECT seq, folder, name, size, modified, root FROM entry"
        " WHERE catalogue = ? AND seq > ? ORDER BY seq LIMIT ?",
        (catalogue, after, limit),
    ).fetchall()
    # Runs beyond the last of these are of a later page. Most of a run may be numbered
    # again since: to look through it for each page would take long.
    end = rows[-1][0] if len(rows) == limit else _NO_END
    runs = connection.execute(
        "SELECT seq, entry, count FROM entry_run WHERE catalogue = ?1 AND seq >="
        " (SELECT coalesce(max(seq), 0) FROM entry_run"
        "  WHERE catalogue = ?1 AND seq <= ?2) AND seq < ?3 ORDER BY seq",
        (catalogue, after, end),
    )
    room = limit
    for seq, entry, count in runs:
        first = entry + max(0, after + 1 - seq)
        last = entry + min(count, end - seq) - 1
        some = connection.execute(
            "SELECT ?1 + id - ?2, folder, name, size, modified, root FROM entry"
            " WHERE id BETWEEN ?3 AND ?4 AND seq IS NULL ORDER BY id LIMIT ?5",
            (seq, entry, first, last, room),
        ).fetchall()
        rows += some
        room -= len(some)
        if not room:
            break
    return rows
