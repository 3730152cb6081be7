import dataclasses

import pytest

from envelopes import (
    ANNA,
    BEN,
    BEN_RING,
    BEN_SEALING,
    BODY,
    CARL,
    CARL_RING,
    CARL_SEALING,
    EPHEMERAL,
    EPOCH_KEY,
    GROUP,
    NEXT_KEY,
    NONCE,
    OTHER_GROUP,
    OTHER_KEY,
    TO_ALL,
    TO_BEN,
    inside,
    plain_of,
    reseal,
    reseal_to,
    ring,
    signed,
    to_all,
    to_ben,
)
from fonshare_agent.errors import (
    ForgedEnvelope,
    MalformedEnvelope,
    PeerError,
    ReplayedEnvelope,
    UnknownKey,
    UnknownVersion,
    WeakKey,
)
from fonshare_agent.protocol.envelope import (
    Channel,
    check_signature,
    open_envelope,
    seal_direct,
)
from fonshare_agent.protocol.keys import (
    Context,
    encrypt,
    hkdf,
)
from fonshare_agent.protocol.topics import EpochTopics
from fonshare_agent.protocol.window import Window, admit

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
    signature = ANNA.sign(Context.EPOCH_GRANT, outside + said)

    with pytest.raises(ForgedEnvelope):
        check_signature(open_envelope(reseal(said + signature), BEN_RING), ANNA.public)


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
