"""What one node offers reaches another's replica, whatever is lost on the way.

The two deciders, ours of one node and theirs of the other, over made-up stores and a
made-up line that a seed drives: calls take their time, fail now and then, messages are
lost, doubled and overtake each other. Only the newest presence arrives for certain, as
a broker's retained message does. When the trouble is over both must agree.
"""

import random

import pytest

from fonshare_agent.catching_up import ASK_TIMEOUT_MAX_S, ASK_TIMEOUT_S, CatchingUp
from fonshare_agent.core import Core, Promise
from fonshare_agent.errors import DiskFull
from fonshare_agent.index.records import Applied, Delta, Gap
from fonshare_agent.model import IndexId
from fonshare_agent.protocol.messages import CatalogueAsk, CatalogueDelta
from fonshare_agent.sharing import Sharing
from index_nodes import ALICE, BOB, CAROL, FAMILLE

INDEX = IndexId(b"indexid8")
SEEDS = 50


class MadeUpTime(Core):
    """A core whose clock jumps to what is due next."""

    def __init__(self):
        self.now = 1000.0
        super().__init__(lambda: self.now)

    def pass_time(self, seconds):
        end = self.now + seconds
        while not self._calls.empty() or (self._timers and self._timers[0][0] <= end):
            if self._calls.empty():
                self.now = max(self.now, self._timers[0][0])
            self.run_once()
        self.now = end


class SlowWorker:
    """Does one call after another, each after a while; some fail."""

    def __init__(self, core, draw):
        self.core, self.draw = core, draw
        self.free_at, self.fails = 0.0, 0.0

    def run(self, function, *args, **kwargs):
        promise = Promise()
        begin = max(self.core.now, self.free_at) + self.draw.choice((0.0, 0.02, 0.7))
        self.free_at = begin + self.draw.choice((0.0, 0.02, 0.7))
        outcome = []

        def work():
            try:
                if self.draw.random() < self.fails:
                    raise DiskFull("no room")
                outcome.append(function(*args, **kwargs))
            except DiskFull as error:
                outcome.append(error)

        def answer():
            if isinstance(outcome[0], DiskFull):
                promise.reject(outcome[0])
            else:
                promise.resolve(outcome[0])

        self.core.call_later(begin - self.core.now, work)
        self.core.call_later(self.free_at - self.core.now, answer)
        return promise


class Offered:
    """The own catalogue of one node: so many changes."""

    def __init__(self):
        self.index_id, self.count = INDEX, 0

    def own_head(self, group):
        return self.index_id, self.count

    def delta(self, group, index_id, after, *, max_entries, max_bytes):
        start = after if index_id == self.index_id and after <= self.count else 0
        upto = min(self.count, start + 3)  # pages are small here
        return Delta(self.index_id, start, upto, tuple(range(start, upto)))

    def reset_index_id(self, group):
        self.index_id = IndexId(self.index_id[1:] + self.index_id[:1])
        return self.index_id


class Replica:
    """The other's copy of it."""

    def __init__(self):
        self.heads = {}
        self.known = set()

    def replica_head(self, group, member):
        return self.heads.get(member, (None, 0))

    def apply_delta(self, group, member, delta, *, complete_at):
        known_id, head = self.replica_head(group, member)
        if known_id != delta.index_id:
            if delta.after:
                return Gap(0)
            head, self.known = 0, set()
        if delta.after != head or delta.upto < head:
            return Gap(head)
        self.heads[member] = (delta.index_id, delta.upto)
        self.known |= set(delta.changes)
        return Applied(delta.upto, 0)

    def drop_member(self, group, member):
        self.heads.pop(member, None)

    def browse(self, group):
        return []


