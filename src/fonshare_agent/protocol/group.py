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

from fonshare_agent.errors import NotAllowed, NotFound, PeerError
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.envelope import Header
from fonshare_agent.protocol.epoch_duty import EpochDuty
from fonshare_agent.protocol.epochs import EpochGrant, EpochId
from fonshare_agent.protocol.group_events import (
    EpochChanged,
    GroupEvent,
    MembershipChanged,
    Outgoing,
    RemovedFromGroup,
    VerifiedGrants,
    VerifiedOperations,
)
from fonshare_agent.protocol.keys import KeyStatement, SealingKey, Signer
from fonshare_agent.protocol.messages import (
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
    operation_hash,
)
from fonshare_agent.protocol.peers import Peers
from fonshare_agent.protocol.retirement import Retirement, name_of_broker
from fonshare_agent.protocol.roster import OperationLog, Roster
from fonshare_agent.protocol.roster_exchange import RosterExchange

STATEMENT_PERIOD_S = 60.0  # each new one is a write to flash, on every member's router


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
        self._signer = signer
        self.log = log
        self._duty = EpochDuty(signer, sealing_keys, log, epoch_keys, draw)
        self.statements = {one.node_id: one for one in statements}  # newer ones
        self._renewed: dict[NodeId, float] = {}  # when a statement came last
        self._events: list[GroupEvent] = []
        self._messages: list[Outgoing] = []
        self._exchange = RosterExchange(log, self._duty, self._send)
        self.retirement = Retirement()
        self.peers = Peers(signer.node_id, draw, log.heads)
        self._duty.restore(grants)
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
    def former_brokers(self) -> tuple[str, ...]:
        """Where who was away may still look for the group; membership is told there."""
        is_over, former = self.retirement.is_over, self.log.former_brokers()
        return tuple(one for one in former if not is_over(name_of_broker(one)))

    @property
    def sending_epoch(self) -> EpochId | None:
        """The epoch to seal under now; None while none covers every removal."""
        return self._duty.sending

    @property
    def grants(self) -> list[EpochGrant]:
        return self._duty.grants

    @property
    def epoch_keys(self) -> Mapping[EpochId, bytes]:
        """The key of every epoch that is still listened to."""
        return self._duty.keys

    # --- the user's verbs ---

    def admit(self, statement: KeyStatement, now: float) -> None:
        """Make *statement*'s node a member and seal the epoch key to it."""
        self._require_admin("admit members")
        if self.sending_epoch is None:
            raise NotAllowed("the group has no current epoch yet; try again shortly")
        self._author(Admit(statement))
        self._announce_grant(self._duty.extend(self.roster), self.sending_epoch)
        self._settle(now)
        self._exchange.tell_all(self._duty.membership_epoch())

    def remove(self, member: NodeId, now: float) -> None:
        """Remove *member* and begin a new epoch without it."""
        self._require_admin("remove members")
        self._require_member(member)
        previous = self._duty.membership_epoch()
        self._author(Remove(member))
        self._settle(now)
        self._begin_epoch(now, previous)

    def leave(self, now: float) -> None:
        """Leave for good; the admins who stay make the new epoch."""
        previous = self._duty.membership_epoch()
        operation = self._author(Leave())
        if previous is not None:
            self._send(previous, None, Operations((operation.raw,)))
        self._settle(now)

    def name_admin(self, member: NodeId, now: float) -> None:
        self._require_admin("name admins")
        self._require_member(member)
        self._author(NameAdmin(member))
        self._settle(now)
        self._exchange.tell_all(self._duty.membership_epoch())

    def unname_admin(self, member: NodeId, now: float) -> None:
        self._require_admin("unname admins")
        self._require_member(member)
        self._author(UnnameAdmin(member=member))
        self._settle(now)
        self._exchange.tell_all(self._duty.membership_epoch())

    def set_brokers(self, brokers: tuple[str, ...], now: float) -> None:
        self._require_admin("set brokers")
        self._author(SetBrokers(brokers))
        self._settle(now)
        self._exchange.tell_all(self._duty.membership_epoch())

    def _require_admin(self, what: str) -> None:
        if not self.roster.is_admin(self.me):
            raise NotAllowed(f"only an admin of the group may {what}")

    def _require_member(self, member: NodeId) -> None:
        if member not in self.roster.members:
            raise NotFound("no such member", next="See `fonshare group ls`.")

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
        for member, message in self.peers.take_messages():
            for epoch in self._duty.newest(2):
                self._send(epoch, member, message)

    def sift(self, sender: NodeId, message: Message, now: float) -> Message:
        """Return *message* with just those records whose signatures are to be checked.

        Each record once, and of one sender not too many: they are dear.
        """
        match message:
            case Operations(operations=raws):
                names = {raw: operation_hash(raw) for raw in raws}
                self._exchange.note_page(sender, names.values(), now)
                new = [raw for raw in names if not self.log.has_seen(names[raw])]
                count = self.peers.records_allowed(sender, len(new), now)
                return Operations(tuple(new[:count]))
            case Grants(grants=raws):
                new = [
                    raw for raw in dict.fromkeys(raws) if not self._duty.has_seen(raw)
                ]
                count = self.peers.records_allowed(sender, len(new), now)
                return Grants(tuple(new[:count]))
            case _:
                return message

    def receive(
        self, header: Header, epoch: EpochId, message: Message, broker: str, now: float
    ) -> Message | None:
        """Take a verified message; return it if it is a command for the deciders."""
        if epoch != self.sending_epoch and not self._may_come_late(epoch, message):
            return None
        believed = self.peers.accept(header, message, broker, now)
        match believed:
            case None:
                return None
            case VerifiedOperations(operations=operations):
                self._add_operations(operations, now)
                hashes = [one.hash for one in operations]
                self._exchange.note_page(header.sender, hashes, now)
            case VerifiedGrants(grants=grants):
                self._add_grants(grants, now)
            case Hello(roster_heads=heads) | Welcome(roster_heads=heads):
                self._exchange.compare(header.sender, epoch, heads, now)
            case Presence(roster_heads=heads):
                self._renew_statement(header.sender, believed, now)
                self._exchange.compare(header.sender, epoch, heads, now)
            case RosterAsk(roster_heads=heads):
                self._exchange.answer(header.sender, epoch, heads, now)
            case _:
                self._collect_peer_messages(epoch)
                return believed
        self._collect_peer_messages(epoch)
        return None

    def hear_outsider(self, header: Header, epoch: EpochId, now: float) -> None:
        """One who is no member speaks, unverified: perhaps it does not know."""
        if header.kind in (Hello.KIND, RosterAsk.KIND):
            self._exchange.tell_removed(header.sender, epoch, now)

    def _may_come_late(self, epoch: EpochId, message: Message) -> bool:
        """Under an epoch that is not the current one only membership is heard."""
        return isinstance(
            message, Hello | RosterAsk | VerifiedOperations | VerifiedGrants
        ) or (self.sending_epoch is None and isinstance(message, Welcome))

    def _add_operations(
        self, operations: Iterable[SignedOperation], now: float
    ) -> None:
        # One that is refused must not hide what came with it: a removal, say.
        added = [one for one in operations if self._is_added(one)]
        if added:
            self._duty.take_waiting()
            self._events.append(MembershipChanged())
            self._settle(now)

    def _is_added(self, operation: SignedOperation) -> bool:
        try:
            return self.log.add(operation)
        except PeerError:
            return False

    def _add_grants(self, grants: Iterable[EpochGrant], now: float) -> None:
        taken = [grant for grant in grants if self._duty.take(grant)]
        if taken:
            self._events.append(MembershipChanged())
            self._settle(now)

    def _renew_statement(self, member: NodeId, presence: Presence, now: float) -> None:
        known = self.roster.members.get(member)
        if known is None or presence.statement == known.statement.encode():
            return
        last = self._renewed.get(member)
        if last is not None and now - last < STATEMENT_PERIOD_S:
            return  # a later presence brings it
        statement = KeyStatement.decode(presence.statement)
        if statement.node_id != member:
            raise PeerError("a presence carries another node's key statement")
        if self.roster.with_statement(statement) is not self.roster:
            self._renewed[member] = now
            self.statements[member] = statement
            self._events.append(MembershipChanged())

    # --- epochs ---

    def _settle(self, now: float) -> None:
        """Follow the roster after any change of operations or grants."""
        roster = self.roster
        if self.me not in roster.members:
            self._events.append(RemovedFromGroup())
            self._duty.stop()
            return
        self.peers.set_members(roster.members.keys(), now)
        if self._duty.choose():
            self._events.append(EpochChanged(self.sending_epoch))
        self._duty.plan(roster, now)

    def _begin_epoch(self, now: float, previous: EpochId | None = None) -> None:
        """Make the next epoch for the present members; tell them under *previous*."""
        grant = self._duty.begin(self.roster)
        if previous is not None:
            self._exchange.tell_all(previous)
        self._announce_grant(grant, previous)
        self._settle(now)

    def _announce_grant(self, grant: EpochGrant | None, epoch: EpochId | None) -> None:
        if grant is not None:
            self._events.append(MembershipChanged())
            if epoch is not None:
                self._send(epoch, None, Grants((grant.raw,)))

    def age(self, uptime_s: int) -> None:
        """This node has been up for so long: let go of what was given up long ago."""
        before = self.former_brokers
        old = {epoch.commitment.hex(): epoch for epoch in self._duty.old_epochs()}
        former = map(name_of_broker, self.log.former_brokers())
        is_new = self.retirement.follow((*old, *former), uptime_s)
        gone = [old[name] for name in old if self.retirement.is_over(name)]
        self._duty.forget(gone)
        for left in set(before) - set(self.former_brokers):
            self.peers.lose_broker(left)
        if is_new or gone:
            self._events.append(MembershipChanged())

    # --- time and output ---

    def next_deadline(self) -> float | None:
        parts = (self.peers, self._exchange)
        due = [self._duty.due, *(one.next_deadline() for one in parts)]
        return min((one for one in due if one is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self.peers.handle_timer(now)
        self._exchange.handle_timer(now)
        if self._duty.due is not None and self._duty.due <= now:
            previous = self._duty.membership_epoch()
            grant = self._duty.do(self.roster)
            if grant is not None and grant.epoch != previous and previous is not None:
                self._exchange.tell_all(previous)
            self._announce_grant(grant, previous)
            self._settle(now)
        self._collect_peer_messages()

    def _collect_peer_messages(self, epoch: EpochId | None = None) -> None:
        """Answer under the epoch one was asked in; else the newest known."""
        chosen = epoch if epoch in self.epoch_keys else self._duty.membership_epoch()
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
