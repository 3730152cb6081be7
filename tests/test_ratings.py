"""Ratings: the log of each member, told over a wire that loses, and kept in bounds."""

import json
import random
from pathlib import Path

import pytest

from fonshare_agent.core import Core
from fonshare_agent.errors import UsageError
from fonshare_agent.index import state_ratings
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_ratings import Head, Verdict
from fonshare_agent.model import Root
from fonshare_agent.protocol.fields import BadMessage
from fonshare_agent.protocol.messages import decode, encode
from fonshare_agent.protocol.rating_messages import (
    PAGE_RATINGS,
    STARS_MAX,
    Ratings,
    RatingsAsk,
)
from fonshare_agent.social import ratings
from fonshare_agent.social.ratings import TAKE_BURST, TELL_S, GroupRatings
from index_nodes import ALICE, BOB, CAROL, CLUB, FAMILLE

VECTOR = json.loads((Path(__file__).parent / "vectors" / "ratings.json").read_text())
LOG = b"their-l8"


def root(number: int) -> Root:
    return Root(number.to_bytes(32, "big"))


@pytest.fixture
def state(tmp_path):
    made = StateStore(tmp_path / "state.db", "disk", lambda: 0.0)
    made.begin_life(b"l" * 16)
    yield made
    made.close()


@pytest.fixture
def tables(state):
    return state.ratings


def told(tables, *rated, member=BOB, log=LOG, after=0, upto=None):
    upto = after + len(rated) if upto is None else upto
    return tables.take(FAMILLE, member, Head(log, after), rated, upto)


def verdict(tables, number, group=FAMILLE):
    return tables.verdicts([(group, root(number))], ALICE).get((group, root(number)))


# --- the messages ---


def test_a_page_of_ratings_looks_as_the_vectors_say():
    page = Ratings(
        *(bytes.fromhex(VECTOR["log"]), VECTOR["after"], VECTOR["upto"]),
        VECTOR["head"],
        tuple(bytes.fromhex(one) for one in VECTOR["roots"]),
        bytes(VECTOR["stars"]),
    )
    assert encode(page).decode() == VECTOR["body"]
    assert decode("ratings", VECTOR["body"].encode()) == page
    ask = RatingsAsk(page.log, page.upto)
    assert encode(ask).decode() == VECTOR["ask"]
    assert decode("ratings_ask", VECTOR["ask"].encode()) == ask


@pytest.mark.parametrize("body", VECTOR["refused"])
def test_a_page_of_ratings_that_is_not_one_is_refused_whole(body):
    with pytest.raises(BadMessage):
        decode("ratings", body.encode())


def test_a_page_may_be_full_and_no_fuller():
    roots = tuple(root(number) for number in range(PAGE_RATINGS + 1))
    full = Ratings(LOG, 0, 600, 600, roots[:-1], bytes([5]) * PAGE_RATINGS)
    assert decode("ratings", encode(full)) == full
    with pytest.raises(BadMessage):
        Ratings(LOG, 0, 600, 600, roots, bytes([5]) * len(roots))


# --- the tables ---


def test_what_all_think_is_counted_by_group_and_content(tables):
    tables.rate(FAMILLE, ALICE, root(1), 5)
    told(tables, (root(1), 2), (root(2), 4))
    told(tables, (root(1), 3), member=CAROL)
    assert verdict(tables, 1) == Verdict(10, 3, own=5)
    assert verdict(tables, 1).average == pytest.approx(10 / 3)
    assert verdict(tables, 2) == Verdict(4, 1, own=0)
    assert verdict(tables, 3) is None
    assert verdict(tables, 1, CLUB) is None, "another group hears nothing of it"


def test_one_member_has_one_rating_of_a_content_and_the_latest_counts(tables):
    told(tables, (root(1), 1))
    told(tables, (root(1), 5), after=1)
    assert verdict(tables, 1) == Verdict(5, 1, own=0)
    assert told(tables, (root(1), 1)) == 2, "what came late changes nothing"
    assert verdict(tables, 1) == Verdict(5, 1, own=0)
    told(tables, (root(1), 0), after=2)
    assert verdict(tables, 1) is None
    tables.rate(FAMILLE, ALICE, root(1), 3)
    tables.rate(FAMILLE, ALICE, root(1), 4)
    assert verdict(tables, 1) == Verdict(4, 1, own=4)
    tables.rate(FAMILLE, ALICE, root(1), 0)
    assert verdict(tables, 1) is None


