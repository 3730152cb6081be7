"""Invites over a bad line: both become members, or neither; nobody else does."""

import random
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import NotAllowed, PeerError
from fonshare_agent.protocol.codes import InviteCode, invite_keys
from fonshare_agent.protocol.epochs import extend_grant, make_grant
from fonshare_agent.protocol.invite import (
    AdmissionWanted,
    Admitted,
    CodeSpent,
    Expired,
    Finished,
    Invitation,
    InviterKnown,
    InviterState,
    JoinerAdmitted,
    JoinerKnown,
    JoinerState,
    Joining,
    Refused,
    SecondJoinerRefused,
    StateChanged,
)
from fonshare_agent.protocol.invite_messages import (
    Kind,
    make_agreement,
    open_frame,
    read_reply,
    seal_frame,
)
from fonshare_agent.protocol.invite_states import INVITER_STEPS, JOINER_STEPS
from fonshare_agent.protocol.operations import Admit
from fonshare_agent.protocol.roster import OperationLog
from membership import ANNA, BEN, BROKERS, CLEO, drawer

BROKER = "mqtt://broker.example"
EPOCH_KEY = bytes(range(32))


class Home:
    """One side: a machine, what it stored, and what its person saw."""

    def __init__(self, node, seed):
        self.node, self.draw = node, drawer(seed)
        self.disk = None
        self.seen = []
        self.decides = lambda machine: machine.accept()

    def start(self, machine):
        self.machine = machine
        return self

    def restart(self, now):
        """Lose power: go on from what was stored."""
        self.machine = self.load(now)

    def step(self, stores=True):
        """Act on events, store, and return the frames; False: the power goes first."""
        while events := self.machine.take_events():
            for event in events:
                if isinstance(event, StateChanged):
                    if not stores:
                        return []
                    self.disk = event.state
                    self.machine.stored(event.version)
                else:
                    self.seen.append(event)
                    self.act(event)
        return self.machine.take_frames()

    def act(self, event):
        if isinstance(event, JoinerKnown | InviterKnown):
            self.decides(self.machine)

    def saw(self, kind):
        return [event for event in self.seen if isinstance(event, kind)]


class InviterHome(Home):
    def __init__(self, seed=b"inviter", **options):
        super().__init__(ANNA, seed)
        self.log = OperationLog(ANNA.creates())
        self.grants = [make_grant(ANNA.signer, self.log, 1, EPOCH_KEY, self.draw)]
        self.start(
            Invitation.begin(
                ANNA.signer, ANNA.statement, "Films", BROKER, self.draw, 0.0, **options
            )
        )

    def load(self, now):
        return Invitation.from_dict(self.disk, ANNA.signer, self.draw, now)

    def act(self, event):
        super().act(event)
        if isinstance(event, AdmissionWanted):
            self.admit(event)

    def admit(self, event):
        if not self.log.fold().is_member(event.node_id):
            joiner = next(n for n in (BEN, CLEO) if n.id == event.node_id)
            self.log.append(ANNA.signer, Admit(joiner.statement))
            self.grants.append(
                extend_grant(
                    ANNA.signer,
                    self.grants[0],
                    EPOCH_KEY,
                    [joiner.statement],
                    self.draw,
                )
            )
        raws = [grant.raw for grant in self.grants]
        self.machine.admit(self.log.raw_operations(), raws, BROKERS)

    @property
    def is_admitted(self):
        return bool(self.saw(JoinerAdmitted)) and not self.saw(Refused)


class JoinerHome(Home):
    def __init__(self, code, node=BEN, seed=b"joiner", now=0.0):
        super().__init__(node, seed)
        self.code = InviteCode.parse(code.encode())
        self.start(
            Joining(self.code, node.signer, node.statement, self.keys, self.draw, now)
        )

    def keys(self):
        return [self.node.sealing]

    def load(self, now):
        return Joining.from_dict(self.disk, self.node.signer, self.keys, self.draw, now)

    @property
    def is_admitted(self):
        return bool(self.saw(Admitted))


@dataclass
class Wire:
    """Delivers after a random while, or not, or twice, in any order."""

    homes: list
    rng: random.Random
    loss: float = 0.0
    now: float = 0.0

    def __post_init__(self):
        self.flying = []
        self.passed = []  # all frames ever, for those who listen

    def carry(self, home, stores=True):
        for topic, payload in home.step(stores):
            self.passed.append((topic, payload))
            for _ in range(self.rng.choice((1, 1, 1, 2))):
                if self.rng.random() >= self.loss:
                    at = self.now + self.rng.uniform(0.01, 5.0 if self.loss else 0.02)
                    self.flying.append((at, topic, payload))
        if self.loss and self.passed and self.rng.random() < 0.1:
            self.flying.append((self.now + 1.0, *self.rng.choice(self.passed)))

    def run(self, until, each=lambda: None):
        """Play until *until*, or until nothing is left to do."""
        for home in self.homes:
            self.carry(home)
        while (due := self._next()) is not None and due <= until:
            self.now = max(self.now, due)
            arrived = [one for one in self.flying if one[0] <= self.now]
            self.flying = [one for one in self.flying if one[0] > self.now]
            for home in self.homes:
                home.machine.handle_timer(self.now)
                for _, topic, payload in arrived:
                    if topic in home.machine.topics():
                        home.machine.receive(payload, self.now)
                        self.carry(home)
                self.carry(home)
            each()
        self.now = until

    def _next(self):
        due = [one[0] for one in self.flying]
        for home in self.homes:
            deadline = home.machine.next_deadline()
            due += [] if deadline is None else [max(deadline, self.now)]
        return min(due, default=None)


