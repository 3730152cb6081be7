"""The control channel: sealed messages out to groups, believed messages in.

Drives the pure machines (protocol/group.py) from brokers, timers and the deciders, and
decides nothing itself. Order of things for each group: input, then what changed is
stored, then messages are sealed and published. Sealing, opening and signatures run on
the crypto worker; counters are leased from state.db before use. Core thread.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from fonshare_agent.announcing import Announcing
from fonshare_agent.core import Core, Timer, Turns, Worker
from fonshare_agent.errors import NotFound, PeerError, StorageError
from fonshare_agent.index.state import StateStore
from fonshare_agent.links.links import Links
from fonshare_agent.listening import Listening, places, verified
from fonshare_agent.model import GroupId, IndexId, NodeId
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.envelope import PAYLOAD_SIZES, open_envelope
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.group_events import (
    EpochChanged,
    GroupEvent,
    MembershipChanged,
    Outgoing,
    RemovedFromGroup,
    verify_content,
)
from fonshare_agent.protocol.messages import Grants, Message, Operations, Presence
from fonshare_agent.sealing import MEMBERSHIP_KINDS, Sealer

log = logging.getLogger(__name__)

STORE_RETRY_S = 5.0
FLUSH_POLL_S = 0.02
QUEUE_MAX = 256  # DESIGN section 4, Limits
FAREWELL_BYTES_MAX = 64  # what a liveness topic shows is 32 bytes long


@dataclass(slots=True)
class _Group:
    machine: GroupMachine
    brokers: tuple[str, ...]  # where the group was met until now
    queue: list[Outgoing] = field(default_factory=list)
    timer: Timer | None = None
    is_pumping: bool = False
    is_dirty: bool = False  # a change that could not be stored yet
    held: list[Outgoing] = field(default_factory=list)  # until it can leave
    retry: Timer | None = None  # of what the disk did not take
    is_retrying: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of it: *save* makes a membership durable, *on_event* is told what
    happened to the group, *on_command* gets believed messages for the deciders."""

    save: Callable[[GroupMachine], Awaitable[None]]
    on_event: Callable[[GroupId, GroupEvent], None]
    on_command: Callable[[GroupId, NodeId, Message], None]
    own_head: Callable[[GroupId], tuple[IndexId, int] | None]


