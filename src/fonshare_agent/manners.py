"""How fast files may move now: the owner's limits, the hours, the household's needs.

Owns the two buckets that all transfers pass and a third one for what is carried between
others (relays), and sets their rates. Within `hours` the plain limits hold, at other
times (and while the time is unknown) the others, of which 0 closes that direction, but
for what somebody opens to read (decision 0105). What
stays within the house passes by, unless the owner wants it otherwise. Core thread, but
for `flow` and `is_free`. Must not know what moves.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable

from fonshare_agent import clock
from fonshare_agent.addresses import plain_address
from fonshare_agent.core import Core
from fonshare_agent.settings import LimitSettings, Network
from fonshare_agent.transfer.limits import Flow, TokenBucket, Traffic

LOOK_S = 2.0  # between two looks at the time of day, where hours are set
UP, DOWN = "up", "down"


class LateTraffic:
    """Loads what counts our own traffic with the first transfer. Any thread.

    *build* may wait for the disk: `load` is called beforehand where that matters. While
    it is not `is_wanted` nothing is loaded or counted, but what is open is remembered.
    """

    def __init__(self, build: Callable[[], Traffic], *, is_wanted: bool = True) -> None:
        self._build, self._lock = build, threading.Lock()
        self._is_wanted = is_wanted
        self._made: Traffic | None = None
        self._open: dict[object, Callable[[], socket.socket]] = {}  # and not counted

    @property
    def is_loaded(self) -> bool:
        return self._made is not None

    def load(self) -> None:
        """Have it at hand, if it is wanted."""
        with self._lock:
            self._load()

    def _load(self) -> Traffic | None:
        if self._made is None and self._is_wanted:
            self._made = self._build()
        return self._made if self._is_wanted else None

    def want(self, is_wanted: bool) -> None:
        """Count from now on, or no more; what is open is counted, too."""
        with self._lock:
            self._is_wanted = is_wanted
            traffic = self._load() if self._open else None
            if traffic is not None:
                for whose, find in self._open.items():
                    traffic.add(whose, find)
                self._open.clear()

    def add(self, whose: object, find: Callable[[], socket.socket]) -> None:
        with self._lock:
            traffic = self._load()
            if traffic is None:
                self._open[whose] = find
            else:
                traffic.add(whose, find)

    def drop(self, whose: object) -> None:
        with self._lock:
            self._open.pop(whose, None)
            if self._made is not None:
                self._made.drop(whose)


class Manners:
    """See the module's text. *now* is the time of day."""

    def __init__(
        self,
        core: Core,
        limits: LimitSettings,
        house: Iterable[Network],
        now: Callable[[], float] = time.time,
        zone: clock.Zone | None = None,
    ) -> None:
        self._core, self._now = core, now
        self._zone = zone or clock.Zone()
        self._limits, self._house = limits, tuple(house)
        self.upload = TokenBucket(0, core.clock)
        self.download = TokenBucket(0, core.clock)
        self.relay = TokenBucket(0, core.clock)
        self._opened = TokenBucket(0, core.clock)
        self._is_looking = self._is_stopped = False
        self._may = dict.fromkeys((UP, DOWN), True)
        self._on_changed: Callable[[], None] = lambda: None
        self._ceilings: dict[str, float | None] = dict.fromkeys((UP, DOWN))
        self.traffic: LateTraffic | None = None  # counts our own, where it can be told
        self._apply()

    def wire(self, on_changed: Callable[[], None]) -> None:
        """Call *on_changed* when a direction has opened or closed."""
        self._on_changed = on_changed

    def set_limits(self, limits: LimitSettings) -> None:
        """The owner wants these from now on; what moves follows within a second."""
        self._limits = limits
        if not limits.give_way:
            self._ceilings = dict.fromkeys((UP, DOWN))
        self._look_on()
        self.look()

    def set_ceilings(self, up: float | None, down: float | None) -> None:
        """The household leaves us so many bytes a second; None: as many as we want."""
        if self._limits.give_way:
            self._ceilings = {UP: up, DOWN: down}
            self._apply()

    @property
    def gives_way(self) -> bool:
        """Whether the household holds us back now."""
        return any(one is not None for one in self._ceilings.values())

    def set_house(self, networks: Iterable[Network]) -> None:
        """The house has these networks now. Any thread."""
        self._house = tuple(networks)

    def start(self) -> None:
        """Follow the time of day, where it matters."""
        self._look_on()

    def stop(self) -> None:
        self._is_stopped = True

    # --- what is so now -------------------------------------------------------------

    @property
    def may_send(self) -> bool:
        """Whether anything may be sent to friends now."""
        return self._may[UP]

    @property
    def may_fetch(self) -> bool:
        """Whether anything may be fetched from friends now."""
        return self._may[DOWN]

    @property
    def hours(self) -> str:
        """The hours as people read them, "" if there are none."""
        hours = self._limits.hours
        return "" if hours is None else clock.shown_hours(hours)

    @property
    def is_within_hours(self) -> bool:
        hours, now = self._limits.hours, self._now
        if hours is None:
            return True
        return clock.is_known(now) and clock.is_within(hours, now())

    # --- how bytes are held back ----------------------------------------------------

    def flow(self, direction: str, address: str, whose: bytes | None) -> Flow | None:
        """Return how the bytes of a transfer are held back, None if they are not.

        *whose*: which friend's, None at the house door. Any thread.
        """
        if self._passes_by(address, is_friend=whose is not None):
            return None
        bucket = self.upload if direction == UP else self.download
        return Flow(bucket, whose or b"", self.traffic)

    def for_opened(self) -> TokenBucket:
        """Return what a file passes that somebody reads as it comes: that does not wait
        for hours. Any thread."""
        return self.download if self.may_fetch else self._opened

    def is_free(self, address: str) -> bool:
        """Tell whether what a friend at *address* gets, or gives, passes by. Any
        thread."""
        return self._passes_by(address, is_friend=True)

    def _passes_by(self, address: str, *, is_friend: bool) -> bool:
        if self._limits.house:
            return False
        ip = plain_address(address)
        # A friend on loopback is a relay's or a tunnel's end, or a test's: who knows
        # where the bytes go from there.
        return any(ip in one for one in self._house) and not (
            is_friend and ip.is_loopback
        )

    # --- the time of day ------------------------------------------------------------

    def _look_on(self) -> None:
        if self._limits.hours is not None and not self._is_looking:
            self._is_looking = True
            self._core.call_later(0, self._look_now_and_then)

    def _look_now_and_then(self) -> None:
        self._is_looking = self._limits.hours is not None and not self._is_stopped
        if self._is_looking:
            self._zone.follow()
            self.look()
            self._core.call_later(LOOK_S, self._look_now_and_then)

    def look(self) -> None:
        """Let the limits hold that hold now."""
        before = dict(self._may)
        self._apply()
        if self._may != before:
            self._on_changed()

    def _apply(self) -> None:
        limits = self._limits
        if self.is_within_hours:
            rates = {UP: limits.upload_kib_s, DOWN: limits.download_kib_s}
            self._may = dict.fromkeys(rates, True)
        else:
            rates = {UP: limits.other_upload_kib_s, DOWN: limits.other_download_kib_s}
            self._may = {direction: bool(rate) for direction, rate in rates.items()}
        for direction, bucket in ((UP, self.upload), (DOWN, self.download)):
            ceiling = self._ceilings[direction]
            rate: float = rates[direction]
            if not self._may[direction]:
                bucket.close()
            elif ceiling is None:
                bucket.set_rate(rate)
            else:
                bucket.set_rate(min(rate or ceiling / 1024, ceiling / 1024))
        down = [limits.download_kib_s, (self._ceilings[DOWN] or 0) / 1024]
        self._opened.set_rate(min((one for one in down if one), default=0))
        self._apply_to_relays()

    def _apply_to_relays(self) -> None:
        """What is carried for others comes and goes: it keeps to both directions."""
        if not all(self._may.values()):
            self.relay.close()
            return
        limit = self._limits.relay_kib_s
        ceilings = [one / 1024 for one in self._ceilings.values() if one is not None]
        self.relay.set_rate(min([*([limit] if limit else []), *ceilings], default=0))
