"""The limits of bandwidth, with a clock of the test's own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.transfer.limits import CHUNK_BYTES, CHUNK_BYTES_MIN, TokenBucket


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def move(bucket, clock, takers, seconds):
    """Let *takers* move chunks side by side; return the bytes moved in *seconds*."""
    end, moved, chunk = clock.now + seconds, 0, bucket.chunk_bytes
    due = [clock.now + bucket.take(chunk) for _ in range(takers)]
    while True:
        next_one = min(range(takers), key=due.__getitem__)
        clock.now = max(clock.now, due[next_one])
        if clock.now >= end:
            return moved
        moved += chunk
        due[next_one] = clock.now + bucket.take(chunk)


@settings(max_examples=50, deadline=None)
@given(kib_s=st.integers(16, 10_000), takers=st.integers(1, 6))
def test_any_number_of_transfers_together_keep_the_limit_within_five_percent(
    kib_s, takers
):
    clock = Clock()
    bucket = TokenBucket(kib_s, clock)
    moved = move(bucket, clock, takers, seconds=20)
    assert moved == pytest.approx(20 * kib_s * 1024, rel=0.05)


def test_without_a_limit_nobody_waits():
    bucket = TokenBucket(0, Clock())
    assert [bucket.take(1 << 30) for _ in range(3)] == [0, 0, 0]
    assert bucket.chunk_bytes == CHUNK_BYTES


def test_a_long_rest_is_not_made_up_for():
    clock = Clock()
    bucket = TokenBucket(100, clock)
    clock.now += 3600
    moved = move(bucket, clock, 1, seconds=10)
    assert moved <= 10.5 * 100 * 1024


def test_a_change_of_the_limit_holds_at_once():
    clock = Clock()
    bucket = TokenBucket(1, clock)
    assert bucket.take(1 << 20) > 1000
    bucket.set_rate(1024)
    assert bucket.take(1 << 20) == pytest.approx(1.0)
    bucket.set_rate(0)
    assert bucket.take(1 << 20) == 0


def test_a_clock_that_steps_back_stops_nobody_for_long():
    clock = Clock()
    bucket = TokenBucket(64, clock)
    clock.now -= 50
    assert bucket.take(64 * 1024) <= 1.0


@pytest.mark.parametrize("kib_s", [1, 16, 100, 1000, 10**6])
def test_chunks_are_small_on_slow_lines_and_never_beyond_the_buffer(kib_s):
    bucket = TokenBucket(kib_s, Clock())
    assert CHUNK_BYTES_MIN <= bucket.chunk_bytes <= CHUNK_BYTES
    if kib_s >= 100:
        assert bucket.chunk_bytes <= kib_s * 1024 / 8
