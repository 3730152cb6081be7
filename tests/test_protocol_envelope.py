import dataclasses
import json
import os
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envelopes import (
    ANNA,
    BEN,
    BEN_RING,
    BEN_SEALING,
    BODY,
    CARL,
    EPOCH_KEY,
    GROUP,
    NEXT_KEY,
    TO_ALL,
    TO_BEN,
    inside,
    reseal,
    signed,
    to_all,
    to_ben,
)
from fonshare_agent.errors import (
    ForgedEnvelope,
    MalformedEnvelope,
    PeerError,
    UnknownKey,
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
    hkdf,
)
from fonshare_agent.protocol.topics import EpochTopics

VECTOR = json.loads((Path(__file__).parent / "vectors" / "envelope.json").read_text())


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


def test_the_old_sealing_key_and_the_old_epoch_open_until_the_group_is_dropped():
    keyring, renewed = Keyring(), SealingKey(b"\6" * 32)
    keyring.add_epoch(GROUP, 4, EPOCH_KEY, BEN.node_id, [renewed, BEN_SEALING])
    keyring.add_epoch(GROUP, 5, NEXT_KEY, BEN.node_id, [renewed])
    later = dataclasses.replace(TO_ALL, epoch=5)

    assert open_envelope(to_ben(), keyring).body == BODY
    assert open_envelope(to_all(), keyring).body == BODY
    assert open_envelope(to_all(later, epoch_key=NEXT_KEY), keyring).body == BODY
    keyring.drop_group(GROUP)
    with pytest.raises(UnknownKey):
        open_envelope(to_all(later, epoch_key=NEXT_KEY), keyring)


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


def test_a_body_that_unpacks_to_megabytes_never_takes_them():
    packed = zlib.compress(bytes(16 * 2**20))
    payload = reseal(signed(inside(body=packed, flags=1)))
    tracemalloc.start()
    try:
        with pytest.raises(MalformedEnvelope, match="unpacks to over"):
            open_envelope(payload, BEN_RING)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


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


def test_no_body_and_no_key_shows_in_a_repr():
    opened = open_envelope(to_all(body=b"SECRET"), BEN_RING)
    entry = BEN_RING.find(EpochTopics(EPOCH_KEY).key_tag())

    assert "SECRET" not in repr(opened)
    assert repr(hkdf(EPOCH_KEY, Context.GROUP_MESSAGE)) not in repr(entry)
    assert repr(BEN_RING) == "<Keyring of 6>"
