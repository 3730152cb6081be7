"""Whether the time of day is known: routers boot without a clock battery.

Unknown until it is not before the build's: a router boots with the newest file time it
finds, or in 1970. While it is unknown a broker whose certificate must be checked waits,
and nothing that depends on dates happens.
"""

import time
from collections.abc import Callable

from fonshare_agent.errors import ClockUnknown

BUILD_DATE = 1_767_225_600  # 2026-01-01 UTC; not after any release's


def is_known(now: Callable[[], float] = time.time) -> bool:
    """Tell whether the clock shows a time after this program was made."""
    return now() >= BUILD_DATE


def known_time(now: Callable[[], float] = time.time) -> int:
    """Return the time of day in seconds since 1970, or raise ClockUnknown."""
    if not is_known(now):
        raise ClockUnknown("the age of a file needs the time of day")
    return int(now())
