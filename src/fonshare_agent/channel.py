"""The control channel: sealed messages out to groups, believed messages in.

Drives the pure machines (protocol/group.py) from brokers, timers and the deciders, and
decides nothing itself. Order of things for each group: input, then what changed is
stored, then messages are sealed and published. Sealing, opening and signatures run on
the crypto worker; counters are leased from state.db before use. Everything here lives
on the core thread; links only post events.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.errors import PeerError, StorageError
from fonshare_agent.index.state import StateStore
from fonshare_agent.links.links import Links
from fonshare_agent.model import GroupId, IndexId, NodeId
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.envelope import (
    Channel,
    Header,
    Keyring,
    Opened,
    check_signature,
    open_envelope,
    seal_direct,
    seal_group,
)
from fonshare_agent.protocol.epochs import EpochId
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.group_events import (
    EpochChanged,
    GroupEvent,
    MembershipChanged,
    Outgoing,
    verify_content,
)
from fonshare_agent.protocol.keys import SealingKey
from fonshare_agent.protocol.messages import (
    Grants,
    Message,
    Operations,
    Presence,
    decode,
    encode,
)
from fonshare_agent.protocol.topics import KEY_TAG_BYTES, EpochTopics

log = logging.getLogger(__name__)

LEASE = 1000  # counters leased at once: a durable write every thousand messages
STORE_RETRY_S = 5.0
FLUSH_POLL_S = 0.02
NONCE_BYTES = 24
SEED_BYTES = 32
STATE_KINDS = (Presence, Operations, Grants)  # carry their own signatures or versions


@dataclass(slots=True)
class _Lease:
    next: int = 0
    end: int = 0


@dataclass(slots=True)
class _Group:
    machine: GroupMachine
    topics: dict[EpochId, EpochTopics] = field(default_factory=dict)
    queue: list[Outgoing] = field(default_factory=list)
    leases: dict[Channel, _Lease] = field(default_factory=dict)
    timer: Timer | None = None
    is_pumping: bool = False
    is_dirty: bool = False  # a change that could not be stored yet


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
        self._core, self._crypto, self._store = core, crypto, store
        self._state, self._keys, self._draw = state, keys, draw
        self._node_name = node_name
        self._groups: dict[GroupId, _Group] = {}
        self._keyring = Keyring()
        self._epoch_of_tag: dict[bytes, EpochId] = {}
        self._listener: Listener | None = None
        self._links: Links | None = None
        self.dropped: dict[str, int] = {}  # messages refused, counted by error code

    def wire(self, listener: Listener, links: Links) -> None:
        """Connect the neighbours; once, before the first group."""
        self._listener, self._links = listener, links

    # --- groups ---

    def add_group(self, machine: GroupMachine) -> None:
        """Take part in a group; stores it if it is new."""
        state = self._groups[machine.group] = _Group(machine)
        self._tell_head(machine)
        self._learn_epochs(state)
        self._refresh_links()
        if self._links is not None:
            for broker in machine.roster.brokers:
                if self._links.is_connected(broker):
                    self._greet(state, broker)
        self.pump(machine.group)

    def drop_group(self, group: GroupId) -> None:
        """Forget a group's keys and topics at once."""
        state = self._groups.pop(group, None)
        if state is not None and state.timer is not None:
            state.timer.cancel()
        self._keyring.drop_group(group)
        self._refresh_links()

    def machine(self, group: GroupId) -> GroupMachine:
        return self._groups[group].machine

    def machines(self) -> list[GroupMachine]:
        return [state.machine for state in self._groups.values()]

    def find_machine(self, group: GroupId) -> GroupMachine | None:
        state = self._groups.get(group)
        return None if state is None else state.machine

    # --- out ---

    def send(self, group: GroupId, to: NodeId | None, message: Message) -> bool:
        """Queue a command; False (and nothing sent) while no epoch covers it."""
        state = self._groups.get(group)
        if state is None or state.machine.sending_epoch is None:
            return False
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
        state.queue = []
        if not events and not messages:
            return False
        if state.is_dirty or any(isinstance(one, MembershipChanged) for one in events):
            state.is_dirty = not await self._save(state)
        if any(isinstance(one, MembershipChanged | EpochChanged) for one in events):
            self._learn_epochs(state)
        for event in events:
            self._listener.on_event(state.machine.group, event)
        self._refresh_links()
        if any(isinstance(one, EpochChanged) for one in events):
            self.announce(state.machine.group)
        if not state.is_dirty:
            for message in messages:
                await self._publish(state, message)
        return True

    async def _save(self, state: _Group) -> bool:
        assert self._listener is not None
        try:
            await self._listener.save(state.machine)
        except StorageError as error:
            log.warning("a membership is not stored, nothing is sent: %s", error.code)
            group = state.machine.group
            self._core.call_later(STORE_RETRY_S, lambda: self.pump(group))
            return False
        return True

    async def _publish(self, state: _Group, out: Outgoing) -> None:
        topics = state.topics.get(out.epoch)
        if topics is None:
            return
        topic = topics.bulletin() if out.to is None else topics.inbox(out.to)
        payload = await self._seal(state, out)
        if payload is not None and self._links is not None:
            for broker in state.machine.roster.brokers:
                self._links.publish(broker, topic, payload)

    async def _seal(self, state: _Group, out: Outgoing) -> bytes | None:
        """Return the envelope, or None if its recipient left meanwhile."""
        machine = state.machine
        is_state = isinstance(out.message, STATE_KINDS)
        channel = Channel.STATE if is_state else Channel.COMMAND
        header = Header(
            machine.me,
            machine.group,
            out.epoch.number,
            out.to,
            channel,
            out.message.KIND,
            self._keys.incarnation,
            await self._counter(state, channel),
        )
        key, body = machine.epoch_keys[out.epoch], encode(out.message)
        signer, nonce = self._keys.signer, self._draw(NONCE_BYTES)
        if out.to is None:
            return await self._crypto.run(seal_group, header, body, signer, key, nonce)
        member = machine.roster.members.get(out.to)
        if member is None:
            return None
        sealing, seed = member.statement.sealing, self._draw(SEED_BYTES)
        return await self._crypto.run(
            seal_direct, header, body, signer, sealing, key, nonce, seed
        )

    async def _counter(self, state: _Group, channel: Channel) -> int:
        lease = state.leases.setdefault(channel, _Lease())
        while lease.next == lease.end:
            first = await self._store.run(
                self._state.lease_counters, state.machine.group, int(channel), LEASE
            )
            if lease.next == lease.end:
                lease.next, lease.end = first, first + LEASE
        lease.next += 1
        return lease.next - 1

    # --- presence ---

    def announce(self, group: GroupId) -> None:
        """Publish this node's presence in *group* anew, at every connected broker."""
        state = self._groups.get(group)
        if state is not None and self._links is not None:
            for broker in state.machine.roster.brokers:
                if self._links.is_connected(broker):
                    work = self._publish_presence(state, broker)
                    self._core.spawn_service("presence", work)

    async def _publish_presence(self, state: _Group, broker: str) -> None:
        assert self._links is not None
        assert self._listener is not None
        machine, epoch = state.machine, state.machine.sending_epoch
        will, head = self._links.will(broker), self._tell_head(machine)
        if epoch is None or will is None or head is None:
            return
        presence = Presence(
            self._keys.statement(self._node_name).encode(),
            will[0],
            hashlib.sha256(will[1]).digest(),
            head[0],
            head[1],
            machine.log.heads(),
        )
        payload = await self._seal(state, Outgoing(epoch, None, presence))
        if payload is not None and epoch in state.topics:
            topic = state.topics[epoch].presence(machine.me)
            self._links.publish(broker, topic, payload, retain=True)

    def _tell_head(self, machine: GroupMachine) -> tuple[IndexId, int] | None:
        """Return our catalogue's head, and let greetings carry it."""
        assert self._listener is not None
        head = self._listener.own_head(machine.group)
        if head is not None:
            machine.peers.own_head = head
        return head

    def on_connected(self, broker: str) -> None:
        """A broker took us: presence first, then greetings (DESIGN, Presence)."""
        for state in self._groups.values():
            if broker in state.machine.roster.brokers:
                self._greet(state, broker)

    def _greet(self, state: _Group, broker: str) -> None:
        self._core.spawn_service("presence", self._publish_presence(state, broker))
        state.machine.connect(self._core.clock())
        self.pump(state.machine.group)

    def on_disconnected(self, broker: str) -> None:
        for state in self._groups.values():
            state.machine.peers.lose_broker(broker)
            self.pump(state.machine.group)

    # --- topics ---

    def _learn_epochs(self, state: _Group) -> None:
        machine = state.machine
        sealing = sealing_keys(self._keys)
        for epoch, key in machine.epoch_keys.items():
            if epoch in state.topics:
                continue
            topics = state.topics[epoch] = EpochTopics(key)
            self._keyring.add_epoch(
                machine.group, epoch.number, key, machine.me, sealing
            )
            self._epoch_of_tag[topics.key_tag()] = epoch
            for one in sealing:
                tag = topics.direct_key_tag(machine.me, one.public)
                self._epoch_of_tag[tag] = epoch

    def topics(self, broker: str) -> set[str]:
        """The topics that the groups want to hear at *broker*."""
        wanted: set[str] = set()
        for state in self._groups.values():
            machine = state.machine
            if broker not in machine.roster.brokers:
                continue
            wanted |= machine.peers.liveness_topics(broker)
            for topics in state.topics.values():
                wanted |= {topics.bulletin(), topics.inbox(machine.me)}
            current = machine.sending_epoch
            if current is not None and current in state.topics:
                others = machine.roster.members.keys() - {machine.me}
                wanted |= {state.topics[current].presence(m) for m in others}
        return wanted

    def brokers(self) -> set[str]:
        return {b for s in self._groups.values() for b in s.machine.roster.brokers}

    def _refresh_links(self) -> None:
        if self._links is not None:
            self._links.refresh()

    # --- in ---

    async def receive(self, broker: str, topic: str, payload: bytes) -> None:
        """Take what a broker delivered: a liveness value or an envelope."""
        for state in self._groups.values():
            if topic in state.machine.peers.liveness_topics(broker):
                state.machine.peers.receive_liveness(
                    broker, topic, payload, self._core.clock()
                )
                self.pump(state.machine.group)
                return
        try:
            await self._receive_envelope(broker, payload)
        except PeerError as error:
            self.dropped[error.code] = self.dropped.get(error.code, 0) + 1
            log.debug("dropped a message: %s", error)

    async def _receive_envelope(self, broker: str, payload: bytes) -> None:
        """The checks in their order: DESIGN section 4, Envelopes."""
        opened = await self._crypto.run(open_envelope, payload, self._keyring)
        header = opened.header
        state = self._groups.get(header.group)
        epoch = self._epoch_of_tag.get(payload[1 : 1 + KEY_TAG_BYTES])
        if state is None or epoch is None or header.sender == state.machine.me:
            return
        member = state.machine.roster.members.get(header.sender)
        now = self._core.clock()
        if member is None or not state.machine.peers.may_pass(header, broker, now):
            return
        identity = member.statement.identity
        message = await self._crypto.run(_check, opened, identity)
        if message is None or self._groups.get(header.group) is not state:
            return
        now = self._core.clock()
        command = state.machine.receive(header, epoch, message, broker, now)
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


def sealing_keys(keys: NodeKeys) -> list[SealingKey]:
    """The keys that others may have sealed to: the present one and the one before."""
    previous = keys.previous_sealing
    return [keys.sealing] if previous is None else [keys.sealing, previous]


def _check(opened: Opened, identity: bytes) -> Message | None:
    """Signature, then content; on the crypto worker."""
    check_signature(opened, identity)
    message = decode(opened.header.kind, opened.body)
    return None if message is None else verify_content(message)
