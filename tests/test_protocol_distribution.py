"""One file to several members at once: every plan is the real one, lines are simulated.

Time is simulated, too, and nothing is drawn but from the seed, so a figure here is the
plan's own: what a machine costs is in bench/distribution.py.
"""

import heapq
import random
from dataclasses import dataclass, field

import pytest

from fonshare_agent.protocol.partners import own_stretch
from fonshare_agent.protocol.parts import span
from fonshare_agent.protocol.plan import SHARED_LANES_MAX, Plan

MBIT = 125_000.0  # bytes a second
BLOCK = 128 * 1024
ORIGIN = "origin"
REQUEST_S = 0.15  # what a batch costs before its first byte
OPEN_S = 0.5  # what a new session costs
LOOK_S = 0.5  # a lane without work asks its partner so often
TELL_S = 10.0  # so often partners hear of what has changed


@dataclass
class Line:
    up: float
    down: float


@dataclass(eq=False)
class Flow:
    """One lane's batch on its way."""

    sender: str
    receiver: str
    left: float  # bytes of the block that is on its way
    batch: list[int] = field(default_factory=list)
    rate: float = 0.0

    def __post_init__(self):
        self.ends = (self.sender, "up"), (self.receiver, "down")


@dataclass
class Member:
    name: str
    comes_at: float
    plan: Plan | None = None
    have: int = 0
    done_at: float = 0.0
    lanes: set[str] = field(default_factory=set)


class Swarm:
    """*members* fetch a file of *blocks* from the origin and from each other."""

    def __init__(self, blocks, lines, *, comes=None, seed=1, dies=False):
        self.blocks, self.lines = blocks, lines
        self.draw = random.Random(seed)
        self.whole = span(0, blocks)
        self.now, self.order, self.events = 0.0, 0, []
        self.flows: list[Flow] = []
        self.sent = dict.fromkeys(lines, 0)  # blocks
        self.served = 0  # what the origin has sent once at least
        self.dies = dies  # the origin, as soon as each block was sent
        self.is_dead = False
        self.members = {
            name: Member(name, (comes or {}).get(name, 0.0))
            for name in lines
            if name != ORIGIN
        }
        for one in self.members.values():
            self.at(one.comes_at + self.draw.uniform(0.0, 0.1), self.join, one)

    def at(self, when, what, *words):
        self.order += 1
        heapq.heappush(self.events, (when, self.order, what, words))

    def run(self):
        """Return when the last one had all of it."""
        while any(one.have != self.whole for one in self.members.values()):
            self.step()
            assert self.now < 1e5, "nothing goes on"
        return max(one.done_at for one in self.members.values())

    def step(self):
        due = self.events[0][0] if self.events else float("inf")
        soonest = min(self.flows, key=self.ready_at, default=None)
        if soonest is not None and self.ready_at(soonest) <= due:
            self.advance(self.ready_at(soonest))
            self.arrived(soonest)
        else:
            assert self.events, "nobody is left"
            self.advance(due)
            _, _, what, words = heapq.heappop(self.events)
            what(*words)

    def ready_at(self, flow):
        return self.now + flow.left / flow.rate if flow.rate else float("inf")

    def advance(self, when):
        for flow in self.flows:
            flow.left = max(0.0, flow.left - flow.rate * (when - self.now))
        self.now = max(when, self.now)

    def share_lines(self):
        """Give each flow its fair part of the lines, as many TCP connections would."""
        left, users = {}, {}
        for flow in self.flows:
            flow.rate = -1.0
            for end in flow.ends:
                users.setdefault(end, []).append(flow)
        for name, way in users:
            left[name, way] = getattr(self.lines[name], way)
        count = {end: len(flows) for end, flows in users.items()}
        while count:
            end = min(count, key=lambda one: left[one] / count[one])
            rate = left[end] / count[end]
            for flow in users[end]:
                if flow.rate < 0.0:
                    flow.rate = rate
                    for other in flow.ends:
                        left[other] = max(0.0, left[other] - rate)
                        count[other] -= 1
            count = {one: number for one, number in count.items() if number}

    # --- the members ---

    def join(self, member):
        member.plan = self.plan_of(member)
        others = [one for one in self.members.values() if one.plan is not None]
        self.draw.shuffle(others)
        for other in others:
            if other is not member:
                self.at(self.now + 0.3, self.tell, other, member)
                self.at(self.now + 0.3, self.tell, member, other)
        member.lanes.add(ORIGIN)
        self.begin(member, ORIGIN)
        self.at(self.now + TELL_S, self.tell_all, member)

    def plan_of(self, member):
        return Plan([(0, self.blocks)], lambda _: BLOCK, member.name)

    def tell(self, teller, hearer):
        if teller.name not in hearer.lanes:
            hearer.plan.note_partner(teller.name, teller.have)
            self.fill_places(hearer)

    def fill_places(self, member):
        for name in member.plan.waiting_partners():
            is_new = name not in member.lanes
            if is_new and len(member.lanes) < SHARED_LANES_MAX:
                member.lanes.add(name)
                self.at(self.now + OPEN_S, self.begin, member, name)

    def tell_all(self, member):
        for other in self.members.values():
            if other is not member and other.plan is not None:
                self.tell(member, other)
        if member.have != self.whole:
            self.at(self.now + TELL_S, self.tell_all, member)

    def begin(self, member, source):
        plan = member.plan
        if member.have == self.whole or (source == ORIGIN and self.is_dead):
            return
        if source != ORIGIN:
            other = self.members[source]
            plan.note_partner(source, other.have, other.plan.coming)
            if plan.is_over(source, self.now):
                plan.drop(source)
                member.lanes.discard(source)
                self.fill_places(member)
                return
        first = plan.begin(source, self.now)
        if first is None:
            self.at(self.now + LOOK_S, self.begin, member, source)
            return
        runs = plan.batch(source) or [(first, self.blocks)]
        batch = [index for a, b in runs for index in range(a, b)]
        self.at(self.now + REQUEST_S, self.request, member, source, batch)

    def request(self, member, source, batch):
        self.flows.append(Flow(source, member.name, float(BLOCK), batch))
        self.share_lines()

    def end(self, flow):
        self.flows.remove(flow)
        self.share_lines()

    def arrived(self, flow):
        member, index = self.members[flow.receiver], flow.batch.pop(0)
        plan, source = member.plan, flow.sender
        assert plan.block(source) == index
        if source != ORIGIN:
            assert self.members[source].have >> index & 1, "sends what it has not"
        assert not member.have >> index & 1, "no block is read twice"
        plan.note_bytes(source, BLOCK, self.now)
        plan.note_right(source)
        member.have |= 1 << index
        self.sent[source] += 1
        if source == ORIGIN:
            self.served |= 1 << index
        if member.have == self.whole:
            member.done_at = self.now
        if plan.has_more(source):
            flow.left = float(BLOCK)
        else:
            self.end(flow)
            self.begin(member, source)
        if self.dies and self.served == self.whole and not self.is_dead:
            self.kill_origin()

    def kill_origin(self):
        self.is_dead = True
        for member in self.members.values():
            member.plan.drop(ORIGIN)
        self.flows = [one for one in self.flows if one.sender != ORIGIN]
        self.share_lines()


