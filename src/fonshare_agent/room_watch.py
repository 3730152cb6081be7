"""Tells when there is more room on the disk than what waits for it has found.

It is to be told what anybody has found (`Disk.room_seen`): a disk that was full between
two looks has made a job wait.
"""

import sys
import threading
from typing import Final

AT_ONCE_BYTES: Final = 1 << 20  # that much more is worth another try in any case
LATER_S: Final = 60.0  # less is tried too, but not more often: a try asks a friend


class RoomWatch:
    """Compares with the least that there was since it last said yes."""

    def __init__(self) -> None:
        self._least: int | None = None
        self._said_at = float("-inf")

    def has_grown(self, room_bytes: int, now: float) -> bool:
        """Note how much room there is; True if what waits for room may try again."""
        if self._least is None or room_bytes <= self._least:
            self._least = room_bytes
            return False
        is_much = room_bytes - self._least >= AT_ONCE_BYTES
        if not is_much and now - self._said_at < LATER_S:
            return False
        self._least, self._said_at = room_bytes, now
        return True


class LeastRoom:
    """The least free bytes that anybody has found since the last `take`. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._least = sys.maxsize

    def note(self, free_bytes: int) -> None:
        with self._lock:
            self._least = min(self._least, free_bytes)

    def take(self, free_bytes: int) -> int:
        """Return the least, and begin anew with *free_bytes*, those of now."""
        with self._lock:
            least, self._least = self._least, free_bytes
        return min(least, free_bytes)
