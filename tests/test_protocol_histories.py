"""Random histories of five nodes with partial views: what must hold for every one.

Everybody may do anything at any time on top of anything it knows, entitled or not, as
somebody with a stolen key would.
"""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import NotAllowed
from fonshare_agent.protocol.epochs import (
    choose_sending_epoch,
    extend_grant,
    make_grant,
    members_without,
    needs_new_epoch,
    next_number,
)
from fonshare_agent.protocol.operations import (
    Admit,
    Create,
    Leave,
    NameAdmin,
    Remove,
    SetBrokers,
    SignedOperation,
    UnnameAdmin,
)
from fonshare_agent.protocol.roster import OperationLog
from membership import ANNA, NODES, drawer

PEOPLE = NODES[:5]
ENDINGS = (Remove, Leave)

nodes = st.sampled_from(PEOPLE)
actions = st.one_of(
    nodes.map(lambda node: Admit(node.statement)),
    nodes.map(lambda node: Remove(node.id)),
    nodes.map(lambda node: Remove(node.id)),
    nodes.map(lambda node: NameAdmin(node.id)),
    nodes.map(lambda node: UnnameAdmin(node.id)),
    st.just(Leave()),
    st.integers(0, 9).map(lambda number: SetBrokers((f"mqtt://{number}",))),
)
few = st.integers(0, 2**30)


@st.composite
def histories(draw, most=22, only=actions, kept=True):
    """Operations, parents first: a group of up to five, then anything.

    With *kept* only what a log keeps, else also what nobody had the right to.
    """
    done = [ANNA.creates()]
    for node in PEOPLE[1 : draw(st.integers(1, 5))]:
        done.append(ANNA.does(Admit(node.statement), done[-1]))
    for node in PEOPLE[1 : draw(st.integers(1, 4))]:
        done.append(ANNA.does(NameAdmin(node.id), done[-1]))
    log, start = log_of(done), len(done) - 1
    for _ in range(draw(st.integers(0, most))):
        places = st.integers(0, min(4, len(done) - 1)) | st.integers(0, len(done) - 1)
        back = draw(st.lists(places, min_size=1, max_size=2))
        seen = [done[max(len(done) - 1 - at, min(start, at))] for at in back]
        author, action = draw(nodes), draw(only)
        if isinstance(action, Leave) and draw(st.integers(0, 9)):
            seen = [draw(st.sampled_from(admissions_of(author, done) or seen))]
        operation = author.does(action, *seen)
        if operation not in done and (log.add(operation) or not kept):
            done.append(operation)
    return done


def admissions_of(node, operations):
    return [
        one
        for one in operations
        if isinstance(one.action, Create | Admit)
        and one.action.statement.node_id == node.id
    ]


def log_of(operations):
    log = OperationLog(operations[0])
    for operation in operations[1:]:
        log.add(operation)
    return log


def pasts_of(operations):
    """For each operation's hash the hashes of its ancestors."""
    pasts = {}
    for operation in operations:
        past = set(operation.parents)
        for parent in operation.parents:
            past |= pasts[parent]
        pasts[operation.hash] = past
    return pasts


@dataclass
class Judge:
    """The rules of docs/protocol/roster.md said again, slowly, with sets.

    Only what to make of circles is not decided here: *counted* is taken as given.
    """

    operations: list
    counted: set

    def __post_init__(self):
        self.pasts = pasts_of(self.operations)

    def of(self, past, kind, node):
        for one in self.operations:
            if one.hash not in past or one.hash not in self.counted:
                continue
            if not isinstance(one.action, kind):
                continue
            match one.action:
                case Create(statement, _, _) | Admit(statement):
                    target = statement.node_id
                case Leave():
                    target = one.author
                case _:
                    target = one.action.member
            if target == node.id:
                yield one

    def stays(self, node, past):
        endings = {one.hash for one in self.of(past, ENDINGS, node)}
        return [
            one
            for one in self.of(past, Create | Admit, node)
            if endings <= self.pasts[one.hash]
        ]

    def namings(self, node, past):
        unnamed = {one.hash for one in self.of(past, UnnameAdmin, node)}
        stays = {one.hash for one in self.stays(node, past)}
        return [
            one
            for one in self.of(past, Create | NameAdmin, node)
            if unnamed <= self.pasts[one.hash]
            and stays & (self.pasts[one.hash] | {one.hash})
        ]

    def is_struck(self, operation):
        if isinstance(operation.action, Leave):
            return False
        return any(
            one.hash in self.counted
            and isinstance(one.action, Remove | UnnameAdmin)
            and one.action.member == operation.author != one.author
            and self.are_concurrent(one, operation)
            for one in self.operations
        )

    def are_concurrent(self, one, other):
        return (
            one.hash != other.hash
            and one.hash not in self.pasts[other.hash]
            and other.hash not in self.pasts[one.hash]
        )


