"""What an invite's machines check of frames that know the secret: each check, once."""

import hashlib
import zlib
from pathlib import Path

import pytest

from fonshare_agent.errors import PeerError
from fonshare_agent.protocol.admission import Admission
from fonshare_agent.protocol.codes import invite_keys
from fonshare_agent.protocol.epochs import extend_grant, make_grant
from fonshare_agent.protocol.invite import Finished, InviterState, JoinerState, Refused
from fonshare_agent.protocol.invite_messages import (
    CHUNK_BYTES,
    PAGES_MAX,
    Kind,
    make_notice,
    make_page,
    make_reply,
    make_reveal,
    open_frame,
    page_count,
    read_page,
    read_reply,
    seal_frame,
)
from fonshare_agent.protocol.invite_states import INVITER_STEPS, JOINER_STEPS
from fonshare_agent.protocol.keys import Context, KeyStatement, encrypt, seal_to
from fonshare_agent.protocol.operations import Admit, NameAdmin, Remove
from fonshare_agent.protocol.roster import OperationLog
from fonshare_agent.protocol.signed import sign_record, to_text
from invite_homes import BROKER, InviterHome, JoinerHome, meet
from membership import ANNA, BEN, BROKERS, CLEO, drawer


def undecided():
    """Both have the words; neither person has said anything."""
    inviter, joiner, wire = meet()
    inviter.decides = joiner.decides = lambda machine: None
    wire.run(30.0)
    assert inviter.machine.state is InviterState.CONFIRMING
    assert joiner.machine.state is JoinerState.CONFIRMING
    return inviter, joiner, wire


def accepted():
    """The joiner's person has agreed and waits for the admission."""
    inviter, joiner, wire = undecided()
    joiner.machine.accept()
    joiner.step()
    return inviter, joiner, wire


def to_inviter(joiner, kind, content):
    return seal_frame(kind, content, invite_keys(joiner.code.secret)[0], drawer())


def to_joiner(joiner, kind, content):
    return seal_frame(kind, content, invite_keys(joiner.code.secret)[1], drawer())


# --- frames ---


@pytest.mark.parametrize("size", [511, 513, 600, 2047])
def test_a_frame_of_an_odd_size_is_refused_though_it_opens(size):
    _, joiner, _ = undecided()
    key = invite_keys(joiner.code.secret)[1]
    head = to_joiner(joiner, Kind.NONCE, bytes(32))[:17]
    frame = head + bytes(24) + encrypt(bytes(size - 57), head, bytes(24), key)
    assert len(frame) == size
    with pytest.raises(PeerError, match="no invite frame"):
        joiner.machine.receive(frame, 30.0)


def test_padding_that_is_not_zero_is_refused():
    key = bytes(32)
    head = seal_frame(Kind.KNOCK, bytes(32), key, drawer())[:17]
    plain = b"\x01" + (32).to_bytes(4, "big") + bytes(32)
    good = plain.ljust(512 - 57, b"\0")
    frame = head + bytes(24) + encrypt(good, head, bytes(24), key)
    assert open_frame(frame, key) == (Kind.KNOCK, bytes(32))
    frame = head + bytes(24) + encrypt(good[:-1] + b"\1", head, bytes(24), key)
    with pytest.raises(PeerError, match="padding"):
        open_frame(frame, key)


def test_a_frame_of_another_version_is_told_apart():
    frame = seal_frame(Kind.KNOCK, bytes(32), bytes(32), drawer())
    with pytest.raises(PeerError, match="version 2"):
        open_frame(b"\x02" + frame[1:], bytes(32))


def test_a_frame_cannot_be_sent_back_to_where_it_came_from():
    _, joiner, wire = undecided()
    inviter_topic = next(iter(joiner.machine.topics()))
    from_joiner = next(p for topic, p in wire.passed if topic != inviter_topic)
    with pytest.raises(PeerError):
        joiner.machine.receive(from_joiner, 30.0)


# --- what the inviter is told ---


def test_a_reveal_cannot_be_relabelled_as_a_refusal():
    inviter, joiner, _ = undecided()
    relabelled = to_inviter(joiner, Kind.REFUSE, joiner.machine._reveal_record())
    with pytest.raises(PeerError, match="another invite"):
        inviter.machine.receive(relabelled, 30.0)
    assert inviter.machine.state is InviterState.CONFIRMING