class ControlChannel:
    """All groups of this node over all their brokers."""

    def __init__(
        self,
        core: Core,
        crypto: Worker,
        store: Worker,
        state: StateStore,
        keys: NodeKeys,
        node_name: str,
        draw: Callable[[int], bytes],
    ) -> None:
        self._core, self._crypto, self._turns = core, crypto, Turns(core)
        self._sealer = Sealer(crypto, store, state, keys, draw)
        self._groups: dict[GroupId, _Group] = {}
        self._listening = Listening(keys)
        self._announcing = Announcing(
            core, self._sealer, self._listening, keys, node_name, self.announce
        )
        self._listener: Listener | None = None
        self._links: Links | None = None
        self._shown: dict[str, dict[str, bytes]] = {}  # liveness: broker, topic
        self.dropped: dict[str, int] = {}  # messages refused, counted by error code

    def wire(self, listener: Listener, links: Links) -> None:
        """Connect the neighbours; once, before the first group."""
        self._listener, self._links = listener, links
        self._announcing.wire(listener.own_head, links)

    # --- groups ---

    def add_group(self, machine: GroupMachine) -> None:
        """Take part in a group; stores it if it is new."""
        state = self._groups[machine.group] = _Group(machine, machine.roster.brokers)
        self._announcing.tell_head(machine)
        self._listening.learn(state.machine)
        self._refresh_links()
        for broker in self._reached(machine):
            self._greet(state, broker)
        self.pump(machine.group)

    def drop_group(self, group: GroupId) -> None:
        """Forget a group's keys and topics at once."""
        state = self._groups.pop(group, None)
        if state is not None and state.timer is not None:
            state.timer.cancel()
        self._listening.forget(group)
        self._refresh_links()

    def machine(self, group: GroupId) -> GroupMachine:
        """Return the group's machine; NotFound once the group was dropped."""
        found = self.find_machine(group)
        if found is None:
            raise NotFound("the group was left", next="See `fonshare group ls`.")
        return found

    def find_machine(self, group: GroupId) -> GroupMachine | None:
        state = self._groups.get(group)
        return None if state is None else state.machine

    # --- out ---

    def send(self, group: GroupId, to: NodeId | None, message: Message) -> bool:
        """Queue a command; False (and nothing sent) while no epoch covers it."""
        state = self._groups.get(group)
        if state is None or state.machine.sending_epoch is None:
            return False
        if len(state.queue) >= QUEUE_MAX:
            return False  # as good as lost on the way: it is asked again
        state.queue.append(Outgoing(state.machine.sending_epoch, to, message))
        self.pump(group)
        return True

    def pump(self, group: GroupId) -> None:
        """Carry out what a group's machine wants; call after every use of it."""
        state = self._groups.get(group)
        if state is not None and not state.is_pumping:
            state.is_pumping = True
            self._core.spawn_service("group", self._drain(state))

    async def flush(self, group: GroupId) -> None:
        """Carry out what is wanted now and return when it has been handed over."""
        state = self._groups.get(group)
        while state is not None and state.is_pumping:
            await self._core.sleep(FLUSH_POLL_S)
        if state is not None:
            state.is_pumping = True
            await self._drain(state)

    async def _drain(self, state: _Group) -> None:
        try:
            while await self._step(state):
                pass
        finally:
            state.is_pumping = False
            self._arm_timer(state)

    async def _step(self, state: _Group) -> bool:
        """Store, tell, send, once; False when there was nothing to do."""
        assert self._listener is not None
        events = state.machine.take_events()
        messages = state.machine.take_messages() + state.queue
        state.queue, is_retrying, state.is_retrying = [], state.is_retrying, False
        if not events and not messages and not is_retrying:
            return False
        wanted = state.machine.roster.brokers
        if state.is_dirty or any(isinstance(one, MembershipChanged) for one in events):
            state.is_dirty = not await self._save(state)
        if any(isinstance(one, MembershipChanged | EpochChanged) for one in events):
            self._listening.learn(state.machine)
        self._tell(state, [e for e in events if not isinstance(e, RemovedFromGroup)])
        await self._say(state, [*state.held, *messages], wanted)
        self._move(state, wanted)
        # Last, since it ends in dropping the group: its leave must have gone out.
        self._tell(state, [e for e in events if isinstance(e, RemovedFromGroup)])
        return True

    def _tell(self, state: _Group, events: Sequence[GroupEvent]) -> None:
        assert self._listener is not None
        for event in events:
            self._listener.on_event(state.machine.group, event)
        self._refresh_links()
        is_new = any(isinstance(one, EpochChanged) for one in events)
        if is_new and not state.is_dirty:
            self.announce(state.machine.group)

    def _move(self, state: _Group, brokers: tuple[str, ...]) -> None:
        """Follow the roster to other brokers."""
        before, state.brokers = state.brokers, brokers
        for new in set(self._reached(state.machine)) & (set(brokers) - set(before)):
            self._greet(state, new)

    async def _save(self, state: _Group) -> bool:
        assert self._listener is not None
        try:
            await self._listener.save(state.machine)
        except StorageError as error:
            log.warning("a membership is not stored, nothing is sent: %s", error.code)
            return False
        return True

    async def _say(
        self, state: _Group, messages: list[Outgoing], brokers: tuple[str, ...]
    ) -> None:
        """Send *messages*; while the disk takes nothing, what nobody asks for waits."""
        left = list(messages)
        try:
            while left and not state.is_dirty:
                # Who was away looks for the group where it was before.
                is_told = isinstance(left[0].message, MEMBERSHIP_KINDS)
                former = state.machine.former_brokers if is_told else ()
                await self._publish(state, left[0], (*brokers, *former))
                del left[0]
        except StorageError as error:
            log.warning("a message waits: %s", error.code)
        kept = [one for one in left if isinstance(one.message, MEMBERSHIP_KINDS)]
        state.held = kept[-QUEUE_MAX:]
        if (state.held or state.is_dirty) and state.retry is None:
            retry = partial(self._retry, state)
            state.retry = self._core.call_later(STORE_RETRY_S, retry)

    def _retry(self, state: _Group) -> None:
        state.retry, state.is_retrying = None, True
        self.pump(state.machine.group)

    async def _publish(
        self, state: _Group, out: Outgoing, brokers: Iterable[str]
    ) -> None:
        sealed = await self._sealer.seal(state.machine, out)
        if sealed is None or self._links is None:
            return
        said, payload = sealed
        topics = self._listening.find(state.machine.group, said.epoch)
        if topics is not None:
            topic = topics.bulletin() if said.to is None else topics.inbox(said.to)
            for broker in brokers:
                self._links.publish(broker, topic, payload)

    # --- presence ---

    def announce(self, group: GroupId) -> None:
        """Publish this node's presence in *group* anew, at every connected broker."""
        state = self._groups.get(group)
        if state is not None:
            for broker in self._reached(state.machine):
                self._announcing.announce(state.machine, broker)

    def _reached(self, machine: GroupMachine) -> list[str]:
        """The connected brokers where the group is, or was lately."""
        links = self._links
        return [b for b in places(machine) if links and links.is_connected(b)]

    def on_connected(self, broker: str) -> None:
        """A broker took us: presence first, then greetings (DESIGN, Presence)."""
        for state in self._groups.values():
            if broker in places(state.machine):
                self._greet(state, broker)

    def _greet(self, state: _Group, broker: str) -> None:
        self._announcing.announce(state.machine, broker)
        state.machine.connect(self._core.clock())
        self.pump(state.machine.group)

    def on_disconnected(self, broker: str) -> None:
        self._shown.pop(broker, None)
        for state in self._groups.values():
            state.machine.peers.lose_broker(broker)
            self.pump(state.machine.group)

    def age(self, uptime_s: int) -> None:
        """Let go of epochs and brokers that were given up long ago."""
        for group, state in self._groups.items():
            state.machine.age(uptime_s)
            self.pump(group)

    # --- topics ---

    def renew_keys(self) -> None:
        """Open with this node's new sealing key as well, and tell everybody of it."""
        for state in self._groups.values():
            self._listening.forget(state.machine.group)
            self._listening.learn(state.machine)
            self.announce(state.machine.group)

    def topics(self, broker: str) -> set[str]:
        """The topics that the groups want to hear at *broker*."""
        wanted: set[str] = set()
        for state in self._groups.values():
            machine = state.machine
            if broker not in places(machine):
                continue
            wanted |= machine.peers.liveness_topics(broker)
            wanted |= self._listening.wanted(machine)
        return wanted

    def brokers(self) -> set[str]:
        states = self._groups.values()
        return {b for s in states for b in places(s.machine)}

    def _refresh_links(self) -> None:
        if self._links is not None:
            self._links.refresh()

    # --- in ---

    async def receive(self, broker: str, topic: str, payload: bytes) -> None:
        """Take what a broker delivered: a liveness value or an envelope.

        They are told apart by size: a liveness topic's name may be anything. One after
        another: the next may be a command of who is proven alive by this one.
        """
        if len(payload) not in PAYLOAD_SIZES:
            self._receive_liveness(broker, topic, payload[:FAREWELL_BYTES_MAX])
            return
        try:
            await self._turns.take(partial(self._receive_envelope, broker, payload))
        except PeerError as error:
            self.dropped[error.code] = self.dropped.get(error.code, 0) + 1
            log.debug("dropped a message: %s", error)

    def _receive_liveness(self, broker: str, topic: str, payload: bytes) -> None:
        """Show it to every group: one member may be in several."""
        for state in self._groups.values():
            peers = state.machine.peers
            if topic in peers.liveness_topics(broker):
                # Retained, it comes once: groups that learn the topic later need it.
                self._shown.setdefault(broker, {})[topic] = payload
                peers.receive_liveness(broker, topic, payload, self._core.clock())
                self.pump(state.machine.group)

    def _show_liveness(self, state: _Group, broker: str) -> None:
        """A presence came: look at what its liveness topic has shown before."""
        wanted = self.topics(broker)
        kept = self._shown.get(broker, {})
        self._shown[broker] = {t: kept[t] for t in kept if t in wanted}
        peers, now = state.machine.peers, self._core.clock()
        for topic in peers.liveness_topics(broker) & kept.keys():
            peers.receive_liveness(broker, topic, kept[topic], now)

    async def _receive_envelope(self, broker: str, payload: bytes) -> None:
        """The checks in their order: DESIGN section 4, Envelopes."""
        opened = await self._crypto.run(open_envelope, payload, self._listening.keyring)
        header = opened.header
        state = self._groups.get(header.group)
        epoch = self._listening.epoch_of(payload)
        if state is None or epoch is None or header.sender == state.machine.me:
            return
        member = state.machine.roster.members.get(header.sender)
        now = self._core.clock()
        if member is None:
            state.machine.hear_outsider(header, epoch, now)
            self.pump(header.group)
            return
        if not state.machine.peers.may_pass(header, broker, now):
            return
        identity = member.statement.identity
        message = await self._crypto.run(verified, opened, identity)
        if message is None or self._groups.get(header.group) is not state:
            return
        if isinstance(message, Operations | Grants):
            message = state.machine.sift(header.sender, message, self._core.clock())
            message = await self._crypto.run(verify_content, message)
            if self._groups.get(header.group) is not state:
                return
        now = self._core.clock()
        try:
            command = state.machine.receive(header, epoch, message, broker, now)
            if header.kind == Presence.KIND:
                self._show_liveness(state, broker)
        finally:
            self.pump(header.group)
        if command is not None and self._listener is not None:
            self._listener.on_command(header.group, header.sender, command)

    # --- time ---

    def _arm_timer(self, state: _Group) -> None:
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None
        due = state.machine.next_deadline()
        if due is not None and state.machine.group in self._groups:
            delay = due - self._core.clock()
            state.timer = self._core.call_later(delay, lambda: self._on_timer(state))

    def _on_timer(self, state: _Group) -> None:
        state.timer = None
        state.machine.handle_timer(self._core.clock())
        self.pump(state.machine.group)
        if not state.is_pumping:
            self._arm_timer(state)
