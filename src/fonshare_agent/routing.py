"""Carries what a group says to the decider whose business it is. Decides nothing."""

from dataclasses import dataclass

from fonshare_agent.asking import Asking
from fonshare_agent.channel import ControlChannel
from fonshare_agent.core import Core
from fonshare_agent.downloads import Downloads
from fonshare_agent.granting import Granting
from fonshare_agent.groups import Groups
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.group_events import (
    EpochChanged,
    GroupEvent,
    MembershipChanged,
    RemovedFromGroup,
)
from fonshare_agent.protocol.messages import (
    BlocksAsk,
    BlocksPage,
    CatalogueAsk,
    CatalogueDelta,
    JobEnded,
    Message,
    PushAsk,
    PushEnded,
    TicketAsk,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.protocol.peers import HeadSeen, MemberReady, MemberSeen
from fonshare_agent.published import Published
from fonshare_agent.sharing import Sharing


@dataclass(slots=True)
class Routing:
    """Core thread. `on_event` and `on_command` are the channel's listener."""

    core: Core
    channel: ControlChannel
    groups: Groups
    sharing: Sharing
    published: Published
    granting: Granting
    downloads: Downloads
    asking: Asking

    def on_event(self, group: GroupId, event: GroupEvent) -> None:
        match event:
            case MembershipChanged():
                self._on_membership(group)
            case RemovedFromGroup():
                self.core.spawn_service("leave group", self.groups.drop(group))
            case HeadSeen(member, index_id, sequence):
                self.sharing.note_head(group, member, (index_id, sequence))
            case MemberReady(member):
                self.sharing.note_ready(group, member)
                self.downloads.wake()
            case MemberSeen(_, online):
                if online:
                    self.downloads.wake()
            case EpochChanged():
                pass  # the channel's own business

    def _on_membership(self, group: GroupId) -> None:
        machine = self.channel.find_machine(group)
        if machine is not None:
            self.published.refresh_rights()
            members = list(machine.roster.members)
            work = self.sharing.keep_members(group, members)
            self.core.spawn_service("forget members", work)

    def on_command(self, group: GroupId, member: NodeId, message: Message) -> None:
        """Give *message* to its decider; a kind nobody handles here is dropped."""
        match message:
            case TicketGrant() | TicketRefuse() | BlocksPage() | PushEnded():
                self.asking.answer(member, message.request, message)
            case JobEnded():
                self.granting.on_job_ended(group, member, message)
            case CatalogueAsk():
                work = self.sharing.on_ask(group, member, message)
                self.core.spawn_service("catalogue", work)
            case CatalogueDelta():
                delta = self._on_delta(group, member, message)
                self.core.spawn_service("catalogue", delta)
            case TicketAsk():
                ask = self.granting.on_ticket_ask(group, member, message)
                self.core.spawn_service("ticket", ask)
            case BlocksAsk():
                blocks = self.granting.on_blocks_ask(group, member, message)
                self.core.spawn_service("blocks", blocks)
            case PushAsk():
                push = self.granting.on_push_ask(group, member, message)
                self.core.spawn_service("push", push)

    async def _on_delta(
        self, group: GroupId, member: NodeId, delta: CatalogueDelta
    ) -> None:
        await self.sharing.on_delta(group, member, delta)
        self.downloads.wake()
