"""Envelopes as honest members and others make them, for the tests."""

import dataclasses
import struct

from fonshare_agent.model import GroupId
from fonshare_agent.protocol.envelope import (
    PAYLOAD_SIZES,
    Channel,
    Header,
    Keyring,
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
