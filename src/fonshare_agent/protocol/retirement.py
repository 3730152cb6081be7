"""For how long what a group has given up is still listened to: 90 days of uptime. Pure.

Owns the uptimes at which old epochs and former brokers were given up (DESIGN section 4,
Topics): a member that was away meets the others there. They are counted in this node's
own uptime, since its clock may be wrong and its router off for a season.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

KEPT_S: Final = 90 * 24 * 3600


class Retirement:
    """When each thing, by its name, was given up."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self._uptime_s = 0

    def restore(self, marks: Mapping[str, int]) -> None:
        """Take back what was stored."""
        self.marks = dict(marks)

    def follow(self, names: Iterable[str], uptime_s: int) -> bool:
        """These are given up now; tell whether there is something to store."""
        before = dict(self.marks)
        self._uptime_s = uptime_s
        # A count that was lost begins anew: nothing is over before its time.
        self.marks = {
            name: min(self.marks.get(name, uptime_s), uptime_s) for name in names
        }
        return self.marks != before

    def is_over(self, name: str) -> bool:
        """Tell whether the thing was given up long enough ago."""
        return self._uptime_s - self.marks.get(name, self._uptime_s) > KEPT_S


def name_of_broker(url: str) -> str:
    """What a broker is called where its login should not stand."""
    return "broker " + hashlib.sha256(url.encode()).hexdigest()[:16]
