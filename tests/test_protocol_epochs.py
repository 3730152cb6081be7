"""Epochs: nobody seals under a key that somebody removed can hold."""

import pytest

from fonshare_agent.errors import BadGrant, PeerError
from fonshare_agent.protocol.epochs import (
    EpochGrant,
    choose_sending_epoch,
    extend_grant,
    is_valid,
    make_grant,
    members_without,
    needs_new_epoch,
    next_number,
)
from fonshare_agent.protocol.keys import Context
from fonshare_agent.protocol.operations import (
    Admit,
    Leave,
    NameAdmin,
    Remove,
    UnnameAdmin,
)
from fonshare_agent.protocol.roster import OperationLog
from fonshare_agent.protocol.signed import sign_record, to_text
from membership import ANNA, BEN, CLEO, DORA, Node, drawer

KEY, NEXT_KEY = bytes(range(32)), bytes(range(1, 33))
OTHER = to_text(b"o" * 32)


def grow(*members):
    """A group of Anna's with *members*, and its first epoch."""
    log = OperationLog(ANNA.creates())
    for member in members:
        log.append(ANNA.signer, Admit(member.statement))
    return log, make_grant(ANNA.signer, log, 1, KEY, drawer())


def test_every_member_opens_its_own_copy_and_no_other():
    log, grant = grow(BEN, CLEO)
    again = EpochGrant.decode(grant.raw)
    for node in (ANNA, BEN, CLEO):
        assert again.open_for(node.id, [node.sealing]) == KEY
    with pytest.raises(BadGrant):
        again.open_for(DORA.id, [DORA.sealing])
    with pytest.raises(BadGrant):
        again.open_for(BEN.id, [CLEO.sealing])
    assert choose_sending_epoch(log, [again], BEN.id) == grant.epoch


def test_after_a_removal_nobody_seals_until_a_grant_covers_it():
    log, grant = grow(BEN, CLEO)
    assert not needs_new_epoch(log, [grant])
    log.append(ANNA.signer, Remove(CLEO.id))
    assert choose_sending_epoch(log, [grant]) is None
    assert needs_new_epoch(log, [grant])
    newer = make_grant(ANNA.signer, log, next_number([grant]), NEXT_KEY, drawer())
    assert CLEO.id not in newer.sealed
    assert choose_sending_epoch(log, [grant, newer]) == newer.epoch
    assert not needs_new_epoch(log, [grant, newer])


def test_a_newcomer_gets_the_same_epoch_from_any_admin():
    log, grant = grow(BEN)
    log.append(ANNA.signer, NameAdmin(BEN.id))
    log.append(BEN.signer, Admit(CLEO.statement))
    assert members_without(log, [grant], grant.epoch) == {CLEO.id}
    more = extend_grant(BEN.signer, grant, KEY, [CLEO.statement], drawer(b"x"))
    assert more.epoch == grant.epoch
    assert is_valid(more, log)
    assert more.open_for(CLEO.id, [CLEO.sealing]) == KEY
    assert choose_sending_epoch(log, [grant, more], CLEO.id) == grant.epoch


def test_an_epoch_key_opens_with_the_sealing_key_before_too():
    log, grant = grow(BEN)
    older = [CLEO.sealing, BEN.sealing]
    assert grant.open_for(BEN.id, older) == KEY
    assert log.fold().is_member(BEN.id)


def test_a_leave_ends_an_epoch_as_a_removal_does():
    log, grant = grow(BEN, CLEO)
    log.append(CLEO.signer, Leave())
    assert choose_sending_epoch(log, [grant]) is None
    assert needs_new_epoch(log, [grant])


def test_an_admission_needs_no_new_epoch():
    log, grant = grow(BEN)
    log.append(ANNA.signer, Admit(CLEO.statement))
    assert choose_sending_epoch(log, [grant], BEN.id) == grant.epoch
    assert choose_sending_epoch(log, [grant], CLEO.id) is None
    assert not needs_new_epoch(log, [grant])


def test_a_grant_by_a_member_who_is_no_admin_is_not_used():
    log, _ = grow(BEN)
    grant = make_grant(BEN.signer, log, 2, NEXT_KEY, drawer())
    assert not is_valid(grant, log)
    assert choose_sending_epoch(log, [grant]) is None


def test_an_epoch_of_an_admin_who_was_unnamed_is_replaced_and_still_read():
    log, _ = grow(BEN, CLEO)
    log.append(ANNA.signer, NameAdmin(BEN.id))
    grant = make_grant(BEN.signer, log, 2, NEXT_KEY, drawer())
    assert choose_sending_epoch(log, [grant]) == grant.epoch
    log.append(ANNA.signer, UnnameAdmin(BEN.id))
    assert is_valid(grant, log)
    assert choose_sending_epoch(log, [grant]) is None
    assert needs_new_epoch(log, [grant])


