import dataclasses
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import (
    ForgedEnvelope,
    MalformedEnvelope,
    PeerError,
    ReplayedEnvelope,
    UnknownKey,
    UnknownVersion,
    WeakKey,
)
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.envelope import (
    BODY_MAX,
    DECOMPRESSED_MAX,
    PAYLOAD_SIZES,
    Channel,
    Header,
    Keyring,
    check_signature,
    open_envelope,
    seal_direct,
    seal_group,
)
from fonshare_agent.protocol.keys import (
    Context,
    SealingKey,
    Signer,
    encrypt,
    hkdf,
)
from fonshare_agent.protocol.topics import EpochTopics
from fonshare_agent.protocol.window import Window, admit

VECTOR = json.loads((Path(__file__).parent / "vectors" / "envelope.json").read_text())
ANNA, BEN, CARL = Signer(b"\1" * 32), Signer(b"\2" * 32), Signer(b"\3" * 32)
BEN_SEALING, CARL_SEALING = SealingKey(b"\4" * 32), SealingKey(b"\5" * 32)
GROUP, OTHER_GROUP = GroupId(b"g" * 32), GroupId(b"h" * 32)
EPOCH_KEY, NEXT_KEY, OTHER_KEY = b"e" * 32, b"f" * 32, b"o" * 32
NONCE, EPHEMERAL = bytes(24), b"\7" * 32
TO_ALL = Header(ANNA.node_id, GROUP, 4, None, Channel.COMMAND, "hello", 1, 7)
TO_BEN = dataclasses.replace(TO_ALL, recipient=BEN.node_id)
BODY = b'{"nonce": "0"}'


def ring(own, sealing):
    """Return the keyring of a node in two groups and two epochs of the first."""
    keyring = Keyring()
    keyring.add_epoch(GROUP, 4, EPOCH_KEY, own.node_id, [sealing])
    keyring.add_epoch(GROUP, 5, NEXT_KEY, own.node_id, [sealing])
    keyring.add_epoch(OTHER_GROUP, 4, OTHER_KEY, own.node_id, [sealing])
    return keyring


BEN_RING, CARL_RING = ring(BEN, BEN_SEALING), ring(CARL, CARL_SEALING)


def to_all(header=TO_ALL, body=BODY, epoch_key=EPOCH_KEY):
    return seal_group(header, body, ANNA, epoch_key, NONCE)


def to_ben(header=TO_BEN, body=BODY, epoch_key=EPOCH_KEY):
    public = BEN_SEALING.public
    return seal_direct(header, body, ANNA, public, epoch_key, NONCE, EPHEMERAL)


def reseal(plain, epoch_key=EPOCH_KEY):
    """Seal *plain* to the group as a member with own ideas of the inside would."""
    head = b"\x01" + EpochTopics(epoch_key).key_tag() + NONCE
    size = next(size for size in PAYLOAD_SIZES if size >= len(head) + len(plain) + 16)
    padded = plain + bytes(size - len(head) - len(plain) - 16)
    return head + encrypt(padded, head, NONCE, hkdf(epoch_key, Context.GROUP_MESSAGE))


def reseal_to(node, sealing_public, plain, epoch_key=EPOCH_KEY):
    """Seal *plain* to one node as a member with own ideas of the inside would."""
    ephemeral = SealingKey(b"\x08" * 32)
    head = b"\x01" + EpochTopics(epoch_key).direct_key_tag(node, sealing_public)
    head += NONCE + ephemeral.public
    salt = hkdf(epoch_key, Context.DIRECT_SALT) + ephemeral.public + sealing_public
    key = hkdf(ephemeral.agree(sealing_public), Context.DIRECT_MESSAGE, salt=salt)
    padded = plain + bytes(512 - len(head) - len(plain) - 16)
    return head + encrypt(padded, head, NONCE, key)


def plain_of(opened):
    """Return the signed inside, with its signature, of what was opened."""
    return opened.signed[17:] + opened.signature


