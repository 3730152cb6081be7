"""Tickets: the expiring right of one peer to read or write exactly one file here, or to
read a bundle of small ones.

A ticket is granted, redeemed by one session, and dead when that session ends, when it
is revoked, or when nobody redeemed it within ten minutes. It says which certificate
must be shown and names its file by `opener`, so nothing that a peer sends ever becomes
a path. Secrets are random and only their SHA-256 is kept.

Any thread may use the desk. It must not know sockets; who listens with `on_revoked`
ends the transfers.
"""

import base64
import binascii
import hashlib
import hmac
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fonshare_agent.errors import TicketRefused
from fonshare_agent.model import GroupId, NodeId, Root, SharePath

ID_BYTES = SECRET_BYTES = 16
REDEEM_WITHIN_S = 600.0  # DESIGN section 4: ten monotonic minutes
# More than 64 members ask for at once; a full desk refuses instead of growing.
TICKETS_MAX = 1024
# Of one peer, which asks for what it reads soon. Nobody takes the places of all others,
# nor memory: a ticket for a bundle keeps what opens each of its files.
TICKETS_OF_ONE_MAX = 64
BUNDLES_OF_ONE_MAX = 8


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file looked like when its root was computed."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStamp":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Small files of one share by their sizes, to be read one after another.

    `open_part` gives a new descriptor, the caller's to close. It raises FonshareError
    or OSError if that file is not what was granted, DiskMissing without a disk.
    """

    sizes: tuple[int, ...]
    open_part: Callable[[int], int] = field(repr=False)


class Held(Protocol):
    """A file that is arriving, or has just arrived. Its methods may wait a little."""

    def has(self, index: int) -> bool:
        """Tell whether the block is here and verified."""

    def maps(self) -> tuple[bytes, bytes]:
        """Return which blocks are here, and which come from others now."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """See the module's text. `opener` gives a new descriptor, the caller closes it."""

    id: bytes
    secret_hash: bytes = field(repr=False)
    peer: NodeId
    peer_fingerprint: bytes
    group: GroupId
    job: str
    share: str | None  # None, as `path`: a copy of the catalogue
    path: SharePath | None
    direction: Literal["read", "write"]
    size: int
    root: Root | None
    block_size: int
    opener: Callable[[], int] = field(repr=False)
    bundle: Bundle | None = None  # read: instead of what `opener` gives
    copy_of: frozenset[str] = frozenset()  # the shares whose entries the copy shows
    held: Held | None = field(default=None, repr=False)  # read: only what it has
    recorded: FileStamp | None = None  # read: what the file must still look like
    writing: Callable[[int, int], AbstractContextManager[None]] | None = field(
        default=None, repr=False
    )
    on_written: Callable[[int, int], None] | None = field(default=None, repr=False)
    """write: told (offset, length) before and after each stretch, on a worker."""


def secret_hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def parse_base32(text: str, length: int) -> bytes | None:
    """Return the *length* bytes that base32 *text* (as of model.base32) holds."""
    padded = text.upper() + "=" * (-len(text) % 8)
    try:
        raw = base64.b32decode(padded)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length else None


