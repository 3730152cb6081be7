"""Groups at the start of a node: what is kept of them may be old, ended, or spoilt."""

import dataclasses
import os
import time

import pytest

from fonshare_agent.core import Worker
from fonshare_agent.errors import Ambiguous
from fonshare_agent.groups import Followers, Groups, pick_node
from fonshare_agent.leave_notices import LeaveNotices
from fonshare_agent.memberships import Membership, Memberships
from fonshare_agent.model import NodeId
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.keys import node_id_text
from fonshare_agent.sealing import Sealer
from test_channel import Friend, Home


class Kept(Home):
    """A node's channel with its groups on the disk."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.files = Worker("f", self.core)
        self.memberships = Memberships(folder / "keys" / "groups")
        sealer = Sealer(self.crypto, self.store, self.state, self.keys, os.urandom)
        self.leaving = LeaveNotices(self.core, self.store, self.state, lambda: sealer)
        self.leaving.wire(self.broker)
        self.groups = Groups(
            *(self.core, self.files, self.memberships, self.channel, self.keys),
            *("anna", os.urandom, time.time, self.leaving),
        )
        self.groups.wire(Followers(self.joining, self.joined, self.dropped))
        self.start()
        self.files.start()

    async def save(self, machine) -> None:
        await self.groups.save(machine)

    async def joining(self, group) -> None:
        self.story.append(("joining", group))

    def joined(self, group) -> None:
        self.story.append(("joined", group))

    async def dropped(self, group) -> None:
        self.story.append(("dropped", group, len(self.memberships.load()[0])))

    def do(self, work):
        done = self.core.spawn(work)
        self.run_until(lambda: done.is_settled)
        return done.result()

    def machine(self) -> GroupMachine:
        return GroupMachine.create(
            self.keys.signer,
            lambda: [self.keys.sealing],
            self.keys.statement("anna"),
            ("mqtt://home",),
            os.urandom,
            0.0,
        )

    def keep(self, machine: GroupMachine, label: str) -> Membership:
        membership = Membership(
            machine.group,
            label,
            0,
            tuple(machine.log.raw_operations()),
            tuple(one.raw for one in machine.grants),
            {epoch.commitment: key for epoch, key in machine.epoch_keys.items()},
        )
        self.memberships.save(membership)
        return membership


@pytest.fixture
def home(tmp_path):
    home = Kept(tmp_path)
    yield home
    home.end(home.crypto, home.store, home.files)


def test_a_group_that_this_node_is_out_of_is_dropped_at_the_start(home):
    machine = home.machine()
    machine.admit(Friend("bob").statement, 0.0)
    machine.leave(0.0)
    home.keep(machine, "Famille")
    home.do(home.groups.load())
    assert home.groups.labels() == {}
    assert ("joined", machine.group) not in home.story
    assert ("dropped", machine.group, 1) in home.story  # the file goes last
    assert home.memberships.load()[0] == []


def test_one_group_that_cannot_be_read_does_not_keep_the_others(home):
    good, bad = home.machine(), home.machine()
    home.keep(good, "Famille")
    kept = home.keep(bad, "Amis")
    home.memberships.save(dataclasses.replace(kept, operations=(b"nonsense",)))
    home.do(home.groups.load())
    assert home.groups.labels() == {"Famille": good.group}
    assert len(home.groups.complaints) == 1
    assert len(home.memberships.load()[0]) == 2, "nothing is thrown away"


def test_spoilt_statements_are_left_out(home):
    machine = home.machine()
    kept = home.keep(machine, "Famille")
    for spoilt in (["AAAA"], ["?"], [7]):
        extra = {"statements": spoilt}
        home.memberships.save(dataclasses.replace(kept, extra=extra))
        home.do(home.groups.load())
        assert home.groups.labels() == {"Famille": machine.group}


def test_a_change_is_stored_and_said_when_it_returns(home):
    group = home.do(home.groups.create("Famille", ("mqtt://home",)))
    bob = Friend("bob")
    home.do(home.groups.change(group, lambda m, now: m.admit(bob.statement, now)))
    home.do(home.groups.change(group, lambda m, now: m.remove(bob.id, now)))
    [stored] = home.memberships.load()[0]
    assert len(stored.operations) == 3


def test_joining_one_group_twice_at_once_makes_one(home):
    machine = home.machine()
    given = machine.log.raw_operations(), [one.raw for one in machine.grants]
    both = [
        home.core.spawn(home.groups.join(label, *given))
        for label in ("Amis", "Copains")
    ]
    home.run_until(lambda: all(one.is_settled for one in both))
    assert home.groups.labels() == {"Amis": machine.group}


def test_a_code_cannot_take_over_the_label_of_a_group_that_was_left(home):
    """Shares name groups by label: they must not be published to another group."""
    left = home.keep(home.machine(), "Famille")
    home.do(home.groups.load())
    home.do(home.groups.drop(left.group))
    again = Memberships(home.memberships._folder)
    assert again.left_labels() == {"Famille": left.group}

    other = home.machine()
    operations, grants = other.log.raw_operations(), [g.raw for g in other.grants]
    home.do(home.groups.join("Famille", operations, grants))
    assert home.groups.label(other.group) == "Famille (2)"
    home.do(home.groups.drop(other.group))

    # Who comes back to the very group finds it under its old name.
    home.do(home.groups.join("Famille", list(left.operations), list(left.grants)))
    assert home.groups.label(left.group) == "Famille"


def test_a_long_label_that_is_taken_gives_one_that_is_read_at_the_next_start(home):
    label = "\N{CLAPPER BOARD}" * 16  # as many bytes as there may be
    for _ in range(2):
        machine = home.machine()
        grants = [one.raw for one in machine.grants]
        home.do(home.groups.join(label, machine.log.raw_operations(), grants))
    found, complaints = Memberships(home.memberships._folder).load()
    assert not complaints
    assert {one.label for one in found} == {label, label[:15] + " (2)"}


def test_a_name_does_not_make_somebody_pass_for_another():
    alice, mallory = NodeId(bytes(32)), NodeId(bytes(range(32)))
    whole = node_id_text(alice)
    for named in (whole, whole.lower(), whole.replace("-", "")):
        assert pick_node([mallory], [alice, mallory], named) == alice
    with pytest.raises(Ambiguous):
        pick_node([mallory], [alice, mallory], whole[:9])


def test_a_name_that_begins_no_id_means_who_has_it():
    alice, bob = NodeId(bytes(32)), NodeId(bytes(range(32)))
    assert pick_node([bob], [alice, bob], "bob") == bob
