"""The roster's rules, one by one (docs/protocol/roster.md, "Counting")."""

import itertools
import random
import time

import pytest

from fonshare_agent.errors import NotAllowed, PeerError
from fonshare_agent.model import Role
from fonshare_agent.protocol.aside import ASIDE_BYTES_MAX, ASIDE_MAX
from fonshare_agent.protocol.operations import (
    OPERATION_BYTES_MAX,
    Admit,
    Leave,
    NameAdmin,
    Remove,
    SetBrokers,
    SignedOperation,
    Unknown,
    UnnameAdmin,
)
from fonshare_agent.protocol.roster import OPERATIONS_MAX, OperationLog
from membership import ANNA, BEN, BROKERS, CLEO, DORA, EMIL, NODES, Node


def fold(*operations):
    log = OperationLog(operations[0])
    for operation in operations[1:]:
        log.add(operation)
    assert not log.missing()
    return log.fold()


class History:
    """A group of Anna's: she admits everybody and names the admins, in order."""

    def __init__(self, members=(), admins=()):
        self.all = [ANNA.creates()]
        for node in members:
            self.then(ANNA, Admit(node.statement))
        for node in admins:
            self.then(ANNA, NameAdmin(node.id))

    @property
    def last(self):
        return self.all[-1]

    def then(self, node, action):
        return self.beside(node, action, self.last)

    def beside(self, node, action, *parents):
        self.all.append(node.does(action, *parents))
        return self.last

    def roster(self):
        """The roster, the same whatever the order of arrival."""
        first, *rest = self.all
        rosters = [fold(first, *rest), fold(first, *reversed(rest))]
        assert rosters[0] == rosters[1]
        return rosters[0]


def members_of(roster):
    return {node.name for node in NODES if roster.is_member(node.id)}


# --- rights ---


def test_a_creator_admits_names_and_removes():
    history = History([BEN], [BEN])
    history.then(BEN, Admit(CLEO.statement))
    roster = history.roster()
    assert [roster.role_of(node.id) for node in (ANNA, BEN, CLEO, DORA)] == [
        Role.CREATOR,
        Role.ADMIN,
        Role.MEMBER,
        None,
    ]
    assert list(roster.members) == [ANNA.id, BEN.id, CLEO.id]
    assert roster.members[CLEO.id].admitted_by == BEN.id
    removed = history.then(BEN, Remove(CLEO.id))
    roster = history.roster()
    assert members_of(roster) == {"Anna", "Ben"}
    assert roster.removed == {CLEO.id}
    assert roster.endings == {removed.hash}
    assert roster.heads == (removed.hash,)


@pytest.mark.parametrize(
    "action",
    [
        Admit(DORA.statement),
        Remove(ANNA.id),
        NameAdmin(BEN.id),
        UnnameAdmin(ANNA.id),
        SetBrokers(("mqtt://other",)),
    ],
    ids=lambda action: type(action).__name__,
)
@pytest.mark.parametrize("author", [BEN, DORA], ids=["member", "stranger"])
def test_what_only_admins_may_do_has_no_effect_when_others_do_it(author, action):
    history = History([BEN])
    before = history.roster()
    history.then(author, action)
    after = history.roster()
    assert after.members == before.members
    assert after.brokers == before.brokers
    assert after.endings == before.endings


def test_an_admin_can_only_be_made_of_a_member():
    history = History([BEN])
    history.then(ANNA, NameAdmin(CLEO.id))
    history.then(ANNA, Admit(CLEO.statement))
    assert history.roster().role_of(CLEO.id) is Role.MEMBER


def test_anybody_may_leave_and_stays_away_until_admitted_after_it():
    history = History([BEN, CLEO])
    before = history.last
    left = history.beside(BEN, Leave(), history.all[1])
    history.beside(ANNA, Admit(BEN.state(2)), before)
    assert members_of(history.roster()) == {"Anna", "Cleo"}
    history.beside(ANNA, Admit(BEN.state(3)), left, before)
    assert members_of(history.roster()) == {"Anna", "Ben", "Cleo"}


def test_nobody_removes_himself_by_removal():
    history = History([BEN])
    history.then(ANNA, Remove(ANNA.id))
    assert members_of(history.roster()) == {"Anna", "Ben"}


# --- removal and what is concurrent ---


