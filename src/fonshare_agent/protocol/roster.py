"""A group's membership: the log of its operations and the roster they fold to.

Owns the set of operations (docs/protocol/roster.md, "The log"): which have arrived,
which wait for their parents, what a peer lacks. Rules: the roster is a function of the
set, so arrival order and doubles do not matter; operations are never forgotten; what
waits is bounded. What counts is decided in fold.py; who may read what is decided by
asking the roster, never by who holds a key. Knows no topics and no storage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self

from fonshare_agent.errors import BadRoster
from fonshare_agent.model import GroupId, NodeId, Role
from fonshare_agent.protocol.fold import MEMBERS_MAX, Fold, Seniority
from fonshare_agent.protocol.keys import KeyStatement, Signer
from fonshare_agent.protocol.operations import (
    PARENTS_MAX,
    Action,
    Admit,
    Create,
    SetBrokers,
    SignedOperation,
)

OPERATIONS_MAX: Final = 4096  # a change every day for eleven years; 2 MiB of ancestry
LOG_BYTES_MAX: Final = 4 * 1024 * 1024  # 1 KiB each; only a hostile member fills it
ASIDE_MAX: Final = 256  # operations whose parents have not arrived
ASIDE_BYTES_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """One member as the roster has it."""

    statement: KeyStatement  # as admitted, or a newer one: see Roster.with_statement
    role: Role
    admitted_by: NodeId

    @property
    def is_admin(self) -> bool:
        """Whether this member may admit, remove, name and set brokers."""
        return self.role is not Role.MEMBER


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is in a group, in order of admission, and where it meets."""

    group: GroupId
    members: Mapping[NodeId, Member]
    brokers: tuple[str, ...] = field(repr=False)
    removed: frozenset[NodeId]  # were members, or were kept out; left counts too
    endings: frozenset[bytes]  # the removals and leaves that count
    heads: tuple[bytes, ...]

    def role_of(self, node: NodeId) -> Role | None:
        """Return the role of *node*, None for a stranger."""
        member = self.members.get(node)
        return None if member is None else member.role

    def is_member(self, node: NodeId) -> bool:
        """Tell whether *node* is in the group now."""
        return node in self.members

    def is_admin(self, node: NodeId) -> bool:
        """Tell whether *node* may change the group now."""
        member = self.members.get(node)
        return member is not None and member.is_admin

    def with_statement(self, statement: KeyStatement) -> Self:
        """Return the roster with a member's newer key statement; itself if not newer.

        Only a member's own signed statement of a higher version replaces one.
        """
        member = self.members.get(statement.node_id)
        if member is None or statement.version <= member.statement.version:
            return self
        newer = {statement.node_id: replace(member, statement=statement)}
        return replace(self, members=MappingProxyType({**self.members, **newer}))