def test_a_gap_is_seen_and_nothing_taken(tables):
    assert told(tables, (root(1), 5), after=3) is None
    told(tables, (root(1), 1))
    assert told(tables, (root(1), 5), after=2) is None
    assert verdict(tables, 1) == Verdict(1, 1, own=0)
    assert tables.known(FAMILLE, BOB, LOG) == 1


def test_a_new_log_of_a_member_takes_the_place_of_the_old_one(tables):
    told(tables, (root(1), 5), (root(2), 5))
    assert told(tables, (root(3), 1), log=b"another8", after=2) is None
    assert verdict(tables, 1) == Verdict(5, 1, own=0), "until it comes from its start"
    told(tables, (root(3), 1), log=b"another8")
    assert [verdict(tables, number) for number in (1, 2)] == [None, None]
    assert verdict(tables, 3) == Verdict(1, 1, own=0)


def test_a_restored_state_numbers_anew_and_groups_are_not_linked(state, tables):
    for group in (FAMILLE, CLUB):
        tables.rate(group, ALICE, root(1), 5)
    before = tables.own_head(FAMILLE, ALICE)
    assert tables.own_head(FAMILLE, ALICE) == before
    assert tables.own_head(CLUB, ALICE).log != before.log
    state.begin_life(b"m" * 16)
    now = tables.own_head(FAMILLE, ALICE)
    assert now.number == before.number
    assert now.log != before.log


def test_a_log_is_told_page_by_page_without_what_has_changed_since(tables):
    for number in (1, 2, 3):
        tables.rate(FAMILLE, ALICE, root(number), number)
    tables.rate(FAMILLE, ALICE, root(2), 5)
    tables.rate(FAMILLE, ALICE, root(3), 0)
    begin, rated, upto = tables.page(FAMILLE, ALICE, Head(b"", 9), 2)
    assert (begin.number, upto.number) == (0, 4)
    assert rated == [(root(1), 1), (root(2), 5)]
    _, rated, upto = tables.page(FAMILLE, ALICE, upto, 2)
    assert (rated, upto.number) == ([(root(3), 0)], 5)
    assert tables.page(FAMILLE, ALICE, upto, 2)[1] == []
    assert tables.page(CLUB, ALICE, Head(b"", 0), 2) is None


def test_what_a_member_tells_is_bounded(tables, monkeypatch):
    monkeypatch.setattr(state_ratings, "RATINGS_MAX", 3)
    told(tables, *((root(number), 5) for number in range(9)))
    assert [verdict(tables, number) is not None for number in range(4)] == [
        *(True, True, True),
        False,
    ]
    told(tables, (root(0), 0), (root(8), 4), (root(1), 1), after=9)
    assert verdict(tables, 8) == Verdict(4, 1, own=0), "there was room again"
    assert verdict(tables, 1) == Verdict(1, 1, own=0)


def test_the_owner_is_told_when_there_is_no_room_and_how_to_make_some(
    tables, monkeypatch
):
    monkeypatch.setattr(state_ratings, "RATINGS_MAX", 2)
    for number in (1, 2):
        tables.rate(FAMILLE, ALICE, root(number), 5)
    before = tables.own_head(FAMILLE, ALICE)
    with pytest.raises(UsageError):
        tables.rate(FAMILLE, ALICE, root(3), 5)
    assert tables.own_head(FAMILLE, ALICE) == before
    tables.rate(FAMILLE, ALICE, root(1), 0)
    assert tables.own_head(FAMILLE, ALICE).log == before.log
    tables.rate(FAMILLE, ALICE, root(3), 5)
    after = tables.own_head(FAMILLE, ALICE)
    assert after.log != before.log, "nobody keeps what was taken back"
    _, rated, _ = tables.page(FAMILLE, ALICE, before, 9)
    assert rated == [(root(2), 5), (root(3), 5)]


