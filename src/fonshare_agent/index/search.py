"""Which entries match a query: of the catalogues shown, this node's included.

Owns no table: it reads `search`, `entry` and the catalogues shown. Rules kept: words
are data, never query syntax; the trigram index only proposes, an entry matches once
every word was found in the folded names themselves; no question holds more rows than
its limit. In which order hits are shown is not its business: see finder.py.
"""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fonshare_agent.index.media import medium_of
from fonshare_agent.index.places import FILE, Places, file_tag, found_file
from fonshare_agent.index.query import Query
from fonshare_agent.index.records import Found
from fonshare_agent.index.text import Matcher, fold_name, match_expression, split_words
from fonshare_agent.index.trigrams import Trigrams
from fonshare_agent.model import GroupId, NodeId

PROGRESS_STEPS = 2000  # SQLite instructions between two looks at the clock: < 1 ms
TWINS_MAX = 64  # entries of one content that are looked at: a group has 64 members
SOURCES_MAX = 32  # of one hit that are told: more than ever serve one job

_COLUMNS = "e.id, e.catalogue, e.folder, e.name, e.size, e.modified, e.root"


class Row(NamedTuple):
    """An entry that may match: _COLUMNS."""

    id: int
    catalogue: int
    folder: int
    name: bytes
    size: int
    modified: int
    root: bytes | None


@dataclass(frozen=True, slots=True)
class _Catalogue:
    group: GroupId
    member: NodeId
    own: bool
    is_online: bool