class World:
    """Alice offers, bob follows."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.core = MadeUpTime()
        self.loss = 0.0
        self.offered, self.replica = Offered(), Replica()
        self.offering = SlowWorker(self.core, self.draw)
        self.taking = SlowWorker(self.core, self.draw)
        self.alice = Sharing(
            *(self.core, self.offering, self.offered, self.from_alice, self.announce),
            lambda *told: None,
            CatchingUp(self.core, self.offering, None, None, None),
        )
        self.bob = CatchingUp(
            self.core, self.taking, self.replica, self.from_bob, lambda *told: None
        )
        self.presence_at = 0.0
        self.bob.add_group(FAMILLE)
        self.core.spawn_service("begin", self.begin())

    async def begin(self):
        await self.alice.add_group(FAMILLE)
        self.announce(FAMILLE)  # as the channel does with each group that comes

    # --- the line ---

    def carry(self, deliver):
        """Let *deliver* happen once, twice or never, some time from now."""
        if self.draw.random() < self.loss:
            return
        for _ in range(self.draw.choice((1, 1, 1, 2))):
            self.core.call_later(self.draw.choice((0.0, 0.05, 1.5)), deliver)

    def from_alice(self, group, to, message):
        assert isinstance(message, CatalogueDelta)
        self.carry(
            lambda: self.core.spawn_service(
                "delta", self.bob.on_delta(FAMILLE, ALICE, message)
            )
        )
        return True

    def from_bob(self, group, to, message):
        assert isinstance(message, CatalogueAsk)
        self.carry(
            lambda: self.core.spawn_service(
                "ask", self.alice.on_ask(FAMILLE, BOB, message)
            )
        )
        return True

    told = 0

    def announce(self, group):
        """As a broker's retained message: in order, and the newest for certain."""
        self.told += 1
        head = self.alice.own_head(group)
        due = max(self.presence_at, self.core.now + self.draw.choice((0.0, 0.1, 2.0)))
        self.presence_at = due
        self.core.call_later(
            due - self.core.now, lambda: self.bob.note_head(FAMILLE, ALICE, head)
        )

    # --- what a test does ---

    def change(self, count=1):
        self.offered.count += count
        self.core.post(lambda: self.alice.note_moved([FAMILLE]))

    @property
    def is_level(self):
        return self.replica.replica_head(FAMILLE, ALICE) == self.offered.own_head(
            FAMILLE
        )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_in_the_end_a_friend_knows_all_that_is_offered(seed):
    world = World(seed)
    for trouble in (0.0, 0.3):
        world.loss = trouble
        world.offering.fails = world.taking.fails = trouble / 3
        for _ in range(world.draw.randint(1, 12)):
            world.change(world.draw.choice((1, 1, 2, 5, 20)))
            world.core.pass_time(world.draw.choice((0.0, 0.1, 0.4, 1.0, 3.0, 30.0)))
    world.loss = world.offering.fails = world.taking.fails = 0.0
    world.core.pass_time(2 * ASK_TIMEOUT_MAX_S)
    assert world.is_level, (world.replica.heads, world.offered.count)
    assert world.replica.known == set(range(world.offered.count))


def test_who_comes_while_those_who_left_are_forgotten_is_not_forgotten():
    world = World(0)
    world.offered.count, members = 5, {BOB}
    world.core.pass_time(60.0)
    assert world.is_level
    forget = world.bob.keep_members(FAMILLE, lambda: members)
    world.replica.browse = lambda group: members.add(ALICE) or []
    world.core.spawn_service("forget members", forget)
    world.core.pass_time(5.0)
    assert world.is_level


def test_a_member_that_left_is_forgotten():
    world = World(0)
    world.offered.count = 5
    world.core.pass_time(60.0)
    work = world.bob.keep_members(FAMILLE, lambda: {BOB, CAROL})
    world.core.spawn_service("forget members", work)
    world.core.pass_time(5.0)
    assert not world.replica.heads


def test_older_news_does_not_hide_newer():
    """A page under way when a presence comes, and all after it lost."""
    world = World(0)
    world.offered.count, world.loss = 5, 1.0
    world.core.pass_time(30.0)
    page = CatalogueDelta(INDEX, 0, 3, 3, (0, 1, 2))
    world.core.spawn_service("delta", world.bob.on_delta(FAMILLE, ALICE, page))
    world.bob.note_head(FAMILLE, ALICE, (INDEX, 5))
    world.core.pass_time(5.0)
    assert world.replica.heads == {ALICE: (INDEX, 3)}
    world.loss = 0.0
    world.core.pass_time(2 * ASK_TIMEOUT_S)
    assert world.is_level


def test_of_an_answer_that_a_broadcast_has_overtaken_the_rest_is_taken():
    world = World(0)
    world.core.pass_time(5.0)
    for page in (
        CatalogueDelta(INDEX, 0, 2, 2, (0, 1)),
        CatalogueDelta(INDEX, 0, 3, 3, (0, 1, 2)),
    ):
        world.core.spawn_service("delta", world.bob.on_delta(FAMILLE, ALICE, page))
    world.core.pass_time(5.0)
    assert world.replica.heads == {ALICE: (INDEX, 3)}


def test_what_the_store_could_not_tell_is_told_later_and_once():
    world = World(0)
    world.core.pass_time(5.0)
    world.offering.fails = 1.0
    world.change(2)
    world.core.pass_time(30.0)
    world.offering.fails = 0.0
    world.core.pass_time(20.0)
    assert world.is_level
    told = world.told
    world.core.pass_time(1000.0)
    assert world.told == told
