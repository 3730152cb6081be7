"""When members were last seen online: kept over restarts, whatever the clock does."""

import pytest

from fonshare_agent.clock import BUILD_DATE
from fonshare_agent.last_seen import DOCUMENT, SAVE_S, LastSeen
from fonshare_agent.model import GroupId, NodeId
from test_ways import ANNA, BEN, World

CLUB, OTHER = GroupId(b"c" * 32), GroupId(b"o" * 32)
TODAY = BUILD_DATE + 86_400


class Seen(World):
    """A world with one node in two groups, and a time of day of its own."""

    def __init__(self):
        super().__init__()
        self.today = TODAY
        self.rosters = {CLUB: {ANNA, BEN}, OTHER: {ANNA}}
        self.seen = self.again_seen()

    def again_seen(self):
        seen = LastSeen(
            self.core,
            self.store,
            self.documents,
            lambda: self.today,
            lambda group: self.rosters.get(group, ()),
        )
        self.run(self.core.spawn(seen.load()))
        return seen

    def save(self):
        self.run(self.core.spawn(self.seen.save()))


@pytest.fixture
def world():
    world = Seen()
    yield world
    world.store.stop()


def test_who_is_online_is_seen_now_and_who_went_was_seen_then(world):
    seen = world.seen
    assert seen.find(CLUB, ANNA) is None
    seen.note(CLUB, ANNA, True)
    world.today += 50
    assert seen.find(CLUB, ANNA) == TODAY + 50
    seen.note(CLUB, ANNA, False)
    world.today += 1000
    assert seen.find(CLUB, ANNA) == TODAY + 50
    assert seen.find(OTHER, ANNA) is None  # one group knows nothing of another
    seen.note(CLUB, BEN, False)  # as when a broker goes: it was not there before
    assert seen.find(CLUB, BEN) is None


def test_it_outlives_a_restart_and_is_rarely_written(world):
    for _ in range(100):
        world.seen.note(CLUB, ANNA, True)
        world.today += 1
        world.seen.note(CLUB, ANNA, False)
    assert world.documents.writes == 0
    world.now += SAVE_S
    world.run_until(lambda: world.documents.writes)
    assert world.documents.writes == 1
    again = world.again_seen()
    assert again.find(CLUB, ANNA) == TODAY + 100
    again.note(CLUB, ANNA, True)
    world.today += 5
    assert again.find(CLUB, ANNA) == TODAY + 105


def test_who_is_online_when_the_node_stops_was_seen_then(world):
    world.seen.note(CLUB, ANNA, True)
    world.today += 5000
    world.save()
    world.today += 90_000
    assert world.again_seen().find(CLUB, ANNA) == TODAY + 5000


def test_a_clock_that_is_not_set_yet_tells_nothing_and_loses_nothing(world):
    world.seen.note(CLUB, ANNA, True)
    world.save()
    world.today = 1000  # the router has no battery
    world.seen = again = world.again_seen()
    assert again.find(CLUB, ANNA) == TODAY
    again.note(CLUB, ANNA, True)
    again.note(CLUB, ANNA, False)
    again.note(CLUB, BEN, True)
    assert again.find(CLUB, ANNA) == TODAY
    assert again.find(CLUB, BEN) is None
    world.today = TODAY + 60  # set by the network
    assert again.find(CLUB, BEN) == TODAY + 60


def test_a_time_that_has_not_come_yet_counts_as_now_and_grows_old(world):
    world.today = TODAY + 10_000_000  # set wrong
    world.seen.note(CLUB, ANNA, True)
    world.seen.note(CLUB, ANNA, False)
    world.today = TODAY
    assert world.seen.find(CLUB, ANNA) == TODAY
    world.today += 3600
    assert world.seen.find(CLUB, ANNA) == TODAY


def test_who_left_is_forgotten(world):
    for group in (CLUB, OTHER):
        world.seen.note(group, ANNA, True)
        world.seen.note(group, ANNA, False)
    world.rosters = {CLUB: {BEN}, OTHER: {ANNA}}
    world.save()
    assert world.documents.kept[DOCUMENT] == {OTHER.hex(): {ANNA.hex(): TODAY}}
    world.rosters = {}
    world.save()
    assert world.documents.kept[DOCUMENT] is None


def test_a_disk_that_is_gone_costs_nothing(world):
    world.documents.is_broken = True
    world.seen.note(CLUB, NodeId(ANNA), True)
    world.save()
    world.documents.is_broken = False
    world.save()
    assert world.again_seen().find(CLUB, ANNA) == TODAY
