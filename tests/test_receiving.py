"""How long a push is waited for, and what its owner sees of it."""

import pytest

from fonshare_agent.receiving import ENDED_S, PUSH_TIMEOUT_S, _Arrivals
from fonshare_agent.watch import Watch
from transfer_world import BLOCK, two_nodes


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def live():
    return True


@pytest.fixture
def world(tmp_path):
    with two_nodes(tmp_path) as world:
        yield world


@pytest.fixture
def kept(world):
    return world.partial()


def test_a_block_that_takes_minutes_is_waited_for_while_its_bytes_come(world, kept):
    clock = Clock()
    arrivals = _Arrivals(kept, Watch(), clock, live)
    for offset in range(0, BLOCK - 1000, 1000):
        clock.now += PUSH_TIMEOUT_S - 1
        assert arrivals.may_go_on()
        arrivals.note(offset, 1000)
    assert kept.done_bytes == 0
    clock.now += PUSH_TIMEOUT_S
    assert not arrivals.may_go_on()


def test_a_push_that_brings_nothing_is_given_up_in_time(world, kept):
    clock = Clock()
    arrivals = _Arrivals(kept, Watch(), clock, live)
    clock.now += PUSH_TIMEOUT_S - 0.01
    assert arrivals.may_go_on()
    clock.now += 0.01
    assert not arrivals.may_go_on()


def test_a_push_whose_session_is_gone_is_waited_for_only_until_it_may_say_why(
    world, kept
):
    clock, is_live = Clock(), [True]
    arrivals = _Arrivals(kept, Watch(), clock, lambda: is_live[0])
    clock.now += ENDED_S
    assert arrivals.may_go_on()
    is_live[0] = False
    assert not arrivals.may_go_on()
    arrivals.note(0, 1)
    assert arrivals.may_go_on()


def test_a_cancelled_push_is_not_waited_for(world, kept):
    watch = Watch()
    arrivals = _Arrivals(kept, watch, Clock(), live)
    watch.is_cancelled = True
    assert not arrivals.may_go_on()


def test_the_owner_sees_each_verified_block_and_that_it_has_begun(world, kept):
    begun = []
    watch = Watch(lambda: begun.append(True))
    watch.start_at(0)
    arrivals = _Arrivals(kept, watch, Clock(), live)
    with open(kept.open_for_writing(), "wb") as file:
        file.write(world.data[: 2 * BLOCK])
    arrivals.note(0, BLOCK - 1)
    assert (watch.done_bytes, begun) == (0, [])
    arrivals.note(BLOCK - 1, 1)
    assert (watch.done_bytes, begun) == (BLOCK, [True])
    arrivals.note(BLOCK, BLOCK)
    assert (watch.done_bytes, begun) == (2 * BLOCK, [True])


def test_what_was_here_before_is_no_beginning():
    begun = []
    watch = Watch(lambda: begun.append(True))
    watch.start_at(BLOCK)
    watch.done_bytes = 0  # the next file of the job
    assert begun == []
    watch.done_bytes = 1
    assert begun == [True]
