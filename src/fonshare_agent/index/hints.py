"""Places said to have changed, and when to look at each.

A place is looked at at once when it is first named. One that is named again and again
(a file written in small pieces for an hour) is looked at less and less often, and a
last time after it rests: friends hear of such a file a few times, not at each piece.

From any thread. It must not know what a place holds.
"""

import threading
from dataclasses import dataclass

from fonshare_agent.model import SharePath

HINTS_MAX = 1000  # more places changed than that: a scan of the share is cheaper
PAUSE_S = 1.0  # between the first two looks at one place; each further one doubles it
PAUSE_MAX_S = 60.0

Hint = tuple[str, SharePath]


@dataclass(frozen=True, slots=True)
class _Look:
    """The last look at a place, and how long the next one has to wait."""

    at: float
    pause_s: float


class Hints:
    """Guarded by `_lock`: everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[Hint, float] = {}
        self._looks: dict[Hint, _Look] = {}  # the latest last

    def add(self, share: str, path: SharePath) -> bool:
        """Note a place; False if there are too many to be worth keeping."""
        hint = share, path
        with self._lock:
            if len(self._due) >= HINTS_MAX:
                return False
            last = self._looks.get(hint)
            self._due.setdefault(hint, last.at + last.pause_s if last else 0.0)
            return True

    def take_due(self, now: float) -> list[Hint]:
        """Return the places to look at now, and count them as looked at."""
        with self._lock:
            due = [hint for hint, at in self._due.items() if at <= now]
            for hint in due:
                del self._due[hint]
                self._note_look(hint, now)
            return due

    def next_due(self) -> float | None:
        """Return when there is a place to look at."""
        with self._lock:
            return min(self._due.values(), default=None)

    def _note_look(self, hint: Hint, now: float) -> None:
        last = self._looks.pop(hint, None)
        has_rested = last is None or now - last.at > 2 * last.pause_s
        pause_s = PAUSE_S if last is None or has_rested else 2 * last.pause_s
        self._looks[hint] = _Look(now, min(pause_s, PAUSE_MAX_S))
        if len(self._looks) > HINTS_MAX:
            del self._looks[next(iter(self._looks))]
