"""What passes between a job's owner and the threads that move its bytes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fonshare_agent.disk import Disk
    from fonshare_agent.index.state_records import Job
    from fonshare_agent.model import GroupId, NodeId
    from fonshare_agent.transfer.stream import Stream


class Watch:
    """How the owner follows and stops an attempt. Any thread may read and count.

    *on_begun* is called once, when bytes begin to come, by the thread that counts them.
    `stream` is set where the file is read while it arrives.
    """

    stream: "Stream | None" = None

    def __init__(self, on_begun: Callable[[], None] = lambda: None) -> None:
        self.is_cancelled = False
        self.sources = 0
        self.recorded = 0  # of the bytes counted here, how many are on the job's record
        self._done_bytes = 0
        self._has_begun, self._on_begun = False, on_begun

    @property
    def done_bytes(self) -> int:
        return self._done_bytes

    @done_bytes.setter
    def done_bytes(self, count: int) -> None:
        has_grown, self._done_bytes = count > self._done_bytes, count
        if has_grown and not self._has_begun:
            self._has_begun = True
            self._on_begun()

    @property
    def new_bytes(self) -> int:
        """How many more are here than are on the job's record."""
        return self._done_bytes - self.recorded

    def start_at(self, count: int) -> None:
        """*count* bytes were here before anything came."""
        self._done_bytes = count

    def start_file(self, recorded: int) -> None:
        """Another file is next, of which that much is on record."""
        self._done_bytes = self.recorded = recorded


class Attempts(Protocol):
    """What is asked of attempts.Attempts, which may be loaded only then."""

    @property
    def disk(self) -> "Disk": ...

    def expect(self, group: "GroupId", source: "NodeId") -> None: ...

    async def bring(self, job: "Job", watch: Watch) -> bool: ...

    def give_up(self, job_id: str) -> None: ...

    def place(self, job_id: str) -> int | None: ...

    def is_queued_at(self, job_id: str, source: "NodeId") -> bool: ...

    def end(self, job: "Job") -> None: ...
