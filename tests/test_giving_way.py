"""Giving way to the household, on a line that is played: seeded, without a clock."""

import os
import random
import socket
import time

import pytest

from fonshare_agent.core import Core
from fonshare_agent.household import LOOK_S, REST_S, Household
from fonshare_agent.links.way_out import passed, way_out
from fonshare_agent.transfer.giving_way import GivingWay, Sample
from fonshare_agent.transfer.limits import Flow, TokenBucket
from fonshare_agent.transfer.own_traffic import OwnTraffic
from transfer_world import two_nodes

STEP_S = 0.25
KIB = 1024.0


class Line:
    """A line of one rate each way, with a queue before what we send.

    Our transfers take all they may. Of the household's, *steady* has that rate, and
    *grows* doubles ten times a second, as TCP does, up to its share.
    """

    def __init__(self, seed: int = 1, up=125 * KIB, down=1250 * KIB) -> None:
        self.lots = random.Random(seed)
        self.carries = {"up": up, "down": down}
        self.steady = {"up": 0.0, "down": 0.0}
        self.grows = {"up": 0.0, "down": 0.0}
        self.own = {"up": True, "down": True}
        self.way = GivingWay()
        self.queue_bytes = 0.0
        self.moved = {}

    def ceiling(self, side):
        ways = {"up": self.way.up_bytes_s, "down": self.way.down_bytes_s}
        return ways[side]

    def step(self) -> None:
        counted = {}
        for side, carries in self.carries.items():
            ceiling = self.ceiling(side)
            wants = (ceiling if ceiling is not None else 2 * carries) * self.own[side]
            steady = min(self.steady[side], carries)
            room = carries - steady
            # What grows gets what we leave, and its fair half if we leave less.
            grown = min(self.grows[side], max(room - wants, room / 2))
            own, others = min(wants, room - grown), steady + grown
            self.grows[side] = min(self.grows[side] * 2**2.5, carries)
            if side == "up":
                over = wants + others - carries
                self.queue_bytes = max(0.0, min(carries, self.queue_bytes + over))
            noise = 1 + self.lots.uniform(-0.02, 0.02)
            counted[side] = (own + others) * STEP_S, own * noise * STEP_S
            self.moved[side] = own, others
        queue_s = self.queue_bytes / self.carries["up"] if self.own["up"] else None
        (line_up, own_up), (line_down, own_down) = counted["up"], counted["down"]
        numbers = map(round, (line_up, own_up, line_down, own_down))
        self.way.feed(Sample(STEP_S, *numbers, queue_s))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def seconds_until(self, condition, at_most: float = 60.0) -> float:
        for n in range(round(at_most / STEP_S) + 1):
            if condition():
                return n * STEP_S
            self.step()
        raise AssertionError("it does not come to that")

    def part(self, side: str) -> tuple[float, float]:
        own, others = self.moved[side]
        return own / self.carries[side], others / self.carries[side]


@pytest.fixture(params=range(5))
def line(request):
    lots = random.Random(request.param)
    up, down = lots.uniform(60, 5000) * KIB, lots.uniform(200, 12_000) * KIB
    line = Line(request.param, up, down)
    line.run(20)
    return line


def test_alone_we_use_the_whole_line(line):
    line.run(60)
    assert line.ceiling("up") is None
    assert line.ceiling("down") is None


@pytest.mark.parametrize("side", ["up", "down"])
def test_a_household_that_wants_the_line_has_it_within_a_second_or_so(line, side):
    line.grows[side] = 0.05 * line.carries[side]
    line.seconds_until(lambda: line.ceiling(side) is not None, at_most=1.0)
    assert line.seconds_until(lambda: line.part(side)[1] > 0.85, at_most=1.5) <= 1.5
    line.run(30)
    own, others = line.part(side)
    assert others > 0.85
    assert 0 < own < 0.1, "transfers stay alive"


