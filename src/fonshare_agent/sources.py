"""Whom to ask for a job's file: who offers it, who grants it, who is to be trusted.

Only members of the job's own group are asked, for what they offer to that group. Who
has granted tickets to a job is told when it needs them no more. Core thread. Must not
know how bytes come.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fonshare_agent.asking import ANSWER_TIMEOUT_S, Asking, NoAnswer
from fonshare_agent.core import Worker
from fonshare_agent.granting import Outside
from fonshare_agent.holdings import Holdings
from fonshare_agent.index.records import Found
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import (
    JobEnded,
    Message,
    TicketAsk,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.reasons import Postponed
from fonshare_agent.receiving import Granted, shows_own_certificate
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.watch import Watch
from fonshare_agent.ways import Ways

if TYPE_CHECKING:
    from fonshare_agent.parts import Holding

log = logging.getLogger(__name__)

PARTNER_TIMEOUT_S = 5.0  # there are others; and it speaks when it is back
PARTNERS_S = 2.0  # in which partners have answered
CALLS_LATER = ("disk", "hours")  # who refuses for these says when that is over
NO_PLACE = 0
DISTRUSTED_JOBS_MAX = 100  # jobs that remember who sent them damaged data


class Sources:
    """The members of the groups, as sources."""

    def __init__(
        self,
        store: Worker,
        index: IndexStore,
        asking: Asking,
        machine: Callable[[GroupId], GroupMachine | None],
        send: Callable[[GroupId, NodeId | None, Message], bool],
        outside: Outside,
        holdings: Holdings,
        me: NodeId,
        sleep: Callable[[float], Awaitable[None]],
        ways: Ways,
    ) -> None:
        self.holdings, self.me, self._sleep = holdings, me, sleep
        self._store, self._index, self._asking = store, index, asking
        self._machine, self._send, self._outside = machine, send, outside
        self._ways = ways
        self._used: dict[str, set[NodeId]] = {}  # job -> who granted it tickets
        self._distrusted: dict[str, set[NodeId]] = {}  # by job
        self._places: dict[str, dict[NodeId, int]] = {}  # by job: in whose queues it is

    def note_used(self, job: Job, source: NodeId) -> None:
        """*source* is asked for *job*: it is told when the job ends.

        Before it answers: who stops waiting owes it that word, too.
        """
        self._used.setdefault(job.id, set()).add(source)

    def give_up(self, job_id: str) -> None:
        """Nobody waits for this job's answers any more."""
        self._asking.give_up(job_id)
        self._places.pop(job_id, None)

    def place(self, job_id: str) -> int | None:
        """Return the best place that the job has in a source's queue, if it has one."""
        places = self._places.get(job_id, {}).values()
        return min((one for one in places if one != NO_PLACE), default=None)

    def is_queued_at(self, job_id: str, source: NodeId) -> bool:
        """Tell whether *source* is to say when it serves the job."""
        return source in self._places.get(job_id, {})

    def note_place(self, job_id: str, source: NodeId, answer: Message) -> None:
        """*source* has said *answer* to a question for that job."""
        places = self._places.setdefault(job_id, {})
        places.pop(source, None)
        if isinstance(answer, TicketRefuse):
            if answer.reason == "queued":
                places[source] = max(1, answer.place)
            elif answer.reason in CALLS_LATER:
                places[source] = NO_PLACE
        if not places:
            del self._places[job_id]

    def end(self, job: Job) -> None:
        """Tell the sources that *job* needs its tickets no more, or not for now.

        Once for all its files: a message each would use up our allowance there.
        """
        for source in self._used.pop(job.id, set()):
            self._send(job.group, source, JobEnded(job.id))

    async def find(self, job: Job, file: JobFile, watch: Watch) -> Granted:
        """Return the first grant among those who offer the file."""
        if self._machine(job.group) is None:
            raise Postponed("source.vanished")
        offered = await self._store.run(
            self._index.resolve, job.group, job.member, job.share, file.path
        )
        others = await self.others(job, file)
        if offered is None and not others and await self._has_moved(job, file) is None:
            raise Postponed("source.vanished")
        code = "source.offline"
        for source in self.most_trusted_first(job, [job.member, *others]):
            if self.can_be_asked(job, source):
                try:
                    found = await self.ask(job, file, source)
                except NoAnswer:
                    if watch.is_cancelled:
                        raise
                    found = "source.silent"
                if isinstance(found, Granted):
                    return found
                code = found
        raise Postponed(code)

    async def find_partner(self, job: Job, file: JobFile) -> NodeId | None:
        """Return somebody who fetches *file*, too, if any of them speaks in time."""
        if self._machine(job.group) is None or file.root is None:
            return None
        holding = await self.hold(job, file)
        if holding is None:
            return None
        if not holding.partners:
            await self._sleep(PARTNERS_S)
        return next(iter(holding.partners), None)

    async def ask_partners(self, job: Job, file: JobFile) -> Granted | None:
        """Return the first grant among them, for its hashes."""
        holding = await self.hold(job, file)
        for partner in list(holding.partners) if holding is not None else ():
            try:
                found = await self.ask_partner(job, file, partner)
            except NoAnswer:
                continue
            if isinstance(found, Granted):
                return found
        return None

    async def hold(
        self, job: Job, file: JobFile, kept: Partial | None = None
    ) -> "Holding | None":
        """Let the group know that *file* is fetched here; its parts are offered on."""
        if file.root is None:
            return None
        owner = owner_of(file)
        return await self.holdings.open(job.group, file.root, file.size, owner, kept)

    async def others(self, job: Job, file: JobFile) -> list[NodeId]:
        """Return the other members that offer this very content."""
        if file.root is None:
            return []
        mine = frozenset({job.member})
        return await self._store.run(self._index.sources, job.group, file.root, mine)

    async def online(self, job: Job, file: JobFile) -> list[NodeId]:
        """Return who can be asked now, the job's own member first."""
        found = [job.member, *await self.others(job, file)]
        able = [one for one in found if self.can_be_asked(job, one)]
        return self.most_trusted_first(job, able)

    def can_be_asked(self, job: Job, source: NodeId) -> bool:
        machine = self._machine(job.group)
        return machine is not None and machine.peers.can_be_asked(source)

    async def ask(self, job: Job, file: JobFile, source: NodeId) -> Granted | str:
        """Return a grant, or the code of the reason why there is none."""
        return await self._ask_at(
            job, file, source, *await self._place_at(job, file, source)
        )

    async def ask_partner(
        self, job: Job, file: JobFile, partner: NodeId
    ) -> Granted | str:
        """As `ask`, for what *partner* holds of the content."""
        is_bad = partner in self._distrusted.get(job.id, ())
        if is_bad or not self.can_be_asked(job, partner):
            return "source.vanished"
        return await self._ask_at(job, file, partner, None, None)

    async def _ask_at(
        self,
        job: Job,
        file: JobFile,
        source: NodeId,
        share: str | None,
        path: SharePath | None,
    ) -> Granted | str:
        answer = await self._question(job, file, source, share, path)
        machine = self._machine(job.group)
        if not isinstance(answer, TicketGrant):
            return refusal(answer)
        if machine is None or not shows_own_certificate(machine, source, answer):
            return "source.corrupt"
        if file.root not in (None, answer.root):
            return "source.changed"
        name = owner_of(file)
        is_held = share is None
        return Granted(job.group, source, job.id, name, share, path, answer, is_held)

    # --- who is not to be trusted ---

    def distrust(self, job: Job, source: NodeId) -> None:
        log.warning("job %s: a source sent damaged data, others are asked", job.id)
        self._distrusted.setdefault(job.id, set()).add(source)
        for oldest in list(self._distrusted)[:-DISTRUSTED_JOBS_MAX]:
            del self._distrusted[oldest]

    def blame(self, job: Job) -> str:
        """Say to *job*'s owner who sent damaged data; nothing if nobody is known."""
        machine = self._machine(job.group)
        members = machine.roster.members if machine is not None else {}
        bad = self._distrusted.get(job.id, set())
        names = sorted(members[one].statement.name for one in bad if one in members)
        return f"{', '.join(names)} sent damaged data" if names else ""

    def most_trusted_first(self, job: Job, sources: list[NodeId]) -> list[NodeId]:
        """Who sent damaged data for this job is asked only if nobody else is there.

        And last of all who could not be reached either way.
        """
        bad = self._distrusted.get(job.id, set())
        sources = sorted(sources, key=self._ways.is_cut_off)
        good = [one for one in sources if one not in bad]
        return good if any(self.can_be_asked(job, one) for one in good) else sources

    async def _place_at(
        self, job: Job, file: JobFile, source: NodeId
    ) -> tuple[str, SharePath]:
        """Return the share and path under which *source* offers the file."""
        if source != job.member:
            found = await self._offer_of(job, file, source)
        else:
            found = await self._has_moved(job, file)
        if found is not None and found.path is not None:
            return found.share, found.path
        return job.share, file.path

    async def _has_moved(self, job: Job, file: JobFile) -> Found | None:
        """Return where the job's own member has the content now, if elsewhere."""
        if file.root is None:
            return None
        offered = await self._store.run(
            self._index.resolve, job.group, job.member, job.share, file.path
        )
        if offered is not None and offered.root in (None, file.root):
            return None
        return await self._offer_of(job, file, job.member)

    async def _offer_of(self, job: Job, file: JobFile, source: NodeId) -> Found | None:
        if file.root is None:
            return None
        return await self._store.run(
            self._index.find_offer, job.group, source, file.root
        )

    async def _question(
        self,
        job: Job,
        file: JobFile,
        source: NodeId,
        share: str | None,
        path: SharePath | None,
    ) -> Message:
        self.note_used(job, source)
        answer = await self._asking.ask(
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
            PARTNER_TIMEOUT_S if share is None else ANSWER_TIMEOUT_S,
            owner=job.id,
        )
        self.note_place(job.id, source, answer)
        return answer


def owner_of(file: JobFile) -> str:
    """Return by which name a file's attempt holds its content."""
    return f"{file.job}.{file.number}"


def refusal(answer: Message) -> str:
    if not isinstance(answer, TicketRefuse):
        return "source.silent"
    code = {
        "not_here": "source.vanished",
        "hashing": "source.hashing",
        "changed": "source.changed",
        "busy": "source.busy",
        "disk": "source.disk",
        "hours": "source.hours",
        "queued": "source.queued",
    }.get(answer.reason)
    return code or "source.busy"