def meet(inviter=None, **wire):
    inviter = inviter or InviterHome()
    joiner = JoinerHome(inviter.machine.code)
    return inviter, joiner, Wire([inviter, joiner], random.Random(1), **wire)


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


# --- attackers ---


class ImpostorHome(InviterHome):
    """Knows the code, but has its own identity."""

    def __init__(self, code):
        super().__init__()
        self.start(Invitation(code, CLEO.signer, CLEO.statement, self.draw, 0.0))


def test_who_knows_the_code_but_is_not_the_inviter_is_not_believed():
    genuine = InviterHome()
    code = genuine.machine.code
    impostor, joiner = ImpostorHome(code), JoinerHome(code)
    impostor.step()
    joiner.machine.handle_timer(0.0)
    ((_, knock),) = joiner.step()
    impostor.machine.receive(knock, 0.0)
    ((_, reply),) = impostor.step()
    with pytest.raises(PeerError, match="code names"):
        joiner.machine.receive(reply, 1.0)
    assert joiner.machine.state is JoinerState.KNOCKING
    # Nor can it end the joining: the genuine inviter still gets through.
    impostor.machine.refuse()
    for _, frame in impostor.step():
        with pytest.raises(PeerError, match="code names"):
            joiner.machine.receive(frame, 1.0)
    Wire([genuine, joiner], random.Random(1)).run(60.0)
    assert joiner.is_admitted


def test_who_knows_the_code_and_comes_first_makes_the_right_joiner_the_second():
    inviter, joiner, wire = meet()
    inviter.decides = joiner.decides = lambda machine: None
    racer = JoinerHome(inviter.machine.code, CLEO, b"racer")
    wire.homes = [inviter, racer]
    wire.run(30.0)
    wire.homes = [inviter, racer, joiner]
    _run_ignoring_forgeries(wire, 60.0)
    assert inviter.saw(SecondJoinerRefused)
    assert joiner.saw(Refused) == [Refused("second_joiner", by_peer=True)]
    assert inviter.machine.peer.name == "Cleo"
    assert not joiner.is_admitted


def _run_ignoring_forgeries(wire, until):
    """Every joiner hears what is meant for the others, and throws it away."""
    for home in wire.homes:
        machine = home.machine
        receive = machine.receive

        def tolerant(payload, now, receive=receive):
            try:
                receive(payload, now)
            except PeerError:
                wire.refused = getattr(wire, "refused", 0) + 1

        machine.receive = tolerant
    wire.run(until)


def handshake_frames():
    """Every frame of a good run, by the machine that must read it."""
    inviter, joiner, wire = meet()
    wire.run(60.0)
    return inviter, joiner, wire


def test_frames_of_another_invite_of_the_same_inviter_are_refused():
    _inviter, joiner, _wire = meet()
    other = InviterHome(b"another code")
    victim = JoinerHome(other.machine.code)
    # Someone who has both codes carries the joiner's words to the other group.
    other.step()
    joiner.machine.handle_timer(0.0)
    ((_, knock),) = joiner.step()
    moved = reseal(knock, joiner, other)
    other.machine.receive(moved, 0.0)
    ((_, reply),) = other.step()
    with pytest.raises(PeerError, match="another invite"):
        joiner.machine.receive(reseal_back(reply, other, joiner), 1.0)
    assert victim.machine.state is JoinerState.KNOCKING


def reseal(frame, sender, receiver):
    kind, content = open_frame(frame, invite_keys(sender.code.secret)[0])
    key = invite_keys(receiver.machine.code.secret)[0]
    return seal_frame(kind, content, key, drawer(b"mallory"))


def reseal_back(frame, sender, receiver):
    kind, content = open_frame(frame, invite_keys(sender.machine.code.secret)[1])
    key = invite_keys(receiver.code.secret)[1]
    return seal_frame(kind, content, key, drawer(b"mallory"))


def test_a_nonce_that_was_not_committed_to_is_refused_by_the_joiner():
    inviter, joiner, _wire = meet()
    joiner.machine.handle_timer(0.0)
    exchange(joiner, inviter)
    exchange(inviter, joiner)
    assert joiner.machine.state is JoinerState.REVEALING
    key = invite_keys(joiner.code.secret)[1]
    with pytest.raises(PeerError, match="commit"):
        joiner.machine.receive(seal_frame(Kind.NONCE, bytes(32), key, drawer()), 1.0)
    assert joiner.machine.state is JoinerState.REVEALING


