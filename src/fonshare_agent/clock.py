"""Whether the time of day is known, and what it is here: hours, and the time zone.

Routers boot without a clock battery.

Unknown until it is not before the build's: a router boots with the newest file time it
finds, or in 1970. While it is unknown a broker whose certificate must be checked waits,
and nothing that depends on dates happens.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from fonshare_agent.errors import ClockUnknown

log = logging.getLogger(__name__)

Hours = tuple[int, int]  # minutes of the day: from, up to and without; may be overnight

ZONE_FILE = Path("/etc/TZ")  # OpenWrt's zone, as the variable TZ has it
LOCAL_TIME = Path("/etc/localtime")  # the C library's own, where there is one
ZONE_CHARACTERS_MAX = 64
BUILD_DATE = 1_767_225_600  # 2026-01-01 UTC; not after any release's


def is_known(now: Callable[[], float] = time.time) -> bool:
    """Tell whether the clock shows a time after this program was made."""
    return now() >= BUILD_DATE


def known_time(now: Callable[[], float] = time.time) -> int:
    """Return the time of day in seconds since 1970, or raise ClockUnknown."""
    if not is_known(now):
        raise ClockUnknown("the age of a file needs the time of day")
    return int(now())


def is_within(hours: Hours, now: float) -> bool:
    """Tell whether the local time of day at *now* is within *hours*."""
    here = time.localtime(now)
    minute = here.tm_hour * 60 + here.tm_min
    first, end = hours
    if first < end:
        return first <= minute < end
    return minute >= first or minute < end


def shown_hours(hours: Hours) -> str:
    """Return *hours* as 23:00-07:00."""
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in hours)


class Zone:
    """Lets this process follow the router's time zone, which may change at any time.

    A TZ that was given to the process wins. Without the file, or with nothing in it,
    the C library's own rule holds, which is UTC if it finds nothing either.
    """

    def __init__(self, file: Path = ZONE_FILE, local_time: Path = LOCAL_TIME) -> None:
        self._file, self._local_time = file, local_time
        self._is_given = "TZ" in os.environ
        self._seen: str | None = None

    def follow(self) -> None:
        """Look at the file again, and use what it says from now on."""
        zone = self._read()
        if self._is_given or zone == self._seen:
            return
        is_first, self._seen = self._seen is None, zone
        if zone:
            os.environ["TZ"] = zone
        elif is_first and not self._local_time.exists():
            log.warning("no time zone in %s: hours of the day are UTC", self._file)
        else:
            os.environ.pop("TZ", None)
        time.tzset()

    def _read(self) -> str:
        try:
            with self._file.open(encoding="ascii", errors="replace") as file:
                line = file.readline(ZONE_CHARACTERS_MAX).strip()
        except OSError:
            return ""
        return line if line.isprintable() and "\ufffd" not in line else ""
