"""In which order jobs are tried: the owner's wish first, then everybody's turn.

Jobs put first come before all others, in the order of the queue; but one that has just
been tried in vain waits FIRST_AGAIN_S behind the others, however often something wakes
the queue. The rest go by whose turn was longest ago, and who never had one by the order
of the queue; those that only a follow wants come behind all others. Core thread. Must
not know why a job waits.
"""

from collections.abc import Sequence
from typing import Final

from fonshare_agent.index.state_records import Job

FIRST_AGAIN_S: Final = 30.0


class JobOrder:
    """When each job was tried last, since this node started."""

    def __init__(self) -> None:
        self._turns: dict[str, float] = {}

    def sort(self, jobs: Sequence[Job], now: float) -> list[Job]:
        """Return *jobs*, which come in the order of the queue, as they are tried."""
        self._turns = {one.id: self._turns.get(one.id, -1.0) for one in jobs}
        return sorted(jobs, key=lambda job: self._rank(job, now))

    def _rank(self, job: Job, now: float) -> tuple[bool, bool, float]:
        turn = self._turns[job.id]
        is_tired = turn >= 0 and now - turn < FIRST_AGAIN_S
        comes_first = job.is_first and not is_tired
        is_low = job.follow is not None and not job.is_first
        return (is_low, not comes_first, -1.0 if comes_first else turn)

    def note_turn(self, job_id: str, now: float) -> None:
        """The job is tried now, or is to come behind all others."""
        self._turns[job_id] = now

    def forget_turn(self, job_id: str) -> None:
        """The job is to be tried as if for the first time."""
        self._turns.pop(job_id, None)