class OperationLog:
    """The operations of one group, as far as they are known here. One owner thread."""

    def __init__(self, create: SignedOperation) -> None:
        if create.created_group is None:
            raise ValueError("a log begins with the operation that creates its group")
        self.group: GroupId = create.created_group
        self._operations: list[SignedOperation] = []  # parents before children
        self._position: dict[bytes, int] = {}
        self._ancestors: list[int] = []  # sets as integers, as fold.py has them
        self._heads: set[bytes] = set()
        self._bytes = 0  # of all operations in the log
        self._aside: dict[bytes, SignedOperation] = {}  # oldest first
        self._fold: Fold | None = None
        self._roster: Roster | None = None
        self._attach(create)

    @classmethod
    def from_raw(cls, raws: Iterable[bytes]) -> Self:
        """Return the log of *raws* in any order; PeerError if they make no group."""
        operations = [SignedOperation.decode(raw) for raw in raws]
        creations = {one.hash: one for one in operations if one.created_group}
        if len(creations) != 1:
            raise BadRoster(f"{len(creations)} operations create this group")
        log = cls(*creations.values())
        for operation in operations:
            log.add(operation)
        return log

    def add(self, operation: SignedOperation) -> bool:
        """Take *operation* in; False if it is known already.

        With parents that are not here yet it is kept aside (see `missing`) and changes
        nothing. PeerError if it cannot belong to this group.
        """
        if operation.hash in self._position or operation.hash in self._aside:
            return False
        if operation.created_group is not None:
            raise BadRoster("an operation creates another group")
        if len(self._operations) >= OPERATIONS_MAX or self._bytes >= LOG_BYTES_MAX:
            raise BadRoster("the group's log of operations is full")
        self._aside[operation.hash] = operation
        if self._has_parents(operation):
            self._attach_waiting(operation)
        else:
            self._trim_aside()
        return True

    def append(self, signer: Signer, action: Action) -> SignedOperation:
        """Sign *action* on top of all that is known here, and take it in."""
        operation = SignedOperation.make(signer, self.heads(), action)
        self.add(operation)
        return operation

    def heads(self) -> tuple[bytes, ...]:
        """The hashes that no operation here names as a parent, sorted.

        At most as many as an operation or a message can name: then those that count
        come first, so that nobody can crowd a removal out with operations of no effect.
        """
        heads = sorted(self._heads)
        if len(heads) > PARENTS_MAX:
            heads.sort(key=self.counts, reverse=True)
        return tuple(sorted(heads[:PARENTS_MAX]))

    def missing(self) -> tuple[bytes, ...]:
        """The hashes for which operations wait, sorted."""
        wanted = {parent for one in self._aside.values() for parent in one.parents}
        return tuple(sorted(wanted - self._position.keys() - self._aside.keys()))

    def after(self, known_heads: Iterable[bytes]) -> list[SignedOperation]:
        """What a peer with these heads lacks, parents first; unknown heads are skipped.

        An answer to a peer whose heads are partly unknown here may hold what it has.
        """
        known = self.past_of(known_heads)
        return [
            operation
            for at, operation in enumerate(self._operations)
            if not known >> at & 1
        ]

    def endings_of(self, node: NodeId) -> list[SignedOperation]:
        """What shows that *node* was removed or left: ancestors first, all of them."""
        endings = self._folded().endings.get(node, 0)
        past = self.past_of(
            one.hash for at, one in enumerate(self._operations) if endings >> at & 1
        )
        return [one for at, one in enumerate(self._operations) if past >> at & 1]

    def operations(self) -> list[SignedOperation]:
        """All operations whose ancestors are here, parents first."""
        return list(self._operations)

    def raw_operations(self) -> list[bytes]:
        """The same as bytes: what to store, and what `from_raw` takes back."""
        return [operation.raw for operation in self._operations]

    def __contains__(self, operation_hash: object) -> bool:
        return operation_hash in self._position

    # --- the fold ----------------------------------------------------------------

    def fold(self) -> Roster:
        """Return the roster of all operations here. Cached until one is added."""
        if self._roster is None:
            self._roster = self._build_roster()
        return self._roster

    def was_admin(self, node: NodeId, heads: Iterable[bytes]) -> bool:
        """Tell whether *node* was an admin in the past that *heads* end."""
        return self._folded().admin_since(node, self.past_of(heads)) is not None

    def counts(self, operation_hash: bytes) -> bool:
        """Tell whether the operation is known here and has an effect."""
        at = self._position.get(operation_hash)
        return at is not None and bool(self._folded().counted >> at & 1)

    def endings_after(self, heads: Iterable[bytes]) -> frozenset[bytes]:
        """The removals and leaves that count and are not in the past of *heads*."""
        past = self.past_of(heads)
        return frozenset(
            ending
            for ending in self.fold().endings
            if not past >> self._position[ending] & 1
        )

    def past_of(self, heads: Iterable[bytes]) -> int:
        """The set of the known *heads* and all their ancestors (bits as in fold.py)."""
        past = 0
        for head in heads:
            at = self._position.get(head)
            if at is not None:
                past |= self._ancestors[at] | 1 << at
        return past

    def _folded(self) -> Fold:
        if self._fold is None:
            self._fold = Fold(self._operations, self._ancestors)
        return self._fold

    def _build_roster(self) -> Roster:
        fold, everything = self._folded(), (1 << len(self._operations)) - 1
        admitted = {
            node: since
            for node in fold.nodes()
            if (since := fold.admitted_at(node, everything)) is not None
        }
        # Concurrent admissions can pass 64 together: the latest wait for a free place.
        seated = sorted(admitted, key=admitted.__getitem__)[:MEMBERS_MAX]
        members = {node: self._member(node, admitted[node]) for node in seated}
        endings = sum(fold.endings.values())
        return Roster(
            group=self.group,
            members=MappingProxyType(members),
            brokers=self._brokers(fold),
            removed=frozenset(fold.endings.keys() - admitted.keys()),
            endings=frozenset(
                one.hash for at, one in enumerate(self._operations) if endings >> at & 1
            ),
            heads=self.heads(),
        )

    def _member(self, node: NodeId, since: Seniority) -> Member:
        fold, everything = self._folded(), (1 << len(self._operations)) - 1
        statements = [
            (statement.version, fold.seniority[at], statement)
            for at in fold.admissions_of(node, everything)
            if (statement := _statement_in(self._operations[at])) is not None
        ]
        first = self._operations[self._position[since[1]]]
        if fold.naming_holds(0, node, everything):
            role = Role.CREATOR
        elif fold.admin_since(node, everything) is not None:
            role = Role.ADMIN
        else:
            role = Role.MEMBER
        return Member(max(statements)[2], role, first.author)

    def _brokers(self, fold: Fold) -> tuple[str, ...]:
        _, brokers = max(
            (fold.seniority[at], operation.action.brokers)
            for at, operation in enumerate(self._operations)
            if fold.counted >> at & 1
            and isinstance(operation.action, Create | SetBrokers)
        )
        return brokers

    # --- arrival -------------------------------------------------------------------

    def _has_parents(self, operation: SignedOperation) -> bool:
        return all(parent in self._position for parent in operation.parents)

    def _attach_waiting(self, first: SignedOperation) -> None:
        """Move *first*, and whatever waited for it, from aside into the log."""
        waiting_for: dict[bytes, list[SignedOperation]] = {}
        for operation in self._aside.values():
            for parent in operation.parents:
                waiting_for.setdefault(parent, []).append(operation)
        ready = [first]
        while ready:
            operation = ready.pop()
            if self._aside.pop(operation.hash, None) is None:
                continue
            self._attach(operation)
            ready += filter(self._has_parents, waiting_for.get(operation.hash, ()))

    def _attach(self, operation: SignedOperation) -> None:
        self._position[operation.hash] = len(self._operations)
        self._ancestors.append(self.past_of(operation.parents))
        self._operations.append(operation)
        self._bytes += len(operation.raw)
        self._heads.difference_update(operation.parents)
        self._heads.add(operation.hash)
        self._fold = self._roster = None

    def _trim_aside(self) -> None:
        # The oldest go first: they can be asked for again, and so nobody can keep new
        # ones out by filling the place.
        held = sum(len(one.raw) for one in self._aside.values())
        while len(self._aside) > ASIDE_MAX or held > ASIDE_BYTES_MAX:
            oldest = self._aside.pop(next(iter(self._aside)))
            held -= len(oldest.raw)


def _statement_in(operation: SignedOperation) -> KeyStatement | None:
    match operation.action:
        case Create(statement, _, _) | Admit(statement):
            return statement
        case _:
            return None
