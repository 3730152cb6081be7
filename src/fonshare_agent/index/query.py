"""What is searched for, and what a search gives. Values only: no SQL, no clock."""

from dataclasses import dataclass
from enum import Enum

from fonshare_agent.index.records import Found
from fonshare_agent.model import SIZE_MAX, GroupId, NodeId

TIME_MAX = 2**62  # seconds: after everything that a catalogue may claim


class Order(Enum):
    """How hits are sorted; the values are what the command line takes."""

    RELEVANCE = "relevance"
    NEWEST = "newest"
    SIZE = "size"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Query:
    """Words and filters. All must hold; bounds are inclusive.

    `online`: who can be asked now, besides this node; with `is_online_only` nobody
    else's entries count. `groups` None: all of them.
    """

    words: str
    groups: frozenset[GroupId] | None = None
    member: NodeId | None = None
    medium: str | None = None
    size_min: int = 0
    size_max: int = SIZE_MAX
    modified_min: int = -TIME_MAX
    modified_max: int = TIME_MAX
    online: frozenset[tuple[GroupId, NodeId]] = frozenset()
    is_online_only: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person looks for, as it is kept; a Query once it is asked.

    Ages are in seconds; None narrows nothing.
    """

    words: tuple[str, ...]
    group: GroupId | None = None
    member: NodeId | None = None
    medium: str | None = None
    size_min: int | None = None
    size_max: int | None = None
    newer_s: int | None = None
    older_s: int | None = None
    is_online_only: bool = False

    @property
    def needs_clock(self) -> bool:
        return self.newer_s is not None or self.older_s is not None

    def query(
        self,
        groups: frozenset[GroupId],
        online: frozenset[tuple[GroupId, NodeId]],
        now: int,
    ) -> Query:
        """Return the query at the time *now*, among *groups*."""
        return Query(
            " ".join(self.words),
            groups if self.group is None else groups & {self.group},
            self.member,
            self.medium,
            0 if self.size_min is None else self.size_min,
            SIZE_MAX if self.size_max is None else self.size_max,
            -TIME_MAX if self.newer_s is None else now - self.newer_s,
            TIME_MAX if self.older_s is None else now - self.older_s,
            online,
            self.is_online_only,
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """One content of several members, and all who offer it; otherwise one entry.

    The first source stands for the hit: own, else online, else newest.
    """

    sources: tuple[Found, ...]

    @property
    def found(self) -> Found:
        return self.sources[0]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of hits.

    `is_complete`: nothing else matches. `is_cut`: its time was over before everything
    was looked at. `more` goes on behind this page, None if that is impossible.
    """

    hits: tuple[Hit, ...]
    is_complete: bool
    is_cut: bool = False
    more: str | None = None

    @property
    def found(self) -> tuple[Found, ...]:
        return tuple(hit.found for hit in self.hits)
