"""The values that state.db gives back, and how its rows become them.

Must not know of the database itself: state.py runs the SQL.
"""

from dataclasses import dataclass
from typing import Any, Final

from fonshare_agent.model import ENDED, GroupId, JobState, NodeId, Root, SharePath

# Of jobs and files that are to be brought.
MISSING: Final = tuple(
    state for state in JobState if state not in ENDED and state is not JobState.PAUSED
)


@dataclass(frozen=True, slots=True)
class Job:
    """The wish to have an entry. `position` to `done_bytes` are the store's to set."""

    id: str
    group: GroupId
    member: NodeId
    share: str
    path: SharePath | None  # None: the whole share
    kind: str  # "file", "folder" or "share"
    name: str  # as people see it
    target: bytes  # the absolute folder where it goes
    created: int  # epoch seconds as the clock was
    state: JobState = JobState.QUEUED
    error_code: str = ""
    error_text: str = ""
    position: int = 0  # in the queue, below zero if put first
    files: int = 0
    files_done: int = 0
    size: int = 0  # of all files together
    done_bytes: int = 0
    follow: str | None = None  # the follow that wants it; None: the owner does

    @property
    def is_first(self) -> bool:
        """Whether its owner has put it before all others."""
        return self.position < 0

    @property
    def entry_name(self) -> bytes:
        return self.path.name if self.path is not None else self.share.encode()

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file of a job; `number` orders them from 0."""

    job: str
    number: int
    path: SharePath  # inside the share
    size: int
    modified: int
    root: Root | None = None
    state: JobState = JobState.QUEUED
    error_code: str = ""
    final_name: bytes | None = None
    done_bytes: int = 0


JOB_COLUMNS: Final = (
    "id, grp, member, share, path, kind, name, target, created, state, error_code,"
    " error_text, position, files, files_done, size, done_bytes, follow"
)
FILE_COLUMNS: Final = (
    "number, path, size, modified, root, state, error_code, final_name, done_bytes"
)


def job_of(row: tuple[Any, ...]) -> Job:
    """Return the job in a row of JOB_COLUMNS."""
    job_id, group, member, share, path, *rest = row
    kind, name, target, created, state, *last = rest
    return Job(
        job_id,
        GroupId(group),
        NodeId(member),
        share,
        SharePath.parse(path) if path else None,
        kind,
        name,
        target,
        created,
        JobState(state),
        *last,
    )


def file_of(job_id: str, row: tuple[Any, ...]) -> JobFile:
    """Return the file in a row of FILE_COLUMNS."""
    number, path, size, modified, root, state, *last = row
    return JobFile(
        job_id,
        number,
        SharePath.parse(path),
        size,
        modified,
        None if root is None else Root(root),
        JobState(state),
        *last,
    )
