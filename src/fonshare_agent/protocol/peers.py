"""Who of a group is there now, and whose commands may be believed. Pure.

Theory of operation (docs/protocol/presence.md). Windows against replay live in memory
only: after a start nobody has one, and a member's commands are dropped until it has
answered a fresh challenge of ours (`Hello` -> `Welcome`, by nonce). The answer's own
counter becomes the floor of the window, so nothing older can ever pass. Three messages
open both directions: A: Hello(a), B: Welcome(a) and Hello(b), A: Welcome(b).

Presence is a hint and is ordered by the sender's (incarnation, counter). A member is
online at a broker while its presence there is known and its liveness topic does not
show the announced farewell. Nothing here is stored: what a power cut loses, the next
connection repairs.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fonshare_agent.model import IndexId, NodeId
from fonshare_agent.protocol.allowance import Allowance
from fonshare_agent.protocol.envelope import Channel, Header
from fonshare_agent.protocol.fields import NONCE_BYTES
from fonshare_agent.protocol.messages import (
    Hello,
    Message,
    Presence,
    Welcome,
)
from fonshare_agent.protocol.window import Window

CHALLENGE_RETRY_S = (2.0, 4.0, 8.0, 15.0, 30.0)  # then every 60 s while it is online
CHALLENGE_PERIOD_S = 60.0
OPEN_NONCES_MAX = 4  # an answer slower than four challenges is asked for again
NO_INDEX = IndexId(bytes(8))  # of a node that has not told its catalogue's head yet
NO_VERSION = (-1, -1)
MESSAGES_PER_SECOND = 5.0  # DESIGN section 4, Limits
MESSAGES_BURST = 50.0
# Signatures of operations and grants that are looked at for one member: 4 ms each on a
# router. A page of a log is 200; what is beyond comes with the next asking.
RECORDS_PER_SECOND = 10.0
RECORDS_BURST = 512.0


@dataclass(frozen=True, slots=True)
class MemberReady:
    """Both know that the other lives now: commands pass, both ways, from here on.

    Comes again when the other has begun anew: what it was asked is to be asked again.
    """

    member: NodeId


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """A member came online or went offline."""

    member: NodeId
    online: bool


@dataclass(frozen=True, slots=True)
class HeadSeen:
    """A member's presence names this head of its catalogue."""

    member: NodeId
    index_id: IndexId
    sequence: int


PeerEvent = MemberReady | MemberSeen | HeadSeen


class _Peer:
    """What this run of the agent knows of one member."""

    def __init__(self, now: float) -> None:
        self.incarnation: int | None = None
        self.window: Window | None = None
        self.presence: dict[str, Presence] = {}  # by broker
        self.presence_versions: dict[str, tuple[int, int]] = {}  # by broker
        self.last_words: dict[str, bytes] = {}  # by liveness topic
        # Three, so that replaying what anybody can replay costs no proven message.
        self.for_state, self.for_greetings, self.for_commands = (
            Allowance(now, MESSAGES_BURST, MESSAGES_PER_SECOND) for _ in range(3)
        )
        self.for_records = Allowance(now, RECORDS_BURST, RECORDS_PER_SECOND)
        self.open_nonces: list[bytes] = []  # challenges that wait for an answer
        self.is_welcomed = False  # a hello of it was answered: it knows us then
        self.tries = 0
        self.next_challenge: float | None = None

    def expect(self, nonce: bytes) -> None:
        self.open_nonces = [*self.open_nonces, nonce][-OPEN_NONCES_MAX:]

    def show(self, broker: str, presence: Presence) -> None:
        """Take its presence at *broker*, and forget what was shown by topics that none
        names any more: each may name another one."""
        self.presence[broker] = presence
        named = {one.liveness_topic for one in self.presence.values()}
        self.last_words = {t: w for t, w in self.last_words.items() if t in named}

    def is_online(self) -> bool:
        return any(
            not _is_farewell(one, self.last_words.get(one.liveness_topic))
            for one in self.presence.values()
        )


def _is_farewell(presence: Presence, last_words: bytes | None) -> bool:
    return last_words is not None and hmac.compare_digest(
        hashlib.sha256(last_words).digest(), presence.farewell_hash
    )


