"""Invite codes, what is derived from their secret, and the six words.

Owns the text that one person sends another (docs/protocol/codes.md): its layout, its
check digits, its forgiving reading. Rules: a mistake names the group of characters it
is in; every use of the secret is a separate HKDF output; a repr shows neither secret
nor broker login. What happens with a code is invite.py's business.
"""

import re
import struct
from dataclasses import dataclass, field
from typing import Final, Self

from fonshare_agent.errors import BadCode
from fonshare_agent.model import LABEL_BYTES_MAX, base32, is_label
from fonshare_agent.protocol.check_digits import (
    decode_base32,
    encode_groups,
    read_group,
)
from fonshare_agent.protocol.keys import HASH_BYTES, Context, hkdf, node_id
from fonshare_agent.protocol.topics import TOPIC_BYTES, TOPIC_PREFIX

SCHEME: Final = "fonshare:"  # of the link form
SECRET_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 16
GROUP_DATA: Final = 7  # and a check character: the longest a person reads at a glance
URL_BYTES_MAX: Final = 1024
CODE_CHARACTERS_MAX: Final = 4096  # more than any code has; the rest is not read

_FORMAT: Final = 1
_FIXED = struct.Struct(f">B{SECRET_BYTES}s{FINGERPRINT_BYTES}sBH")
# The first byte: format in the high half, these in the low half.
_SCHEME_BITS, _HAS_PIN, _PORT_CUT = 0b0011, 0b0100, 0b1000
_SCHEMES: Final = ("", "mqtt://", "mqtts://")
_PORTS: Final = ("", ":1883", ":8883")

_DASHES: Final = re.compile("[-\u2010-\u2015\u2212]")  # as "corrected" by editors

_CONSONANTS: Final = "bdfghjklmnprstvz"  # 4 bits each
_VOWELS: Final = "aiou"  # 2 bits each
WORDS: Final = 6


