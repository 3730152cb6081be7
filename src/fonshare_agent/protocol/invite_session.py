"""What both sides of an invite have in common: storing before sending, and time.

Owns the events, the outgoing frames and the deadlines. Rule: a frame leaves only after
the state it speaks of was stored. Every change is a `StateChanged` with the state to
store; when that is durable the caller says `stored(version)`, and only then
`take_frames` gives what is to be sent. So a power cut on either side loses nothing that
the other may have heard of. Uptime is counted in the state, since a router may have no
clock.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.codes import invite_keys, invite_topics
from fonshare_agent.protocol.invite_messages import (
    Kind,
    invite_id,
    open_frame,
    seal_frame,
)

CODE_LIFE_S: Final = 24 * 3600.0  # DESIGN section 4, Invites
ACCEPT_FIRST_LIFE_S: Final = 15 * 60.0
CHECKPOINT_S: Final = 900.0  # so often the used uptime is stored, at least ...
CHECKPOINTS: Final = 15  # ... and so often in a shorter life
FRAMES_MAX: Final = 64  # answers that wait for a store; the peer asks again

PATIENCE_S: Final = 7 * 24 * 3600.0  # for the other side, once both persons agreed
LINGER_S: Final = 6 * 3600.0  # an ended side still tells so to whoever asks

# Why an invite ended; the other side is told, and newer versions may add some.
BY_PERSON: Final = "refused"
SECOND_JOINER: Final = "second_joiner"
CODE_EXPIRED: Final = "expired"
BAD_ADMISSION: Final = "bad_admission"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side, as a person compares it: both persons must see these words."""

    name: str
    node_id: NodeId
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Store *state* durably, then call `stored(version)`; it holds secrets.

    It comes after what it tells of: what those events ask for is done first.
    """

    version: int
    state: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CodeSpent:
    """Inviter: somebody used the code; nobody else can any more."""


@dataclass(frozen=True, slots=True)
class JoinerKnown:
    """Inviter: show this to the person, who then accepts or refuses."""

    name: str
    node_id: NodeId
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InviterKnown:
    """Joiner: show this to the person, who then accepts or refuses."""

    name: str
    node_id: NodeId
    words: tuple[str, ...]
    label: str


@dataclass(frozen=True, slots=True)
class AdmissionWanted:
    """Inviter: both persons agree. Admit this statement's node, unless the roster has
    it already, and give operations and grants to `admit`."""

    statement: bytes
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class JoinerAdmitted:
    """Inviter: the joiner is a member and is being told."""

    name: str
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class Admitted:
    """Joiner: this node is a member; store it before the state."""

    group: GroupId
    label: str
    operations: tuple[bytes, ...] = field(repr=False)
    grants: tuple[bytes, ...] = field(repr=False)
    brokers: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """It ended without a member; *by_peer* says on whose side."""

    reason: str
    by_peer: bool


@dataclass(frozen=True, slots=True)
class Expired:
    """The code's life ended first."""


@dataclass(frozen=True, slots=True)
class SecondJoinerRefused:
    """Inviter: another node knows the code. Compare the words with care."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing more will be sent: delete the state. The last event of all."""


InviteEvent = (
    StateChanged
    | CodeSpent
    | JoinerKnown
    | InviterKnown
    | AdmissionWanted
    | JoinerAdmitted
    | Admitted
    | Refused
    | Expired
    | SecondJoinerRefused
    | Finished
)


class InviteSession(ABC):
    """One side of one invite. One owner thread."""

    def __init__(
        self,
        secret: bytes,
        is_inviter: bool,
        life_s: float,
        draw: Callable[[int], bytes],
        now: float,
    ) -> None:
        topics, keys = invite_topics(secret), invite_keys(secret)
        self._in_topic, self._out_topic = topics if is_inviter else topics[::-1]
        self._in_key, self._out_key = keys if is_inviter else keys[::-1]
        self._invite = invite_id(secret)
        self._life_s = life_s
        self._draw = draw
        # All on the caller's monotonic clock; in a dict as uptime since the first.
        self._began = self._since = self._now = now
        self._period = min(CHECKPOINT_S, life_s / CHECKPOINTS)
        self._checkpoint = now + self._period
        self._events: list[InviteEvent] = []
        self._frames: list[tuple[str, bytes]] = []
        self._version = self._told_version = self._stored_version = 0

    # --- the caller's side ----------------------------------------------------------

    def topics(self) -> set[str]:
        """The topics to subscribe to, on the broker of the code."""
        return {self._in_topic}

    def receive(self, payload: bytes, now: float) -> None:
        """Take a frame; PeerError if it is not one, and then nothing changed."""
        self.handle_timer(now)
        kind, content = open_frame(payload, self._in_key)
        self._on_frame(kind, content)

    def handle_timer(self, now: float) -> None:
        """Do what is due; nothing if nothing is."""
        self._now = max(self._now, now)
        expiry = self._expiry()
        if expiry is not None and self._now >= expiry:
            self._on_expiry()
        retry = self._retry_at()
        if retry is not None and self._now >= retry:
            self._on_retry()
        if self._expiry() is not None and self._now >= self._checkpoint:
            self._change()

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do; None: never again."""
        expiry, retry = self._expiry(), self._retry_at()
        if expiry is None:
            return retry
        return min(expiry, self._checkpoint, expiry if retry is None else retry)

    def stored(self, version: int) -> None:
        """The state of that `StateChanged` is durable: frames may speak of it."""
        self._stored_version = max(self._stored_version, version)

    def take_frames(self) -> list[tuple[str, bytes]]:
        """Return what to publish now; nothing while a change is not yet stored."""
        if self._stored_version < self._version:
            return []
        frames, self._frames = self._frames, []
        return frames

    def take_events(self) -> list[InviteEvent]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        if self._told_version < self._version:
            self._told_version = self._version
            events.append(StateChanged(self._version, self.to_dict()))
        # Last, so that the state is not stored again after it was deleted.
        events.sort(key=lambda event: isinstance(event, Finished))
        return events

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON can hold it, secrets included."""

    # --- the subclass's side --------------------------------------------------------

    @abstractmethod
    def _on_frame(self, kind: int, content: bytes) -> None: ...

    @abstractmethod
    def _on_expiry(self) -> None: ...

    @abstractmethod
    def _expiry(self) -> float | None: ...

    def _on_retry(self) -> None:
        """Send again; only the joiner does, the inviter answers."""
        raise NotImplementedError

    def _retry_at(self) -> float | None:
        return None

    def _change(self) -> None:
        """What was changed must be stored before the next frame leaves."""
        self._version += 1
        self._checkpoint = self._now + self._period

    def _enter(self) -> None:
        """A new state began."""
        self._since = self._now
        self._change()

    def _report(self, event: InviteEvent) -> None:
        self._events.append(event)

    def _send(self, kind: Kind, content: bytes) -> None:
        payload = seal_frame(kind, content, self._out_key, self._draw)
        self._frames = [*self._frames, (self._out_topic, payload)][-FRAMES_MAX:]

    def _times(self) -> dict[str, float]:
        return {"used_s": self._now - self._began, "since_s": self._since - self._began}

    def _restore_times(self, document: dict[str, Any]) -> None:
        # Time while the node was off cannot be measured and does not count. What ran
        # since the last checkpoint is unknown and counts as a whole one, to be stored
        # again: restarting must never make a code live longer.
        self._began = self._now - float(document["used_s"]) - self._period
        self._since = self._began + float(document["since_s"])
