"""Signed records: canonical JSON that carries its author's key and signature.

Owns the bytes of docs/protocol/roster.md, section "Signed records", that operations,
epoch grants and invite messages share. Rules: a record has exactly one form, so that
its hash is its name (other spellings of the same JSON are refused); bytes are base64url
without padding; nothing is looked at before the signature has been verified. Knows
nothing of what a record means.
"""

import base64
import binascii
import json
import struct
from itertools import pairwise
from typing import Any, Final

from fonshare_agent.errors import MalformedMessage, UnknownVersion
from fonshare_agent.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, Signer, verify

RECORD_FORMAT: Final = 1
RECORD_BYTES_MAX: Final = 65536  # a grant for 64 members and 256 heads is 32 KiB

_HEAD = struct.Struct(">B32sI")  # format, author's identity key, length of the JSON

Fields = dict[str, Any]


def sign_record(signer: Signer, context: str, fields: Fields) -> bytes:
    """Return *fields* as a record by *signer*."""
    body = canonical(fields)
    signed = _HEAD.pack(RECORD_FORMAT, signer.public, len(body)) + body
    if len(signed) + SIGNATURE_BYTES > RECORD_BYTES_MAX:
        raise ValueError(f"a record of {len(body)} bytes is too long to send")
    return signed + signer.sign(context, signed)


def open_record(raw: bytes, context: str) -> tuple[bytes, Fields]:
    """Return author's identity key and fields of a verified record, or PeerError."""
    if not _HEAD.size + SIGNATURE_BYTES < len(raw) <= RECORD_BYTES_MAX:
        raise MalformedMessage(f"{len(raw)} bytes cannot be a signed record")
    record_format, identity, length = _HEAD.unpack_from(raw)
    if record_format != RECORD_FORMAT:
        raise UnknownVersion(f"a signed record of format {record_format}")
    if len(raw) != _HEAD.size + length + SIGNATURE_BYTES:
        raise MalformedMessage("a signed record has the wrong length")
    signed, signature = raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:]
    verify(identity, context, signed, signature)
    return identity, parse_canonical(signed[_HEAD.size :])


def canonical(fields: Fields) -> bytes:
    """Return *fields* as canonical JSON."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def parse_canonical(body: bytes) -> Fields:
    """Return the fields in *body*; MalformedMessage unless it is their one form."""
    try:
        fields = json.loads(body)
        is_canonical = isinstance(fields, dict) and canonical(fields) == body
    except (ValueError, RecursionError):
        raise MalformedMessage("a signed record is not JSON") from None
    if not is_canonical:
        raise MalformedMessage("a signed record is not canonical JSON")
    return dict(fields)


# --- one field each: a valid value, or MalformedMessage -------------------------


def to_text(raw: bytes) -> str:
    """Return *raw* as it stands in a record."""
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def read_bytes(value: Any, length: int | None = None, most: int = 4096) -> bytes:
    """Return the bytes in *value*: *length* of them, or at most *most*."""
    if not isinstance(value, str) or len(value) > 2 * most:
        raise MalformedMessage("expected base64 text")
    try:
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (ValueError, binascii.Error):
        raise MalformedMessage("bad base64 in a signed record") from None
    # One form only: the decoder forgives foreign characters and loose last bits.
    if to_text(raw) != value:
        raise MalformedMessage("base64 in a signed record is not canonical")
    if len(raw) > most or (length is not None and len(raw) != length):
        raise MalformedMessage(f"a field of a signed record has {len(raw)} bytes")
    return raw


def read_hashes(value: Any, most: int) -> tuple[bytes, ...]:
    """Return at most *most* hashes, which must be sorted and differ."""
    hashes = tuple(read_bytes(item, KEY_BYTES) for item in read_list(value, most))
    if any(left >= right for left, right in pairwise(hashes)):
        raise MalformedMessage("hashes in a signed record are not in order")
    return hashes


def read_list(value: Any, most: int) -> list[Any]:
    """Return a list of at most *most* items."""
    if not isinstance(value, list) or len(value) > most:
        raise MalformedMessage(f"expected a list of at most {most}")
    return value


def read_text(value: Any, most: int) -> str:
    """Return text of at most *most* characters without control characters."""
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise MalformedMessage(f"expected text of at most {most} characters")
    return value


def read_number(value: Any) -> int:
    """Return a whole number from 0 to 2^63-1."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise MalformedMessage("expected a whole number from 0 to 2^63-1")
    return value


def expect_fields(fields: Fields, names: set[str]) -> None:
    """Raise MalformedMessage unless *fields* has exactly these *names*."""
    if set(fields) != names:
        raise MalformedMessage("a signed record lacks a field, or has one too many")