def test_a_removal_beats_a_concurrent_admission():
    history = History([BEN], [BEN])
    seen = history.then(ANNA, Admit(CLEO.statement))
    removed = history.beside(ANNA, Remove(CLEO.id), seen)
    history.beside(BEN, Admit(CLEO.state(2)), seen)
    assert members_of(history.roster()) == {"Anna", "Ben"}
    history.beside(BEN, Admit(CLEO.state(2)), removed)
    assert members_of(history.roster()) == {"Anna", "Ben", "Cleo"}


def test_who_comes_back_must_have_all_removals_behind():
    history = History([BEN, CLEO], [BEN])
    seen = history.last
    one = history.beside(ANNA, Remove(CLEO.id), seen)
    other = history.beside(BEN, Remove(CLEO.id), seen)
    history.beside(ANNA, Admit(CLEO.state(2)), one)
    assert members_of(history.roster()) == {"Anna", "Ben"}
    history.beside(ANNA, Admit(CLEO.state(2)), one, other)
    assert members_of(history.roster()) == {"Anna", "Ben", "Cleo"}


def test_of_a_removed_admin_s_operations_only_those_before_the_removal_count():
    history = History([BEN], [BEN])
    seen = history.then(BEN, Admit(CLEO.statement))
    history.beside(ANNA, Remove(BEN.id), seen)
    history.beside(BEN, Admit(DORA.statement), seen)  # backdated
    history.then(BEN, Remove(ANNA.id))  # and more on top of it
    assert members_of(history.roster()) == {"Anna", "Cleo"}


def test_what_a_removed_member_does_afterwards_has_no_effect():
    history = History([BEN], [BEN])
    history.then(ANNA, Remove(BEN.id))
    history.then(BEN, Admit(DORA.statement))
    assert members_of(history.roster()) == {"Anna"}


def test_of_an_unnamed_admin_s_operations_only_those_before_it_count():
    history = History([BEN, CLEO], [BEN])
    seen = history.last
    history.beside(ANNA, UnnameAdmin(BEN.id), seen)
    history.beside(BEN, Remove(CLEO.id), seen)
    roster = history.roster()
    assert members_of(roster) == {"Anna", "Ben", "Cleo"}
    assert roster.role_of(BEN.id) is Role.MEMBER


def test_an_unnaming_beats_a_concurrent_naming_and_a_later_one_beats_it():
    history = History([BEN, CLEO], [BEN, CLEO])
    seen = history.last
    unnamed = history.beside(ANNA, UnnameAdmin(CLEO.id), seen)
    history.beside(BEN, NameAdmin(CLEO.id), seen)
    assert history.roster().role_of(CLEO.id) is Role.MEMBER
    history.beside(BEN, NameAdmin(CLEO.id), unnamed)
    assert history.roster().role_of(CLEO.id) is Role.ADMIN


def test_who_comes_back_comes_back_as_a_member():
    history = History([BEN], [BEN])
    history.then(ANNA, Remove(BEN.id))
    history.then(ANNA, Admit(BEN.state(2)))
    assert history.roster().role_of(BEN.id) is Role.MEMBER
    creator = History([BEN], [BEN])
    creator.then(BEN, Remove(ANNA.id))
    creator.then(BEN, Admit(ANNA.state(2)))
    assert creator.roster().role_of(ANNA.id) is Role.MEMBER


def test_of_two_admins_who_remove_each_other_the_one_named_earlier_stays():
    for first, second in itertools.permutations((BEN, CLEO)):
        history = History([BEN, CLEO], [first, second])
        seen = history.last
        history.beside(first, Remove(second.id), seen)
        history.beside(second, Remove(first.id), seen)
        roster = history.roster()
        assert roster.is_admin(first.id)
        assert not roster.is_member(second.id)


def test_of_three_admins_in_a_circle_the_one_named_first_stays():
    history = History([BEN, CLEO], [BEN, CLEO])
    seen = history.last
    history.beside(ANNA, Remove(BEN.id), seen)
    history.beside(BEN, Remove(CLEO.id), seen)
    history.beside(CLEO, Remove(ANNA.id), seen)
    roster = history.roster()
    assert members_of(roster) == {"Anna", "Cleo"}


def test_who_merely_waits_for_a_circle_to_end_is_no_part_of_it():
    # Ben and Cleo are in a circle; Ben also removes Anna, who is senior to both but
    # removes nobody: her seniority must not decide their quarrel, nor save her.
    history = History([BEN, CLEO, DORA], [BEN, CLEO])
    seen = history.last
    history.beside(BEN, Remove(CLEO.id), seen)
    history.beside(CLEO, Remove(BEN.id), seen)
    history.beside(BEN, Remove(ANNA.id), seen)
    history.beside(ANNA, Admit(EMIL.statement), seen)
    assert members_of(history.roster()) == {"Ben", "Dora"}


