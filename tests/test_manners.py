"""How fast files may move: limits in both directions, the hours, the house."""

import os
import time
from dataclasses import replace
from ipaddress import ip_network

import pytest

from fonshare_agent import clock
from fonshare_agent.core import Core
from fonshare_agent.ftp.tickets import secret_hash
from fonshare_agent.manners import DOWN, UP, LateTraffic, Manners
from fonshare_agent.settings import LimitSettings
from fonshare_agent.transfer.limits import Flow, TokenBucket
from transfer_world import SECRET, two_nodes

NIGHT = (23 * 60, 7 * 60)
LIMITS = LimitSettings(
    upload_kib_s=100,
    download_kib_s=0,
    house=False,
    hours=None,
    other_upload_kib_s=0,
    other_download_kib_s=0,
    relay_kib_s=80,
    transfers=2,
    uploads=4,
    give_way=False,
    hash_kib_s=0,
    hash_hours=None,
    scan_period_s=3600,
)
FRIEND = b"f"


def at(hour: int, minute: int = 0) -> float:
    return time.mktime((2026, 7, 1, hour, minute, 0, 0, 0, -1))


class World:
    """Manners with a clock and a time of day of the test's own."""

    def __init__(self, now: float = 0.0, **changes) -> None:
        self.seconds, self.now, self.changes = 0.0, now or at(12), 0
        self.core = Core(lambda: self.seconds)
        house = map(ip_network, ("127.0.0.0/8", "192.168.1.0/24"))
        limits = replace(LIMITS, **changes)
        self.manners = Manners(self.core, limits, house, lambda: self.now)
        self.manners.wire(self._count)
        self.manners.start()

    def _count(self) -> None:
        self.changes += 1

    def rates(self) -> tuple[float | None, float | None]:
        return self.manners.upload.rate_kib_s, self.manners.download.rate_kib_s

    def pass_time(self, seconds: float) -> None:
        until = self.seconds + seconds
        while self.core._timers and self.core._timers[0][0] <= until:
            self.seconds = max(self.seconds, self.core._timers[0][0])
            self.core.run_once()
        self.seconds = until


def test_without_hours_the_limits_hold_at_any_time_even_an_unknown_one():
    assert World(now=1.0).rates() == (100, None)


def test_at_other_times_nothing_moves_and_the_hours_open_by_themselves():
    world = World(at(22, 59), hours=NIGHT)
    assert world.rates() == (0, 0)
    assert not world.manners.may_send
    assert not world.manners.may_fetch
    world.now = at(23)
    world.pass_time(2.0)
    assert world.rates() == (100, None)
    assert world.manners.may_send
    assert world.manners.may_fetch
    world.now = at(6, 59)
    world.pass_time(2.0)
    assert world.changes == 1
    world.now = at(7)
    world.pass_time(2.0)
    assert world.rates() == (0, 0)
    assert world.changes == 2


def test_another_rate_may_hold_at_other_times_for_each_direction():
    world = World(at(12), hours=NIGHT, other_download_kib_s=30)
    assert world.rates() == (0, 30)
    assert world.manners.may_fetch
    assert not world.manners.may_send


def test_while_the_time_is_unknown_the_hours_are_closed():

    world = World(at(13), hours=(0, 1439))
    assert world.manners.may_send
    world.now = 3600.0 * 12
    world.pass_time(2.0)
    assert not world.manners.may_send
    world.now = at(12)
    world.pass_time(2.0)
    assert world.manners.may_send


def test_hours_set_at_run_time_hold_at_once_and_may_be_taken_back():
    world = World()
    world.manners.set_limits(replace(LIMITS, hours=NIGHT))
    assert not world.manners.may_fetch
    assert world.manners.hours == "23:00-07:00"
    world.manners.set_limits(replace(LIMITS, upload_kib_s=7))
    assert world.rates() == (7, None)
    assert world.changes == 2
    world.pass_time(10)
    assert not world.core._timers, "nobody looks at the time without hours"


