"""What one member, or a broker, sends to hurt a group; real machines, a fake clock."""

import pytest

from fonshare_agent.errors import PeerError
from fonshare_agent.protocol.envelope import Channel, Header
from fonshare_agent.protocol.epochs import EpochGrant, extend_grant, make_grant
from fonshare_agent.protocol.group_events import (
    MembershipChanged,
    VerifiedGrants,
    VerifiedOperations,
)
from fonshare_agent.protocol.keys import KeyStatement
from fonshare_agent.protocol.messages import CatalogueAsk, Message, Presence, decode
from fonshare_agent.protocol.operations import Create, Remove, SignedOperation
from fonshare_agent.protocol.topics import liveness_topic
from test_protocol_group import a_group
from wire import BROKER, Wire, WireNode

ASK = CatalogueAsk(b"indexid8", 0)


def deliver(to: WireNode, sender: WireNode, message: Message, broker=BROKER) -> None:
    """Give *to* a message whose signature held."""
    sender.counter += 1
    number = sender.counter
    epoch = to.group.sending_epoch
    assert epoch is not None
    header = Header(
        *(sender.id, to.group.group, epoch.number, None, Channel.STATE),
        *(message.__class__.__name__.lower(), sender.incarnation, number),
    )
    to.group.receive(header, epoch, message, broker, to.wire.now)


def with_other_key(node: WireNode, version: int) -> KeyStatement:
    """A statement of *node* with a sealing key that nobody has the secret of."""
    return KeyStatement.make(
        node.signer,
        node.name,
        version,
        node.statement.tls_fingerprint,
        type(node.sealing)(bytes([7]) * 32).public,
    )


def test_an_operation_that_is_refused_hides_no_removal_beside_it():
    wire = Wire(seed=21)
    anna, bob, eve, mallory = a_group(wire, "anna", "bob", "eve", "mallory")
    log = anna.group.log
    removal = SignedOperation.make(anna.signer, log.heads(), Remove(eve.id))
    foreign = Create(mallory.statement, bytes(16), (BROKER,))
    stranger = SignedOperation.make(mallory.signer, (), foreign)
    bob.events.clear()
    deliver(bob, mallory, VerifiedOperations((removal, stranger)))
    assert MembershipChanged() in bob.group.take_events()
    assert not bob.group.roster.is_member(eve.id)
    assert eve.id not in bob.group.peers.online()


def test_a_grant_of_one_who_is_no_admin_is_not_kept():
    wire = Wire(seed=22)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    before = anna.group.sending_epoch
    lure = make_grant(
        mallory.signer, anna.group.roster, 2**63 - 1, bytes(32), mallory.draw
    )
    for node in (anna, bob):
        deliver(node, mallory, VerifiedGrants((lure,)))
        assert lure.raw not in [one.raw for one in node.group.grants]
        assert lure.epoch not in node.group.epoch_keys
        assert node.group.sending_epoch == before
    anna.group.remove(mallory.id, wire.now)
    assert anna.group.sending_epoch is not None
    assert before is not None
    assert anna.group.sending_epoch.number == before.number + 1


def test_nobody_but_an_admin_can_claim_that_a_member_has_its_key():
    wire = Wire(seed=23)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    epoch = anna.group.sending_epoch
    assert epoch is not None
    grant = next(one for one in anna.group.grants if one.epoch == epoch)
    claim = extend_grant(
        mallory.signer,
        grant,
        anna.group.epoch_keys[epoch],
        [with_other_key(bob, 9)],
        mallory.draw,
    )
    deliver(anna, mallory, VerifiedGrants((claim,)))
    assert claim.raw not in [one.raw for one in anna.group.grants]


def test_a_copy_that_does_not_open_costs_that_copy_alone_also_at_the_next_start():
    wire = Wire(seed=24)
    anna, bob = a_group(wire, "anna", "bob")
    roster = anna.group.roster.with_statement(with_other_key(bob, 9))
    spoilt = make_grant(anna.signer, roster, 2, bytes(32), anna.draw)
    good = make_grant(anna.signer, anna.group.roster, 3, b"k" * 32, anna.draw)
    deliver(bob, anna, VerifiedGrants((spoilt, good)))
    assert bob.group.sending_epoch == good.epoch
    bob.restart()
    assert bob.group.sending_epoch == good.epoch


