"""Searches what all members offer, this node included.

Owns no table: it reads `search` and the catalogues shown. Rules kept: a search ends at
its deadline with what it has; words are data, never query syntax; the trigram index
only proposes, a hit counts once every word was found in the folded names themselves;
an entry that has no trigrams yet is found all the same.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fonshare_agent.index.places import FILE, SHOWN, Places, found_file
from fonshare_agent.index.records import Found, SearchResult
from fonshare_agent.index.text import Matcher, fold_name, match_expression, split_words
from fonshare_agent.index.trigrams import Trigrams
from fonshare_agent.model import GroupId, NodeId

PROGRESS_STEPS = 2000  # SQLite instructions between two looks at the clock: < 1 ms


class Finder:
    """Searches the catalogues shown. *clock* is monotonic seconds."""

    def __init__(
        self, connection: sqlite3.Connection, clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._trigrams = Trigrams(connection)

    def search(
        self,
        words: str,
        *,
        group: GroupId | None = None,
        member: NodeId | None = None,
        limit: int = 100,
        deadline: float | None = None,
    ) -> SearchResult:
        """Return the files whose share, folders and name hold all of *words*.

        Newest first. Ends at *deadline* (on the clock) with what was found so far.
        """
        wanted = split_words(words)
        if not wanted or limit <= 0:
            return SearchResult((), is_complete=True)
        found: list[Found] = []
        try:
            with _Deadline(self._connection, self._clock, deadline):
                for hit in self._hits(wanted, group, member):
                    if len(found) == limit:
                        return SearchResult(tuple(found), is_complete=False)
                    found.append(hit)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return SearchResult(tuple(found), is_complete=False)
        return SearchResult(tuple(found), is_complete=True)

    def _hits(
        self, words: Sequence[str], group: GroupId | None, member: NodeId | None
    ) -> Iterator[Found]:
        matcher, paths = Matcher(words), Places(self._connection)
        for row in self._candidates(match_expression(words), group, member):
            if matcher.matches(paths.text(row[0]) + fold_name(row[1])):
                yield found_file(row, paths.place(row[0]))

    def _candidates(
        self, expression: str | None, group: GroupId | None, member: NodeId | None
    ) -> Iterator[Any]:
        """Yield the rows that may match, newest first."""
        if expression is None:
            # Signs alone, as `%`: no trigram helps, so the names are gone through.
            yield from self._connection.execute(
                f"{FILE} WHERE {SHOWN} ORDER BY e.id DESC", (group, member)
            )
            return
        # The newest may not have their trigrams yet (index/trigrams.py).
        yield from self._connection.execute(
            f"{FILE} WHERE e.id > (SELECT upto FROM search_state) AND {SHOWN}"
            " ORDER BY e.id DESC",
            (group, member),
        )
        narrowed = self._trigrams.narrowed(expression)
        yield from self._connection.execute(
            f"{FILE} JOIN search ON search.rowid = e.id"
            f" WHERE search MATCH ?3 AND {SHOWN} ORDER BY search.rowid DESC",
            (group, member, narrowed),
        )


class _Deadline:
    """Interrupts SQLite when the time is over; also a search that finds nothing."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        deadline: float | None,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._deadline = deadline

    def __enter__(self) -> None:
        if self._deadline is not None:
            self._connection.set_progress_handler(self._is_over, PROGRESS_STEPS)

    def __exit__(self, *_: object) -> None:
        self._connection.set_progress_handler(None, 0)

    def _is_over(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline
