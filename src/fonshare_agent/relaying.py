"""Relays: two members who do not reach each other meet at a third (protocol/relay.md).

All three parts of it: this node as the relay, if its owner allows it; as the end that
is asked to come there; and as the one that looks for a relay to read by. What is read
goes through the ordinary session with TLS and certificates from end to end: a relay
changes only how connections are made. Core thread; connections belong to threads that
may wait.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.core import Core, Turns, Worker
from fonshare_agent.errors import TicketRefused
from fonshare_agent.granting import Outside
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.fields import NONCE_BYTES
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import Message, TicketRefuse
from fonshare_agent.protocol.reach_messages import (
    RelayAsk,
    RelayGrant,
    RelayJoin,
    RelayJoined,
)
from fonshare_agent.protocol.relay import OTHER
from fonshare_agent.transfer.relay_desk import Relay, RelayDesk
from fonshare_agent.transfer.relayed import GUEST_IDLE_S, Guest, RelayWay
from fonshare_agent.transfer.splicing import Splicer
from fonshare_agent.transfer.wire import Address, Patience

log = logging.getLogger(__name__)

GUESTS_MAX: Final = 4  # relays, and callers, at which this node waits at once
GUESTS_OF_ONE_MAX: Final = 2  # asked for by one member: a relay and a call
NO_RELAY_S: Final = 300.0  # a member that would not be one is asked again so late
FULL_S: Final = 30.0  # and so late if it has no room now
WAY_S: Final = 1800.0  # how long one relay is used before another is asked for


@dataclass(frozen=True, slots=True)
class RelayWorld:
    """What relaying needs of the node around it."""

    core: Core
    asking: Asking
    machine: Callable[[GroupId], GroupMachine | None]
    send: Callable[[GroupId, NodeId | None, Message], bool]
    outside: Outside
    draw: Callable[[int], bytes]
    is_willing: bool  # to be a relay: the owner allows it
    open_desk: Callable[[Splicer], RelayDesk]  # from then on the door lets them meet
    door: Callable[[], Address]  # our friends' door, on this host
    data_ports: range


@dataclass(slots=True)
class Relaying:
    """See the module's text."""

    world: RelayWorld
    desk: RelayDesk | None = None
    _splicer: Splicer = field(init=False)
    _guests: dict[bytes, tuple[GroupId, NodeId, Worker]] = field(default_factory=dict)
    _unwilling: dict[NodeId, float] = field(default_factory=dict)  # until when
    _ways: dict[NodeId, tuple[float, RelayWay]] = field(default_factory=dict)
    _is_stopped: bool = False
    _searches: dict[NodeId, Turns] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._splicer = Splicer(self.world.core.clock)

    def _get_desk(self) -> RelayDesk:
        if self.desk is None:
            self.desk = self.world.open_desk(self._splicer)
        return self.desk

    def _is_member(self, group: GroupId, *nodes: bytes) -> bool:
        machine = self.world.machine(group)
        return machine is not None and all(
            NodeId(one) in machine.roster.members for one in nodes
        )

    # --- as the relay ---

    def on_ask(self, group: GroupId, member: NodeId, ask: RelayAsk) -> None:
        """Let the two meet here, if the owner allows it and there is room."""
        self.world.send(group, member, self._answer(group, member, ask))

    def _answer(
        self, group: GroupId, member: NodeId, ask: RelayAsk
    ) -> RelayGrant | TicketRefuse:
        other = NodeId(ask.member)
        if not self.world.is_willing or other == member:
            return TicketRefuse(ask.request, "not_here")
        if not self._is_member(group, member, other):
            return TicketRefuse(ask.request, "not_here")
        relay, secret = self.world.draw(NONCE_BYTES), self.world.draw(NONCE_BYTES)
        try:
            self._get_desk().grant(relay, secret, group, member, other)
        except TicketRefused:
            return TicketRefuse(ask.request, "busy")
        log.info("two members meet at this relay")
        addresses = self.world.outside.addresses(ask.addresses)
        return RelayGrant(ask.request, relay, secret, addresses)

    def revoke_lost_rights(self) -> None:
        """End the relays of those who are not both members any more."""

        def is_lost(relay: Relay) -> bool:
            return not self._is_member(relay.group, relay.asker, relay.other)

        if self.desk is not None:
            self.desk.revoke(is_lost)

    # --- as the end that is asked to come ---

    async def on_join(self, group: GroupId, member: NodeId, ask: RelayJoin) -> None:
        """Go to that relay, and say whether we are there."""
        reason = await self._join(group, member, ask)
        self.world.send(group, member, RelayJoined(ask.request, reason))

    async def _join(self, group: GroupId, member: NodeId, ask: RelayJoin) -> str:
        if not self._is_member(group, ask.member) or ask.relay in self._guests:
            return "not_here"
        its = [relay for relay, (_, one, _) in self._guests.items() if one == member]
        if len(its) >= GUESTS_OF_ONE_MAX:
            self._leave(its[0])  # it asks anew: that one is of no use to it any more
        if len(self._guests) >= GUESTS_MAX or self._is_stopped:
            return "busy"
        world = self.world

        def is_over() -> bool:
            return self._is_stopped or ask.relay not in self._guests

        guest = Guest(
            RelayWay(
                world.outside.dialable(ask.addresses), ask.relay, ask.secret, OTHER
            ),
            world.door(),
            world.data_ports,
            self._splicer,
            Patience(world.core.clock, is_over, GUEST_IDLE_S),
        )
        worker = Worker("relay-guest", world.core)
        self._guests[ask.relay] = (group, member, worker)
        worker.start()
        reason = await worker.run(guest.arrive)
        if reason:
            self._leave(ask.relay)
        else:
            served = worker.run(guest.serve)
            served.when_settled(lambda: self._leave(ask.relay))
        return reason

    def _leave(self, relay: bytes) -> None:
        if (guest := self._guests.pop(relay, None)) is not None:
            guest[2].dismiss()

    # --- as the one that reads ---

    async def find(self, group: GroupId, source: NodeId, owner: str) -> RelayWay | None:
        """Return a relay at which *source* waits, if some member is one.

        One search for it after another: a relay is one for each who asks, and whoever
        asks a second time ends the first.
        """
        return await self._turns(source).take(lambda: self._find(group, source, owner))

    def _turns(self, source: NodeId) -> Turns:
        if source not in self._searches:
            self._searches[source] = Turns(self.world.core)
        return self._searches[source]

    async def _find(
        self, group: GroupId, source: NodeId, owner: str
    ) -> RelayWay | None:
        if (known := self._find_known(source)) is not None:
            return known
        for member in self._candidates(group, source):
            way = await self._try(group, source, member, owner)
            if way is not None:
                self._ways[source] = (self.world.core.clock() + WAY_S, way)
                return way
        return None

    def _find_known(self, source: NodeId) -> RelayWay | None:
        now = self.world.core.clock()
        until, way = self._ways.get(source, (0.0, None))
        return way if until > now else None

    def forget(self, source: NodeId) -> None:
        """The relay to *source* is of no use any more."""
        _, way = self._ways.pop(source, (0.0, None))
        if way is not None and self.desk is not None:
            self.desk.revoke(lambda one: one.id == way.relay)  # if it was a call

    def note_seen(self, member: NodeId) -> None:
        """*member* is there anew: its owner may have allowed it meanwhile."""
        self._unwilling.pop(member, None)

    # --- as the one that reads from who can make connections, and take none ---

    async def call(
        self, group: GroupId, source: NodeId, addresses: tuple[Address, ...], owner: str
    ) -> RelayWay | str:
        """Have *source* come to our own door, and return the way by what it connects
        there; or why it does not. *addresses* are those that it has shown.

        One after another, too: for several files at once it need come but once.
        """
        return await self._turns(source).take(
            lambda: self._call(group, source, addresses, owner)
        )

    async def _call(
        self, group: GroupId, source: NodeId, addresses: tuple[Address, ...], owner: str
    ) -> RelayWay | str:
        if (known := self._find_known(source)) is not None:
            return known
        world, machine = self.world, self.world.machine(group)
        own = world.outside.addresses(addresses)
        if machine is None or not own:
            return "unreachable"
        relay, secret = world.draw(NONCE_BYTES), world.draw(NONCE_BYTES)
        try:
            self._get_desk().grant_call(relay, secret, group, machine.me, source)
            joined = await world.asking.ask(
                group,
                source,
                lambda request: RelayJoin(request, machine.me, relay, secret, own),
                owner=owner,
            )
        except TicketRefused:
            return "busy"
        except NoAnswer:
            return "source.silent"
        if not isinstance(joined, RelayJoined):
            return "source.silent"
        if joined.reason:
            return joined.reason
        way = RelayWay([world.door()], relay, secret)
        self._ways[source] = (world.core.clock() + WAY_S, way)
        return way

    def _candidates(self, group: GroupId, source: NodeId) -> list[NodeId]:
        machine, now = self.world.machine(group), self.world.core.clock()
        if machine is None:
            return []
        return [
            one
            for one in machine.roster.members
            if one not in (source, machine.me)
            and machine.peers.can_be_asked(one)
            and self._unwilling.get(one, 0.0) <= now
        ]

    async def _try(
        self, group: GroupId, source: NodeId, member: NodeId, owner: str
    ) -> RelayWay | None:
        """Ask *member* to be the relay, and *source* to come there."""
        world = self.world
        own = world.outside.addresses(())
        try:
            granted = await world.asking.ask(
                group,
                member,
                lambda request: RelayAsk(request, source, own),
                owner=owner,
            )
            if not isinstance(granted, RelayGrant):
                is_full = isinstance(granted, TicketRefuse) and granted.reason == "busy"
                pause_s = FULL_S if is_full else NO_RELAY_S
                self._unwilling[member] = world.core.clock() + pause_s
                return None
            joined = await world.asking.ask(
                group,
                source,
                lambda request: RelayJoin(
                    request, member, granted.relay, granted.secret, granted.addresses
                ),
                owner=owner,
            )
        except NoAnswer:
            return None
        if not isinstance(joined, RelayJoined) or joined.reason:
            return None
        addresses = world.outside.dialable(granted.addresses)
        return RelayWay(addresses, granted.relay, granted.secret)

    # --- life ---

    def tend(self) -> None:
        """Drop what is over; twice a minute."""
        if self.desk is not None:
            self.desk.tend()
        gone = [
            relay
            for relay, (group, member, _) in self._guests.items()
            if not self._is_member(group, member)
        ]
        for relay in gone:
            self._leave(relay)

    def stop(self) -> None:
        """End all of it. Waits for the splicer: not on the core thread."""
        self._is_stopped = True
        if self.desk is not None:
            self.desk.revoke(lambda relay: True)
        for _, _, worker in list(self._guests.values()):
            worker.dismiss()
        self._splicer.stop()
