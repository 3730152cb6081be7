"""One sealed, signed, counted message: how it is built and how it is opened.

Owns the byte layout of envelopes (docs/protocol/envelope.md) and the keyring that opens
them. The checks of a receiver come in this order: `open_envelope` does size, version,
key tag, AEAD, layout, and that the envelope was meant for the key that opened it;
membership is the caller's; then `window.admit` does counter, signature and mark.
Until then nothing in an Opened may be believed but that a holder of the epoch key made
it. Must not know: what bodies mean, who is a member, where envelopes travel.
"""

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final

from fonshare_agent.errors import (
    BadSignature,
    ForgedEnvelope,
    MalformedEnvelope,
    UnknownKey,
    UnknownVersion,
    UnsealError,
    WeakKey,
)
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.keys import (
    HASH_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    NUMBER_MAX,
    SIGNATURE_BYTES,
    TAG_BYTES,
    Context,
    SealingKey,
    Signer,
    decrypt,
    encrypt,
    hkdf,
    node_id,
    verify,
)
from fonshare_agent.protocol.topics import KEY_TAG_BYTES, EpochTopics

VERSION: Final = 1
PAYLOAD_SIZES: Final = (512, 2048, 8192, 32768, 131072)  # a broker sees only these
DECOMPRESSED_MAX: Final = 256 * 1024  # what one message may cost a 64 MB router
COMPRESS_FROM: Final = 256  # shorter bodies gain nothing and mostly fit 512 anyway
KIND_BYTES_MAX: Final = 32

_OUTSIDE_BYTES: Final = 1 + KEY_TAG_BYTES + NONCE_BYTES
_INSIDE = struct.Struct(">B32s32sQ32sBQQBI")  # envelope.md, "Inside"
_COMPRESSED, _DIRECT = 0b01, 0b10  # flags
_NOBODY: Final = bytes(HASH_BYTES)  # the recipient field of a message to the group
_KIND_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-.")

# A body of this size fits whatever its kind, its recipient and its compressibility.
BODY_MAX: Final = (
    PAYLOAD_SIZES[-1]
    - _OUTSIDE_BYTES
    - KEY_BYTES
    - TAG_BYTES
    - _INSIDE.size
    - KIND_BYTES_MAX
    - SIGNATURE_BYTES
)


@unique
class Channel(IntEnum):
    """How a receiver tells new from old: signed version (STATE) or window (COMMAND)."""

    STATE = 1
    COMMAND = 2


@dataclass(frozen=True, slots=True)
class Header:
    """Who says what kind of thing to whom, and its number; all of it is signed."""

    sender: NodeId
    group: GroupId
    epoch: int
    recipient: NodeId | None  # None: the whole group
    channel: Channel
    kind: str
    incarnation: int
    counter: int


@dataclass(frozen=True, slots=True, eq=False)
class KeyringEntry:
    """What one key tag stands for: a group's epoch, or one own sealing key in it."""

    group: GroupId
    epoch: int
    recipient: NodeId | None  # None: for messages to the whole group
    secret: bytes = field(repr=False)  # message key, or the salt of direct messages
    sealing: SealingKey | None = field(default=None, repr=False)


class Keyring:
    """Every key that this node opens envelopes with, by key tag.

    Old epochs and sealing keys stay until the caller drops them.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[bytes, KeyringEntry] = {}

    def add_epoch(
        self,
        group: GroupId,
        epoch: int,
        epoch_key: bytes,
        own: NodeId,
        sealing_keys: Iterable[SealingKey],
    ) -> None:
        """Open what is sealed under *epoch_key*, to the group or to *own*."""
        topics = EpochTopics(epoch_key)
        message_key = hkdf(epoch_key, Context.GROUP_MESSAGE)
        self._entries[topics.key_tag()] = KeyringEntry(group, epoch, None, message_key)
        salt = hkdf(epoch_key, Context.DIRECT_SALT)
        for sealing in sealing_keys:
            tag = topics.direct_key_tag(own, sealing.public)
            self._entries[tag] = KeyringEntry(group, epoch, own, salt, sealing)

    def drop_group(self, group: GroupId) -> None:
        """Forget every key of *group*."""
        self._keep_if(lambda entry: entry.group != group)

    def find(self, tag: bytes) -> KeyringEntry | None:
        """Return what *tag* stands for, or None."""
        return self._entries.get(tag)

    def _keep_if(self, wanted: Callable[[KeyringEntry], bool]) -> None:
        kept = {tag: entry for tag, entry in self._entries.items() if wanted(entry)}
        self._entries = kept

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._entries)}>"


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope held. Believe it only after `check_signature`."""

    header: Header
    body: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