def test_when_the_need_has_passed_we_come_back_by_and_by(line):
    line.grows["down"] = 0.05 * line.carries["down"]
    line.run(10)
    line.grows["down"] = 0.0
    line.run(2)
    assert line.part("down")[0] < 0.15, "who clicks twice does not find us there"
    before = line.part("down")[0]
    for _ in range(20):
        line.run(1)
        now = line.part("down")[0]
        assert now <= before * 1.5 + 0.01
        before = now
    assert before > 0.95
    assert line.ceiling("down") is None


def test_what_is_small_and_steady_costs_us_little_and_is_not_driven_away(line):
    line.steady["down"] = 0.08 * line.carries["down"]
    line.run(40)
    own, others = line.part("down")
    assert own > 0.6
    assert others == pytest.approx(0.08)
    assert own + others < 0.95, "there is room for a bit more"


def test_while_others_use_the_line_there_is_no_queue_before_what_they_send(line):
    """Who reads a page sends next to nothing, but each of its packets waits."""
    line.queue_bytes = line.carries["up"]
    line.steady["down"] = 0.2 * line.carries["down"]
    line.steady["up"] = 0.01 * line.carries["up"]
    line.seconds_until(lambda: line.queue_bytes == 0, at_most=4.0)
    line.run(10)
    assert line.queue_bytes < 0.1 * line.carries["up"]


def test_a_trickle_is_not_a_need(line):
    for side in ("up", "down"):
        line.steady[side] = min(3 * KIB, 0.02 * line.carries[side])
    line.run(60)
    assert line.ceiling("down") is None


def test_a_line_that_has_become_slower_is_learnt(line):
    line.carries["down"] /= 4
    line.run(1800)
    line.steady["down"] = 0.3 * line.carries["down"]
    line.run(30)
    assert line.part("down")[1] == pytest.approx(0.3)


