"""Whether the time of day is known: routers boot without a clock battery.

Unknown until it is not before the build's: a router boots with the newest file time it
finds, or in 1970. While it is unknown a broker whose certificate must be checked waits,
and nothing that depends on dates happens.
"""

import time
from collections.abc import Callable

BUILD_DATE = 1_767_225_600  # 2026-01-01 UTC; not after any release's


def is_known(now: Callable[[], float] = time.time) -> bool:
    """Tell whether the clock shows a time after this program was made."""
    return now() >= BUILD_DATE
