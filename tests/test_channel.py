"""The control channel around real machines, keys and stores; the broker is a list."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from fonshare_agent import announcing, channel
from fonshare_agent.channel import ControlChannel, Listener
from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.errors import DiskFull, UnknownKey
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import GroupId, IndexId
from fonshare_agent.nodekeys import load_or_create
from fonshare_agent.protocol.envelope import (
    Channel,
    Header,
    Keyring,
    open_envelope,
    seal_group,
)
from fonshare_agent.protocol.epochs import EpochGrant
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.group_events import MembershipChanged, RemovedFromGroup
from fonshare_agent.protocol.keys import KeyStatement, SealingKey, Signer
from fonshare_agent.protocol.messages import (
    CatalogueAsk,
    Grants,
    Hello,
    Message,
    Operations,
    Presence,
    Welcome,
    decode,
    encode,
)
from fonshare_agent.protocol.peers import MemberSeen
from fonshare_agent.protocol.retirement import KEPT_S
from fonshare_agent.protocol.roster import OperationLog
from fonshare_agent.protocol.topics import EpochTopics, liveness_topic
from waiting import PATIENCE_S

HOME = "mqtt://home"
ASK = CatalogueAsk(b"indexid8", 0)


class Broker:
    """Stands for the links: notes what is published, in order with what is told."""

    def __init__(self, story: list[object]) -> None:
        self.story, self.connected = story, {HOME}

    def is_connected(self, broker: str) -> bool:
        return broker in self.connected

    def will(self, broker: str) -> tuple[str, bytes]:
        return liveness_topic(bytes(20)), bytes(32)

    is_full = False  # too much is on its way to it

    def publish(self, broker, topic, payload, retain=False) -> bool:
        if not self.is_full:
            self.story.append((broker, topic, payload))
        return not self.is_full

    def refresh(self) -> None:
        pass


class Friend:
    """Another member, by hand: its keys, and what it seals."""

    def __init__(self, name: str) -> None:
        self.signer = Signer(os.urandom(32))
        self.sealing = SealingKey(os.urandom(32))
        self.id, self.counter = self.signer.node_id, 0
        self.farewell = os.urandom(32)
        self.liveness = liveness_topic(os.urandom(20))
        self.statement = KeyStatement.make(
            self.signer, name, 1, bytes(32), self.sealing.public
        )

    def seal(self, machine: GroupMachine, message: Message, channel: Channel) -> bytes:
        epoch = machine.sending_epoch
        assert epoch is not None
        self.counter += 1
        header = Header(
            *(self.id, machine.group, epoch.number, None, channel),
            *(message.KIND, 1, self.counter),
        )
        key = machine.epoch_keys[epoch]
        return seal_group(header, encode(message), self.signer, key, os.urandom(24))

    def presence(self, machine: GroupMachine, liveness: str | None = None) -> bytes:
        presence = Presence(
            self.statement.encode(),
            liveness or self.liveness,
            hashlib.sha256(self.farewell).digest(),
            b"indexid8",
            0,
            machine.log.heads(),
        )
        return self.seal(machine, presence, Channel.STATE)


class Home:
    """One node's channel with real workers, driven by the test's own thread."""

    def __init__(self, folder: Path) -> None:
        self.core = Core(time.monotonic)
        self.crypto, self.store = Worker("c", self.core), Worker("s", self.core)
        self.keys = load_or_create(folder / "keys", os.urandom)
        state = self.state = StateStore(folder / "state.db", "disk", time.monotonic)
        self.story: list[object] = []
        self.broker = Broker(self.story)
        self.channel = ControlChannel(
            *(self.core, self.crypto, self.store, state, self.keys, "anna", os.urandom)
        )
        self.channel.wire(
            Listener(self.save, self.tell, self.hear, self.head), self.broker
        )

    async def save(self, machine: GroupMachine) -> None:
        if self.is_disk_full:
            raise DiskFull("no room")
        self.story.append("saved")

    is_disk_full = False

    def tell(self, group: GroupId, event: object) -> None:
        self.story.append((group, event))

    def hear(self, group: GroupId, member: object, message: object) -> None:
        self.story.append(message)

    own_head = 1

    def head(self, group: GroupId) -> tuple[IndexId, int]:
        return IndexId(b"indexid8"), self.own_head

    def start(self) -> None:
        self.crypto.start()
        self.store.start()

    def end(self, *workers: Worker) -> None:
        self.store.run_and_wait(self.state.close)
        for worker in workers:
            worker.stop()

    def topics_of(self, machine: GroupMachine) -> EpochTopics:
        assert machine.sending_epoch is not None
        return EpochTopics(machine.epoch_keys[machine.sending_epoch])

    def found(self, *friends: Friend) -> GroupMachine:
        machine = GroupMachine.create(
            self.keys.signer,
            lambda: [self.keys.sealing],
            self.keys.statement("anna"),
            (HOME,),
            os.urandom,
            self.core.clock(),
        )
        for friend in friends:
            machine.admit(friend.statement, self.core.clock())
        machine.take_events()
        machine.take_messages()
        self.channel.add_group(machine)
        return machine

    def run_until(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.story
            self.core.call_later(0.01, lambda: None)
            self.core.run_once()

    def receive(self, topic: str, payload: bytes, broker: str = HOME) -> None:
        done = self.core.spawn(self.channel.receive(broker, topic, payload))
        self.run_until(lambda: done.is_settled)

    def published(self) -> list[tuple[str, str, bytes]]:
        return [one for one in self.story if isinstance(one, tuple) and len(one) == 3]


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    yield home
    home.end(home.crypto, home.store)


def test_what_waits_when_a_member_is_removed_is_not_sealed_for_it(home):
    eve = Friend("eve")
    machine = home.found(eve)
    before = machine.sending_epoch
    keyring = Keyring()
    keyring.add_epoch(
        machine.group, 1, machine.epoch_keys[before], eve.id, [eve.sealing]
    )
    assert home.channel.send(machine.group, None, ASK)
    machine.remove(eve.id, home.core.clock())
    home.channel.pump(machine.group)
    home.start()
    topics = EpochTopics(machine.epoch_keys[machine.sending_epoch])
    home.run_until(
        lambda: [one for one in home.published() if one[1] == topics.bulletin()]
    )
    for _, _, payload in home.published():
        try:
            opened = open_envelope(payload, keyring)
        except UnknownKey:
            continue
        assert opened.header.kind != ASK.KIND


def test_a_member_of_two_groups_is_seen_to_go_in_both(home):
    bob = Friend("bob")
    first, second = home.found(bob), home.found(bob)
    home.start()
    home.receive("presence", bob.presence(first))
    home.receive("presence", bob.presence(second))
    home.receive(bob.liveness, bob.farewell)
    for machine in (first, second):
        gone = (machine.group, MemberSeen(bob.id, False))
        home.run_until(lambda gone=gone: gone in home.story)


def test_a_farewell_that_came_before_the_presence_counts(home):
    bob = Friend("bob")
    first, second = home.found(bob), home.found(bob)
    home.start()
    home.receive("presence", bob.presence(first))
    home.receive(bob.liveness, bob.farewell)
    home.receive("presence", bob.presence(second))
    assert second.peers.online() == frozenset()


def test_a_member_cannot_silence_a_topic_by_calling_it_its_liveness_topic(home):
    mallory, bob = Friend("mallory"), Friend("bob")
    machine = home.found(mallory, bob)
    home.start()
    bulletin = EpochTopics(machine.epoch_keys[machine.sending_epoch]).bulletin()
    home.receive("presence", mallory.presence(machine, liveness=bulletin))
    home.receive(bulletin, bob.presence(machine))
    assert bob.id in machine.peers.online()


def test_a_leave_goes_out_before_the_group_is_dropped(home):
    machine = home.found(Friend("bob"))
    home.start()
    home.run_until(lambda: len(home.published()) >= 2)  # presence and hello
    home.story.clear()
    machine.leave(home.core.clock())
    home.channel.pump(machine.group)
    removed = (machine.group, RemovedFromGroup())
    home.run_until(lambda: removed in home.story)
    at = home.story.index(removed)
    assert [one for one in home.story[:at] if one in home.published()]


def test_a_group_that_moves_says_so_where_it_was_and_greets_where_it_is(home):
    machine = home.found(Friend("bob"))
    home.broker.connected.add("mqtt://new")
    home.start()
    home.run_until(lambda: len(home.published()) >= 2)
    home.story.clear()
    machine.set_brokers(("mqtt://new",), home.core.clock())
    home.channel.pump(machine.group)
    home.run_until(lambda: HOME in [one[0] for one in home.published()])
    assert home.channel.brokers() == {HOME, "mqtt://new"}
    presence = EpochTopics(machine.epoch_keys[machine.sending_epoch]).presence(
        machine.me
    )
    home.run_until(
        lambda: ("mqtt://new", presence) in [one[:2] for one in home.published()]
    )


def test_who_was_away_finds_the_group_where_it_was_but_no_commands(home):
    bob = Friend("bob")
    machine = home.found(bob)
    home.broker.connected.add("mqtt://new")
    home.start()
    home.run_until(lambda: len(home.published()) >= 2)
    machine.set_brokers(("mqtt://new",), home.core.clock())
    home.channel.pump(machine.group)
    home.run_until(lambda: "mqtt://new" in [one[0] for one in home.published()])
    assert home.channel.topics(HOME) == home.channel.topics("mqtt://new")
    home.story.clear()
    inbox = home.topics_of(machine).inbox(bob.id)
    old_heads = machine.log.operations()[1].parents
    hello = bob.seal(machine, Hello(bytes(16), old_heads), Channel.COMMAND)
    home.core.spawn(home.channel.receive(HOME, "any", hello))
    home.run_until(lambda: (HOME, inbox) in [one[:2] for one in home.published()])
    flushed = home.core.spawn(home.channel.flush(machine.group))
    home.run_until(lambda: flushed.is_settled)
    home.story.clear()
    home.channel.send(machine.group, bob.id, ASK)
    home.run_until(lambda: home.published())
    assert [one[:2] for one in home.published()] == [("mqtt://new", inbox)]
    home.channel.age(0)
    home.channel.age(KEPT_S + 1)
    assert home.channel.brokers() == {"mqtt://new"}
    assert home.channel.topics(HOME) == set()


def test_a_message_that_is_refused_halfway_is_carried_out_as_far_as_it_went(home):
    bob, eve = Friend("bob"), Friend("eve")
    machine = home.found(bob, eve)
    home.start()
    home.run_until(lambda: len(home.published()) >= 2)
    foreign = KeyStatement.make(eve.signer, "x", 2, bytes(32), eve.sealing.public)
    bob.statement = foreign  # a presence with another's statement: refused
    home.receive("presence", bob.presence(machine))
    assert home.channel.dropped
    home.run_until(lambda: (machine.group, MemberSeen(bob.id, True)) in home.story)


def test_a_command_right_behind_the_answer_to_a_challenge_is_believed(home):
    bob = Friend("bob")
    machine = home.found(bob)
    home.start()
    home.run_until(lambda: machine.peers._peers[bob.id].open_nonces)
    [nonce, *_] = machine.peers._peers[bob.id].open_nonces
    welcome = Welcome(nonce, True, b"indexid8", 0, machine.log.heads())
    for message in (welcome, ASK):  # both are here before either is looked at
        payload = bob.seal(machine, message, Channel.COMMAND)
        home.core.spawn(home.channel.receive(HOME, "any", payload))
    home.run_until(lambda: ASK in home.story)


def test_the_queue_of_a_group_is_bounded(home):
    machine = home.found(Friend("bob"))
    taken = [home.channel.send(machine.group, None, ASK) for _ in range(400)]
    assert taken.count(True) < 300
    home.start()


def test_a_dropped_group_leaves_no_key_behind(home):
    bob = Friend("bob")
    machine = home.found(bob)
    presence = bob.presence(machine)
    home.start()
    home.channel.drop_group(machine.group)
    home.story.clear()
    home.receive("presence", presence)
    assert home.channel.dropped == {UnknownKey.code: 1}
    assert home.channel.topics(HOME) == set()


def test_grants_that_are_stored_are_taken_back(home):
    machine = home.found(Friend("bob"))
    grants = [EpochGrant.decode(one.raw) for one in machine.grants]
    again = GroupMachine(
        home.keys.signer,
        lambda: [],
        OperationLog.from_raw(machine.log.raw_operations()),
        grants,
        (),
        {epoch.commitment: key for epoch, key in machine.epoch_keys.items()},
        os.urandom,
        0.0,
    )
    assert again.sending_epoch == machine.sending_epoch
    assert MembershipChanged() not in again.take_events()
    home.start()


def test_what_a_worker_seals_while_a_member_is_removed_does_not_leave(home):
    eve = Friend("eve")
    machine = home.found(eve)
    home.start()
    home.run_until(lambda: len(home.published()) >= 2)
    old = machine.epoch_keys[machine.sending_epoch]
    run = home.crypto.run

    def remove_meanwhile(function, header, *rest):
        if header.kind == ASK.KIND and machine.roster.is_member(eve.id):
            machine.remove(eve.id, home.core.clock())
        return run(function, header, *rest)

    home.crypto.run = remove_meanwhile
    home.story.clear()
    home.channel.send(machine.group, None, ASK)
    home.run_until(lambda: not machine.roster.is_member(eve.id))
    new = EpochTopics(machine.epoch_keys[machine.sending_epoch])
    presence = new.presence(machine.me)  # said once the new epoch is stored
    home.run_until(lambda: presence in [one[1] for one in home.published()])
    keyring = Keyring()
    keyring.add_epoch(machine.group, 1, old, eve.id, [eve.sealing])
    for _, _, payload in home.published():
        if keyring.find(payload[1:17]) is not None:
            assert open_envelope(payload, keyring).header.kind != ASK.KIND


# --- nothing is lost while the disk takes nothing, nor by what is under way ---


@pytest.fixture
def hasty(home, monkeypatch):
    """A home that tries again soon what it could not do."""
    monkeypatch.setattr(channel, "STORE_RETRY_S", 0.05)
    monkeypatch.setattr(announcing, "RETRY_S", 0.05)
    return home


def kinds(home, machine):
    """What was published under the present epoch, in order."""
    keyring = Keyring()
    epoch = machine.sending_epoch
    keyring.add_epoch(
        machine.group,
        epoch.number,
        machine.epoch_keys[epoch],
        Friend("x").id,
        [SealingKey(os.urandom(32))],
    )
    opened = [open_envelope(payload, keyring) for *_, payload in home.published()]
    return [one.header.kind for one in opened]


def settled(home, machine):
    home.start()
    home.run_until(lambda: len(home.published()) >= 2)  # presence and hello
    home.story.clear()
    return EpochTopics(machine.epoch_keys[machine.sending_epoch])


def test_a_membership_that_was_not_stored_is_stored_and_told_later(hasty):
    machine = hasty.found()
    settled(hasty, machine)
    hasty.is_disk_full = True
    machine.admit(Friend("bob").statement, hasty.core.clock())
    hasty.channel.pump(machine.group)
    hasty.run_until(lambda: hasty.channel._groups[machine.group].is_dirty)
    hasty.channel.send(machine.group, None, ASK)
    hasty.run_until(lambda: not hasty.channel._groups[machine.group].queue)
    assert hasty.published() == []
    hasty.is_disk_full = False
    hasty.run_until(lambda: Operations.KIND in kinds(hasty, machine))
    assert hasty.story.index("saved") < hasty.story.index(hasty.published()[0])
    assert Grants.KIND in kinds(hasty, machine)
    assert ASK.KIND not in kinds(hasty, machine)  # it will be asked again


def test_what_cannot_be_counted_now_is_said_later(hasty, monkeypatch):
    machine = hasty.found()
    settled(hasty, machine)
    lease, tries = hasty.channel._sealer._counter, []

    async def fail_twice(group, channel):
        tries.append(channel)
        if len(tries) <= 2:
            raise DiskFull("no room")
        return await lease(group, channel)

    monkeypatch.setattr(hasty.channel._sealer, "_counter", fail_twice)
    machine.connect(hasty.core.clock())
    hasty.channel.pump(machine.group)
    hasty.run_until(lambda: Hello.KIND in kinds(hasty, machine))
    assert len(tries) == 3


def test_a_presence_that_cannot_leave_now_leaves_later(hasty, monkeypatch):
    machine = hasty.found()
    topics = settled(hasty, machine)
    hasty.broker.is_full = True
    hasty.channel.announce(machine.group)
    hasty.run_until(lambda: not hasty.channel._announcing._under_way)
    hasty.broker.is_full = False
    where = topics.presence(machine.me)
    hasty.run_until(lambda: where in [topic for _, topic, _ in hasty.published()])
    hasty.story.clear()

    async def fail(group, channel):
        monkeypatch.undo()
        raise DiskFull("no room")

    monkeypatch.setattr(announcing, "RETRY_S", 0.05)
    monkeypatch.setattr(hasty.channel._sealer, "_counter", fail)
    hasty.channel.announce(machine.group)
    hasty.run_until(lambda: where in [topic for _, topic, _ in hasty.published()])


def test_the_presence_that_a_broker_keeps_names_the_newest_head(home, monkeypatch):
    """One that is under way when our catalogue moves must not come after the next."""
    machine = home.found()
    topics = settled(home, machine)
    sealer, waiting = home.channel._sealer, []
    seal = sealer.seal

    async def seal_slowly(machine, out):
        if not waiting:
            waiting.append(Promise())
            await waiting[0]
        return await seal(machine, out)

    monkeypatch.setattr(sealer, "seal", seal_slowly)
    home.channel.announce(machine.group)
    home.own_head = 2
    home.channel.announce(machine.group)
    home.core.call_later(0.05, lambda: waiting[0].resolve(None))
    home.run_until(lambda: len(home.published()) == 2)
    keyring, epoch = Keyring(), machine.sending_epoch
    keyring.add_epoch(
        *(machine.group, epoch.number, machine.epoch_keys[epoch]),
        *(Friend("x").id, [SealingKey(os.urandom(32))]),
    )
    told = [open_envelope(payload, keyring) for *_, payload in home.published()]
    heads = [decode(one.header.kind, one.body).sequence for one in told]
    assert heads == [1, 2]
    assert topics.presence(machine.me) == home.published()[1][1]
