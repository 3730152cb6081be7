"""One node's view of one group: its roster, its epochs, its members. Pure.

Theory of operation (docs/protocol/membership.md). Everybody holds every signed
operation and grant, and tells its roster heads in each `Hello`, `Welcome` and
`Presence`; whoever sees heads it lacks asks for them, whoever sees that another lacks
some sends them. So any meeting of two members brings both to the union, in any order.

A removal acts at once, since rights come from the folded roster. The admin who removed
makes the new epoch; the other admins do it after a stagger if he did not. Until a node
knows an epoch that covers every removal it knows, it sends nothing but membership
messages. A member that was away speaks under the epoch it left with: there only its
hello is heard, and answered with what it lacks.

Every change is an event before it is a message: the caller stores `MembershipChanged`
durably, then sends what `take_messages` gives (STYLE point 8).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fonshare_agent.errors import NotAllowed, NotFound, PeerError
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.envelope import Header
from fonshare_agent.protocol.epochs import (
    EpochGrant,
    EpochId,
    choose_sending_epoch,
    extend_grant,
    make_grant,
    members_without,
    needs_new_epoch,
    next_number,
)
from fonshare_agent.protocol.keys import KeyStatement, SealingKey, Signer
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    Grants,
    Hello,
    Message,
    Operations,
    Presence,
    RosterAsk,
    Welcome,
)
from fonshare_agent.protocol.operations import (
    CREATE_NONCE_BYTES,
    Action,
    Admit,
    Create,
    Leave,
    NameAdmin,
    Remove,
    SetBrokers,
    SignedOperation,
    UnnameAdmin,
)
from fonshare_agent.protocol.peers import PeerEvent, Peers
from fonshare_agent.protocol.roster import OperationLog, Roster

EPOCH_STAGGER_S = 5.0  # between admins: long enough for the first one's grant to arrive
EPOCH_KEY_BYTES = 32
ROSTER_ASK_PERIOD_S = 10.0  # the same heads are not asked for more often


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Operations or grants were added: store them before anything is sent."""


@dataclass(frozen=True, slots=True)
class EpochChanged:
    """Messages go under another epoch from here on, or (None) under none yet."""

    epoch: EpochId | None


@dataclass(frozen=True, slots=True)
class RemovedFromGroup:
    """The roster holds this node no more."""


GroupEvent = MembershipChanged | EpochChanged | RemovedFromGroup | PeerEvent


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to seal: to one member's inbox, or (None) to the bulletin."""

    epoch: EpochId
    to: NodeId | None
    message: Message


@dataclass(frozen=True, slots=True)
class VerifiedOperations(Message):
    """Operations whose signatures held: what `verify_content` makes of Operations."""

    operations: tuple[SignedOperation, ...]


@dataclass(frozen=True, slots=True)
class VerifiedGrants(Message):
    """Grants whose signatures held."""

    grants: tuple[EpochGrant, ...]


def verify_content(message: Message) -> Message:
    """Check the signatures that *message* carries; PeerError if one fails.

    Slow (some ms a signature on the router): for the crypto worker.
    """
    match message:
        case Operations(operations=raw):
            return VerifiedOperations(tuple(SignedOperation.decode(one) for one in raw))
        case Grants(grants=raw):
            return VerifiedGrants(tuple(EpochGrant.decode(one) for one in raw))
        case _:
            return message


