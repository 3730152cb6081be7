"""Carries what a group says to the decider whose business it is. Decides nothing."""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fonshare_agent.asking import Asking
from fonshare_agent.catching_up import CatchingUp
from fonshare_agent.channel import ControlChannel
from fonshare_agent.core import Core
from fonshare_agent.downloads import Downloads
from fonshare_agent.groups import Groups
from fonshare_agent.last_seen import LastSeen
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.protocol.group_events import (
    EpochChanged,
    GroupEvent,
    MembershipChanged,
    RemovedFromGroup,
)
from fonshare_agent.protocol.messages import (
    BlocksAsk,
    BlocksPage,
    BundleAsk,
    BundleGrant,
    CatalogueAsk,
    CatalogueCopyAsk,
    CatalogueDelta,
    JobEnded,
    Message,
    Parts,
    PlaceFree,
    PushAsk,
    PushEnded,
    TicketAsk,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.protocol.peers import HeadSeen, MemberReady, MemberSeen
from fonshare_agent.protocol.reach_messages import (
    ReachAnswer,
    ReachAsk,
    RelayAsk,
    RelayGrant,
    RelayJoin,
    RelayJoined,
)
from fonshare_agent.published import Published
from fonshare_agent.sharing import Sharing
from fonshare_agent.social.ratings_on_demand import RatingsOnDemand

if TYPE_CHECKING:
    from fonshare_agent.granting import Granting
    from fonshare_agent.holdings import Holdings
    from fonshare_agent.relaying_on_demand import RelayingOnDemand
    from fonshare_agent.serving import Serving
    from fonshare_agent.trying_back import TryingBack

# A burst of one member; a disk that hangs must not gather what it asks for ever.
OPEN_MAX = 64


class Grants(Protocol):
    """Who answers questions for content; loaded with the first one."""

    @property
    def granting(self) -> "Granting": ...

    @property
    def serving(self) -> "Serving": ...

    @property
    def holdings(self) -> "Holdings": ...

    @property
    def trying_back(self) -> "TryingBack": ...

    @property
    def relaying(self) -> "RelayingOnDemand": ...


@dataclass(slots=True)
class Routing:
    """Core thread. `on_event` and `on_command` are the channel's listener."""

    core: Core
    channel: ControlChannel
    groups: Groups
    sharing: Sharing
    catching_up: CatchingUp
    published: Published
    moving: OnDemand["Grants"]
    downloads: Downloads
    asking: Asking
    seen: LastSeen
    ratings: RatingsOnDemand
    is_relay: bool = True  # whether its owner lets this node be one
    _open: dict[tuple[GroupId, NodeId], int] = field(default_factory=dict)

    def on_event(self, group: GroupId, event: GroupEvent) -> None:
        match event:
            case MembershipChanged():
                self._on_membership(group)
            case RemovedFromGroup():
                self.core.spawn_service("leave group", self.groups.drop(group))
            case HeadSeen(member, index_id, sequence):
                self.catching_up.note_head(group, member, (index_id, sequence))
            case MemberReady(member):
                self.catching_up.note_ready(group, member)
                self.ratings.note_ready(group, member)
                self._try_again_with(member)
            case MemberSeen(member, online):
                self.seen.note(group, member, online)
                if online:
                    self._try_again_with(member)
            case EpochChanged():
                pass  # the channel's own business

    def _try_again_with(self, member: NodeId) -> None:
        if self.moving.made is not None:
            self.moving.made.relaying.note_seen(member)
        self.downloads.wake()

    def _on_membership(self, group: GroupId) -> None:
        machine = self.channel.find_machine(group)
        if machine is not None:
            self.published.refresh_rights()
            work = self.sharing.keep_members(group, lambda: machine.roster.members)
            self.core.spawn_service("forget members", work)
            self.ratings.note_members(group)

    def on_command(self, group: GroupId, member: NodeId, message: Message) -> None:
        """Give *message* to its decider; a kind nobody handles here is dropped."""
        match message:
            case (
                TicketGrant()
                | TicketRefuse()
                | BundleGrant()
                | BlocksPage()
                | PushEnded()
                | ReachAnswer()
                | RelayGrant()
                | RelayJoined()
            ):
                self.asking.answer(member, message.request, message)
            case JobEnded():
                if self.moving.made is not None:
                    self.moving.made.serving.on_job_ended(group, member, message)
            case Parts():
                if self.moving.made is not None:
                    self.moving.made.holdings.on_parts(group, member, message)
            case PlaceFree():
                self.downloads.note_place_free(member, message.job)
            case CatalogueAsk():
                work = self.sharing.on_ask(group, member, message)
                self._serve("catalogue", group, member, work)
            case CatalogueDelta():
                delta = self._on_delta(group, member, message)
                self._serve("catalogue", group, member, delta)
            case RelayAsk() if not self.is_relay:
                # The answer of every relay that is none; nothing is loaded for it.
                refusal = TicketRefuse(message.request, "not_here")
                self.channel.send(group, member, refusal)
            case (
                TicketAsk()
                | BundleAsk()
                | CatalogueCopyAsk()
                | BlocksAsk()
                | PushAsk()
                | ReachAsk()
                | RelayAsk()
                | RelayJoin()
            ):
                work = self._grant(group, member, message)
                self._serve(message.KIND, group, member, work)
            case _ if message.KIND in self.ratings.KINDS:
                work = self.ratings.on_message(group, member, message)
                self._serve(message.KIND, group, member, work)

    async def _grant(self, group: GroupId, member: NodeId, message: Message) -> None:
        """Answer what is about moving files, which may have to be loaded for it."""
        moving = await self.moving.get()
        match message:
            case TicketAsk():
                await moving.serving.on_ticket_ask(group, member, message)
            case BundleAsk():
                await moving.serving.on_bundle_ask(group, member, message)
            case CatalogueCopyAsk():
                await moving.serving.on_copy_ask(group, member, message)
            case BlocksAsk():
                await moving.granting.on_blocks_ask(group, member, message)
            case PushAsk():
                await moving.serving.on_push_ask(group, member, message)
            case ReachAsk():
                await moving.trying_back.on_ask(group, member, message)
            case RelayAsk():
                await moving.relaying.on_ask(group, member, message)
            case RelayJoin():
                await moving.relaying.on_join(group, member, message)

    def _serve(
        self, what: str, group: GroupId, member: NodeId, work: Coroutine[Any, Any, None]
    ) -> None:
        """Do *work* for *member*, unless too much for it is under way already."""
        who = (group, member)
        if self._open.get(who, 0) >= OPEN_MAX:
            work.close()  # as good as lost on the way: it asks again
            return
        self._open[who] = self._open.get(who, 0) + 1
        self.core.spawn_service(what, self._count_out(who, work))

    async def _count_out(
        self, who: tuple[GroupId, NodeId], work: Coroutine[Any, Any, None]
    ) -> None:
        try:
            await work
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]

    async def _on_delta(
        self, group: GroupId, member: NodeId, delta: CatalogueDelta
    ) -> None:
        await self.catching_up.on_delta(group, member, delta)
        self.downloads.wake()
