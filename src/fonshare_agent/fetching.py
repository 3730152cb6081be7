"""One attempt to bring one file of a job here, from the question to the rename.

Finds a source that grants a ticket (sources.py), has the missing blocks brought
(bringing.py), then verifies the root and puts the file in place. Whatever stops an
attempt ends in `Postponed` with a stable code; what has been verified stays on the disk
and the next attempt goes on there. Core thread; disk and network belong to workers.
"""

import os
from contextlib import suppress
from dataclasses import replace

from fonshare_agent.asking import NoAnswer
from fonshare_agent.bringing import Bringer, Others
from fonshare_agent.core import Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    BadContent,
    FonshareError,
    NotFound,
    StorageError,
    TransferCancelled,
)
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.model import GroupId, JobState, NodeId, Root
from fonshare_agent.protocol.messages import TicketGrant
from fonshare_agent.reasons import Postponed
from fonshare_agent.sources import Sources, owner_of
from fonshare_agent.storable import storable_folder, storable_name
from fonshare_agent.transfer.disk_errors import is_ours, translated
from fonshare_agent.transfer.finishing import demand_way
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.worker import reason_of
from fonshare_agent.watch import Watch

NOBODY_THERE = ("source.offline", "source.silent", "source.vanished")


class Fetcher:
    """Attempts, one a call of `fetch`; several run side by side."""

    def __init__(
        self,
        store: Worker,
        files: Worker,
        state: StateStore,
        disk: Disk,
        bringer: Bringer,
        sources: Sources,
    ) -> None:
        self._store, self._files = store, files
        self._state, self.disk = state, disk
        self._bringer, self._sources = bringer, sources

    def expect(self, group: GroupId, source: NodeId) -> None:
        """Something that *source* offers is about to be fetched."""
        self._bringer.expect(group, source)

    async def fetch(self, job: Job, file: JobFile, watch: Watch) -> JobFile:
        """Bring *file* here and return it as done; Postponed if that must wait."""
        watch.start_file(file.done_bytes)
        try:
            return await self._fetch(job, file, watch)
        except NoAnswer:
            raise Postponed("source.silent") from None
        except BadContent:
            raise Postponed("source.corrupt") from None
        except FonshareError as error:
            reason = reason_of(error)
            # What lies in the way is said by the error alone.
            text = str(error) if reason.startswith("target.") else ""
            raise Postponed(reason, text) from None
        finally:
            watch.start_file(0)

    async def _fetch(self, job: Job, file: JobFile, watch: Watch) -> JobFile:
        folder, _ = target_place(job, file, self.disk)
        await self._files.run(_demand_way, self.disk, folder)
        kept = await self._open_kept(file)
        if kept is not None:
            try:
                if kept.has_hashes and kept.is_complete:
                    # All is here; only the end was lost, and that needs no source.
                    return await self._finish(job, file, kept, watch)
            finally:
                await self._files.run(kept.close)
        return await self._fetch_from_source(job, file, watch)

    async def _open_kept(self, file: JobFile) -> Partial | None:
        if file.root is None:
            return None
        return await self._files.run(
            Partial.open, self.disk, file.job, file.number, file.size, file.root
        )

    async def _fetch_from_source(
        self, job: Job, file: JobFile, watch: Watch
    ) -> JobFile:
        try:
            return await self._fetch_and_hold(job, file, watch)
        finally:
            self._sources.holdings.end(owner_of(file))

    async def _fetch_and_hold(self, job: Job, file: JobFile, watch: Watch) -> JobFile:
        # Who waits in a queue is refused more often than not.
        if not self._sources.is_queued_at(job.id, job.member):
            self.expect(job.group, job.member)
        try:
            granted = await self._sources.find(job, file, watch)
        except Postponed as postponed:
            if postponed.reason.code not in NOBODY_THERE:
                raise
            if await self._sources.find_partner(job, file) is not None:
                return await self._fetch_from_partners(job, file, watch, postponed)
            if postponed.reason.code != "source.offline":
                raise
            # Who came online while partners were waited for woke nobody.
            granted = await self._sources.find(job, file, watch)
        file = await self._pin(file, granted.grant)
        kept = await self._open_kept(file)
        assert kept is not None  # the root is pinned
        done: JobFile | None = None
        try:
            others = self._others(job, file)
            reason = await self._bringer.bring(granted, kept, watch, others)
            if reason:
                text = self._sources.blame(job) if reason == "source.corrupt" else ""
                raise Postponed(reason, text)
            demand_wanted(watch)
            if watch.stream is not None:
                await self._files.run(watch.stream.hold)
            done = await self._finish(job, file, kept, watch)
            return done
        finally:
            if watch.stream is not None:
                await self._files.run(watch.stream.detach)
            await self._leave(done or file, kept, watch)

    async def _fetch_from_partners(
        self, job: Job, file: JobFile, watch: Watch, postponed: Postponed
    ) -> JobFile:
        """Go on with those who fetch the same, since nobody who offers it can be
        asked. *postponed* again if they do not have all of it, either."""
        kept = await self._open_kept(file)
        assert kept is not None  # partners are asked by the root
        done: JobFile | None = None
        try:
            others = self._others(job, file)
            reason = await self._bring_from_partners(job, file, kept, watch, others)
            if is_ours(reason):
                raise Postponed(reason)
            if reason and await self._sources.online(job, file):
                raise Postponed("source.lost")  # somebody has come meanwhile
            if reason:
                raise postponed
            done = await self._finish(job, file, kept, watch)
            return done
        finally:
            await self._leave(done or file, kept, watch)

    async def _leave(self, file: JobFile, kept: Partial, watch: Watch) -> None:
        """Let go of *kept*; what is in it of a file that is not done is put on record,
        for the owner to see while it waits."""
        here = await self._files.run(_let_go, kept)
        if file.state is not JobState.DONE and here != watch.recorded:
            with suppress(NotFound, StorageError):  # the next attempt counts it anew
                waiting = replace(file, done_bytes=here)
                await self._store.run(self._state.update_file, waiting)
                watch.recorded = here

    async def _bring_from_partners(
        self, job: Job, file: JobFile, kept: Partial, watch: Watch, others: Others
    ) -> str:
        if kept.has_hashes:
            return await self._bringer.bring_from_partners(kept, watch, others)
        granted = await self._sources.ask_partners(job, file)
        if granted is None:
            return "source.lost"
        return await self._bringer.bring(granted, kept, watch, others)

    def _others(self, job: Job, file: JobFile) -> Others:
        return Others(
            online=lambda: self._sources.online(job, file),
            ask=lambda source: self._sources.ask(job, file, source),
            distrust=lambda source: self._sources.distrust(job, source),
            ask_partner=lambda source: self._sources.ask_partner(job, file, source),
            hold=lambda kept: self._sources.hold(job, file, kept),
            me=self._sources.me,
        )

    async def _pin(self, file: JobFile, grant: TicketGrant) -> JobFile:
        """Keep the root of the first grant: bytes of two roots never mix."""
        if file.root is not None:
            if file.root != grant.root:
                raise Postponed("source.changed")
            if file.size != grant.size:
                raise Postponed("source.corrupt")  # the root says the size, too
            return file
        pinned = replace(
            file,
            root=Root(grant.root),
            size=grant.size,
            modified=grant.modified,
        )
        await self._store.run(self._state.update_file, pinned)
        return pinned

    # --- the end ---

    async def _finish(
        self, job: Job, file: JobFile, kept: Partial, watch: Watch
    ) -> JobFile:
        verifying = replace(file, state=JobState.VERIFYING, done_bytes=file.size)
        # Two things on disk at a time: the record tells the owner, no more.
        noted = self._store.run(self._state.update_file, verifying)
        watch.recorded = file.size
        if watch.stream is not None:
            # Who has opened it may have said since where it shall be kept; not any
            # more once this is on record.
            await noted
            job = await self._store.run(self._state.get_job, job.id)
        try:
            folder, wanted = target_place(job, file, self.disk)
            name = await self._files.run(
                kept.finish,
                folder,
                wanted,
                file.modified,
                lambda _: demand_wanted(watch),
            )
        finally:
            await noted
        if name is None:
            raise Postponed("source.corrupt")  # bad blocks were dropped: fetch again
        done = replace(verifying, state=JobState.DONE, final_name=name, error_code="")
        await self._store.run(self._state.update_file, done)
        await self._hold_on(done, os.path.join(folder, name))
        await self._files.run(kept.remove)
        return done

    async def _hold_on(self, file: JobFile, place: bytes) -> None:
        """Let partners read on from the file that has arrived."""
        holding = self._sources.holdings.find_owned(owner_of(file))
        if holding is not None:
            from fonshare_agent.parts import stamp_at

            with suppress(FonshareError, OSError):  # moved away already: no matter
                holding.rest(*await self._files.run(stamp_at, self.disk, place))


def _demand_way(disk: Disk, folder: bytes) -> None:
    disk.check_writable()  # a disk that is away is told first
    with translated(disk):
        demand_way(disk, folder)


def _let_go(kept: Partial) -> int:
    """Close *kept*; what was verified of it is there for the next attempt. Return how
    many bytes that are.

    Partners may lack what this node alone has, and their source may be gone.
    """
    with suppress(StorageError):  # then that part of it is fetched again
        if kept.has_hashes and not kept.is_complete:
            kept.sync()
    here = kept.done_bytes
    kept.close()
    return here


def demand_wanted(watch: Watch) -> None:
    if watch.is_cancelled:
        raise TransferCancelled("the job was stopped")


def target_place(job: Job, file: JobFile, disk: Disk) -> tuple[bytes, bytes]:
    """Return the absolute folder for *file*, and the name that it is to have there.

    A folder job keeps its tree.
    """
    top = job.path.parts[:-1] if job.path is not None else ()
    inside = file.path.parts[len(top) : -1]
    if job.path is None:
        inside = (job.share.encode(), *inside)
    folder, name = b"/".join((job.target, *inside)), file.path.name
    if disk.refuses_names:
        return storable_folder(folder, disk.path), storable_name(name)
    return folder, name