def lines_of(count, up=10.0, down=40.0):
    names = [ORIGIN, *(f"member-{number}" for number in range(count))]
    return {name: Line(up * MBIT, down * MBIT) for name in names}


def fluid_s(swarm):
    """The least time in which water could be there (DESIGN section 7)."""
    size = swarm.blocks * BLOCK
    source = swarm.lines[ORIGIN].up
    others = [line for name, line in swarm.lines.items() if name != ORIGIN]
    total = source + sum(line.up for line in others)
    slowest = min(line.down for line in others)
    return max(size / source, size / slowest, len(others) * size / total)


@pytest.mark.parametrize("count", [4, 8])
def test_it_is_everywhere_in_about_the_time_of_one_copy(count):
    swarm = Swarm(256, lines_of(count))
    took = swarm.run()
    assert took <= 1.2 * fluid_s(swarm)
    assert swarm.sent[ORIGIN] <= 1.1 * swarm.blocks, "the origin sends it about once"


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2, 4))
@pytest.mark.parametrize("count", [2, 3, 6, 8])
def test_it_is_everywhere_in_about_the_time_of_one_copy_for_many(count, seed):
    draw = random.Random(seed)
    lines = lines_of(count)
    comes = {name: draw.uniform(0.0, 2.0) for name in lines}
    swarm = Swarm(480, lines, seed=seed, comes=comes)
    assert swarm.run() <= 1.2 * fluid_s(swarm) + max(comes.values())


@pytest.mark.full
def test_more_partners_than_places_take_turns():
    swarm = Swarm(480, lines_of(12))
    assert swarm.run() <= 1.35 * fluid_s(swarm)
    assert min(swarm.sent.values()) > swarm.blocks // 4, "nobody is left out"


@pytest.mark.parametrize("count", [3, 5])
def test_when_each_block_was_sent_once_the_origin_may_go(count):
    swarm = Swarm(200, lines_of(count), dies=True)
    swarm.run()
    assert swarm.is_dead
    assert swarm.sent[ORIGIN] < 1.15 * swarm.blocks


def test_a_slow_member_delays_nobody_but_itself():
    lines = lines_of(4)
    lines["member-3"] = Line(0.5 * MBIT, 2 * MBIT)
    swarm = Swarm(240, lines)
    swarm.run()
    quick = max(swarm.members[f"member-{one}"].done_at for one in range(3))
    assert quick <= 1.5 * 240 * BLOCK / lines[ORIGIN].up


def test_who_comes_late_reads_from_those_who_have_it():
    swarm = Swarm(240, lines_of(3), comes={"member-2": 15.0})
    swarm.run()
    alone = 240 * BLOCK / swarm.lines[ORIGIN].up
    assert swarm.members["member-2"].done_at - 15.0 < 0.8 * alone
    assert swarm.sent[ORIGIN] < 1.6 * swarm.blocks


def test_of_a_source_that_pushes_each_gets_another_stretch_of_what_nobody_has():
    names = ["a", "b", "c"]
    missing, have = span(0, 30), span(0, 6)
    stretches = [
        own_stretch(me, [one for one in names if one != me], missing, [have, 0])
        for me in names
    ]
    assert stretches == [(6, 14), (14, 22), (22, 30)]
    assert own_stretch("a", [], missing, []) == (0, 30)
    assert own_stretch("b", ["a", "c"], span(3, 4), [0]) == (3, 4), "never nothing"
    assert own_stretch("a", ["b"], span(3, 5), [span(0, 30)]) == (3, 4)
