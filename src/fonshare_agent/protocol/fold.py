"""Which operations of a group count (docs/protocol/roster.md, section "Counting").

Owns the one decision that all members must take alike: from a set of operations, closed
under ancestry, find those that count. The result depends on the set alone, never on the
order of arrival: positions in the list only number the operations, ties are broken by
`seniority` = (depth, hash), which stays the same whatever is added.

Theory. An operation counts if its author had the right to it *in the operation's own
past* and no removal that counts strikes it. A removal (or unnaming) strikes what its
target did concurrently: the target's operations count only as far as they are
ancestors of the removal. So operations depend on their ancestors and on the removals
that may strike them. Where that goes in a circle (two admins remove each other), the
operation of the admin named earliest counts and what could strike it does not.

A log keeps only operations that `allows` lets in, by their own past alone, so that
nobody without rights can fill it.

Sets of operations are integers with one bit each: ancestry tests are one `&`.
"""

from collections.abc import Sequence
from typing import Final

from fonshare_agent.model import NodeId
from fonshare_agent.protocol.operations import (
    Action,
    Admit,
    Create,
    Leave,
    NameAdmin,
    Remove,
    SetBrokers,
    SignedOperation,
    Unknown,
    UnnameAdmin,
)

MEMBERS_MAX: Final = 64  # DESIGN section 4, Limits

Seniority = tuple[int, bytes]  # (depth, hash): extends ancestry, the same everywhere