def inside(header=TO_ALL, body=BODY, flags=0, channel=2, kind=None, body_size=None):
    """Return an inside as a member would write who does not keep to the layout."""
    name = header.kind.encode() if kind is None else kind
    size = len(body) if body_size is None else body_size
    fixed = struct.pack(">B", flags) + header.sender + header.group
    fixed += struct.pack(">Q", header.epoch) + (header.recipient or bytes(32))
    fixed += struct.pack(">BQQ", channel, header.incarnation, header.counter)
    return fixed + struct.pack(">BI", len(name), size) + name + body


def signed(plain, signer=ANNA, epoch_key=EPOCH_KEY):
    outside = b"\x01" + EpochTopics(epoch_key).key_tag()
    return plain + signer.sign(Context.ENVELOPE, outside + plain)


# --- what goes through ----------------------------------------------------------


@pytest.mark.parametrize("one", VECTOR["envelopes"], ids=lambda one: one["kind"])
def test_an_envelope_equals_the_golden_bytes_and_opens(one):
    raw = {k: bytes.fromhex(v) for k, v in VECTOR.items() if isinstance(v, str)}
    signer, own = Signer(raw["sender_seed"]), NodeId(raw["own"])
    sealing = SealingKey(raw["recipient_sealing_seed"])
    payload, body = bytes.fromhex(one["payload"]), bytes.fromhex(one["body"])
    header = Header(
        signer.node_id,
        GroupId(raw["group"]),
        VECTOR["epoch"],
        own if one["recipient"] else None,
        Channel(one["channel"]),
        one["kind"],
        VECTOR["incarnation"],
        VECTOR["counter"],
    )
    keyring = Keyring()
    keyring.add_epoch(header.group, header.epoch, raw["epoch_key"], own, [sealing])

    opened = open_envelope(payload, keyring)
    check_signature(opened, signer.public)

    assert (opened.header, opened.body) == (header, body)
    if header.recipient:
        keys = sealing.public, raw["epoch_key"], raw["nonce"], raw["ephemeral_seed"]
        assert seal_direct(header, body, signer, *keys) == payload
    elif len(body) < 256:  # beyond, zlib's own choices decide
        assert seal_group(header, body, signer, raw["epoch_key"], raw["nonce"]) == (
            payload
        )


@settings(max_examples=40)
@given(
    body=st.binary(max_size=3000) | st.integers(0, 9000).map(os.urandom),
    direct=st.booleans(),
    kind=st.from_regex(r"[a-z0-9_.-]{1,32}", fullmatch=True),
    epoch=st.just(4),
    numbers=st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)),
    channel=st.sampled_from(Channel),
)
def test_whatever_is_sealed_opens_unchanged(
    body, direct, kind, epoch, numbers, channel
):
    header = Header(
        ANNA.node_id,
        GROUP,
        epoch,
        BEN.node_id if direct else None,
        channel,
        kind,
        *numbers,
    )
    payload = to_ben(header, body) if direct else to_all(header, body)
    opened = open_envelope(payload, BEN_RING)
    check_signature(opened, ANNA.public)

    assert len(payload) in PAYLOAD_SIZES
    assert (opened.header, opened.body) == (header, body)


@pytest.mark.parametrize("body", [os.urandom(BODY_MAX), bytes(DECOMPRESSED_MAX)])
def test_a_body_of_the_greatest_size_fits(body):
    header = dataclasses.replace(TO_BEN, kind="k" * 32)

    assert open_envelope(to_ben(header, body), BEN_RING).body == body


@pytest.mark.parametrize("size", PAYLOAD_SIZES)
def test_an_envelope_fills_its_size_to_the_last_byte(size):
    overhead = 41 + 16 + 32 + 127 + len(TO_BEN.kind) + 64

    assert len(to_ben(body=os.urandom(size - overhead))) in (size, 512)
    if size < PAYLOAD_SIZES[-1]:
        assert len(to_ben(body=os.urandom(size - overhead + 1))) > size


