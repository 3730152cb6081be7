"""What one member, or a broker, sends to hurt a group; real machines, a fake clock."""

import hashlib

import pytest
from nacl import bindings

from fonshare_agent.errors import PeerError
from fonshare_agent.protocol import epoch_duty
from fonshare_agent.protocol.envelope import Channel, Header
from fonshare_agent.protocol.epochs import (
    SEALED_KEY_BYTES,
    EpochGrant,
    extend_grant,
    make_grant,
)
from fonshare_agent.protocol.group_events import (
    MembershipChanged,
    VerifiedGrants,
    VerifiedOperations,
)
from fonshare_agent.protocol.keys import Context, KeyStatement, in_context
from fonshare_agent.protocol.messages import (
    CatalogueAsk,
    Grants,
    Message,
    Operations,
    Presence,
    RosterAsk,
    decode,
)
from fonshare_agent.protocol.operations import (
    Admit,
    Create,
    Leave,
    Remove,
    SetBrokers,
    SignedOperation,
    Unknown,
)
from fonshare_agent.protocol.peers import RECORDS_BURST, RECORDS_PER_SECOND
from fonshare_agent.protocol.roster_exchange import ANSWERS_BURST
from fonshare_agent.protocol.signed import open_record, sign_record, to_text
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


def test_a_copy_that_is_sealed_to_no_key_at_all_costs_that_copy_alone():
    wire = Wire(seed=42)
    anna, bob = a_group(wire, "anna", "bob")
    honest = make_grant(anna.signer, anna.group.roster, 2, bytes(32), anna.draw)
    _, fields = open_record(honest.raw, Context.EPOCH_GRANT)
    fields["sealed"][to_text(bob.id)] = to_text(bytes(SEALED_KEY_BYTES))
    raw = sign_record(anna.signer, Context.EPOCH_GRANT, fields)
    good = make_grant(anna.signer, anna.group.roster, 3, b"k" * 32, anna.draw)
    deliver(bob, anna, VerifiedGrants((EpochGrant.decode(raw), good)))
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


def test_grants_that_wait_for_what_never_comes_take_little_memory():
    wire = Wire(seed=44)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    honest = make_grant(mallory.signer, anna.group.roster, 9, bytes(32), mallory.draw)
    _, fields = open_record(honest.raw, Context.EPOCH_GRANT)
    for number in range(64):
        heads = [to_text(bytes([number, at]) * 16) for at in range(256)]
        raw = sign_record(
            mallory.signer, Context.EPOCH_GRANT, fields | {"heads": heads}
        )
        deliver(bob, mallory, VerifiedGrants((EpochGrant.decode(raw),)))
    waiting = bob.group._duty._aside
    assert len(waiting) > 1
    assert sum(map(len, waiting)) <= epoch_duty.ASIDE_BYTES_MAX


def test_what_an_admin_grants_over_and_over_is_not_kept(monkeypatch):
    monkeypatch.setattr(epoch_duty, "EPOCH_BYTES_MAX", 8_000)
    monkeypatch.setattr(epoch_duty, "GRANTS_BYTES_MAX", 20_000)
    wire = Wire(seed=43)
    anna, bob = a_group(wire, "anna", "bob")
    roster = anna.group.roster
    statements = [one.statement for one in roster.members.values()]
    for number in range(2, 12):
        key = bytes([number]) * 32
        grant = make_grant(anna.signer, roster, number, key, anna.draw)
        deliver(bob, anna, VerifiedGrants((grant,)))
        for _ in range(30):
            again = extend_grant(anna.signer, grant, key, statements, anna.draw)
            deliver(bob, anna, VerifiedGrants((again,)))
        assert bob.group.sending_epoch == grant.epoch
        assert sum(len(one.raw) for one in bob.group.grants) <= 20_000
    bob.restart()
    assert bob.group.sending_epoch == grant.epoch


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


# --- the log that everybody keeps ---


def test_a_member_without_rights_cannot_fill_the_log_to_stay_in_the_group(monkeypatch):
    monkeypatch.setattr("fonshare_agent.protocol.roster.OPERATIONS_MAX", 40)
    wire = Wire(seed=30)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    log = mallory.group.log
    seen, every = log.heads(), [one.hash for one in log.operations()]
    crowd = [
        SignedOperation.make(mallory.signer, parents, action)
        for parents in (seen, *([one] for one in every))
        for number in range(15)
        for action in (
            SetBrokers((f"mqtt://{number}",)),
            Remove(bytes([number]) * 32),
            Unknown(f"kind{number}"),
            Leave(),
        )
        if (*parents, action) != (mallory_in(log, mallory), Leave())
    ]
    before = len(anna.group.log.operations())
    for node in (anna, bob):
        deliver(node, mallory, VerifiedOperations(tuple(crowd)))
        assert len(node.group.log.operations()) == before
    anna.group.remove(mallory.id, wire.now)
    wire.run(5)
    assert not bob.group.roster.is_member(mallory.id)
    assert anna.group.sending_epoch == bob.group.sending_epoch is not None


