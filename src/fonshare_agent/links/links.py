"""All broker connections of this node: one link for each broker that anybody wants.

Starts and stops links as the wish changes and carries their events to the core thread.
Decides nothing: what is wanted comes from the wishes, what arrives goes to handlers.
Core thread, except that links call `_on_event` from their own.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import BadBrokerUrl, BrokerError
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.link_events import (
    Connected,
    Disconnected,
    LinkEvent,
    Oversized,
    Received,
    SubscriptionRefused,
)
from fonshare_agent.links.mqtt_link import MqttLink
from fonshare_agent.protocol.keys import hkdf
from fonshare_agent.protocol.topics import liveness_topic

log = logging.getLogger(__name__)

FAREWELL_BYTES = 32
LIVENESS_BYTES = 20
TAG_BYTES = 3

MakeLink = Callable[
    [BrokerUrl, Callable[[], tuple[str, bytes]], Callable[[LinkEvent], None]], MqttLink
]


@dataclass(slots=True)
class _Broker:
    link: MqttLink
    will: tuple[str, bytes] | None = None  # of the connection that stands now
    error: BrokerError | None = None
    oversized: int = 0  # bytes of the last message that was too large to read


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who hears of the brokers, and who wants which (brokers and topics)."""

    brokers: Callable[[], set[str]]
    topics: Callable[[str], set[str]]
    on_connected: Callable[[str], None]
    on_disconnected: Callable[[str], None]
    on_received: Callable[[str, str, bytes, Callable[[], None]], None]


class Links:
    """The set of links. *secret* makes this node's liveness topics unguessable."""

    def __init__(
        self,
        core: Core,
        closer: Worker,
        make_link: MakeLink,
        draw: Callable[[int], bytes],
        secret: bytes,
        handlers: Handlers,
    ) -> None:
        self._core, self._closer, self._make_link = core, closer, make_link
        self._draw, self._secret, self._handlers = draw, secret, handlers
        self._brokers: dict[str, _Broker] = {}
        self._unusable: set[str] = set()  # what is wanted, and is no address
        self._is_refreshing = False
        self._is_stopped = False

    def is_connected(self, broker: str) -> bool:
        found = self._brokers.get(broker)
        return found is not None and found.will is not None

    def any_connected(self) -> bool:
        return any(one.will is not None for one in self._brokers.values())

    def errors(self) -> dict[str, BrokerError]:
        """What is wrong with each broker that is not connected."""
        return {
            url: one.error
            for url, one in self._brokers.items()
            if one.error is not None and one.will is None
        }

    def oversized(self) -> dict[str, int]:
        """Brokers that delivered a message too large to read, and its size."""
        return {u: one.oversized for u, one in self._brokers.items() if one.oversized}

    def will(self, broker: str) -> tuple[str, bytes] | None:
        """The liveness topic and farewell of the connection that stands."""
        found = self._brokers.get(broker)
        return None if found is None else found.will

    def publish(
        self, broker: str, topic: str, payload: bytes, retain: bool = False
    ) -> bool:
        found = self._brokers.get(broker)
        return found is not None and found.link.publish(topic, payload, retain)

    def refresh_now(self) -> None:
        """As `refresh`, before the caller goes on: an answer is expected there."""
        self._refresh()

    def refresh(self) -> None:
        """Follow what is wanted now; many calls in one turn cost one look."""
        if not self._is_refreshing:
            self._is_refreshing = True
            self._core.post(self._refresh)

    def _refresh(self) -> None:
        self._is_refreshing = False
        if self._is_stopped:
            return
        wanted = self._handlers.brokers()
        self._unusable &= wanted
        for url in wanted - self._brokers.keys() - self._unusable:
            self._open(url)
        for url in self._brokers.keys() - wanted:
            self._close(url)
        for url, broker in self._brokers.items():
            broker.link.set_subscriptions(self._handlers.topics(url))

    def _open(self, url: str) -> None:
        try:
            # What it names as `ca` would be any file here, by the wish of an admin: a
            # pipe, a device. Ours is in the settings.
            parsed = BrokerUrl.parse(url).without_ca()
        except BadBrokerUrl as error:
            log.warning("a group names a broker that is no address: %s", error.code)
            self._unusable.add(url)
            return
        topic = liveness_topic(hkdf(self._secret, "liveness " + url, LIVENESS_BYTES))
        link = self._make_link(
            parsed,
            lambda: (topic, self._draw(FAREWELL_BYTES)),
            lambda event: self._core.post(lambda: self._on_event(url, link, event)),
        )
        self._brokers[url] = _Broker(link)
        link.set_subscriptions(self._handlers.topics(url))
        link.start()

    def _close(self, url: str) -> None:
        broker = self._brokers.pop(url)
        self._closer.run(broker.link.stop, _farewell(broker))
        self._handlers.on_disconnected(url)

    def network_changed(self, addresses: frozenset[str]) -> None:
        """This host has just these addresses that connections may go on from."""
        for broker in self._brokers.values():
            broker.link.network_changed(addresses)

    async def stop(self) -> None:
        """Say goodbye everywhere; bounded by the links' own time-outs."""
        self._is_stopped = True
        brokers, self._brokers = self._brokers, {}
        for broker in brokers.values():
            await self._closer.run(broker.link.stop, _farewell(broker))

    def _tag(self, url: str) -> str:
        """What the log calls a broker: no address stands in it (DESIGN section 8)."""
        return hkdf(self._secret, "log " + url, TAG_BYTES).hex()

    def _on_event(self, url: str, link: MqttLink, event: LinkEvent) -> None:
        broker = self._brokers.get(url)
        if broker is None or broker.link is not link:
            return  # of a link that was closed meanwhile
        match event:
            case Connected(_, topic, payload):
                broker.will, broker.error = (topic, payload), None
                log.info("broker %s connected", self._tag(url))
                self._handlers.on_connected(url)
            case Disconnected(_, error, retry_in_s):
                was_connected = broker.will is not None
                broker.will, broker.error = None, error
                log.warning(
                    "broker %s: %s; next try in %.0f s",
                    self._tag(url),
                    error.code,
                    retry_in_s,
                )
                if was_connected:
                    self._handlers.on_disconnected(url)
            case Received(_, topic, payload, _):
                self._handlers.on_received(
                    url, topic, payload, lambda: broker.link.handled(event)
                )
            case Oversized(_, _, size, rest_s):
                broker.oversized = size
                log.warning(
                    "broker %s: a message of %d bytes was not read; its topic is left"
                    " alone for %.0f s",
                    self._tag(url),
                    size,
                    rest_s,
                )
            case SubscriptionRefused():
                log.warning("broker %s refuses to let us read a topic", self._tag(url))


def _farewell(broker: _Broker) -> list[tuple[str, bytes, bool]]:
    """Show the farewell ourselves: a clean disconnect sends no last will."""
    return [] if broker.will is None else [(*broker.will, True)]
