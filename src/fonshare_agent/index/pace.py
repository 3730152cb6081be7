"""When the hashing that nobody waits for may read, and how fast: the owner's limits.

The hours are those of the local time of day; while that is unknown they are closed.
What a friend has asked for does not come here. It must not know what is read.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from fonshare_agent.clock import Hours, is_within

LOOK_S = 60.0  # between two looks at the clock while the hours are closed


@dataclass(slots=True)
class Pace:
    """*clock* is monotonic, *now* the time of day; 0 KiB/s is no limit."""

    clock: Callable[[], float]
    now: Callable[[], float]
    kib_s: int = 0
    hours: Hours | None = None
    is_time_known: Callable[[], bool] = lambda: True
    _free_at: float = field(default=0.0, init=False)

    def note_read(self, count: int) -> None:
        """*count* bytes were read: the next ones wait as long as the rate demands."""
        if self.kib_s:
            begin = max(self._free_at, self.clock())
            self._free_at = begin + count / (self.kib_s * 1024)

    def free_at(self) -> float:
        """Return the monotonic time from which on reading may go on."""
        if self._is_open():
            return self._free_at
        return max(self._free_at, self.clock() + LOOK_S)

    def _is_open(self) -> bool:
        if self.hours is None:
            return True
        if not self.is_time_known():
            return False
        return is_within(self.hours, self.now())