def test_what_is_carried_for_others_keeps_to_both_directions_and_gives_way():
    world = World(at(12), hours=NIGHT, other_download_kib_s=30)
    manners = world.manners
    assert manners.relay.rate_kib_s == 0, "what comes could not be sent on"
    manners.set_limits(replace(LIMITS, give_way=True))
    assert manners.relay.rate_kib_s == 80
    manners.set_ceilings(20 * 1024, None)
    assert manners.relay.rate_kib_s == 20
    manners.set_limits(replace(LIMITS, relay_kib_s=0, give_way=True))
    assert manners.relay.rate_kib_s == 20
    manners.set_ceilings(None, None)
    assert manners.relay.rate_kib_s is None


@pytest.mark.parametrize(
    ("address", "whose", "passes_by"),
    [
        ("192.168.1.9", None, True),
        ("::ffff:192.168.1.9", None, True),
        ("192.168.1.9", FRIEND, True),
        ("127.0.0.1", None, True),
        ("127.0.0.1", FRIEND, False),
        ("203.0.113.7", None, False),
        ("203.0.113.7", FRIEND, False),
        ("fe80::1%br-lan", FRIEND, False),
    ],
)
def test_what_stays_in_the_house_passes_by_unless_the_owner_wants_it_otherwise(
    address, whose, passes_by
):
    manners = World().manners
    assert (manners.flow(UP, address, whose) is None) is passes_by
    if whose is not None:
        assert manners.is_free(address) is passes_by
    manners = World(house=True).manners
    assert manners.flow(DOWN, address, whose) is not None


def test_what_counts_our_traffic_is_loaded_with_the_first_transfer():
    built = []

    class Counts:
        def add(self, whose, find):
            built.append(whose)

        def drop(self, whose):
            built.remove(whose)

    late = LateTraffic(Counts)
    flow = Flow(TokenBucket(0, lambda: 0.0), b"f", late)
    flow.close()
    assert not late.is_loaded
    flow.watch(lambda: None)
    assert late.is_loaded
    assert built == [flow]
    flow.close()
    assert built == []


def test_giving_way_and_limits_at_home_are_switched_while_files_move():
    world = World(upload_kib_s=1000, give_way=True)
    manners, at_home = world.manners, ("192.168.1.7", FRIEND)
    manners.set_ceilings(10 * 1024, None)
    assert manners.gives_way
    assert world.rates()[0] == 10
    assert manners.flow(UP, *at_home) is None
    manners.set_limits(replace(LIMITS, upload_kib_s=1000, house=True))
    manners.set_ceilings(10 * 1024, None)  # the watch has not heard of it yet
    assert not manners.gives_way
    assert world.rates()[0] == 1000
    assert manners.flow(UP, *at_home) is not None
    manners.set_limits(replace(LIMITS, upload_kib_s=1000, give_way=True))
    manners.set_ceilings(10 * 1024, None)
    assert world.rates()[0] == 10
    assert manners.flow(UP, *at_home) is None


def test_what_is_open_when_giving_way_is_switched_on_is_counted_as_ours():
    counted = {}

    class Counts:
        def add(self, whose, find):
            counted[whose] = find

        def drop(self, whose):
            counted.pop(whose, None)

    late = LateTraffic(Counts, is_wanted=False)
    late.load()
    late.want(False)
    for whose in ("a", "b"):
        late.add(whose, whose.upper)
    late.drop("a")
    assert not late.is_loaded
    late.want(True)
    assert [find() for find in counted.values()] == ["B"]
    late.want(False)
    late.add("c", "c".upper)
    late.drop("b")
    assert counted == {}
    late.want(True)
    assert list(counted) == ["c"]


