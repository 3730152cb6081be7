"""The waits between attempts, under chosen randomness."""

import os

from fonshare_agent.links.backoff import Backoff


def _least(count: int) -> bytes:
    return bytes(count)


def _most(count: int) -> bytes:
    return b"\xff" * count


def test_waits_double_from_one_second_to_five_minutes() -> None:
    backoff = Backoff(_least)

    waits = [backoff.next_wait_s() for _ in range(11)]

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 150, 150, 150]


def test_jitter_at_most_doubles_a_wait_and_never_passes_five_minutes() -> None:
    backoff = Backoff(_most)

    waits = [backoff.next_wait_s() for _ in range(11)]

    assert [round(wait) for wait in waits[:3]] == [2, 4, 8]
    assert 299 < max(waits) <= 300


def test_two_routers_do_not_come_back_at_the_same_moment() -> None:
    waits = {Backoff(os.urandom).next_wait_s() for _ in range(50)}

    assert len(waits) > 40


def test_a_connection_that_held_for_the_wait_before_it_starts_the_steps_anew() -> None:
    backoff = Backoff(_least)
    for _ in range(4):
        backoff.next_wait_s()

    backoff.note_connection(8.0)

    assert backoff.next_wait_s() == 1


def test_a_broker_that_accepts_and_drops_at_once_is_left_alone_longer() -> None:
    backoff = Backoff(_least)
    waits = []
    for _ in range(5):
        waits.append(backoff.next_wait_s())
        backoff.note_connection(0.3)

    assert waits == [1, 2, 4, 8, 16]


def test_a_minute_is_good_after_any_wait() -> None:
    backoff = Backoff(_least)
    for _ in range(9):
        backoff.next_wait_s()

    backoff.note_connection(59)
    assert backoff.next_wait_s() == 150
    backoff.note_connection(60)
    assert backoff.next_wait_s() == 1
