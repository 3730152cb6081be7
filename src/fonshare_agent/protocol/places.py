"""Who is served now and who waits: a source's places, shared out between friends.

Owns the queue. A friend with fewer places comes before one with more, of equals who was
served longer ago; how many jobs one has waiting gives it no more. A place that becomes
free is kept for the first in the queue for RESERVED_S, so that its node can be told
and ask again. Who holds a place for TURN_S while a friend with fewer waits gives it up.
Who waits asks again now and then, and is forgotten when it does not.

Lost at a restart: the queue; everybody asks again. Must not know tickets.
"""

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from typing import Final, NamedTuple

from fonshare_agent.model import GroupId, NodeId

RESERVED_S: Final = 15.0  # from "your turn" or a grant to the first byte: a slow login
FORGOTTEN_S: Final = 60.0  # who waits asks four times in this
TURN_S: Final = 300.0  # a session costs a second or two: nothing beside this
REMEMBERED_S: Final = 3600.0  # when a friend was served last
WAITING_MAX: Final = 1024  # jobs: 16 of each of 64 members


class Wish(NamedTuple):
    """One job of one friend."""

    group: GroupId
    friend: NodeId
    job: str


@dataclass(slots=True)
class _Waiting:
    since: float
    seen: float


class Places:
    """*held* are the wishes that are being served, as the caller sees them now."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._waiting: dict[Wish, _Waiting] = {}
        self._reserved: dict[Wish, float] = {}  # until when
        self._begun: dict[Wish, float] = {}  # since when each holds its place
        self._served: dict[NodeId, float] = {}  # when each friend got a place last

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def ask(self, wish: Wish, held: Set[Wish], now: float) -> int:
        """Return 0 if *wish* may be served now, else its place in the queue.

        0 is a promise for RESERVED_S: by then it is among the *held*.
        """
        taken = self._look(held, now)
        if wish not in taken:
            since = self._waiting.get(wish, _Waiting(now, now)).since
            if len(self._waiting) < WAITING_MAX or wish in self._waiting:
                self._waiting[wish] = _Waiting(since, now)
            queue = self._queue(taken)
            place = queue.index(wish) + 1 if wish in queue else len(queue) + 1
            place -= max(0, self.count - len(taken))
            if place > 0:
                return place
        self._give(wish, now)
        return 0

    def release(self, wish: Wish) -> None:
        """*wish* needs its place no more, or could not use it."""
        self._reserved.pop(wish, None)

    def call(self, held: Set[Wish], now: float) -> list[Wish]:
        """Return who is to be told now that its turn has come."""
        taken = self._look(held, now)
        called = self._queue(taken)[: max(0, self.count - len(taken))]
        for wish in called:
            self._give(wish, now)
        return called

    def due(self, held: Set[Wish], now: float) -> Wish | None:
        """Return whose turn is over, for the sake of who waits."""
        taken = self._look(held, now)
        queue = self._queue(taken)
        if not queue or len(taken) < self.count:
            return None
        counts = Counter(wish.friend for wish in taken)
        fewest = counts[queue[0].friend]
        over = [
            wish
            for wish in taken
            if counts[wish.friend] > fewest and now - self._begun[wish] >= TURN_S
        ]
        return min(over, key=lambda wish: self._begun[wish], default=None)

    # --- the queue ------------------------------------------------------------------

    def _give(self, wish: Wish, now: float) -> None:
        self._waiting.pop(wish, None)
        self._reserved[wish] = now + RESERVED_S
        if wish not in self._begun:
            self._begun[wish] = self._served[wish.friend] = now

    def _look(self, held: Set[Wish], now: float) -> set[Wish]:
        """Forget what is over; return which wishes have a place."""
        self._reserved = {
            w: until for w, until in self._reserved.items() if until > now
        }
        self._waiting = {
            wish: one
            for wish, one in self._waiting.items()
            if now - one.seen < FORGOTTEN_S and wish not in held
        }
        taken = {*held, *self._reserved}
        self._begun = {wish: self._begun.get(wish, now) for wish in taken}
        # Also of who is gone for a moment: it must not come back as a new friend.
        self._served = {
            f: at for f, at in self._served.items() if now - at < REMEMBERED_S
        }
        return taken

    def _queue(self, taken: Set[Wish]) -> list[Wish]:
        """Return who waits, in the order in which they come."""
        counts = Counter(wish.friend for wish in taken)
        left: dict[NodeId, list[Wish]] = {}
        for wish in sorted(self._waiting, key=lambda w: self._waiting[w].since):
            left.setdefault(wish.friend, []).append(wish)
        queue = []
        while left:
            friend = min(
                left,
                key=lambda f: (
                    counts[f],
                    self._served.get(f, float("-inf")),
                    self._waiting[left[f][0]].since,
                ),
            )
            queue.append(left[friend].pop(0))
            counts[friend] += 1
            if not left[friend]:
                del left[friend]
        return queue
