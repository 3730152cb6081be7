"""Makes tests/vectors/{roster,invite}.json from docs/protocol/{roster,invite}.md alone.

`python tests/membership_vectors.py` writes them; a test compares what it would write
with what is there. It imports nothing of fonshare_agent on purpose.
"""

import base64
import hashlib
import json
import struct
from typing import Any

from protocol_vectors import FOLDER, in_context
from reference_crypto import (
    ED25519_SECRET,
    X25519_SECRET,
    base32,
    hkdf,
    public_of,
    sign,
    x25519,
    xchacha_encrypt,
)

Vector = dict[str, Any]
BROKERS = ["mqtt://broker.example"]
EPHEMERAL_SEED, NONCE = bytes(range(96, 128)), bytes(range(24))


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Node:
    """A node as the texts have it."""

    def __init__(self, number: int, name: str) -> None:
        self.name = name
        self.seed = bytes([number]) * 32
        self.sealing_seed = bytes([number + 100]) * 32
        self.public = public_of(ED25519_SECRET, self.seed)
        self.sealing = public_of(X25519_SECRET, self.sealing_seed)
        self.id = hashlib.sha256(self.public).digest()
        fixed = b"\x01" + self.public + self.sealing + bytes(32) + struct.pack(">Q", 1)
        signed = fixed + bytes([len(name)]) + name.encode()
        self.statement = signed + self.sign("fonshare key statement 1", signed)

    def sign(self, context: str, data: bytes) -> bytes:
        return sign(self.seed, in_context(context, data))

    def record(self, context: str, fields: Vector) -> bytes:
        body = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        signed = b"\x01" + self.public + struct.pack(">I", len(body)) + body
        return signed + self.sign(context, signed)

    def does(self, kind: str, *parents: bytes, **fields: Any) -> bytes:
        named = [b64(parent) for parent in sorted(map(name_of, parents))]
        document = {"kind": kind, "parents": named, **fields}
        return self.record("fonshare roster operation 2", document)

    def vector(self) -> Vector:
        return {
            "name": self.name,
            "seed": self.seed.hex(),
            "sealing_seed": self.sealing_seed.hex(),
            "node_id": self.id.hex(),
            "statement": self.statement.hex(),
        }


def digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def name_of(operation: bytes) -> bytes:
    """What an operation is called by: all of it but the signature."""
    return digest(operation[:-64])


def seal_to(recipient: bytes, plain: bytes, context: str) -> bytes:
    ephemeral = public_of(X25519_SECRET, EPHEMERAL_SEED)
    ends = ephemeral + recipient
    key = hkdf(x25519(EPHEMERAL_SEED, recipient), context, salt=ends)
    return ephemeral + NONCE + xchacha_encrypt(plain, ends, NONCE, key)


def grant(
    author: Node, group: bytes, number: int, heads: list[bytes], *to: Node
) -> Any:
    epoch_key = bytes([number]) * 32
    named = sorted(map(name_of, heads))
    key_commitment = hkdf(epoch_key, "fonshare epoch commitment 1")
    fields = {
        "group": b64(group),
        "number": number,
        "heads": [b64(head) for head in named],
        "key_commitment": b64(key_commitment),
        "sealed": {
            b64(one.id): b64(
                seal_to(one.sealing, epoch_key, "fonshare sealed epoch key 1")
            )
            for one in to
        },
    }
    bound = struct.pack(">Q", number) + digest(b"".join(named)) + key_commitment
    return {
        "raw": author.record("fonshare epoch grant 1", fields).hex(),
        "author": author.name,
        "number": number,
        "commitment": digest(bound).hex(),
        "epoch_key": epoch_key.hex(),
        "sealed_to": [one.name for one in to],
    }


def roster() -> Vector:
    anna, ben, cleo = Node(1, "Anna"), Node(2, "Ben"), Node(3, "Cleo")
    dora = Node(4, "Dora")
    create = anna.does(
        "create", statement=b64(anna.statement), nonce=b64(bytes(16)), brokers=BROKERS
    )
    ben_in = anna.does("admit", create, statement=b64(ben.statement))
    ben_admin = anna.does("name_admin", ben_in, member=b64(ben.id))
    cleo_in = ben.does("admit", ben_admin, statement=b64(cleo.statement))
    ben_out = anna.does("remove", cleo_in, member=b64(ben.id))
    cleo_out = ben.does("remove", cleo_in, member=b64(cleo.id))
    dora_in = anna.does("admit", ben_out, statement=b64(dora.statement))
    dora_left = dora.does("leave", dora_in)
    moved = anna.does("set_brokers", dora_in, brokers=["mqtt://other.example"])
    listed = [
        ("create", create, True),
        ("Anna admits Ben", ben_in, True),
        ("Anna names Ben", ben_admin, True),
        ("Ben admits Cleo", cleo_in, True),
        ("Anna removes Ben", ben_out, True),
        ("Ben removes Cleo, concurrently", cleo_out, False),
        ("Anna admits Dora", dora_in, True),
        ("Dora leaves", dora_left, True),
        ("Anna sets the brokers", moved, True),
    ]
    heads = [cleo_out, dora_left, moved]
    group = name_of(create)
    return {
        "nodes": [one.vector() for one in (anna, ben, cleo, dora)],
        "operations": [
            {
                "what": what,
                "hash": name_of(raw).hex(),
                "counts": counts,
                "raw": raw.hex(),
            }
            for what, raw, counts in listed
        ],
        "roster": {
            "group": group.hex(),
            "members": [["Anna", "creator"], ["Cleo", "member"]],
            "removed": ["Ben", "Dora"],
            "endings": sorted(name_of(raw).hex() for raw in (ben_out, dora_left)),
            "brokers": ["mqtt://other.example"],
            "heads": sorted(name_of(raw).hex() for raw in heads),
        },
        "grants": [
            grant(anna, group, 1, [cleo_in], anna, ben, cleo),
            grant(anna, group, 2, heads, anna, cleo),
        ],
        "sending_number": 2,
    }