class Fold:
    """Those of *within*, a set closed under ancestry, that count.

    *operations* must list parents before children; `ancestors[i]` is the set of the
    ancestors of operation i, itself not included. The lists may grow; the fold follows
    only by `grow`.
    """

    def __init__(
        self,
        operations: Sequence[SignedOperation],
        ancestors: Sequence[int],
        seniority: Sequence[Seniority],
        within: int,
    ) -> None:
        self._operations, self._ancestors = operations, ancestors
        self.seniority = seniority
        self.counted = 0
        self.endings: dict[NodeId, int] = {}  # removals and leaves that count
        self._admissions: dict[NodeId, list[int]] = {}
        self._namings: dict[NodeId, list[int]] = {}
        self._unnamings: dict[NodeId, int] = {}
        self._strikers = self._find_strikers(_bits(within))
        self._undecided = within
        self._decide_all()

    def grow(self, at: int) -> None:
        """Take in operation *at*, which was done on top of all that is decided here."""
        self._strikers[at] = 0  # nothing is concurrent with it
        self._undecided = 1 << at
        self._decide(at)

    # --- questions, about any past: *past* is a set closed under ancestry --------

    def admissions_of(self, node: NodeId, past: int) -> list[int]:
        """The admissions by which *node* is a member in *past*; none: it is not."""
        endings = self.endings.get(node, 0) & past
        # Every ending must be an ancestor: so a removal beats a concurrent admission
        # and a re-admission has to name all removals.
        return [
            at
            for at in self._admissions.get(node, ())
            if past >> at & 1 and not endings & ~self._ancestors[at]
        ]

    def admitted_at(self, node: NodeId, past: int) -> Seniority | None:
        """When *node* became a member of *past*; None if it is not one."""
        admissions = self.admissions_of(node, past)
        return min((self.seniority[at] for at in admissions), default=None)

    def admin_since(self, node: NodeId, past: int) -> Seniority | None:
        """When *node* became an admin of *past*; None if it is not one."""
        named = self._named_at(node, past)
        if named is not None or self.admitted_at(node, past) is None:
            return named
        if any(self._named_at(other, past) for other in self._namings):
            return None
        # The last admin is gone: the member admitted earliest stands in.
        first, heir = min(
            (at, other)
            for other in self._admissions
            if (at := self.admitted_at(other, past)) is not None
        )
        return first if heir == node else None

    def naming_holds(self, at: int, node: NodeId, past: int) -> bool:
        """Tell whether operation *at* makes *node* an admin of *past*."""
        return at in self._valid_namings(node, past)

    def _named_at(self, node: NodeId, past: int) -> Seniority | None:
        namings = self._valid_namings(node, past)
        return min((self.seniority[at] for at in namings), default=None)

    def _valid_namings(self, node: NodeId, past: int) -> list[int]:
        unnamings = self._unnamings.get(node, 0) & past
        candidates = [
            at
            for at in self._namings.get(node, ())
            if past >> at & 1 and not unnamings & ~self._ancestors[at]
        ]
        if not candidates:
            return []
        # A naming belongs to one stay: whoever comes back comes back as a member.
        stays = self.admissions_of(node, past)
        return [
            at
            for at in candidates
            if any(stay == at or self._ancestors[at] >> stay & 1 for stay in stays)
        ]

    # --- deciding ----------------------------------------------------------------

    def _find_strikers(self, within: Sequence[int]) -> dict[int, int]:
        """For each operation the removals and unnamings that may strike it."""
        aimed: dict[NodeId, list[int]] = {}
        for at in within:
            target = struck_by(self._operations[at].action, self._operations[at].author)
            if target is not None:
                aimed.setdefault(target, []).append(at)
        return {
            at: sum(
                1 << striker
                for striker in aimed.get(self._operations[at].author, ())
                if striker != at and self._are_concurrent(at, striker)
            )
            # To leave is everybody's right at any time, so nothing strikes it.
            if not isinstance(self._operations[at].action, Leave)
            else 0
            for at in within
        }

    def _are_concurrent(self, one: int, other: int) -> bool:
        return not (
            self._ancestors[one] >> other & 1 or self._ancestors[other] >> one & 1
        )

    def _decide_all(self) -> None:
        waiting = _bits(self._undecided)
        while waiting:
            left = [at for at in waiting if not self._decide(at)]
            if len(left) == len(waiting):
                self._break_circle(left[0])
                left = [at for at in left if self._undecided >> at & 1]
            waiting = left

    def _decide(self, at: int) -> bool:
        """Decide on operation *at* if what it depends on is decided."""
        if self._ancestors[at] & self._undecided:
            return False
        strikers = self._strikers[at]
        if strikers & self.counted or not self._is_authorised(
            self._operations[at], self._ancestors[at]
        ):
            self._undecided &= ~(1 << at)
        elif strikers & self._undecided:
            return False
        else:
            self._count(at)
        return True

    def _break_circle(self, start: int) -> None:
        """Let the most senior author's operation of one circle count.

        Only a circle that depends on no other undecided operation may be broken: an
        operation that merely waits for one must not be taken for a part of it.
        """
        circle = self._reach(start)
        while inner := circle & ~self._dependants(start, circle):
            start = inner.bit_length() - 1
            circle = self._reach(start)
        ready = [at for at in _bits(circle) if not self._ancestors[at] & circle]
        winner = min(ready, key=self._author_seniority)
        self._undecided &= ~self._strikers[winner]
        self._count(winner)

    def _reach(self, start: int) -> int:
        """The undecided operations on which *start* depends, at any remove."""
        found = todo = self._depends_on(start)
        while todo:
            lowest = todo & -todo
            new = self._depends_on(lowest.bit_length() - 1) & ~found
            found |= new
            todo = (todo ^ lowest) | new
        return found

    def _dependants(self, start: int, circle: int) -> int:
        """Those of *circle* that depend on *start*, at any remove, and *start*."""
        found, others = 1 << start, _bits(circle & ~(1 << start))
        while True:
            left = [at for at in others if not self._depends_on(at) & found]
            if len(left) == len(others):
                return found
            found |= sum(1 << at for at in set(others).difference(left))
            others = left

    def _depends_on(self, at: int) -> int:
        return (self._ancestors[at] | self._strikers[at]) & self._undecided

    def _author_seniority(self, at: int) -> tuple[Seniority, Seniority]:
        author = self._operations[at].author
        since = self.admin_since(author, self._ancestors[at])
        assert since is not None  # those without the right were decided before
        return since, self.seniority[at]

    # --- rights and effects ---------------------------------------------------------

    def allows(self, operation: SignedOperation, past: int) -> bool:
        """Tell whether a log may keep *operation*, done on top of just *past*.

        *past* must be all that is folded here.
        """
        match operation.action:
            case Leave():
                # Of one form for each admission, so that one member can make few.
                last = past.bit_length() - 1
                is_only = operation.parents == (self._operations[last].hash,)
                return is_only and last in self._admissions.get(operation.author, ())
            case Unknown():
                return self.admin_since(operation.author, past) is not None
            case _:
                return self._is_authorised(operation, past)

    def is_struck(self, operation: SignedOperation, past: int) -> bool:
        """Tell whether what counts strikes *operation*, which is not in the log yet."""
        if isinstance(operation.action, Leave):
            return False
        counted = (self._operations[at] for at in _bits(self.counted & ~past))
        return any(struck_by(c.action, c.author) == operation.author for c in counted)

    def _is_authorised(self, operation: SignedOperation, past: int) -> bool:
        """Tell whether the author had the right, in the operation's own past."""
        match operation.action:
            case Create():
                return True
            case Leave():
                return self.admitted_at(operation.author, past) is not None
            case Remove(member) if member == operation.author:
                return False  # `Leave` says that
            case Admit(statement) if not self._has_room(statement.node_id, past):
                return False
            case Admit() | Remove() | NameAdmin() | UnnameAdmin() | SetBrokers():
                return self.admin_since(operation.author, past) is not None
            case _:
                return False

    def _has_room(self, node: NodeId, past: int) -> bool:
        if len(self._admissions) < MEMBERS_MAX:
            return True
        members = sum(
            self.admitted_at(one, past) is not None for one in self._admissions
        )
        return members < MEMBERS_MAX or self.admitted_at(node, past) is not None

    def _count(self, at: int) -> None:
        operation, past = self._operations[at], self._ancestors[at]
        action = operation.action
        if not isinstance(action, Create | Leave) and not self._valid_namings(
            operation.author, past
        ):
            # Whoever stands in for a lost admin and acts is an admin from then on.
            self._namings.setdefault(operation.author, []).append(at)
        self._undecided &= ~(1 << at)
        self.counted |= 1 << at
        self._take_effect(at, operation.author, action)

    def _take_effect(self, at: int, author: NodeId, action: Action) -> None:
        match action:
            case Create(statement, _, _):
                self._admissions[statement.node_id] = [at]
                self._namings[statement.node_id] = [at]
            case Admit(statement):
                self._admissions.setdefault(statement.node_id, []).append(at)
            case Remove(member):
                self.endings[member] = self.endings.get(member, 0) | 1 << at
            case Leave():
                self.endings[author] = self.endings.get(author, 0) | 1 << at
            case NameAdmin(member):
                self._namings.setdefault(member, []).append(at)
            case UnnameAdmin(member):
                self._unnamings[member] = self._unnamings.get(member, 0) | 1 << at
            case _:
                pass

    def nodes(self) -> list[NodeId]:
        """Everybody who ever was a member by an operation that counts."""
        return list(self._admissions)


def struck_by(action: Action, author: NodeId) -> NodeId | None:
    """Whose concurrent operations *action* strikes: nobody strikes himself."""
    match action:
        case Remove(member) | UnnameAdmin(member) if member != author:
            return member
        case _:
            return None


def _bits(members: int) -> list[int]:
    found = []
    while members:
        lowest = members & -members
        found.append(lowest.bit_length() - 1)
        members ^= lowest
    return found
