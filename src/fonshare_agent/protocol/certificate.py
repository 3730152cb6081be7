"""The certificate a node shows in TLS: self-signed, Ed25519, written by hand in DER.

Owns the one place where DER is written (docs/protocol/keys.md, "TLS certificate").
Rules: the same seed gives the same bytes for ever, so the fingerprint in a key
statement stays true; it says nothing of who the node is; it is valid from 1970, since
routers boot in the past. Peers trust the fingerprint, never the name or the dates.
"""

import base64
import hashlib
from typing import Final

from nacl import bindings

from fonshare_agent.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, Context

COMMON_NAME: Final = "fonshare"  # the same for all: a passive observer learns no name

# X.690 tags
_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x01, 0x02, 0x03, 0x04, 0x06
_UTF8_STRING, _UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _SET = 12, 23, 24, 0x30, 0x31

_ED25519: Final = bytes.fromhex("2b6570")  # 1.3.101.112, RFC 8410
_COMMON_NAME: Final = bytes.fromhex("550403")  # 2.5.4.3
_SUBJECT_KEY_ID: Final = bytes.fromhex("551d0e")  # 2.5.29.14
_KEY_USAGE: Final = bytes.fromhex("551d0f")  # 2.5.29.15
_BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")  # 2.5.29.19
_AUTHORITY_KEY_ID: Final = bytes.fromhex("551d23")  # 2.5.29.35

# digitalSignature (for the handshake) and keyCertSign (it is its own issuer)
_USAGE: Final = bytes([2, 0b10000100])
KEY_ID_BYTES: Final = 20
SERIAL_BYTES: Final = 16


def self_signed_certificate(tls_seed: bytes) -> bytes:
    """Return the DER certificate of the TLS key made from *tls_seed*."""
    if len(tls_seed) != KEY_BYTES:
        raise ValueError(f"a TLS seed has {KEY_BYTES} bytes, not {len(tls_seed)}")
    public, secret = bindings.crypto_sign_seed_keypair(tls_seed)
    body = _to_be_signed(public)
    # X.509 fixes what is signed, so no context string here; this key signs nothing
    # but its certificate and TLS handshakes, which is why it is a key of its own.
    signature = bindings.crypto_sign(body, secret)[:SIGNATURE_BYTES]
    return _der(_SEQUENCE, body, _ALGORITHM, _der(_BIT_STRING, b"\0", signature))


def fingerprint(der: bytes) -> bytes:
    """Return the SHA-256 by which peers know the certificate."""
    return hashlib.sha256(der).digest()


def certificate_pem(der: bytes) -> str:
    """Return *der* as the PEM text that `ssl` loads."""
    return _pem("CERTIFICATE", der)


def private_key_pem(tls_seed: bytes) -> str:
    """Return the PKCS #8 PEM text of the TLS key (RFC 8410, section 7)."""
    if len(tls_seed) != KEY_BYTES:
        raise ValueError(f"a TLS seed has {KEY_BYTES} bytes, not {len(tls_seed)}")
    key = _der(_OCTET_STRING, _der(_OCTET_STRING, tls_seed))
    return _pem("PRIVATE KEY", _der(_SEQUENCE, _der(_INTEGER, b"\0"), _ALGORITHM, key))


def _to_be_signed(public: bytes) -> bytes:
    return _der(
        _SEQUENCE,
        _der(0xA0, _der(_INTEGER, b"\x02")),  # version 3
        _der(_INTEGER, _serial(public)),
        _ALGORITHM,
        _NAME,
        # RFC 5280, section 4.1.2.5: UTCTime through 2049, GeneralizedTime after.
        _der(
            _SEQUENCE,
            _der(_UTC_TIME, b"700101000000Z"),
            _der(_GENERALIZED_TIME, b"99991231235959Z"),
        ),
        _NAME,
        _der(_SEQUENCE, _ALGORITHM, _der(_BIT_STRING, b"\0", public)),
        _der(0xA3, _der(_SEQUENCE, *_extensions(public))),
    )


def _extensions(public: bytes) -> list[bytes]:
    # All names are equal, so among several trusted certificates OpenSSL finds the
    # right one by its key id; strict verification asks for all four.
    key_id = hashlib.sha256(public).digest()[:KEY_ID_BYTES]
    is_authority = _der(_SEQUENCE, _der(_BOOLEAN, b"\xff"))
    return [
        _extension(_BASIC_CONSTRAINTS, is_authority, critical=True),
        _extension(_KEY_USAGE, _der(_BIT_STRING, _USAGE), critical=True),
        _extension(_SUBJECT_KEY_ID, _der(_OCTET_STRING, key_id)),
        _extension(_AUTHORITY_KEY_ID, _der(_SEQUENCE, _der(0x80, key_id))),
    ]


def _extension(oid: bytes, value: bytes, *, critical: bool = False) -> bytes:
    flag = _der(_BOOLEAN, b"\xff") if critical else b""
    return _der(_SEQUENCE, _der(_OID, oid), flag, _der(_OCTET_STRING, value))


def _serial(public: bytes) -> bytes:
    digest = hashlib.sha256(Context.CERTIFICATE_SERIAL.encode() + public).digest()
    # Positive and of one length: the sign bit clear, the next one set.
    return bytes([digest[0] & 0x3F | 0x40]) + digest[1:SERIAL_BYTES]


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _pem(label: str, der: bytes) -> str:
    text = base64.b64encode(der).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


_ALGORITHM: Final = _der(_SEQUENCE, _der(_OID, _ED25519))
_NAME: Final = _der(
    _SEQUENCE,
    _der(
        _SET,
        _der(
            _SEQUENCE,
            _der(_OID, _COMMON_NAME),
            _der(_UTF8_STRING, COMMON_NAME.encode()),
        ),
    ),
)
