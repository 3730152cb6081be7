import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.errors import ReplayedEnvelope
from fonshare_agent.protocol.window import WIDTH, Window

TOP = 2**63 - 1  # the greatest counter an envelope can carry
counters = st.integers(0, 3 * WIDTH) | st.integers(0, TOP)


def accepted(window, counter):
    try:
        window.mark(counter)
    except ReplayedEnvelope:
        return False
    return True


@given(order=st.lists(counters, max_size=60), twice=st.randoms())
def test_every_counter_is_accepted_at_most_once_in_any_order(order, twice):
    window, arrivals, taken = Window(), order * 2, []
    twice.shuffle(arrivals)
    for counter in arrivals:
        before = window.has_seen(counter)
        assert accepted(window, counter) is not before
        assert window.has_seen(counter)
        if not before:
            taken.append(counter)

    assert len(set(taken)) == len(taken)


@given(order=st.permutations(range(40)), start=st.integers(0, TOP - 40))
def test_no_counter_within_the_width_is_lost_by_disorder(order, start):
    window = Window.after(start - 1) if start else Window()

    assert all(accepted(window, start + counter) for counter in order)


def test_the_window_is_exactly_as_wide_as_it_says():
    window = Window()
    window.mark(WIDTH)

    assert window.floor == 1
    assert window.has_seen(0)
    assert not window.has_seen(1)
    window.mark(1)
    window.mark(2 * WIDTH)
    assert window.has_seen(WIDTH)
    assert not window.has_seen(WIDTH + 1)


def test_a_window_after_a_counter_refuses_it_and_all_before():
    window = Window.after(41)

    assert window.has_seen(0)
    assert window.has_seen(41)
    assert not window.has_seen(42)


def test_a_refused_mark_changes_nothing():
    window = Window()
    window.mark(5)
    before = (window.floor, window.bitmap)

    with pytest.raises(ReplayedEnvelope):
        window.mark(5)
    assert (window.floor, window.bitmap) == before


def test_looking_at_a_far_counter_moves_nothing():
    window = Window()

    assert not window.has_seen(TOP)
    assert (window.floor, window.bitmap) == (0, 0)


def test_a_far_counter_costs_no_memory():
    window = Window()
    window.mark(TOP)

    assert window.bitmap.bit_length() == WIDTH


@pytest.mark.parametrize(
    "arguments", [(-1, 0), (TOP + 2, 0), (0, -1), (0, 1 << WIDTH)], ids=repr
)
def test_what_is_no_window_is_our_own_error(arguments):
    with pytest.raises(ValueError, match="not a window"):
        Window(*arguments)