class TicketDesk:
    """All live tickets. `clock` is monotonic seconds; `is_allowed` may be slow."""

    def __init__(
        self, clock: Callable[[], float], is_allowed: Callable[[Ticket], bool]
    ) -> None:
        self._clock, self._is_allowed = clock, is_allowed
        self._lock = threading.Lock()
        self._tickets: dict[bytes, Ticket] = {}
        self._expires: dict[bytes, float] = {}  # of those not redeemed yet
        self._holders: dict[bytes, object] = {}
        self._listeners: list[Callable[[frozenset[bytes], bool], None]] = []
        self.on_redeemed: Callable[[NodeId], None] = lambda peer: None  # any thread

    def on_revoked(self, listener: Callable[[frozenset[bytes], bool], None]) -> None:
        """Call *listener* with the ids of tickets that died, and whether a session
        that has no other ticket dies with them; on the revoking thread."""
        self._listeners.append(listener)

    def grant(self, ticket: Ticket) -> None:
        """Make the ticket redeemable; of a peer with too many its oldest goes that it
        has not redeemed."""
        with self._lock:
            self._drop_expired()
            self._make_room(ticket.peer, TICKETS_OF_ONE_MAX)
            if ticket.bundle is not None:
                self._make_room(ticket.peer, BUNDLES_OF_ONE_MAX, of_bundles=True)
            if len(self._tickets) >= TICKETS_MAX:
                raise TicketRefused("too many tickets are open")
            self._tickets[ticket.id] = ticket
            self._expires[ticket.id] = self._clock() + REDEEM_WITHIN_S

    def redeem(
        self, ticket_id: bytes, secret: bytes, peer_fingerprint: bytes, session: object
    ) -> Ticket:
        """Bind the ticket to *session* and return it, or raise TicketRefused.

        The session that holds it already may redeem it again.
        """
        with self._lock:
            self._drop_expired()
            ticket = self._tickets.get(ticket_id)
            expected = ticket.secret_hash if ticket else bytes(32)
            is_right = hmac.compare_digest(secret_hash(secret), expected)
            if ticket is None or not is_right:
                raise TicketRefused("no such ticket")
            if not hmac.compare_digest(ticket.peer_fingerprint, peer_fingerprint):
                raise TicketRefused("the ticket is another peer's")
            if self._holders.setdefault(ticket_id, session) is not session:
                raise TicketRefused("the ticket is used by another session")
            self._expires.pop(ticket_id, None)
        self.on_redeemed(ticket.peer)
        return ticket

    def knows_peer(self, peer_fingerprint: bytes) -> bool:
        """Tell whether any live ticket is for this certificate."""
        with self._lock:
            self._drop_expired()
            return any(
                ticket.peer_fingerprint == peer_fingerprint
                for ticket in self._tickets.values()
            )

    def demand_alive(self, ticket: Ticket, session: object) -> None:
        """Raise TicketRefused unless *session* may use the ticket right now. Slow."""
        with self._lock:
            is_held = self._holders.get(ticket.id) is session
        if not is_held or not self._is_allowed(ticket):
            raise TicketRefused("the ticket is no longer valid")

    def holds_any(self, session: object) -> bool:
        with self._lock:
            return any(holder is session for holder in self._holders.values())

    def release(self, session: object) -> None:
        """The session ended: its tickets are dead."""
        with self._lock:
            for ticket_id, holder in list(self._holders.items()):
                if holder is session:
                    self._drop(ticket_id)

    def revoke(self, predicate: Callable[[Ticket], bool]) -> int:
        """Kill the tickets that *predicate* picks, and what runs on them."""
        return self._kill(predicate, ends_sessions=True)

    def retire(self, predicate: Callable[[Ticket], bool]) -> int:
        """Kill tickets that their peer needs no more; its session may stay open for
        the next ticket, since opening one costs more than a second."""
        return self._kill(predicate, ends_sessions=False)

    def _kill(self, predicate: Callable[[Ticket], bool], *, ends_sessions: bool) -> int:
        with self._lock:
            dead = frozenset(
                ticket.id for ticket in self._tickets.values() if predicate(ticket)
            )
            for ticket_id in dead:
                self._drop(ticket_id)
        if dead:
            for listener in self._listeners:
                listener(dead, ends_sessions)
        return len(dead)

    def live(self) -> list[Ticket]:
        """Return the tickets that can be redeemed or are in use."""
        with self._lock:
            self._drop_expired()
            return list(self._tickets.values())

    def in_use(self) -> list[Ticket]:
        """Return the tickets that a session has redeemed."""
        with self._lock:
            return [self._tickets[one] for one in self._holders if one in self._tickets]

    def _make_room(self, peer: NodeId, most: int, *, of_bundles: bool = False) -> None:
        """See that *peer* has fewer than *most*; TicketRefused if all are in use."""
        its = [
            one.id
            for one in self._tickets.values()
            if one.peer == peer and (one.bundle is not None or not of_bundles)
        ]
        if len(its) < most:
            return
        unused = next((one for one in its if one in self._expires), None)
        if unused is None:
            raise TicketRefused("too many tickets of one peer are open")
        self._drop(unused)

    def _drop_expired(self) -> None:
        now = self._clock()
        for ticket_id, expires in list(self._expires.items()):
            if expires <= now:
                self._drop(ticket_id)

    def _drop(self, ticket_id: bytes) -> None:
        self._tickets.pop(ticket_id, None)
        self._expires.pop(ticket_id, None)
        self._holders.pop(ticket_id, None)
