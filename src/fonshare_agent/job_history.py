"""Jobs that have ended, and those of a group that was left: how they go.

The list keeps the newest of those that are done or cancelled, and every failed one
until its owner takes it off or lets it go on: there is a bound, far off, and a line in
the log. Nothing of it goes by the clock (decision 0104). Core thread.
"""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import NotAllowed, NotFound, StorageError
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import GroupId, JobState
from fonshare_agent.transfer.leftovers import discard_job, kept_jobs

if TYPE_CHECKING:
    from fonshare_agent.downloads import Downloads
    from fonshare_agent.watch import Attempts

log = logging.getLogger(__name__)


class JobHistory:
    """Forgets jobs, with all that was kept of them."""

    def __init__(
        self,
        downloads: "Downloads",
        core: Core,
        store: Worker,
        files: Worker,
        state: StateStore,
        attempts: "Attempts",
    ) -> None:
        self._downloads, self._core, self._attempts = downloads, core, attempts
        self._store, self._files, self._state = store, files, state

    async def remove(self, job_id: str) -> JSON:
        """Take an ended job off the list; return it as it was."""
        job = await self._store.run(self._state.get_job, job_id)
        if not job.has_ended:
            raise NotAllowed(
                f"job {job_id} has not ended",
                thing=job_id,
                next="Cancel it first: `fonshare jobs cancel`.",
            )
        view = await self._downloads.view(job)
        await self.discard(job_id)
        await self._downloads.streaming.forget(job_id)
        return view

    async def remove_over(self) -> list[JSON]:
        """Take all off the list that are done or cancelled; the failed ones stay."""
        views: list[JSON] = []
        while some := await self._store.run(lambda: self._state.ended.over()):
            for job_id in some:
                with suppress(NotFound):  # taken off by somebody else just now
                    views.append(await self.remove(job_id))
        return views

    async def drop_old(self) -> None:
        """Cut the list, and what state.db keeps of folders that need it no more."""
        for job_id in await self._store.run(lambda: self._state.ended.surplus()):
            job = await self._store.run(self._state.find_job, job_id)
            if job is not None and job.state is JobState.FAILED:
                log.warning("job %s failed and is forgotten: too many have", job_id)
            # What a failed one has on the disk goes as an orphan: now it may be away.
            await self._downloads.streaming.forget(job_id)
        for job_id in await self._store.run(lambda: self._state.ended.with_files()):
            if not self._downloads.is_running(job_id):
                await self._store.run(self._forget_files, job_id)

    def _forget_files(self, job_id: str) -> None:
        self._state.ended.forget_files(job_id)

    async def discard(self, job_id: str) -> None:
        """Delete what has arrived of a job that does not go on."""
        while self._downloads.is_running(job_id):  # it lets go within one read
            await self._core.sleep(0.05)
        await self._files.run(discard_job, self._attempts.disk, job_id)

    async def drop_group(self, group: GroupId) -> None:
        """End and forget every job of a group that this node has left.

        What cannot be deleted now, for want of the disk, goes as an orphan later.
        """
        for job in await self._downloads.all_in(tuple(JobState)):
            if job.group == group:
                with suppress(NotFound):  # it was only opened, and nobody reads it now
                    try:
                        await self._downloads.cancel(job.id)
                    except StorageError as error:
                        log.info("what is kept of a job is left: %s", error.code)
                await self._store.run(self._state.delete_job, job.id)

    async def drop_orphans(self) -> None:
        """Delete what was kept for jobs that state.db does not know any more."""
        kept = await self._files.run(kept_jobs, self._attempts.disk)
        for job_id in kept:
            job = await self._store.run(self._state.find_job, job_id)
            if job is None or job.has_ended:
                await self._files.run(discard_job, self._attempts.disk, job_id)