def test_a_member_leaves_once_however_often_it_signs():
    wire = Wire(seed=31)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    before = len(bob.group.log.operations())
    leave = SignedOperation.make(
        mallory.signer, [mallory_in(mallory.group.log, mallory)], Leave()
    )
    seed = wire.random.randbytes(64)
    other = SignedOperation.decode(signed_again(mallory, leave.raw, seed))
    assert other.raw != leave.raw
    deliver(anna, mallory, VerifiedOperations((leave,)))
    deliver(bob, mallory, VerifiedOperations((other, leave)))
    assert len(bob.group.log.operations()) == before + 1
    assert anna.group.log.heads() == bob.group.log.heads()


def test_a_removed_admin_cannot_fill_a_long_log_with_what_it_dates_back(monkeypatch):
    monkeypatch.setattr("fonshare_agent.protocol.roster.STRUCK_KEPT", 4)
    wire = Wire(seed=32)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    anna.group.name_admin(mallory.id, wire.now)
    wire.run(5)
    seen = anna.group.log.heads()
    old, *crowd = [
        SignedOperation.make(mallory.signer, seen, SetBrokers((f"mqtt://{number}",)))
        for number in range(20)
    ]
    anna.group.remove(mallory.id, wire.now)
    wire.run(5)
    before = len(bob.group.log.operations())
    deliver(bob, anna, VerifiedOperations((old, *crowd)))
    assert len(bob.group.log.operations()) == before
    # What somebody has built on it is not lost: it brings it along.
    built = SignedOperation.make(anna.signer, [old.hash], Remove(mallory.id))
    deliver(bob, anna, VerifiedOperations((built,)))
    assert bob.group.log.missing() == (old.hash,)
    deliver(bob, anna, VerifiedOperations((old,)))
    assert len(bob.group.log.operations()) == before + 2


def test_an_admin_is_removed_though_everybody_is_full_of_another_crowd_of_its(
    monkeypatch,
):
    monkeypatch.setattr("fonshare_agent.protocol.roster.STRUCK_KEPT", 4)
    monkeypatch.setattr("fonshare_agent.protocol.roster.OPERATIONS_MAX", 16)
    wire = Wire(seed=33)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    anna.group.name_admin(mallory.id, wire.now)
    wire.run(5)
    seen = anna.group.log.heads()
    for node in (anna, bob):
        crowd = [
            SignedOperation.make(
                mallory.signer, seen, SetBrokers((f"mqtt://{node.name}{number}",))
            )
            for number in range(40)
        ]
        deliver(node, mallory, VerifiedOperations(tuple(crowd)))
        assert len(node.group.log.operations()) == 14
    anna.group.remove(mallory.id, wire.now)
    wire.run(20)
    assert not bob.group.roster.is_member(mallory.id)
    assert anna.group.roster.members == bob.group.roster.members
    assert anna.group.roster.brokers == bob.group.roster.brokers == (BROKER,)


def mallory_in(log, mallory) -> bytes:
    [admission] = [
        one.hash
        for one in log.operations()
        if isinstance(one.action, Admit) and one.action.statement.node_id == mallory.id
    ]
    return admission


