"""A leave that a broker could not be told at that time: kept, and said later."""

import random
from collections import defaultdict

import pytest

from fonshare_agent.core import Core, Promise
from fonshare_agent.errors import DiskFull
from fonshare_agent.leave_notices import DOCUMENT, LeaveNotices
from fonshare_agent.protocol.envelope import Keyring, check_signature, open_envelope
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import Operations, decode, encode
from fonshare_agent.protocol.operations import SignedOperation
from fonshare_agent.protocol.retirement import KEPT_S
from fonshare_agent.protocol.roster import OperationLog
from fonshare_agent.protocol.topics import EpochTopics
from membership import ANNA, BEN, CLEO, drawer
from test_channel import HOME, Friend
from test_groups import Kept

FIRST, SECOND = "mqtt://first", "mqtt://second"
DAY_S = 86400


class Store:
    """State.db and its thread: what is asked is done at once, and stays."""

    def __init__(self):
        self.documents, self.is_full = {}, False

    def run(self, function, *arguments):
        promise = Promise()
        try:
            promise.resolve(function(*arguments))
        except DiskFull as error:
            promise.reject(error)
        return promise

    def document_names(self, prefix):
        return sorted(name for name in self.documents if name.startswith(prefix))

    def get_document(self, name):
        return self.documents[name]

    def put_document(self, name, value):
        if self.is_full:
            raise DiskFull("no room")
        if value is None:
            self.documents.pop(name, None)
        else:
            self.documents[name] = value


class Sealed:
    """Seals by writing down who says what under which epoch."""

    async def seal(self, machine, out):
        return out, repr((machine.me, out.epoch.number)).encode() + encode(out.message)


class Brokers:
    """Brokers that come and go, lose what is on its way, and keep what is retained."""

    def __init__(self, names):
        self.up = set(names)
        self.retained, self.heard = defaultdict(dict), defaultdict(list)
        self.on_way = []

    def is_connected(self, broker):
        return broker in self.up

    def refresh(self):
        pass

    def publish(self, broker, topic, payload, retain=False):
        assert broker in self.up
        self.on_way.append((broker, topic, payload, retain))
        return True

    def arrive(self, notices):
        """What is on its way arrives, and comes back to who listens there."""
        while self.on_way:
            broker, topic, payload, retain = self.on_way.pop(0)
            self.heard[broker].append((topic, payload))
            if retain:
                self.retained[broker][topic] = payload
            if topic in notices.topics(broker):
                assert notices.receive(broker, topic, payload)


class Node:
    """One node with its store, over restarts."""

    def __init__(self, names, node=ANNA):
        self.node, self.store, self.brokers = node, Store(), Brokers(names)
        self.restart()

    def restart(self):
        """Begin anew with what the disk has; what was on its way is lost."""
        self.core = Core(lambda: 0.0)
        self.brokers.on_way.clear()
        self.notices = LeaveNotices(self.core, self.store, self.store, Sealed)
        self.notices.wire(self.brokers)
        self.do(self.notices.load())

    def do(self, work):
        done = self.core.spawn(work)
        self.settle()
        return done.result()

    def settle(self):
        for _ in range(8):
            self.core.post(lambda: None)
            self.core.run_once()

    def leave(self, machine):
        machine.leave(0.0)
        kept = self.do(self.notices.keep(machine))
        self.notices.tell(machine.group)
        return kept

    @property
    def documents(self):
        return self.store.document_names(DOCUMENT)


def a_group(brokers, node=ANNA, *others, seed=b""):
    machine = GroupMachine.create(
        *(node.signer, lambda: [node.sealing], node.statement, brokers),
        *(drawer(seed), 0.0),
    )
    for other in others:
        machine.admit(other.statement, 0.0)
    return machine


def presence_topic(machine):
    epoch = max(machine.epoch_keys, key=lambda one: one.number)
    return EpochTopics(machine.epoch_keys[epoch]).presence(machine.me)