def test_who_leaves_takes_its_ratings_along_and_a_group_all_of_them(state, tables):
    told(tables, (root(1), 5))
    told(tables, (root(1), 3), member=CAROL)
    tables.keep_members(FAMILLE, {ALICE, CAROL})
    assert verdict(tables, 1) == Verdict(3, 1, own=0)
    state.forget_group(FAMILLE)
    assert tables.groups() == []
    assert not state.has_ratings()


def test_a_number_tells_of_every_rating(state, tables):
    seen = [state.rating_changes()]
    for rate in (
        lambda: told(tables, (root(1), 5)),
        lambda: tables.rate(FAMILLE, ALICE, root(1), 4),
        lambda: tables.rate(FAMILLE, ALICE, root(1), 0),
        lambda: told(tables, (root(1), 0), after=1),
        lambda: tables.keep_members(FAMILLE, {ALICE}),
    ):
        rate()
        assert state.rating_changes() != seen[-1]
        seen.append(state.rating_changes())
    assert seen[0] == 0


def test_the_best_come_first(tables):
    told(tables, (root(1), 4), (root(2), 5), (root(3), 4))
    told(tables, (root(3), 4), member=CAROL)
    tables.rate(CLUB, ALICE, root(4), 5)
    best = tables.best([FAMILLE], ALICE, 9)
    assert [one[1] for one in best] == [root(2), root(3), root(1)]
    assert len(tables.best([FAMILLE, CLUB], ALICE, 2)) == 2
    assert tables.best([], ALICE, 9) == []


# --- between members ---


class Inline:
    """Stands for the store's thread: runs at once."""

    async def run(self, work, *values):
        return work(*values)


class World:
    """Members over a wire that loses, doubles and reorders while `is_bad`."""

    def __init__(self, folder, seed=0, names=(ALICE, BOB, CAROL)):
        self.random, self.is_bad = random.Random(seed), False
        self.now, self.wire, self.sent = 1000.0, [], 0
        self.core = Core(lambda: self.now)
        self.states, self.nodes = {}, {}
        for name in names:
            state = StateStore(folder / name.hex()[:4], "disk", lambda: self.now)
            state.begin_life(name[:16])
            self.states[name] = state
            self.begin(name)

    def begin(self, name):
        """As after a start."""
        self.nodes[name] = GroupRatings(
            *(self.core, Inline(), self.states[name].ratings),
            lambda group, to, message: self.send(name, group, to, message),
            lambda group: frozenset(self.nodes),
            name,
        )
        self.do(self.nodes[name].load())

    def do(self, work):
        promise = self.core.spawn(work)
        while not promise.is_settled:
            self.core.run_once()
        return promise.result()

    def send(self, sender, group, to, message):
        self.sent += 1
        body = encode(message)
        for name in self.nodes if to is None else [to]:
            if name != sender and not (self.is_bad and self.random.random() < 0.4):
                copies = 1 + (self.is_bad and self.random.random() < 0.3)
                self.wire += [(sender, group, name, message.KIND, body)] * copies
        return True

    def settle(self, seconds=TELL_S):
        """Let time pass, and all arrive that is under way."""
        self.now += seconds
        self.core.post(lambda: None)
        self.core.run_once()
        while self.wire:
            at = self.random.randrange(len(self.wire)) if self.is_bad else 0
            sender, group, name, kind, body = self.wire.pop(at)
            message = decode(kind, body)
            self.do(self.nodes[name].on_message(group, sender, message))

    def rate(self, name, number, stars, group=FAMILLE):
        self.do(self.nodes[name].rate(group, root(number), stars))

    def meet(self, one, other):
        """Both prove to the other that they live."""
        self.nodes[one].note_ready(FAMILLE, other)
        self.nodes[other].note_ready(FAMILLE, one)
        self.core.post(lambda: None)
        self.core.run_once()
        self.settle()

    def seen(self, name, number):
        wanted = FAMILLE, root(number)
        return self.states[name].ratings.verdicts([wanted], name).get(wanted)

    def close(self):
        for state in self.states.values():
            state.close()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def test_a_rating_reaches_all_members_in_one_message(world):
    world.rate(ALICE, 1, 5)
    world.rate(ALICE, 2, 3)
    world.settle()
    assert world.sent == 1
    assert world.seen(BOB, 1) == Verdict(5, 1, own=0)
    assert world.seen(CAROL, 2) == Verdict(3, 1, own=0)
    world.rate(BOB, 1, 4)
    world.settle()
    assert world.seen(ALICE, 1) == Verdict(9, 2, own=5)


