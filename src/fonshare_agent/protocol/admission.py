"""What makes the joiner a member, as the inviter hands it over.

Owns the form of an admission before it is sealed to the joiner's sealing key
(docs/protocol/invite.md, "Admission"). Knows nothing of how it travels, and does not
judge it: the operations and grants in it are checked by those who own them.
"""

import json
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from fonshare_agent.errors import MalformedMessage
from fonshare_agent.model import is_label
from fonshare_agent.protocol.operations import BROKER_CHARS_MAX, BROKERS_MAX
from fonshare_agent.protocol.signed import (
    RECORD_BYTES_MAX,
    Fields,
    canonical,
    expect_fields,
    read_bytes,
    read_list,
    read_text,
    to_text,
)

ADMISSION_BYTES_MAX: Final = 6 * 1024 * 1024  # a full log (roster.py) and its grants
ITEMS_MAX: Final = 8192  # operations, or grants, of one admission


@dataclass(frozen=True, slots=True)
class Admission:
    """What makes the joiner a member. Secret: broker URLs may hold passwords."""

    operations: tuple[bytes, ...] = field(repr=False)
    grants: tuple[bytes, ...] = field(repr=False)
    brokers: tuple[str, ...] = field(repr=False)
    label: str

    def encode(self) -> bytes:
        """Return the compressed form; ValueError if it is too long to send."""
        plain = canonical(
            {
                "operations": [to_text(one) for one in self.operations],
                "grants": [to_text(one) for one in self.grants],
                "brokers": list(self.brokers),
                "label": self.label,
            }
        )
        packed = zlib.compress(plain)
        if len(plain) > 2 * ADMISSION_BYTES_MAX or len(packed) > ADMISSION_BYTES_MAX:
            raise ValueError(f"an admission of {len(plain)} bytes is too long")
        return packed

    @classmethod
    def decode(cls, packed: bytes) -> "Admission":
        """Return the admission in *packed*, well formed; or raise PeerError."""
        fields = _parse(_decompress(packed))
        expect_fields(fields, {"operations", "grants", "brokers", "label"})
        label = fields["label"]
        if not isinstance(label, str) or not is_label(label):
            raise MalformedMessage("an admission's group has no name")
        brokers = read_list(fields["brokers"], BROKERS_MAX)
        return cls(
            _read_raws(fields["operations"]),
            _read_raws(fields["grants"]),
            tuple(read_text(one, BROKER_CHARS_MAX) for one in brokers),
            label,
        )


def _read_raws(value: Any) -> tuple[bytes, ...]:
    items = read_list(value, ITEMS_MAX)
    return tuple(read_bytes(item, most=RECORD_BYTES_MAX) for item in items)


def _parse(plain: bytes) -> Fields:
    try:
        fields = json.loads(plain)
    except (ValueError, RecursionError):
        raise MalformedMessage("an admission is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedMessage("an admission is not an object")
    return fields


def _decompress(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed, 2 * ADMISSION_BYTES_MAX)
    except zlib.error:
        raise MalformedMessage("an admission does not unpack") from None
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedMessage("an admission is too long, or cut short")
    return plain
