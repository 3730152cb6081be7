"""What inviter and joiner tell each other, and how it looks on the broker.

Owns the frames and records of docs/protocol/invite.md. Rules: a frame is sealed under
the key of its direction and padded like an envelope; every message but the knock, which
must hide who knocks, and the inviter's nonce, which its reply commits to, is signed and
names its kind and its invite, so that none can be used in another place. Knows nothing
of when a message is due.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from fonshare_agent.errors import ForgedInvite, MalformedMessage, UnknownVersion
from fonshare_agent.model import is_label
from fonshare_agent.protocol.admission import ADMISSION_BYTES_MAX
from fonshare_agent.protocol.envelope import PAYLOAD_SIZES
from fonshare_agent.protocol.keys import (
    HASH_BYTES,
    NONCE_BYTES,
    STATEMENT_BYTES_MAX,
    TAG_BYTES,
    Context,
    KeyStatement,
    Signer,
    decrypt,
    encrypt,
    hkdf,
)
from fonshare_agent.protocol.signed import (
    Fields,
    expect_fields,
    open_record,
    read_bytes,
    read_number,
    read_text,
    sign_record,
    to_text,
)
from fonshare_agent.protocol.topics import KEY_TAG_BYTES

VERSION: Final = 1
FRESH_BYTES: Final = 32  # of the nonces that both sides commit to
INVITE_ID_BYTES: Final = 16
REASON_CHARS_MAX: Final = 64
CHUNK_BYTES: Final = 24000  # in base64 and its record it just fits 32 KiB
PAGES_MAX: Final = ADMISSION_BYTES_MAX // CHUNK_BYTES + 1

_OUTSIDE: Final = 1 + KEY_TAG_BYTES + NONCE_BYTES
_INSIDE = struct.Struct(">BI")  # kind, length; then the content, then zeros
_TAG_INFO: Final = "fonshare invite tag 1"
_ID_INFO: Final = "fonshare invite id 1"

Draw = Callable[[int], bytes]


class Kind(IntEnum):
    """What a frame holds."""

    KNOCK = 1  # joiner: my commitment
    REPLY = 2  # inviter: who I am, my commitment
    REVEAL = 3  # joiner: who I am, my nonce
    NONCE = 4  # inviter: my nonce
    ACCEPT = 5  # joiner: my person agrees; give me that page of the admission
    PAGE = 6  # inviter: a page of the admission
    DONE = 7  # joiner: I have it all
    REFUSE = 8  # either: it ends here, for this reason
    CLOSED = 9  # inviter: I heard that you are done, or that you refuse


_JOINER_CONTEXT: Final = {
    Kind.REVEAL: Context.INVITE_JOINER,
    Kind.REFUSE: Context.INVITE_JOINER,
    Kind.ACCEPT: Context.INVITE_ACCEPT,
    Kind.DONE: Context.INVITE_ACCEPT,
}


# --- frames -----------------------------------------------------------------------


def seal_frame(kind: Kind, content: bytes, key: bytes, draw: Draw) -> bytes:
    """Return *content* as a payload that looks like any envelope."""
    needed = _OUTSIDE + _INSIDE.size + len(content) + TAG_BYTES
    size = next(size for size in PAYLOAD_SIZES if size >= needed)
    head = bytes([VERSION]) + hkdf(key, _TAG_INFO, KEY_TAG_BYTES)
    nonce = draw(NONCE_BYTES)
    plain = _INSIDE.pack(kind, len(content)) + content + bytes(size - needed)
    return head + nonce + encrypt(plain, head, nonce, key)


def open_frame(payload: bytes, key: bytes) -> tuple[int, bytes]:
    """Return kind and content of a frame, or raise PeerError; the kind may be new."""
    if len(payload) not in PAYLOAD_SIZES:
        raise MalformedMessage(f"{len(payload)} bytes are no invite frame")
    if payload[0] != VERSION:
        raise UnknownVersion(f"an invite frame of version {payload[0]}")
    head, nonce = payload[: 1 + KEY_TAG_BYTES], payload[1 + KEY_TAG_BYTES : _OUTSIDE]
    plain = decrypt(payload[_OUTSIDE:], head, nonce, key)
    kind, length = _INSIDE.unpack_from(plain)
    content, padding = plain[_INSIDE.size :][:length], plain[_INSIDE.size + length :]
    if len(content) != length or any(padding):
        raise MalformedMessage("an invite frame's length or padding is wrong")
    return kind, content


# --- commitments and transcript ------------------------------------------------------


def invite_id(secret: bytes) -> bytes:
    """Return what names the invite in signed records, without telling its secret."""
    return hkdf(secret, _ID_INFO, INVITE_ID_BYTES)


def commit(nonce: bytes, statement: bytes, seen: bytes = b"") -> bytes:
    """Return a commitment to *nonce* and to who chose it, after having *seen* that."""
    return _hash(b"fonshare invite commitment 1", nonce, statement, seen)


def transcript(knock: bytes, reply: bytes, reveal: bytes, nonce: bytes) -> bytes:
    """Return the hash of all that both sides must have seen alike."""
    return _hash(b"fonshare invite transcript 1", knock, reply, reveal, nonce)


def _hash(*parts: bytes) -> bytes:
    # Each part behind its length, so that no two lists of parts read the same.
    joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hashlib.sha256(joined).digest()


# --- the inviter's records ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """Who invites, and a commitment to the inviter's nonce, for one knock."""

    raw: bytes = field(repr=False)
    knock: bytes
    statement: KeyStatement
    commitment: bytes
    label: str


