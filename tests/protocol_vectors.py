"""Makes tests/vectors/*.json, by reference_crypto and the text of docs/protocol alone.

`python tests/protocol_vectors.py` writes them; a test compares what it would write with
what is there. It imports nothing of fonshare_agent on purpose.
"""

import base64
import hashlib
import hmac
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from reference_crypto import (
    ED25519_SECRET,
    X25519_SECRET,
    base32,
    checked_groups,
    hkdf,
    public_of,
    sign,
    x25519,
    xchacha_encrypt,
)

FOLDER = Path(__file__).parent / "vectors"
Vector = dict[str, Any]

ANNA_SEED, BEN_SEED = bytes(range(32)), bytes(range(32, 64))
BEN_SEALING_SEED, EPHEMERAL_SEED = bytes(range(64, 96)), bytes(range(96, 128))
EPOCH_KEY, GROUP, NONCE = bytes(range(128, 160)), b"\x47" * 32, bytes(range(24))
ANNA, BEN = public_of(ED25519_SECRET, ANNA_SEED), public_of(ED25519_SECRET, BEN_SEED)
BEN_SEALING = public_of(X25519_SECRET, BEN_SEALING_SEED)
EPHEMERAL = public_of(X25519_SECRET, EPHEMERAL_SEED)
# Fifty times "a body that repeats itself; " as one deflate made it: another may
# choose other codes and be as right.
REPEATING_PACKED = bytes.fromhex(
    "789c4b5448ca4fa95428c9482c51284a2d484d2c2956c82c294ecd49b356481c"
    "951b951b951b951b95a3ba1c006478f85c"
)
ANNA_ID, BEN_ID = hashlib.sha256(ANNA).digest(), hashlib.sha256(BEN).digest()


def in_context(context: str, data: bytes) -> bytes:
    return struct.pack(">H", len(context)) + context.encode() + data


def keys() -> Vector:
    name, version, tls = "Ännchen", 7, hashlib.sha256(b"a certificate").digest()
    fixed = b"\x01" + ANNA + BEN_SEALING + tls + struct.pack(">Q", version)
    signed = fixed + bytes([len(name.encode())]) + name.encode()
    signature = sign(ANNA_SEED, in_context("fonshare key statement 1", signed))
    context, plain = "fonshare sealed epoch key 1", b"an epoch key"
    ends = EPHEMERAL + BEN_SEALING
    key = hkdf(x25519(EPHEMERAL_SEED, BEN_SEALING), context, salt=ends)
    return {
        "seed": ANNA_SEED.hex(),
        "public": ANNA.hex(),
        "node_id": ANNA_ID.hex(),
        "node_id_text": "".join(checked_groups(ANNA_ID, 13)),
        "signature": {
            "context": "fonshare epoch grant 1",
            "data": b"data".hex(),
            "signature": sign(
                ANNA_SEED, in_context("fonshare epoch grant 1", b"data")
            ).hex(),
        },
        "statement": {
            "name": name,
            "version": version,
            "tls_fingerprint": tls.hex(),
            "sealing": BEN_SEALING.hex(),
            "encoded": (signed + signature).hex(),
        },
        "sealed": {
            "recipient_seed": BEN_SEALING_SEED.hex(),
            "recipient_public": BEN_SEALING.hex(),
            "ephemeral_seed": EPHEMERAL_SEED.hex(),
            "nonce": NONCE.hex(),
            "context": context,
            "plain": plain.hex(),
            "sealed": (
                EPHEMERAL + NONCE + xchacha_encrypt(plain, ends, NONCE, key)
            ).hex(),
        },
    }


def tag(key: bytes, length: int, *parts: bytes) -> bytes:
    message = b"".join(bytes([len(part)]) + part for part in parts)
    return hmac.new(key, message, "sha256").digest()[:length]


