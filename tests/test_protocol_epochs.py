"""Epochs: nobody seals under a key that somebody removed can hold."""

import pytest
from membership import ANNA, BEN, CLEO, DORA, drawer

from fonshare_agent.errors import BadGrant
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
from fonshare_agent.protocol.operations import Admit, NameAdmin, Remove
from fonshare_agent.protocol.roster import OperationLog

KEY, NEXT_KEY = bytes(range(32)), bytes(range(1, 33))


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
