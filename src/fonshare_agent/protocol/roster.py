"""A group's membership: the log of its operations and the roster they fold to.

Owns the set of operations (docs/protocol/roster.md, "The log"): which have arrived,
which may stay, what a peer lacks. Rules: the roster is a function of the set, so
arrival order and doubles do not matter; an operation is kept only if its author had the
right to it in its own past, which all nodes judge alike, whatever else they know; what
is kept is never forgotten. What counts is decided in fold.py; who may read what is
decided by asking the roster, never by who holds a key. Knows no topics and no storage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self

from fonshare_agent.errors import BadRoster, NotAllowed
from fonshare_agent.model import GroupId, NodeId, Role
from fonshare_agent.protocol.aside import Aside
from fonshare_agent.protocol.fold import MEMBERS_MAX, Fold, Seniority, struck_by
from fonshare_agent.protocol.keys import KeyStatement, Signer
from fonshare_agent.protocol.operations import (
    BROKERS_MAX,
    PARENTS_MAX,
    Action,
    Admit,
    Create,
    Leave,
    Remove,
    SetBrokers,
    SignedOperation,
    UnnameAdmin,
)

OPERATIONS_MAX: Final = 4096  # a change every day for eleven years; 2 MiB of ancestry
LOG_BYTES_MAX: Final = 4 * 1024 * 1024  # 1 KiB each; only a hostile admin fills it
RESERVE: Final = 8  # the last eighth of both is for what takes rights away
STRUCK_KEPT: Final = 1024  # a log longer than this takes nothing that is struck already


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
        self._seniority: list[Seniority] = []
        self._heads: set[bytes] = set()
        self._bytes = 0  # of all operations in the log
        self._aside = Aside()
        self._fold: Fold | None = None
        self._past_fold: tuple[int, Fold] | None = None  # the last past asked for
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
        """Take *operation* in; False if that changes nothing.

        It is known already, may not be kept, or has parents that are not here yet: then
        it is kept aside (see `missing`). PeerError if it is of another group.
        """
        if operation.hash in self._position or operation.hash in self._aside:
            return False
        if operation.created_group is not None:
            raise BadRoster("an operation creates another group")
        if self._aside.is_refused(operation):
            self._aside.refuse(operation.hash)
        elif self._has_parents(operation):
            self._attach_waiting(operation)
        else:
            self._aside.put(operation)
        return operation.hash in self._position

    def append(self, signer: Signer, action: Action) -> SignedOperation:
        """Sign *action* on top of what is known here, and take it in, or NotAllowed."""
        parents = self._parents_for(action, signer.node_id)
        operation = SignedOperation.make(signer, parents, action)
        if not self.add(operation):
            why = "has no room for it" if self._is_full(action) else "does not allow it"
            raise NotAllowed(f"the group's roster {why}")
        return operation

    def _parents_for(self, action: Action, author: NodeId) -> tuple[bytes, ...]:
        """Return what an operation done here and now names as its parents."""
        everything = (1 << len(self._operations)) - 1
        if isinstance(action, Leave):
            since = self._folded().admitted_at(author, everything)
            return self.heads() if since is None else (since[1],)
        target = struck_by(action, author)
        if target is None or len(self._operations) <= STRUCK_KEPT:
            return self.heads()
        # Who fills a log is removed without its crowd, of which others may hold other
        # parts: what nobody has built on is struck, and need not be there to remove it.
        past = self.past_of(o.hash for o in self._operations if o.author != target)
        if self._fold_of(past).admin_since(author, past) is None:
            return self.heads()
        return self.heads_among(
            one.hash for at, one in enumerate(self._operations) if past >> at & 1
        )

    def heads(self) -> tuple[bytes, ...]:
        """The hashes that no operation here names as a parent, sorted.

        At most as many as an operation or a message can name: then those that count
        come first, so that nobody can crowd a removal out with operations of no effect.
        """
        return self._named(self._heads)

    def heads_among(self, hashes: Iterable[bytes]) -> tuple[bytes, ...]:
        """Of these known operations those that are no ancestor of another."""
        found = [(one, self._position[one]) for one in set(hashes)]
        covered = 0
        for _, at in found:
            covered |= self._ancestors[at]
        return self._named(one for one, at in found if not covered >> at & 1)

    def _named(self, hashes: Iterable[bytes]) -> tuple[bytes, ...]:
        heads = sorted(hashes)
        if len(heads) > PARENTS_MAX:
            heads.sort(key=self.counts, reverse=True)
        return tuple(sorted(heads[:PARENTS_MAX]))

    def missing(self) -> tuple[bytes, ...]:
        """The hashes for which operations wait, sorted."""
        return tuple(sorted(self._aside.wanted() - self._position.keys()))

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

    def has_seen(self, operation_hash: bytes) -> bool:
        """Tell whether the operation is here, waits, or was refused: known already."""
        return operation_hash in self._position or self._aside.knows(operation_hash)

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

    def former_brokers(self) -> list[str]:
        """Where the group met before, the latest first; not all."""
        fold, present = self._folded(), self.fold().brokers
        named = sorted(
            (fold.seniority[at], one.action.brokers)
            for at, one in enumerate(self._operations)
            if fold.counted >> at & 1 and isinstance(one.action, Create | SetBrokers)
        )
        all_ = dict.fromkeys(b for _, brokers in reversed(named) for b in brokers)
        return [one for one in all_ if one not in present][:BROKERS_MAX]

    def _folded(self) -> Fold:
        if self._fold is None:
            everything = (1 << len(self._operations)) - 1
            self._fold = self._new_fold(everything)
        return self._fold

    def _fold_of(self, past: int) -> Fold:
        if past == (1 << len(self._operations)) - 1:
            return self._folded()
        if self._past_fold is None or self._past_fold[0] != past:
            self._past_fold = past, self._new_fold(past)
        return self._past_fold[1]

    def _new_fold(self, within: int) -> Fold:
        return Fold(self._operations, self._ancestors, self._seniority, within)

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
        """Take *first* into the log, and whatever waited for it aside."""
        ready = [first]
        while ready:
            operation = ready.pop()
            self._aside.take(operation.hash)
            if operation.hash not in self._position and self._may_attach(operation):
                self._attach(operation)
                built = self._aside.built_on(operation.hash)
                ready += filter(self._has_parents, built)

    def _may_attach(self, operation: SignedOperation) -> bool:
        past = self.past_of(operation.parents)
        if not self._fold_of(past).allows(operation, past):
            self._aside.refuse(operation.hash)
            return False
        if self._is_full(operation.action):
            return False
        # Who was removed may not fill the log with what it dates back; only when there
        # is much of it, since the removal may turn out not to count.
        is_long = len(self._operations) > STRUCK_KEPT
        return not (
            is_long
            and self._folded().is_struck(operation, past)
            and not self._aside.built_on(operation.hash)
        )

    def _is_full(self, action: Action) -> bool:
        takes_away = isinstance(action, Remove | UnnameAdmin | Leave)
        count, size = OPERATIONS_MAX, LOG_BYTES_MAX
        if not takes_away:
            count, size = count - count // RESERVE, size - size // RESERVE
        return len(self._operations) >= count or self._bytes >= size

    def _attach(self, operation: SignedOperation) -> None:
        at, past = len(self._operations), self.past_of(operation.parents)
        depths = [self._seniority[self._position[one]][0] for one in operation.parents]
        self._position[operation.hash] = at
        self._ancestors.append(past)
        self._seniority.append((1 + max(depths, default=-1), operation.hash))
        self._operations.append(operation)
        self._bytes += len(operation.raw)
        self._heads.difference_update(operation.parents)
        self._heads.add(operation.hash)
        self._roster = None
        if self._fold is not None and past == (1 << at) - 1:
            self._fold.grow(at)
        else:
            self._fold = None


def _statement_in(operation: SignedOperation) -> KeyStatement | None:
    match operation.action:
        case Create(statement, _, _) | Admit(statement):
            return statement
        case _:
            return None