class Peers:
    """The members of one group as seen from one of them. Core thread."""

    def __init__(
        self,
        me: NodeId,
        draw: Callable[[int], bytes],
        heads: Callable[[], tuple[bytes, ...]],
    ) -> None:
        self._me = me
        self._draw = draw
        self._heads = heads
        self.own_head: tuple[IndexId, int] = (NO_INDEX, 0)  # as the caller tells it
        self._peers: dict[NodeId, _Peer] = {}
        self._events: list[PeerEvent] = []
        self._messages: list[tuple[NodeId | None, Message]] = []

    # --- who belongs ---

    def set_members(self, members: Collection[NodeId], now: float) -> None:
        """Follow the roster: forget who left, expect who came."""
        for gone in self._peers.keys() - set(members):
            if self._peers.pop(gone).is_online():
                self._events.append(MemberSeen(gone, False))
        for member in members:
            if member != self._me and member not in self._peers:
                self._peers[member] = _Peer(now)

    def online(self) -> frozenset[NodeId]:
        return frozenset(m for m, peer in self._peers.items() if peer.is_online())

    def is_ready(self, member: NodeId) -> bool:
        """Tell whether commands of *member* are believed now."""
        peer = self._peers.get(member)
        return peer is not None and peer.window is not None

    def can_be_asked(self, member: NodeId) -> bool:
        """Tell whether asking *member* makes sense: proven alive, not known to be gone.

        A presence that a broker lost or flooded must not stand in the way.
        """
        peer = self._peers.get(member)
        if peer is None or peer.window is None:
            return False
        return peer.is_online() or not peer.presence

    # --- the door: before and after the signature is checked ---

    def may_pass(self, header: Header, broker: str, now: float) -> bool:
        """Tell whether a message with this header may be looked at further.

        Spends the sender's allowance. Moves no window: a forged counter must not.
        """
        peer = self._peers.get(header.sender)
        if peer is None:
            return False
        if header.channel is Channel.STATE:
            # Each broker has its own: they come in any order.
            newest = peer.presence_versions.get(broker, NO_VERSION)
            version = (header.incarnation, header.counter)
            is_old = header.kind == Presence.KIND and version < newest
            # Other state messages carry their own signatures and versions.
            return not is_old and peer.for_state.take(now)
        if peer.window is not None and header.incarnation == peer.incarnation:
            is_fresh = not peer.window.has_seen(header.counter)
            return is_fresh and peer.for_commands.take(now)
        is_greeting = header.kind in (Hello.KIND, Welcome.KIND)
        return is_greeting and peer.for_greetings.take(now)

    def records_allowed(self, sender: NodeId, wanted: int, now: float) -> int:
        """Return how many of *wanted* new signatures to check for *sender* now."""
        peer = self._peers.get(sender)
        return 0 if peer is None else peer.for_records.take_up_to(wanted, now)

    def accept(
        self, header: Header, message: Message, broker: str, now: float
    ) -> Message | None:
        """Take a message whose signature held; return it if it is someone else's
        business and may be believed."""
        peer = self._peers.get(header.sender)
        if peer is None:
            return None
        if isinstance(message, Presence):
            self._on_presence(peer, header, message, broker, now)
            return message
        if header.channel is Channel.STATE:
            return message
        known = peer.window is not None and header.incarnation == peer.incarnation
        if known and peer.window is not None:
            if peer.window.has_seen(header.counter):
                return None
            peer.window.mark(header.counter)
        if isinstance(message, Hello):
            self._on_hello(peer, header, message, now)
            return message
        if isinstance(message, Welcome):
            return message if self._on_welcome(peer, header, message) else None
        return message if known else None

    def _on_hello(self, peer: _Peer, header: Header, hello: Hello, now: float) -> None:
        known = peer.window is not None and header.incarnation == peer.incarnation
        welcome = Welcome(hello.nonce, known, *self.own_head, self._heads())
        self._messages.append((header.sender, welcome))
        peer.is_welcomed = True
        if known:
            # It has lost its window for us: what we asked of it lately was dropped.
            self._events.append(MemberReady(header.sender))
        else:
            self._challenge(header.sender, peer, now)  # it is there to answer now

    def _on_welcome(self, peer: _Peer, header: Header, welcome: Welcome) -> bool:
        """Open the window if this answers a challenge that is still open."""
        if welcome.nonce not in peer.open_nonces:
            return False
        if peer.window is not None and header.incarnation == peer.incarnation:
            peer.open_nonces.remove(welcome.nonce)
            self._note_head(header.sender, welcome)
            return True
        if peer.incarnation is not None and header.incarnation < peer.incarnation:
            return False  # incarnations only rise: an answer from an earlier life
        peer.incarnation = header.incarnation
        peer.window = Window.after(header.counter)
        peer.next_challenge, peer.tries = None, 0
        peer.open_nonces.clear()
        if welcome.is_known or peer.is_welcomed:
            # Else our commands would be dropped there; its hello is on its way.
            self._events.append(MemberReady(header.sender))
        self._note_head(header.sender, welcome)
        return True

    def _note_head(self, member: NodeId, told: Presence | Welcome) -> None:
        if told.index_id != NO_INDEX:
            head = HeadSeen(member, IndexId(told.index_id), told.sequence)
            self._events.append(head)

    # --- presence ---

    def _on_presence(
        self, peer: _Peer, header: Header, presence: Presence, broker: str, now: float
    ) -> None:
        before = peer.is_online()
        version = (header.incarnation, header.counter)
        if version > max(peer.presence_versions.values(), default=NO_VERSION):
            self._note_head(header.sender, presence)
        peer.presence_versions[broker] = version
        peer.show(broker, presence)
        self._tell_if_changed(header.sender, peer, before)
        if peer.incarnation is None or header.incarnation > peer.incarnation:
            # A new life: its counters start anew, and it knows nobody yet.
            peer.window, peer.is_welcomed = None, False
        self._challenge_if_unknown(header.sender, peer, now)

    def _challenge_if_unknown(self, member: NodeId, peer: _Peer, now: float) -> None:
        """Ask for an answer unless one is known, waited for, or not to be had."""
        if peer.window is None and peer.next_challenge is None and peer.is_online():
            self._challenge(member, peer, now)

    def liveness_topics(self, broker: str) -> frozenset[str]:
        """The topics at *broker* that show whether members are still connected."""
        found = (peer.presence.get(broker) for peer in self._peers.values())
        return frozenset(one.liveness_topic for one in found if one is not None)

    def receive_liveness(
        self, broker: str, topic: str, payload: bytes, now: float
    ) -> None:
        """Take what a liveness topic shows: the announced farewell, or not."""
        for member, peer in self._peers.items():
            presence = peer.presence.get(broker)
            if presence is not None and presence.liveness_topic == topic:
                before = peer.is_online()
                peer.last_words[topic] = payload
                self._tell_if_changed(member, peer, before)
                self._challenge_if_unknown(member, peer, now)

    def lose_broker(self, broker: str) -> None:
        """Forget what *broker* showed: while it is away it shows nothing true."""
        for member, peer in self._peers.items():
            before = peer.is_online()
            gone = peer.presence.pop(broker, None)
            if gone is not None:
                peer.last_words.pop(gone.liveness_topic, None)
            self._tell_if_changed(member, peer, before)

    def _tell_if_changed(self, member: NodeId, peer: _Peer, before: bool) -> None:
        online = peer.is_online()
        if online != before:
            self._events.append(MemberSeen(member, online))
            if not online:
                peer.next_challenge = None

    # --- challenges ---

    def greet(self) -> None:
        """Challenge the whole group at once: after every connect."""
        nonce = self._draw(NONCE_BYTES)
        for peer in self._peers.values():
            peer.expect(nonce)
        self._messages.append((None, Hello(nonce, self._heads())))

    def _challenge(self, member: NodeId, peer: _Peer, now: float) -> None:
        nonce = self._draw(NONCE_BYTES)
        peer.expect(nonce)
        self._messages.append((member, Hello(nonce, self._heads())))
        wait_s = (
            CHALLENGE_RETRY_S[peer.tries]
            if peer.tries < len(CHALLENGE_RETRY_S)
            else CHALLENGE_PERIOD_S
        )
        peer.tries += 1
        peer.next_challenge = now + wait_s

    def next_deadline(self) -> float | None:
        due = [p.next_challenge for p in self._peers.values() if p.next_challenge]
        return min(due, default=None)

    def handle_timer(self, now: float) -> None:
        for member, peer in self._peers.items():
            if peer.next_challenge is not None and peer.next_challenge <= now:
                if peer.window is not None or not peer.is_online():
                    peer.next_challenge = None
                else:
                    self._challenge(member, peer, now)

    # --- out ---

    def take_events(self) -> list[PeerEvent]:
        events, self._events = self._events, []
        return events

    def take_messages(self) -> list[tuple[NodeId | None, Message]]:
        """Return what is to be sent: (member, or None for the whole group; message)."""
        messages, self._messages = self._messages, []
        return messages
