"""Brings many small files of a job at once: one question, one ticket, one stream.

What is wrong with one of them costs the others nothing: it is left to an attempt of its
own (fetching.py), which asks every source and says why it must wait. Core thread; the
disk and the network belong to workers.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.bringing import Bringer
from fonshare_agent.core import Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    BadPath,
    FonshareError,
    TargetBarred,
    TargetElsewhere,
)
from fonshare_agent.fetching import target_place
from fonshare_agent.granting import Outside
from fonshare_agent.index.records import Found
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, JobState, NodeId, Root, SharePath
from fonshare_agent.protocol.content import BUNDLE_BYTES_MAX, BUNDLED_BYTES_MAX
from fonshare_agent.protocol.fields import BUNDLE_FILES_MAX
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    BundleAsk,
    BundleGrant,
    BundlePart,
    BundleWish,
)
from fonshare_agent.reasons import Postponed
from fonshare_agent.sources import Sources, refusal
from fonshare_agent.transfer.batch import Batch, BatchFile
from fonshare_agent.transfer.disk_errors import translated
from fonshare_agent.transfer.finishing import demand_way
from fonshare_agent.transfer.partial_files import list_numbers
from fonshare_agent.transfer.reading import FetchBundle
from fonshare_agent.transfer.worker import TransferWorkers, reason_of
from fonshare_agent.watch import Watch

RECORDED_AT_ONCE = 64  # files by one transaction, so that others have their turn
WISH_BYTES = 64  # of a wish in JSON, besides its path


@dataclass(slots=True)
class Outcome:
    """What became of the files of one call: those in none of these come later."""

    done: list[JobFile] = field(default_factory=list)
    hashing: set[int] = field(default_factory=set)  # by number: the source is not ready
    alone: set[int] = field(default_factory=set)  # to be tried by themselves
    scout: int | None = None  # by number: alone it finds the way by which all may come
    reason: str = ""  # why the others cannot come now

    @property
    def settled(self) -> set[int]:
        return {file.number for file in self.done} | self.hashing | self.alone


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the source has a file."""

    file: JobFile
    share: str
    path: SharePath


class Bundles:
    """One bundle a call of `bring`; several run side by side."""

    def __init__(
        self,
        store: Worker,
        files: Worker,
        index: IndexStore,
        state: StateStore,
        disk: Disk,
        workers: TransferWorkers,
        asking: Asking,
        machine: Callable[[GroupId], GroupMachine | None],
        outside: Outside,
        sources: Sources,
        bringer: Bringer,
    ) -> None:
        self._store, self._files = store, files
        self._index, self._state, self._disk = index, state, disk
        self._workers, self._asking, self._machine = workers, asking, machine
        self._outside, self._sources, self._bringer = outside, sources, bringer

    async def bring(self, job: Job, files: Sequence[JobFile], watch: Watch) -> Outcome:
        """Bring some of *files*; Postponed if that must wait with all of them."""
        try:
            return await self._bring(job, files, watch)
        except NoAnswer:
            raise Postponed("source.silent") from None
        except FonshareError as error:
            raise Postponed(reason_of(error)) from None

    async def _bring(self, job: Job, files: Sequence[JobFile], watch: Watch) -> Outcome:
        # What has come of a file by itself is not thrown away.
        apart = await self._files.run(_find_apart, self._disk, job, files)
        outcome = Outcome(alone=apart)
        candidates = [one for one in files if one.number not in apart]
        source, places = await self._choose(job, candidates)
        if source is None:
            outcome.alone |= {one.number for one in candidates}
            return outcome
        places = _that_fit(places)
        grant = await self._ask(job, source, places)
        if isinstance(grant, str):
            if grant != "source.vanished":
                raise Postponed(grant)
            outcome.alone |= {one.number for one in candidates}
            return outcome
        wanted = _sort_out(places, grant.files, outcome)
        if wanted:
            await self._fetch(job, source, grant, wanted, watch, outcome)
        return outcome

    # --- the source -----------------------------------------------------------------

    async def _choose(
        self, job: Job, files: Sequence[JobFile]
    ) -> tuple[NodeId | None, list[_Place]]:
        """Return who is to be asked, and where that one has the files."""
        if not files:
            return None, []
        if self._sources.can_be_asked(job, job.member):
            return job.member, [_Place(one, job.share, one.path) for one in files]
        rooted = [one for one in files if one.root is not None]
        for source in await self._sources.online(job, rooted[0]) if rooted else ():
            found = await self._store.run(self._offers, job, source, files)
            if found:
                return source, found
        return None, []

    def _offers(
        self, job: Job, source: NodeId, files: Sequence[JobFile]
    ) -> list[_Place]:
        """On the store thread: what *source* has of *files*, in one share of it."""
        found: list[_Place] = []
        for file in files:
            offer: Found | None = None
            if file.root is not None:
                offer = self._index.find_offer(job.group, source, file.root)
            if offer is None or offer.path is None:
                continue
            if not found or found[0].share == offer.share:
                found.append(_Place(file, offer.share, offer.path))
        return found

    async def _ask(
        self, job: Job, source: NodeId, places: Sequence[_Place]
    ) -> BundleGrant | str:
        """Return the grant, or the code of the reason why there is none."""
        wishes = tuple(BundleWish(one.path, one.file.root) for one in places)
        self._sources.note_used(job, source)
        answer = await self._asking.ask(
            job.group,
            source,
            lambda request: BundleAsk(
                request,
                job.id,
                places[0].share,
                wishes,
                self._outside.certificate,
                self._outside.addresses(()),
            ),
            owner=job.id,
        )
        self._sources.note_place(job.id, source, answer)
        if not isinstance(answer, BundleGrant):
            return refusal(answer)
        if len(answer.files) != len(places):
            return "source.corrupt"
        return answer

    # --- the files ------------------------------------------------------------------

    async def _fetch(
        self,
        job: Job,
        source: NodeId,
        grant: BundleGrant,
        wanted: list[JobFile],
        watch: Watch,
        outcome: Outcome,
    ) -> None:
        machine = self._machine(job.group)
        member = machine and machine.roster.members.get(source)
        if not member:
            raise Postponed("source.vanished")
        detours = self._bringer.detours
        relay = await detours.find(job.group, source, grant.addresses, job.id)
        if relay is None and detours.is_needed(source):
            outcome.alone |= {one.number for one in wanted}  # each says why it waits
            return
        files = [_batch_file(job, one, self._disk) for one in wanted]
        batch = await self._files.run(Batch.open, self._disk, job.id, files)
        try:
            watch.sources = 1
            watch.start_at(0)
            task = FetchBundle(
                ticket=grant.ticket,
                secret=grant.secret,
                addresses=self._outside.dialable(grant.addresses),
                peer_fingerprint=member.statement.tls_fingerprint,
                batch=batch,
                watch=watch,
                relay=relay,
            )
            outcome.reason = await self._workers.fetch(task)
            # Whatever ended it: what has come whole is worth its name.
            placed = await self._files.run(batch.finish)
            outcome.done = await self._record(wanted, placed)
            watch.start_at(0)
        finally:
            await self._files.run(batch.remove)
        outcome.alone |= batch.wrong
        if outcome.reason == "unreachable":
            if relay is None:
                detours.note_knock(source, outcome.reason)
                outcome.scout = wanted[0].number
            else:
                detours.forget(source)
                outcome.alone |= {one.number for one in wanted}
            outcome.reason = ""

    async def _record(
        self, wanted: list[JobFile], placed: dict[int, bytes]
    ) -> list[JobFile]:
        done = [
            replace(
                one,
                state=JobState.DONE,
                done_bytes=one.size,
                final_name=placed[one.number],
                error_code="",
            )
            for one in wanted
            if one.number in placed
        ]
        for first in range(0, len(done), RECORDED_AT_ONCE):
            some = done[first : first + RECORDED_AT_ONCE]
            await self._store.run(self._state.update_files, some)
        return done


