"""The line that opens a stream at a relay, and its proof (docs/protocol/relay.md).

Pure. A stream's number is proven once, so that who has seen a line go by cannot use it
again; the secret itself never travels on that connection.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from fonshare_agent.model import base32
from fonshare_agent.protocol.fields import NONCE_BYTES, BadMessage

CONTEXT: Final = b"fonshare relay 1"
PROOF_BYTES: Final = 16
STREAMS_MAX: Final = 4096  # of one end of one relay
ASKER, OTHER = "A", "B"  # the two ends
PORT_BYTES: Final = 2  # what the asker says first on a stream: which port it is for


@dataclass(frozen=True, slots=True)
class Opening:
    """Which stream of which relay, and the proof that one may."""

    relay: bytes
    end: str
    number: int
    proof: bytes


def opening_line(relay: bytes, secret: bytes, end: str, number: int) -> bytes:
    """Return the line by which the *end* opens its stream *number*."""
    proof = prove(relay, secret, end, number)
    words = ("RELAY", base32(relay), end, str(number), base32(proof))
    return " ".join(words).encode()


def prove(relay: bytes, secret: bytes, end: str, number: int) -> bytes:
    text = CONTEXT + relay + end.encode() + number.to_bytes(4, "big")
    return hmac.digest(secret, text, hashlib.sha256)[:PROOF_BYTES]


def read_opening(argument: str) -> Opening:
    """Read what stands behind the word RELAY, or raise BadMessage."""
    words = argument.split(" ")
    if len(words) != 4 or words[1] not in (ASKER, OTHER):
        raise BadMessage("not the opening of a stream")
    relay, end, number, proof = words
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        raise BadMessage("not a stream's number")
    return Opening(_unpack(relay), end, int(number), _unpack(proof))


def _unpack(text: str) -> bytes:
    try:
        raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise BadMessage("not base32") from None
    if len(raw) != NONCE_BYTES or base32(raw) != text:
        raise BadMessage("not those bytes' only form")
    return raw
