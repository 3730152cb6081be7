"""What a broker link tells its owner. Values only, so that nobody else needs paho."""

from dataclasses import dataclass, field

from fonshare_agent.errors import BrokerError
from fonshare_agent.links.broker_url import BrokerUrl


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted us and has been asked for all topics.

    The will is the one of this connection, made by `new_will` just before.
    """

    broker: BrokerUrl
    will_topic: str
    will_payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Disconnected:
    """An attempt failed or a connection ended; the next attempt is in *retry_in_s*.

    What `publish` took and the broker had not confirmed is gone.
    """

    broker: BrokerUrl
    error: BrokerError
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class Received:
    """A message. Give it to `MqttLink.handled` when done, or the link stops reading."""

    broker: BrokerUrl
    topic: str
    payload: bytes = field(repr=False)
    retained: bool

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload)


@dataclass(frozen=True, slots=True)
class Oversized:
    """A message over every size we use was not read; its topic rests."""

    broker: BrokerUrl
    topic: str
    size: int
    rest_s: float  # how long the topic is left alone; 0: that would not help


@dataclass(frozen=True, slots=True)
class SubscriptionRefused:
    """The broker (its access list) does not let us read a topic."""

    broker: BrokerUrl
    topic: str


LinkEvent = Connected | Disconnected | Received | Oversized | SubscriptionRefused
