"""How long each job that cannot go on is left alone.

Owns the times before which a job is not tried again. What does not change soon (nobody
is online, nobody can be reached) is tried less and less often, with jitter, up to every
quarter of an hour; what breaks off at once again and again, up to every quarter of a
minute. A wake ends every wait, since then something has changed; one that comes while a
job is tried is for the wait that would follow, since what changed may be just what that
attempt did not find. Core thread.
"""

from collections.abc import Callable, Collection
from typing import Final

from fonshare_agent.links.backoff import Backoff
from fonshare_agent.reasons import RETRY_S, RETRY_SLOWLY_S, Reason

RETRY_MAX_S: Final = 900.0


class Pauses:
    """The waits of all jobs. *draw* returns random bytes, for jitter."""

    def __init__(
        self, clock: Callable[[], float], draw: Callable[[int], bytes]
    ) -> None:
        self._clock, self._draw = clock, draw
        self._not_before: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        # Of those that wait longer each time, since a wake; by the longest wait.
        self._backoffs: dict[str, dict[float, Backoff]] = {}
        self._woken: dict[str, set[str]] = {}  # for what, of those that are tried now

    def begin(self, job_id: str, running: Collection[str]) -> None:
        """The job is tried now, as all of *running* are."""
        self._woken = {j: w for j, w in self._woken.items() if j in running}
        self._woken[job_id] = set()

    def put(self, job_id: str, seconds: float) -> None:
        """Leave the job alone for so long."""
        self._not_before[job_id] = self._clock() + seconds

    def postpone(self, job_id: str, reason: Reason) -> float:
        """Leave the job alone for *reason*; return for how long."""
        if not self._woken.pop(job_id, set()).isdisjoint(("", reason.code)):
            self.end(job_id)
            return 0.0
        seconds = reason.retry_s
        is_slow = seconds >= RETRY_SLOWLY_S
        if is_slow or reason.code == "source.lost":
            longest_s = RETRY_MAX_S if is_slow else RETRY_S
            backoffs = self._backoffs.setdefault(job_id, {})
            if longest_s not in backoffs:
                backoffs[longest_s] = Backoff(self._draw, seconds, longest_s)
            seconds = backoffs[longest_s].next_wait_s()
        self.put(job_id, seconds)
        self._reasons[job_id] = reason.code
        return seconds

    def end(self, job_id: str) -> None:
        """The job may be tried at once."""
        self._not_before.pop(job_id, None)
        self._reasons.pop(job_id, None)
        self._backoffs.pop(job_id, None)

    def wake(self, job_id: str) -> None:
        """What the job waits for, or may be about to wait for, has come."""
        self.end(job_id)
        if job_id in self._woken:
            self._woken[job_id].add("")

    def end_all(self, only: str = "") -> None:
        """Something has changed that any job may have waited for; *only*: those that
        are left alone for that reason."""
        for job_id in list(self._not_before):
            if only in ("", self._reasons.get(job_id)):
                self.end(job_id)
        for woken in self._woken.values():
            woken.add(only)
        if not only:
            self._backoffs.clear()

    def end_due(self) -> None:
        """Let those go on whose time has come."""
        now = self._clock()
        self._not_before = {j: t for j, t in self._not_before.items() if t > now}
        kept = self._not_before.keys()
        self._reasons = {j: r for j, r in self._reasons.items() if j in kept}

    def is_paused(self, job_id: str) -> bool:
        return self._not_before.get(job_id, 0.0) > self._clock()

    def next_end(self) -> float | None:
        """When the next pause ends."""
        return min(self._not_before.values(), default=None)
