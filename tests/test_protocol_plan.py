"""The plan of a fetch from several sources, played in simulated time."""

import heapq
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.protocol.plan import Plan

MIB = 1 << 20
CHUNK = 64 * 1024
OPEN_S = 0.3  # what each new stretch costs a source


@dataclass
class Source:
    rate: float  # bytes a second
    dies_at: float = float("inf")  # and says so
    stalls_at: float = float("inf")  # and says nothing for 30 s
    comes_at: float = 0.0
    lies: bool = False
    bytes: int = 0
    stretches: int = 0
    is_banned: bool = False


class Game:
    """Lanes that read chunk by chunk; each keeps to what the plan says."""

    def __init__(self, blocks, block, sources, gaps=None):
        self.block, self.sources = block, dict(sources)
        self.plan = Plan(gaps or [(0, blocks)], lambda index: block)
        self.read: dict[int, int] = {}  # block -> how often it came right
        self.missing = {i for a, b in gaps or [(0, blocks)] for i in range(a, b)}
        self.events, self.order, self.now = [], 0, 0.0
        for name, source in self.sources.items():
            self.at(source.comes_at, self.begin, name)

    def at(self, when, what, *words):
        self.order += 1
        heapq.heappush(self.events, (when, self.order, what, words))

    def run(self):
        while not self.plan.is_complete:
            assert self.events, "nobody is left"
            self.now, _, what, words = heapq.heappop(self.events)
            assert self.now < 1e6
            what(*words)
        assert set(self.read) == self.missing
        return self.now

    def begin(self, name):
        if self.plan.is_complete:
            return
        first = self.plan.begin(name, self.now)
        if first is None:
            self.at(self.now + 0.2, self.begin, name)
        else:
            self.sources[name].stretches += 1
            self.at(self.now + OPEN_S, self.chunk, name, first, 0)

    def chunk(self, name, index, got):
        source = self.sources[name]
        if self.plan.is_cut(name):
            self.plan.let_go(name)
            self.begin(name)
        elif self.now >= source.dies_at:
            self.plan.drop(name)
        elif self.now >= source.stalls_at:
            self.at(self.now + 30.0, self.plan.drop, name)
        else:
            self.at(self.now + CHUNK / source.rate, self.arrived, name, index, got)

    def arrived(self, name, index, got):
        source = self.sources[name]
        source.bytes += CHUNK
        self.plan.note_bytes(name, CHUNK, self.now)
        got += CHUNK
        if got < self.block:
            return self.chunk(name, index, got)
        if source.lies:
            if self.plan.note_wrong(name):
                source.is_banned = True
                return self.plan.drop(name)
            return self.begin(name)
        self.plan.note_right(name)
        self.read[index] = self.read.get(index, 0) + 1
        if self.plan.has_more(name):
            return self.chunk(name, index + 1, 0)
        return self.begin(name)


def ideal_s(game, rates):
    return len(game.missing) * game.block / sum(rates)


def test_one_source_reads_all_in_order_by_one_stretch():
    game = Game(200, MIB, {"a": Source(5 * MIB)})
    assert game.run() == pytest.approx(40.0 + OPEN_S)
    assert game.sources["a"].stretches == 1
    assert list(game.read) == list(range(200))


@pytest.mark.parametrize(
    "rates",
    [(5, 5), (5, 5, 5), (9, 1), (10, 3, 0.5), (2, 2, 2, 2), (20, 0.1), (0.2, 8)],
)
def test_the_sources_end_together_whatever_their_rates(rates):
    sources = {str(at): Source(rate * MIB) for at, rate in enumerate(rates)}
    game = Game(400, MIB, sources)
    took = game.run()
    ideal = ideal_s(game, [rate * MIB for rate in rates])
    assert took < 1.05 * ideal
    read = sum(one.bytes for one in sources.values())
    assert read <= 401 * MIB, "at most one block was begun in vain"
    assert set(game.read.values()) == {1}
    assert max(one.stretches for one in sources.values()) < 6, "in long stretches"


def test_the_last_block_of_a_slow_source_is_taken_away():
    # A megabyte and a half a minute: its one block would outlast all the others.
    sources = {"fast": Source(8 * MIB), "slow": Source(16 * 1024)}
    game = Game(100, 4 * MIB, sources)
    assert game.run() < 60.0 < 4 * MIB / (16 * 1024)


@pytest.mark.parametrize("how", ["dies_at", "stalls_at"])
def test_what_a_dead_source_has_left_is_read_by_the_others(how):
    sources = {"a": Source(5 * MIB), "b": Source(5 * MIB, **{how: 8.0})}
    game = Game(200, MIB, sources)
    assert game.run() < 40.0 + 10.0
    assert sources["b"].bytes > 20 * MIB


def test_a_source_that_comes_late_has_its_part():
    sources = {"a": Source(5 * MIB), "late": Source(5 * MIB, comes_at=20.0)}
    game = Game(400, MIB, sources)
    assert game.run() < 52.0
    assert sources["late"].bytes > 100 * MIB


def test_a_liar_is_found_out_by_its_second_wrong_block_and_costs_no_more():
    sources = {"a": Source(5 * MIB), "liar": Source(5 * MIB, lies=True)}
    game = Game(100, MIB, sources)
    game.run()
    assert sources["liar"].is_banned
    assert sources["liar"].bytes == 2 * MIB
    assert set(game.read.values()) == {1}


def test_what_is_here_already_is_not_read():
    game = Game(0, MIB, {"a": Source(MIB), "b": Source(MIB)}, [(3, 5), (9, 30)])
    game.run()
    assert set(game.read) == {3, 4, *range(9, 30)}


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_whatever_the_sources_do_each_block_is_read_once(seed):
    draw = random.Random(seed)
    sources = {"steady": Source(draw.uniform(0.05, 20) * MIB)}
    for at in range(draw.randrange(4)):
        sources[str(at)] = Source(
            draw.uniform(0.02, 20) * MIB,
            dies_at=draw.choice((float("inf"), draw.uniform(0, 30))),
            stalls_at=draw.choice((float("inf"), draw.uniform(0, 30))),
            comes_at=draw.choice((0.0, draw.uniform(0, 20))),
            lies=draw.random() < 0.2,
        )
    blocks, block = draw.randrange(1, 150), draw.choice((2, 8, 32)) * CHUNK
    game = Game(blocks, block, sources)
    took = game.run()
    assert set(game.read.values()) == {1}
    # Never much later than the steady one alone, whoever hinders it.
    alone = blocks * block / sources["steady"].rate
    assert took < alone * 1.6 + 40.0