@dataclass(frozen=True, slots=True)
class InviteCode:
    """What a joiner must know: where to meet, and how to tell the inviter."""

    broker_url: str = field(repr=False)  # with user and password, never a `ca` file
    secret: bytes = field(repr=False)
    fingerprint: bytes  # `identity_fingerprint` of the inviter
    label: str  # the inviter's name of the group
    ca_pin: bytes | None = None  # SHA-256 of the broker's certificate

    def encode(self) -> str:
        """Return the code as dash-separated groups, in capitals for small QR codes."""
        return "-".join(encode_groups(self._raw(), GROUP_DATA)).upper()

    def link(self) -> str:
        """Return the code as a link, also good for a QR code."""
        return SCHEME.upper() + self.encode()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the code that *text* is, or raise BadCode naming what is mistyped."""
        if len(text) > CODE_CHARACTERS_MAX:
            raise BadCode("this is too long for an invite code")
        typed = _DASHES.sub("-", "".join(text.split())).lower()
        typed = typed.removeprefix(SCHEME).strip("-/")
        if not typed:
            raise BadCode("the invite code is empty")
        data = "".join(_read_groups(typed))
        raw = decode_base32(data)
        if raw is None:
            raise BadCode("the invite code is cut short")
        return cls._decode(raw)

    def _raw(self) -> bytes:
        complaint = self._complaint()
        if complaint:
            raise ValueError(f"an invite code {complaint}")
        scheme = max(i for i, s in enumerate(_SCHEMES) if self.broker_url.startswith(s))
        rest = self.broker_url.removeprefix(_SCHEMES[scheme])
        first = _FORMAT << 4 | scheme
        if scheme and rest.endswith(_PORTS[scheme]):
            first, rest = first | _PORT_CUT, rest.removesuffix(_PORTS[scheme])
        if self.ca_pin is not None:
            first |= _HAS_PIN
        label, url = self.label.encode(), rest.encode()
        fixed = _FIXED.pack(first, self.secret, self.fingerprint, len(label), len(url))
        return fixed + (self.ca_pin or b"") + label + url

    @classmethod
    def _decode(cls, raw: bytes) -> Self:
        if raw[0] >> 4 != _FORMAT:
            raise BadCode(
                "the invite code was made by another version",
                next="Update FonShare on the older of the two.",
            )
        if len(raw) < _FIXED.size:
            raise BadCode("the invite code is cut short")
        first, secret, fingerprint, label_size, url_size = _FIXED.unpack_from(raw)
        pin_end = _FIXED.size + (HASH_BYTES if first & _HAS_PIN else 0)
        label_end = pin_end + label_size
        if len(raw) != label_end + url_size:
            raise BadCode("the invite code is cut short, or has something added")
        scheme = first & _SCHEME_BITS
        if scheme >= len(_SCHEMES):
            raise BadCode("the invite code names an unknown kind of broker")
        try:
            label, url = raw[pin_end:label_end].decode(), raw[label_end:].decode()
        except UnicodeDecodeError:
            raise BadCode("the invite code holds no text where it should") from None
        code = cls(
            broker_url=_SCHEMES[scheme] + url + _port(first, scheme),
            secret=secret,
            fingerprint=fingerprint,
            label=label,
            ca_pin=raw[_FIXED.size : pin_end] or None,
        )
        complaint = code._complaint()
        if complaint:
            raise BadCode(f"the invite code {complaint}")
        return code

    def _complaint(self) -> str | None:
        if len(self.secret) != SECRET_BYTES or (
            len(self.fingerprint) != FINGERPRINT_BYTES
        ):
            return "has a secret or fingerprint of the wrong length"
        if self.ca_pin is not None and len(self.ca_pin) != HASH_BYTES:
            return "has a pin of the wrong length"
        if not is_label(self.label):
            return f"has no group name of 1 to {LABEL_BYTES_MAX} printable bytes"
        url = self.broker_url
        if not url or not url.isprintable() or " " in url:
            return "has no broker URL"
        if len(url.encode()) > URL_BYTES_MAX:
            return f"has a broker URL over {URL_BYTES_MAX} bytes"
        return None


def identity_fingerprint(identity_public: bytes) -> bytes:
    """Return the 128 bits by which a code names its inviter."""
    return node_id(identity_public)[:FINGERPRINT_BYTES]


def invite_topics(secret: bytes) -> tuple[str, str]:
    """Return the topics (to the inviter, to the joiner)."""
    to_inviter = hkdf(secret, Context.INVITE_TOPIC_TO_INVITER, TOPIC_BYTES)
    to_joiner = hkdf(secret, Context.INVITE_TOPIC_TO_JOINER, TOPIC_BYTES)
    return TOPIC_PREFIX + base32(to_inviter), TOPIC_PREFIX + base32(to_joiner)


def invite_keys(secret: bytes) -> tuple[bytes, bytes]:
    """Return the AEAD keys of messages (to the inviter, to the joiner)."""
    return (
        hkdf(secret, Context.INVITE_KEY_TO_INVITER),
        hkdf(secret, Context.INVITE_KEY_TO_JOINER),
    )


def words(transcript_hash: bytes) -> tuple[str, ...]:
    """Return six words of 16 bits each that two persons compare aloud."""
    raw = hkdf(transcript_hash, Context.WORDS, 2 * WORDS)
    return tuple(_word(number) for (number,) in struct.iter_unpack(">H", raw))


def _word(number: int) -> str:
    return (
        _CONSONANTS[number >> 12]
        + _VOWELS[number >> 10 & 3]
        + _CONSONANTS[number >> 6 & 15]
        + _VOWELS[number >> 4 & 3]
        + _CONSONANTS[number & 15]
    )


def _port(first: int, scheme: int) -> str:
    return _PORTS[scheme] if first & _PORT_CUT else ""


def _read_groups(typed: str) -> list[str]:
    size = GROUP_DATA + 1
    pieces = typed.split("-")
    groups: list[str] = []
    for piece in pieces:
        # Dashes may be missing; where there is one, a group must end.
        for at in range(0, len(piece), size):
            typed_group = piece[at : at + size]
            number = len(groups) + 1
            is_last = piece is pieces[-1] and at + size >= len(piece)
            data = read_group(typed_group, number)
            if data is None or (len(typed_group) < size and not is_last):
                raise BadCode(f"group {number} {typed_group!r} is mistyped")
            groups.append(data)
    return groups