# --- sealing ------------------------------------------------------------------


def seal_group(
    header: Header, body: bytes, signer: Signer, epoch_key: bytes, nonce24: bytes
) -> bytes:
    """Return the payload that tells *body* to every member; the nonce must be fresh."""
    if header.recipient is not None:
        raise ValueError("a message to the group names no recipient")
    outside = bytes([VERSION]) + EpochTopics(epoch_key).key_tag()
    plain = _sign(outside, header, body, signer)
    key = hkdf(epoch_key, Context.GROUP_MESSAGE)
    return _seal(outside, nonce24, b"", plain, key)


def seal_direct(
    header: Header,
    body: bytes,
    signer: Signer,
    recipient_sealing: bytes,
    epoch_key: bytes,
    nonce24: bytes,
    ephemeral_seed: bytes,
) -> bytes:
    """Return the payload that tells *body* to one member; nonce and seed are fresh.

    Raises WeakKey if the recipient's sealing key is no key.
    """
    if header.recipient is None:
        raise ValueError("a direct message names its recipient")
    tag = EpochTopics(epoch_key).direct_key_tag(header.recipient, recipient_sealing)
    outside = bytes([VERSION]) + tag
    plain = _sign(outside, header, body, signer)
    ephemeral = SealingKey(ephemeral_seed)
    key = _direct_key(
        ephemeral.agree(recipient_sealing),
        hkdf(epoch_key, Context.DIRECT_SALT),
        ephemeral.public,
        recipient_sealing,
    )
    return _seal(outside, nonce24, ephemeral.public, plain, key)


def _seal(
    outside: bytes, nonce: bytes, ephemeral: bytes, plain: bytes, key: bytes
) -> bytes:
    head = outside + nonce + ephemeral
    needed = len(head) + len(plain) + TAG_BYTES
    size = next((size for size in PAYLOAD_SIZES if size >= needed), None)
    if size is None:
        raise ValueError(f"a message of {needed} bytes is over {PAYLOAD_SIZES[-1]}")
    padded = plain + bytes(size - needed)
    return head + encrypt(padded, head, nonce, key)


def _sign(outside: bytes, header: Header, body: bytes, signer: Signer) -> bytes:
    if header.sender != signer.node_id:
        raise ValueError("a message is signed by its sender")
    inside = _encode_inside(header, body)
    return inside + signer.sign(Context.ENVELOPE, outside + inside)


def _encode_inside(header: Header, body: bytes) -> bytes:
    if len(body) > DECOMPRESSED_MAX:
        raise ValueError(f"a body of {len(body)} bytes is over {DECOMPRESSED_MAX}")
    if not _is_kind(header.kind):
        raise ValueError(f"{header.kind!r} cannot be a kind of message")
    if max(header.epoch, header.incarnation, header.counter) > NUMBER_MAX:
        raise ValueError("a number of the header is out of range")
    flags = 0 if header.recipient is None else _DIRECT
    packed = zlib.compress(body) if len(body) >= COMPRESS_FROM else body
    if len(packed) < len(body):
        flags, body = flags | _COMPRESSED, packed
    kind = header.kind.encode("ascii")
    fixed = _INSIDE.pack(
        flags,
        header.sender,
        header.group,
        header.epoch,
        header.recipient or _NOBODY,
        header.channel,
        header.incarnation,
        header.counter,
        len(kind),
        len(body),
    )
    return fixed + kind + body


def _direct_key(
    shared: bytes, epoch_salt: bytes, ephemeral: bytes, recipient: bytes
) -> bytes:
    # The epoch's share in the salt keeps everybody outside the group from even trying.
    salt = epoch_salt + ephemeral + recipient
    return hkdf(shared, Context.DIRECT_MESSAGE, salt=salt)


# --- opening ------------------------------------------------------------------


def open_envelope(payload: bytes, keyring: Keyring) -> Opened:
    """Return what *payload* holds, or raise a PeerError; who signed is not checked."""
    if len(payload) not in PAYLOAD_SIZES:
        raise MalformedEnvelope(f"{len(payload)} bytes are no envelope")
    if payload[0] != VERSION:
        raise UnknownVersion(f"an envelope of version {payload[0]}")
    entry = keyring.find(payload[1 : 1 + KEY_TAG_BYTES])
    if entry is None:
        raise UnknownKey("an envelope under a key that is not ours")
    plain = _unseal(payload, entry)
    opened = _decode_inside(payload[: 1 + KEY_TAG_BYTES], plain)
    header = opened.header
    # A member can seal what another member signed anew: under another key, to another
    # group, epoch or node. What was signed must be where it was meant to be.
    if (header.group, header.epoch, header.recipient) != (
        entry.group,
        entry.epoch,
        entry.recipient,
    ):
        raise ForgedEnvelope("an envelope was sealed again for somebody else")
    return opened


