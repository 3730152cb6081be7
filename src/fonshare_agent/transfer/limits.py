"""The owner's limits of bandwidth: one bucket a direction, shared by all transfers.

Owns when the next bytes may move. Any thread may take; the clock comes in, and waiting
is the caller's, since only it knows when to give up. Must not know sockets.
"""

import threading
from collections.abc import Callable
from typing import Final

CHUNK_BYTES: Final = 64 * 1024  # the largest buffer of a transfer, DESIGN section 3
CHUNK_BYTES_MIN: Final = 4 * 1024
BURST_S: Final = 0.25  # unused time that may be made up for
_SMOOTH_PART: Final = 8  # a chunk takes no more than this part of a second


class TokenBucket:
    """Immutable: clock. Guarded by the lock: rate, level, since."""

    def __init__(self, kib_s: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rate = 0.0
        self._level = 0.0  # bytes that may move now; below zero: owed
        self._since = clock()
        self.set_rate(kib_s)

    def set_rate(self, kib_s: int) -> None:
        """Set the limit in KiB/s; 0 is none. What is owed is forgiven."""
        with self._lock:
            self._rate = kib_s * 1024.0
            self._level, self._since = 0.0, self._clock()

    @property
    def chunk_bytes(self) -> int:
        """How many bytes to move at once, so that a slow line stays smooth."""
        with self._lock:
            if not self._rate:
                return CHUNK_BYTES
            smooth = int(self._rate) // _SMOOTH_PART
            return max(CHUNK_BYTES_MIN, min(CHUNK_BYTES, smooth))

    def take(self, count: int) -> float:
        """Note that *count* bytes move, and return how many seconds to wait first."""
        with self._lock:
            if not self._rate:
                return 0.0
            now = self._clock()
            # A clock that stepped back gives nothing and takes nothing.
            passed = max(0.0, now - self._since)
            room = self._rate * BURST_S
            self._level = min(room, self._level + passed * self._rate) - count
            self._since = now
            return max(0.0, -self._level / self._rate)
