"""Invites under attack: by who knows the code, the broker, or just bytes."""

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import PeerError
from fonshare_agent.protocol.codes import invite_keys
from fonshare_agent.protocol.invite import (
    Invitation,
    InviterState,
    JoinerState,
    Refused,
    SecondJoinerRefused,
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
from invite_homes import InviterHome, JoinerHome, Wire, meet
from membership import ANNA, BEN, BROKERS, CLEO, drawer


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
    assert len(inviter.saw(SecondJoinerRefused)) == 1
    assert inviter.machine.peer.name == "Cleo"
    assert not joiner.is_admitted
    # The refusal went over the first one's topic too and did it no harm.
    assert not racer.saw(Refused)


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