def check_signature(opened: Opened, identity_public: bytes) -> None:
    """Raise ForgedEnvelope unless the sender, whose key this is, signed it all."""
    if len(identity_public) != KEY_BYTES or (
        node_id(identity_public) != opened.header.sender
    ):
        raise ForgedEnvelope("an envelope's sender is another node")
    try:
        verify(identity_public, Context.ENVELOPE, opened.signed, opened.signature)
    except BadSignature:
        raise ForgedEnvelope("an envelope's signature is not its sender's") from None


def _unseal(payload: bytes, entry: KeyringEntry) -> bytes:
    at = _OUTSIDE_BYTES if entry.sealing is None else _OUTSIDE_BYTES + KEY_BYTES
    head, sealed = payload[:at], payload[at:]
    try:
        key = entry.secret
        if entry.sealing is not None:
            ephemeral = head[_OUTSIDE_BYTES:]
            shared = entry.sealing.agree(ephemeral)
            key = _direct_key(shared, key, ephemeral, entry.sealing.public)
        nonce = head[1 + KEY_TAG_BYTES : _OUTSIDE_BYTES]
        return decrypt(sealed, head, nonce, key)
    except (UnsealError, WeakKey):
        raise ForgedEnvelope("an envelope does not open under its key") from None


def _decode_inside(outside: bytes, plain: bytes) -> Opened:
    header, compressed, body_at, body_size = _decode_header(plain)
    end = body_at + body_size
    if end + SIGNATURE_BYTES > len(plain):
        raise MalformedEnvelope("an envelope's lengths pass its end")
    if plain[end + SIGNATURE_BYTES :].strip(b"\0"):
        raise MalformedEnvelope("an envelope's padding is not zero")
    body = plain[body_at:end]
    return Opened(
        header=header,
        body=_decompress(body) if compressed else body,
        signed=outside + plain[:end],
        signature=plain[end : end + SIGNATURE_BYTES],
    )


def _decode_header(plain: bytes) -> tuple[Header, bool, int, int]:
    # PAYLOAD_SIZES leave room for the fixed part in every envelope.
    fields = _INSIDE.unpack_from(plain)
    flags, sender, group, epoch, recipient, channel = fields[:6]
    incarnation, counter, kind_size, body_size = fields[6:]
    if flags & ~(_COMPRESSED | _DIRECT):
        raise MalformedEnvelope(f"an envelope has unknown flags {flags:#x}")
    if not flags & _DIRECT and recipient != _NOBODY:
        raise MalformedEnvelope("an envelope to the group names a recipient")
    if channel not in Channel.__members__.values():
        raise MalformedEnvelope(f"an envelope is on unknown channel {channel}")
    if max(epoch, incarnation, counter) > NUMBER_MAX:
        raise MalformedEnvelope("a number of an envelope is out of range")
    body_at = _INSIDE.size + kind_size
    kind = plain[_INSIDE.size : body_at].decode("latin-1")
    if not _is_kind(kind):
        raise MalformedEnvelope("an envelope's kind is malformed")
    header = Header(
        sender=sender,
        group=group,
        epoch=epoch,
        recipient=recipient if flags & _DIRECT else None,
        channel=Channel(channel),
        kind=kind,
        incarnation=incarnation,
        counter=counter,
    )
    return header, bool(flags & _COMPRESSED), body_at, body_size


def _is_kind(kind: str) -> bool:
    return 0 < len(kind) <= KIND_BYTES_MAX and _KIND_CHARACTERS.issuperset(kind)


def _decompress(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        # One byte more than allowed tells "exactly full" from "more to come".
        body = unpacker.decompress(packed, DECOMPRESSED_MAX + 1)
    except zlib.error:
        raise MalformedEnvelope("an envelope's body does not unpack") from None
    if len(body) > DECOMPRESSED_MAX:
        raise MalformedEnvelope(f"an envelope unpacks to over {DECOMPRESSED_MAX} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedEnvelope("an envelope's body is cut short or has a tail")
    return body