class Story:
    """What befalls a node that leaves groups and joins them again."""

    NAMES = (FIRST, SECOND)

    def __init__(self, seed):
        self.lots, self.seed, self.uptime_s = random.Random(seed), seed, 0
        self.node, self.left, self.count = Node(self.NAMES), [], 0

    def leave(self):
        self.count += 1
        machine = a_group(
            self.NAMES, ANNA, BEN, seed=b"%d %d" % (self.seed, self.count)
        )
        assert self.node.leave(machine)
        self.left.append(machine)

    def join_again(self):
        if self.left:
            machine = self.left.pop(self.lots.randrange(len(self.left)))
            self.node.brokers.on_way.clear()
            self.node.do(self.node.notices.forget(machine.group))
            self.tend()
            self.connect(*self.node.brokers.up)
            topics = [topic for _, topic, _, _ in self.node.brokers.on_way]
            assert presence_topic(machine) not in topics, "a leave of the past"

    def cut(self):
        self.node.brokers.up.discard(self.lots.choice(self.NAMES))
        self.node.brokers.on_way.clear()

    def mend(self):
        self.connect(self.lots.choice(self.NAMES))

    def connect(self, *names):
        for name in names:
            self.node.brokers.up.add(name)
            self.node.notices.on_connected(name)

    def kill(self):
        self.node.restart()
        self.connect(*self.node.brokers.up)

    def tend(self):
        self.uptime_s += 30
        self.node.notices.tend(self.uptime_s)

    def arrive(self):
        self.node.brokers.arrive(self.node.notices)


@pytest.mark.parametrize("seed", range(20))
def test_every_broker_holds_the_leaves_at_last_and_no_leave_of_the_past_is_said(seed):
    """Brokers go and come, the node is killed, groups are left and joined again."""
    story = Story(seed)
    deeds = [story.leave, story.join_again, story.cut, story.mend, story.kill]
    for _ in range(40):
        story.lots.choice([*deeds, story.tend, story.arrive])()
        story.node.settle()
    kept = {name.removeprefix(DOCUMENT) for name in story.node.documents}
    assert kept <= {machine.group.hex() for machine in story.left}

    story.connect(*story.NAMES)
    story.arrive()
    story.node.settle()
    assert (story.node.documents, story.node.notices.brokers()) == ([], set())
    for machine in story.left:
        for name in story.NAMES:
            assert presence_topic(machine) in story.node.brokers.retained[name]


def test_a_broker_that_does_not_come_back_is_given_up_after_90_days_of_uptime():
    node = Node((FIRST,))
    node.brokers.up.clear()
    node.leave(a_group((FIRST,)))
    for uptime_s in (10 * DAY_S, 11 * DAY_S, 10 * DAY_S + KEPT_S):
        node.notices.tend(uptime_s)
        node.settle()
        node.restart()
        assert node.notices.brokers() == {FIRST}
    node.notices.tend(5)  # the count was lost: it begins anew
    node.settle()
    node.notices.tend(KEPT_S + 5)
    node.settle()
    assert node.documents
    node.notices.tend(KEPT_S + 6)
    node.settle()
    assert (node.documents, node.notices.brokers()) == ([], set())


def test_what_a_broker_lost_on_the_way_is_said_again_until_it_holds_it():
    node = Node((FIRST,))
    machine = a_group((FIRST,))
    node.leave(machine)
    node.brokers.on_way.clear()  # the connection broke with it
    assert node.documents
    node.notices.receive(FIRST, presence_topic(machine), b"the presence before")
    node.settle()
    assert node.documents
    node.notices.tend(1)
    node.brokers.arrive(node.notices)
    node.settle()
    assert node.documents == []


def test_notices_are_bounded(monkeypatch):
    monkeypatch.setattr("fonshare_agent.leave_notices.NOTICES_MAX", 2)
    node = Node((FIRST,))
    node.brokers.up.clear()
    groups = [a_group((FIRST,), seed=bytes([n])) for n in range(3)]
    for machine in groups:
        node.leave(machine)
    assert node.documents == sorted(DOCUMENT + g.group.hex() for g in groups[1:])