def test_a_grant_that_comes_before_its_operations_is_used_when_they_have_come():
    wire = Wire(seed=25)
    anna, bob, eve = a_group(wire, "anna", "bob", "eve")
    bob.disconnect()
    anna.group.remove(eve.id, wire.now)
    grant = anna.group.grants[-1]
    deliver(bob, anna, VerifiedGrants((EpochGrant.decode(grant.raw),)))
    assert bob.group.sending_epoch != grant.epoch
    deliver(bob, anna, VerifiedOperations(tuple(anna.group.log.operations())))
    assert bob.group.sending_epoch == grant.epoch


def test_epochs_are_not_kept_for_ever():
    wire = Wire(seed=26)
    anna, bob = a_group(wire, "anna", "bob")
    for number in range(2, 90):
        roster = anna.group.roster
        grant = make_grant(
            anna.signer, roster, number, wire.random.randbytes(32), anna.draw
        )
        deliver(bob, anna, VerifiedGrants((grant,)))
    assert bob.group.sending_epoch is not None
    assert bob.group.sending_epoch.number == 89
    assert len(bob.group.epoch_keys) == len(bob.group.grants) == 65


@pytest.mark.parametrize("topic", ["#", "fonshare/+", "$SYS/x", "a\0b", "fonshare/x"])
def test_a_presence_can_name_no_topic_of_another_shape(topic):
    presence = a_presence(1)
    right = presence.liveness_topic
    body = encoded(presence)
    assert decode("presence", body) == presence
    wrong = body.replace(right.encode(), topic.encode("unicode_escape"))
    with pytest.raises(PeerError):
        decode("presence", wrong)


def a_presence(number: int) -> Presence:
    topic = liveness_topic(bytes([number]) * 20)
    return Presence(b"s", topic, bytes([number]) * 32, bytes(8), 0, ())


def encoded(message: Message) -> bytes:
    from fonshare_agent.protocol.messages import encode

    return encode(message)


def test_a_member_can_make_a_router_write_a_new_statement_only_now_and_then():
    wire = Wire(seed=27)
    anna, bob = a_group(wire, "anna", "bob")
    for version in range(2, 30):
        bob.statement = KeyStatement.make(
            bob.signer,
            f"bob{version}",
            version,
            bob.statement.tls_fingerprint,
            bob.sealing.public,
        )
        bob.announce()
    assert anna.group.take_events().count(MembershipChanged()) == 1
    assert anna.group.roster.members[bob.id].statement.version == 2
    wire.now += 60
    bob.announce()
    assert anna.group.roster.members[bob.id].statement.version == 29


def test_presence_counts_at_each_broker_by_itself_in_whatever_order_it_comes():
    wire = Wire(seed=28)
    anna, bob = a_group(wire, "anna", "bob")
    statement = bob.statement.encode()
    first, second = (
        Presence(
            statement,
            liveness_topic(bytes([number]) * 20),
            bytes(32),
            bytes(8),
            0,
            anna.group.log.heads(),
        )
        for number in (1, 2)
    )
    bob.counter += 10
    deliver_as(anna, bob, second, "mqtt://two", bob.counter + 2)
    deliver_as(anna, bob, first, "mqtt://one", bob.counter + 1)
    anna.group.peers.lose_broker(BROKER)
    anna.group.peers.lose_broker("mqtt://two")
    assert anna.group.peers.online() == {bob.id}


def deliver_as(to, sender, presence, broker, counter, incarnation=1):
    epoch = to.group.sending_epoch
    header = Header(
        *(sender.id, to.group.group, epoch.number, None, Channel.STATE),
        *(presence.KIND, incarnation, counter),
    )
    if to.group.peers.may_pass(header, broker, to.wire.now):
        to.group.receive(header, epoch, presence, broker, to.wire.now)


def test_a_presence_of_an_earlier_life_does_not_close_the_window():
    wire = Wire(seed=29)
    anna, bob = a_group(wire, "anna", "bob")
    bob.restart()
    bob.incarnation, bob.counter = 5, 0
    bob.connect()
    wire.run(5)
    assert anna.group.peers.is_ready(bob.id)
    deliver_as(anna, bob, a_presence_of(bob, anna), "mqtt://other", 99, incarnation=1)
    assert anna.group.peers.is_ready(bob.id)


def a_presence_of(bob, anna):
    heads = anna.group.log.heads()
    topic = liveness_topic(bytes(20))
    return Presence(bob.statement.encode(), topic, bytes(32), bytes(8), 0, heads)
