"""Watches the line while we use it, and has us give way to the household.

Drives the pure GivingWay by the counters of the interface that leads out and by the
kernel's count of our own connections, four times a second while any is open, and never
otherwise. Core thread. Decides nothing.
"""

import logging
from collections.abc import Callable

from fonshare_agent.core import Core
from fonshare_agent.links.way_out import passed, way_out
from fonshare_agent.transfer.giving_way import GivingWay, Sample
from fonshare_agent.transfer.own_traffic import OwnTraffic

LOOK_S = 0.25
WAY_S = 10.0  # between two looks at which interface leads out
REST_S = 5.0  # without a connection: then the watch ends
LATE_S = 2.0  # what was on its way when a connection closed is here by then

log = logging.getLogger(__name__)

Ceilings = Callable[[float | None, float | None], None]  # up, down; bytes a second


class Household:
    """`traffic` is told of connections; *on_ceilings* hears how fast we may move."""

    def __init__(
        self,
        core: Core,
        on_ceilings: Ceilings,
        find_way: Callable[[], str | None] = way_out,
        read: Callable[[str], tuple[int, int] | None] = passed,
    ) -> None:
        self._core, self._on_ceilings = core, on_ceilings
        self._find_way, self._read = find_way, read
        self.traffic = OwnTraffic(lambda: core.post(self._begin))
        self._way = GivingWay()
        self._is_watching = self._is_stopped = False
        self._interface: str | None = None
        self._before: tuple[float, int, int] | None = None
        self._found_at = self._used_at = 0.0
        self._late_up = self._late_down = 0
        self._told: tuple[float | None, float | None] = (None, None)

    def stop(self) -> None:
        self._is_stopped = True

    def _begin(self) -> None:
        if not self._is_watching and not self._is_stopped:
            self._is_watching = True
            self._before, self._found_at = None, float("-inf")
            self._used_at = self._core.clock()
            self._look()

    def _look(self) -> None:
        now = self._core.clock()
        taken = self.traffic.take()
        if taken.connections:
            self._used_at = now
        if self._is_stopped or now - self._used_at > REST_S:
            self._is_watching = False
            self._tell(None, None)
            return
        fade = LOOK_S / LATE_S
        self._late_up -= int(self._late_up * fade)
        self._late_down -= int(self._late_down * fade)
        self._late_up += taken.late_sent
        self._late_down += taken.late_received
        line = self._line(now)
        if line is not None:
            seconds, up, down = line
            own_up, self._late_up = _with_late(taken.sent, up, self._late_up)
            own_down, self._late_down = _with_late(
                taken.received, down, self._late_down
            )
            queue_s = taken.queue_s
            self._way.feed(Sample(seconds, up, own_up, down, own_down, queue_s))
            self._tell(self._way.up_bytes_s, self._way.down_bytes_s)
        self._core.call_later(LOOK_S, self._look)

    def _line(self, now: float) -> tuple[float, int, int] | None:
        """Return the seconds since the last look, and what went up and down in them."""
        if now - self._found_at > WAY_S:
            self._found_at = now
            found = self._find_way()
            if found != self._interface:
                self._interface, self._before = found, None
        counted = self._read(self._interface) if self._interface else None
        before, self._before = self._before, counted and (now, *counted)
        if before is None or counted is None:
            return None
        since, up, down = before
        if counted[0] < up or counted[1] < down:  # it was made anew
            return None
        return now - since, counted[0] - up, counted[1] - down

    def _tell(self, up: float | None, down: float | None) -> None:
        if (up, down) != self._told:
            if (up, down) == (None, None) or self._told == (None, None):
                log.debug("giving way to the household: %s", (up, down))
            self._told = (up, down)
            self._on_ceilings(up, down)


def _with_late(own: int, line: int, late: int) -> tuple[int, int]:
    """Take from *late* what explains the rest of *line*."""
    used = min(late, max(0, line - own))
    return own + used, late - used
