"""Invites over a bad line: both become members, or neither; nobody else does."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import NotAllowed
from fonshare_agent.protocol.invite import (
    Admitted,
    CodeSpent,
    Expired,
    Finished,
    InviterKnown,
    InviterState,
    JoinerAdmitted,
    JoinerKnown,
    JoinerState,
    Refused,
    SecondJoinerRefused,
    StateChanged,
)
from fonshare_agent.protocol.operations import Admit
from invite_homes import InviterHome, JoinerHome, Wire, meet
from membership import ANNA, BEN, BROKERS, CLEO


def test_two_persons_who_see_the_same_words_and_accept_end_in_one_group():
    inviter, joiner, wire = meet()
    wire.run(60.0)
    (known,), (met,) = inviter.saw(JoinerKnown), joiner.saw(InviterKnown)
    assert known.words == met.words
    assert (known.name, known.node_id) == ("Ben", BEN.id)
    assert (met.name, met.node_id, met.label) == ("Anna", ANNA.id, "Films")
    (admitted,) = joiner.saw(Admitted)
    assert admitted.group == inviter.log.group
    assert admitted.brokers == BROKERS
    assert list(admitted.operations) == inviter.log.raw_operations()
    assert inviter.saw(JoinerAdmitted)
    assert inviter.saw(CodeSpent)
    assert inviter.machine.state is InviterState.DELIVERED
    assert joiner.machine.state is JoinerState.OVER


# --- a bad line ---


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from((0.1, 0.3, 0.5)),
    joiner_agrees=st.booleans(),
    inviter_agrees=st.booleans(),
)
def test_on_a_bad_line_with_power_cuts_both_become_members_or_neither(
    seed, loss, joiner_agrees, inviter_agrees
):
    rng = random.Random(seed)
    inviter = InviterHome()
    joiner = JoinerHome(inviter.machine.code)
    if not joiner_agrees:
        joiner.decides = lambda machine: machine.refuse()
    if not inviter_agrees:
        inviter.decides = lambda machine: machine.refuse()
    wire = Wire([inviter, joiner], rng, loss)

    def cut_the_power():
        for home in (inviter, joiner):
            if home.disk is not None and rng.random() < 0.15:
                wire.carry(home, stores=rng.random() < 0.5)
                home.restart(wire.now)

    wire.run(6 * 3600.0, each=cut_the_power)
    assert inviter.is_admitted == joiner.is_admitted
    assert joiner.is_admitted == (joiner_agrees and inviter_agrees)
    if joiner.is_admitted:
        assert inviter.log.fold().is_member(BEN.id)
    else:
        # The one who did not refuse heard it, with the reason.
        assert inviter.machine.reason == joiner.machine.reason == "refused"
    seen = {event.words for event in inviter.saw(JoinerKnown)}
    seen |= {event.words for event in joiner.saw(InviterKnown)}
    assert len(seen) <= 1


def test_a_line_that_dies_before_both_agreed_leaves_neither_a_member():
    inviter, joiner, wire = meet()
    joiner.decides = lambda machine: None
    wire.run(30.0)
    assert joiner.saw(InviterKnown)
    wire.loss = 1.0
    wire.run(25 * 3600.0)
    assert not inviter.is_admitted
    assert not joiner.is_admitted
    assert inviter.saw(Expired)
    assert joiner.saw(Expired)
    wire.run(40 * 3600.0)
    assert inviter.saw(Finished)
    assert joiner.saw(Finished)


def test_a_large_group_s_admission_comes_in_pages_over_a_bad_line():
    inviter = InviterHome()
    for number in range(150):
        action = Admit(CLEO.state(number + 2))
        inviter.log.append(ANNA.signer, action)
    joiner = JoinerHome(inviter.machine.code)
    wire = Wire([inviter, joiner], random.Random(3), 0.3)
    wire.run(3600.0)
    (admitted,) = joiner.saw(Admitted)
    assert list(admitted.operations) == inviter.log.raw_operations()
    sizes = {len(payload) for _, payload in wire.passed}
    assert sizes <= {512, 2048, 8192, 32768}
    assert 32768 in sizes


# --- storing before sending ---


def test_no_frame_leaves_before_the_spent_code_is_stored():
    inviter, joiner, wire = meet()
    wire.carry(joiner)
    joiner.machine.handle_timer(0.0)
    ((_, knock),) = joiner.step()
    inviter.step()
    inviter.machine.receive(knock, 0.0)
    events = inviter.machine.take_events()
    assert inviter.machine.take_frames() == []
    assert any(isinstance(event, CodeSpent) for event in events)
    change = events[-1]
    assert change.state["knock"]
    inviter.machine.stored(change.version - 1)
    assert inviter.machine.take_frames() == []
    inviter.machine.stored(change.version)
    assert len(inviter.machine.take_frames()) == 1


def test_the_state_is_not_stored_again_after_it_may_be_deleted():
    inviter, joiner, wire = meet()
    orders = []
    for home in (inviter, joiner):
        take = home.machine.take_events

        def watched(take=take):
            events = take()
            orders.append([type(event) for event in events])
            return events

        home.machine.take_events = watched
    wire.run(10 * 3600.0)
    last = [order for order in orders if Finished in order]
    assert last == [[StateChanged, Finished], [StateChanged, Finished]]
    # A power cut in between does not leave the state behind for ever.
    for home in (inviter, joiner):
        home.restart(wire.now)
        assert Finished in [type(event) for event in home.machine.take_events()]


def test_after_a_restart_a_spent_code_still_refuses_a_second_joiner():
    inviter, _joiner, wire = meet()
    inviter.decides = lambda machine: None
    wire.run(30.0)
    inviter.restart(30.0)
    other = JoinerHome(inviter.machine.code, CLEO, b"other")
    wire.homes = [inviter, other]
    wire.run(60.0)
    assert other.saw(Refused) == [Refused("second_joiner", by_peer=True)]
    assert inviter.saw(SecondJoinerRefused)


# --- persons ---


def test_the_inviter_s_no_reaches_the_joiner_even_after_its_own_yes():
    inviter, joiner, wire = meet()
    inviter.decides = lambda machine: None
    wire.run(300.0)
    assert joiner.machine.state is JoinerState.ACCEPTED
    assert inviter.machine.state is InviterState.AWAITING_OWNER
    inviter.machine.refuse("not you")
    wire.run(600.0)
    assert joiner.saw(Refused) == [Refused("not you", by_peer=True)]
    with pytest.raises(NotAllowed):
        inviter.machine.accept()


def test_the_joiner_s_no_reaches_the_inviter_even_after_its_own_yes():
    inviter, joiner, wire = meet()
    joiner.decides = lambda machine: None
    wire.run(300.0)
    assert inviter.machine.state is InviterState.AWAITING_JOINER
    joiner.machine.refuse()
    wire.run(600.0)
    assert inviter.saw(Refused) == [Refused("refused", by_peer=True)]
    assert joiner.machine.state is JoinerState.OVER


def test_after_its_yes_the_joiner_can_no_longer_give_up_alone():
    inviter, joiner, wire = meet()
    inviter.decides = lambda machine: None
    wire.run(300.0)
    with pytest.raises(NotAllowed):
        joiner.machine.refuse()


def test_a_withdrawn_code_refuses_whoever_comes():
    inviter, joiner, wire = meet()
    inviter.machine.refuse()
    wire.run(60.0)
    assert joiner.saw(Refused) == [Refused("refused", by_peer=True)]
    assert not inviter.saw(SecondJoinerRefused)


def test_an_inviter_that_cannot_admit_after_all_says_so():
    inviter, joiner, wire = meet()
    inviter.admit = lambda event: inviter.machine.refuse("group_full")
    wire.run(60.0)
    assert joiner.saw(Refused) == [Refused("group_full", by_peer=True)]
    assert not inviter.is_admitted


# --- time ---


def test_a_code_dies_after_a_day_of_uptime_however_often_the_router_restarts():
    inviter = InviterHome()
    inviter.step()
    now = 0.0
    boots = 0
    while not inviter.saw(Expired):
        boots += 1
        now = 1000.0 * boots  # another boot, another clock
        inviter.restart(now)
        for _ in range(10):
            now += 60.0
            inviter.machine.handle_timer(now)
            inviter.step()
        assert boots < 100
    assert boots > 75  # a restart costs a quarter of an hour
    joiner = JoinerHome(inviter.machine.code, now=now)
    wire = Wire([inviter, joiner], random.Random(1), now=now)
    wire.run(now + 60.0)
    assert joiner.saw(Refused) == [Refused("expired", by_peer=True)]
    assert not inviter.saw(CodeSpent)


def test_a_code_that_is_used_in_time_lives():
    inviter, joiner, wire = meet()
    wire.homes = [inviter]
    wire.run(23 * 3600.0)
    wire.homes = [inviter, joiner]
    wire.run(23 * 3600.0 + 60.0)
    assert joiner.is_admitted


def test_accept_first_admits_its_first_joiner_unasked_and_lives_a_quarter_hour():
    inviter = InviterHome(accept_first=True)
    inviter.decides = lambda machine: None
    joiner = JoinerHome(inviter.machine.code)
    Wire([inviter, joiner], random.Random(1)).run(60.0)
    assert joiner.is_admitted
    late = InviterHome(accept_first=True)
    late.step()
    late.machine.handle_timer(14 * 60.0)
    assert not late.step()
    assert not late.saw(Expired)
    late.machine.handle_timer(15 * 60.0)
    late.step()
    assert late.saw(Expired)