class GroupMachine:
    """The machine. All methods on the core thread; none blocks."""

    def __init__(
        self,
        signer: Signer,
        sealing_keys: Callable[[], Sequence[SealingKey]],
        log: OperationLog,
        grants: Iterable[EpochGrant],
        statements: Iterable[KeyStatement],
        epoch_keys: Mapping[bytes, bytes],
        draw: Callable[[int], bytes],
        now: float,
    ) -> None:
        """*epoch_keys*: keys opened earlier, by their epoch's commitment."""
        self._known_keys = dict(epoch_keys)
        self._signer = signer
        self._sealing_keys = sealing_keys
        self._draw = draw
        self.log = log
        self.statements = {
            one.node_id: one for one in statements
        }  # newer than admitted
        self.grants: list[EpochGrant] = []
        self.epoch_keys: dict[EpochId, bytes] = {}
        self._events: list[GroupEvent] = []
        self._messages: list[Outgoing] = []
        self._epoch_due: float | None = None
        self._asked: dict[tuple[bytes, ...], float] = {}
        self._sending: EpochId | None = None
        self.peers = Peers(signer.node_id, draw, log.heads)
        for grant in grants:
            self._keep_grant(grant)
        self._settle(now)
        self._events.clear()

    @classmethod
    def create(
        cls,
        signer: Signer,
        sealing_keys: Callable[[], Sequence[SealingKey]],
        statement: KeyStatement,
        brokers: tuple[str, ...],
        draw: Callable[[int], bytes],
        now: float,
    ) -> "GroupMachine":
        """Found a group; the caller stores it before it tells anybody."""
        action = Create(statement, draw(CREATE_NONCE_BYTES), brokers)
        log = OperationLog(SignedOperation.make(signer, (), action))
        machine = cls(signer, sealing_keys, log, (), (), {}, draw, now)
        machine._begin_epoch(now)
        return machine

    # --- questions ---

    @property
    def group(self) -> GroupId:
        return self.log.group

    @property
    def me(self) -> NodeId:
        return self._signer.node_id

    @property
    def roster(self) -> Roster:
        """Who belongs now, with the newest key statement known of each."""
        roster = self.log.fold()
        for statement in self.statements.values():
            roster = roster.with_statement(statement)
        return roster

    @property
    def sending_epoch(self) -> EpochId | None:
        """The epoch to seal under now; None while none covers every removal."""
        return self._sending

    def _membership_epoch(self) -> EpochId | None:
        if self._sending is not None:
            return self._sending
        return max(self.epoch_keys, key=lambda epoch: epoch.number, default=None)

    # --- the user's verbs ---

    def admit(self, statement: KeyStatement, now: float) -> None:
        """Make *statement*'s node a member and seal the epoch key to it."""
        self._require_admin("admit members")
        if self._sending is None:
            raise NotAllowed("the group has no current epoch yet; try again shortly")
        self._author(Admit(statement))
        self._extend_epoch()
        self._settle(now)
        self._tell_all()

    def remove(self, member: NodeId, now: float) -> None:
        """Remove *member* and begin a new epoch without it."""
        self._require_admin("remove members")
        self._require_member(member)
        previous = self._membership_epoch()
        self._author(Remove(member))
        self._settle(now)
        self._begin_epoch(now, previous)

    def leave(self, now: float) -> None:
        """Leave for good; the admins who stay make the new epoch."""
        previous = self._membership_epoch()
        operation = self._author(Leave())
        if previous is not None:
            self._send(previous, None, Operations((operation.raw,)))
        self._settle(now)

    def name_admin(self, member: NodeId, now: float) -> None:
        self._require_admin("name admins")
        self._require_member(member)
        self._author(NameAdmin(member))
        self._settle(now)
        self._tell_all()

    def unname_admin(self, member: NodeId, now: float) -> None:
        self._require_admin("unname admins")
        self._require_member(member)
        self._author(UnnameAdmin(member=member))
        self._settle(now)
        self._tell_all()

    def set_brokers(self, brokers: tuple[str, ...], now: float) -> None:
        self._require_admin("set brokers")
        self._author(SetBrokers(brokers))
        self._settle(now)
        self._tell_all()

    def _require_admin(self, what: str) -> None:
        if not self.roster.is_admin(self.me):
            raise NotAllowed(f"only an admin of the group may {what}")

    def _require_member(self, member: NodeId) -> None:
        if member not in self.roster.members:
            raise NotFound("no such member in the group")

    def _author(self, action: Action) -> SignedOperation:
        operation = self.log.append(self._signer, action)
        self._events.append(MembershipChanged())
        return operation

    # --- what arrives ---

    def connect(self, now: float) -> None:
        """Greet the group: after every connect of one of its brokers.

        Under the epoch before, too: whoever was away, or made another epoch at the
        same time, listens there and learns what is new.
        """
        self.peers.greet()
        newest = sorted(self.epoch_keys, key=lambda epoch: epoch.number)[-2:]
        for member, message in self.peers.take_messages():
            for epoch in newest:
                self._send(epoch, member, message)

    def receive(
        self, header: Header, epoch: EpochId, message: Message, broker: str, now: float
    ) -> Message | None:
        """Take a verified message; return it if it is a command for the deciders."""
        if epoch != self._sending and not self._may_come_late(epoch, message):
            return None
        believed = self.peers.accept(header, message, broker, now)
        match believed:
            case None:
                return None
            case VerifiedOperations(operations=operations):
                self._add_operations(operations, now)
            case VerifiedGrants(grants=grants):
                self._add_grants(grants, now)
            case Hello(roster_heads=heads) | Welcome(roster_heads=heads):
                self._compare_heads(header.sender, epoch, heads, now)
            case Presence(roster_heads=heads):
                self._renew_statement(header.sender, believed, now)
                self._compare_heads(header.sender, epoch, heads, now)
            case RosterAsk(roster_heads=heads):
                self._send_missing(header.sender, epoch, heads)
            case _:
                self._collect_peer_messages(epoch)
                return believed
        self._collect_peer_messages(epoch)
        return None

    def _may_come_late(self, epoch: EpochId, message: Message) -> bool:
        """Under an epoch that is not the current one only membership is heard."""
        return isinstance(
            message, Hello | RosterAsk | VerifiedOperations | VerifiedGrants
        ) or (self._sending is None and isinstance(message, Welcome))

    def _add_operations(
        self, operations: Iterable[SignedOperation], now: float
    ) -> None:
        added = [one for one in operations if self.log.add(one)]
        if added:
            self._events.append(MembershipChanged())
            self._settle(now)

    def _add_grants(self, grants: Iterable[EpochGrant], now: float) -> None:
        kept = [self._keep_grant(grant) for grant in grants]
        if any(kept):
            self._events.append(MembershipChanged())
            self._settle(now)

    def _keep_grant(self, grant: EpochGrant) -> bool:
        """Keep *grant* once; open it if it is sealed to us. False if known."""
        if grant.group != self.group or any(g.raw == grant.raw for g in self.grants):
            return False
        self.grants.append(grant)
        if grant.epoch not in self.epoch_keys and self.me in grant.sealed:
            known = self._known_keys.get(grant.epoch.commitment)
            # The sealing key that opened an old grant is erased one day.
            key = known or grant.open_for(self.me, self._sealing_keys())
            self.epoch_keys[grant.epoch] = key
        return True

    def _renew_statement(self, member: NodeId, presence: Presence, now: float) -> None:
        statement = KeyStatement.decode(presence.statement)
        if statement.node_id != member:
            raise PeerError("a presence carries another node's key statement")
        if self.roster.with_statement(statement) is not self.roster:
            self.statements[member] = statement
            self._events.append(MembershipChanged())

    # --- heads ---

    def _compare_heads(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> None:
        mine = self.log.heads()
        if set(heads) == set(mine):
            self._send_grants_if_behind(member, epoch)
            return
        if any(head not in self.log for head in heads):
            self._ask_for_roster(member, epoch, heads, now)
        self._send_missing(member, epoch, heads)

    def _ask_for_roster(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> None:
        asked = self._asked.get(heads)
        if asked is not None and now - asked < ROSTER_ASK_PERIOD_S:
            return
        self._asked = {heads: now}
        self._send(epoch, member, RosterAsk(self.log.heads()))

    def _send_missing(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...]
    ) -> None:
        known = [head for head in heads if head in self.log]
        missing = [one.raw for one in self.log.after(known)]
        for page in _pages(missing):
            self._send(epoch, member, Operations(page))
        self._send_grants_if_behind(member, epoch)

    def _send_grants_if_behind(self, member: NodeId, epoch: EpochId) -> None:
        """Give *member*, who speaks under *epoch*, the keys of the epochs since."""
        if member not in self.roster.members:
            return
        since = [g.raw for g in self.grants if member in g.sealed and g.epoch != epoch]
        if epoch != self._sending:
            for page in _pages(since):
                self._send(epoch, member, Grants(page))

    def _tell_all(self, epoch: EpochId | None = None) -> None:
        """Tell the group the newest operations; comparing heads repairs the rest."""
        epoch = epoch or self._membership_epoch()
        if epoch is None:
            return
        newest = self.log.heads()
        heads = [one.raw for one in self.log.operations() if one.hash in newest]
        for page in _pages(heads):
            self._send(epoch, None, Operations(page))

    # --- epochs ---

    def _settle(self, now: float) -> None:
        """Follow the roster after any change of operations or grants."""
        roster = self.roster
        if self.me not in roster.members:
            self._events.append(RemovedFromGroup())
            self._sending, self._epoch_due = None, None
            return
        self.peers.set_members(roster.members.keys(), now)
        sending = choose_sending_epoch(self.log, self.grants, self.me)
        if sending not in self.epoch_keys:
            sending = None
        if sending != self._sending:
            self._sending = sending
            self._events.append(EpochChanged(sending))
        self._plan_epoch(roster, now)

    def _plan_epoch(self, roster: Roster, now: float) -> None:
        if not roster.is_admin(self.me) or not (
            needs_new_epoch(self.log, self.grants) or self._unserved()
        ):
            self._epoch_due = None
        elif self._epoch_due is None:
            admins = [node for node in roster.members if roster.is_admin(node)]
            self._epoch_due = now + EPOCH_STAGGER_S * (1 + admins.index(self.me))

    def _unserved(self) -> frozenset[NodeId]:
        """Members that nobody has sealed the current epoch's key to."""
        if self._sending is None:
            return frozenset()
        return members_without(self.log, self.grants, self._sending)

    def _begin_epoch(self, now: float, previous: EpochId | None = None) -> None:
        """Make the next epoch for the present members; tell them under *previous*."""
        number, key = next_number(self.grants), self._draw(EPOCH_KEY_BYTES)
        grant = make_grant(self._signer, self.roster, number, key, self._draw)
        self._keep_grant(grant)
        self._events.append(MembershipChanged())
        if previous is not None:
            self._tell_all(previous)
            self._send(previous, None, Grants((grant.raw,)))
        self._settle(now)

    def _extend_epoch(self) -> None:
        """Seal the current epoch's key to the members who have no copy yet."""
        epoch, members = self._sending, self.roster.members
        statements = [members[node].statement for node in self._unserved()]
        if epoch is None or not statements:
            return
        grant = next(one for one in self.grants if one.epoch == epoch)
        key = self.epoch_keys[epoch]
        extension = extend_grant(self._signer, grant, key, statements, self._draw)
        self._keep_grant(extension)
        self._events.append(MembershipChanged())
        self._send(epoch, None, Grants((extension.raw,)))

    # --- time and output ---

    def next_deadline(self) -> float | None:
        due = [self.peers.next_deadline(), self._epoch_due]
        return min((one for one in due if one is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self.peers.handle_timer(now)
        if self._epoch_due is not None and self._epoch_due <= now:
            self._epoch_due = None
            if needs_new_epoch(self.log, self.grants):
                self._begin_epoch(now, self._membership_epoch())
            else:
                self._extend_epoch()
        self._collect_peer_messages()

    def _collect_peer_messages(self, epoch: EpochId | None = None) -> None:
        """Answer under the epoch one was asked in; else the newest known."""
        chosen = epoch if epoch in self.epoch_keys else self._membership_epoch()
        for member, message in self.peers.take_messages():
            if chosen is not None:
                self._send(chosen, member, message)

    def _send(self, epoch: EpochId, to: NodeId | None, message: Message) -> None:
        self._messages.append(Outgoing(epoch, to, message))

    def take_events(self) -> list[GroupEvent]:
        events = self._events + list(self.peers.take_events())
        self._events = []
        return events

    def take_messages(self) -> list[Outgoing]:
        messages, self._messages = self._messages, []
        return messages


def _pages(raws: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Cut *raws* into pages that one message carries."""
    pages: list[tuple[bytes, ...]] = []
    page: list[bytes] = []
    size = 0
    for raw in raws:
        if page and size + len(raw) * 4 // 3 > PAGE_BYTES:
            pages.append(tuple(page))
            page, size = [], 0
        page.append(raw)
        size += len(raw) * 4 // 3 + 3
    if page:
        pages.append(tuple(page))
    return pages
