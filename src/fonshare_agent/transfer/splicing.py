"""Joins pairs of sockets: what comes from one goes to the other, unread, both ways.

One thread for all pairs, started with the first and ended with the last. Each pair has
an account: how fast, how much and how long. A pair ends when both ends have hung up,
when one breaks off, when its account is used up, or when it is cut. Must not know what
the bytes are.
"""

import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fonshare_agent.transfer.limits import Flow, TokenBucket, Traffic

BUFFER_BYTES: Final = 64 * 1024  # a direction; no more is read before it is sent on
IDLE_S: Final = 90.0  # a session says something every forty seconds
LOOK_S: Final = 0.5  # how soon an account that is used up ends its pairs


@dataclass(slots=True)
class Account:
    """What the pairs of one relay may use together. Any thread may set `is_closed`."""

    bytes_left: int
    until: float  # of the monotonic clock
    bucket: TokenBucket | None = None  # None: no limit
    whose: bytes = b""  # of several accounts each gets the same of the bucket
    traffic: Traffic | None = None
    is_closed: bool = False
    bytes_moved: int = 0
    streams: int = 0  # that are open
    quiet_since: float | None = None  # when the last of them ended

    def is_over(self, now: float) -> bool:
        return self.is_closed or now >= self.until or self.bytes_left <= 0

    def note(self, count: int) -> None:
        self.bytes_left -= count
        self.bytes_moved += count

    def limit(self, source: socket.socket) -> Flow | None:
        """Return how what comes from *source* is held back, if it is."""
        if self.bucket is None:
            return None
        flow = Flow(self.bucket, self.whose, self.traffic)
        flow.watch(lambda: source)
        return flow


@dataclass(slots=True)
class _Way:
    """One direction of a pair."""

    source: socket.socket
    sink: socket.socket
    limit: Flow | None
    waiting: bytes = b""
    is_ended: bool = False  # the source will send no more
    is_done: bool = False  # and the sink was told
    is_lined_up: bool = False  # something is there to be read, within the limit

    def held_s(self) -> float:
        """Return 0 if it may be read from now, else after how long to ask again."""
        if self.limit is None or not self.is_lined_up:
            return 0.0
        return self.limit.wait_s(BUFFER_BYTES)


@dataclass(slots=True)
class _Pair:
    ways: tuple[_Way, _Way]
    account: Account
    moved_at: float
    is_broken: bool = False

    @property
    def sockets(self) -> tuple[socket.socket, socket.socket]:
        return self.ways[0].source, self.ways[0].sink

    @property
    def is_over(self) -> bool:
        return self.is_broken or all(way.is_done for way in self.ways)


@dataclass(slots=True)
class Splicer:
    """Any thread may call; the sockets given are the splicer's from then on."""

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pairs: list[_Pair] = field(default_factory=list)
    _thread: threading.Thread | None = None
    _is_stopping: bool = False

    def join(self, one: socket.socket, other: socket.socket, account: Account) -> None:
        """Carry bytes between the two until one of the module's reasons ends it."""
        for each in (one, other):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways = (
            _Way(one, other, account.limit(one)),
            _Way(other, one, account.limit(other)),
        )
        pair = _Pair(ways, account, self.clock())
        with self._lock:
            if self._is_stopping:
                _close(pair)
                return
            self._pairs.append(pair)
            account.streams += 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="splicer", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Cut everything and end the thread. Waits for it."""
        with self._lock:
            self._is_stopping, thread = True, self._thread
        if thread is not None:
            thread.join()

    # --- on the thread

    def _run(self) -> None:
        while True:
            with self._lock:
                pairs = self._drop_ended()
                if not pairs:
                    self._thread = None
                    return
            self._step(pairs)

    def _drop_ended(self) -> list[_Pair]:
        now, kept = self.clock(), []
        for pair in self._pairs:
            is_silent = now - pair.moved_at >= IDLE_S
            is_over = pair.is_over or is_silent or pair.account.is_over(now)
            if is_over or self._is_stopping:
                _close(pair)
                pair.account.streams -= 1
                pair.account.quiet_since = now
            else:
                kept.append(pair)
        self._pairs = kept
        return list(kept)

    def _step(self, pairs: list[_Pair]) -> None:
        """Move what can be moved now, or wait a little for it."""
        poll, wanted = select.poll(), dict[int, list[tuple[_Pair, _Way]]]()
        events: dict[int, int] = {}
        pause_s = LOOK_S
        for pair in pairs:
            for way in pair.ways:
                event, end = select.POLLIN, way.source
                if way.waiting:
                    event, end = select.POLLOUT, way.sink
                elif way.is_ended:
                    continue
                elif held_s := way.held_s():
                    pause_s = min(pause_s, held_s)
                    continue
                number = end.fileno()
                events[number] = events.get(number, 0) | event
                wanted.setdefault(number, []).append((pair, way))
        for number, mask in events.items():
            poll.register(number, mask)
        for number, _ in poll.poll(pause_s * 1000):
            for pair, way in wanted[number]:
                self._move(pair, way)

    def _move(self, pair: _Pair, way: _Way) -> None:
        try:
            if not way.waiting and not way.is_ended:
                _receive(way, pair.account)
            if way.waiting:
                count = way.sink.send(way.waiting)
                way.waiting = way.waiting[count:]
                pair.moved_at = self.clock()
            if way.is_ended and not way.waiting and not way.is_done:
                way.is_done = True
                way.sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            pair.is_broken = True  # the other end is told by the closing of its own


def _receive(way: _Way, account: Account) -> None:
    """Read what is there, as far as limit and account allow it now."""
    count, limit = min(BUFFER_BYTES, account.bytes_left), way.limit
    if limit is not None:
        way.is_lined_up = True
        if limit.wait_s(BUFFER_BYTES):
            return
        count = min(count, limit.left)
    if count <= 0:
        return  # the account is used up: the pair ends at the next look
    way.waiting = way.source.recv(count)
    way.is_ended = not way.waiting
    way.is_lined_up = False
    account.note(len(way.waiting))
    if limit is not None:
        limit.spend(len(way.waiting))


def _close(pair: _Pair) -> None:
    for way in pair.ways:
        if way.limit is not None:
            way.limit.close()
    for end in pair.sockets:
        end.close()