def make_reply(
    signer: Signer,
    invite: bytes,
    knock: bytes,
    statement: KeyStatement,
    nonce: bytes,
    label: str,
) -> bytes:
    """Sign the answer to *knock*."""
    encoded = statement.encode()
    fields = {
        "knock": to_text(knock),
        "statement": to_text(encoded),
        "commitment": to_text(commit(nonce, encoded, knock)),
        "label": label,
    }
    return _sign(signer, Context.INVITE_REPLY, Kind.REPLY, invite, fields)


def read_reply(raw: bytes, invite: bytes) -> Reply:
    """Return the reply in *raw*, its signature checked."""
    names = {"knock", "statement", "commitment", "label"}
    identity, fields = _open(raw, Context.INVITE_REPLY, Kind.REPLY, invite, names)
    label = fields["label"]
    if not isinstance(label, str) or not is_label(label):
        raise MalformedMessage("an invite's group has no name")
    return Reply(
        raw,
        read_bytes(fields["knock"], HASH_BYTES),
        _read_statement(fields["statement"], identity),
        read_bytes(fields["commitment"], HASH_BYTES),
        label,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the sealed admission; `digest` is the hash of the whole."""

    identity: bytes
    transcript: bytes
    part: int
    parts: int
    digest: bytes
    chunk: bytes = field(repr=False)


def make_page(
    signer: Signer, invite: bytes, transcript: bytes, sealed: bytes, part: int
) -> bytes:
    """Sign page number *part* of *sealed*."""
    start = part * CHUNK_BYTES
    fields = {
        "transcript": to_text(transcript),
        "part": part,
        "parts": page_count(sealed),
        "digest": to_text(hashlib.sha256(sealed).digest()),
        "chunk": to_text(sealed[start : start + CHUNK_BYTES]),
    }
    return _sign(signer, Context.INVITE_REPLY, Kind.PAGE, invite, fields)


def page_count(sealed: bytes) -> int:
    """Return how many pages *sealed* makes."""
    return -(-len(sealed) // CHUNK_BYTES)


def read_page(raw: bytes, invite: bytes) -> Page:
    """Return the page in *raw*, its signature checked."""
    names = {"transcript", "part", "parts", "digest", "chunk"}
    identity, fields = _open(raw, Context.INVITE_REPLY, Kind.PAGE, invite, names)
    part, parts = read_number(fields["part"]), read_number(fields["parts"])
    if not part < parts <= PAGES_MAX:
        raise MalformedMessage(f"page {part} of {parts} pages")
    return Page(
        identity,
        read_bytes(fields["transcript"], HASH_BYTES),
        part,
        parts,
        read_bytes(fields["digest"], HASH_BYTES),
        read_bytes(fields["chunk"], most=CHUNK_BYTES),
    )


def make_notice(
    signer: Signer, kind: Kind, invite: bytes, knock: bytes, reason: str = ""
) -> bytes:
    """Sign the inviter's REFUSE or CLOSED to whoever knocked so."""
    fields = {"knock": to_text(knock), "reason": reason}
    return _sign(signer, Context.INVITE_REPLY, kind, invite, fields)


def read_notice(raw: bytes, kind: Kind, invite: bytes) -> tuple[bytes, bytes, str]:
    """Return (identity, knock, reason) of the inviter's REFUSE or CLOSED."""
    names = {"knock", "reason"}
    identity, fields = _open(raw, Context.INVITE_REPLY, kind, invite, names)
    knock = read_bytes(fields["knock"], HASH_BYTES)
    return identity, knock, read_text(fields["reason"], REASON_CHARS_MAX)


# --- the joiner's records ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reveal:
    """Who knocked: with REVEAL after a reply was `seen`, with REFUSE for a `reason`."""

    raw: bytes = field(repr=False)
    statement: KeyStatement
    nonce: bytes = field(repr=False)
    seen: bytes  # hash of the reply; empty before one came
    reason: str

    @property
    def knock(self) -> bytes:
        """The knock that this one can have made."""
        return commit(self.nonce, self.statement.encode())


def make_reveal(
    signer: Signer,
    kind: Kind,
    invite: bytes,
    statement: KeyStatement,
    nonce: bytes,
    reply: bytes,
    reason: str = "",
) -> bytes:
    """Sign the joiner's REVEAL or REFUSE."""
    fields = {
        "statement": to_text(statement.encode()),
        "nonce": to_text(nonce),
        "seen": to_text(hashlib.sha256(reply).digest() if reply else b""),
        "reason": reason,
    }
    return _sign(signer, _JOINER_CONTEXT[kind], kind, invite, fields)


def read_reveal(raw: bytes, kind: Kind, invite: bytes) -> Reveal:
    """Return the joiner's REVEAL or REFUSE in *raw*, its signature checked."""
    names = {"statement", "nonce", "seen", "reason"}
    identity, fields = _open(raw, _JOINER_CONTEXT[kind], kind, invite, names)
    return Reveal(
        raw,
        _read_statement(fields["statement"], identity),
        read_bytes(fields["nonce"], FRESH_BYTES),
        read_bytes(fields["seen"], most=HASH_BYTES),
        read_text(fields["reason"], REASON_CHARS_MAX),
    )


def make_agreement(
    signer: Signer, kind: Kind, invite: bytes, transcript: bytes, want: int = 0
) -> bytes:
    """Sign the joiner's ACCEPT (asking for page *want*) or DONE."""
    fields = {"transcript": to_text(transcript), "want": want}
    return _sign(signer, _JOINER_CONTEXT[kind], kind, invite, fields)


def read_agreement(raw: bytes, kind: Kind, invite: bytes) -> tuple[bytes, bytes, int]:
    """Return (identity, transcript, want) of the joiner's ACCEPT or DONE."""
    names = {"transcript", "want"}
    identity, fields = _open(raw, _JOINER_CONTEXT[kind], kind, invite, names)
    seen = read_bytes(fields["transcript"], HASH_BYTES)
    return identity, seen, read_number(fields["want"])


# --- signing ----------------------------------------------------------------------


def _sign(
    signer: Signer, context: str, kind: Kind, invite: bytes, fields: Fields
) -> bytes:
    bound = {"kind": int(kind), "invite": to_text(invite)}
    return sign_record(signer, context, {**bound, **fields})


def _open(
    raw: bytes, context: str, kind: Kind, invite: bytes, names: set[str]
) -> tuple[bytes, Fields]:
    identity, fields = open_record(raw, context)
    expect_fields(fields, names | {"kind", "invite"})
    named = read_bytes(fields["invite"], INVITE_ID_BYTES)
    # Who holds two codes of one inviter must not mix the two conversations.
    if not hmac.compare_digest(named, invite) or fields["kind"] != kind:
        raise ForgedInvite("a message belongs to another invite")
    return identity, fields


def _read_statement(value: Any, identity: bytes) -> KeyStatement:
    statement = KeyStatement.decode(read_bytes(value, most=STATEMENT_BYTES_MAX))
    if statement.identity != identity:
        raise ForgedInvite("a message carries another node's key statement")
    return statement