def test_the_old_sealing_key_and_the_old_epoch_open_until_they_are_dropped():
    keyring, renewed = Keyring(), SealingKey(b"\6" * 32)
    keyring.add_epoch(GROUP, 4, EPOCH_KEY, BEN.node_id, [renewed, BEN_SEALING])
    keyring.add_epoch(GROUP, 5, NEXT_KEY, BEN.node_id, [renewed])
    later = dataclasses.replace(TO_ALL, epoch=5)

    assert open_envelope(to_ben(), keyring).body == BODY
    keyring.drop_sealing(BEN_SEALING.public)
    with pytest.raises(UnknownKey):
        open_envelope(to_ben(), keyring)
    assert open_envelope(to_all(), keyring).body == BODY
    keyring.drop_epoch(GROUP, 4)
    with pytest.raises(UnknownKey):
        open_envelope(to_all(), keyring)
    assert open_envelope(to_all(later, epoch_key=NEXT_KEY), keyring).body == BODY
    keyring.drop_group(GROUP)
    with pytest.raises(UnknownKey):
        open_envelope(to_all(later, epoch_key=NEXT_KEY), keyring)


# --- what must not --------------------------------------------------------------


@pytest.mark.parametrize("make", [to_all, to_ben])
def test_no_byte_of_an_envelope_can_be_changed(make):
    payload = make()

    for at in range(len(payload)):
        bad = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
        with pytest.raises(PeerError):
            open_envelope(bad, BEN_RING)


@pytest.mark.parametrize("head", [b"\x01", b"\x01" + bytes(16) + b"n" * 24])
def test_the_whole_head_is_authenticated(head):
    # Sealed with less of the head as associated data: it must not open.
    key_tag = EpochTopics(EPOCH_KEY).key_tag()
    plain = signed(inside())
    plain += bytes(512 - 41 - 16 - len(plain))
    key = hkdf(EPOCH_KEY, Context.GROUP_MESSAGE)
    sealed = encrypt(plain, head, NONCE, key)

    with pytest.raises(ForgedEnvelope):
        open_envelope(b"\x01" + key_tag + NONCE + sealed, BEN_RING)


@pytest.mark.parametrize("size", [0, 1, 56, 511, 513, 131071, 131073, 2**18])
def test_a_payload_of_no_envelopes_size_is_refused(size):
    payload = (to_all() + bytes(size))[:size]

    with pytest.raises(MalformedEnvelope, match=f"{size} bytes"):
        open_envelope(payload, BEN_RING)


def test_an_envelope_of_another_version_says_so():
    with pytest.raises(UnknownVersion, match="version 2"):
        open_envelope(b"\x02" + to_all()[1:], BEN_RING)


def test_another_members_direct_envelope_is_not_for_this_nodes_keys():
    with pytest.raises(UnknownKey):
        open_envelope(to_ben(), CARL_RING)


def test_a_stranger_with_the_sealing_key_alone_cannot_write_to_it():
    # Knows Ben's public key and the key tag, but not the epoch key.
    payload = reseal_to(BEN.node_id, BEN_SEALING.public, plain := signed(inside()))
    stranger = reseal_to(BEN.node_id, BEN_SEALING.public, plain, OTHER_KEY)

    with pytest.raises(ForgedEnvelope, match="does not open"):
        open_envelope(payload[:17] + stranger[17:], BEN_RING)


def test_an_ephemeral_key_of_small_order_is_refused():
    payload = to_ben()

    with pytest.raises(ForgedEnvelope):
        open_envelope(payload[:41] + bytes(32) + payload[73:], BEN_RING)
    with pytest.raises(WeakKey):
        seal_direct(TO_BEN, BODY, ANNA, bytes(32), EPOCH_KEY, NONCE, EPHEMERAL)


def test_a_message_to_the_group_sealed_again_as_if_direct_is_refused():
    plain = plain_of(open_envelope(to_all(), CARL_RING))
    payload = reseal_to(BEN.node_id, BEN_SEALING.public, plain)

    with pytest.raises(ForgedEnvelope, match="sealed again"):
        open_envelope(payload, BEN_RING)


def test_a_direct_message_sealed_again_to_another_member_or_to_all_is_refused():
    plain = plain_of(open_envelope(to_ben(), BEN_RING))

    with pytest.raises(ForgedEnvelope, match="sealed again"):
        open_envelope(reseal_to(CARL.node_id, CARL_SEALING.public, plain), CARL_RING)
    with pytest.raises(ForgedEnvelope, match="sealed again"):
        open_envelope(reseal(plain), CARL_RING)