@settings(max_examples=40, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_and_any_doubling_folds_to_the_same_roster(operations, rng):
    log = log_of(operations)
    shuffled = operations[1:] + rng.choices(operations, k=5)
    rng.shuffle(shuffled)
    other = log_of([operations[0], *shuffled])
    assert other.fold() == log.fold()
    assert list(other.fold().members) == list(log.fold().members)
    assert not other.missing()


@settings(max_examples=40, deadline=None)
@given(histories(kept=False), st.randoms(use_true_random=False))
def test_what_a_log_keeps_depends_on_no_order_either(operations, rng):
    shuffled = operations[1:] + rng.choices(operations, k=5)
    rng.shuffle(shuffled)
    log, other = log_of(operations), log_of([operations[0], *shuffled])
    assert {one.hash for one in log.operations()} == {
        one.hash for one in other.operations()
    }
    assert other.fold() == log.fold()
    assert not other.missing()


@settings(max_examples=40, deadline=None)
@given(histories())
def test_what_counts_was_allowed_and_is_not_struck(operations):
    log = log_of(operations)
    counted = {one.hash for one in operations if log.counts(one.hash)}
    judge = Judge(operations, counted)
    by_id = {node.id: node for node in PEOPLE}
    for one in operations:
        past, author = judge.pasts[one.hash], by_id[one.author]
        is_member = bool(judge.stays(author, past)) or isinstance(one.action, Create)
        is_admin = bool(judge.namings(author, past)) or isinstance(one.action, Create)
        if one.hash in counted:
            assert is_member
            assert not judge.is_struck(one)
            # Where nobody is named any more, somebody stands in.
            nobody = not any(judge.namings(node, past) for node in PEOPLE)
            assert is_admin or nobody or isinstance(one.action, Leave)
        elif is_admin and not judge.is_struck(one):
            # It lost a circle, or it asked for what cannot be.
            strikes = isinstance(one.action, Remove | UnnameAdmin)
            target = getattr(one.action, "member", None)
            assert target == one.author or (
                strikes and _could_strike_counted(judge, one)
            )


def _could_strike_counted(judge, operation):
    return any(
        one.hash in judge.counted
        and one.author == operation.action.member
        and judge.are_concurrent(one, operation)
        for one in judge.operations
    )


@settings(max_examples=40, deadline=None)
@given(histories())
def test_members_are_those_whose_admission_knows_all_their_endings(operations):
    log = log_of(operations)
    roster = log.fold()
    judge = Judge(operations, {one.hash for one in operations if log.counts(one.hash)})
    everything = {one.hash for one in operations}
    for node in PEOPLE:
        stays = judge.stays(node, everything)
        assert roster.is_member(node.id) == bool(stays)
        if judge.namings(node, everything):
            assert roster.is_admin(node.id)
        if stays:
            assert roster.members[node.id].admitted_by in {one.author for one in stays}
    admins = [m for m in roster.members.values() if m.is_admin]
    assert admins or not roster.members


@settings(max_examples=40, deadline=None)
@given(histories(), st.data())
def test_more_operations_bring_nobody_back_but_by_admission_or_a_void_removal(
    operations, data
):
    """A removal goes only with the rights of the one who made it."""
    some = _part_of(operations, data)
    before, after = log_of(some), log_of(operations)
    back = before.fold().removed & after.fold().members.keys()
    pasts = pasts_of(operations)
    for node in back:
        endings = _endings(some, before, node)
        stays = [
            one
            for one in operations
            if after.counts(one.hash)
            and isinstance(one.action, Create | Admit)
            and one.action.statement.node_id == node
        ]
        still = {one.hash for one in endings if after.counts(one.hash)}
        assert any(still <= pasts[stay.hash] for stay in stays)
        for ending in endings:
            if ending.hash not in still:
                assert _lost_his_rights(ending, operations, after)


def _endings(operations, log, node):
    return [
        one
        for one in operations
        if log.counts(one.hash)
        and isinstance(one.action, ENDINGS)
        and getattr(one.action, "member", one.author) == node
    ]


def _lost_his_rights(ending, operations, log):
    """Somebody in the ending's own past, or its author, was ended concurrently."""
    pasts = pasts_of(operations)
    authors = {
        one.author
        for one in operations
        if one.hash in pasts[ending.hash] or one.hash == ending.hash
    }
    return any(
        log.counts(one.hash)
        and isinstance(one.action, Remove | UnnameAdmin)
        and one.action.member in authors
        and one.hash not in pasts[ending.hash]
        for one in operations
    ) or any(
        # or lost a circle against something that counts
        log.counts(one.hash)
        and one.author == getattr(ending.action, "member", None)
        and one.hash not in pasts[ending.hash]
        for one in operations
    )


loyal = st.one_of(
    nodes.filter(lambda n: n is not ANNA).map(lambda node: Admit(node.statement)),
    nodes.filter(lambda n: n is not ANNA).map(lambda node: Remove(node.id)),
    st.just(Leave()),
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_under_one_admin_nobody_comes_back_but_by_admission_after_all_removals(data):
    operations = [ANNA.creates()]
    for _ in range(data.draw(st.integers(1, 18))):
        seen = data.draw(
            st.lists(st.sampled_from(operations[-5:]), min_size=1, max_size=2)
        )
        action, who = data.draw(loyal), ANNA
        if isinstance(action, Leave):
            who = data.draw(nodes)
            admissions = admissions_of(who, operations)
            if who is ANNA or not admissions:
                continue
            seen = [data.draw(st.sampled_from(admissions))]
        operation = who.does(action, *seen)
        if operation not in operations:
            operations.append(operation)
    some = _part_of(operations, data)
    before, after = log_of(some), log_of(operations)
    pasts = pasts_of(operations)
    for node in before.fold().removed & after.fold().members.keys():
        endings = {one.hash for one in _endings(operations, after, node)}
        assert any(
            endings <= pasts[one.hash]
            for one in operations
            if isinstance(one.action, Admit) and one.action.statement.node_id == node
        )
    # And no ending ever loses its effect.
    assert before.fold().endings <= after.fold().endings


def _part_of(operations, data):
    """A set that holds with each operation its ancestors: what somebody may know."""
    pasts = pasts_of(operations)
    kept = {operations[0].hash}
    for one in data.draw(st.lists(st.sampled_from(operations), max_size=6)):
        kept |= pasts[one.hash] | {one.hash}
    return [one for one in operations if one.hash in kept]


@settings(max_examples=40, deadline=None)
@given(histories(), nodes, actions)
def test_what_a_removed_member_adds_after_its_removal_changes_nothing(
    operations, node, action
):
    log = log_of(operations)
    if log.fold().is_member(node.id):
        return
    before = log.fold()
    log.add(SignedOperation.make(node.signer, log.heads(), action))
    after = log.fold()
    assert after.members == before.members
    assert after.brokers == before.brokers
    assert after.endings == before.endings


@settings(max_examples=40, deadline=None)
@given(histories(), nodes, actions)
def test_what_is_done_on_top_of_everything_works_just_as_allowed(
    operations, node, action
):
    """No circle, nothing concurrent: the rules without surprises."""
    log = log_of(operations)
    before = log.fold()
    try:
        log.append(node.signer, action)
    except NotAllowed:
        assert not before.is_admin(node.id) or action == Remove(node.id)
    after = log.fold()
    everybody = set(before.members)
    if isinstance(action, Leave):
        assert set(after.members) == everybody - {node.id}
    elif not before.is_admin(node.id):
        assert after.members == before.members
    elif isinstance(action, Admit):
        assert set(after.members) == everybody | {action.statement.node_id}
    elif isinstance(action, Remove) and action.member != node.id:
        assert set(after.members) == everybody - {action.member}
    elif isinstance(action, NameAdmin) and action.member in everybody:
        assert after.is_admin(action.member)
    elif isinstance(action, SetBrokers):
        assert after.members == before.members


# --- epochs over the same histories ---


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(most=12), st.data())
def test_nobody_seals_under_a_key_that_somebody_removed_was_given(operations, data):
    """Admins make and extend epochs on partial views; then all meet."""
    keys = {}
    grants = []
    draw = drawer()
    for _ in range(data.draw(st.integers(1, 4))):
        view = log_of(_part_of(operations, data))
        roster = view.fold()
        admin = data.draw(nodes)
        if not roster.is_admin(admin.id):
            continue
        known = [grant for grant in grants if grant.author in roster.members]
        epoch = choose_sending_epoch(view, known, admin.id)
        if epoch in keys and data.draw(st.booleans()):
            grant = next(one for one in known if one.epoch == epoch)
            late = members_without(view, known, epoch)
            if late:
                statements = [roster.members[node].statement for node in late]
                more = extend_grant(admin.signer, grant, keys[epoch], statements, draw)
                assert more.epoch == epoch
                grants.append(more)
        else:
            key = draw(32)
            grant = make_grant(admin.signer, view, next_number(known), key, draw)
            keys[grant.epoch] = key
            grants.append(grant)
    log = log_of(operations)
    roster = log.fold()
    for node in PEOPLE:
        epoch = choose_sending_epoch(log, grants, node.id)
        if epoch is None:
            continue
        holders = {one for g in grants if g.epoch == epoch for one in g.sealed}
        assert not holders - roster.members.keys()
        assert node.id in holders
    # All who know the same choose the same, and what is chosen covers all endings.
    chosen = choose_sending_epoch(log, grants)
    if chosen is None:
        assert needs_new_epoch(log, grants)
    else:
        grant = next(one for one in grants if one.epoch == chosen)
        assert not log.endings_after(grant.heads)
        assert choose_sending_epoch(log, list(reversed(grants))) == chosen


@settings(max_examples=40, deadline=None)
@given(histories(most=12))
def test_one_new_epoch_by_any_admin_serves_all_members_again(operations):
    log = log_of(operations)
    roster = log.fold()
    admins = [node for node in PEOPLE if roster.is_admin(node.id)]
    assert bool(admins) == bool(roster.members)
    if not admins:
        return  # everybody has left
    grant = make_grant(admins[-1].signer, log, 1, bytes(32), drawer())
    assert set(grant.sealed) == set(roster.members)
    assert not needs_new_epoch(log, [grant])
    for node in PEOPLE:
        expected = grant.epoch if roster.is_member(node.id) else None
        assert choose_sending_epoch(log, [grant], node.id) == expected
