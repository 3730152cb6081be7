"""Watches the bytes of an MQTT connection before anybody stores them. Pure.

paho believes the length in a packet's fixed header and asks the socket for all of it
at once; up to 256 MB may be announced. The guard stands between: it parses each fixed
header (MQTT 3.1.1, 2.2), lets packets of our sizes pass, and of a larger one reads the
topic only, so that the link can say which topic to leave alone. It also refuses what
we never asked for: QoS 2, which would make paho keep messages until the broker says so.

`limit` says how much may be read next, `feed` takes exactly what was read. Both see
the bytes in whatever pieces the socket gives.
"""

from enum import Enum, auto

from fonshare_agent.errors import BrokerProtocol, OversizedMessage

PAYLOAD_MAX = 131072  # the largest envelope, docs/protocol/envelope.md
REMAINING_MAX = PAYLOAD_MAX + 512  # + topic and packet id: ours have under 100 bytes
LENGTH_BYTES_MAX = 4  # MQTT 3.1.1, 2.2.3
PUBLISH = 3  # packet type, MQTT 3.1.1, 2.2.1


class OversizedPacket(OversizedMessage):
    """A packet is over the limit; its topic was read, its payload was not."""

    def __init__(self, topic: bytes, size: int) -> None:
        super().__init__(f"a message of {size} bytes was not read")
        self.topic, self.size = topic, size


class _Expects(Enum):
    COMMAND = auto()
    LENGTH = auto()
    BODY = auto()
    TOPIC = auto()


class PacketGuard:
    """One connection's incoming packets; make a new one for each connection."""

    def __init__(self, remaining_max: int = REMAINING_MAX) -> None:
        self._remaining_max = remaining_max
        self.packets = 0  # fixed headers seen; 0 means that nobody feeds this guard
        self._expects = _Expects.COMMAND
        self._command = self._length = self._length_bytes = self._body_left = 0
        self._topic = b""

    @property
    def is_between_packets(self) -> bool:
        return self._expects is _Expects.COMMAND

    def limit(self, wanted: int) -> int:
        """Return how many of *wanted* bytes may be read at once."""
        if self._expects is _Expects.BODY:
            return min(wanted, self._body_left)
        if self._expects is _Expects.TOPIC:
            return min(wanted, self._topic_left())
        return min(wanted, 1)  # header bytes one by one: a packet's end is its end

    def feed(self, data: bytes) -> None:
        """Take what was read; raise OversizedPacket or BrokerProtocol."""
        if self._expects is _Expects.BODY:
            self._take_body(len(data))
        elif self._expects is _Expects.TOPIC:
            self._take_topic(data)
        elif data and self._expects is _Expects.COMMAND:
            self._take_command(data[0])
        elif data:
            self._take_length(data[0])

    def _take_command(self, byte: int) -> None:
        kind, flags = byte >> 4, byte & 0x0F
        if kind in (0, 15):
            raise BrokerProtocol(f"the broker sent a packet of type {kind}")
        if kind == PUBLISH and flags & 0b0100:
            raise BrokerProtocol("the broker sent QoS 2, which was not asked for")
        self.packets += 1
        self._command, self._length, self._length_bytes = byte, 0, 0
        self._expects = _Expects.LENGTH

    def _take_length(self, byte: int) -> None:
        self._length |= (byte & 0x7F) << (7 * self._length_bytes)
        self._length_bytes += 1
        if byte & 0x80:
            if self._length_bytes == LENGTH_BYTES_MAX:
                raise BrokerProtocol("the broker sent a malformed length")
        elif self._length > self._remaining_max:
            self._refuse()
        else:
            self._body_left = self._length
            self._expects = _Expects.BODY if self._length else _Expects.COMMAND

    def _refuse(self) -> None:
        if self._command >> 4 != PUBLISH:
            raise BrokerProtocol(f"the broker sent {self._length} bytes of control")
        self._topic, self._expects = b"", _Expects.TOPIC

    def _take_body(self, count: int) -> None:
        self._body_left -= count
        if self._body_left == 0:
            self._expects = _Expects.COMMAND

    def _topic_left(self) -> int:
        if len(self._topic) < 2:
            return 2 - len(self._topic)
        return 2 + int.from_bytes(self._topic[:2], "big") - len(self._topic)

    def _take_topic(self, data: bytes) -> None:
        self._topic += data
        if len(self._topic) >= 2 and self._topic_left() == 0:
            raise OversizedPacket(self._topic[2:], self._length)
