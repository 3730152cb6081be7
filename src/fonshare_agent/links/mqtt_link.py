"""One broker: connects, connects again, sends and receives sealed payloads.

Decides nothing about messages. Each connection is a `Session` (paho_session.py).

Rules: everything of a connection happens on the link's one thread, driven by our own
loop (`run`), so that each has a new will and client id, stopping is prompt and every
failure becomes an event; other threads only hand over (`publish`, `set_subscriptions`,
`handled`) and wake it. Events are given on that thread, outside paho's callbacks.

A topic with a message that is too large is left unsubscribed for ten minutes, which
also ends the loop that a retained one would make. When the owner has 256 messages or
1 MiB not handled, the link stops reading: TCP slows the broker down, which has bounds
of its own, and nothing that we confirmed is thrown away. Messages neither keep order
nor survive: what the broker or a lost connection swallows, the protocol repairs on
reconnecting.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from fonshare_agent.errors import (
    BrokerClockUnknown,
    BrokerError,
    BrokerProtocol,
    BrokerUnreachable,
)
from fonshare_agent.links.backoff import Backoff
from fonshare_agent.links.bounds import Outbox, Outgoing, Pending
from fonshare_agent.links.broker_socket import Dialer, Interrupted, Wake
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.link_events import (
    Connected,
    Disconnected,
    LinkEvent,
    Oversized,
    Received,
    SubscriptionRefused,
)
from fonshare_agent.links.packet_guard import OversizedPacket
from fonshare_agent.links.paho_session import Session

__all__ = [
    "BrokerUrl",
    "Connected",
    "Disconnected",
    "LinkEvent",
    "MqttLink",
    "Oversized",
    "Received",
    "SubscriptionRefused",
]

TICK_S = 5.0  # how often paho may look at its keepalive; a wake-up costs the router
REST_S = 30.0  # how long the topic of an oversized message is left alone at first;
REST_MAX_S = 600.0  # doubled each time, since a retained one is there again
CLOCK_POLL_S = 2.0  # how soon a set clock is noticed
FAREWELL_S = 3.0  # how long stopping waits for the broker's confirmations
STOP_S = FAREWELL_S + 2.0

log = logging.getLogger(__name__)


class MqttLink:
    """Keeps one broker connected. `run` is the link's thread; the rest is for any."""

    def __init__(
        self,
        url: BrokerUrl,
        *,
        new_will: Callable[[], tuple[str, bytes]],
        on_event: Callable[[LinkEvent], None],
        draw: Callable[[int], bytes],
        ca: Path | None = None,
        pin: bytes | None = None,
        clock_is_known: Callable[[], bool] = lambda: True,
        backoff: Backoff | None = None,
    ) -> None:
        """*new_will* and *on_event* are called on the link's thread.

        *draw* returns random bytes. *ca* and *pin* win over the URL's.
        """
        self.url = url
        self._new_will, self._on_event, self._draw = new_will, on_event, draw
        self._clock_is_known = clock_is_known
        self._backoff = backoff or Backoff(draw)
        self._wake, self._stopping = Wake(), threading.Event()
        self._ended = threading.Event()
        self._ended.set()
        self._dialer = Dialer(
            url,
            ca or (Path(url.ca) if url.ca else None),
            pin or url.pin,
            self._wake,
            self._stopping.is_set,
        )
        self._outbox, self._pending = Outbox(), Pending()
        self._wanted: frozenset[str] = frozenset()
        self._rests: dict[str, float] = {}  # topic: seconds of its next rest
        self._resting: dict[str, float] = {}  # topic: monotonic time of its return
        self._hurry = False
        self._present: frozenset[str] | None = None  # addresses, after a change
        self._connected_at = 0.0
        self._farewell: tuple[Outgoing, ...] = ()
        self._thread_id: int | None = None

    @property
    def is_connected(self) -> bool:
        return self._outbox.is_open

    def start(self) -> None:
        """Run on a thread of its own."""
        self._ended.clear()
        threading.Thread(target=self.run, name="mqtt", daemon=True).start()

    def stop(self, farewell: Sequence[tuple[str, bytes, bool]] = ()) -> None:
        """Publish *farewell* (topic, payload, retain), disconnect and end `run`.

        Waits at most 5 s, mostly milliseconds; no event is given afterwards. A farewell
        while there is no connection is not said. A stopped link stays stopped.
        """
        self._farewell = tuple(Outgoing(*message) for message in farewell)
        self._stopping.set()
        self._wake.set()
        if threading.get_ident() != self._thread_id:
            self._ended.wait(STOP_S)

    def set_subscriptions(self, topics: Collection[str]) -> None:
        """Make *topics* (no wildcards) the ones to receive, now and on reconnecting."""
        self._wanted = frozenset(topics)
        self._wake.set()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        """Hand a message over for sending with QoS 1.

        False when offline or when 256 messages or 1 MiB are on their way. True is no
        promise: a connection that breaks takes what was not confirmed with it.
        """
        taken = self._outbox.offer(Outgoing(topic, payload, retain))
        if taken:
            self._wake.set()
        return taken

    def handled(self, event: Received) -> None:
        """The owner is done with *event*; makes room for the next."""
        if self._pending.remove(event.size):
            self._wake.set()

    def retry_now(self) -> None:
        """Do not wait for the next attempt: the network has just come back."""
        self._hurry = True
        self._wake.set()

    def network_changed(self, addresses: frozenset[str]) -> None:
        """This host has just these addresses now: connect again if ours is gone.

        Nobody would tell for a keepalive or two: the broker's words go astray.
        """
        self._present = addresses
        self.retry_now()

    def run(self) -> None:
        """Connect, serve and connect again until `stop`."""
        self._thread_id = threading.get_ident()
        self._ended.clear()
        self._wake.open()
        try:
            while not self._stopping.is_set():
                self._wait_for_clock()
                self._pause(self._attempt())
        except Interrupted:
            log.debug("stopped while connecting")
        finally:
            self._outbox.close()
            self._wake.close()
            self._ended.set()

    def _attempt(self) -> float:
        """Serve one connection from its beginning to its end; return what to wait."""
        try:
            self._converse()
            return 0.0
        except OversizedPacket as packet:
            error: BrokerError = BrokerProtocol(
                "the connection was cut: a message is too large", thing=str(self.url)
            )
            if self._let_rest(packet):
                self._backoff.reset()
        except BrokerError as failure:
            error = failure
            error.thing = str(self.url)
        except OSError as failure:
            reason = (failure.strerror or str(failure)).lower()
            error = BrokerUnreachable(
                f"the connection to the broker is lost: {reason}", thing=str(self.url)
            )
        if self._outbox.is_open:
            self._backoff.note_connection(time.monotonic() - self._connected_at)
        self._outbox.close()
        wait_s = self._backoff.next_wait_s()
        self._emit(Disconnected(self.url, error, wait_s))
        return wait_s

    def _converse(self) -> None:
        with self._dialer.dial() as sock:
            will = self._new_will()
            session = Session(
                sock, self.url, will, self._draw, self._wake, self._pending
            )
            try:
                session.open(self._stopping.is_set)
                self._subscribe(session)
                self._outbox.open()
                self._connected_at = time.monotonic()
                self._hurry, self._present = False, None
                self._emit(Connected(self.url, *will))
                while not self._stopping.is_set():
                    self._serve(session)
                self._say_goodbye(session)
            finally:
                self._deliver(session)

    def _serve(self, session: Session) -> None:
        # In this order: a question taken here was put after its topic was wanted, so
        # the topic is asked for first and the answer cannot be missed.
        self._demand_address(session)
        messages = self._outbox.take()
        self._subscribe(session)
        for message in messages:
            session.publish(message)
        session.step(TICK_S)
        self._deliver(session)

    def _demand_address(self, session: Session) -> None:
        present, self._present = self._present, None
        if present is not None and session.local_address not in present:
            self._backoff.reset()
            raise BrokerUnreachable("this host's address or way out has changed")
        if present is not None:
            self._hurry = False

    def _deliver(self, session: Session) -> None:
        for size in session.confirmed:
            self._outbox.confirm(size)
        for topic in session.refused:
            self._emit(SubscriptionRefused(self.url, topic))
        received, session.received = session.received, []
        session.confirmed, session.refused = [], []
        for event in received:
            self._emit(event)

    def _subscribe(self, session: Session) -> None:
        now = time.monotonic()
        for topic in [t for t, until in self._resting.items() if until <= now]:
            del self._resting[topic]
        self._rests = {t: s for t, s in self._rests.items() if t in self._wanted}
        topics = self._wanted - self._resting.keys()
        if topics != session.topics:
            session.subscribe(topics)

    def _let_rest(self, packet: OversizedPacket) -> bool:
        """Leave the packet's topic alone; False if that does not help."""
        topic = packet.topic.decode("utf-8", "replace")
        rest_s = 0.0
        if topic in self._wanted and topic not in self._resting:
            rest_s = self._rests.get(topic, REST_S)
            self._rests[topic] = min(rest_s * 2, REST_MAX_S)
            self._resting[topic] = time.monotonic() + rest_s
        self._emit(Oversized(self.url, topic, packet.size, rest_s))
        return rest_s > 0

    def _say_goodbye(self, session: Session) -> None:
        try:
            for message in (*self._outbox.take(), *self._farewell):
                session.publish(message)
            session.say_goodbye(time.monotonic() + FAREWELL_S)
        except (BrokerError, OversizedPacket, OSError) as error:
            log.info("the farewell was not confirmed: %s", type(error).__name__)

    def _wait_for_clock(self) -> None:
        if not self._dialer.needs_clock or self._clock_is_known():
            return
        error = BrokerClockUnknown(
            "the broker's certificate cannot be checked: the time is not known",
            thing=str(self.url),
        )
        self._emit(Disconnected(self.url, error, CLOCK_POLL_S))
        while not self._stopping.is_set() and not self._clock_is_known():
            self._wake.wait(CLOCK_POLL_S)

    def _pause(self, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while not self._stopping.is_set() and not self._hurry:
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            self._wake.wait(left_s)
        self._hurry = False

    def _emit(self, event: LinkEvent) -> None:
        if not self._stopping.is_set():
            self._on_event(event)