def test_a_circle_that_waits_for_another_is_decided_after_it():
    # Anna and Dora remove each other; whether Anna may depends on Ben, who removes
    # her too, and whether he may on his own circle with Cleo.
    history = History([BEN, CLEO, DORA], [DORA, BEN, CLEO])
    seen = history.last
    history.beside(ANNA, Remove(DORA.id), seen)
    history.beside(DORA, Remove(ANNA.id), seen)
    history.beside(BEN, Remove(ANNA.id), seen)
    history.beside(BEN, Remove(CLEO.id), seen)
    history.beside(CLEO, Remove(BEN.id), seen)
    assert members_of(history.roster()) == {"Ben", "Dora"}


def test_a_removed_admin_s_removal_of_a_third_does_not_count_and_he_is_back():
    history = History([BEN, CLEO, DORA], [BEN, CLEO])
    seen = history.last
    history.beside(CLEO, Remove(DORA.id), seen)
    assert members_of(history.roster()) == {"Anna", "Ben", "Cleo"}
    history.beside(BEN, Remove(CLEO.id), seen)
    assert members_of(history.roster()) == {"Anna", "Ben", "Dora"}


# --- the last admin ---


def test_when_the_last_admin_left_the_earliest_member_stands_in_and_stays():
    history = History([CLEO, BEN])
    last = history.last
    left = history.beside(ANNA, Leave(), history.all[0])
    roster = history.roster()
    assert roster.role_of(CLEO.id) is Role.ADMIN
    assert roster.role_of(BEN.id) is Role.MEMBER
    history.beside(BEN, Admit(DORA.statement), last, left)
    assert members_of(history.roster()) == {"Ben", "Cleo"}
    # Having acted, she is an admin beside the one she names.
    history.beside(CLEO, NameAdmin(BEN.id), last, left)
    roster = history.roster()
    assert roster.is_admin(CLEO.id)
    assert roster.is_admin(BEN.id)


# --- limits ---


def crowd(count, start=100):
    return [Node(number, f"n{number}") for number in range(start, start + count)]


def test_a_group_has_at_most_64_members():
    others = crowd(64)
    history = History(others)
    roster = history.roster()
    assert len(roster.members) == 64
    assert not roster.is_member(others[-1].id)
    # Nor does a free place bring in whom nobody admitted to it.
    refused = history.all.pop()
    history.then(ANNA, Remove(others[0].id))
    history.all.append(refused)
    assert len(history.roster().members) == 63
    assert not history.roster().is_member(others[-1].id)
    # A present member's new statement needs no place.
    full = History(others[:63])
    full.then(ANNA, Admit(others[0].state(7)))
    assert full.roster().members[others[0].id].statement.version == 7


def test_of_concurrent_admissions_above_64_the_latest_wait():
    history = History([BEN, *crowd(61)], [BEN])
    seen = history.last
    history.beside(ANNA, Admit(CLEO.statement), seen)
    history.beside(BEN, Admit(DORA.statement), seen)
    roster = history.roster()
    assert len(roster.members) == 64
    assert roster.is_member(CLEO.id) != roster.is_member(DORA.id)


def test_what_waits_for_parents_is_bounded_and_can_be_asked_for():
    history = History()
    log = OperationLog(history.last)
    gap = ANNA.does(Admit(BEN.statement), history.last)
    last = gap
    waiting = []
    for _ in range(ASIDE_MAX + 20):
        last = ANNA.does(Remove(CLEO.id), last)
        waiting.append(last)
    assert not log.add(waiting[0]), "nothing to store yet"
    assert log.missing() == (gap.hash,)
    log.add(waiting[0])
    assert log.missing() == (gap.hash,)
    assert log.heads() == (history.last.hash,)
    for operation in waiting[1:]:
        log.add(operation)
    assert len(log._aside) == ASIDE_MAX
    # The oldest went, and are asked for again.
    assert log.missing() == (waiting[19].hash,)
    assert log.add(gap)
    assert log.fold().is_member(BEN.id)
    for operation in waiting[:20]:
        log.add(operation)
    assert not log.missing()
    assert log.heads() == (last.hash,)