@pytest.mark.parametrize("key", [NEXT_KEY, OTHER_KEY], ids=["epoch", "group"])
def test_a_message_moved_to_another_epoch_or_group_is_refused(key):
    plain = plain_of(open_envelope(to_all(), BEN_RING))

    with pytest.raises(ForgedEnvelope, match="sealed again"):
        open_envelope(reseal(plain, key), BEN_RING)


def test_a_message_moved_between_two_keys_of_one_epoch_number_is_refused():
    # Two admins may make epochs of the same number: the signature tells them apart.
    keyring, twin_key = ring(BEN, BEN_SEALING), b"t" * 32
    keyring.add_epoch(GROUP, 4, twin_key, BEN.node_id, [BEN_SEALING])
    plain = plain_of(open_envelope(to_all(), keyring))
    moved = open_envelope(reseal(plain, twin_key), keyring)

    with pytest.raises(ForgedEnvelope):
        check_signature(moved, ANNA.public)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": CARL.node_id},
        {"group": OTHER_GROUP},
        {"epoch": 5},
        {"channel": Channel.STATE},
        {"kind": "hallo"},
        {"incarnation": 2},
        {"counter": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_signature_covers_every_field_of_the_header(change):
    header = dataclasses.replace(TO_ALL, **change)
    signature = signed(inside())[-64:]
    plain = inside(header, channel=header.channel) + signature

    with pytest.raises(ForgedEnvelope):
        check_signature(open_envelope(reseal(plain), BEN_RING), ANNA.public)


def test_the_signature_covers_body_and_flags():
    signature = signed(inside())[-64:]

    for other in (inside(body=b'{"nonce": "1"}'), inside(TO_BEN, flags=2)):
        with pytest.raises(ForgedEnvelope):
            check_signature(
                open_envelope(reseal(other + signature), BEN_RING), ANNA.public
            )


def test_a_member_cannot_speak_for_another():
    opened = open_envelope(reseal(signed(inside(), signer=CARL)), BEN_RING)

    for identity in (ANNA.public, CARL.public, b"", ANNA.public[:31]):
        with pytest.raises(ForgedEnvelope):
            check_signature(opened, identity)


def test_a_signature_under_another_context_is_refused():
    said = inside()
    outside = b"\x01" + EpochTopics(EPOCH_KEY).key_tag()
    signature = ANNA.sign(Context.PRESENCE, outside + said)

    with pytest.raises(ForgedEnvelope):
        check_signature(open_envelope(reseal(said + signature), BEN_RING), ANNA.public)


BOMB = zlib.compress(bytes(DECOMPRESSED_MAX + 1))
BROKEN = {
    "flags": inside(flags=4),
    "recipient without its flag": inside(TO_BEN),
    "channel": inside(channel=3),
    "no kind": inside(kind=b""),
    "long kind": inside(kind=b"k" * 33),
    "capital kind": inside(kind=b"Hello"),
    "foreign kind": inside(kind=b"\xff"),
    "epoch": inside(dataclasses.replace(TO_ALL, epoch=2**63)),
    "incarnation": inside(dataclasses.replace(TO_ALL, incarnation=2**63)),
    "counter": inside(dataclasses.replace(TO_ALL, counter=2**63)),
    "body beyond the end": inside(body_size=2**32 - 1),
    "signature beyond the end": inside(body_size=400),
    "bomb": inside(body=BOMB, flags=1),
    "cut compression": inside(body=zlib.compress(b"body")[:-1], flags=1),
    "tail after compression": inside(body=zlib.compress(b"body") + b"x", flags=1),
    "no compression": inside(flags=1),
    "empty compression": inside(body=b"", flags=1),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_well_signed_envelope_with_a_broken_inside_is_refused(broken):
    with pytest.raises(MalformedEnvelope):
        open_envelope(reseal(signed(broken)), BEN_RING)


@pytest.mark.parametrize("tail", [b"x", b"\0x", bytes(250) + b"\x01"])
def test_nothing_can_hide_in_the_padding(tail):
    opened = open_envelope(reseal(signed(inside())), BEN_RING)
    assert opened.body == BODY

    with pytest.raises(MalformedEnvelope, match="padding"):
        open_envelope(reseal(signed(inside()) + tail), BEN_RING)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (TO_BEN, BODY),
        (dataclasses.replace(TO_ALL, sender=CARL.node_id), BODY),
        (dataclasses.replace(TO_ALL, kind="Hello"), BODY),
        (dataclasses.replace(TO_ALL, kind=""), BODY),
        (dataclasses.replace(TO_ALL, counter=2**63), BODY),
        (TO_ALL, bytes(DECOMPRESSED_MAX + 1)),
        (TO_ALL, os.urandom(PAYLOAD_SIZES[-1])),
    ],
    ids=["recipient", "sender", "capital", "no kind", "counter", "bomb", "too big"],
)
def test_nobody_seals_what_others_would_refuse(header, body):
    with pytest.raises(ValueError, match=r"message|body|header"):
        to_all(header, body)