def joined(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def words(transcript: bytes) -> list[str]:
    raw = hkdf(transcript, "fonshare words 1", 12)
    found = []
    for (number,) in struct.iter_unpack(">H", raw):
        shifts, letters = (12, 10, 6, 4, 0), ""
        for shift, vowel in zip(shifts, (0, 1, 0, 1, 0), strict=True):
            table = "aiou" if vowel else "bdfghjklmnprstvz"
            letters += table[number >> shift & (len(table) - 1)]
        found.append(letters)
    return found


def frame(kind: int, content: bytes, key: bytes, size: int) -> bytes:
    head = b"\x01" + hkdf(key, "fonshare invite tag 1", 16)
    inside = bytes([kind]) + struct.pack(">I", len(content)) + content
    plain = inside.ljust(size - 17 - 24 - 16, b"\0")
    return head + NONCE + xchacha_encrypt(plain, head, NONCE, key)


def invite() -> Vector:
    anna, ben = Node(1, "Anna"), Node(2, "Ben")
    secret, joiner_nonce, inviter_nonce = bytes(range(16)), b"j" * 32, b"i" * 32
    bound = {"invite": b64(hkdf(secret, "fonshare invite id 1", 16))}
    name = b"fonshare invite commitment 1"
    knock = digest(joined(name, joiner_nonce, ben.statement, b""))
    promise = digest(joined(name, inviter_nonce, anna.statement, knock))
    reply = anna.record(
        "fonshare invite reply 1",
        {
            **bound,
            "kind": 2,
            "knock": b64(knock),
            "statement": b64(anna.statement),
            "commitment": b64(promise),
            "label": "Famille",
        },
    )
    shown = {
        **bound,
        "statement": b64(ben.statement),
        "nonce": b64(joiner_nonce),
        "seen": b64(digest(reply)),
    }
    context = "fonshare invite joiner 1"
    reveal = ben.record(context, {**shown, "kind": 3, "reason": ""})
    refusal = ben.record(context, {**shown, "kind": 8, "reason": "refused"})
    transcript = digest(
        joined(b"fonshare invite transcript 1", knock, reply, reveal, inviter_nonce)
    )
    agreed = {**bound, "transcript": b64(transcript), "want": 0}
    sealed = bytes(range(200))
    page = {
        **bound,
        "kind": 6,
        "transcript": b64(transcript),
        "part": 0,
        "parts": 1,
        "digest": b64(digest(sealed)),
        "chunk": b64(sealed),
    }
    closed = {**bound, "kind": 9, "knock": b64(knock), "reason": ""}
    key_to_inviter = hkdf(secret, "fonshare invite key to inviter 1")
    topic = hkdf(secret, "fonshare invite topic to inviter 1", 20)
    accept = "fonshare invite accept 1"
    return {
        "inviter": anna.vector(),
        "joiner": ben.vector(),
        "secret": secret.hex(),
        "label": "Famille",
        "joiner_nonce": joiner_nonce.hex(),
        "inviter_nonce": inviter_nonce.hex(),
        "knock": knock.hex(),
        "knock_topic": "fonshare/" + base32(topic),
        "knock_frame": frame(1, knock, key_to_inviter, 512).hex(),
        "frame_nonce": NONCE.hex(),
        "reply": reply.hex(),
        "reveal": reveal.hex(),
        "transcript": transcript.hex(),
        "words": words(transcript),
        "accept": ben.record(accept, {**agreed, "kind": 5}).hex(),
        "sealed": sealed.hex(),
        "page": anna.record("fonshare invite reply 1", page).hex(),
        "done": ben.record(accept, {**agreed, "kind": 7}).hex(),
        "closed": anna.record("fonshare invite reply 1", closed).hex(),
        "refusal": refusal.hex(),
    }


def make_all() -> dict[str, str]:
    """Return what each vector file must hold."""
    made = {"roster.json": roster(), "invite.json": invite()}
    return {name: json.dumps(one, indent=1) + "\n" for name, one in made.items()}


if __name__ == "__main__":
    for file_name, text in make_all().items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")