def _find_apart(disk: Disk, job: Job, files: Sequence[JobFile]) -> set[int]:
    """Return the numbers of those that are to be tried by themselves: something is
    kept of them, or where they go something lies in the way, which each says itself."""
    apart = list_numbers(disk, job.id) & {one.number for one in files}
    ways: dict[bytes, bool] = {}
    for one in files:
        folder, _ = target_place(job, one, disk)
        if folder not in ways:
            ways[folder] = _is_way(disk, folder)
        if not ways[folder]:
            apart.add(one.number)
    return apart


def _is_way(disk: Disk, folder: bytes) -> bool:
    try:
        with translated(disk):
            demand_way(disk, folder)
    except (TargetBarred, TargetElsewhere, BadPath):
        return False
    return True


def _that_fit(places: list[_Place]) -> list[_Place]:
    """Return the first of *places* that one question may be about."""
    fit: list[_Place] = []
    room, text = BUNDLE_BYTES_MAX, PAGE_BYTES
    for place in places[:BUNDLE_FILES_MAX]:
        room -= place.file.size
        text -= len(json.dumps(place.path.wire())) + WISH_BYTES
        if fit and (room < 0 or text < 0):
            break
        fit.append(place)
    return fit


def _sort_out(
    places: list[_Place], parts: Sequence[BundlePart], outcome: Outcome
) -> list[JobFile]:
    """Return the files that are in the bundle, in its order, as they were granted.

    A source that grants what was not asked for gives no bundle at all: who skipped one
    file would have to trust its size for the place of all others.
    """
    wanted: list[JobFile] = []
    size = 0
    for place, part in zip(places, parts, strict=True):
        file = place.file
        if part.reason or part.root is None:
            known = outcome.hashing if part.reason == "hashing" else outcome.alone
            known.add(file.number)
            continue
        size += part.size
        is_pinned = file.root is not None
        if part.size > BUNDLED_BYTES_MAX or size > BUNDLE_BYTES_MAX:
            break
        if is_pinned and (file.root, file.size) != (part.root, part.size):
            break
        granted = replace(file, root=Root(part.root), size=part.size)
        wanted.append(
            granted if is_pinned else replace(granted, modified=part.modified)
        )
    else:
        return wanted
    outcome.alone |= {place.file.number for place in places} - outcome.hashing
    return []


def _batch_file(job: Job, file: JobFile, disk: Disk) -> BatchFile:
    assert file.root is not None
    return BatchFile(
        file.number,
        file.size,
        file.root,
        file.modified,
        *target_place(job, file, disk),
    )
