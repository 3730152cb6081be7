"""The plan of a file that is read while it arrives, played in simulated time."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.protocol.stream_plan import CLAIM_BYTES, StreamPlan
from test_protocol_distribution import BLOCK, MBIT, ORIGIN, Swarm, fluid_s, lines_of
from test_protocol_plan import CHUNK, MIB, OPEN_S, Game, Source

WINDOW = 8


class Player(Game):
    """A game whose blocks somebody reads, in order from where it has jumped to.

    *jumps*: at these times the player goes on at that block. It is the plan's wishes.
    """

    def __init__(self, blocks, block, sources, jumps, *, is_all=True):
        self.version, self.is_all = 0, is_all
        self.place = None  # the block that the player waits for
        self.blocks = blocks
        self.waited: list[tuple[int, float]] = []  # block, and how long for it
        self.since = 0.0
        super().__init__(blocks, block, sources)
        self.plan = StreamPlan([(0, blocks)], lambda index: block, self)
        for when, place in jumps:
            self.at(when, self.jump, place)

    def stretches(self):
        here = set(self.read)
        found = []
        if self.place is not None and self.place < self.blocks:
            found.append((self.place, min(self.blocks, self.place + WINDOW)))
        first = next((i for i in range(self.blocks) if i not in here), None)
        if self.is_all and first is not None:
            found.append((first, min(self.blocks, first + WINDOW)))
        return found

    def jump(self, place):
        self.version += 1
        self.place, self.since = place, self.now
        self.play()

    def play(self):
        while self.place in self.read:
            self.waited.append((self.place, self.now - self.since))
            self.place, self.since = self.place + 1, self.now

    def arrived(self, *words):
        super().arrived(*words)
        if self.place is not None:
            self.play()

    def chunk(self, name, index, got):
        # A silent connection is looked after, too: its lane may be cut.
        stalls_at = self.sources[name].stalls_at
        if self.now < stalls_at or self.plan.is_cut(name):
            super().chunk(name, index, got)
        elif self.now < stalls_at + 30.0:
            self.at(self.now + 0.2, self.chunk, name, index, got)
        else:
            self.plan.drop(name)

    def play_until(self, seconds):
        while self.events and self.events[0][0] <= seconds:
            self.now, _, what, words = heapq.heappop(self.events)
            what(*words)
        self.now = seconds


def test_without_a_reader_one_source_reads_all_in_order_by_one_stretch():
    game = Player(200, MIB, {"a": Source(5 * MIB)}, [])
    assert game.run() == pytest.approx(40.0 + OPEN_S)
    assert game.sources["a"].stretches == 1
    assert list(game.read) == list(range(200))


def test_two_sources_share_the_beginning_out_instead_of_the_whole():
    game = Player(200, MIB, {"a": Source(5 * MIB), "b": Source(5 * MIB)}, [])
    game.play_until(8.0)
    got = sorted(game.read)
    assert len(got) > 45
    assert got[:40] == list(range(40)), "nobody reads the end yet"
    game.run()
    assert set(game.read.values()) == {1}


def test_a_player_that_looks_at_the_end_first_gets_it_first():
    """As players do: some bytes, the end for its index, then the beginning."""
    jumps = [(0.0, 0), (3.0, 198), (6.0, 2)]
    game = Player(200, 4 * MIB, {"a": Source(4 * MIB)}, jumps)
    game.play_until(60.0)
    # What was being read is left at once: a jump costs no more than a stretch.
    assert dict(game.waited)[198] < 1.0 + OPEN_S + 0.1
    assert list(game.read)[:6] == [0, 1, 198, 199, 2, 3]
    game.run()
    assert set(game.read) == set(range(200))


def test_where_only_reading_is_wanted_nothing_else_comes():
    game = Player(
        500, MIB, {"a": Source(5 * MIB), "b": Source(MIB)}, [(1.0, 100)], is_all=False
    )
    game.play_until(0.9)
    assert not game.read
    game.play_until(300.0)
    # The player takes all at once that comes, so it is the file's end that stops it.
    assert set(game.read) == set(range(100, 500))
    assert set(game.read.values()) == {1}


def test_nothing_beyond_the_window_comes_while_the_reader_stands_still():
    game = Player(500, MIB, {"a": Source(5 * MIB)}, [], is_all=False)
    game.place = 40
    game.play = lambda: None
    game.play_until(60.0)
    assert set(game.read) == set(range(40, 40 + WINDOW))


def test_a_slow_source_does_not_hold_up_what_is_wanted_now():
    sources = {"fast": Source(8 * MIB), "slow": Source(32 * 1024)}
    game = Player(100, 4 * MIB, sources, [(0.0, 0)])
    game.play_until(60.0)
    assert max(waited for _, waited in game.waited) < 15.0
    assert len(game.waited) > 70


def test_a_source_that_is_silent_is_not_waited_for():
    sources = {"a": Source(5 * MIB), "b": Source(5 * MIB, stalls_at=4.0)}
    game = Player(200, MIB, sources, [(0.0, 0)])
    game.play_until(60.0)
    assert len(game.waited) == 200
    assert max(waited for _, waited in game.waited) < 15.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_sources_and_readers_do_each_block_is_read_once(seed):
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
    jumps = [
        (draw.uniform(0, 60), draw.randrange(blocks)) for _ in range(draw.randrange(8))
    ]
    game = Player(blocks, block, sources, jumps)
    took = game.run()
    assert set(game.read.values()) == {1}
    alone = blocks * block / sources["steady"].rate
    # Each claim of a stretch may cost its opening, and each jump one more.
    claims = blocks * block / max(CLAIM_BYTES, block) + len(jumps)
    assert took < alone * 1.6 + 40.0 + claims * OPEN_S


# --- partners -----------------------------------------------------------------------

AHEAD = 64  # blocks that a viewer of a swarm wants


class Viewer:
    """One member of a swarm that plays what it fetches, from block *place* on."""

    def __init__(self, member, blocks):
        self.member, self.blocks = member, blocks
        self.version, self.is_all, self.place = 0, True, 0
        self.began_at, self.ready_at = member.comes_at, []

    def first_missing(self, place):
        have = self.member.have >> place
        return place + (~have & (have + 1)).bit_length() - 1

    def stretches(self):
        firsts = {self.first_missing(place): None for place in (self.place, 0)}
        return [
            (first, min(self.blocks, first + AHEAD))
            for first in firsts
            if first < self.blocks
        ]

    def jump(self, swarm, place):
        self.version += 1
        self.place, self.began_at, self.ready_at = place, swarm.now, []

    def note(self, now):
        ready = self.first_missing(self.place) - self.place
        self.ready_at += [now] * (ready - len(self.ready_at))

    def head_start_s(self, rate):
        """How long to wait before playing at *rate*, never to wait again."""
        late = (when - at * BLOCK / rate for at, when in enumerate(self.ready_at))
        return max(late) - self.began_at


class Cinema(Swarm):
    """A swarm of which *names* play; the others only fetch."""

    def __init__(self, blocks, lines, names, jumps=()):
        self.viewers, self.names, self.jumps = {}, names, jumps
        super().__init__(blocks, lines)

    def plan_of(self, member):
        if member.name not in self.names:
            return super().plan_of(member)
        viewer = self.viewers[member.name] = Viewer(member, self.blocks)
        for when, place in self.jumps:
            self.at(when, viewer.jump, self, place)
        name = member.name
        return StreamPlan([(0, self.blocks)], lambda _: BLOCK, viewer, name)

    def arrived(self, flow):
        super().arrived(flow)
        if flow.receiver in self.viewers:
            self.viewers[flow.receiver].note(self.now)


def test_who_play_the_same_film_have_most_of_it_from_each_other():
    lines = lines_of(4)
    cinema = Cinema(256, lines, set(lines) - {ORIGIN})
    took = cinema.run()
    assert cinema.sent[ORIGIN] <= 1.3 * cinema.blocks
    assert took <= 1.3 * fluid_s(cinema)
    # The origin's line alone would give each 2.5 of these 4 Mbit/s.
    late = [one.head_start_s(4 * MBIT) for one in cinema.viewers.values()]
    assert max(late) < 8.0


def test_over_a_slow_line_nobody_reads_what_a_partner_is_about_to_read():
    lines = lines_of(5)
    lines[ORIGIN].up = 0.6 * MBIT  # nine seconds for a block to each
    cinema = Cinema(60, lines, set(lines) - {ORIGIN})
    assert cinema.run() <= 1.5 * fluid_s(cinema)
    assert cinema.sent[ORIGIN] <= 1.5 * cinema.blocks


def test_who_jumps_in_what_others_only_fetch_has_that_first():
    cinema = Cinema(360, lines_of(3), {"member-0"}, [(10.0, 240)])
    took = cinema.run()
    assert cinema.sent[ORIGIN] <= 1.15 * cinema.blocks
    assert took <= 1.2 * fluid_s(cinema)
    viewer = cinema.viewers["member-0"]
    assert viewer.ready_at[0] - viewer.began_at < 4.0
    assert viewer.head_start_s(4 * MBIT) < 10.0


def test_no_place_is_kept_for_a_partner_that_has_nothing_a_reader_wants():
    class Wants:
        version, is_all = 0, False

        def stretches(self):
            return [(10, 20)]

    plan = StreamPlan([(0, 40)], lambda index: MIB, Wants(), "me", 40)
    plan.note_partner("early", (1 << 10) - 1)
    plan.note_partner("right", 1 << 12)
    for name in ("early", "right"):  # each is asked once
        assert name in plan.waiting_partners()
        plan.begin(name, 0.0)
        plan.drop(name)
    assert plan.waiting_partners() == ["right"]
    assert plan.begin("right", 1.0) == 12
    assert plan.batch("right") == [(12, 13)]
    assert plan.begin("early", 1.0) is None


def test_a_partner_is_not_let_off_its_block_for_what_it_does_not_have():
    class Jumps:
        version, is_all = 0, True
        place = 0

        def stretches(self):
            return [(self.place, self.place + 8)]

    wishes = Jumps()
    plan = StreamPlan([(0, 100)], lambda index: MIB, wishes, "me", 100)
    plan.note_partner("partner", (1 << 50) - 1, 0)
    assert plan.begin("partner", 0.0) == 0
    assert plan.begin("source", 0.0) is not None
    wishes.place, wishes.version = 60, 1
    assert not plan.is_cut("partner")
    assert plan.is_cut("source")
    plan.let_go("source")
    assert plan.begin("source", 1.0) == 60
