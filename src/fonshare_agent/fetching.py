"""One attempt to bring one file of a job here, from the question to the rename.

Asks a source for a ticket, takes the block hashes, reads the missing blocks from all
who have them (gathering.py) or, where only the other direction connects, lets the
source push them; then verifies the root and puts the file in place. Whatever stops an
attempt ends in `Postponed` with a stable code; what has been verified stays on the disk
and the next attempt goes on there. Core thread; disk and network belong to workers.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    BadContent,
    FonshareError,
    StorageError,
    TransferCancelled,
)
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.granting import Outside
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.model import GroupId, JobState, NodeId, Root
from fonshare_agent.protocol.content import block_count
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import (
    BlocksAsk,
    BlocksPage,
    TicketGrant,
)
from fonshare_agent.reasons import REASONS, Postponed
from fonshare_agent.receiving import Receiver, Wanted
from fonshare_agent.sources import Granted, Sources
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.reading import Fetch
from fonshare_agent.transfer.worker import TransferWorkers, reason_of
from fonshare_agent.watch import Watch

if TYPE_CHECKING:
    from fonshare_agent.transfer.lanes import Lane

log = logging.getLogger(__name__)

PUSHER_S = 600.0  # who was reached by push alone is asked for one first, so long


class Fetcher:
    """Attempts, one a call of `fetch`; several run side by side."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        files: Worker,
        state: StateStore,
        disk: Disk,
        desk: TicketDesk,
        workers: TransferWorkers,
        asking: Asking,
        machine: Callable[[GroupId], GroupMachine | None],
        sources: Sources,
        outside: Outside,
        draw: Callable[[int], bytes],
    ) -> None:
        self._core, self._store, self._files = core, store, files
        self._state, self.disk = state, disk
        self._desk, self._workers, self._asking = desk, workers, asking
        self._machine, self._sources = machine, sources
        self._outside, self._draw = outside, draw
        self._receiver = Receiver(desk, asking, outside, core.clock, draw)
        self._pushers: dict[NodeId, float] = {}  # and until when they are remembered

    async def fetch(self, job: Job, file: JobFile, watch: Watch) -> JobFile:
        """Bring *file* here and return it as done; Postponed if that must wait."""
        try:
            return await self._fetch(job, file, watch)
        except NoAnswer:
            raise Postponed("source.silent") from None
        except BadContent:
            raise Postponed("source.corrupt") from None
        except StorageError as error:
            log.warning("job %s waits for the disk: %s", job.id, error.code)
            raise Postponed(reason_of(error)) from None
        except FonshareError as error:
            raise Postponed(reason_of(error)) from None

    async def _fetch(self, job: Job, file: JobFile, watch: Watch) -> JobFile:
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
        granted = await self._sources.find(job, file, watch)
        file = await self._pin(file, granted.grant)
        kept = await self._open_partial(job, file, granted)
        try:
            await self._bring(job, file, granted, kept, watch)
            return await self._finish(job, file, kept, watch)
        finally:
            await self._files.run(kept.close)

    def is_pusher(self, source: NodeId) -> bool:
        """Tell whether only *source* itself can make the connection, it seems."""
        return self._pushers.get(source, 0.0) > self._core.clock()

    def expect_push(self, source: NodeId) -> None:
        """Let *source* be asked for a push first, for a while."""
        self._pushers[source] = self._core.clock() + PUSHER_S

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

    # --- blocks ---

    async def _open_partial(self, job: Job, file: JobFile, granted: Granted) -> Partial:
        """Return the partial with its verified block list, asking for its rest."""
        kept = await self._open_kept(file)
        assert kept is not None  # the root is pinned
        try:
            if not kept.has_hashes:
                hashes = await self._all_hashes(job, file, granted)
                await self._files.run(kept.set_hashes, hashes)
        except BaseException:
            await self._files.run(kept.close)
            raise
        return kept

    async def _all_hashes(
        self, job: Job, file: JobFile, granted: Granted
    ) -> list[bytes]:
        assert file.root is not None
        root, hashes = file.root, list(granted.grant.hashes)
        while len(hashes) < block_count(file.size):
            ask = partial(
                BlocksAsk,
                share=granted.share,
                path=granted.path,
                root=root,
                first=len(hashes),
            )
            source = granted.source
            answer = await self._asking.ask(job.group, source, ask, owner=job.id)
            if not isinstance(answer, BlocksPage) or not answer.hashes:
                raise Postponed("source.changed")
            hashes += answer.hashes
        return hashes

    async def _bring(
        self, job: Job, file: JobFile, granted: Granted, kept: Partial, watch: Watch
    ) -> None:
        """Get every missing block: pulled, else pushed."""
        watch.sources = 1
        watch.start_at(kept.done_bytes)
        if kept.is_complete:
            return
        pull = partial(self._gather, job, file, granted, kept, watch)
        push = partial(self._have_pushed, job, file, granted, kept, watch)
        # Knocking in vain takes seconds: not again for each file of a folder.
        is_pusher = self.is_pusher(granted.source)
        self._pushers.pop(granted.source, None)
        first, second = (push, pull) if is_pusher else (pull, push)
        came_by, reason = first, await first()
        if reason == "unreachable":
            came_by, reason = second, await second()
        if reason:
            text = self._sources.blame(job) if reason == "source.corrupt" else ""
            raise Postponed(reason, text)
        if came_by is push:
            self.expect_push(granted.source)

    async def _gather(
        self, job: Job, file: JobFile, granted: Granted, kept: Partial, watch: Watch
    ) -> str:
        try:
            await self._files.run(_import_gathering)
        except (ImportError, OSError):  # our own files lay on a disk that is gone
            return "disk.missing"
        from fonshare_agent.gathering import Gathering, Ways

        ways = Ways(
            others=lambda: self._sources.online(job, file),
            ask=lambda source: self._sources.ask(job, file, source),
            pull=lambda granted, lane: self._pull(job, granted, kept, watch, lane),
            has_hands=lambda: self._workers.has_hands,
            distrust=lambda source: self._sources.distrust(job, source),
        )
        return await Gathering(self._core, ways, kept, watch).run(granted)

    async def _pull(
        self, job: Job, granted: Granted, kept: Partial, watch: Watch, lane: "Lane"
    ) -> str:
        machine, grant = self._machine(job.group), granted.grant
        member = machine and machine.roster.members.get(granted.source)
        if not member:
            return "source.vanished"
        return await self._workers.fetch(
            Fetch(
                ticket=grant.ticket,
                secret=grant.secret,
                addresses=self._outside.dialable(grant.addresses),
                peer_fingerprint=member.statement.tls_fingerprint,
                kept=kept,
                watch=watch,
                lane=lane,
            )
        )

    async def _have_pushed(
        self, job: Job, file: JobFile, granted: Granted, kept: Partial, watch: Watch
    ) -> str:
        assert file.root is not None
        reason = await self._receiver.receive(
            Wanted(
                job.group,
                granted.source,
                job.id,
                _job_code(file),
                granted.share,
                granted.path,
                file.root,
                granted.grant,
            ),
            kept,
            watch,
        )
        return reason if not reason or reason in REASONS else "source.lost"

    # --- the end ---

    async def _finish(
        self, job: Job, file: JobFile, kept: Partial, watch: Watch
    ) -> JobFile:
        verifying = replace(file, state=JobState.VERIFYING, done_bytes=file.size)
        await self._store.run(self._state.update_file, verifying)
        name = await self._files.run(
            kept.finish,
            target_folder(job, file),
            file.path.name,
            file.modified,
            lambda _: demand_wanted(watch),
        )
        if name is None:
            raise Postponed("source.corrupt")  # bad blocks were dropped: fetch again
        done = replace(verifying, state=JobState.DONE, final_name=name, error_code="")
        await self._store.run(self._state.update_file, done)
        await self._files.run(kept.remove)
        return done


def _import_gathering() -> None:
    """On a thread that may wait for the disk: an idle node does without it."""
    import fonshare_agent.gathering  # noqa: F401


def demand_wanted(watch: Watch) -> None:
    if watch.is_cancelled:
        raise TransferCancelled("the job was stopped")


def _job_code(file: JobFile) -> str:
    return f"{file.job}.{file.number}"


def target_folder(job: Job, file: JobFile) -> bytes:
    """Return the absolute folder for *file*: a folder job keeps its tree."""
    top = job.path.parts[:-1] if job.path is not None else ()
    inside = file.path.parts[len(top) : -1]
    if job.path is None:
        inside = (job.share.encode(), *inside)
    return b"/".join((job.target, *inside))
