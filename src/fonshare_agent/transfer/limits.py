"""The owner's limits of bandwidth: one bucket a direction, shared by all transfers.

Owns when the next bytes may move, and whose: of several friends each gets the same, of
several transfers of one friend each gets a part of that (start-time fair queueing). A
bucket never lets more through than its rate has earned and BURST_S of it, and what it
holds back stays in order while the rate changes. Any thread may ask; the clock comes
in, and waiting is the caller's, since only it knows when to give up. Must not know
what a socket carries.
"""

import heapq
import socket
import threading
from collections.abc import Callable
from typing import Final, Protocol

CHUNK_BYTES: Final = 64 * 1024  # the largest buffer of a transfer, DESIGN section 3
CHUNK_BYTES_MIN: Final = 4 * 1024
BURST_S: Final = 0.1  # lateness that may be made up for: 5 % of two seconds
LOOK_S: Final = 0.2  # who waits looks so often whether the rate is another one now
_WAIT_S_MIN: Final = 0.001  # finer than any timer here
_SMOOTH_PART: Final = 16  # a chunk takes no more than this part of a second
_ROUNDING_BYTES: Final = 0.01


class Traffic(Protocol):
    """Who counts what our connections move: own_traffic.py, if anybody does."""

    def add(self, whose: object, find: Callable[[], socket.socket]) -> None: ...
    def drop(self, whose: object) -> None: ...


class Turn:
    """Some bytes that wait to move."""

    __slots__ = ("count", "has_come", "is_given_up", "order")

    def __init__(self, count: int, order: tuple[float, int]) -> None:
        self.count, self.order = count, order
        self.has_come = self.is_given_up = False

    def __lt__(self, other: "Turn") -> bool:
        return self.order < other.order


class TokenBucket:
    """Immutable: clock. Guarded by the lock: all else."""

    def __init__(self, kib_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rate: float | None = kib_s * 1024.0 or None  # bytes a second; None: any
        self._level = 0.0  # bytes that are earned and not taken yet
        self._since = clock()
        self._waiting: list[Turn] = []  # a heap
        self._taken = 0  # turns so far: of two that are due the older one comes first
        # Virtual time, in bytes of one friend: where the bucket is, and each friend.
        self._now, self._ends = 0.0, dict[bytes, float]()

    def set_rate(self, kib_s: float) -> None:
        """Let through *kib_s* KiB/s from now on; 0 is any rate."""
        self._change(kib_s * 1024.0 or None)

    def close(self) -> None:
        """Let nothing through until the next `set_rate`."""
        self._change(0.0)

    def _change(self, rate: float | None) -> None:
        with self._lock:
            self._advance()
            self._rate = rate
            for turn in self._waiting:  # lined up when the line was faster
                turn.count = min(turn.count, self._chunk_bytes())
            self._advance()

    @property
    def rate_kib_s(self) -> float | None:
        """The limit that holds now; None without one, 0 while closed."""
        with self._lock:
            return None if self._rate is None else self._rate / 1024

    @property
    def is_unlimited(self) -> bool:
        """Whether bytes need not line up now; looked at for each chunk."""
        return self._rate is None

    @property
    def chunk_bytes(self) -> int:
        """How many bytes to move at once, so that a slow line stays smooth."""
        if self.is_unlimited:
            return CHUNK_BYTES
        with self._lock:
            return self._chunk_bytes()

    def _chunk_bytes(self) -> int:
        if self._rate is None:
            return CHUNK_BYTES
        smooth = int(self._rate) // _SMOOTH_PART
        return max(CHUNK_BYTES_MIN, min(CHUNK_BYTES, smooth))

    def fit(self, wanted: int) -> int:
        """Return how many of *wanted* bytes to line up at once."""
        return wanted if self.rate_kib_s is None else min(wanted, self.chunk_bytes)

    def take(self, count: int, whose: bytes = b"") -> Turn:
        """Line up *count* bytes of that friend's."""
        with self._lock:
            self._advance()  # what nobody waited for is no credit
            start = max(self._now, self._ends.get(whose, 0.0))
            self._ends[whose] = start + count
            self._taken += 1
            turn = Turn(count, (start, self._taken))
            heapq.heappush(self._waiting, turn)
            self._advance()
            return turn

    def wait_s(self, turn: Turn) -> float:
        """Return 0 if the turn has come, else after how many seconds to ask again."""
        with self._lock:
            self._advance()
            if turn.has_come:
                return 0.0
            if not self._rate:
                return LOOK_S
            before = sum(
                one.count
                for one in self._waiting
                if not one.is_given_up and one.order <= turn.order
            )
            wait_s = (before - self._level) / self._rate
            return min(max(wait_s, _WAIT_S_MIN), LOOK_S)

    def give_up(self, turn: Turn, unused: int) -> None:
        """Of the turn's bytes *unused* will not move: others may have them."""
        with self._lock:
            if turn.has_come:
                self._level += unused
            turn.is_given_up = True
            self._advance()

    def _advance(self) -> None:
        """Earn what the time since the last look is worth, and let turns come."""
        now = self._clock()
        # A clock that stepped back gives nothing and takes nothing.
        passed_s, self._since = max(0.0, now - self._since), now
        if self._rate is not None:
            self._level += passed_s * self._rate
        while self._waiting and (
            self._rate is None
            or self._waiting[0].is_given_up
            or self._level + _ROUNDING_BYTES >= self._waiting[0].count
        ):
            turn = heapq.heappop(self._waiting)
            if not turn.is_given_up:
                turn.has_come = True
                self._level -= turn.count
                self._now = turn.order[0]
        if self._rate is None:
            self._level = 0.0
        elif not self._waiting:
            self._level = min(self._level, self._rate * BURST_S)
        if not self._waiting:
            self._ends.clear()  # nobody is behind or ahead of anybody


class Flow:
    """One transfer's way through a bucket. Belongs to one thread at a time.

    `left` bytes may move now; `wait_s` lines up for more when there are none.
    """

    def __init__(
        self, bucket: TokenBucket, whose: bytes, traffic: Traffic | None = None
    ) -> None:
        """*traffic* counts what the connection moves."""
        self._bucket, self._whose, self._traffic = bucket, whose, traffic
        self._turn: Turn | None = None
        self.left = 0

    def watch(self, find: Callable[[], socket.socket]) -> None:
        """The bytes go by the socket of *find*, until `close`."""
        if self._traffic is not None:
            self._traffic.add(self, find)

    @property
    def chunk_bytes(self) -> int:
        return self._bucket.chunk_bytes

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing need be lined up for and spent now."""
        return self._turn is None and not self.left and self._bucket.is_unlimited

    @property
    def is_closed(self) -> bool:
        return self._bucket.rate_kib_s == 0

    def wait_s(self, wanted: int) -> float:
        """Return 0 if bytes may move now, else after how many seconds to ask again.

        At most *wanted* bytes are lined up for.
        """
        if self.left:
            return 0.0
        if self._turn is None:
            if self._bucket.is_unlimited:
                self.left = wanted
                return 0.0
            self._turn = self._bucket.take(self._bucket.fit(wanted), self._whose)
        wait_s = self._bucket.wait_s(self._turn)
        if not wait_s:
            self.left = self._turn.count
        return wait_s

    def spend(self, count: int) -> None:
        """*count* of the bytes that were left have moved."""
        self.left -= count
        if not self.left:
            self._turn = None

    def close(self) -> None:
        """Nothing more moves here. A second call does nothing."""
        if self._traffic is not None:
            self._traffic.drop(self)
        if self._turn is not None:
            self._bucket.give_up(self._turn, self.left)
        self._turn, self.left = None, 0
