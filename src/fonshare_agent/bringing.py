"""Brings granted content into its partial: the block hashes, then the missing blocks.

Blocks are read over FTPS, from several sources at once if others have the content too
(gathering.py); or, where only the other direction connects, pushed by the source. What
has been verified stays in the partial, however it ends. Core thread; the disk and the
network belong to workers. Must not know jobs, nor what the content is for.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from fonshare_agent.asking import Asking
from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.detours import Detours
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.granting import PAGE_HASHES, Outside
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.content import SHARED_BYTES_MIN, block_count
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import BlocksAsk, BlocksPage, Message
from fonshare_agent.reasons import REASONS
from fonshare_agent.receiving import Granted, Receiver, missing_range
from fonshare_agent.relaying_on_demand import RelayingOnDemand
from fonshare_agent.transfer.disk_errors import is_ours
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.reading import Fetch
from fonshare_agent.transfer.worker import TransferWorkers
from fonshare_agent.watch import Watch
from fonshare_agent.ways import Ways

if TYPE_CHECKING:
    from fonshare_agent.parts import Holding
    from fonshare_agent.transfer.lanes import Lane
    from fonshare_agent.transfer.relayed import RelayWay
    from fonshare_agent.transfer.stream import Stream

HOLD_LOOK_S: Final = 0.2
PAGES_AT_ONCE: Final = 4  # of hashes: all that a file up to 32 GB has

# Read what a lane says, or all of it, from one who granted it.
Pull = Callable[[Granted, Partial, Watch, "Lane | None"], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Others:
    """Who else may be read from at the same time, as whoever wants it knows them."""

    online: Callable[[], Awaitable[list[NodeId]]]  # now, and offering the content
    ask: Callable[[NodeId], Awaitable[Granted | str]]  # a grant, or why there is none
    distrust: Callable[[NodeId], None]  # it has sent damaged data
    ask_partner: Callable[[NodeId], Awaitable[Granted | str]]  # for what it holds
    hold: Callable[[Partial], Awaitable["Holding | None"]]  # and tell partners
    me: NodeId


class Bringer:
    """One piece of content a call of `bring`; several run side by side."""

    def __init__(
        self,
        core: Core,
        files: Worker,
        desk: TicketDesk,
        workers: TransferWorkers,
        asking: Asking,
        machine: Callable[[GroupId], GroupMachine | None],
        outside: Outside,
        ways: Ways,
        relaying: RelayingOnDemand,
        draw: Callable[[int], bytes],
    ) -> None:
        self._core, self._files = core, files
        self._workers, self._asking = workers, asking
        self._machine, self._outside = machine, outside
        self._receiver = Receiver(desk, asking, outside, core.clock, draw)
        self.detours = Detours(ways, relaying)

    async def bring(
        self,
        granted: Granted,
        kept: Partial,
        watch: Watch,
        others: Others | None = None,
    ) -> str:
        """Get all that *kept* lacks; return why it ended, "" if nothing is missing.

        Without *others* only who has granted it is read from.
        Raises BadContent if the hashes are not those of the root, NoAnswer if the
        source does not give them, and StorageError.
        """
        if not kept.has_hashes:
            hashes = await self._all_hashes(granted, kept)
            if hashes is None:
                return "source.changed"
            await self._files.run(kept.set_hashes, hashes)
        if watch.stream is not None:
            watch.stream.attach(kept)
        watch.sources = 1
        watch.start_at(kept.done_bytes)
        if not kept.is_complete:
            reason = await self._bring_blocks(granted, kept, watch, others)
            if reason:
                return reason
        # What is only read stays where it is: who has opened it says when that is over.
        while watch.stream is not None and not (
            watch.stream.is_all or watch.is_cancelled
        ):
            await self._core.sleep(HOLD_LOOK_S)
        return ""

    async def bring_from_partners(
        self, kept: Partial, watch: Watch, others: Others
    ) -> str:
        """As `bring`, for when nobody who offers the content can be asked: those who
        fetch it, too, may have all of it together. *kept* has its hashes."""
        watch.start_at(kept.done_bytes)
        return await self._gather(None, kept, watch, others, self._pull)

    def expect(self, group: GroupId, source: NodeId) -> None:
        """*source* is about to be asked: whatever can be opened before it has answered
        is opened. Round trips cost more than that is worth if it refuses."""
        machine = self._machine(group)
        member = machine and machine.roster.members.get(source)
        if member:
            expected = self._expect(member.statement.tls_fingerprint)
            self._core.spawn_service("a connection ahead", expected)

    async def _expect(self, peer_fingerprint: bytes) -> None:
        await self._workers.expect(peer_fingerprint)  # what fails is opened when needed

    async def _all_hashes(self, granted: Granted, kept: Partial) -> list[bytes] | None:
        hashes, count = list(granted.grant.hashes), block_count(kept.size)
        page = len(hashes) or PAGE_HASHES  # the source puts so many into a message
        while len(hashes) < count:
            # Beside one another: each is a round trip by the broker.
            asked = {
                first: self._ask_page(granted, first)
                for first in range(len(hashes), count, page)[:PAGES_AT_ONCE]
            }
            for first, promise in asked.items():
                answer = await promise
                if not isinstance(answer, BlocksPage) or not answer.hashes:
                    return None
                if first == len(hashes):  # no page before was shorter
                    hashes += answer.hashes
        return hashes

    def _ask_page(self, granted: Granted, first: int) -> Promise[Message]:
        ask = partial(
            BlocksAsk,
            share=granted.share,
            path=granted.path,
            root=granted.root,
            first=first,
        )
        return self._asking.ask(granted.group, granted.source, ask, owner=granted.owner)

    async def _bring_blocks(
        self, granted: Granted, kept: Partial, watch: Watch, others: Others | None
    ) -> str:
        """Get every missing block: pulled, else pushed, else by a relay, and then by
        relays from *others* as well where there is no other way."""
        source, detours = granted.source, self.detours
        read = partial(self._read, granted, kept, watch, others)
        any_way = partial(read, self._pull_any_way)
        # A push is one stretch of one file: it does not go with other sources.
        is_called = detours.is_pusher(source) and (
            watch.stream is not None or await self._is_shared(granted, kept, others)
        )
        if is_called or detours.is_cut_off(source):
            reason = await any_way()
            if reason != "unreachable":
                return reason
        pull = partial(read, self._pull)
        push = partial(self._have_all_pushed, granted, kept, watch, others)
        # Knocking in vain takes seconds: not again for each file of a folder.
        first, second = (push, pull) if detours.is_pusher(source) else (pull, push)
        reason = await first()
        if reason == "unreachable":
            reason = await second()
        if reason == "unreachable":
            reason = await any_way()
        return reason

    async def _is_shared(
        self, granted: Granted, kept: Partial, others: Others | None
    ) -> bool:
        """Tell whether anybody beside *granted*'s source is worth reading from."""
        if others is None or kept.size - kept.done_bytes < SHARED_BYTES_MIN:
            return False
        holding = await others.hold(kept)
        has_partners = holding is not None and bool(holding.partners)
        return has_partners or any(
            one != granted.source for one in await others.online()
        )

    async def _pull_any_way(
        self, granted: Granted, kept: Partial, watch: Watch, lane: "Lane | None"
    ) -> str:
        """Pull, by a relay if *granted*'s source is known to be cut off."""
        is_partner = granted.is_held  # has but a part: not worth a third one's upload
        if is_partner or not self.detours.is_cut_off(granted.source):
            return await self._pull_or_call(granted, kept, watch, lane)
        return await self._pull_by_detour(granted, kept, watch, lane, may_relay=True)

    async def _pull_or_call(
        self, granted: Granted, kept: Partial, watch: Watch, lane: "Lane | None"
    ) -> str:
        """Pull; by connections that the source makes if none to it comes about."""
        if not self.detours.is_pusher(granted.source):
            reason = await self._pull(granted, kept, watch, lane)
            if reason != "unreachable" or not self.detours.is_pusher(granted.source):
                return reason
        return await self._pull_by_detour(granted, kept, watch, lane, may_relay=False)

    async def _pull_by_detour(
        self,
        granted: Granted,
        kept: Partial,
        watch: Watch,
        lane: "Lane | None",
        *,
        may_relay: bool,
    ) -> str:
        source, shown = granted.source, granted.grant.addresses
        for _ in range(2):  # what we know of may be over
            way = await self.detours.find(
                granted.group, source, shown, granted.owner, may_relay=may_relay
            )
            if way is None or watch.is_cancelled:
                return "unreachable"
            reason = await self._pull(granted, kept, watch, lane, way)
            if reason != "unreachable":
                return reason
            self.detours.forget(source)
        return "unreachable"

    async def _read(
        self,
        granted: Granted,
        kept: Partial,
        watch: Watch,
        others: Others | None,
        pull: Pull,
    ) -> str:
        """*pull* from the source, and from *others*."""
        if others is not None:
            return await self._gather(granted, kept, watch, others, pull)
        try:
            await self._files.run(_import_gathering)
        except (ImportError, OSError):  # our own files lay on a disk that is gone
            return "disk.missing"
        return await pull(granted, kept, watch, None)

    async def _gather(
        self,
        first: Granted | None,
        kept: Partial,
        watch: Watch,
        others: Others,
        pull: Pull,
    ) -> str:
        try:
            await self._files.run(_import_gathering)
        except (ImportError, OSError):  # our own files lay on a disk that is gone
            return "disk.missing"
        from fonshare_agent.gathering import Gathering, Ways

        def read(one: Granted, lane: "Lane") -> Awaitable[str]:
            # Whoever granted it first is asked to push if it cannot be reached.
            is_first = first is not None and one.source == first.source
            is_plain = pull == self._pull and not is_first
            by = self._pull_or_call if is_plain else pull
            return by(one, kept, watch, lane)

        ways = Ways(
            others=others.online,
            ask=others.ask,
            pull=read,
            has_hands=lambda: self._workers.has_hands,
            distrust=others.distrust,
            ask_partner=others.ask_partner,
            me=others.me,
            holding=await others.hold(kept),
        )
        return await Gathering(self._core, ways, kept, watch).run(first)

    async def _pull(
        self,
        granted: Granted,
        kept: Partial,
        watch: Watch,
        lane: "Lane | None",
        relay: "RelayWay | None" = None,
    ) -> str:
        machine, grant = self._machine(granted.group), granted.grant
        member = machine and machine.roster.members.get(granted.source)
        if not member:
            return "source.vanished"
        reason = await self._workers.fetch(
            Fetch(
                ticket=grant.ticket,
                secret=grant.secret,
                addresses=self._outside.dialable(grant.addresses),
                peer_fingerprint=member.statement.tls_fingerprint,
                kept=kept,
                watch=watch,
                lane=lane,
                is_copy=granted.is_copy,
                relay=relay,
                is_opened=watch.stream is not None and not watch.stream.is_all,
            )
        )
        if relay is None:
            self.detours.note_knock(granted.source, reason)
        return reason

    async def _have_all_pushed(
        self, granted: Granted, kept: Partial, watch: Watch, others: Others | None
    ) -> str:
        """Have the source push what is missing; with partners, only this node's part
        of it, and the rest comes from them."""
        if watch.stream is not None:
            return await self._have_read_pushed(granted, kept, watch, watch.stream)
        while True:
            holding = await others.hold(kept) if others is not None else None
            if others is None or holding is None or not holding.partners:
                return await self._have_pushed(
                    granted, kept, watch, missing_range(kept)
                )
            before = kept.done_bytes
            span = holding.own_range(kept, others.me)
            reason = await self._have_pushed(granted, kept, watch, span)
            if reason not in ("", "source.busy") or kept.is_complete:
                return reason
            # It knocks in vain at the source no more.
            rest = replace(others, online=_nobody)
            brought = await self._gather(None, kept, watch, rest, self._pull)
            if kept.is_complete or watch.is_cancelled or is_ours(brought):
                return brought
            if kept.done_bytes == before:
                return reason or "source.lost"

    async def _have_read_pushed(
        self, granted: Granted, kept: Partial, watch: Watch, stream: "Stream"
    ) -> str:
        """Have the source push what readers want, by windows."""
        while not kept.is_complete:
            span = stream.missing_range()
            if span is not None:
                reason = await self._have_pushed(granted, kept, watch, span)
                if reason or span == stream.missing_range():
                    return reason or "source.lost"
            elif watch.is_cancelled:
                return "source.lost"
            else:
                await self._core.sleep(HOLD_LOOK_S)
        return ""

    async def _have_pushed(
        self, granted: Granted, kept: Partial, watch: Watch, span: tuple[int, int]
    ) -> str:
        reason = await self._receiver.receive(granted, kept, watch, span)
        if reason == "unreachable":
            self.detours.note_no_push(granted.source)
        if not reason and not kept.is_complete and span == missing_range(kept):
            return "source.lost"  # all was sent, and nothing of it came right
        # A peer's word, who knows nothing of our disk.
        is_its_own = reason in REASONS and not is_ours(reason)
        return reason if not reason or is_its_own else "source.lost"


async def _nobody() -> list[NodeId]:
    return []


def _import_gathering() -> None:
    """On a thread that may wait for the disk: an idle node does without it."""
    import fonshare_agent.gathering
    import fonshare_agent.transfer.block_reading  # noqa: F401