def test_a_reveal_of_another_than_the_one_who_knocked_is_refused():
    inviter, joiner, _wire = meet()
    joiner.machine.handle_timer(0.0)
    exchange(joiner, inviter)
    other = JoinerHome(inviter.machine.code, CLEO, b"mallory")
    other.machine.state = JoinerState.REVEALING
    other.machine._reply = read_reply(inviter.machine._reply, inviter.machine._invite)
    other.machine.handle_timer(0.0)
    ((_, reveal),) = other.step()
    with pytest.raises(PeerError, match="commit"):
        inviter.machine.receive(reveal, 1.0)
    assert inviter.machine.state is InviterState.ANSWERED


def test_an_acceptance_by_another_than_the_joiner_is_refused():
    inviter, joiner, wire = meet()
    joiner.decides = lambda machine: None
    wire.run(30.0)
    machine = inviter.machine
    for signer, words_of in ((CLEO.signer, machine._transcript()), (BEN.signer, b"")):
        seen = words_of or bytes(32)
        record = make_agreement(signer, Kind.ACCEPT, machine._invite, seen)
        key = invite_keys(joiner.code.secret)[0]
        with pytest.raises(PeerError, match="not the joiner's"):
            machine.receive(seal_frame(Kind.ACCEPT, record, key, drawer()), 31.0)
    assert machine.state is InviterState.AWAITING_JOINER


def test_an_admission_whose_roster_lacks_the_joiner_is_told_as_a_fault():
    inviter, joiner, wire = meet()
    raws = inviter.log.raw_operations()
    grants = [grant.raw for grant in inviter.grants]
    inviter.admit = lambda event: inviter.machine.admit(raws, grants, BROKERS)
    wire.run(60.0)
    assert not joiner.is_admitted
    assert joiner.saw(Refused) == [Refused("bad_admission", by_peer=False)]
    assert Refused("bad_admission", by_peer=True) in inviter.saw(Refused)


def test_an_admission_without_an_epoch_key_for_the_joiner_is_told_as_a_fault():
    inviter, joiner, wire = meet()

    def admit(event):
        inviter.log.append(ANNA.signer, Admit(BEN.statement))
        raws = [grant.raw for grant in inviter.grants]
        inviter.machine.admit(inviter.log.raw_operations(), raws, BROKERS)

    inviter.admit = admit
    wire.run(60.0)
    assert joiner.saw(Refused) == [Refused("bad_admission", by_peer=False)]


def test_the_broker_sees_neither_names_nor_addresses_nor_kinds():
    _inviter, _joiner, wire = handshake_frames()
    heads = {payload[:17] for _, payload in wire.passed}
    assert len(heads) == 2  # one a direction: version and tag, as every envelope
    for topic, payload in wire.passed:
        assert topic.startswith("fonshare/")
        for secret in (b"Anna", b"Ben", b"Films", b"broker", b"statement"):
            assert secret not in payload


@pytest.fixture(scope="module")
def undecided():
    """Two sides that look at the words, and what the broker carried."""
    inviter, joiner, wire = meet()
    inviter.decides = joiner.decides = lambda machine: None
    wire.run(30.0)
    for home in (inviter, joiner):
        home.machine.handle_timer(30.0)
        home.step()
    return inviter, joiner, wire


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_strangers_bytes_raise_nothing_but_a_peer_error_and_change_nothing(
    undecided, data
):
    inviter, joiner, wire = undecided
    home = data.draw(st.sampled_from((inviter, joiner)))
    before = home.machine.to_dict()
    key = invite_keys(joiner.code.secret)[0 if home is inviter else 1]
    kind = data.draw(st.integers(0, 10))
    content = data.draw(st.binary(max_size=300))
    genuine = [p for topic, p in wire.passed if topic in home.machine.topics()]
    frame = data.draw(
        st.binary(max_size=600)
        | st.binary(min_size=512, max_size=512)
        | st.just(seal_frame(kind, content, key, drawer()))
        | st.sampled_from(genuine).map(flip_last)
    )
    with suppress(PeerError):
        home.machine.receive(frame, 30.0)
    assert home.machine.to_dict() == before
    assert not home.machine.take_frames()


def flip_last(payload):
    return payload[:-1] + bytes([payload[-1] ^ 1])


def exchange(sender, receiver, now=0.0):
    for _, payload in sender.step():
        receiver.machine.receive(payload, now)


def test_every_state_but_the_last_can_end():
    for steps, last in (
        (INVITER_STEPS, InviterState.OVER),
        (JOINER_STEPS, JoinerState.OVER),
    ):
        states = {state for state, _ in steps}
        assert states == set(type(last)) - {last}
        reached = {last}
        while more := {s for (s, _), to in steps.items() if to in reached} - reached:
            reached |= more
        assert reached == set(type(last))
