"""Groups over a hostile wire: several real machines, real envelopes, a fake clock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import NotAllowed
from fonshare_agent.model import IndexId
from fonshare_agent.protocol.group_events import (
    MembershipChanged,
    RemovedFromGroup,
)
from fonshare_agent.protocol.messages import CatalogueAsk, Message
from fonshare_agent.protocol.peers import HeadSeen
from fonshare_agent.protocol.retirement import KEPT_S
from wire import Wire, WireNode

ASK = CatalogueAsk(b"indexid8", 0)


def a_group(wire: Wire, *names: str) -> list[WireNode]:
    """The first founds a group, admits the others, and all connect."""
    first, *others = nodes = [wire.node(name) for name in names]
    first.create()
    first.connect()
    for node in others:
        first.group.admit(node.statement, wire.now)
        node.join(first)
        node.connect()
    wire.run(5)
    return nodes


def commands(node: WireNode) -> list[Message]:
    return [message for _, message in node.commands]


def test_members_become_ready_for_each_other_and_commands_pass():
    wire = Wire(seed=1)
    anna, bob, carl = a_group(wire, "anna", "bob", "carl")
    for node in (anna, bob, carl):
        assert node.group.peers.online() == {
            other.id for other in (anna, bob, carl) if other is not node
        }
    anna.send(bob.id, ASK)
    carl.send(None, ASK)
    wire.run(2)
    assert set(bob.commands) == {(anna.id, ASK), (carl.id, ASK)}
    assert commands(anna) == [ASK]


def test_what_is_asked_the_moment_a_member_is_ready_is_heard():
    wire = Wire(seed=14)  # which puts no question before the welcome it follows
    anna, bob = wire.node("anna"), wire.node("bob")
    anna.ask_when_ready = bob.ask_when_ready = ASK
    anna.create()
    anna.connect()
    anna.group.admit(bob.statement, wire.now)
    bob.join(anna)
    bob.connect()
    wire.run(1)
    assert ASK in commands(anna)
    assert ASK in commands(bob)
    bob.commands.clear()
    bob.restart()
    bob.connect()
    wire.run(1)
    assert ASK in commands(bob), "whoever has begun anew is asked anew"


def test_a_greeting_tells_the_catalogues_head_even_if_the_presence_is_not_heard():
    wire = Wire(seed=13)
    anna, bob = a_group(wire, "anna", "bob")
    anna.group.peers.own_head = (IndexId(b"indexid9"), 7)
    bob.events.clear()
    bob.group.connect(wire.now)
    wire.run(1)
    assert HeadSeen(anna.id, IndexId(b"indexid9"), 7) in bob.events


def test_whatever_was_carried_changes_nothing_when_it_is_carried_again():
    wire = Wire(seed=2)
    anna, bob = a_group(wire, "anna", "bob")
    anna.send(bob.id, ASK)
    wire.run(2)
    wire.replay()
    wire.run(2)
    assert commands(bob) == [ASK]


def test_after_a_restart_an_old_command_is_refused_and_a_new_one_passes():
    wire = Wire(seed=3)
    anna, bob = a_group(wire, "anna", "bob")
    anna.send(bob.id, ASK)
    wire.run(2)
    bob.commands.clear()
    bob.restart()
    bob.connect()
    wire.replay()
    assert commands(bob) == []
    wire.run(10)
    wire.replay()
    assert commands(bob) == []
    anna.send(bob.id, ASK)
    wire.run(2)
    assert commands(bob) == [ASK]


def test_an_answer_from_an_earlier_life_does_not_open_the_window_again():
    wire = Wire(seed=4)
    anna, bob = a_group(wire, "anna", "bob")
    anna.send(bob.id, ASK)
    wire.run(2)
    bob.commands.clear()
    anna.restart()
    anna.incarnation, anna.counter = 2, 0
    anna.connect()
    wire.run(10)
    wire.replay()
    wire.run(2)
    assert commands(bob) == []
    anna.send(bob.id, ASK)
    wire.run(2)
    assert commands(bob) == [ASK]


def test_a_member_that_is_killed_is_seen_as_offline_and_its_return_as_online():
    wire = Wire(seed=5)
    anna, bob = a_group(wire, "anna", "bob")
    bob.disconnect()
    wire.run(1)
    assert anna.group.peers.online() == frozenset()
    bob.connect()
    wire.run(1)
    assert anna.group.peers.online() == {bob.id}


def test_a_removed_member_hears_and_says_nothing_any_more():
    wire = Wire(seed=6)
    anna, bob, carl = a_group(wire, "anna", "bob", "carl")
    anna.group.remove(carl.id, wire.now)
    wire.run(5)
    assert RemovedFromGroup() in carl.events
    assert set(anna.group.roster.members) == {anna.id, bob.id}
    assert set(bob.group.roster.members) == {anna.id, bob.id}
    assert anna.group.sending_epoch == bob.group.sending_epoch
    assert anna.group.sending_epoch not in carl.group.epoch_keys
    anna.send(None, ASK)
    wire.run(2)
    assert commands(bob) == [ASK]
    assert commands(carl) == []


def test_a_member_that_was_away_when_it_was_removed_is_told_when_it_comes_back():
    wire = Wire(seed=16)
    anna, bob, carl = a_group(wire, "anna", "bob", "carl")
    carl.disconnect()
    wire.run(20)
    anna.group.remove(carl.id, wire.now)
    wire.run(5)
    anna.group.name_admin(bob.id, wire.now)
    wire.run(20)
    anna.disconnect()  # whoever is there tells
    carl.restart()
    carl.connect()
    wire.run(5)
    assert RemovedFromGroup() in carl.events
    known = carl.group.log.operations()
    assert len(known) == len(bob.group.log.operations()) - 1, "nothing that came after"


def test_a_member_away_during_a_removal_comes_back_to_the_new_epoch():
    wire = Wire(seed=7)
    anna, bob, carl = a_group(wire, "anna", "bob", "carl")
    bob.disconnect()
    anna.group.remove(carl.id, wire.now)
    wire.run(5)
    bob.restart()
    bob.connect()
    wire.run(20)
    assert bob.group.sending_epoch == anna.group.sending_epoch
    assert set(bob.group.roster.members) == {anna.id, bob.id}
    bob.send(anna.id, ASK)
    wire.run(3)
    assert commands(anna) == [ASK]


def test_when_a_member_leaves_an_admin_makes_the_next_epoch():
    wire = Wire(seed=8)
    anna, bob, carl = a_group(wire, "anna", "bob", "carl")
    before = anna.group.sending_epoch
    carl.group.leave(wire.now)
    wire.run(30)
    assert set(bob.group.roster.members) == {anna.id, bob.id}
    assert anna.group.sending_epoch == bob.group.sending_epoch != before


def test_two_admins_who_remove_at_once_end_in_one_roster_and_one_epoch():
    wire = Wire(seed=9, delay_s=2.0)
    anna, bob, carl, dora = a_group(wire, "anna", "bob", "carl", "dora")
    anna.group.name_admin(bob.id, wire.now)
    wire.run(10)
    anna.group.remove(carl.id, wire.now)
    bob.group.remove(dora.id, wire.now)
    wire.run(60)
    assert set(anna.group.roster.members) == set(bob.group.roster.members)
    assert set(anna.group.roster.members) == {anna.id, bob.id}
    assert anna.group.sending_epoch == bob.group.sending_epoch is not None


def test_only_an_admin_may_admit_or_remove():
    wire = Wire(seed=10)
    anna, bob = a_group(wire, "anna", "bob")
    with pytest.raises(NotAllowed):
        bob.group.remove(anna.id, wire.now)
    with pytest.raises(NotAllowed):
        bob.group.admit(wire.node("eve").statement, wire.now)


def test_a_changed_name_reaches_the_others_by_presence():
    wire = Wire(seed=11)
    anna, bob = a_group(wire, "anna", "bob")
    bob.statement = type(bob.statement).make(
        bob.signer, "robert", 2, bob.statement.tls_fingerprint, bob.sealing.public
    )
    bob.announce()
    wire.run(2)
    assert anna.group.roster.members[bob.id].statement.name == "robert"


any_wire = given(
    seed=st.integers(0, 10_000),
    drop=st.sampled_from([0.0, 0.2, 0.4]),
    double=st.sampled_from([0.0, 0.5]),
    delay_s=st.sampled_from([0.0, 3.0]),
)


@settings(max_examples=3, deadline=None)
@any_wire
def test_over_any_wire_everybody_ends_with_one_roster_and_one_epoch(
    seed, drop, double, delay_s
):
    end_with_one_roster(seed, drop, double, delay_s)


@pytest.mark.full
@settings(max_examples=12, deadline=None)
@any_wire
def test_over_many_more_wires_everybody_ends_with_one_roster_and_one_epoch(
    seed, drop, double, delay_s
):
    end_with_one_roster(seed, drop, double, delay_s)


def end_with_one_roster(seed, drop, double, delay_s):
    wire = Wire(seed=seed, drop=drop, double=double, delay_s=delay_s)
    anna, bob, carl = nodes = a_group(wire, "anna", "bob", "carl")
    anna.group.name_admin(bob.id, wire.now)
    wire.run(2)
    carl.disconnect()
    dora = wire.node("dora")
    anna.group.admit(dora.statement, wire.now)
    dora.join(anna)
    dora.connect()
    wire.run(2)
    anna.group.remove(dora.id, wire.now)
    wire.run(2)
    carl.restart()
    carl.connect()
    wire.run(60)
    # Whatever was lost is repaired when somebody connects: let all do it once more on
    # a wire that works.
    wire.drop = 0.0
    for node in nodes:
        node.disconnect()
        node.connect()
    wire.run(90)
    assert {frozenset(node.group.roster.members) for node in nodes} == {
        frozenset({anna.id, bob.id, carl.id})
    }
    assert len({node.group.sending_epoch for node in nodes}) == 1
    assert anna.group.sending_epoch is not None
    for node in nodes:
        for other in nodes:
            assert node is other or node.group.peers.is_ready(other.id)


def test_old_epochs_are_listened_to_for_90_days_of_uptime_and_no_longer():
    wire = Wire(seed=17)
    anna, _bob, carl = a_group(wire, "anna", "bob", "carl")
    first = anna.group.sending_epoch
    anna.group.age(1000)
    anna.group.remove(carl.id, wire.now)
    wire.run(5)
    anna.group.age(2000)
    assert MembershipChanged() in anna.group.take_events(), "the count is stored"
    marks = dict(anna.group.retirement.marks)
    anna.group.age(2000 + KEPT_S)
    assert anna.group.take_events() == []
    anna.restart()
    anna.group.retirement.restore(marks)
    anna.group.age(2000 + KEPT_S)
    assert first in anna.group.epoch_keys
    anna.group.age(2001 + KEPT_S)
    assert list(anna.group.epoch_keys) == [anna.group.sending_epoch]
    assert {one.epoch for one in anna.group.grants} == {anna.group.sending_epoch}
    assert MembershipChanged() in anna.group.take_events()


def test_a_count_of_uptime_that_was_lost_ends_nothing_before_its_time():
    wire = Wire(seed=18)
    anna, _bob, carl = a_group(wire, "anna", "bob", "carl")
    first = anna.group.sending_epoch
    anna.group.remove(carl.id, wire.now)
    anna.group.age(50_000_000)
    anna.group.age(7)
    anna.group.age(KEPT_S)
    assert first in anna.group.epoch_keys
    anna.group.age(KEPT_S + 8)
    assert first not in anna.group.epoch_keys


def test_a_group_remembers_where_it_met_for_90_days_of_uptime():
    wire = Wire(seed=19)
    anna, _bob = a_group(wire, "anna", "bob")
    home = anna.group.roster.brokers[0]
    for number in range(12):
        anna.group.set_brokers((f"mqtt://{number}",), wire.now)
    anna.group.age(5)
    assert anna.group.former_brokers[0] == "mqtt://10"
    assert len(anna.group.former_brokers) == 8
    anna.group.set_brokers((home, "mqtt://11"), wire.now)
    assert home not in anna.group.former_brokers
    anna.group.age(6 + KEPT_S)
    assert anna.group.former_brokers == ()
