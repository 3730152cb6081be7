"""Searches page by page: sorted, each content once, within a time and little memory.

Owns no table; search.py tells what matches. Rules kept:

- A search runs in slices, between which others use the database; it ends at its
  deadline with what it has.
- In memory are one window's hits, or two pages', whatever the number of matches.
- A cursor holds the highest id there was when the first page was made, and the sort key
  of its row: what comes later is not in later pages, what goes leaves no gap.
- A content of several members is one hit, where the one of its matching entries that
  came last stands (Scope.has_newer_twin).

By relevance (docs/decisions/0025) hits are sorted within windows of WINDOW entries, the
newest window first, since sorting all the hits of a common word takes seconds. The
other orders do look at all hits.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from fonshare_agent.index import cursors
from fonshare_agent.index.places import Places
from fonshare_agent.index.query import Hit, Order, Query, SearchResult
from fonshare_agent.index.search import Deadline, Row, Scope
from fonshare_agent.index.text import fold_name
from fonshare_agent.index.trigrams import Trigrams
from fonshare_agent.model import GroupId, NodeId

WINDOW = 100  # entries: two pages; some 2 ms natively for a word that is everywhere

Key = tuple[int, int | str, int]  # the last one is the id, negative


class _Candidate(NamedTuple):
    key: Key  # no two have the same: it ends with the id
    row: Row


class Search:
    """One search under way; *run* it until it says that it has ended."""

    def __init__(self, scope: Scope, clock: Callable[[], float], limit: int) -> None:
        self._scope, self._clock, self._limit = scope, clock, limit
        self._wanted = limit + 1  # one more tells whether there is more
        self._page: list[_Candidate] = []
        self._is_cut = self._was_interrupted = False
        self._has_ended = not scope.can_match or limit <= 0
        self._places = Places(scope.connection)

    def run(self, deadline: float | None = None, until: float | None = None) -> bool:
        """Go on to the end, to *deadline*, which ends it, or for now to *until*."""
        if self._was_interrupted:  # others may have changed the folders
            self._places = Places(self._scope.connection)
        while not self._has_ended:
            is_through = False
            with Deadline(self._scope.connection, self._clock, deadline) as guard:
                is_through = not guard.is_over and self._look(until)
            self._judge()
            if guard.is_over:
                self._has_ended = self._is_cut = True
            elif not is_through:
                self._was_interrupted = True
                return False
            self._settle()
        return True

    def result(self) -> SearchResult:
        """Return the page, when the search has ended."""
        scope, shown = self._scope, self._page[: self._limit]
        rows = [one.row for one in shown]
        if self._was_interrupted:
            rows = [row for one in rows if (row := scope.find_again(one)) is not None]
        self._places.load([row.folder for row in rows])
        hits = [Hit(scope.sources(row, self._places)) for row in rows]
        is_complete = not self._is_cut and len(self._page) <= self._limit
        return SearchResult(
            tuple(hits),
            is_complete,
            self._is_cut,
            None if is_complete else self._more(shown),
        )

    # --- what the orders differ in ---

    def _look(self, until: float | None) -> bool:
        """Look at candidates; False if *until* came first."""
        raise NotImplementedError

    def _judge(self) -> None:
        """Keep of the candidates those that match, before others use the database."""

    def _settle(self) -> None:
        """Take what was looked at into the page; say whether that is the end."""
        raise NotImplementedError

    def _cursor(self, one: _Candidate) -> str:
        raise NotImplementedError

    def _more(self, shown: list[_Candidate]) -> str | None:
        return self._cursor(shown[-1]) if shown else None

    def _is_late(self, until: float | None) -> bool:
        return until is not None and self._clock() >= until


@dataclass(slots=True)
class _Window:
    """Entries from *high* down, sorted together; *after*: the key shown last."""

    high: int
    low: int | None = None  # where it ended before, if it was looked at before
    after: Key | None = None
    looked_at: int = 0
    next: int = field(init=False)  # the id to look at next
    rows: list[Row] = field(default_factory=list)  # proposed and not yet judged
    hits: list[_Candidate] = field(default_factory=list)
    newest: dict[bytes, int] = field(default_factory=dict)  # root: id of the first

    def __post_init__(self) -> None:
        self.next = self.high


class _ByRelevance(Search):
    """Window after window; within each the best matches first, then the newest."""

    def __init__(
        self,
        scope: Scope,
        clock: Callable[[], float],
        limit: int,
        after: str | None,
        window: int,
    ) -> None:
        super().__init__(scope, clock, limit)
        self._window_size, self._after = window, after
        self._bounds: dict[Key, tuple[int, int]] = {}  # the window of what is shown
        if after is None:
            self._top = scope.newest()
            self._window = _Window(self._top)
        else:
            self._top, high, low, *key = _integers(after, Order.RELEVANCE.value, 6)
            rank, modified, number = key
            is_old = low > 0
            self._window = _Window(
                high,
                low if is_old else None,
                (rank, modified, number) if is_old else None,
            )

    def _look(self, until: float | None) -> bool:
        window = self._window
        low = window.low or 1
        for row in self._scope.candidates(low, window.next):
            window.rows.append(row)
            window.next = row.id - 1
            window.looked_at += 1
            if window.low is None and window.looked_at >= self._window_size:
                return True
            if self._is_late(until):
                return False
        window.next = low - 1
        return True

    def _judge(self) -> None:
        window, rows, places = self._window, self._window.rows, self._places
        places.load([row.folder for row in rows])
        for row in rows:
            rank = self._scope.rank(row, places)
            if rank is None:
                continue
            if row.root is not None:
                window.newest.setdefault(row.root, row.id)
            key = (rank, -row.modified, -row.id)
            window.hits.append(_Candidate(key, row))
        rows.clear()

    def _settle(self) -> None:
        window = self._window
        if self._is_cut and window.low is not None:
            return  # part of it was shown before: it can only be taken whole
        low = window.next + 1
        for one in sorted(window.hits):
            if len(self._page) == self._wanted:
                break
            if window.after is not None and one.key <= window.after:
                continue
            if not self._is_doubled(one):
                self._page.append(one)
                self._bounds[one.key] = window.high, low
        self._window = _Window(low - 1)
        self._has_ended |= low <= 1 or len(self._page) == self._wanted

    def _is_doubled(self, one: _Candidate) -> bool:
        window, scope, row = self._window, self._scope, one.row
        if row.root is None:
            return False
        has_newer = window.newest[row.root] > row.id or (
            window.high < self._top
            and scope.has_newer_twin(window.high, row.root, self._top)
        )
        return has_newer and scope.has_other_members(row)

    def _cursor(self, one: _Candidate) -> str:
        values = (self._top, *self._bounds[one.key], *one.key)
        return cursors.write(Order.RELEVANCE.value, *values)

    def _more(self, shown: list[_Candidate]) -> str | None:
        if shown:
            return self._cursor(shown[-1])
        if self._window.low is not None:
            return self._after
        values = (self._top, self._window.high, 0, 0, 0, 0)
        return cursors.write(Order.RELEVANCE.value, *values)


class _ByKey(Search):
    """All hits are looked at, those of one page kept."""

    def __init__(
        self,
        scope: Scope,
        clock: Callable[[], float],
        limit: int,
        after: str | None,
        order: Order,
    ) -> None:
        super().__init__(scope, clock, limit)
        self._order = order
        self._after: Key | None = None
        if after is None:
            self._top = scope.newest()
        elif order is Order.NAME:
            top, number, text, row_id = cursors.read(after, "name", int, int, str, int)
            self._top, self._after = int(top), (int(number), str(text), int(row_id))
        else:
            self._top, *key = _integers(after, order.value, 4)
            self._after = (key[0], key[1], key[2])
        self._next = self._top
        self._first: set[Key] = set()  # of the page: no newer twin
        self._worst: Key | None = None  # of a full page

    def _look(self, until: float | None) -> bool:
        for row in self._scope.candidates(1, self._next):
            if self._scope.rank(row, self._places) is not None:
                self._take(row)
            self._next = row.id - 1
            if self._is_late(until):
                return False
        return True

    def _take(self, row: Row) -> None:
        key = self._key(row)
        if self._after is not None and key <= self._after:
            return
        if self._worst is not None and key >= self._worst:
            return
        self._page.append(_Candidate(key, row))
        if len(self._page) >= 2 * self._wanted:
            self._shrink()

    def _key(self, row: Row) -> Key:
        match self._order:
            case Order.NEWEST:
                return -row.modified, 0, -row.id
            case Order.SIZE:
                return -row.size, 0, -row.id
            case _:
                return 0, fold_name(row.name), -row.id

    def _shrink(self) -> None:
        """Keep the best of one page, each content by its newest entry."""
        kept: list[_Candidate] = []
        for one in sorted(self._page):
            if len(kept) == self._wanted:
                break
            if one.key in self._first or not self._is_doubled(one):
                kept.append(one)
        self._page = kept
        self._first = {one.key for one in kept}
        self._worst = kept[-1].key if len(kept) == self._wanted else None

    def _is_doubled(self, one: _Candidate) -> bool:
        scope, row = self._scope, one.row
        return (
            row.root is not None
            and scope.has_newer_twin(row.id, row.root, self._top)
            and scope.has_other_members(row)
        )

    def _settle(self) -> None:
        self._shrink()
        self._has_ended = True

    def _cursor(self, one: _Candidate) -> str:
        return cursors.write(self._order.value, self._top, *one.key)

    def _more(self, shown: list[_Candidate]) -> str | None:
        # What was not looked at may belong before this page: it would be lost.
        return None if self._is_cut else super()._more(shown)


def _integers(cursor: str, first: str, count: int) -> list[int]:
    return [int(one) for one in cursors.read(cursor, first, *[int] * count)]


class Finder:
    """Searches the catalogues shown. *clock* is monotonic seconds."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        window: int = WINDOW,
        trigrams: Trigrams | None = None,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._window = window
        self._trigrams = trigrams or Trigrams(connection)

    def begin(
        self,
        query: Query,
        order: Order | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Search:
        """Return a search to be run; UsageError if *after* is no cursor of this order.

        Nothing is found for no words; None is by relevance.
        """
        scope = Scope(self._connection, query, self._trigrams)
        if order in (None, Order.RELEVANCE):
            return _ByRelevance(scope, self._clock, limit, after, self._window)
        return _ByKey(scope, self._clock, limit, after, order)

    def search(
        self,
        words: str,
        group: GroupId | None,
        member: NodeId | None,
        limit: int,
        deadline: float | None,
    ) -> SearchResult:
        """Return the best files whose share, folders and name hold all of *words*.

        Ends at *deadline* (on the clock) with what was found so far.
        """
        groups = None if group is None else frozenset([group])
        search = self.begin(Query(words, groups, member), limit=limit)
        search.run(deadline)
        return search.result()