def test_a_reveal_after_another_reply_is_refused():
    inviter, joiner, _ = meet()
    joiner.machine.handle_timer(0.0)
    ((_, knock),) = joiner.step()
    inviter.machine.receive(knock, 0.0)
    machine = joiner.machine
    record = make_reveal(
        BEN.signer,
        Kind.REVEAL,
        machine._invite,
        BEN.statement,
        machine._nonce,
        b"another reply",
    )
    with pytest.raises(PeerError, match="was not given"):
        inviter.machine.receive(to_inviter(joiner, Kind.REVEAL, record), 0.0)
    assert inviter.machine.state is InviterState.ANSWERED


def test_another_than_the_joiner_cannot_refuse_for_it():
    inviter, joiner, _ = undecided()
    record = make_reveal(
        CLEO.signer,
        Kind.REFUSE,
        joiner.machine._invite,
        CLEO.statement,
        bytes(32),
        b"",
        "refused",
    )
    inviter.machine.receive(to_inviter(joiner, Kind.REFUSE, record), 30.0)
    assert inviter.machine.state is InviterState.CONFIRMING


def test_nobody_speaks_with_another_node_s_key_statement():
    invite = bytes(16)
    record = make_reply(CLEO.signer, invite, bytes(32), ANNA.statement, b"n", "Films")
    with pytest.raises(PeerError, match="another node's"):
        read_reply(record, invite)


def test_an_invite_that_is_over_answers_nobody():
    inviter, joiner, wire = undecided()
    inviter.machine.refuse()
    wire.homes = [inviter]
    wire.run(10 * 3600.0)
    assert inviter.saw(Finished)
    assert inviter.machine.state is InviterState.OVER
    assert inviter.machine.next_deadline() is None
    inviter.machine.receive(
        to_inviter(joiner, Kind.KNOCK, joiner.machine._knock()), wire.now
    )
    assert inviter.step() == []


def test_each_further_joiner_is_refused_and_the_person_told_once():
    inviter, joiner, _ = undecided()
    inviter.step()
    told = len(inviter.seen)
    for number in range(3):
        other = to_inviter(joiner, Kind.KNOCK, bytes([number]) * 32)
        inviter.machine.receive(other, 30.0)
        assert len(inviter.step()) == 1
    assert len(inviter.seen) == told + 1


# --- what the joiner is told ---


def test_a_refusal_of_another_s_knock_is_not_for_this_joiner():
    _, joiner, _ = undecided()
    machine = joiner.machine
    record = make_notice(ANNA.signer, Kind.REFUSE, machine._invite, bytes(32), "no")
    with pytest.raises(PeerError, match="another joiner"):
        machine.receive(to_joiner(joiner, Kind.REFUSE, record), 30.0)
    assert machine.state is JoinerState.CONFIRMING


def page_frames(joiner, sealed, transcript=None):
    machine = joiner.machine
    seen = transcript or machine._transcript()
    for part in range(page_count(sealed)):
        record = make_page(ANNA.signer, machine._invite, seen, sealed, part)
        yield to_joiner(joiner, Kind.PAGE, record)


def seal_admission(packed):
    seed, nonce = drawer(b"seal")(32), drawer(b"nonce")(24)
    return seal_to(BEN.sealing.public, packed, seed, nonce, Context.SEALED_INVITE)


def good_parts():
    log = OperationLog(ANNA.creates())
    log.append(ANNA.signer, Admit(BEN.statement))
    return log, [make_grant(ANNA.signer, log, 1, bytes(32), drawer())]


def give(joiner, log, grants):
    raws = tuple(grant.raw for grant in grants)
    admission = Admission(tuple(log.raw_operations()), raws, BROKERS, "Films")
    for frame in page_frames(joiner, seal_admission(admission.encode())):
        joiner.machine.receive(frame, 30.0)
    joiner.step()


def test_an_admission_for_other_words_is_refused():
    _, joiner, _ = accepted()
    (frame,) = page_frames(joiner, bytes(100), transcript=bytes(32))
    with pytest.raises(PeerError, match="other words"):
        joiner.machine.receive(frame, 30.0)
    assert joiner.machine.state is JoinerState.ACCEPTED


def test_pages_of_two_admissions_do_not_mix():
    _, joiner, _ = accepted()
    log, grants = good_parts()
    first, _ = page_frames(joiner, bytes(CHUNK_BYTES + 1))
    joiner.machine.receive(first, 30.0)
    give(joiner, log, grants)
    assert joiner.is_admitted


