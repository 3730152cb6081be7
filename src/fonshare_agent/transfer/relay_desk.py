"""The relays that this node's owner allows: who may meet whom here, and how much.

Each has two ends, known by a secret that its two members alone have; a stream is one
connection from each, joined in the order in which they come. What flows is theirs: it
is not looked at, and only its length is known here. Any thread may use the desk; the
streams belong to the splicer.
"""

import hmac
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fonshare_agent.errors import TicketRefused
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.relay import ASKER, OTHER, STREAMS_MAX, Opening, prove
from fonshare_agent.transfer.limits import TokenBucket, Traffic
from fonshare_agent.transfer.splicing import Account, Splicer

RELAYS_MAX: Final = 4  # at once; each has a few sockets and 128 KiB a stream at most
RELAYS_OF_ONE: Final = 1  # asked for by one member
RELAY_S: Final = 3600.0  # then it is asked for again
RELAY_BYTES: Final = 4 << 30  # of one relay, both ways
LEFT_S: Final = 120.0  # without a stream: so long the other end waits for the next
CALLS_MAX: Final = 8  # of this node's own: as many as are read from at once
CALL_BYTES: Final = 1 << 40  # no limit
MEET_S: Final = 60.0  # a relay that nobody came to by then is over
WAITING_MAX: Final = 4  # connections of one end that the other has not met yet


@dataclass(slots=True)
class Relay:
    """One relay and what it has used."""

    id: bytes
    secret: bytes = field(repr=False)
    group: GroupId
    asker: NodeId
    other: NodeId
    account: Account
    meet_by: float
    is_call: bool = False  # the asker is this node itself
    seen: set[tuple[str, int]] = field(default_factory=set)
    waiting: dict[str, list[socket.socket]] = field(
        default_factory=lambda: {ASKER: [], OTHER: []}
    )


class RelayDesk:
    """See the module's text. *bucket*: the owner's limit for all relays together;
    *traffic* counts what they carry as ours."""

    def __init__(
        self,
        clock: Callable[[], float],
        splicer: Splicer,
        bucket: TokenBucket,
        traffic: Traffic | None = None,
    ) -> None:
        self._clock, self._splicer = clock, splicer
        self._bucket, self._traffic = bucket, traffic
        self._lock = threading.Lock()
        self._relays: dict[bytes, Relay] = {}

    def grant(
        self, id: bytes, secret: bytes, group: GroupId, asker: NodeId, other: NodeId
    ) -> None:
        """Let the two meet here. TicketRefused when too many do, or at such hours."""
        if self._bucket.rate_kib_s == 0:
            raise TicketRefused("nothing moves at these hours")
        now = self._clock()
        account = Account(RELAY_BYTES, now + RELAY_S, self._bucket, id, self._traffic)
        relay = Relay(id, secret, group, asker, other, account, now + MEET_S)
        with self._lock:
            for one in self._live(is_call=False):
                if (one.asker, one.other) == (asker, other):
                    self._end(one)  # it was killed, say, and knows nothing of that one
            relays = self._live(is_call=False)
            of_one = sum(one.asker == asker for one in relays)
            if len(relays) >= RELAYS_MAX or of_one >= RELAYS_OF_ONE:
                raise TicketRefused("too many relays")
            self._relays[id] = relay

    def grant_call(
        self, id: bytes, secret: bytes, group: GroupId, me: NodeId, other: NodeId
    ) -> None:
        """Let *other* come to meet this node itself, which reads from it by that: what
        it reads is limited and counted as of any source."""
        now = self._clock()
        account = Account(CALL_BYTES, now + RELAY_S)
        relay = Relay(id, secret, group, me, other, account, now + MEET_S, is_call=True)
        with self._lock:
            if len(self._live(is_call=True)) >= CALLS_MAX:
                raise TicketRefused("too many calls")
            self._relays[id] = relay

    def _live(self, *, is_call: bool) -> list[Relay]:
        self._drop_ended()
        return [one for one in self._relays.values() if one.is_call == is_call]

    def enter(self, opening: Opening) -> Callable[[socket.socket], None]:
        """Return what takes the connection that *opening* has come by.

        TicketRefused if it proves nothing, or proves it a second time.
        """
        with self._lock:
            self._drop_ended()
            relay = self._relays.get(opening.relay)
            secret = relay.secret if relay is not None else bytes(16)
            right = prove(opening.relay, secret, opening.end, opening.number)
            stream = (opening.end, opening.number)
            if relay is None or not hmac.compare_digest(right, opening.proof):
                raise TicketRefused("no such relay")
            if stream in relay.seen or opening.number >= STREAMS_MAX:
                raise TicketRefused("that stream was opened already")
            relay.seen.add(stream)
            return lambda sock: self._take(relay, opening.end, sock)

    def _take(self, relay: Relay, end: str, sock: socket.socket) -> None:
        far = OTHER if end == ASKER else ASKER
        with self._lock:
            is_gone = self._relays.get(relay.id) is not relay
            if is_gone or len(relay.waiting[end]) >= WAITING_MAX:
                sock.close()
                return
            relay.waiting[end].append(sock)
            if not relay.waiting[far]:
                return
            one, other = relay.waiting[end].pop(0), relay.waiting[far].pop(0)
        relay.meet_by = relay.account.until
        self._splicer.join(one, other, relay.account)

    def revoke(self, predicate: Callable[[Relay], bool]) -> None:
        """End the relays that *predicate* picks, with all that flows in them."""
        with self._lock:
            for relay in [one for one in self._relays.values() if predicate(one)]:
                self._end(relay)

    def tend(self) -> None:
        """Drop what is over; call now and then."""
        with self._lock:
            self._drop_ended()

    def live(self) -> list[Relay]:
        with self._lock:
            self._drop_ended()
            return list(self._relays.values())

    def _drop_ended(self) -> None:
        now = self._clock()
        for relay in list(self._relays.values()):
            is_unmet = now >= relay.meet_by
            if relay.account.is_over(now) or is_unmet or _is_left(relay, now):
                self._end(relay)

    def _end(self, relay: Relay) -> None:
        del self._relays[relay.id]
        relay.account.is_closed = True
        for sock in (*relay.waiting[ASKER], *relay.waiting[OTHER]):
            sock.close()


def _is_left(relay: Relay, now: float) -> bool:
    """Tell whether nothing has been open for so long that the other end has gone."""
    account = relay.account
    since = account.quiet_since
    return not account.streams and since is not None and now - since >= LEFT_S
