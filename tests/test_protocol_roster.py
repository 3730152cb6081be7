"""The roster: any order folds alike, and no one comes back by accident."""

import itertools

import pytest

from fonshare_agent.errors import PeerError
from fonshare_agent.model import Role
from fonshare_agent.protocol.keys import KeyStatement, SealingKey, Signer
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

BROKERS = ("mqtt://broker.example",)


class Node:
    def __init__(self, number):
        self.signer = Signer(number.to_bytes(32, "big"))
        self.id = self.signer.node_id
        self.sealing = SealingKey((1000 + number).to_bytes(32, "big"))
        self.statement = self.state(1)

    def state(self, version):
        return KeyStatement.make(
            self.signer, "node", version, bytes(32), self.sealing.public
        )

    def does(self, action, *parents):
        return SignedOperation.make(
            self.signer, [parent.hash for parent in parents], action
        )

    def creates(self, nonce=bytes(16)):
        return self.does(Create(self.statement, nonce, BROKERS))


ANNA, BEN, CLEO, DORA, EMIL = (Node(number) for number in range(1, 6))


def fold(*operations):
    log = OperationLog(operations[0])
    for operation in operations[1:]:
        log.add(operation)
    assert not log.missing()
    return log.fold()


def test_a_creator_admits_names_and_removes():
    create = ANNA.creates()
    ben = ANNA.does(Admit(BEN.statement), create)
    named = ANNA.does(NameAdmin(BEN.id), ben)
    cleo = BEN.does(Admit(CLEO.statement), named)
    roster = fold(create, ben, named, cleo)
    assert [roster.role_of(node.id) for node in (ANNA, BEN, CLEO, DORA)] == [
        Role.CREATOR,
        Role.ADMIN,
        Role.MEMBER,
        None,
    ]
    assert roster.members[CLEO.id].admitted_by == BEN.id
    removed = BEN.does(Remove(CLEO.id), cleo)
    roster = fold(create, ben, named, cleo, removed)
    assert not roster.is_member(CLEO.id)
    assert roster.removed == {CLEO.id}
    assert roster.endings == {removed.hash}


def test_of_two_admins_who_remove_each_other_the_one_named_earlier_stays():
    create = ANNA.creates()
    both = ANNA.does(Admit(CLEO.statement), ANNA.does(Admit(BEN.statement), create))
    ben = ANNA.does(Admit(BEN.statement), create)
    cleo = ANNA.does(Admit(CLEO.statement), ben)
    first = ANNA.does(NameAdmin(BEN.id), cleo)
    second = ANNA.does(NameAdmin(CLEO.id), first)
    one = BEN.does(Remove(CLEO.id), second)
    other = CLEO.does(Remove(BEN.id), second)
    for order in itertools.permutations((one, other)):
        roster = fold(create, ben, cleo, first, second, *order)
        assert roster.is_admin(BEN.id)
        assert not roster.is_member(CLEO.id)
    assert both
