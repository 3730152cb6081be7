"""One attempt at a job: its files one after another, small ones many at a time.

What holds up a single file (it vanished, changed, is being hashed, came damaged) costs
that file alone: the others are brought first, and then the attempt ends with the reason
that is worth trying again soonest. What holds up all of them ends it at once. Core
thread. Must not know which jobs run, or what their owner wants.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fonshare_agent.core import Worker
from fonshare_agent.disk import Disk
from fonshare_agent.fetching import Fetcher, target_place
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import MISSING, Job, JobFile
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.content import BUNDLED_BYTES_MAX
from fonshare_agent.protocol.fields import BUNDLE_FILES_MAX
from fonshare_agent.reasons import Postponed
from fonshare_agent.sources import Sources
from fonshare_agent.transfer.partial_files import discard_partials
from fonshare_agent.watch import Watch

if TYPE_CHECKING:
    from fonshare_agent.bundles import Bundles

OF_ONE_FILE = (
    "source.vanished",
    "source.changed",
    "source.corrupt",
    "source.hashing",
    "target.barred",
    "target.elsewhere",
)


@dataclass(slots=True)
class _Attempt:
    job: Job
    watch: Watch
    waiting: list[Postponed] = field(default_factory=list)  # one a kind of reason

    def put_off(self, postponed: Postponed) -> None:
        codes = {one.reason.code for one in self.waiting}
        if postponed.reason.code not in codes:
            self.waiting.append(postponed)


class Attempts:
    """Attempts, one a call of `bring`; several run side by side."""

    def __init__(
        self,
        store: Worker,
        files: Worker,
        state: StateStore,
        sources: Sources,
        fetcher: Fetcher,
        build_bundles: Callable[[], "Bundles"],
        on_arrived: Callable[[Path], None],
    ) -> None:
        self._store, self._files, self._state = store, files, state
        self._sources, self._fetcher = sources, fetcher
        self._build_bundles = build_bundles
        self._bundles: Bundles | None = None  # loaded with the first folder
        self._on_arrived = on_arrived

    @property
    def disk(self) -> Disk:
        return self._fetcher.disk

    def expect(self, group: GroupId, source: NodeId) -> None:
        """Something that *source* offers is about to be fetched."""
        self._fetcher.expect(group, source)

    def give_up(self, job_id: str) -> None:
        """Nobody waits for this job's answers any more."""
        self._sources.give_up(job_id)

    def place(self, job_id: str) -> int | None:
        """Return the job's place in a source's queue, if it waits in one."""
        return self._sources.place(job_id)

    def is_queued_at(self, job_id: str, source: NodeId) -> bool:
        return self._sources.is_queued_at(job_id, source)

    def end(self, job: Job) -> None:
        """The attempt is over: the sources need keep nothing for it."""
        self._sources.end(job)

    async def bring(self, job: Job, watch: Watch) -> bool:
        """Bring what *job* lacks; False if it was stopped, Postponed if some waits."""
        attempt, after = _Attempt(job, watch), -1
        while page := await self._store.run(
            self._state.files, job.id, MISSING, after, BUNDLE_FILES_MAX
        ):
            after = page[-1].number
            left = await self._bring_small(attempt, page)
            for file in left:
                if watch.is_cancelled:
                    return False
                await self._bring_one(attempt, file)
        if attempt.waiting:
            raise min(attempt.waiting, key=lambda one: one.reason.retry_s)
        if job.kind != "file":
            # A batch that a crash has cut short; its files came again since.
            await self._files.run(discard_partials, self.disk, job.id)
        return not watch.is_cancelled

    async def _bring_small(
        self, attempt: _Attempt, page: Sequence[JobFile]
    ) -> list[JobFile]:
        """Bring small files of *page* in bundles; return those to be tried alone."""
        small = [file for file in page if file.size <= BUNDLED_BYTES_MAX]
        alone = {file.number for file in page if file.size > BUNDLED_BYTES_MAX}
        while len(small) > 1 and not attempt.watch.is_cancelled:
            bundles = await self._get_bundles()
            outcome = await bundles.bring(attempt.job, small, attempt.watch)
            for file in outcome.done:
                self._tell(attempt.job, file)
            if outcome.reason:
                raise Postponed(outcome.reason)
            if outcome.hashing:
                attempt.put_off(Postponed("source.hashing"))
            alone |= outcome.alone
            settled = outcome.settled
            if outcome.scout is not None:
                scout = next(one for one in small if one.number == outcome.scout)
                await self._bring_one(attempt, scout)
                settled.add(scout.number)
            small = [file for file in small if file.number not in settled]
        alone |= {file.number for file in small}
        return [file for file in page if file.number in alone]

    async def _get_bundles(self) -> "Bundles":
        if self._bundles is None:
            try:
                await self._files.run(_import_bundles)
            except (ImportError, OSError):  # our own files lay on a disk that is gone
                raise Postponed("disk.missing") from None
            self._bundles = self._build_bundles()
        return self._bundles

    async def _bring_one(self, attempt: _Attempt, file: JobFile) -> None:
        try:
            done = await self._fetcher.fetch(attempt.job, file, attempt.watch)
        except Postponed as postponed:
            code = postponed.reason.code
            if code == "source.changed":
                await self._begin_anew(file)
            if code not in OF_ONE_FILE:
                raise
            attempt.put_off(postponed)
        else:
            if attempt.watch.stream is not None:  # it may go elsewhere by now
                attempt.job = await self._store.run(self._state.get_job, attempt.job.id)
            self._tell(attempt.job, done)

    async def _begin_anew(self, file: JobFile) -> None:
        """Nobody has the old content any more: next time it is the new one."""
        current = await self._store.run(self._state.get_file, file.job, file.number)
        anew = replace(current, root=None, done_bytes=0)
        await self._store.run(self._state.update_file, anew)
        await self._files.run(discard_partials, self.disk, file.job, file.number)

    def _tell(self, job: Job, file: JobFile) -> None:
        folder, _ = target_place(job, file, self.disk)
        place = os.path.join(folder, file.final_name or b"")
        self._on_arrived(Path(os.fsdecode(place)))


def _import_bundles() -> None:
    import fonshare_agent.bundles  # noqa: F401
