"""Which jobs are read while they arrive; the rest is loaded with the first of them.

A mark in state.db says of a job that its beginning comes first, and whether it is kept:
one that somebody has merely opened ends with its readers, and with the node. Core
thread; reading the modules from the disk is the files thread's.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import DiskMissing, StorageError
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job
from fonshare_agent.model import PRIVATE_FOLDER, printable
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.reasons import Postponed

if TYPE_CHECKING:
    from fonshare_agent.downloads import Downloads
    from fonshare_agent.streaming import Streaming
    from fonshare_agent.watch import Watch

MARK = "stream/"  # and the job's id: the name of a document


class StreamingOnDemand:
    """What the queue of jobs asks of it while there may be none."""

    def __init__(
        self,
        downloads: "Downloads",
        core: Core,
        store: Worker,
        files: Worker,
        state: StateStore,
        disk: bytes,
    ) -> None:
        self._downloads, self._core = downloads, core
        self._store, self._files, self._state = store, files, state
        self._disk = disk
        self._marks: dict[str, bool] = {}  # job -> whether it is kept
        self._is_loaded = False
        self._rest = OnDemand(files, self._load)

    async def load(self) -> None:
        """Read the marks, once; what was only opened ended with the last run."""
        if self._is_loaded:
            return
        for name in await self._store.run(self._state.document_names, MARK):
            job_id = name.removeprefix(MARK)
            job = await self._store.run(self._state.find_job, job_id)
            is_kept = await self._store.run(self._state.get_document, name)
            if job is None:
                await self._store.run(self._state.put_document, name, None)
            elif is_kept or job.has_ended or job_id in self._marks:
                self._marks.setdefault(job_id, bool(is_kept))
            else:
                with suppress(StorageError):  # what lies on a disk that is away goes
                    await self._downloads.cancel(job_id)  # as an orphan, later
                await self.forget(job_id)
        self._is_loaded = True

    async def mark(self, job_id: str, *, is_kept: bool = True) -> None:
        """Let the job's beginning come first; durable when this returns."""
        self._marks[job_id] = is_kept
        await self._store.run(self._state.put_document, MARK + job_id, is_kept)
        if is_kept and self._rest.made is not None:
            self._rest.made.keep(job_id)

    async def want_again(self, job: Job, target: bytes, mark: bool | None) -> Job:
        """The owner wants what *job* fetches already: *mark* as `Downloads.add` has it.

        What was only opened is kept from now on, and goes into *target*, unless it
        gets its place just now.
        """
        if job.has_ended:
            return job
        if self.is_opened(job.id) and mark is not False:
            job = await self._store.run(self._state.retarget_job, job.id, target)
            await self.mark(job.id)
            self._downloads.look_at_hours()  # they hold for it from now on
        elif mark is not None and job.id not in self._marks:
            await self.mark(job.id)
            self._downloads.break_off(job.id)
        return job

    async def forget(self, job_id: str) -> None:
        """That job was only opened, and nobody reads it any more."""
        self._marks.pop(job_id, None)
        await self._store.run(self._state.put_document, MARK + job_id, None)
        await self._store.run(self._state.delete_job, job_id)

    def is_opened(self, job_id: str) -> bool:
        """Whether the job lasts only as long as somebody reads it."""
        return self._marks.get(job_id) is False

    async def get(self) -> "Streaming":
        """Return the rest; raises DiskMissing if it cannot be loaded now."""
        return await self._rest.get()

    def _load(self) -> Callable[[], "Streaming"]:
        from fonshare_agent.streaming import Streaming

        return lambda: Streaming(
            self._downloads, self, self._core, self._store, self._files, self._state
        )

    async def join(self, job_id: str, watch: "Watch") -> None:
        """Let the readers of a marked job have what an attempt at it brings."""
        if job_id in self._marks:
            is_kept = self._marks[job_id]
            try:
                streaming = await self.get()
            except DiskMissing as error:
                raise Postponed("disk.missing", str(error)) from error
            watch.stream = streaming.stream(job_id, is_kept=is_kept)

    def view(self, job: Job, path: bytes) -> dict[str, JSON]:
        """Return where a player finds what is here of *job*, as an addition to its row.

        *path* is its place once it is done.
        """
        if job.id not in self._marks or job.kind != "file":
            return {}
        ready = job.done_bytes
        if not job.has_ended:
            data = self._disk, PRIVATE_FOLDER, b"partial", job.id.encode() + b"-0"
            path = os.path.join(*data, b"data")
            streaming = self._rest.made
            ready = 0 if streaming is None else streaming.ready_bytes(job.id)
        is_kept = self._marks[job.id]
        told: dict[str, JSON] = {"path": printable(path), "ready_bytes": ready}
        return {"stream": told | {"kept": is_kept}}

    async def stop(self) -> None:
        """Let go of every file."""
        if self._rest.made is not None:
            await self._files.run(self._rest.made.close)
