"""The limits of bandwidth, with a clock of the test's own."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.transfer.limits import (
    BURST_S,
    CHUNK_BYTES,
    CHUNK_BYTES_MIN,
    LOOK_S,
    Flow,
    TokenBucket,
)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Transfer:
    """Moves chunk after chunk, and asks again when it was told to, or later."""

    def __init__(self, bucket, clock, whose=b"", wanted=CHUNK_BYTES, late=None):
        self.flow, self.clock, self.wanted = Flow(bucket, whose), clock, wanted
        self.late = late or (lambda: 0.0)
        self.due, self.moved = clock.now, 0

    def go_on(self):
        while not (wait_s := self.flow.wait_s(self.wanted)):
            assert self.flow.left <= self.wanted
            self.moved += self.flow.left
            self.flow.spend(self.flow.left)
        self.due = self.clock.now + wait_s + self.late()


def run(clock, transfers, seconds, on_step=lambda: None):
    end = clock.now + seconds
    while True:
        next_one = min(transfers, key=lambda one: one.due)
        if next_one.due >= end:
            clock.now = end
            return sum(one.moved for one in transfers)
        clock.now = max(clock.now, next_one.due)
        on_step()
        next_one.go_on()


@settings(max_examples=30, deadline=None)
@given(
    kib_s=st.integers(8, 4000),
    blocks=st.lists(st.integers(CHUNK_BYTES_MIN, 1 << 20), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
def test_the_bucket_is_exact_whatever_the_transfers_and_their_blocks(
    kib_s, blocks, seed
):
    clock, lots = Clock(), random.Random(seed)
    bucket = TokenBucket(kib_s, clock)
    transfers = [
        Transfer(bucket, clock, bytes([n % 3]), wanted, lambda: lots.random() * 0.05)
        for n, wanted in enumerate(blocks)
    ]
    moved = run(clock, transfers, seconds=5)
    allowed = 5 * kib_s * 1024
    assert moved <= allowed + 1
    waiting = len(blocks) * bucket.chunk_bytes
    late = kib_s * 1024 * 0.05 if len(blocks) == 1 else 0
    assert moved >= allowed * 0.98 - waiting - late


@pytest.mark.parametrize("kib_s", [64, 1000, 5000, 16384])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_three_seconds_in_the_middle_are_within_five_percent(kib_s, count):
    clock, lots = Clock(), random.Random(1)
    bucket = TokenBucket(kib_s, clock)
    late = lambda: lots.random() * 0.01  # noqa: E731
    transfers = [Transfer(bucket, clock, late=late) for _ in range(count)]
    run(clock, transfers, seconds=2)
    before = sum(one.moved for one in transfers)
    moved = run(clock, transfers, seconds=3) - before
    assert moved == pytest.approx(3 * kib_s * 1024, rel=0.05)


@pytest.mark.parametrize("kib_s", [512, 16384, 40_000])
@pytest.mark.parametrize("count", [1, 2])
def test_a_file_of_three_seconds_is_within_five_percent_from_its_first_byte(
    kib_s, count
):
    """The burst that a bucket at rest holds comes on top, and the last chunks wait."""
    clock, lots = Clock(), random.Random(2)
    bucket = TokenBucket(kib_s, clock)
    clock.now += 60
    size = 3 * kib_s * 1024
    late = lambda: lots.random() * 0.02  # noqa: E731
    transfers = [Transfer(bucket, clock, late=late) for _ in range(count)]
    begun = clock.now
    while sum(one.moved for one in transfers) < size:
        run(clock, transfers, seconds=0.01)
    assert clock.now - begun == pytest.approx(3, rel=0.05)


def test_friends_share_evenly_however_many_transfers_each_has():
    clock = Clock()
    bucket = TokenBucket(1000, clock)
    many = [Transfer(bucket, clock, b"anna") for _ in range(5)]
    one = Transfer(bucket, clock, b"bob")
    third = Transfer(bucket, clock, b"carl", wanted=8192)
    moved = run(clock, [*many, one, third], seconds=10)
    assert moved == pytest.approx(10 * 1000 * 1024, rel=0.02)
    for share in (sum(x.moved for x in many), one.moved, third.moved):
        assert share == pytest.approx(moved / 3, rel=0.1)


def test_without_a_limit_nobody_waits():
    bucket = TokenBucket(0, Clock())
    for _ in range(3):
        flow = Flow(bucket, b"")
        assert flow.wait_s(1 << 30) == 0
        assert flow.left == 1 << 30
    assert bucket.chunk_bytes == CHUNK_BYTES


def test_a_long_rest_is_not_made_up_for():
    clock = Clock()
    bucket = TokenBucket(100, clock)
    clock.now += 3600
    moved = run(clock, [Transfer(bucket, clock)], seconds=10)
    assert moved <= (10 + BURST_S) * 100 * 1024


def test_a_change_of_the_limit_holds_for_who_waits_already():
    clock = Clock()
    bucket = TokenBucket(1, clock)
    flow = Flow(bucket, b"")
    assert 0 < flow.wait_s(CHUNK_BYTES) <= LOOK_S
    bucket.set_rate(0)
    assert flow.wait_s(CHUNK_BYTES) == 0
    bucket.close()
    flow.spend(flow.left)
    assert flow.wait_s(CHUNK_BYTES) == LOOK_S
    clock.now += 3600
    assert flow.wait_s(CHUNK_BYTES) == LOOK_S
    assert flow.is_closed
    bucket.set_rate(1)
    clock.now += 3
    assert flow.wait_s(CHUNK_BYTES) > 0, "what was closed has earned nothing"
    clock.now += 62
    assert flow.wait_s(CHUNK_BYTES) == 0


def test_within_a_second_of_a_change_the_new_rate_is_the_one_that_is_seen():
    clock = Clock()
    bucket = TokenBucket(16, clock)
    transfers = [Transfer(bucket, clock, bytes([n])) for n in range(6)]
    run(clock, transfers, seconds=5)
    bucket.set_rate(2000)
    before = run(clock, transfers, seconds=LOOK_S)
    moved = run(clock, transfers, seconds=3) - before
    assert moved == pytest.approx(3 * 2000 * 1024, rel=0.05)
    bucket.set_rate(50)
    assert bucket.rate_kib_s == 50
    before = run(clock, transfers, seconds=LOOK_S)
    moved = run(clock, transfers, seconds=3) - before
    assert moved == pytest.approx(3 * 50 * 1024, rel=0.05, abs=CHUNK_BYTES_MIN)


def test_who_gives_up_leaves_his_bytes_to_the_others():
    clock = Clock()
    bucket = TokenBucket(64, clock)
    first, second = Flow(bucket, b"a"), Flow(bucket, b"b")
    assert first.wait_s(4096) > 0
    assert second.wait_s(4096) > 0
    clock.now += 4096 / (64 * 1024)
    assert first.wait_s(4096) == 0
    first.spend(96)
    first.close()
    first.close()
    clock.now += 96 / (64 * 1024)
    assert second.wait_s(4096) == 0


def test_a_clock_that_steps_back_stops_nobody_for_long():
    clock = Clock()
    bucket = TokenBucket(64, clock)
    clock.now -= 50
    assert run(clock, [Transfer(bucket, clock)], seconds=2) >= 100 * 1024


@pytest.mark.parametrize("kib_s", [1, 16, 100, 1000, 10**6])
def test_chunks_are_small_on_slow_lines_and_never_beyond_the_buffer(kib_s):
    bucket = TokenBucket(kib_s, Clock())
    assert CHUNK_BYTES_MIN <= bucket.chunk_bytes <= CHUNK_BYTES
    if kib_s >= 100:
        assert bucket.chunk_bytes <= kib_s * 1024 / 16