def test_what_waits_for_parents_is_bounded_in_bytes_too():
    log = OperationLog(ANNA.creates())
    parents = [number.to_bytes(32, "big") for number in range(256)]
    brokers = tuple(f"mqtt://{n}{'x' * 500}" for n in range(8))
    for number in range(100):
        wide = [number.to_bytes(32, "little"), *parents[:-1]]
        log.add(SignedOperation.make(ANNA.signer, wide, SetBrokers(brokers)))
    held = sum(len(one.raw) for one in log._aside._waiting.values())
    assert ASIDE_BYTES_MAX - OPERATION_BYTES_MAX < held <= ASIDE_BYTES_MAX


def test_a_full_log_takes_no_more(monkeypatch):
    monkeypatch.setattr("fonshare_agent.protocol.roster.OPERATIONS_MAX", 8)
    assert OPERATIONS_MAX > 1000
    log = OperationLog(ANNA.creates())
    for version in range(6):
        log.append(ANNA.signer, Admit(BEN.state(1 + version)))
    with pytest.raises(NotAllowed, match="room"):
        log.append(ANNA.signer, Admit(CLEO.statement))
    # But who has to go can be sent away.
    log.append(ANNA.signer, Remove(BEN.id))
    assert not log.fold().is_member(BEN.id)
    with pytest.raises(NotAllowed, match="room"):
        log.append(ANNA.signer, Remove(CLEO.id))


def test_a_thousand_operations_fold_in_less_than_a_second():
    log = OperationLog(ANNA.creates())
    people = crowd(60)
    for node in people[:30]:
        log.append(ANNA.signer, Admit(node.statement))
        log.append(ANNA.signer, NameAdmin(node.id))
    rng = random.Random(1)
    while len(log.operations()) < 1000:
        # Everybody against everybody, in many branches.
        author, target = rng.sample(people[:30], 2)
        seen = rng.sample(log.operations()[61 - 1 :], 1)
        log.add(author.does(Remove(target.id), *seen))
    began = time.process_time()
    log.fold()
    assert time.process_time() - began < 1.0


# --- the log ---


def test_the_latest_brokers_count():
    history = History([BEN], [BEN])
    assert history.roster().brokers == BROKERS
    seen = history.last
    history.beside(ANNA, SetBrokers(("mqtt://one",)), seen)
    history.then(BEN, SetBrokers(("mqtt://two",)))
    history.beside(BEN, SetBrokers(("mqtt://beside",)), seen)
    assert history.roster().brokers == ("mqtt://two",)


def test_a_peer_gets_what_it_lacks_parents_first():
    history = History([BEN, CLEO, DORA])
    log = OperationLog.from_raw(one.raw for one in reversed(history.all))
    assert log.raw_operations() == [one.raw for one in history.all]
    assert log.after([history.all[1].hash]) == history.all[2:]
    assert log.after([b"unknown".ljust(32), history.last.hash]) == []
    assert log.after([]) == history.all


def test_operations_of_two_groups_do_not_mix():
    log = OperationLog(ANNA.creates())
    with pytest.raises(PeerError, match="another group"):
        log.add(ANNA.creates(nonce=b"another".ljust(16)))
    with pytest.raises(PeerError, match="0 operations create"):
        OperationLog.from_raw([ANNA.does(Leave(), ANNA.creates()).raw])


def test_a_crowd_of_void_operations_hides_no_removal():
    history = History([BEN, CLEO], [BEN, CLEO])
    seen = history.last
    log = OperationLog.from_raw(one.raw for one in history.all)
    for number in range(300):
        log.add(CLEO.does(SetBrokers((f"mqtt://{number}",)), seen))
    removal = BEN.does(Remove(CLEO.id), seen)
    log.add(removal)
    assert len(log.heads()) == 256
    assert removal.hash in log.heads()
    assert log.heads() == tuple(sorted(log.heads()))
    merged = log.append(ANNA.signer, Admit(DORA.statement))
    assert removal.hash in merged.parents
    assert len(log.heads()) == 46


def test_a_newer_statement_of_a_member_replaces_the_admitted_one():
    roster = History([BEN]).roster()
    newer = roster.with_statement(BEN.state(5))
    assert newer.members[BEN.id].statement.version == 5
    assert newer.members[BEN.id].admitted_by == ANNA.id
    assert newer.with_statement(BEN.state(4)) is newer
    assert roster.with_statement(CLEO.state(9)) is roster


def test_an_action_of_a_later_version_keeps_its_place_and_does_nothing():
    history = History([BEN])
    history.then(ANNA, Unknown("bless"))
    history.then(ANNA, Admit(CLEO.statement))
    assert members_of(history.roster()) == {"Anna", "Ben", "Cleo"}
