"""The ended jobs of state.db: which are to go from the list, and what is kept of them.

Part of StateStore, under its rules. Must not know why a job ended.
"""

from collections.abc import Callable
from typing import Any, Final

from fonshare_agent.model import JobState

OVER: Final = (JobState.DONE, JobState.CANCELLED)
OVER_KEPT: Final = 100  # done or cancelled, and still listed
FAILED_KEPT: Final = 500  # these wait for their owner; a bound there must be
PAGE: Final = 100  # job ids in one answer
# Of a follow's job: what it has brought is not on the follow's record (yet).
UNRECORDED: Final = (
    "(state = 'done' AND NOT EXISTS (SELECT 1 FROM follow_file f WHERE f.job = job.id))"
)
_TO_RECORD: Final = (  # its follow is still to learn of it
    f"({UNRECORDED} AND EXISTS (SELECT 1 FROM follow f WHERE f.id = job.follow))"
)


class EndedJobs:
    """*rows* and *write* run SQL."""

    def __init__(
        self, rows: Callable[..., list[Any]], write: Callable[..., None]
    ) -> None:
        self._rows, self._write = rows, write

    def over(self) -> list[str]:
        """Return jobs that are done or cancelled, those that ended last first."""
        return self._ids(OVER, 0)

    def surplus(self, over: int = OVER_KEPT, failed: int = FAILED_KEPT) -> list[str]:
        """Return those that ended longest ago, where there are more than so many: the
        owner's and those of follows each for themselves."""
        return [
            *self._ids(OVER, over, "follow IS NULL"),
            *self._ids(OVER, over, f"follow IS NOT NULL AND NOT {_TO_RECORD}"),
            *self._ids((JobState.FAILED,), failed),
        ]

    def _ids(
        self, states: tuple[JobState, ...], skipped: int, which: str = "TRUE"
    ) -> list[str]:
        sql = (
            f"SELECT id FROM job WHERE state IN ({', '.join('?' * len(states))})"
            f" AND {which}"
            f" ORDER BY ended DESC, number DESC LIMIT {PAGE} OFFSET ?"
        )
        values = (*(state.value for state in states), skipped)
        return [job_id for (job_id,) in self._rows(sql, values)]

    def with_files(self) -> list[str]:
        """Return folders that are done or cancelled, whose files are still kept."""
        return [
            job_id
            for (job_id,) in self._rows(
                "SELECT id FROM job WHERE state IN (?, ?) AND kind <> 'file' AND EXISTS"
                f" (SELECT 1 FROM job_file WHERE job = job.number) LIMIT {PAGE}",
                tuple(state.value for state in OVER),
            )
        ]

    def forget_files(self, job_id: str) -> None:
        """Keep only the sums of the job's files."""
        self._write(
            "DELETE FROM job_file WHERE job = (SELECT number FROM job WHERE id = ?)",
            (job_id,),
        )
