"""Where no connection from here comes about: what is read by relays, by connections
that the source makes, and beside both."""

import os
import time
from types import SimpleNamespace

import pytest

from fonshare_agent.bringing import Bringer, Others
from fonshare_agent.core import Core, Worker
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN
from fonshare_agent.receiving import Granted
from fonshare_agent.watch import Watch
from transfer_world import begin_partial
from waiting import PATIENCE_S

BLOCKS = 40
GROUP = GroupId(bytes(32))
SOURCE, OTHER, HIDDEN, ME = (NodeId(letter * 32) for letter in (b"s", b"o", b"h", b"m"))


def granted(source, *, is_held=False):
    grant = SimpleNamespace(ticket=b"", secret=b"", addresses=(), root=b"", hashes=())
    share = None if is_held else "Films"
    return Granted(GROUP, source, "job.0", "job", share, None, grant, is_held)


class Ways:
    """Who is cut off; what is learnt on the way is of no matter here."""

    def __init__(self, *cut_off):
        self.cut_off, self.pushers = set(cut_off), set()
        self.can_come: set[NodeId] = set()  # pushers once they were knocked at in vain

    def is_cut_off(self, member):
        return member in self.cut_off

    def is_pusher(self, member):
        return member in self.pushers

    def note_outward(self, member, is_open):
        if not is_open:
            found = self.pushers if member in self.can_come else self.cut_off
            found.add(member)

    def note_inward(self, member, is_open):
        if not is_open:
            self.pushers.discard(member)
            self.cut_off.add(member)


class World:
    """A bringer whose connections are the test's: who is cut off is only reached by a
    relay, which is there for those in `relayed`."""

    def __init__(self, path):
        self.core = Core(time.monotonic)
        self.files = Worker("files", self.core)
        self.files.start()
        self.data = os.urandom(BLOCKS * BLOCK_SIZE_MIN)
        self.kept = begin_partial(path, self.data)
        self.hidden, self.relayed = {SOURCE}, {SOURCE}
        self.reads: list[tuple[bytes, str]] = []  # by whom, and which way
        self.taken: dict[bytes, int] = {}  # blocks that came from each
        self.forgotten: list[NodeId] = []
        self.calls: list[NodeId] = []
        self.comes = ""  # or why who is called does not
        self.ways = Ways(SOURCE)
        self.has_hands = True
        members = {one: self.member(one) for one in (SOURCE, OTHER, HIDDEN)}
        machine = SimpleNamespace(roster=SimpleNamespace(members=members))
        outside = SimpleNamespace(dialable=lambda addresses: addresses)
        self.bringer = Bringer(
            *(self.core, self.files, None, self, None, lambda group: machine),
            *(outside, self.ways, self, os.urandom),
        )

    @staticmethod
    def member(node):
        return SimpleNamespace(statement=SimpleNamespace(tls_fingerprint=node))

    # --- as the relays ---

    async def find(self, group, source, owner):
        return ("relay to", source) if source in self.relayed else None

    async def call(self, group, source, addresses, owner):
        self.calls.append(source)
        return self.comes or ("call to", source)

    def forget(self, source):
        self.forgotten.append(source)
        self.relayed.discard(source)

    # --- as the workers ---

    def fetch(self, task):
        return self.core.spawn(self.read(task))

    async def read(self, task):
        source = task.peer_fingerprint
        way = task.relay[0].split()[0] if task.relay else "straight"
        self.reads.append((source, way))
        if source in self.hidden and not task.relay:
            return "unreachable"
        while not task.watch.is_cancelled:
            await self.core.sleep(0.005)
            index = task.lane.begin(lambda: None)
            if index is None:
                return ""
            while True:
                offset, length = self.kept.content.range(index)
                with self.kept.write_block(index) as writer:
                    writer.write(self.data[offset : offset + length])
                    assert writer.finish()
                task.lane.note_bytes(length)
                assert task.lane.note_block(is_right=True)
                self.taken[source] = self.taken.get(source, 0) + 1
                await self.core.sleep(0.005)
                if not task.lane.has_more():
                    break
                index = task.lane.block
        return "source.lost"

    def others(self, *online):
        async def members():
            return list(online)

        async def ask(source):
            return granted(source)

        async def hold(kept):
            return None

        return Others(members, ask, lambda source: None, ask, hold, ME)

    def bring(self, *online):
        work = self.bringer.bring(
            granted(SOURCE), self.kept, Watch(), self.others(*online)
        )
        done, until = self.core.spawn(work), time.monotonic() + PATIENCE_S
        while not done.is_settled:
            assert time.monotonic() < until
            self.core.call_later(0.01, lambda: None)
            self.core.run_once()
        return done.result()


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr("fonshare_agent.transfer.lanes.LOOK_S", 0.0)
    made = World(tmp_path)
    yield made
    made.files.stop()
    made.kept.close()


def test_who_is_reached_straight_helps_the_source_behind_a_relay(world):
    assert world.bring(OTHER) == ""
    assert sorted(world.reads) == [(OTHER, "straight"), (SOURCE, "relay")]
    assert min(world.taken.values()) >= 5


def test_where_all_are_cut_off_each_has_a_relay_if_there_is_one(world):
    world.hidden |= {HIDDEN, OTHER}
    world.relayed |= {HIDDEN}
    world.ways.cut_off |= {HIDDEN, OTHER}
    assert world.bring(HIDDEN, OTHER) == ""
    assert sorted(world.reads) == [(HIDDEN, "relay"), (SOURCE, "relay")]
    assert set(world.taken) == {SOURCE, HIDDEN}


def test_a_relay_that_is_over_holds_up_nobody_who_is_reached(world):
    world.relayed.clear()
    assert world.bring(OTHER) == ""
    assert set(world.taken) == {OTHER}


def test_without_need_nobody_is_read_by_a_relay(world):
    world.hidden, world.relayed = {HIDDEN}, {HIDDEN}
    world.ways.cut_off = {HIDDEN}
    assert world.bring(HIDDEN) == ""
    assert (HIDDEN, "relay") not in world.reads


def test_who_can_only_push_is_called_when_others_are_read_too(world):
    world.ways.cut_off.clear()
    world.ways.pushers = {SOURCE}
    assert world.bring(OTHER) == ""
    assert sorted(world.reads) == [(OTHER, "straight"), (SOURCE, "call")]
    assert min(world.taken.values()) >= 5


def test_another_source_that_is_not_reached_is_called(world):
    world.ways.cut_off.clear()
    world.hidden, world.ways.can_come = {HIDDEN}, {HIDDEN}
    assert world.bring(HIDDEN) == ""
    assert (HIDDEN, "call") in world.reads
    assert set(world.taken) == {SOURCE, HIDDEN}


def test_who_does_not_come_either_is_cut_off(world):
    world.ways.cut_off.clear()
    world.ways.pushers, world.comes = {SOURCE}, "unreachable"
    assert world.bring(OTHER) == ""
    assert world.calls == [SOURCE]
    assert SOURCE in world.ways.cut_off
    assert world.reads == [(OTHER, "straight")], "who is reached has all of it"
