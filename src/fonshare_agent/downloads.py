"""The jobs: which run now, which wait, and what their owner is told.

A job is the wish to have an entry on this disk; it lives in state.db and outlives any
restart. At most `limits.transfers` attempts run at once; one that cannot go on leaves
its place to the next and is tried again after a while, or at once when a member comes
online or a catalogue moves. Core thread; decides about jobs, attempts.py does attempts.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fonshare_agent.control import views
from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import BadPath, NotAllowed, StorageError
from fonshare_agent.index.records import Found, id_digest, id_text
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import MISSING, Job, JobFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import (
    GroupId,
    JobState,
    NodeId,
    SharePath,
    base32,
    printable,
)
from fonshare_agent.pauses import Pauses
from fonshare_agent.reasons import Postponed
from fonshare_agent.settings import LimitSettings, Settings
from fonshare_agent.transfer.leftovers import discard_job, kept_jobs
from fonshare_agent.watch import Watch

log = logging.getLogger(__name__)

JOB_ID_BYTES = 5  # 8 characters: enough for the jobs one node keeps
STORE_RETRY_S = 10.0
FAILURE_RETRY_S = 60.0  # whatever it was: trying again at once would spin
STOP_S = 8.0  # attempts let go within a read; a disk that hangs is not waited for


class Attempts(Protocol):
    """What is asked of attempts.Attempts, which may be loaded only then."""

    @property
    def disk(self) -> Disk: ...

    async def bring(self, job: Job, watch: Watch) -> bool: ...

    def give_up(self, job_id: str) -> None: ...

    def end(self, job: Job) -> None: ...


@dataclass(slots=True)
class _Running:
    watch: Watch
    stop: JobState | None = None  # what the owner wants instead


class Downloads:
    """The decider of the destination's side."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        files: Worker,
        index: IndexStore,
        state: StateStore,
        attempts: Attempts,
        settings: Settings,
        names: Callable[[GroupId, NodeId], tuple[str, str]],
        draw: Callable[[int], bytes],
    ) -> None:
        self._core, self._store, self._files = core, store, files
        self._index, self._state, self._attempts = index, state, attempts
        self._settings, self._names = settings, names
        self._draw = draw
        self._transfers = settings.limits.transfers
        self._running: dict[str, _Running] = {}
        self._pauses = Pauses(core.clock, draw)
        self._timer: Timer | None = None
        self._turns: dict[str, float] = {}  # when each was tried last
        self._logged: dict[str, str] = {}  # why each waits, as the log has it
        self._is_filling = self._is_full_look_wanted = False
        self._is_stopped = False
        self._on_limits: Callable[[LimitSettings], None] = lambda limits: None

    def wire_limits(self, on_limits: Callable[[LimitSettings], None]) -> None:
        self._on_limits = on_limits

    @property
    def is_busy(self) -> bool:
        """Whether bytes move now: the scanner gives way then. Any thread."""
        return bool(self._running)

    def set_limits(self, limits: LimitSettings) -> None:
        self._transfers = limits.transfers
        self._on_limits(limits)
        self.wake()

    # --- the owner's verbs ---

    async def add(self, found: Found, to: str | None) -> Job:
        """Make a job of *found*, or return the one there is for it already."""
        if found.own:
            raise NotAllowed(
                "that is a file of this node already",
                thing=printable(found.name),
                next="Nothing was fetched.",
            )
        same = await self._find_same(found)
        if same is not None:
            return same
        target = self._target(found, to)
        job = Job(
            id=base32(self._draw(JOB_ID_BYTES)),
            group=found.group,
            member=found.member,
            share=found.share,
            path=found.path,
            kind=found.kind,
            name=printable(found.name),
            target=target,
            created=int(time.time()),
        )
        job = await self._store.run(self._add_job, job, found)
        self.wake()
        return job

    async def _find_same(self, found: Found) -> Job | None:
        """Return the job that fetches *found*, or has fetched just this content."""
        job = await self._store.run(
            self._state.find_same,
            found.group,
            found.member,
            found.share,
            found.path,
            also_ended=True,
        )
        if job is None or job.state in (JobState.FAILED, JobState.CANCELLED):
            return None
        if job.state is not JobState.DONE:
            return job
        if job.kind != "file":
            return None  # what is new in a folder is worth another look
        file = await self._store.run(self._state.get_file, job.id, 0)
        place = Path(os.fsdecode(os.path.join(job.target, file.final_name or b"")))
        is_here = await self._files.run(place.is_file)
        return job if is_here and file.root == found.root else None

    def _add_job(self, job: Job, found: Found) -> Job:
        """On the store thread: the files of a folder are streamed, never gathered."""
        # Again, now that nobody comes between: two may have asked for it at once.
        same = self._state.find_same(job.group, job.member, job.share, job.path)
        return same or self._state.add_job(job, self._files_of(job.id, found))

    def _files_of(self, job: str, found: Found) -> Iterator[JobFile]:
        if found.kind == "file" and found.path is not None:
            yield JobFile(job, 0, found.path, found.size, found.modified, found.root)
            return
        number, after = 0, None
        while page := self._index.walk_folder(found, after):
            for one in page:
                if one.path is not None:
                    yield JobFile(
                        job, number, one.path, one.size, one.modified, one.root
                    )
                    number += 1
            after = page[-1].path

    def _target(self, found: Found, to: str | None) -> bytes:
        """Return the absolute folder of the disk where *found* goes."""
        disk = self._settings.disk
        if to is None:
            group, member = self._names(found.group, found.member)
            return os.fsencode(self._settings.downloads_folder / group / member)
        folder = Path(os.path.normpath(disk / to))
        if folder != disk and disk not in folder.parents:
            raise BadPath(
                f"{to!r} is not on the disk {disk}",
                thing=to,
                next="Name a folder of the disk; nothing was fetched.",
            )
        if folder != disk:  # FonShare's own folder is no place for files
            SharePath.parse(os.fsencode(folder.relative_to(disk)))
        return os.fsencode(folder)

    async def pause(self, job_id: str) -> JSON:
        """Let a job rest; what has arrived of it stays."""
        return await self._put(job_id, JobState.PAUSED)

    async def cancel(self, job_id: str) -> JSON:
        """End a job and delete what has arrived of it."""
        view = await self._put(job_id, JobState.CANCELLED)
        await self._discard(job_id)
        return view

    async def resume(self, job_id: str) -> JSON:
        """Let a paused or failed job go on."""
        job = await self._store.run(self._state.get_job, job_id)
        if job.state in (JobState.PAUSED, JobState.FAILED):
            job = await self._store.run(self._state.update_job, job_id, JobState.QUEUED)
            self._pauses.end(job_id)
            self.wake()
        return await self.view(job)

    async def _put(self, job_id: str, state: JobState) -> JSON:
        job = await self._store.run(self._state.get_job, job_id)
        if not job.has_ended:
            running = self._running.get(job_id)
            if running is not None:
                running.stop, running.watch.is_cancelled = state, True
                self._attempts.give_up(job_id)
            job = await self._store.run(self._state.update_job, job_id, state)
        return await self.view(job)

    async def _discard(self, job_id: str) -> None:
        while job_id in self._running:  # it lets go within one read
            await self._core.sleep(0.05)
        await self._files.run(discard_job, self._attempts.disk, job_id)

    async def drop_group(self, group: GroupId) -> None:
        """End and forget every job of a group that this node has left."""
        for job in await self._all(tuple(JobState)):
            if job.group == group:
                await self.cancel(job.id)
                await self._store.run(self._state.delete_job, job.id)

    async def drop_orphans(self) -> None:
        """Delete what was kept for jobs that state.db does not know any more."""
        kept = await self._files.run(kept_jobs, self._attempts.disk)
        for job_id in kept:
            job = await self._store.run(self._state.find_job, job_id)
            if job is None or job.has_ended:
                await self._files.run(discard_job, self._attempts.disk, job_id)

    # --- views ---

    async def views(self) -> list[JSON]:
        return [await self.view(job) for job in await self._all(tuple(JobState))]

    async def _all(self, states: tuple[JobState, ...]) -> list[Job]:
        jobs: list[Job] = []
        while page := await self._store.run(
            self._state.jobs, jobs[-1].position if jobs else 0, states=states
        ):
            jobs += page
        return jobs

    async def view(self, job: Job) -> JSON:
        running = self._running.get(job.id)
        name = job.path.name if job.path is not None else job.share.encode()
        if job.kind == "file":
            file = await self._store.run(self._state.get_file, job.id, 0)
            name = file.final_name or name
        entry = id_text(
            id_digest(
                "file" if job.kind == "file" else "folder",
                job.group,
                job.member,
                job.share.encode(),
                job.path.raw if job.path is not None else b"",
            )
        )
        done = job.done_bytes + (running.watch.done_bytes if running else 0)
        sources = running.watch.sources if running else 0
        path = os.path.join(job.target, name)
        return views.job(job, entry, min(done, job.size), sources, path)

    # --- running ---

    def wake(self, group: GroupId | None = None) -> None:
        """Something has changed that jobs may wait for: look at the queue again."""
        del group  # which jobs it frees is cheaper to try than to know
        self._pauses.end_all()
        self._fill_soon()

    def _fill_soon(self) -> None:
        self._is_full_look_wanted = self._is_filling  # what it has read may be old
        if not self._is_filling and not self._is_stopped:
            self._is_filling = True
            self._core.spawn_service("jobs", self._fill())

    async def _fill(self) -> None:
        """Give every free place to the next job that may run."""
        try:
            for job in self._fairly(await self._all(MISSING)):
                if len(self._running) >= self._transfers:
                    break
                if job.id not in self._running and not self._pauses.is_paused(job.id):
                    self._start(job)
        except StorageError:
            self._core.call_later(STORE_RETRY_S, self._fill_soon)
            raise
        finally:
            self._is_filling = False
            self._arm()
            if self._is_full_look_wanted:
                self._fill_soon()

    def _fairly(self, jobs: list[Job]) -> list[Job]:
        """Those whose turn was longest ago first: a wake must not starve the others."""
        self._turns = {one.id: self._turns.get(one.id, 0.0) for one in jobs}
        self._logged = {j: c for j, c in self._logged.items() if j in self._turns}
        return sorted(jobs, key=lambda job: self._turns[job.id])

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._pauses.next_end()
        if due is not None and not self._is_stopped:
            self._timer = self._core.call_later(due - self._core.clock(), self._on_due)

    def _on_due(self) -> None:
        self._pauses.end_due()
        self._fill_soon()

    def _start(self, job: Job) -> None:
        self._turns[job.id] = self._core.clock()
        running = self._running[job.id] = _Running(
            Watch(lambda: self._core.post(lambda: self._note_begun(job.id)))
        )
        self._core.spawn_service(f"job {job.id}", self._run(job, running))

    def _note_begun(self, job_id: str) -> None:
        running = self._running.get(job_id)
        if running is not None and running.stop is None:
            self._logged.pop(job_id, None)
            begun = self._set_state(job_id, JobState.RUNNING)
            self._core.spawn_service(f"job {job_id}", begun)

    async def _set_state(self, job_id: str, state: JobState) -> None:
        await self._store.run(self._state.update_job, job_id, state)

    async def _run(self, job: Job, running: _Running) -> None:
        try:
            await self._advance(job, running)
        except Postponed as postponed:
            await self._postpone(job, running, postponed)
        except BaseException:
            self._pauses.put(job.id, FAILURE_RETRY_S)
            raise
        finally:
            self._attempts.end(job)
            del self._running[job.id]
            self._fill_soon()

    async def _advance(self, job: Job, running: _Running) -> None:
        if not job.error_code:  # else that stays told until bytes come again
            await self._set_state(job.id, JobState.LOCATING)
        is_whole = await self._attempts.bring(job, running.watch)
        if is_whole and running.stop is None:  # else its owner was told so: that stays
            await self._set_state(job.id, JobState.DONE)
            log.info("job %s is done", job.id)

    async def _postpone(
        self, job: Job, running: _Running, postponed: Postponed
    ) -> None:
        reason = postponed.reason
        self._pauses.postpone(job.id, reason)
        if running.stop is None:
            await self._store.run(
                self._state.update_job, job.id, reason.state, reason.code, reason.text
            )
            self._log_once(job.id, reason.code)

    def _log_once(self, job_id: str, code: str) -> None:
        """A catalogue that moves has the job tried many times: one line is enough."""
        if self._logged.get(job_id) != code:
            self._logged[job_id] = code
            log.info("job %s waits: %s", job_id, code)

    async def stop(self) -> None:
        """Let go of everything; the jobs go on at the next start."""
        self._is_stopped = True
        for running in self._running.values():
            running.watch.is_cancelled = True
        until = self._core.clock() + STOP_S
        while self._running and self._core.clock() < until:
            await self._core.sleep(0.02)
