"""What of a query's hits is new: not yet on the record of what was seen.

Owns no table. Asked for when somebody wants to know, so entries that come cost nothing
(docs/decisions/0026). Rules kept:

- A record holds at most SEEN_KEPT hits, those with the highest ids, and a floor: all
  hits with ids up to it count as seen.
- New hits are gone through oldest first. A page of them, or a search that ran out of
  time, therefore leaves only hits behind that are above everything it dropped.
- Entry ids begin anew when the index is rebuilt: a floor counts only while an entry
  above it is still the one on record.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from fonshare_agent.index.places import Places
from fonshare_agent.index.query import Hit, Query, SearchResult
from fonshare_agent.index.search import Deadline, Row, Scope
from fonshare_agent.index.trigrams import Trigrams

SEEN_KEPT = 500  # hits of one search: some 20 KB in state.db
_ROOT_BYTES = 8  # as much as is indexed: a twin is missed once in 2^64


@dataclass(frozen=True, slots=True)
class Seen:
    """A hit on record: the tag of its public id, its id in the index, its root."""

    tag: int
    entry: int
    root: bytes | None

    @classmethod
    def of(cls, row: Row, tag: int) -> "Seen":
        return cls(tag, row.id, row.root and row.root[:_ROOT_BYTES])


@dataclass(frozen=True, slots=True)
class Record:
    """What was seen: everything up to `floor`, and of what is above it `seen`."""

    floor: int
    seen: tuple[Seen, ...]


class News:
    """Compares queries with records. *clock* is monotonic seconds."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        kept: int = SEEN_KEPT,
        trigrams: Trigrams | None = None,
    ) -> None:
        self._connection, self._clock, self._kept = connection, clock, kept
        self._trigrams = trigrams or Trigrams(connection)

    def everything(self, query: Query, deadline: float | None = None) -> Record:
        """Return a record by which all that matches now was seen."""
        scope = Scope(self._connection, query, self._trigrams)
        places = Places(self._connection)
        seen: list[Seen] = []
        if not scope.can_match:
            return Record(0, ())
        newest = floor = scope.newest()
        with Deadline(self._connection, self._clock, deadline) as guard:
            for row in () if guard.is_over else scope.candidates(1, floor):
                floor = row.id - 1
                if scope.rank(row, places) is not None:
                    seen.append(Seen.of(row, scope.tag(row, places)))
                    if len(seen) == self._kept:
                        return Record(floor, tuple(seen))
        if not guard.is_over:
            return Record(0, tuple(seen))
        # No match in that time: another entry has to show that the floor still counts.
        tag = scope.find_tag(newest) or 0
        return Record(floor, tuple(seen) or (Seen(tag, newest, None),))

    def since(
        self, query: Query, record: Record, limit: int, deadline: float | None = None
    ) -> tuple[SearchResult, Record]:
        """Return the *limit* oldest hits not on *record*, and the record with them.

        A content, or a place, is new once. The newest of the hits is the first.
        """
        scope = Scope(self._connection, query, self._trigrams)
        look = _Look(scope, record, limit)
        if scope.can_match:
            with Deadline(self._connection, self._clock, deadline) as guard:
                if not guard.is_over:
                    look.run()
            look.is_cut = guard.is_over
        places = Places(self._connection)
        hits = tuple(Hit(scope.sources(row, places)) for row in reversed(look.new))
        result = SearchResult(hits, not (look.is_cut or look.is_full), look.is_cut)
        return result, look.record(self._kept)


class _Look:
    """One pass over what lies above a record's floor."""

    def __init__(self, scope: Scope, record: Record, limit: int) -> None:
        self._scope, self._before, self._limit = scope, record, limit
        self._floor = record.floor
        self._seen = {one.tag: one for one in record.seen}
        self._roots = {one.root for one in record.seen if one.root is not None}
        self.new: list[Row] = []
        self.is_full = self.is_cut = False

    def run(self) -> None:
        if not any(map(self._is_there, self._before.seen)):
            self._floor = 0
        places = Places(self._scope.connection)
        newest = self._scope.newest()
        for row in self._scope.candidates(self._floor + 1, newest, oldest_first=True):
            if self._scope.rank(row, places) is None:
                continue
            seen = Seen.of(row, self._scope.tag(row, places))
            if seen.tag not in self._seen and seen.root not in self._roots:
                if len(self.new) == self._limit:
                    self.is_full = True
                    return
                self.new.append(row)
            # Also what was seen before: its id may be another, its root known by now.
            self._seen[seen.tag] = seen
            if seen.root is not None:
                self._roots.add(seen.root)

    def record(self, kept: int) -> Record:
        """Return what was seen by now: of the entries there are the newest *kept*.

        The others lie below the floor. What is gone is remembered only while there is
        room: its id says nothing any more.
        """
        seen = list(self._seen.values())
        if len(seen) > kept or self._floor < self._before.floor:
            seen = [
                one if self._is_there(one) else replace(one, entry=0) for one in seen
            ]
        seen.sort(key=lambda one: (-one.entry, one.tag))
        below = max((one.entry for one in seen[kept:]), default=0)
        return Record(max(self._floor, below), tuple(seen[:kept]))

    def _is_there(self, one: Seen) -> bool:
        return self._scope.find_tag(one.entry) == one.tag
