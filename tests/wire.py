"""A seeded wire that joins real group machines, with real envelopes, in one thread.

It drops, delays, doubles and reorders what is sent, keeps retained messages, and can
replay all it ever carried: a broker of the worst kind, but repeatable.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fonshare_agent.errors import PeerError
from fonshare_agent.model import NodeId
from fonshare_agent.protocol.envelope import (
    KEY_TAG_BYTES,
    Channel,
    Header,
    Keyring,
    check_signature,
    open_envelope,
    seal_direct,
    seal_group,
)
from fonshare_agent.protocol.epochs import EpochId
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.group_events import (
    GroupEvent,
    Outgoing,
    verify_content,
)
from fonshare_agent.protocol.keys import KeyStatement, SealingKey, Signer
from fonshare_agent.protocol.messages import (
    Grants,
    Message,
    Operations,
    Presence,
    decode,
    encode,
)
from fonshare_agent.protocol.peers import MemberReady
from fonshare_agent.protocol.roster import OperationLog
from fonshare_agent.protocol.topics import EpochTopics, liveness_topic

BROKER = "mqtt://wire"


def drawn_from(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


class WireNode:
    """One member: a machine, its keys, what it was told."""

    def __init__(self, name: str, seed: int, wire: "Wire") -> None:
        self.name, self.wire = name, wire
        self.draw = drawn_from(seed)
        self.signer = Signer(self.draw(32))
        self.sealing = SealingKey(self.draw(32))
        self.statement = KeyStatement.make(
            self.signer,
            name,
            1,
            hashlib.sha256(name.encode()).digest(),
            self.sealing.public,
        )
        self.machine: GroupMachine | None = None
        self.incarnation, self.counter = 1, 0
        self.farewell = b""
        self.liveness = liveness_topic(self.draw(20))
        self.keyring = Keyring()
        self.epochs: dict[bytes, EpochId] = {}  # by key tag
        self.heard: dict[EpochId, EpochTopics] = {}
        self.cached: tuple[object, set[str]] = (None, set())
        self.is_connected = False
        self.subscribed: set[str] = set()
        self.ask_when_ready: Message | None = None
        self.events: list[GroupEvent] = []
        self.commands: list[tuple[NodeId, Message]] = []

    @property
    def id(self) -> NodeId:
        return self.signer.node_id

    @property
    def group(self) -> GroupMachine:
        assert self.machine is not None
        return self.machine

    def create(self) -> None:
        self.machine = GroupMachine.create(
            self.signer,
            lambda: [self.sealing],
            self.statement,
            (BROKER,),
            self.draw,
            self.wire.now,
        )

    def join(self, other: "WireNode") -> None:
        """Take over what an invite would give: operations and grants."""
        machine = other.group
        self.machine = GroupMachine(
            self.signer,
            lambda: [self.sealing],
            OperationLog.from_raw(machine.log.raw_operations()),
            list(machine.grants),
            (),
            {},
            self.draw,
            self.wire.now,
        )

    def restart(self) -> None:
        """Lose all that is not stored; keep what is."""
        kept = self.group
        self.disconnect()
        self.machine = GroupMachine(
            self.signer,
            lambda: [self.sealing],
            OperationLog.from_raw(kept.log.raw_operations()),
            list(kept.grants),
            list(kept.statements.values()),
            {epoch.commitment: key for epoch, key in kept.epoch_keys.items()},
            self.draw,
            self.wire.now,
        )

    # --- connecting ---

    def connect(self) -> None:
        self.is_connected, self.subscribed = True, set()
        self.farewell = self.draw(32)
        self.announce()
        self.group.connect(self.wire.now)
        self.wire.deliver_retained(self)

    def disconnect(self) -> None:
        self.is_connected = False
        self.wire.publish_retained(self.liveness, self.farewell)
        self.group.peers.lose_broker(BROKER)

    def announce(self) -> None:
        epoch = self.group.sending_epoch
        if epoch is None or not self.is_connected:
            return
        presence = Presence(
            self.statement.encode(),
            self.liveness,
            hashlib.sha256(self.farewell).digest(),
            b"indexid8",
            0,
            self.group.log.heads(),
        )
        topic = EpochTopics(self.group.epoch_keys[epoch]).presence(self.id)
        payload = self.seal(Outgoing(epoch, None, presence))
        self.wire.publish_retained(topic, payload)

    def topics(self) -> set[str]:
        self._learn_epochs()
        liveness = self.group.peers.liveness_topics(BROKER)
        members = frozenset(self.group.roster.members)
        state = (liveness, members, self.group.sending_epoch, len(self.heard))
        if self.cached[0] != state:
            self.cached = (state, self._find_topics(set(liveness), members))
        return self.cached[1]

    def _find_topics(self, wanted: set[str], members: frozenset[NodeId]) -> set[str]:
        for epoch, topics in self.heard.items():
            wanted |= {topics.bulletin(), topics.inbox(self.id)}
            if epoch == self.group.sending_epoch:
                wanted |= {topics.presence(one) for one in members if one != self.id}
        return wanted

    # --- sealing and opening ---

    def seal(self, out: Outgoing) -> bytes:
        is_state = isinstance(out.message, Presence | Operations | Grants)
        self.counter += 1
        header = Header(
            self.id,
            self.group.group,
            out.epoch.number,
            out.to,
            Channel.STATE if is_state else Channel.COMMAND,
            out.message.KIND,
            self.incarnation,
            self.counter,
        )
        key, body = self.group.epoch_keys[out.epoch], encode(out.message)
        if out.to is None:
            return seal_group(header, body, self.signer, key, self.draw(24))
        sealing = self.group.roster.members[out.to].statement.sealing
        return seal_direct(
            header, body, self.signer, sealing, key, self.draw(24), self.draw(32)
        )

    def send(self, to: NodeId | None, message: Message) -> None:
        assert self.group.sending_epoch is not None
        self._publish(Outgoing(self.group.sending_epoch, to, message))

    def _publish(self, out: Outgoing) -> None:
        if out.to is not None and out.to not in self.group.roster.members:
            return
        topics = EpochTopics(self.group.epoch_keys[out.epoch])
        topic = topics.bulletin() if out.to is None else topics.inbox(out.to)
        self.wire.publish(topic, self.seal(out))

    def _learn_epochs(self) -> None:
        for epoch, key in self.group.epoch_keys.items():
            if epoch not in self.heard:
                topics = self.heard[epoch] = EpochTopics(key)
                self.keyring.add_epoch(
                    self.group.group, epoch.number, key, self.id, [self.sealing]
                )
                self.epochs[topics.key_tag()] = epoch
                tag = topics.direct_key_tag(self.id, self.sealing.public)
                self.epochs[tag] = epoch

    def receive(self, topic: str, payload: bytes) -> None:
        if self.machine is None:
            return
        if topic in self.machine.peers.liveness_topics(BROKER):
            self.machine.peers.receive_liveness(BROKER, topic, payload, self.wire.now)
            return
        self._learn_epochs()
        try:
            opened = open_envelope(payload, self.keyring)
            header = opened.header
            member = self.machine.roster.members.get(header.sender)
            if header.sender == self.id:
                return
            if member is None:
                epoch = self.epochs[payload[1 : 1 + KEY_TAG_BYTES]]
                self.machine.hear_outsider(header, epoch, self.wire.now)
                return
            if not self.machine.peers.may_pass(header, BROKER, self.wire.now):
                return
            check_signature(opened, member.statement.identity)
            message = decode(header.kind, opened.body)
            assert message is not None
            message = self.machine.sift(header.sender, message, self.wire.now)
            self.wire.verified += len(getattr(message, "operations", ()))
            message = verify_content(message)
        except PeerError:
            return
        epoch = self.epochs[payload[1 : 1 + KEY_TAG_BYTES]]
        command = self.machine.receive(header, epoch, message, BROKER, self.wire.now)
        if command is not None:
            self.commands.append((header.sender, command))

    def work(self) -> bool:
        """Do what the machine wants; False if it wanted nothing."""
        if self.machine is None:
            return False
        events, messages = self.machine.take_events(), self.machine.take_messages()
        self.events += events
        for event in events:
            if isinstance(event, MemberReady) and self.ask_when_ready is not None:
                ready = event.member
                epoch = self.machine.sending_epoch
                assert epoch is not None
                messages.append(Outgoing(epoch, ready, self.ask_when_ready))
        for message in messages:
            if self.is_connected:
                self._publish(message)
        if events:
            self.announce()
            self.wire.deliver_retained(self)
        return bool(events or messages)


@dataclass
class Wire:
    """The broker. Rates are chances from 0 to 1; `now` is the only clock."""

    seed: int
    drop: float = 0.0
    double: float = 0.0
    delay_s: float = 0.0
    now: float = 1000.0
    nodes: list[WireNode] = field(default_factory=list)
    retained: dict[str, bytes] = field(default_factory=dict)
    flying: list[tuple[float, float, str, bytes]] = field(default_factory=list)
    carried: list[tuple[str, bytes]] = field(default_factory=list)
    verified: int = 0  # operations whose signatures were checked

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def node(self, name: str) -> WireNode:
        node = WireNode(name, self.seed * 100 + len(self.nodes), self)
        self.nodes.append(node)
        return node

    def publish(self, topic: str, payload: bytes) -> None:
        self.carried.append((topic, payload))
        if self.random.random() < self.drop:
            return
        for _ in range(2 if self.random.random() < self.double else 1):
            at = self.now + self.random.uniform(0, self.delay_s)
            self.flying.append((at, self.random.random(), topic, payload))

    def publish_retained(self, topic: str, payload: bytes) -> None:
        """Retained messages are not lost: the broker keeps the last one."""
        self.carried.append((topic, payload))
        self.retained[topic] = payload
        for node in self.nodes:
            if node.is_connected and node.machine and topic in node.topics():
                node.receive(topic, payload)

    def deliver_retained(self, node: WireNode) -> None:
        """As brokers do: once, when a topic is subscribed."""
        for _ in range(2):  # a presence names a liveness topic to hear as well
            wanted = node.topics()
            new, node.subscribed = wanted - node.subscribed, set(wanted)
            for topic in sorted(new & self.retained.keys()):
                node.receive(topic, self.retained[topic])

    def run(self, seconds: float) -> None:
        """Let time pass in small steps until *seconds* are over."""
        until = self.now + seconds
        while self.now < until:
            for node in self.nodes:
                while node.work():
                    pass
            due = sorted(one for one in self.flying if one[0] <= self.now)
            self.flying = [one for one in self.flying if one[0] > self.now]
            for _, _, topic, payload in due:
                self._deliver(topic, payload)
            if not due:
                self.now += 0.25
            for node in self.nodes:
                if node.machine is not None:
                    node.machine.handle_timer(self.now)

    def _deliver(self, topic: str, payload: bytes) -> None:
        for node in self.nodes:
            if node.is_connected and node.machine and topic in node.topics():
                node.receive(topic, payload)

    def replay(self) -> None:
        """Deliver everything that was ever carried once more."""
        for topic, payload in list(self.carried):
            self._deliver(topic, payload)