def test_who_is_removed_or_still_there_says_nothing():
    node = Node((FIRST,), BEN)
    machine = a_group((FIRST,), ANNA, BEN, CLEO)
    assert node.do(node.notices.keep(machine))
    machine.remove(CLEO.id, 0.0)
    assert node.do(node.notices.keep(machine))
    assert node.documents == []


def test_a_disk_that_takes_nothing_is_told_of():
    node = Node((FIRST,))
    node.store.is_full = True
    assert not node.leave(a_group((FIRST,)))
    assert node.notices.brokers() == set()


# --- with the groups of a node


@pytest.fixture
def home(tmp_path):
    home = Kept(tmp_path)
    yield home
    home.end(home.crypto, home.store, home.files)


def founded(home, *friends):
    group = home.do(home.groups.create("Famille", (HOME,)))
    for friend in friends:
        act = lambda m, now, friend=friend: m.admit(friend.statement, now)  # noqa: E731
        home.do(home.groups.change(group, act))
    return home.channel.machine(group)


def documents(home):
    return home.store.run_and_wait(lambda: home.state.document_names(DOCUMENT))


def test_who_comes_back_to_a_broker_learns_that_a_member_has_left(home):
    bob = Friend("bob")
    machine = founded(home, bob)
    log = OperationLog.from_raw(machine.log.raw_operations())
    epoch = machine.sending_epoch
    key, topic = machine.epoch_keys[epoch], presence_topic(machine)
    removed = Friend("carol")
    home.broker.connected = set()
    home.do(
        home.groups.change(machine.group, lambda m, _: m.admit(removed.statement, 0))
    )
    home.do(home.groups.leave(machine.group))
    assert home.groups.labels() == {}
    assert home.leaving.brokers() == {HOME}
    assert home.leaving.topics(HOME) == {topic}

    home.do(home.leaving.load())  # as after a restart
    home.broker.connected = {HOME}
    home.story.clear()
    home.leaving.on_connected(HOME)
    [(_, first, payload), (_, second, again)] = home.published()
    assert (first, payload) == (topic, again)
    assert second == EpochTopics(key).bulletin()

    keyring = Keyring()
    keyring.add_epoch(machine.group, epoch.number, key, bob.id, [bob.sealing])
    opened = open_envelope(payload, keyring)
    check_signature(opened, home.keys.signer.public)
    said = decode(opened.header.kind, opened.body)
    assert isinstance(said, Operations)
    for raw in said.operations:
        log.add(SignedOperation.decode(raw))
    assert set(log.fold().members) == {bob.id, removed.id}, "also what it did last"

    assert home.leaving.receive(HOME, topic, payload)
    home.run_until(lambda: not documents(home))
    assert home.leaving.brokers() == set()


def test_who_joins_again_says_nothing_of_the_old_leave(home):
    machine = founded(home, Friend("bob"))
    raws = machine.log.raw_operations(), [one.raw for one in machine.grants]
    home.broker.connected = set()
    home.do(home.groups.leave(machine.group))
    assert documents(home)
    home.do(home.groups.join("Famille", *raws))
    assert documents(home) == []
    assert home.leaving.brokers() == set()


def test_a_leave_that_was_cut_short_is_kept_at_the_next_start(home):
    machine = home.machine()
    machine.admit(Friend("bob").statement, 0.0)
    machine.leave(0.0)
    home.keep(machine, "Famille")
    home.broker.connected = set()
    home.do(home.groups.load())
    assert documents(home) == [DOCUMENT + machine.group.hex()]


def test_what_the_disk_did_not_take_is_done_at_the_next_start(home, monkeypatch):
    machine = founded(home, Friend("bob"))
    home.broker.connected = set()

    def fail(name, value):
        raise DiskFull("no room")

    with monkeypatch.context() as full:
        full.setattr(home.state, "put_document", fail)
        home.do(home.groups.leave(machine.group))
    assert home.groups.labels() == {}
    assert len(home.memberships.load()[0]) == 1
    home.do(home.groups.load())
    assert home.memberships.load()[0] == []
    assert documents(home)