def topics() -> Vector:
    key, tags = hkdf(EPOCH_KEY, "fonshare topics 1"), key_tags()
    return {
        "epoch_key": EPOCH_KEY.hex(),
        "node": BEN_ID.hex(),
        "sealing": BEN_SEALING.hex(),
        "bulletin": "fonshare/" + base32(tag(key, 20, b"bulletin")),
        "inbox": "fonshare/" + base32(tag(key, 20, b"inbox", BEN_ID)),
        "presence": "fonshare/" + base32(tag(key, 20, b"presence", BEN_ID)),
        "key_tag": tags[0].hex(),
        "direct_key_tag": tags[1].hex(),
        "random": bytes(range(20)).hex(),
        "liveness": "fonshare/" + base32(bytes(range(20))),
    }


def key_tags() -> tuple[bytes, bytes]:
    key = hkdf(EPOCH_KEY, "fonshare key tags 1")
    return tag(key, 16, b"group"), tag(key, 16, b"direct", BEN_ID, BEN_SEALING)


def inside(flags: int, recipient: bytes, channel: int, kind: str, body: bytes) -> bytes:
    fixed = struct.pack(">B", flags) + ANNA_ID + GROUP + struct.pack(">Q", 5)
    fixed += recipient + struct.pack(">BQQ", channel, 3, 1001)
    return fixed + struct.pack(">BI", len(kind), len(body)) + kind.encode() + body


def padded(plain: bytes, head: int) -> bytes:
    sizes = (512, 2048, 8192, 32768, 131072)
    size = next(size for size in sizes if size >= head + len(plain) + 16)
    return plain + bytes(size - head - len(plain) - 16)


def group_envelope(body: bytes, kind: str, flags: int = 0) -> Vector:
    unpacked = zlib.decompress(body) if flags else body
    said = inside(flags, bytes(32), 1, kind, body)
    outside = b"\x01" + key_tags()[0]
    plain = said + sign(ANNA_SEED, in_context("fonshare envelope 1", outside + said))
    head = outside + NONCE
    key = hkdf(EPOCH_KEY, "fonshare group message 1")
    sealed = xchacha_encrypt(padded(plain, len(head)), head, NONCE, key)
    return {
        "recipient": None,
        "channel": 1,
        "kind": kind,
        "body": unpacked.hex(),
        "payload": (head + sealed).hex(),
    }


def direct_envelope(body: bytes, kind: str) -> Vector:
    said = inside(2, BEN_ID, 2, kind, body)
    outside = b"\x01" + key_tags()[1]
    plain = said + sign(ANNA_SEED, in_context("fonshare envelope 1", outside + said))
    head = outside + NONCE + EPHEMERAL
    salt = hkdf(EPOCH_KEY, "fonshare direct salt 1") + EPHEMERAL + BEN_SEALING
    shared = x25519(EPHEMERAL_SEED, BEN_SEALING)
    key = hkdf(shared, "fonshare direct message 1", salt=salt)
    sealed = xchacha_encrypt(padded(plain, len(head)), head, NONCE, key)
    return {
        "recipient": BEN_ID.hex(),
        "channel": 2,
        "kind": kind,
        "body": body.hex(),
        "payload": (head + sealed).hex(),
    }


def envelope() -> Vector:
    return {
        "sender_seed": ANNA_SEED.hex(),
        "recipient_sealing_seed": BEN_SEALING_SEED.hex(),
        "ephemeral_seed": EPHEMERAL_SEED.hex(),
        "own": BEN_ID.hex(),
        "group": GROUP.hex(),
        "epoch": 5,
        "epoch_key": EPOCH_KEY.hex(),
        "nonce": NONCE.hex(),
        "incarnation": 3,
        "counter": 1001,
        "envelopes": [
            group_envelope(b'{"hello": 1}', "hello"),
            group_envelope(b"", "hello"),
            group_envelope(REPEATING_PACKED, "catalogue_delta", flags=1),
            direct_envelope(b'{"job": "1"}', "ticket_ask"),
            direct_envelope(bytes(range(250)), "ticket_grant"),
        ],
    }


