"""One attempt to bring one file of a job here, from the question to the rename.

Asks a source for a ticket, has the missing blocks brought (bringing.py), then verifies
the root and puts the file in place. Whatever stops an attempt ends in `Postponed` with
a stable code; what has been verified stays on the disk and the next attempt goes on
from there. Core thread; the disk and the network belong to workers.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.bringing import Bringer, shows_own_certificate
from fonshare_agent.core import Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    BadContent,
    FonshareError,
    StorageError,
    TransferCancelled,
)
from fonshare_agent.granting import Outside
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, JobState, NodeId, Root, SharePath
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import (
    JobEnded,
    Message,
    TicketAsk,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.reasons import Postponed
from fonshare_agent.receiving import Granted
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.worker import reason_of
from fonshare_agent.watch import Watch

log = logging.getLogger(__name__)


class Fetcher:
    """Attempts, one a call of `fetch`; several run side by side."""

    def __init__(
        self,
        store: Worker,
        files: Worker,
        index: IndexStore,
        state: StateStore,
        disk: Disk,
        bringer: Bringer,
        asking: Asking,
        machine: Callable[[GroupId], GroupMachine | None],
        send: Callable[[GroupId, NodeId | None, Message], bool],
        outside: Outside,
    ) -> None:
        self._store, self._files = store, files
        self._index, self._state, self.disk = index, state, disk
        self._bringer, self._asking = bringer, asking
        self._machine, self._send = machine, send
        self._used: dict[str, set[NodeId]] = {}  # job -> who granted it tickets
        self._outside = outside

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
        granted = await self._find_source(job, file)
        file = await self._pin(file, granted.grant)
        kept = await self._open_kept(file)
        assert kept is not None  # the root is pinned
        try:
            reason = await self._bringer.bring(granted, kept, watch)
            if reason:
                raise Postponed(reason)
            return await self._finish(job, file, kept, watch)
        finally:
            await self._files.run(kept.close)

    def give_up(self, job_id: str) -> None:
        """Nobody waits for this job's answers any more. Core thread."""
        self._asking.give_up(job_id)

    def end(self, job: Job) -> None:
        """Tell the sources that *job* needs its tickets no more, or not for now.

        Once for all its files: a message each would use up our allowance there.
        """
        for source in self._used.pop(job.id, set()):
            self._send(job.group, source, JobEnded(job.id))

    # --- a source ---

    async def _find_source(self, job: Job, file: JobFile) -> Granted:
        """Return the first grant among those who offer the file."""
        machine = self._machine(job.group)
        if machine is None:
            raise Postponed("source.vanished")
        offered = await self._store.run(
            self._index.resolve, job.group, job.member, job.share, file.path
        )
        others: list[NodeId] = []
        if file.root is not None:
            others = await self._store.run(
                self._index.sources, job.group, file.root, frozenset({job.member})
            )
        if offered is None and not others:
            raise Postponed("source.vanished")
        code = "source.offline"
        for source in (job.member, *others):
            if machine.peers.can_be_asked(source):
                share, path = await self._place_at(job, file, source)
                answer = await self._ask(job, file, source, share, path)
                if not isinstance(answer, TicketGrant):
                    code = _refusal(answer)
                elif shows_own_certificate(machine, source, answer):
                    name = f"{file.job}.{file.number}"
                    return Granted(job.group, source, job.id, name, share, path, answer)
                else:
                    code = "source.corrupt"
        raise Postponed(code)

    async def _place_at(
        self, job: Job, file: JobFile, source: NodeId
    ) -> tuple[str, SharePath]:
        """Return the share and path under which *source* offers the file."""
        if source != job.member and file.root is not None:
            found = await self._store.run(
                self._index.find_offer, job.group, source, file.root
            )
            if found is not None and found.path is not None:
                return found.share, found.path
        return job.share, file.path

    async def _ask(
        self, job: Job, file: JobFile, source: NodeId, share: str, path: SharePath
    ) -> Message:
        # Before it answers: who stops waiting owes it the word that it has ended.
        self._used.setdefault(job.id, set()).add(source)
        return await self._asking.ask(
            job.group,
            source,
            lambda request: TicketAsk(
                request,
                job.id,
                share,
                path,
                file.root,
                self._outside.certificate,
                self._outside.addresses(()),
            ),
            owner=job.id,
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
        await self._store.run(self._state.update_file, verifying)
        name = await self._files.run(
            kept.finish,
            _folder(job, file),
            file.path.name,
            file.modified,
            lambda _: _demand_wanted(watch),
        )
        if name is None:
            raise Postponed("source.corrupt")  # bad blocks were dropped: fetch again
        done = replace(verifying, state=JobState.DONE, final_name=name, error_code="")
        await self._store.run(self._state.update_file, done)
        await self._files.run(kept.remove)
        return done


def _demand_wanted(watch: Watch) -> None:
    if watch.is_cancelled:
        raise TransferCancelled("the job was stopped")


def _refusal(answer: Message) -> str:
    if not isinstance(answer, TicketRefuse):
        return "source.silent"
    code = {
        "not_here": "source.vanished",
        "hashing": "source.hashing",
        "changed": "source.changed",
        "busy": "source.busy",
        "disk": "source.disk",
    }.get(answer.reason)
    return code or "source.busy"


def _folder(job: Job, file: JobFile) -> bytes:
    """Return the absolute folder for *file*: a folder job keeps its tree."""
    top = job.path.parts[:-1] if job.path is not None else ()
    inside = file.path.parts[len(top) : -1]
    if job.path is None:
        inside = (job.share.encode(), *inside)
    return b"/".join((job.target, *inside))