def test_the_first_packets_on_an_unknown_line_are_no_need_of_anybodys():
    """Log-ins are not counted as ours, and nobody knows yet what the line carries."""
    line = Line()
    for own in (0, 3000, 20_000, 100_000):
        line.way.feed(Sample(STEP_S, own + 6000, own, own // 10 + 9000, own // 10))
        assert line.way.up_bytes_s is None
        assert line.way.down_bytes_s is None
    line.run(10)
    assert line.ceiling("up") is None


def test_samples_of_no_time_are_left_out():
    way = GivingWay()
    way.feed(Sample(0.0, 10**9, 0, 10**9, 0))
    assert way.up_bytes_s is way.down_bytes_s is None


# --- what it is fed with ------------------------------------------------------------


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with one, other:
        yield one, other


def send(one, other, count):
    one.sendall(bytes(count))
    left = count
    while left:
        left -= len(other.recv(left))


def test_the_kernel_counts_our_bytes_with_their_headers(pair):
    one, other = pair
    send(one, other, 100_000)
    begun = []
    traffic = OwnTraffic(lambda: begun.append(1))
    traffic.add("one", lambda: one)
    traffic.add("other", lambda: other)
    assert begun == [1]
    assert traffic.take().sent >= 100_000, "it was ours from its beginning"
    send(one, other, 1_000_000)
    taken = traffic.take()
    assert taken.connections == 2
    assert 1_000_000 <= taken.sent <= 1_200_000
    assert 1_000_000 <= taken.received <= 1_200_000
    assert taken.queue_s is not None
    send(one, other, 50_000)
    traffic.drop("other")
    traffic.drop("other")
    traffic.drop("one")
    taken = traffic.take()
    assert taken.received >= 50_000, "also what came after the last look"
    assert taken.connections == 0
    assert traffic.take().sent == 0


def test_what_waits_in_the_kernel_is_not_forgotten_when_we_hang_up(pair):
    one, _ = pair
    one.setblocking(False)
    traffic = OwnTraffic(lambda: None)
    traffic.add("one", lambda: one)
    handed = one.send(bytes(4_000_000))
    traffic.drop("one")
    taken = traffic.take()
    assert taken.sent + taken.late_sent >= handed


def test_a_connection_that_is_closed_already_counts_nothing(pair):
    one, _ = pair
    traffic = OwnTraffic(lambda: None)
    traffic.add("one", lambda: one)
    one.close()
    assert traffic.take().sent == 0
    traffic.drop("one")


def test_transfers_are_counted_on_both_sides_of_the_friends_door(tmp_path):
    """Fetched and pushed; each side's count ends with its connections."""
    ours, theirs = OwnTraffic(lambda: None), OwnTraffic(lambda: None)
    bucket = TokenBucket(0, time.monotonic)

    def throttle(direction, address, whose):
        return Flow(bucket, whose, theirs)

    with two_nodes(tmp_path, 3 << 20, throttle=throttle, traffic=ours) as world:
        assert world.fetch(world.partial()) == ""
        mine, peers = ours.take(), theirs.take()
        assert mine.received >= 3 << 20
        assert peers.sent + peers.late_sent >= 3 << 20
        place = world.folder / "pushed"
        ticket = world.grant(
            direction="write", opener=lambda: os.open(place, os.O_RDWR | os.O_CREAT)
        )
        assert world.settled(world.begin_push(ticket)) == ""
        mine, peers = ours.take(), theirs.take()
        assert mine.sent + mine.late_sent >= 3 << 20
        assert peers.received >= 3 << 20
        assert mine.connections == 0


class House:
    """The adapter between a played line and counters of the test's own."""

    def __init__(self, pair) -> None:
        self.now, self.counted, self.interface = 0.0, [0, 0], "wan"
        self.core = Core(lambda: self.now)
        self.ceilings = []
        self.household = Household(
            self.core,
            lambda up, down: self.ceilings.append((up, down)),
            lambda: self.interface,
            lambda interface: tuple(self.counted),
        )
        self.pair = pair
        self.household.traffic.add("ours", lambda: pair[0])
        self.core.run_once()

    def pass_time(self, seconds, up=0, down=0, own=0):
        for _ in range(round(seconds / LOOK_S)):
            if own:
                send(*self.pair, int(own * LOOK_S))
            self.counted[0] += int((up + own * 1.02) * LOOK_S)
            self.counted[1] += int(down * LOOK_S)
            self.now += LOOK_S
            if self.core._timers:
                self.core.run_once()


def test_the_ceilings_follow_what_passes_the_line(pair):
    house = House(pair)
    house.pass_time(3, own=1_000_000)
    assert house.ceilings == []
    house.pass_time(1, own=500_000, up=500_000)
    assert house.ceilings[-1][0] < 500_000
    house.counted = [0, 0]  # the connection was made anew: nobody knows what passed
    house.pass_time(LOOK_S)
    house.pass_time(30, own=50_000)
    assert house.ceilings[-1] == (None, None)


def test_without_a_way_out_or_a_connection_nobody_watches(pair):
    house = House(pair)
    house.pass_time(2, own=1_000_000)
    house.pass_time(2, own=100_000, up=900_000)
    assert house.ceilings[-1] != (None, None)
    house.household.traffic.drop("ours")
    house.pass_time(REST_S + 1, up=900_000)
    assert house.ceilings[-1] == (None, None)
    assert not house.core._timers
    house.interface = None
    house.household.traffic.add("again", lambda: pair[0])
    house.core.run_once()
    house.pass_time(12, up=900_000)
    assert house.ceilings[-1] == (None, None)
    house.household.stop()
    house.pass_time(LOOK_S)
    assert not house.core._timers


ROUTE = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
br-lan 0001A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
wwan0 00000000 0102A8C0 0003 0 0 20 00000000 0 0 0
pppoe-wan 00000000 00000000 0001 0 0 10 00000000 0 0 0
"""
ROUTE_6 = (
    f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 1 0 00200200 lo\n"
    f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 28} 00000400 1 0 00000003 wan6\n"
)


def test_the_way_out_is_the_default_route_with_the_least_metric(tmp_path):
    assert way_out(tmp_path) is None
    (tmp_path / "ipv6_route").write_text(ROUTE_6)
    assert way_out(tmp_path) == "wan6"
    (tmp_path / "route").write_text(ROUTE)
    assert way_out(tmp_path) == "pppoe-wan"


def test_the_kernels_counters_are_read_while_the_interface_is_there(tmp_path):
    assert passed("lo") is not None
    assert passed("wan", tmp_path) is None
