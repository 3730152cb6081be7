"""One roster operation: what somebody did to a group, signed (docs/protocol/roster.md).

Owns the actions and their bytes. Rules: an operation names by hash the heads its author
had seen, so its place in history cannot be changed later; its own hash is SHA-256 over
all its bytes but the signature, of which an author can make many for one deed; the hash
of the creating operation is the group. Whether an operation
counts is not decided here but by the fold (fold.py).
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from fonshare_agent.errors import MalformedMessage
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.keys import (
    HASH_BYTES,
    SIGNATURE_BYTES,
    STATEMENT_BYTES_MAX,
    Context,
    KeyStatement,
    Signer,
    node_id,
)
from fonshare_agent.protocol.signed import (
    Fields,
    expect_fields,
    open_record,
    read_bytes,
    read_hashes,
    read_list,
    read_text,
    sign_record,
    to_text,
)

PARENTS_MAX: Final = 256  # 64 members act rarely at once; as HEADS_MAX in messages
BROKERS_MAX: Final = 8  # every member stays connected to all of them
BROKER_CHARS_MAX: Final = 1024  # as in invite codes: a URL with user and password
CREATE_NONCE_BYTES: Final = 16  # two groups of one creator must differ
OPERATION_BYTES_MAX: Final = 24576  # 256 parents are 12 KiB, 8 brokers 8 KiB


@dataclass(frozen=True, slots=True)
class Create:
    """The author makes a group and is its first member and admin."""

    statement: KeyStatement
    nonce: bytes
    brokers: tuple[str, ...] = field(repr=False)  # a URL may hold a password


@dataclass(frozen=True, slots=True)
class Admit:
    """An admin takes the node of *statement* in."""

    statement: KeyStatement


@dataclass(frozen=True, slots=True)
class Remove:
    """An admin puts *member* out."""

    member: NodeId


@dataclass(frozen=True, slots=True)
class Leave:
    """The author goes; its one parent is the admission that it ends."""


@dataclass(frozen=True, slots=True)
class NameAdmin:
    """An admin makes *member* an admin."""

    member: NodeId


@dataclass(frozen=True, slots=True)
class UnnameAdmin:
    """An admin ends *member*'s being an admin; one may do so to oneself."""

    member: NodeId


@dataclass(frozen=True, slots=True)
class SetBrokers:
    """An admin says where the group meets."""

    brokers: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """An action of a later version: it has a place in history and no effect."""

    kind: str


Action = (
    Create | Admit | Remove | Leave | NameAdmin | UnnameAdmin | SetBrokers | Unknown
)


def operation_hash(raw: bytes) -> bytes:
    """Return what the operation in *raw* is called by, whatever signature it bears."""
    return hashlib.sha256(raw[:-SIGNATURE_BYTES]).digest()


@dataclass(frozen=True, slots=True)
class SignedOperation:
    """An operation whose signature was verified; only `make` and `decode` build one."""

    raw: bytes = field(repr=False)
    hash: bytes
    author: NodeId
    parents: tuple[bytes, ...]  # sorted; empty for Create only
    action: Action

    @classmethod
    def make(cls, signer: Signer, parents: Iterable[bytes], action: Action) -> Self:
        """Sign *action* as done by one who has seen *parents*."""
        fields = {
            "parents": [to_text(parent) for parent in sorted(set(parents))],
            **_encode_action(action),
        }
        return cls.decode(sign_record(signer, Context.OPERATION, fields))

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Return the operation in *raw*, checked and verified, or raise PeerError."""
        if len(raw) > OPERATION_BYTES_MAX:
            raise MalformedMessage(f"an operation of {len(raw)} bytes")
        identity, fields = open_record(raw, Context.OPERATION)
        author = node_id(identity)
        parents = read_hashes(fields.pop("parents", None), PARENTS_MAX)
        action = _decode_action(fields)
        if isinstance(action, Create) and action.statement.node_id != author:
            raise MalformedMessage("a group is created with another's key statement")
        if isinstance(action, Create) != (not parents):
            raise MalformedMessage("an operation must have parents, a creation none")
        return cls(raw, operation_hash(raw), author, parents, action)

    @property
    def created_group(self) -> GroupId | None:
        """The group this operation creates, if it does."""
        return GroupId(self.hash) if isinstance(self.action, Create) else None


# --- actions as fields ----------------------------------------------------------


def _encode_action(action: Action) -> Fields:
    match action:
        case Create(statement, nonce, brokers):
            return {
                "kind": "create",
                "statement": to_text(statement.encode()),
                "nonce": to_text(nonce),
                "brokers": list(brokers),
            }
        case Admit(statement):
            return {"kind": "admit", "statement": to_text(statement.encode())}
        case Remove(member):
            return {"kind": "remove", "member": to_text(member)}
        case Leave():
            return {"kind": "leave"}
        case NameAdmin(member):
            return {"kind": "name_admin", "member": to_text(member)}
        case UnnameAdmin(member):
            return {"kind": "unname_admin", "member": to_text(member)}
        case SetBrokers(brokers):
            return {"kind": "set_brokers", "brokers": list(brokers)}
        case Unknown(kind):
            return {"kind": kind}


def _decode_action(fields: Fields) -> Action:
    kind = read_text(fields.pop("kind", None), 64)
    reader = _READERS.get(kind)
    if reader is None:
        # Refusing it would make everything that follows it unreadable for ever.
        return Unknown(kind)
    names, read = reader
    expect_fields(fields, names)
    return read(fields)


def _statement(value: Any) -> KeyStatement:
    return KeyStatement.decode(read_bytes(value, most=STATEMENT_BYTES_MAX))


def _member(value: Any) -> NodeId:
    return NodeId(read_bytes(value, HASH_BYTES))


def _brokers(value: Any) -> tuple[str, ...]:
    brokers = tuple(
        read_text(item, BROKER_CHARS_MAX) for item in read_list(value, BROKERS_MAX)
    )
    if not brokers or not all(brokers) or len(set(brokers)) != len(brokers):
        raise MalformedMessage("a group needs brokers, each named once")
    return brokers


_READERS: Final[dict[str, tuple[set[str], Callable[[Fields], Action]]]] = {
    "create": (
        {"statement", "nonce", "brokers"},
        lambda fields: Create(
            _statement(fields["statement"]),
            read_bytes(fields["nonce"], CREATE_NONCE_BYTES),
            _brokers(fields["brokers"]),
        ),
    ),
    "admit": ({"statement"}, lambda fields: Admit(_statement(fields["statement"]))),
    "remove": ({"member"}, lambda fields: Remove(_member(fields["member"]))),
    "leave": (set(), lambda fields: Leave()),
    "name_admin": ({"member"}, lambda fields: NameAdmin(_member(fields["member"]))),
    "unname_admin": (
        {"member"},
        lambda fields: UnnameAdmin(_member(fields["member"])),
    ),
    "set_brokers": (
        {"brokers"},
        lambda fields: SetBrokers(_brokers(fields["brokers"])),
    ),
}
