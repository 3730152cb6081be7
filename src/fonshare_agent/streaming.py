"""Files that are read while they arrive: their streams, and the jobs that only readers
keep alive. Loaded with the first of them. Core thread.
"""

from fonshare_agent.core import Core, Worker
from fonshare_agent.downloads import Downloads
from fonshare_agent.index.state import StateStore
from fonshare_agent.streaming_on_demand import StreamingOnDemand
from fonshare_agent.transfer.stream import Stream


class Streaming:
    """See the module's text."""

    def __init__(
        self,
        downloads: Downloads,
        marks: StreamingOnDemand,
        core: Core,
        store: Worker,
        files: Worker,
        state: StateStore,
    ) -> None:
        self._downloads, self._marks = downloads, marks
        self._core, self._store, self._files = core, store, files
        self._state = state
        self._streams: dict[str, Stream] = {}

    def stream(self, job_id: str, *, is_kept: bool) -> Stream:
        """Return the stream of a job, which may be new."""
        if job_id not in self._streams:
            self._streams[job_id] = Stream(is_all=is_kept)
        return self._streams[job_id]

    def keep(self, job_id: str) -> None:
        """The whole file is wanted now, whoever reads it."""
        if job_id in self._streams:
            self._streams[job_id].is_all = True

    def ready_bytes(self, job_id: str) -> int:
        stream = self._streams.get(job_id)
        return 0 if stream is None else stream.ready_bytes

    def close(self) -> None:
        """Let go of every file. Blocks."""
        for stream in list(self._streams.values()):
            stream.close()