def test_what_is_opened_to_read_does_not_wait_for_hours():
    world = World(at(12), hours=NIGHT, download_kib_s=200, give_way=True)
    manners = world.manners
    assert world.rates()[1] == 0
    opened = manners.for_opened()
    assert opened is not manners.download
    assert opened.rate_kib_s == 200, "within the hours' limit"
    manners.set_ceilings(None, 50 * 1024)
    assert opened.rate_kib_s == 50, "the household comes first"
    manners.set_ceilings(None, None)
    manners.set_limits(replace(LIMITS, hours=NIGHT))
    assert opened.rate_kib_s is None
    manners.set_limits(LIMITS)
    assert manners.for_opened() is manners.download, "one limit for all within them"


# --- the time zone ------------------------------------------------------------------


@pytest.fixture
def zone_of_the_process(monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_routers_time_zone_is_followed_when_it_changes(
    tmp_path, zone_of_the_process
):
    file = tmp_path / "TZ"
    zone = clock.Zone(file)
    zone.follow()  # no file yet
    assert "TZ" not in os.environ
    file.write_text("CET-1CEST,M3.5.0,M10.5.0/3\n")
    zone.follow()
    noon_utc = 1_782_907_200  # 2026-07-01
    assert clock.is_within((14 * 60, 14 * 60 + 1), noon_utc)
    file.write_text("<+0530>-5:30\n")
    zone.follow()
    assert clock.is_within((17 * 60 + 30, 17 * 60 + 31), noon_utc)
    file.write_text("")
    zone.follow()
    assert "TZ" not in os.environ
    file.write_bytes(b"\xff\x00garbage")
    zone.follow()
    assert "TZ" not in os.environ


def test_without_any_zone_it_is_said_once(tmp_path, zone_of_the_process, caplog):
    zone = clock.Zone(tmp_path / "TZ", tmp_path / "localtime")
    zone.follow()
    zone.follow()
    assert [record.getMessage() for record in caplog.records] == [
        f"no time zone in {tmp_path / 'TZ'}: hours of the day are UTC"
    ]
    (tmp_path / "localtime").touch()
    clock.Zone(tmp_path / "TZ", tmp_path / "localtime").follow()
    assert len(caplog.records) == 1


def test_a_zone_given_to_the_process_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "TZ").write_text("CET-1")
    clock.Zone(tmp_path / "TZ").follow()
    assert os.environ["TZ"] == "UTC"


# --- through the friends' door ------------------------------------------------------


def test_what_friends_read_counts_as_upload_and_what_they_push_as_download(tmp_path):
    moved = {UP: TokenBucket(0, time.monotonic), DOWN: TokenBucket(0, time.monotonic)}
    asked = []

    def throttle(direction, address, whose):
        asked.append((direction, address, whose))
        return Flow(moved[direction], whose)

    with two_nodes(tmp_path, throttle=throttle) as world:
        friend = world.me.tls_fingerprint
        assert world.fetch(world.partial()) == ""
        assert set(asked) == {(UP, "127.0.0.1", friend)}
        asked.clear()
        place = world.folder / "pushed"
        ticket = world.grant(
            direction="write",
            secret_hash=secret_hash(SECRET),
            opener=lambda: os.open(place, os.O_RDWR | os.O_CREAT),
        )
        assert world.settled(world.begin_push(ticket)) == ""
        assert asked == [(DOWN, "127.0.0.1", friend)]
        assert place.read_bytes() == world.data


def test_a_transfer_that_runs_follows_the_limit_when_it_changes(tmp_path):
    """Closed it stands, for as long as it likes; opened it goes on where it was."""
    bucket = TokenBucket(0, time.monotonic)
    bucket.close()
    with two_nodes(tmp_path, throttle=lambda d, a, w: Flow(bucket, w)) as world:
        fetching = world.begin_fetch(world.partial())
        time.sleep(0.5)
        assert fetching.empty()
        assert world.watch.done_bytes == 0
        bucket.set_rate(0)
        assert world.settled(fetching) == ""