def test_a_grant_that_names_unknown_heads_waits_for_them():
    log, _ = grow(BEN)
    ahead = OperationLog.from_raw(log.raw_operations())
    more = ahead.append(ANNA.signer, Admit(CLEO.statement))
    grant = make_grant(ANNA.signer, ahead, 2, NEXT_KEY, drawer())
    assert not is_valid(grant, log)
    log.add(more)
    assert is_valid(grant, log)


def test_of_two_epochs_with_one_number_all_send_with_the_same_until_merged():
    log, first = grow(BEN)
    log.append(ANNA.signer, NameAdmin(BEN.id))
    one = make_grant(ANNA.signer, log, 2, KEY, drawer(b"one"))
    other = make_grant(BEN.signer, log, 2, NEXT_KEY, drawer(b"other"))
    lower = min(one, other, key=lambda grant: grant.epoch.commitment)
    assert choose_sending_epoch(log, [first, one, other]) == lower.epoch
    assert choose_sending_epoch(log, [other, one, first]) == lower.epoch
    assert needs_new_epoch(log, [first, one, other])
    merged = make_grant(ANNA.signer, log, 3, KEY, drawer(b"merged"))
    assert next_number([first, one, other]) == 3
    assert choose_sending_epoch(log, [merged, one, other]) == merged.epoch
    assert not needs_new_epoch(log, [merged, one, other])


def test_an_old_key_with_newer_heads_is_another_epoch():
    log, grant = grow(BEN, CLEO)
    log.append(ANNA.signer, Remove(CLEO.id))
    newer = fields_of(grant, heads=[to_text(head) for head in log.heads()])
    forged = EpochGrant.decode(signed(ANNA.signer, newer))
    assert forged.epoch != grant.epoch
    assert forged.open_for(BEN.id, [BEN.sealing]) == KEY


def test_a_grant_for_another_group_is_not_used():
    log, grant = grow(BEN)
    moved = EpochGrant.decode(signed(ANNA.signer, fields_of(grant, group=OTHER)))
    assert is_valid(grant, log)
    assert not is_valid(moved, log)


def test_an_extension_with_another_key_is_refused_when_made_and_when_opened():
    _, grant = grow(BEN)
    with pytest.raises(BadGrant, match="commits"):
        extend_grant(ANNA.signer, grant, NEXT_KEY, [CLEO.statement], drawer())
    sealed = make_grant(ANNA.signer, grow(BEN)[0], 1, NEXT_KEY, drawer()).sealed
    copies = {to_text(node): to_text(copy) for node, copy in sealed.items()}
    forged = EpochGrant.decode(signed(ANNA.signer, fields_of(grant, sealed=copies)))
    with pytest.raises(BadGrant, match="commits"):
        forged.open_for(BEN.id, [BEN.sealing])


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"number": -1},
        {"number": 2**63},
        {"number": True},
        {"number": 1.0},
        {"heads": []},
        {"heads": "x"},
        {"sealed": {}},
        {"sealed": []},
        {"sealed": {OTHER: "short"}},
        {"sealed": {"short": to_text(bytes(104))}},
        {"sealed": {to_text(bytes([n]) * 32): to_text(bytes(104)) for n in range(65)}},
        {"group": to_text(bytes(31))},
        {"key_commitment": None},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_well_signed_grant_that_makes_no_sense_is_refused(changes):
    _, grant = grow(BEN)
    assert EpochGrant.decode(signed(ANNA.signer, fields_of(grant))) == grant
    with pytest.raises(PeerError):
        EpochGrant.decode(signed(ANNA.signer, fields_of(grant, **changes)))


def test_any_changed_byte_of_a_grant_is_refused():
    raw = grow(BEN)[1].raw
    for at in range(0, len(raw), 3):
        with pytest.raises(PeerError):
            EpochGrant.decode(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :])


def test_a_copy_that_cannot_be_opened_raises_nothing_but_a_peer_error():
    _, grant = grow(BEN)
    for copy in (bytes(104), b"\x01" * 104):
        copies = {to_text(BEN.id): to_text(copy)}
        bad = EpochGrant.decode(signed(ANNA.signer, fields_of(grant, sealed=copies)))
        with pytest.raises(PeerError):
            bad.open_for(BEN.id, [BEN.sealing])


def test_a_full_group_s_grant_with_many_heads_still_fits_a_record():
    crowd = [Node(number, "x" * 64) for number in range(200, 263)]
    log, _ = grow(*crowd)
    grant = make_grant(ANNA.signer, log, 1, KEY, drawer())
    assert len(grant.sealed) == 64
    heads = [to_text(bytes([n]) * 32) for n in range(256)]
    wide = signed(ANNA.signer, fields_of(grant, heads=heads))
    assert len(EpochGrant.decode(wide).heads) == 256


def fields_of(grant, **changes):
    fields = {
        "group": to_text(grant.group),
        "number": grant.number,
        "heads": [to_text(head) for head in grant.heads],
        "key_commitment": to_text(grant.key_commitment),
        "sealed": {to_text(node): to_text(one) for node, one in grant.sealed.items()},
    }
    return {**fields, **changes}


def signed(signer, fields):
    return sign_record(signer, Context.EPOCH_GRANT, fields)