def code_text(first: int, pin: bytes, label: str, url: str) -> str:
    secret, fingerprint = bytes(range(16)), ANNA_ID[:16]
    fixed = bytes([first]) + secret + fingerprint
    fixed += struct.pack(">BH", len(label.encode()), len(url.encode()))
    raw = fixed + pin + label.encode() + url.encode()
    return "-".join(checked_groups(raw, 7)).upper()


def words(transcript: bytes) -> list[str]:
    bits = "".join(f"{byte:08b}" for byte in hkdf(transcript, "fonshare words 1", 12))
    found = []
    for at in range(0, 96, 16):
        word, left = "", bits[at : at + 16]
        for width, letters in zip(
            (4, 2, 4, 2, 4), ("bdfghjklmnprstvz", "aiou") * 3, strict=False
        ):
            word, left = word + letters[int(left[:width], 2)], left[width:]
        found.append(word)
    return found


def codes() -> Vector:
    secret, pin = bytes(range(16)), hashlib.sha256(b"a broker").digest()
    topic = "fonshare invite topic to "
    texts = [
        ("mqtt://a:b@broker.example", None, 0x11, b"", "a:b@broker.example"),
        ("mqtt://192.0.2.7:1883", None, 0x19, b"", "192.0.2.7"),
        ("mqtts://broker.example:8883", pin, 0x1E, pin, "broker.example"),
        ("mqtts://broker.example:443", None, 0x12, b"", "broker.example:443"),
        ("wss://broker.example/x", None, 0x10, b"", "wss://broker.example/x"),
    ]
    return {
        "secret": secret.hex(),
        "inviter_public": ANNA.hex(),
        "label": "Famille Müller",
        "codes": [
            {
                "broker_url": url,
                "ca_pin": wanted_pin.hex() if wanted_pin else None,
                "text": code_text(first, raw_pin, "Famille Müller", rest),
            }
            for url, wanted_pin, first, raw_pin, rest in texts
        ],
        "topics": [
            "fonshare/" + base32(hkdf(secret, topic + end + " 1", 20))
            for end in ("inviter", "joiner")
        ],
        "keys": [
            hkdf(secret, f"fonshare invite key to {end} 1").hex()
            for end in ("inviter", "joiner")
        ],
        "transcript_hash": hashlib.sha256(b"a transcript").hexdigest(),
        "words": words(hashlib.sha256(b"a transcript").digest()),
    }