def test_pages_that_do_not_make_the_promised_whole_are_a_fault():
    _, joiner, _ = accepted()
    machine = joiner.machine
    log, grants = good_parts()
    raws = tuple(grant.raw for grant in grants)
    packed = Admission(tuple(log.raw_operations()), raws, BROKERS, "Films").encode()
    fields = {
        "kind": int(Kind.PAGE),
        "invite": to_text(machine._invite),
        "transcript": to_text(machine._transcript()),
        "part": 0,
        "parts": 1,
        "digest": to_text(hashlib.sha256(b"another").digest()),
        "chunk": to_text(seal_admission(packed)),
    }
    record = sign_record(ANNA.signer, Context.INVITE_REPLY, fields)
    machine.receive(to_joiner(joiner, Kind.PAGE, record), 30.0)
    assert machine.state is JoinerState.REFUSING
    for part, parts in ((1, 1), (0, 0), (0, PAGES_MAX + 1)):
        odd = {**fields, "part": part, "parts": parts}
        with pytest.raises(PeerError, match="pages"):
            read_page(
                sign_record(ANNA.signer, Context.INVITE_REPLY, odd), machine._invite
            )


def test_an_admission_counts_if_all_fits():
    _, joiner, _ = accepted()
    give(joiner, *good_parts())
    assert joiner.is_admitted


def test_an_admission_after_which_the_joiner_is_no_member_is_a_fault():
    _, joiner, _ = accepted()
    log, _ = good_parts()
    log.append(ANNA.signer, Remove(BEN.id))
    grant = make_grant(ANNA.signer, log, 2, bytes(32), drawer())
    more = extend_grant(ANNA.signer, grant, bytes(32), [BEN.statement], drawer())
    give(joiner, log, [grant, more])
    assert joiner.saw(Refused) == [Refused("bad_admission", by_peer=False)]


def test_an_admission_by_one_who_is_no_admin_is_a_fault():
    _, joiner, _ = accepted()
    log = OperationLog(CLEO.creates())
    log.append(CLEO.signer, Admit(ANNA.statement))
    log.append(CLEO.signer, Admit(BEN.statement))
    grants = [make_grant(CLEO.signer, log, 1, bytes(32), drawer())]
    give(joiner, log, grants)
    assert joiner.saw(Refused) == [Refused("bad_admission", by_peer=False)]


def test_an_admission_by_an_admin_who_did_not_create_the_group_counts():
    _, joiner, _ = accepted()
    log = OperationLog(CLEO.creates())
    log.append(CLEO.signer, Admit(ANNA.statement))
    log.append(CLEO.signer, NameAdmin(ANNA.id))
    log.append(ANNA.signer, Admit(BEN.statement))
    give(joiner, log, [make_grant(CLEO.signer, log, 1, bytes(32), drawer())])
    assert joiner.is_admitted


def test_an_admission_whose_copy_is_sealed_to_another_key_is_a_fault():
    _, joiner, _ = accepted()
    log, _ = good_parts()
    other = KeyStatement.make(BEN.signer, "Ben", 2, bytes(32), CLEO.sealing.public)
    roster = log.fold().with_statement(other)
    give(joiner, log, [make_grant(ANNA.signer, roster, 1, bytes(32), drawer())])
    assert joiner.saw(Refused) == [Refused("bad_admission", by_peer=False)]


def test_an_admission_with_something_behind_it_is_refused():
    packed = Admission((), (), BROKERS, "Films").encode()
    assert Admission.decode(packed).label == "Films"
    for bad in (packed + b"x", packed[:-1], b"", b"no", zlib.compress(b"[]")):
        with pytest.raises(PeerError):
            Admission.decode(bad)


def test_an_admission_that_is_too_long_is_not_made():
    many = tuple(bytes([n % 251]) * 60000 for n in range(200))
    with pytest.raises(ValueError, match="too long"):
        Admission(many, (), BROKERS, "Films").encode()


def test_a_code_holds_what_its_inviter_was_given():
    inviter = InviterHome(ca_pin=b"p" * 32)
    joiner = JoinerHome(inviter.machine.code)
    assert joiner.code.broker_url == BROKER
    assert joiner.code.ca_pin == b"p" * 32
    assert joiner.code.label == "Films"
    state = repr(inviter.machine.take_events())
    assert to_text(joiner.code.secret) not in state
    assert inviter.machine.code.encode() not in state


def test_the_document_s_state_tables_are_the_code_s():
    text = (Path(__file__).parents[1] / "docs/protocol/invite.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    expected = [
        f"| {state.value} | {step.value} | {to.value} |".replace("_", " ")
        for steps in (INVITER_STEPS, JOINER_STEPS)
        for (state, step), to in steps.items()
    ]
    first = lines.index("| inviter | on | becomes |")
    table = [line for line in lines[first:] if "on | becomes" not in line]
    assert [line for line in table if not line.startswith("| ---")] == expected