def test_a_direct_message_without_recipient_is_our_own_error():
    with pytest.raises(ValueError, match="names its recipient"):
        to_ben(TO_ALL)


@given(payload=st.binary(min_size=511, max_size=513))
def test_strangers_bytes_raise_only_a_peer_error(payload):
    with pytest.raises(PeerError):
        open_envelope(payload, BEN_RING)


TAGS = st.sampled_from(
    [
        EpochTopics(EPOCH_KEY).key_tag(),
        EpochTopics(EPOCH_KEY).direct_key_tag(BEN.node_id, BEN_SEALING.public),
    ]
)


@given(tag=TAGS, rest=st.binary(min_size=495, max_size=495))
def test_bytes_under_a_known_tag_raise_only_a_peer_error(tag, rest):
    with pytest.raises(PeerError):
        open_envelope(b"\x01" + tag + rest, BEN_RING)


@given(
    plain=st.binary(max_size=400)
    | st.builds(
        lambda at, junk: inside()[:at] + junk + inside()[at + len(junk) :],
        st.integers(0, 140),
        st.binary(max_size=12),
    )
)
def test_a_members_bytes_raise_only_a_peer_error(plain):
    try:
        opened = open_envelope(reseal(plain + bytes(64)), BEN_RING)
    except PeerError:
        return
    with pytest.raises(ForgedEnvelope):
        check_signature(opened, ANNA.public)


# --- once, and only after the signature -----------------------------------------


def test_a_replay_is_refused_and_the_next_fresh_one_is_admitted():
    window, opened = Window(), open_envelope(to_all(), BEN_RING)
    fresh = dataclasses.replace(TO_ALL, counter=8)

    admit(opened, ANNA.public, window)
    with pytest.raises(ReplayedEnvelope, match="counter 7"):
        admit(opened, ANNA.public, window)
    admit(open_envelope(to_all(fresh), BEN_RING), ANNA.public, window)


def test_a_forged_counter_cannot_silence_the_real_sender():
    window = Window()
    ahead = dataclasses.replace(TO_ALL, counter=2**62)
    forged = open_envelope(reseal(signed(inside(ahead), signer=CARL)), BEN_RING)

    with pytest.raises(ForgedEnvelope):
        admit(forged, ANNA.public, window)
    admit(open_envelope(to_all(), BEN_RING), ANNA.public, window)


def test_a_seen_counter_is_refused_before_the_dear_signature_check():
    window = Window.after(7)
    forged = open_envelope(reseal(signed(inside(), signer=CARL)), BEN_RING)

    with pytest.raises(ReplayedEnvelope):
        admit(forged, ANNA.public, window)


def test_no_body_and_no_key_shows_in_a_repr():
    opened = open_envelope(to_all(body=b"SECRET"), BEN_RING)
    entry = BEN_RING.find(EpochTopics(EPOCH_KEY).key_tag())

    assert "SECRET" not in repr(opened)
    assert repr(hkdf(EPOCH_KEY, Context.GROUP_MESSAGE)) not in repr(entry)
    assert repr(BEN_RING) == "<Keyring of 6>"