def test_the_same_again_says_nothing(world):
    world.rate(ALICE, 1, 5)
    world.settle()
    world.rate(ALICE, 1, 5)
    world.settle()
    assert world.sent == 1


def test_who_rates_nothing_says_nothing(world):
    world.meet(ALICE, BOB)
    assert world.sent == 0


def test_who_was_away_hears_of_all_of_it_in_pages_when_it_is_back(world, monkeypatch):
    monkeypatch.setattr(ratings, "PAGE_RATINGS", 4)
    numbers = range(10)
    wire = world.send
    world.send = lambda *message: True  # lost
    for number in numbers:
        world.rate(ALICE, number, 1 + number % STARS_MAX)
    world.settle()
    world.send = wire
    assert world.seen(BOB, 3) is None
    world.meet(ALICE, BOB)
    assert all(world.seen(BOB, number) for number in numbers)
    assert world.seen(CAROL, 3) is None
    world.begin(ALICE)  # anew: those who were met before that hear of it, too
    world.settle()
    assert all(world.seen(CAROL, number) for number in numbers)


FAST_SEEDS = 2
SEEDS = [
    pytest.param(seed, marks=[] if seed < FAST_SEEDS else pytest.mark.full)
    for seed in range(10)
]


@pytest.mark.parametrize("seed", SEEDS)
def test_all_agree_in_the_end_whatever_the_wire_does(tmp_path, seed):
    world = World(tmp_path, seed)
    draw, wanted = world.random, {}
    world.is_bad = True
    for _ in range(40):
        name, number = draw.choice(list(world.nodes)), draw.randrange(8)
        stars = draw.randrange(STARS_MAX + 1)
        wanted[name, number] = stars
        world.rate(name, number, stars)
        if draw.random() < 0.5:
            world.settle(draw.choice((TELL_S, 30.0)))
        if draw.random() < 0.1:
            world.states[name].begin_life(draw.randbytes(16))  # restored
            world.begin(name)
    world.settle(600.0)
    world.is_bad = False
    for one, other in ((ALICE, BOB), (ALICE, CAROL), (BOB, CAROL)):
        world.meet(one, other)
    for number in range(8):
        stars = {one: wanted.get((one, number), 0) for one in world.nodes}
        given = [one for one in stars.values() if one]
        for name in world.nodes:
            seen = Verdict(sum(given), len(given), stars[name]) if given else None
            assert world.seen(name, number) == seen
    world.close()


def test_a_member_that_floods_costs_a_bounded_number_of_writes(world):
    for number in range(TAKE_BURST * 3):
        page = Ratings(LOG, number, number + 1, 10**6, (root(number),), b"\x05")
        world.do(world.nodes[ALICE].on_message(FAMILLE, BOB, page))
    known = world.states[ALICE].ratings.known(FAMILLE, BOB, LOG)
    assert known == TAKE_BURST
    world.now += 5.0
    page = Ratings(LOG, known, known + 1, 10**6, (root(known),), b"\x05")
    world.do(world.nodes[ALICE].on_message(FAMILLE, BOB, page))
    assert world.states[ALICE].ratings.known(FAMILLE, BOB, LOG) == known + 1
    asks = RatingsAsk(LOG, 0)
    world.rate(ALICE, 1, 5)
    world.settle()
    world.sent = 0
    for _ in range(100):
        world.do(world.nodes[ALICE].on_message(FAMILLE, BOB, asks))
    assert world.sent < 10
