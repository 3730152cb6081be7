"""How often the disk is looked at while bytes go to it. Must not know what they are."""

from collections.abc import Callable
from typing import Final

from fonshare_agent.disk import Disk

# A pulled disk takes no more than this unnoticed. Looking costs dozens of calls: for
# each of the smallest blocks it would cost a router more than their hashes.
CHECK_BYTES: Final = 1024 * 1024
CHECK_S: Final = 1.0


class DiskGuard:
    """Looks at the disk now and then while bytes go to it. Any thread."""

    def __init__(self, disk: Disk, clock: Callable[[], float]) -> None:
        """*disk* was looked at just now."""
        self.disk, self._clock = disk, clock
        self._checked_at, self._unchecked = clock(), 0

    def check(self) -> None:
        """Raise unless the disk is there and takes writes."""
        self.disk.check_writable()
        # Not before: once it is gone, each call is to say so.
        self._checked_at, self._unchecked = self._clock(), 0

    def count(self, length: int) -> None:
        """Call before each *length* bytes are written; looks if that is due."""
        self._unchecked += length  # two threads at once: a chunk more or less
        since_s = self._clock() - self._checked_at
        if self._unchecked >= CHECK_BYTES or since_s >= CHECK_S:
            self.check()