def content() -> Vector:
    kib = 1024
    files = []
    for size in (0, 1, 128 * kib - 1, 128 * kib, 128 * kib + 1, 1000 * kib):
        data = bytes(at * 7 & 0xFF for at in range(251)) * (size // 251 + 1)
        hashes = [
            hashlib.sha256(data[at : min(at + 128 * kib, size)]).digest()
            for at in range(0, size, 128 * kib)
        ]
        head = b"fonshare-root-1" + struct.pack(">QI", size, 128 * kib)
        root = hashlib.sha256(head + b"".join(hashes)).hexdigest()
        files.append({"size": size, "blocks": len(hashes), "root": root})
    return {
        "pattern": "byte i of a file is 7 * (i mod 251) mod 256",
        "files": files,
        # [size, block size, block count]
        "sizes": [
            [1999 * 128 * kib, 128 * kib, 1999],
            [1999 * 128 * kib + 1, 256 * kib, 1000],
            [700 * 1000**2, 512 * kib, 1336],
            [5 * kib**3, 4096 * kib, 1280],
            [1999 * 16384 * kib, 16384 * kib, 1999],
            [100 * kib**3, 16384 * kib, 6400],
        ],
    }


def catalogue() -> Vector:
    changes = [
        ["Films", "Été/a.mkv", 7, 1_600_000_000, None, False],
        ["Films", "caf\udce9.ogg", 0, 0, "A" * 43, False],
        ["Films", "gone", 0, 0, None, True],
    ]
    page = {"index_id": "aW5kZXhpZDg", "after": 3, "upto": 9, "head": 12}
    page["changes"] = changes
    body = json.dumps(page, sort_keys=True, separators=(",", ":")).encode("ascii")
    # Stored, not deflated: another zlib may choose other codes and be as right.
    packed = zlib.compress(body, 0)
    frame = struct.pack(">IQ", len(packed), 9) + packed
    return {"body": body.decode(), "frame": frame.hex()}


def parts() -> Vector:
    """A file of 11 blocks, of which 0, 2, 3 and 10 are here."""
    bits = sum(1 << index for index in (0, 2, 3, 10))
    bitmap = bits.to_bytes(2, "little")
    said = base64.urlsafe_b64encode(bitmap).decode().rstrip("=")
    root = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
    body = {"root": root, "have": said, "asks": True}
    return {
        "count": 11,
        "blocks": [0, 2, 3, 10],
        "bitmap": bitmap.hex(),
        "request": "0,2-3,10",
        # Of eleven blocks: too short, too long, a twelfth block.
        "not_bitmaps": ["0d", "0d0400", "0d0c"],
        # Out of order, twice, empty, beyond the end, backwards, not numbers.
        "not_requests": ["2,0", "1-2,2", "", "11", "3-2", "1,,2", "a", "-1", "1 ,2"],
        "body": json.dumps(body, sort_keys=True, separators=(",", ":")),
    }


def ratings() -> Vector:
    """Two ratings, of which one is taken back, the question for more, and no pages."""

    def text(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def body(**fields: Any) -> str:
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    log, roots, stars = b"ratings8", [bytes(range(32)), b"\xff" * 32], [5, 0]
    page = {"log": text(log), "after": 3, "upto": 7, "head": 9}
    page |= {"roots": text(b"".join(roots)), "stars": text(bytes(stars))}
    wrong = (
        {"log": text(log[:7])},
        {"after": 8},
        {"upto": 10},
        {"upto": -1},
        {"stars": text(b"\x05")},
        {"stars": text(b"\x05\x06")},
        {"stars": [5, 0]},
        {"roots": text(bytes(63))},
        {"roots": text(bytes(513 * 32)), "stars": text(bytes(513))},
    )
    return {
        "log": log.hex(),
        "after": 3,
        "upto": 7,
        "head": 9,
        "roots": [one.hex() for one in roots],
        "stars": stars,
        "body": body(**page),
        "ask": body(log=text(log), after=7),
        "refused": [body(**page | change) for change in wrong],
    }


def relay() -> Vector:
    """The lines that open streams, and lines that open none."""
    relay_id, secret = bytes(range(16)), bytes(range(16, 32))
    openings = []
    for end, number in (("A", 0), ("B", 0), ("A", 7), ("B", 4095)):
        text = b"fonshare relay 1" + relay_id + end.encode() + struct.pack(">I", number)
        proof = hmac.digest(secret, text, "sha256")[:16]
        openings.append(
            {
                "relay": relay_id.hex(),
                "secret": secret.hex(),
                "end": end,
                "number": number,
                "proof": proof.hex(),
                "line": f"RELAY {base32(relay_id)} {end} {number} {base32(proof)}",
            }
        )
    word, proof = base32(relay_id), openings[0]["line"].split()[-1]
    return {
        "openings": openings,
        "malformed": [
            "",
            f"{word} A 0",
            f"{word} C 0 {proof}",
            f"{word} A -1 {proof}",
            f"{word} A 12345 {proof}",
            f"{word} A 0 {proof[:-2]}",
            f"{word} A 0 {proof} more",
            f"{word[:-1]}1 A 0 {proof}",
            f"{word[:-1]}z A 0 {proof}",
        ],
    }


def make_all() -> dict[str, str]:
    """Return the text of every vector file by name."""
    made = {
        "keys": keys(),
        "topics": topics(),
        "envelope": envelope(),
        "codes": codes(),
        "content": content(),
        "catalogue": catalogue(),
        "parts": parts(),
        "ratings": ratings(),
        "relay": relay(),
    }
    return {
        f"{name}.json": json.dumps(vector, indent=1, ensure_ascii=False) + "\n"
        for name, vector in made.items()
    }


if __name__ == "__main__":
    for name, text in make_all().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
