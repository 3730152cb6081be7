"""Whether the machine has memory for what takes much of it at once.

Where there is none, Linux does not refuse it: the kernel ends a process, first of all
this agent, and with it every session. Before that it throws out the code that programs
run on, and reads it from the disk again and again. So whoever is about to take a lot
asks here. What counts is what the kernel can give at once, free pages and the files it
keeps; MemAvailable counts more than that (its own tables) and is too high by half on a
router that is short.
"""

import logging
import re
from collections.abc import Callable
from pathlib import Path

from fonshare_agent.errors import MemoryShort

MEMINFO = Path("/proc/meminfo")
# Left for the code of the programs that run, this one's among it, and for their calls.
RESERVE_KIB = 4096
LOGIN_KIB = 4096  # what checking a password takes: passwords.MEMORY_MAX
_AT_ONCE = re.compile(rb"^(?:MemFree|(?:In)?[Aa]ctive\(file\)): *([0-9]+) kB$", re.M)

log = logging.getLogger(__name__)


def find_spare_kib() -> int | None:
    """Return how much can be had without ending anything; None: this kernel does not
    say."""
    try:
        found = _AT_ONCE.findall(MEMINFO.read_bytes())
    except OSError:
        return None
    return sum(map(int, found)) - RESERVE_KIB if len(found) == 3 else None


class SpareMemory:
    """Says in the log when a shortage begins, and when it is over. Any one thread."""

    def __init__(self, look: Callable[[], int | None] = find_spare_kib) -> None:
        self._look = look
        self._is_short = False

    def require(self, kib: int, what: str) -> None:
        """Raise MemoryShort unless there are *kib* for *what*."""
        spare = self._look()
        is_short = spare is not None and spare < kib
        if is_short != self._is_short:
            self._is_short = is_short
            if is_short:
                log.warning(
                    "memory is short: %s takes %d KiB, and %d can be had; refused"
                    " until there is more",
                    what,
                    kib,
                    max(spare or 0, 0),
                )
            else:
                log.warning("there is memory for %s again", what)
        if is_short:
            raise MemoryShort
