"""Keys and what is done with them: identity, sealing, key statements, derivation.

Owns the table of contexts, signing, HKDF, sealing to one recipient, node ids and key
statements (docs/protocol/keys.md). Rules: every signature and every derived key names
its own context from the table; an all-zero X25519 secret is refused; an object that
holds a secret shows none in its repr. Pure: seeds and nonces come in as arguments, key
files belong to nodekeys.py.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache
from typing import Final, Self

from nacl import bindings, exceptions

from fonshare_agent.errors import (
    BadCode,
    BadSignature,
    MalformedMessage,
    UnknownVersion,
    UnsealError,
    WeakKey,
)
from fonshare_agent.model import LABEL_BYTES_MAX, NodeId, is_label
from fonshare_agent.protocol.check_digits import (
    decode_base32,
    encode_groups,
    read_group,
)

KEY_BYTES: Final = 32  # every seed, public key, symmetric key and fingerprint
NONCE_BYTES: Final = 24  # XChaCha20: long enough to be drawn at random
TAG_BYTES: Final = 16  # Poly1305
SIGNATURE_BYTES: Final = 64
HASH_BYTES: Final = 32  # SHA-256
NUMBER_MAX: Final = 2**63 - 1  # of any u64 on the wire: SQLite stores no more

ID_GROUP: Final = 13  # data characters of a node id's four groups


@unique
class Context(StrEnum):
    """Every use of a key, one each; `unique` keeps two uses from sharing a string.

    A module's private hashes and derivations may keep their own strings; a test holds
    that no string is used in two places.
    """

    # signatures
    KEY_STATEMENT = "fonshare key statement 1"
    ENVELOPE = "fonshare envelope 1"
    OPERATION = "fonshare roster operation 2"
    EPOCH_GRANT = "fonshare epoch grant 1"
    INVITE_REPLY = "fonshare invite reply 1"
    INVITE_JOINER = "fonshare invite joiner 1"
    INVITE_ACCEPT = "fonshare invite accept 1"
    # sealing to one recipient
    SEALED_EPOCH_KEY = "fonshare sealed epoch key 1"
    SEALED_INVITE = "fonshare sealed invite 1"
    # keys derived from an epoch key
    TOPICS = "fonshare topics 1"
    KEY_TAGS = "fonshare key tags 1"
    GROUP_MESSAGE = "fonshare group message 1"
    DIRECT_SALT = "fonshare direct salt 1"
    # keys derived from an ephemeral X25519 secret
    DIRECT_MESSAGE = "fonshare direct message 1"
    # keys derived from an invite's secret
    INVITE_TOPIC_TO_INVITER = "fonshare invite topic to inviter 1"
    INVITE_TOPIC_TO_JOINER = "fonshare invite topic to joiner 1"
    INVITE_KEY_TO_INVITER = "fonshare invite key to inviter 1"
    INVITE_KEY_TO_JOINER = "fonshare invite key to joiner 1"
    # hashes
    WORDS = "fonshare words 1"
    CERTIFICATE_SERIAL = "fonshare certificate serial 1"


class Signer:
    """A node's identity: signs, never decrypts."""

    __slots__ = ("_secret", "node_id", "public")

    def __init__(self, seed: bytes) -> None:
        _expect(seed, KEY_BYTES, "an identity seed")
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.node_id = node_id(self.public)

    def sign(self, context: str, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over *context* and *data*."""
        signed = bindings.crypto_sign(in_context(context, data), self._secret)
        return signed[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"<Signer {node_id_text(self.node_id)[:7]}>"


def verify(public: bytes, context: str, data: bytes, signature: bytes) -> None:
    """Raise BadSignature unless *signature* is *public*'s over *context*, *data*."""
    # libsodium's bindings read 32 bytes whatever they are given.
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise BadSignature("a key or signature has the wrong length")
    try:
        bindings.crypto_sign_open(signature + in_context(context, data), public)
    except exceptions.BadSignatureError:
        raise BadSignature(f"a signature ({context}) does not verify") from None


def in_context(context: str, data: bytes) -> bytes:
    """Return the bytes that are signed: u16 length, context, data."""
    name = context.encode("ascii")
    return struct.pack(">H", len(name)) + name + data


def hkdf(secret: bytes, info: str, length: int = 32, salt: bytes = b"") -> bytes:
    """Return *length* bytes of HKDF-SHA256 (RFC 5869)."""
    if not 0 < length <= 255 * HASH_BYTES:
        raise ValueError(f"HKDF cannot give {length} bytes")
    # An empty salt is HASH_BYTES zeros in the RFC; HMAC pads its key to the same.
    key = hmac.digest(salt, secret, "sha256")
    block, output = b"", b""
    for count in range(1, -(-length // HASH_BYTES) + 1):
        block = hmac.digest(key, block + info.encode() + bytes([count]), "sha256")
        output += block
    return output[:length]


class SealingKey:
    """An X25519 key pair: what others seal to, and how this node opens it."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        _expect(seed, KEY_BYTES, "a sealing seed")
        self._secret = seed
        self.public = bindings.crypto_scalarmult_base(seed)

    def agree(self, peer_public: bytes) -> bytes:
        """Return the X25519 secret shared with *peer_public*; WeakKey if all zero."""
        if len(peer_public) != KEY_BYTES:
            raise WeakKey("a sealing key has the wrong length")
        try:
            return bindings.crypto_scalarmult(self._secret, peer_public)
        except exceptions.RuntimeError:
            # libsodium's only failure: a point of small order, which would make the
            # secret zero, that is known to everybody (RFC 7748, section 6.1).
            raise WeakKey("a sealing key is a point of small order") from None

    def __repr__(self) -> str:
        return "<SealingKey>"


def seal_to(
    recipient_public: bytes,
    plain: bytes,
    ephemeral_seed: bytes,
    nonce: bytes,
    context: str,
) -> bytes:
    """Seal *plain* so that only the holder of *recipient_public*'s key reads it.

    The seed must be fresh; it says nothing of who sealed: sign around it.
    """
    ephemeral = SealingKey(ephemeral_seed)
    shared = ephemeral.agree(recipient_public)
    ends = ephemeral.public + recipient_public
    key = hkdf(shared, context, salt=ends)
    return ephemeral.public + nonce + encrypt(plain, ends, nonce, key)


def open_sealed(key: SealingKey, sealed: bytes, context: str) -> bytes:
    """Return what `seal_to` sealed to *key* under the same *context*; UnsealError if
    nobody has."""
    public, rest = sealed[:KEY_BYTES], sealed[KEY_BYTES:]
    ends = public + key.public
    try:
        secret = hkdf(key.agree(public), context, salt=ends)
    except WeakKey:
        raise UnsealError("a sealed message is to no key at all") from None
    return decrypt(rest[NONCE_BYTES:], ends, rest[:NONCE_BYTES], secret)


def encrypt(plain: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """Return XChaCha20-Poly1305 of *plain*, 16 bytes longer."""
    _expect(nonce, NONCE_BYTES, "a nonce")
    _expect(key, KEY_BYTES, "a key")
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plain, associated, nonce, key
    )


def decrypt(sealed: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """Undo `encrypt`, or raise UnsealError if anything differs."""
    if len(sealed) < TAG_BYTES or len(nonce) != NONCE_BYTES:
        raise UnsealError("a sealed message is too short")
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed, associated, nonce, key
        )
    except exceptions.CryptoError:
        raise UnsealError("a sealed message does not open") from None


# --- node ids -----------------------------------------------------------------


def node_id(public: bytes) -> NodeId:
    """Return the id of the node whose identity key is *public*."""
    _expect(public, KEY_BYTES, "an identity key")
    return NodeId(hashlib.sha256(public).digest())


@lru_cache(maxsize=64)  # each line of a listing has one; computing it takes 0.2 ms
def node_id_text(node: NodeId) -> str:
    """Return *node* as 56 lower-case characters: 4 times 13 and a check character."""
    _expect(node, HASH_BYTES, "a node id")
    return "".join(encode_groups(node, ID_GROUP))


def parse_node_id(text: str) -> NodeId:
    """Return the id that a person typed; BadCode names the mistyped characters.

    Case, spaces and dashes do not matter; 0, 1 and 8 are read as o, i or l, and b.
    """
    typed = "".join(text.replace("-", " ").split())
    if len(typed) != 4 * (ID_GROUP + 1):
        raise BadCode(f"a node id has 56 characters, this has {len(typed)}", thing=text)
    data = ""
    for group in range(1, 5):
        start = (group - 1) * (ID_GROUP + 1)
        part = typed[start : start + ID_GROUP + 1]
        right = read_group(part, group)
        if right is None:
            raise BadCode(
                f"characters {start + 1} to {start + len(part)} of the node id,"
                f" {part!r}, are mistyped",
                thing=text,
            )
        data += right
    raw = decode_base32(data)
    if raw is None:
        raise BadCode("the node id's last characters are mistyped", thing=text)
    return NodeId(raw)


# --- key statements -----------------------------------------------------------

_STATEMENT = struct.Struct(">B32s32s32sQB")  # docs/protocol/keys.md, "Key statement"
STATEMENT_FORMAT: Final = 1
STATEMENT_BYTES_MAX: Final = _STATEMENT.size + LABEL_BYTES_MAX + SIGNATURE_BYTES
_PROBE: Final = bytes(31) + b"\x01"  # any scalar: clamping makes it a multiple of 8


@dataclass(frozen=True, slots=True)
class KeyStatement:
    """A node's word on its other two keys and its name, signed by its identity.

    Only `make` and `decode` build one that is known to be well signed.
    """

    identity: bytes
    name: str
    version: int  # the higher one counts
    tls_fingerprint: bytes
    sealing: bytes
    signature: bytes

    @property
    def node_id(self) -> NodeId:
        """The id of the node that speaks."""
        return node_id(self.identity)

    @classmethod
    def make(
        cls,
        signer: Signer,
        name: str,
        version: int,
        tls_fingerprint: bytes,
        sealing_public: bytes,
    ) -> Self:
        """Sign a statement; *name* must be a label (model.is_label)."""
        if not is_label(name) or not 0 <= version <= NUMBER_MAX:
            raise ValueError("not a name or version for a key statement")
        _expect(tls_fingerprint, HASH_BYTES, "a fingerprint")
        _expect(sealing_public, KEY_BYTES, "a sealing key")
        fields = (signer.public, name, version, tls_fingerprint, sealing_public)
        unsigned = cls(*fields, signature=b"")
        signature = signer.sign(Context.KEY_STATEMENT, unsigned._signed_part())
        return cls(*fields, signature=signature)

    def encode(self) -> bytes:
        """Return the wire form; `decode` takes it back."""
        return self._signed_part() + self.signature

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Return the statement in *raw*, checked and verified, or raise PeerError."""
        if not raw:
            raise MalformedMessage("an empty key statement")
        if raw[0] != STATEMENT_FORMAT:
            raise UnknownVersion(f"a key statement of format {raw[0]}")
        if len(raw) < _STATEMENT.size:
            raise MalformedMessage("a key statement is cut short")
        _, identity, sealing, tls, version, size = _STATEMENT.unpack_from(raw)
        if len(raw) != _STATEMENT.size + size + SIGNATURE_BYTES:
            raise MalformedMessage("a key statement has the wrong length")
        if version > NUMBER_MAX:
            raise MalformedMessage("a key statement's version is out of range")
        name = _decode_label(raw[_STATEMENT.size : _STATEMENT.size + size])
        signature = raw[-SIGNATURE_BYTES:]
        verify(identity, Context.KEY_STATEMENT, raw[:-SIGNATURE_BYTES], signature)
        # Refused here, once, so that nobody who seals to a member can fail later.
        SealingKey(_PROBE).agree(sealing)
        return cls(identity, name, version, tls, sealing, signature)

    def _signed_part(self) -> bytes:
        name = self.name.encode()
        return (
            _STATEMENT.pack(
                STATEMENT_FORMAT,
                self.identity,
                self.sealing,
                self.tls_fingerprint,
                self.version,
                len(name),
            )
            + name
        )


def _decode_label(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise MalformedMessage("a name is not UTF-8") from None
    if not is_label(name):
        raise MalformedMessage("a name is empty, too long or not printable")
    return name


def _expect(value: bytes, length: int, what: str) -> None:
    # Our own callers' mistake, never a peer's: lengths from a peer are checked above.
    if len(value) != length:
        raise ValueError(f"{what} has {length} bytes, not {len(value)}")
