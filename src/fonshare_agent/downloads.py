"""The jobs: which run now, which wait, and what their owner is told.

A job is the wish to have an entry on this disk; it lives in state.db and outlives any
restart. At most `limits.transfers` attempts run at once; one that cannot go on leaves
its place to the next and is tried again after a while, or at once when a member comes
online or a catalogue moves. Core thread; decides about jobs, attempts.py does attempts.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from fonshare_agent.control import views
from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.errors import StorageError
from fonshare_agent.index.records import Found
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import MISSING, Job
from fonshare_agent.index.store import IndexStore
from fonshare_agent.job_adding import JobAdding
from fonshare_agent.job_history import JobHistory
from fonshare_agent.job_order import JobOrder
from fonshare_agent.model import GroupId, JobState, NodeId
from fonshare_agent.pauses import Pauses
from fonshare_agent.reasons import Postponed
from fonshare_agent.settings import LimitSettings, Settings
from fonshare_agent.streaming_on_demand import StreamingOnDemand
from fonshare_agent.watch import Attempts, Watch

log = logging.getLogger(__name__)

STORE_RETRY_S = 10.0
FAILURE_RETRY_S = 60.0  # whatever it was: trying again at once would spin
STOP_S = 8.0  # attempts let go within a read; a disk that hangs is not waited for


@dataclass(slots=True)
class _Running:
    watch: Watch
    is_first: bool
    is_followed: bool  # no more than a follow wants it
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
        self._state, self._attempts = state, attempts
        self._transfers = settings.limits.transfers
        self._running: dict[str, _Running] = {}
        self._pauses = Pauses(core.clock, draw)
        self._timer: Timer | None = None
        self._order = JobOrder()
        self.adding = JobAdding(
            store, files, index, state, settings, attempts.disk, names, draw
        )
        self._logged: dict[str, str] = {}  # why each waits, as the log has it
        self._is_filling = self._is_full_look_wanted = self._is_stopped = False
        self._on_limits: Callable[[LimitSettings], None] = lambda limits: None
        self._why_closed: Callable[[], str] = lambda: ""
        self.on_followed: Callable[[str], None] = lambda job_id: None
        place = os.fsencode(settings.disk)
        self.streaming = StreamingOnDemand(self, core, store, files, state, place)
        self.history = JobHistory(self, core, store, files, state, attempts)

    def wire_limits(
        self,
        on_limits: Callable[[LimitSettings], None],
        why_closed: Callable[[], str],
    ) -> None:
        """*why_closed* tells why nothing may be fetched now, "" if it may."""
        self._on_limits, self._why_closed = on_limits, why_closed

    @property
    def is_busy(self) -> bool:
        """Whether bytes move now: the scanner gives way then. Any thread."""
        return bool(self._running)

    def set_limits(self, limits: LimitSettings) -> None:
        self._transfers = limits.transfers
        self._on_limits(limits)
        self.wake()

    # --- the owner's verbs ---

    async def add(
        self,
        found: Found,
        to: str | None,
        mark: bool | None = None,
        follow: str | None = None,
    ) -> Job:
        """Make a job of *found*, or return the one there is for it already; *mark*:
        its beginning first (streaming), whether it is kept or only opened; *follow*
        wants it, and gives its place to what the owner wants."""
        is_wish = mark is not False
        if len(self._placed()) < self._transfers and not self._why_closed():
            self._attempts.expect(found.group, found.member)
        job, is_new = await self.adding.add(found, to, follow, is_wish=is_wish)
        rests = job.has_ended or job.id in self._running
        if is_wish and follow is None and not rests:
            self._make_room(lambda running: not running.is_followed)
        if not is_new:
            target = self.adding.target(found, to)
            return await self.streaming.want_again(job, target, mark)
        if mark is not None:
            await self.streaming.mark(job.id, is_kept=mark)
        self.wake()
        return job

    async def pause(self, job_id: str) -> JSON:
        """Let a job rest; what has arrived of it stays."""
        return await self._put(job_id, JobState.PAUSED)

    async def cancel(self, job_id: str) -> JSON:
        """End a job and delete what has arrived of it."""
        view = await self._put(job_id, JobState.CANCELLED)
        await self.history.discard(job_id)
        return view

    async def resume(self, job_id: str) -> JSON:
        """Let a paused or failed job go on."""
        job = await self._store.run(self._state.get_job, job_id)
        if job.state in (JobState.PAUSED, JobState.FAILED):
            job = await self._store.run(self._state.update_job, job_id, JobState.QUEUED)
            self._pauses.end(job_id)
            self.wake()
        return await self.view(job)

    async def pause_all(self) -> list[JSON]:
        """Let every job rest that has not ended."""
        return [await self.pause(job.id) for job in await self.all_in(MISSING)]

    async def resume_all(self) -> list[JSON]:
        """Let every paused job go on."""
        paused = await self.all_in((JobState.PAUSED,))
        return [await self.resume(job.id) for job in paused]

    async def move(self, job_id: str, *, to_front: bool) -> JSON:
        """Put a job before all others, at once, or behind all there are."""
        job = await self._store.run(self._state.move_job, job_id, to_front=to_front)
        if to_front:
            self._order.forget_turn(job_id)
            self._pauses.end(job_id)
            if job_id not in self._running and job.state in MISSING:
                self._make_room(lambda running: running.is_first)
        else:
            self._order.note_turn(job_id, self._core.clock())
            self.break_off(job_id)
        self._fill_soon()
        return await self.view(job)

    def _make_room(self, has_right: Callable[[_Running], bool]) -> None:
        """Let one without that right give its place away, if all are taken."""
        others = [one for one in self._placed() if not has_right(self._running[one])]
        if len(self._placed()) >= self._transfers and others:
            self.break_off(others[-1])

    async def _put(self, job_id: str, state: JobState) -> JSON:
        job = await self._store.run(self._state.get_job, job_id)
        if not job.has_ended:
            if job_id not in self._running:
                self._attempts.give_up(job_id)  # its place in a source's queue
            self.break_off(job_id, state)
            job = await self._store.run(self._state.update_job, job_id, state)
        if job.follow:
            self.on_followed(job_id)
        return await self.view(job)

    def break_off(self, job_id: str, state: JobState = JobState.QUEUED) -> None:
        """End the attempt that runs, if one does; *state* is what comes then.

        That the job only waits for its next turn undoes nothing else the owner wants.
        """
        running = self._running.get(job_id)
        if running and (running.stop is None or state is not JobState.QUEUED):
            running.stop, running.watch.is_cancelled = state, True
            self._attempts.give_up(job_id)

    # --- views ---

    async def views(self) -> list[JSON]:
        rows: list[JSON] = []
        after: int | None = None
        while page := await self._store.run(self._state.jobs, after):
            after = page[-1].position
            # In one visit: the page asks each second, and has a hundred jobs and more.
            names = await self._store.run(self._state.final_names, page)
            # No name: gone since, it was only opened.
            named = zip(page, names, strict=True)
            rows += [self._row(job, name) for job, name in named if name]
        return rows

    async def all_in(self, states: tuple[JobState, ...]) -> list[Job]:
        """Return the jobs in these states, in the order of the queue."""
        jobs: list[Job] = []
        while page := await self._store.run(
            self._state.jobs, jobs[-1].position if jobs else None, states=states
        ):
            jobs += page
        return jobs

    async def view(self, job: Job) -> JSON:
        [name] = await self._store.run(self._state.final_names, [job])
        if not name:
            await self._store.run(self._state.get_job, job.id)  # raises NotFound
        return self._row(job, name)

    def _row(self, job: Job, name: bytes) -> JSON:
        running = self._running.get(job.id)
        done = job.done_bytes + (running.watch.new_bytes if running else 0)
        sources = running.watch.sources if running else 0
        path = os.path.join(job.target, name)
        rests = job.has_ended or job.state is JobState.PAUSED
        why = "" if rests else self._why_closed()
        if why:
            job = replace(
                job, state=JobState.QUEUED, error_code="hours.closed", error_text=why
            )
        place = None if why or running or rests else self._attempts.place(job.id)
        row = views.job(job, min(done, job.size), sources, path, place)
        return row | self.streaming.view(job, path)

    # --- running ---

    def wake(self, only: str = "") -> None:
        """Something has changed that jobs may wait for; *only*: those of that reason.

        Else which jobs it frees is cheaper to try than to know."""
        self._pauses.end_all(only)
        self._fill_soon()

    def note_place_free(self, member: NodeId, job_id: str) -> None:
        """*member* says that the job's turn has come in its queue."""
        if self._attempts.is_queued_at(job_id, member):
            self._pauses.wake(job_id)
            self._fill_soon()

    def why_closed(self, job_id: str) -> str:
        """Why nothing of the job may be fetched now, "" if it may: decision 0105."""
        return "" if self.streaming.is_opened(job_id) else self._why_closed()

    def look_at_hours(self) -> None:
        """The hours have begun or ended."""
        if self._why_closed():
            for job_id in self._running:
                self.break_off(job_id)
        else:
            self.wake()

    def _fill_soon(self) -> None:
        self._is_full_look_wanted = self._is_filling  # what it has read may be old
        if not self._is_filling and not self._is_stopped:
            self._is_filling = True
            self._core.spawn_service("jobs", self._fill())

    async def _fill(self) -> None:
        """Give every free place to the next job that may run."""
        try:
            await self.streaming.load()
            jobs = [] if self._why_closed() else await self.all_in(MISSING)
            for job in self._in_order(jobs):
                if len(self._placed()) >= self._transfers:
                    break
                is_opened = self.streaming.is_opened(job.id)
                if not (self._pauses.is_paused(job.id) or is_opened):
                    self.start(job)
        except StorageError:
            self._core.call_later(STORE_RETRY_S, self._fill_soon)
            raise
        finally:
            self._is_filling = False
            self._arm()
            if self._is_full_look_wanted:
                self._fill_soon()

    def _placed(self) -> list[str]:
        """Which jobs run; those that are only opened take no place of others."""
        return [one for one in self._running if not self.streaming.is_opened(one)]

    def _in_order(self, jobs: list[Job]) -> list[Job]:
        known = {one.id for one in jobs}
        self._logged = {j: c for j, c in self._logged.items() if j in known}
        return self._order.sort(jobs, self._core.clock())

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._pauses.next_end()
        if due is not None and not self._is_stopped:
            self._timer = self._core.call_later(due - self._core.clock(), self._on_due)

    def _on_due(self) -> None:
        self._pauses.end_due()
        self._fill_soon()

    def is_running(self, job_id: str) -> bool:
        return job_id in self._running

    def start(self, job: Job) -> None:
        """Begin an attempt at *job*, unless one runs."""
        if job.id in self._running or self._is_stopped or self.why_closed(job.id):
            return
        self._order.note_turn(job.id, self._core.clock())
        self._pauses.begin(job.id, self._running)
        running = self._running[job.id] = _Running(
            Watch(lambda: self._core.post(lambda: self._note_begun(job.id))),
            job.is_first,
            job.follow is not None,
        )
        self._core.spawn_service(f"job {job.id}", self._run(job, running))

    def _note_begun(self, job_id: str) -> None:
        running = self._running.get(job_id)
        if running is not None and running.stop is None:
            self._logged.pop(job_id, None)
            self._pauses.end(job_id)
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
            del self._running[job.id]
            self._fill_soon()  # whatever goes wrong below, its place is free
            if job.follow:
                self.on_followed(job.id)
            self._attempts.end(job)

    async def _advance(self, job: Job, running: _Running) -> None:
        if not await self._store.run(self._state.begin_job, job.id):
            return  # paused or ended since the queue was read
        await self.streaming.join(job.id, running.watch)
        is_stopped = running.stop is not None  # before it had begun
        is_whole = not is_stopped and await self._attempts.bring(job, running.watch)
        # If its owner was told that it was stopped, that stays.
        if is_whole and running.stop in (None, JobState.QUEUED):
            await self._set_state(job.id, JobState.DONE)
            log.info("job %s is done", job.id)
        elif running.stop is JobState.QUEUED:
            await self._set_state(job.id, JobState.QUEUED)

    async def _postpone(
        self, job: Job, running: _Running, postponed: Postponed
    ) -> None:
        reason = postponed.reason
        if running.stop is JobState.QUEUED:  # that is why it ended
            await self._set_state(job.id, JobState.QUEUED)
            return
        if reason.code == "source.queued":
            place = self._attempts.place(job.id)
            reason = replace(reason, text=f"{reason.text}: place {place or 1}")
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
        await self.streaming.stop()
        for running in self._running.values():
            running.watch.is_cancelled = True
        until = self._core.clock() + STOP_S
        while self._running and self._core.clock() < until:
            await self._core.sleep(0.02)