class Scope:
    """One query, ready to be asked: which catalogues, which words."""

    def __init__(
        self, connection: sqlite3.Connection, query: Query, trigrams: Trigrams
    ) -> None:
        self.connection = connection
        self._medium = query.medium
        words = split_words(query.words)
        self._matcher = Matcher(words)
        self._trigrams = trigrams
        self._expression = match_expression(words)
        if self._expression is not None:
            self._expression = self._trigrams.narrowed(self._expression)
        self._catalogues = dict(_catalogues(connection, query))
        self.can_match = bool(words) and bool(self._catalogues)
        numbers = ",".join(map(str, self._catalogues))
        self._filter = (
            f"e.catalogue IN ({numbers}) AND e.size BETWEEN :size_min AND :size_max"
            " AND e.modified BETWEEN :modified_min AND :modified_max"
        )
        self._values: dict[str, object] = {
            "match": self._expression,
            "size_min": query.size_min,
            "size_max": query.size_max,
            "modified_min": query.modified_min,
            "modified_max": query.modified_max,
        }

    def newest(self) -> int:
        """Return the highest id of all entries, or 0; what comes later has higher."""
        query = "SELECT coalesce(max(id), 0) FROM entry"
        return int(self.connection.execute(query).fetchone()[0])

    def candidates(
        self, low: int, high: int, *, oldest_first: bool = False
    ) -> Iterator[Row]:
        """Yield what may match of the ids *low* to *high*, newest first."""
        if self._expression is None:
            # Signs alone, as `%`: no trigram helps, so the names are gone through.
            yield from self._named(low, high, oldest_first)
            return
        # The newest may not have their trigrams yet (index/trigrams.py).
        upto = self._trigrams.frontier()
        parts = [
            (self._named, max(low, upto + 1), high),
            (self._proposed, low, min(high, upto)),
        ]
        for look, first, last in reversed(parts) if oldest_first else parts:
            if first <= last:
                yield from look(first, last, oldest_first)

    def _named(self, low: int, high: int, oldest_first: bool) -> Iterator[Row]:
        return self._rows(
            f"SELECT {_COLUMNS} FROM entry e WHERE e.id BETWEEN :low AND :high"
            f" AND {self._filter} ORDER BY e.id {_DIRECTION[oldest_first]}",
            low=low,
            high=high,
        )

    def _proposed(self, low: int, high: int, oldest_first: bool) -> Iterator[Row]:
        return self._rows(
            f"SELECT {_COLUMNS} FROM search CROSS JOIN entry e ON e.id = search.rowid"
            " WHERE search MATCH :match AND search.rowid BETWEEN :low AND :high"
            f" AND {self._filter} ORDER BY search.rowid {_DIRECTION[oldest_first]}",
            low=low,
            high=high,
        )

    def rank(self, row: Row, places: Places) -> int | None:
        """Return how well *row* matches, as Matcher.rank tells it."""
        if self._medium is not None and medium_of(row.name) != self._medium:
            return None
        return self._matcher.rank(fold_name(row.name), lambda: places.text(row.folder))

    def has_newer_twin(self, row_id: int, root: bytes, newest: int) -> bool:
        """Tell whether the same content matches also by an id over *row_id*.

        The twin with the highest id up to *newest* stands for all, so each content is
        one hit, on one page, whatever the order.
        """
        places = Places(self.connection)
        twins = self._rows(
            f"SELECT {_COLUMNS} FROM entry e WHERE {_SAME_ROOT} AND e.id > :id"
            f" AND e.id <= :newest AND {self._filter} ORDER BY e.id DESC LIMIT :limit",
            root=root,
            id=row_id,
            newest=newest,
            limit=TWINS_MAX,
        )
        return any(self.rank(twin, places) is not None for twin in twins)

    def has_other_members(self, row: Row) -> bool:
        """Tell whether another member offers the content of *row*, too.

        If not, its copies are places of one member: each is a hit.
        """
        same = ",".join(map(str, self._numbers_of(row)))
        twins = self._rows(
            f"SELECT {_COLUMNS} FROM entry e WHERE {_SAME_ROOT}"
            f" AND e.catalogue NOT IN ({same}) AND {self._filter} LIMIT 1",
            root=row.root,
        )
        return next(twins, None) is not None

    def find_again(self, row: Row) -> Row | None:
        """Return *row* as it is now; None if the entry went meanwhile."""
        query = f"SELECT {_COLUMNS} FROM entry e WHERE e.id = :id"
        return next(self._rows(query, id=row.id), None)

    def sources(self, row: Row, places: Places) -> tuple[Found, ...]:
        """Return who offers what the entry of *row* is.

        Entries that match come first, of these the own ones, those online, the newest.
        """
        rows = [row]
        if row.root is not None:
            twins, same = list(self._twins(row)), self._numbers_of(row)
            if any(twin.catalogue not in same for twin in twins):
                rows += twins
                rows.sort(key=lambda one: self._precedence(one, places))
        return tuple(self._found(one, places) for one in rows)

    def _twins(self, row: Row) -> Iterator[Row]:
        return self._rows(
            f"SELECT {_COLUMNS} FROM entry e WHERE {_SAME_ROOT} AND e.id != :id"
            f" AND {self._filter} ORDER BY e.id DESC LIMIT :limit",
            root=row.root,
            id=row.id,
            limit=SOURCES_MAX - 1,
        )

    def find_tag(self, row_id: int) -> int | None:
        """Return the file_tag of the entry of that id; None if there is none."""
        row = self.connection.execute(FILE + " WHERE e.id = ?", (row_id,)).fetchone()
        return row and file_tag(row, Places(self.connection).place(row[0]))

    def tag(self, row: Row, places: Places) -> int:
        """Return the file_tag of *row*."""
        return file_tag(self._file(row), places.place(row.folder))

    # --- inside ---------------------------------------------------------------------

    def _numbers_of(self, row: Row) -> list[int]:
        """Return the catalogues of the member who offers *row*."""
        member = self._catalogues[row.catalogue].member
        return [
            number for number, one in self._catalogues.items() if one.member == member
        ]

    def _precedence(self, row: Row, places: Places) -> tuple[bool, bool, bool, int]:
        catalogue = self._catalogues[row.catalogue]
        matches = self.rank(row, places) is not None
        return not matches, not catalogue.own, not catalogue.is_online, -row.id

    def _found(self, row: Row, places: Places) -> Found:
        one, folder = self._catalogues[row.catalogue], row.folder
        digest = places.digest(folder, one.group, one.member, row.name)
        return found_file(self._file(row), places.place(folder), digest)

    def _file(self, row: Row) -> tuple[object, ...]:
        """Return *row* as the columns of places.FILE."""
        one = self._catalogues[row.catalogue]
        data = (row.folder, row.name, row.size, row.modified, row.root)
        return (*data, one.group, one.member, one.own)

    def _rows(self, query: str, **values: object) -> Iterator[Row]:
        rows = self.connection.execute(query, {**self._values, **values})
        return map(Row._make, rows)


_DIRECTION = ("DESC", "ASC")
_SAME_ROOT = "substr(e.root, 1, 4) = substr(:root, 1, 4) AND e.root = :root"


def _catalogues(
    connection: sqlite3.Connection, query: Query
) -> Iterator[tuple[int, _Catalogue]]:
    """Yield the catalogues that *query* is about, by their numbers."""
    for number, group, member, own in connection.execute(
        "SELECT id, grp, member, own FROM catalogue WHERE state = 'shown'"
    ):
        is_online = bool(own) or (group, member) in query.online
        if (
            (query.groups is None or group in query.groups)
            and query.member in (None, member)
            and (is_online or not query.is_online_only)
        ):
            yield number, _Catalogue(group, member, bool(own), is_online)


class Deadline:
    """Interrupts SQLite when the time is over; also a search that finds nothing.

    `is_over` tells the block whether to begin at all, and afterwards whether it came to
    its end.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        deadline: float | None,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._deadline = deadline
        self.is_over = False

    def __enter__(self) -> "Deadline":
        if self._deadline is not None:
            self._connection.set_progress_handler(self._is_late, PROGRESS_STEPS)
        self.is_over = self._is_late()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        self._connection.set_progress_handler(None, 0)
        if not isinstance(error, sqlite3.OperationalError):
            return False
        self.is_over = error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
        return self.is_over

    def _is_late(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline
