"""Epochs: generations of the group key, and who gave them to whom.

Owns epoch grants (docs/protocol/roster.md, "Epochs"): an admin's signed word that this
key, sealed to each member, was made with these heads of the roster known. Rules: an
epoch's id commits to its key, group and heads, so that two grants with one id give the
same key and cover the same removals; an epoch that misses a removal or a leave is
stale, and nobody seals under a stale one; rights never come from holding a key. Knows
no topics and does not keep keys.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from fonshare_agent.errors import BadGrant, MalformedMessage, UnsealError
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.fold import MEMBERS_MAX
from fonshare_agent.protocol.keys import (
    HASH_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Context,
    KeyStatement,
    SealingKey,
    Signer,
    hkdf,
    node_id,
    open_sealed,
    seal_to,
)
from fonshare_agent.protocol.operations import PARENTS_MAX
from fonshare_agent.protocol.roster import OperationLog, Roster
from fonshare_agent.protocol.signed import (
    Fields,
    expect_fields,
    open_record,
    read_bytes,
    read_hashes,
    read_number,
    sign_record,
    to_text,
)

COMMITMENT_INFO: Final = "fonshare epoch commitment 1"
SEALED_KEY_BYTES: Final = KEY_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES
NUMBER_MAX: Final = 2**63 - 1

_FIELDS: Final = {"group", "number", "heads", "key_commitment", "sealed"}

Draw = Callable[[int], bytes]


class EpochId(NamedTuple):
    """Which epoch; of two with one number the lower commitment is sent with."""

    number: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class EpochGrant:
    """An epoch's key sealed to members. Only `decode`, `make_grant` and
    `extend_grant` build one: its signature was verified."""

    raw: bytes = field(repr=False)
    group: GroupId
    epoch: EpochId
    heads: tuple[bytes, ...]
    key_commitment: bytes
    author: NodeId
    sealed: Mapping[NodeId, bytes] = field(repr=False)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Return the grant in *raw*, checked and verified, or raise PeerError.

        Whether its author may grant is the roster's to say: `is_valid`.
        """
        identity, fields = open_record(raw, Context.EPOCH_GRANT)
        expect_fields(fields, _FIELDS)
        number = read_number(fields["number"])
        heads = read_hashes(fields["heads"], PARENTS_MAX)
        sealed = fields["sealed"]
        if not isinstance(sealed, dict) or not 0 < len(sealed) <= MEMBERS_MAX:
            raise MalformedMessage("a grant must seal a key to at least one member")
        if number == 0 or not heads:
            raise MalformedMessage("a grant has a number from 1 up, and heads")
        copies = {
            NodeId(read_bytes(node, HASH_BYTES)): read_bytes(copy, SEALED_KEY_BYTES)
            for node, copy in sealed.items()
        }
        group = GroupId(read_bytes(fields["group"], HASH_BYTES))
        key_commitment = read_bytes(fields["key_commitment"], HASH_BYTES)
        return cls(
            raw,
            group,
            _epoch_id(number, heads, key_commitment),
            heads,
            key_commitment,
            node_id(identity),
            MappingProxyType(copies),
        )

    @property
    def number(self) -> int:
        """The epoch's number."""
        return self.epoch.number

    def open_for(self, node: NodeId, sealing_keys: Iterable[SealingKey]) -> bytes:
        """Return the epoch key from *node*'s copy, or raise PeerError.

        It is the key that the epoch's id commits to, whoever sealed it.
        """
        copy = self.sealed.get(node)
        if copy is None:
            raise BadGrant("a grant holds no copy for this node")
        for sealing_key in sealing_keys:
            try:
                epoch_key = open_sealed(sealing_key, copy, Context.SEALED_EPOCH_KEY)
            except UnsealError:
                continue  # sealed to the key before, or to the next one
            self.expect_key(epoch_key)
            return epoch_key
        raise BadGrant("a grant's copy is sealed to none of this node's keys")

    def expect_key(self, epoch_key: bytes) -> None:
        """Raise BadGrant unless *epoch_key* is the one that the epoch commits to."""
        if not hmac.compare_digest(_commit(epoch_key), self.key_commitment):
            raise BadGrant("a key is not the one that its epoch commits to")


def make_grant(
    signer: Signer,
    roster: Roster | OperationLog,
    number: int,
    epoch_key: bytes,
    draw: Draw,
) -> EpochGrant:
    """Seal a new epoch's key to all members of *roster*, which it covers.

    A member may have erased the sealing key it was admitted with: give the roster that
    has the newest statements rather than the log.
    """
    if isinstance(roster, OperationLog):
        roster = roster.fold()
    statements = [member.statement for member in roster.members.values()]
    fields = _fields(roster.group, number, roster.heads, _commit(epoch_key))
    return _sign(signer, fields, _seal_copies(epoch_key, statements, draw))


def extend_grant(
    signer: Signer,
    grant: EpochGrant,
    epoch_key: bytes,
    statements: Iterable[KeyStatement],
    draw: Draw,
) -> EpochGrant:
    """Seal the key of *grant*'s epoch to further members: the same epoch."""
    grant.expect_key(epoch_key)
    fields = _fields(grant.group, grant.number, grant.heads, grant.key_commitment)
    return _sign(signer, fields, _seal_copies(epoch_key, statements, draw))


def _seal_copies(
    epoch_key: bytes, statements: Iterable[KeyStatement], draw: Draw
) -> dict[NodeId, bytes]:
    context = Context.SEALED_EPOCH_KEY
    return {
        one.node_id: seal_to(
            one.sealing, epoch_key, draw(KEY_BYTES), draw(NONCE_BYTES), context
        )
        for one in statements
    }


def _fields(
    group: GroupId, number: int, heads: tuple[bytes, ...], key_commitment: bytes
) -> Fields:
    return {
        "group": to_text(group),
        "number": number,
        "heads": [to_text(head) for head in heads],
        "key_commitment": to_text(key_commitment),
    }


def _sign(signer: Signer, fields: Fields, copies: Mapping[NodeId, bytes]) -> EpochGrant:
    sealed = {to_text(node): to_text(copy) for node, copy in copies.items()}
    raw = sign_record(signer, Context.EPOCH_GRANT, {**fields, "sealed": sealed})
    return EpochGrant.decode(raw)


def _commit(epoch_key: bytes) -> bytes:
    """Return what shows, without telling it, which key an epoch has."""
    return hkdf(epoch_key, COMMITMENT_INFO, HASH_BYTES)


def _epoch_id(number: int, heads: tuple[bytes, ...], key_commitment: bytes) -> EpochId:
    # Over the heads too: a grant of an old key that names newer heads must not pass
    # for the same epoch and so make it cover removals that it misses.
    heads_hash = hashlib.sha256(b"".join(heads)).digest()
    # They also say which group it is.
    bound = number.to_bytes(8, "big") + heads_hash + key_commitment
    return EpochId(number, hashlib.sha256(bound).digest())


# --- what the roster says of epochs ------------------------------------------------


def is_valid(grant: EpochGrant, log: OperationLog) -> bool:
    """Tell whether the grant's author may give this group a key, as known here.

    False, for now, while heads that it names are not in *log*.
    """
    return (
        grant.group == log.group
        and all(head in log for head in grant.heads)
        and (
            log.was_admin(grant.author, grant.heads)
            # An admin named after the epoch began may extend it.
            or log.fold().is_admin(grant.author)
        )
    )


def is_stale(grant: EpochGrant, log: OperationLog) -> bool:
    """Tell whether the grant's epoch misses a removal, a leave, or its admin's end."""
    return bool(log.endings_after(grant.heads)) or not log.fold().is_admin(grant.author)


def choose_sending_epoch(
    log: OperationLog, grants: Iterable[EpochGrant], me: NodeId | None = None
) -> EpochId | None:
    """Return the epoch to seal under now; None: wait for an admin's grant.

    With *me*, only epochs of which a copy is sealed to that node are looked at.
    """
    grants = list(grants)
    mine = {grant.epoch for grant in grants if me is None or me in grant.sealed}
    return min(_usable(log, grants) & mine, key=_preference, default=None)


def needs_new_epoch(log: OperationLog, grants: Iterable[EpochGrant]) -> bool:
    """Tell whether an admin should make a new epoch: none is usable, or two are.

    Two usable ones with one number can both be read and are merged without haste. If
    all admins did so at once the merging would never end: they must take turns.
    """
    numbers = [epoch.number for epoch in _usable(log, grants)]
    return not numbers or numbers.count(max(numbers)) > 1


def next_number(grants: Iterable[EpochGrant]) -> int:
    """Return the number of an epoch that comes after all of *grants*."""
    highest = max((grant.epoch.number for grant in grants), default=0)
    return min(highest + 1, NUMBER_MAX)


def members_without(
    log: OperationLog, grants: Iterable[EpochGrant], epoch: EpochId
) -> frozenset[NodeId]:
    """Return the members for whom no grant holds a copy of *epoch*'s key."""
    served: Collection[NodeId] = {
        node for grant in grants if grant.epoch == epoch for node in grant.sealed
    }
    return frozenset(log.fold().members.keys() - served)


def _usable(log: OperationLog, grants: Iterable[EpochGrant]) -> set[EpochId]:
    return {
        grant.epoch
        for grant in grants
        if is_valid(grant, log) and not is_stale(grant, log)
    }


def _preference(epoch: EpochId) -> tuple[int, bytes]:
    return -epoch.number, epoch.commitment
