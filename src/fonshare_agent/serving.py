"""The front of granting: when files are served at all, and whose turn it is.

Looks at the owner's hours and places before a member's question goes on to granting; it
tells who waits its place, and whose turn has come; and, when disk or hours are back,
whom it had refused. Answers are the same whether the
file is here or not. Core thread. Must not know files.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fonshare_agent.core import Core
from fonshare_agent.ftp.tickets import Ticket, TicketDesk
from fonshare_agent.granting import Granting
from fonshare_agent.granting_bundles import BundleGranting
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.messages import (
    BundleAsk,
    CatalogueCopyAsk,
    JobEnded,
    Message,
    PlaceFree,
    PushAsk,
    PushEnded,
    TicketAsk,
    TicketRefuse,
)
from fonshare_agent.protocol.places import Places, Wish

Ask = TypeVar("Ask", TicketAsk, BundleAsk)

REFUSED_MAX = 40  # who are called when it is over; as many as a burst of messages
LOOK_S = 1.0  # between two looks at the places while somebody waits

log = logging.getLogger(__name__)


class Serving:
    """*may_send* tells whether the hours allow it now."""

    def __init__(
        self,
        core: Core,
        desk: TicketDesk,
        granting: Granting,
        bundles: BundleGranting,
        send: Callable[[GroupId, NodeId | None, Message], bool],
        may_send: Callable[[], bool],
        places: int,
    ) -> None:
        self._core, self._desk = core, desk
        self._granting, self._bundles = granting, bundles
        self._send, self._may_send = send, may_send
        self._places = Places(places)
        self._pushing: dict[Wish, int] = {}
        self._refused: dict[Wish, None] = {}
        self._is_looking = self._is_stopped = False

    # --- what members want ----------------------------------------------------------

    async def on_ticket_ask(
        self, group: GroupId, member: NodeId, ask: TicketAsk
    ) -> None:
        await self._serve(group, member, ask, self._granting.on_ticket_ask)

    async def on_bundle_ask(
        self, group: GroupId, member: NodeId, ask: BundleAsk
    ) -> None:
        await self._serve(group, member, ask, self._bundles.on_bundle_ask)

    async def on_copy_ask(
        self, group: GroupId, member: NodeId, ask: CatalogueCopyAsk
    ) -> None:
        """Copies of the catalogue need no place: others cannot even see files yet."""
        if self._may_send():
            await self._granting.on_copy_ask(group, member, ask)
        else:
            self._send(group, member, TicketRefuse(ask.request, "busy", 0))

    async def on_push_ask(self, group: GroupId, member: NodeId, ask: PushAsk) -> None:
        if not self._may_send():
            self._send(group, member, PushEnded(ask.request, "source.hours"))
            return
        wish = Wish(group, member, ask.job)
        self._pushing[wish] = self._pushing.get(wish, 0) + 1
        try:
            await self._granting.on_push_ask(group, member, ask)
        finally:
            self._pushing[wish] -= 1
            if not self._pushing[wish]:
                del self._pushing[wish]

    def on_job_ended(self, group: GroupId, member: NodeId, ended: JobEnded) -> None:
        self._granting.on_job_ended(group, member, ended)
        self._places.release(Wish(group, member, ended.job))

    def _admits(
        self, group: GroupId, member: NodeId, ask: TicketAsk | BundleAsk
    ) -> bool:
        """Tell whether *ask* may go on; else it has its answer."""
        if not self._may_send():
            self._send(group, member, TicketRefuse(ask.request, "hours", 0))
            self._note_refused(Wish(group, member, ask.job))
            return False
        wish = Wish(group, member, ask.job)
        place = self._places.ask(wish, self._held(), self._core.clock())
        if place:
            self._send(group, member, TicketRefuse(ask.request, "queued", place))
            self._look_on()
        return not place

    async def _serve(
        self,
        group: GroupId,
        member: NodeId,
        ask: Ask,
        work: Callable[[GroupId, NodeId, Ask], Awaitable[None]],
    ) -> None:
        if not self._admits(group, member, ask):
            return
        await work(group, member, ask)
        wish = Wish(group, member, ask.job)
        if not any(_wish(ticket) == wish for ticket in self._desk.live()):
            self._places.release(wish)  # there was nothing to grant
            self._note_refused(wish)

    def _note_refused(self, wish: Wish) -> None:
        """Perhaps for want of the disk; who waits for something else heeds no call."""
        self._refused[wish] = None
        for oldest in list(self._refused)[:-REFUSED_MAX]:
            del self._refused[oldest]

    def call_refused(self) -> None:
        """Disk or hours are back: tell those whom nothing was granted."""
        refused, self._refused = self._refused, {}
        for wish in refused:
            self._send(wish.group, wish.friend, PlaceFree(wish.job))

    # --- whose turn it is -----------------------------------------------------------

    def _held(self) -> set[Wish]:
        used = {_wish(one) for one in self._desk.in_use() if one.direction == "read"}
        return {*used, *self._pushing}

    def _look_on(self) -> None:
        if not self._is_looking and not self._is_stopped:
            self._is_looking = True
            self._core.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Tell whose turn has come, and end a turn that was long enough."""
        self._is_looking = False
        if self._is_stopped:
            return
        held, now = self._held(), self._core.clock()
        over = self._places.due(held, now)
        if over is not None:
            log.info("a friend's job gives its place to another friend's")
            self._granting.retire(*over)
            self._places.release(over)
            held.discard(over)
        for wish in self._places.call(held, now):
            self._send(wish.group, wish.friend, PlaceFree(wish.job))
        if self._places.has_waiting:
            self._look_on()

    # --- what the owner wants -------------------------------------------------------

    def set_places(self, count: int) -> None:
        self._places.count = count

    def end_if_closed(self) -> None:
        """The hours may be over: then nobody reads on. Or they have begun."""
        if not self._may_send():
            self._desk.retire(lambda ticket: ticket.direction == "read")
        else:
            self.call_refused()

    def stop(self) -> None:
        self._is_stopped = True


def _wish(ticket: Ticket) -> Wish:
    return Wish(ticket.group, ticket.peer, ticket.job)