def signed_again(node: WireNode, raw: bytes, seed: bytes) -> bytes:
    """*raw* with another good signature of its author: Ed25519 has many (RFC 8032)."""
    said = raw[:-64]
    message = in_context(Context.OPERATION, said)
    wide = hashlib.sha512(node.signer._secret[:32]).digest()
    secret = bytearray(wide[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 127 | 64
    nonce = bindings.crypto_core_ed25519_scalar_reduce(seed)
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    hashed = hashlib.sha512(point + node.signer.public + message).digest()
    challenge = bindings.crypto_core_ed25519_scalar_reduce(hashed)
    reduced = bindings.crypto_core_ed25519_scalar_reduce(bytes(secret) + bytes(32))
    product = bindings.crypto_core_ed25519_scalar_mul(challenge, reduced)
    return said + point + bindings.crypto_core_ed25519_scalar_add(nonce, product)


# --- what one member can make the others do ---


def test_each_operation_is_verified_once_however_often_it_comes():
    wire = Wire(seed=34)
    anna, bob, mallory = a_group(wire, "anna", "bob", "mallory")
    known = tuple(mallory.group.log.raw_operations())
    mallory.send(None, Operations(known))
    wire.run(2)
    before = wire.verified
    for _ in range(5):
        mallory.send(None, Operations(known))
    wire.run(2)
    assert wire.verified == before
    anna.group.name_admin(bob.id, wire.now)
    wire.run(2)
    assert wire.verified == before + 2, "once by each of the two others"


def test_one_member_cannot_have_more_signatures_checked_than_its_allowance():
    wire = Wire(seed=35)
    anna, mallory = a_group(wire, "anna", "mallory")
    forged = tuple(
        sign_record(
            mallory.signer, Context.OPERATION, {"kind": "x", "parents": [str(number)]}
        )
        for number in range(2 * int(RECORDS_BURST))
    )
    for kind in (Operations, Grants):
        anna.group.peers.set_members((), wire.now)
        anna.group.peers.set_members((mallory.id,), wire.now)
        checked = [
            len(encode_list(anna.group.sift(mallory.id, kind(forged), wire.now)))
            for _ in range(3)
        ]
        assert checked == [RECORDS_BURST, 0, 0]
        wire.now += 1
        again = anna.group.sift(mallory.id, kind(forged), wire.now)
        assert len(encode_list(again)) == RECORDS_PER_SECOND


def encode_list(message):
    return message.operations if isinstance(message, Operations) else message.grants


def test_who_asks_for_the_whole_log_over_and_over_gets_it_a_page_at_a_time(
    monkeypatch,
):
    monkeypatch.setattr("fonshare_agent.protocol.roster_exchange.PAGE_BYTES", 4000)
    wire = Wire(seed=36)
    anna, _bob, mallory = a_group(wire, "anna", "bob", "mallory")
    dora = wire.node("dora")
    for version in range(2, 30):
        anna.group.admit(with_other_key(dora, version), wire.now)
    wire.run(5)
    epoch = anna.group.sending_epoch
    anna.group.take_messages()
    for _ in range(100):
        deliver(anna, mallory, RosterAsk(()))
    sent = [out.message for out in anna.group.take_messages()]
    answers = [one for one in sent if isinstance(one, Operations)]
    assert 0 < len(answers) <= ANSWERS_BURST
    size = max(sum(map(len, one.operations)) for one in answers)
    assert size * 4 // 3 <= 4000
    assert epoch == anna.group.sending_epoch


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_who_was_away_for_long_gets_a_long_log_page_by_page(monkeypatch, drop):
    monkeypatch.setattr("fonshare_agent.protocol.roster_exchange.PAGE_BYTES", 4000)
    wire = Wire(seed=37)
    anna, bob, carl = a_group(wire, "anna", "bob", "carl")
    dora = wire.node("dora")
    anna.group.name_admin(carl.id, wire.now)
    wire.run(5)
    for node, version in ((bob, 2), (carl, 100)):
        # Anna writes with bob away, Carl with everybody away.
        for one in (anna, bob, carl):
            one.disconnect()
        author = anna if node is bob else carl
        for number in range(25):
            statement = with_other_key(dora, version + number)
            author.group.admit(statement, wire.now)
    wire.drop = drop
    for one in (anna, bob, carl):
        one.connect()
    wire.run(200)
    wire.drop = 0.0  # what was lost is repaired at the next connect
    for one in (anna, bob, carl):
        one.disconnect()
        one.connect()
    wire.run(60)
    logs = [set(one.group.log.raw_operations()) for one in (anna, bob, carl)]
    assert logs[0] == logs[1] == logs[2]
    assert len(logs[0]) == 54


def test_what_topics_have_shown_is_forgotten_with_the_presence_that_named_them():
    wire = Wire(seed=41)
    anna, bob = a_group(wire, "anna", "bob")
    peers, statement = anna.group.peers, bob.statement.encode()
    for number in range(100):
        topic = liveness_topic(bytes([number]) * 20)
        heads = anna.group.log.heads()
        said = Presence(statement, topic, bytes(32), bytes(8), 0, heads)
        deliver(anna, bob, said)
        peers.receive_liveness(BROKER, topic, bytes(64), wire.now)
        wire.now += 1
    assert len(peers._peers[bob.id].last_words) == 1
