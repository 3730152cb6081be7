"""One MQTT connection, made of paho's client. The only module that knows paho-mqtt.

And so the only place where its 1.6.1 (OpenWrt up to 25.12) and 2.x differ: the callback
version, and result codes that became objects. paho's own threads, reconnecting, TLS and
proxies are not used: the socket comes connected and verified from outside, its loop is
ours, and every incoming byte passes the PacketGuard before paho stores it. That needs
two of paho's internal methods; where they are missing, `Session` says so.

All of it runs on the link's one thread. Callbacks only note what happened: paho holds
locks meanwhile.
"""

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from paho.mqtt import __version__

from fonshare_agent.deferring import deferring
from fonshare_agent.errors import (
    BrokerError,
    BrokerProtocol,
    BrokerRefused,
    BrokerUnreachable,
    UnsupportedPaho,
)
from fonshare_agent.links.bounds import Outgoing, Pending
from fonshare_agent.links.broker_socket import ATTEMPT_S, Interrupted, Wake
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.link_events import Received
from fonshare_agent.links.packet_guard import PacketGuard

# Of MQTT 5, which we do not speak. paho 2 asks for its types at any version.
_VERSION_5 = ("properties", "reasoncodes", "subscribeoptions")

# They find a proxy and make up client ids, which are our business here; and paho asks
# whether this is Windows.
with deferring(
    *("urllib.request", "uuid", "platform", "string"),
    known={
        "platform.system": lambda: os.uname().sysname,
        "string.digits": "0123456789",
        "string.ascii_letters": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    },
    called=tuple(
        f"paho.mqtt.{name}" for name in _VERSION_5 if __version__.startswith("1.")
    ),
):
    from paho.mqtt import client as mqtt

KEEPALIVE_S = 45  # NATs of home routers forget an idle connection after minutes
ANSWER_S = ATTEMPT_S  # CONNACK after CONNECT
TOPICS_A_PACKET = 8  # some brokers take no more in one SUBSCRIBE
CLIENT_ID_BYTES = 11  # 22 hex digits: every 3.1.1 broker takes up to 23 [3.1.3-5]

# CONNACK codes of MQTT 3.1.1 and, from paho 2, what it makes of them.
_VERSION, _IDENTITY, _LOGIN = (1, 132), (2, 133), (4, 5, 134, 135)
_HOOKS = ("_sock_recv", "_create_socket_connection")
_MALFORMED = (struct.error, ValueError, IndexError, KeyError, TypeError)


class _GuardedClient(mqtt.Client):  # type: ignore[misc, unused-ignore]
    """paho's client with our socket and our limit under it."""

    broker_socket: socket.socket
    guard: PacketGuard
    has_room: Callable[[], bool]

    def _create_socket_connection(self) -> socket.socket:
        return self.broker_socket

    def _sock_recv(self, bufsize: int) -> bytes:
        if self.guard.is_between_packets and not self.has_room():
            raise BlockingIOError
        data: bytes = super()._sock_recv(self.guard.limit(bufsize))
        self.guard.feed(data)
        return data


def _new_client(client_id: str) -> _GuardedClient:
    if not all(hasattr(mqtt.Client, hook) for hook in _HOOKS):
        raise UnsupportedPaho("this paho-mqtt cannot be given a limit")
    options: dict[str, Any] = {
        "client_id": client_id,
        "protocol": mqtt.MQTTv311,
        "reconnect_on_failure": False,
    }
    if hasattr(mqtt, "CallbackAPIVersion"):
        options["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
    return _GuardedClient(**options)


class Session:
    """One connection, from CONNECT to its end. The link's thread only."""

    def __init__(
        self,
        sock: socket.socket,
        url: BrokerUrl,
        will: tuple[str, bytes],
        draw: Callable[[int], bytes],
        wake: Wake,
        pending: Pending,
    ) -> None:
        """*sock* is connected to the broker of *url*; its owner closes it."""
        client = self._client = _new_client(draw(CLIENT_ID_BYTES).hex())
        self._url, self._wake, self._pending = url, wake, pending
        self._socket = client.broker_socket = sock
        client.guard = PacketGuard()
        client.has_room = lambda: not pending.is_full
        client.will_set(will[0], will[1], qos=1, retain=True)
        if url.user is not None:
            client.username_pw_set(url.user, url.password)
        self._answer: int | None = None
        self._unconfirmed: dict[int, int] = {}  # message id: size
        self._asked: dict[int, list[str]] = {}  # message id: topics
        self.topics: frozenset[str] = frozenset()  # what the broker was asked for
        self.received: list[Received] = []
        self.confirmed: list[int] = []  # sizes
        self.refused: list[str] = []  # topics
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe

    @property
    def local_address(self) -> str:
        """The address of this host that the connection comes from."""
        return str(self._socket.getsockname()[0])

    def open(self, is_stopping: Callable[[], bool]) -> None:
        """Say CONNECT and wait for the broker's yes; raise Interrupted if stopping."""
        self._client.connect(self._url.host, self._url.port, KEEPALIVE_S)
        deadline = time.monotonic() + ANSWER_S
        while self._answer is None:
            if time.monotonic() >= deadline:
                raise BrokerUnreachable("the broker does not answer")
            self.step(deadline - time.monotonic())
            if is_stopping():
                raise Interrupted
        if not self._client.guard.packets:
            raise UnsupportedPaho("this paho-mqtt reads past the limit")

    def step(self, wait_s: float) -> None:
        """Wait for the network or a wake and do what is due; raise when it is over."""
        if self._client.socket() is None:
            raise BrokerUnreachable("the connection to the broker is lost")
        has_room = self._client.has_room()
        has_bytes = has_room and bool(getattr(self._socket, "pending", int)())
        events = select.POLLIN if has_room else 0
        if self._client.want_write():
            events |= select.POLLOUT
        ready = self._wake.wait(0 if has_bytes else wait_s, self._socket, events)
        if ready & select.POLLOUT:
            self._check(self._client.loop_write())
        if has_bytes or ready & ~select.POLLOUT:
            if not has_room:
                raise BrokerUnreachable("the connection to the broker is lost")
            self._read()
        self._check(self._client.loop_misc())

    def _read(self) -> None:
        try:
            code = self._client.loop_read()
        except _MALFORMED as error:
            raise BrokerProtocol("the broker sent a malformed packet") from error
        self._check(code)

    def _check(self, code: int) -> None:
        if self._answer:
            raise _refusal(self._answer)
        if code == mqtt.MQTT_ERR_PROTOCOL:
            raise BrokerProtocol("the broker sent a malformed packet")
        if code != mqtt.MQTT_ERR_SUCCESS:
            text = mqtt.error_string(code).rstrip(".").lower()
            raise BrokerUnreachable(f"the connection to the broker is lost: {text}")

    def publish(self, message: Outgoing) -> None:
        info = self._client.publish(
            message.topic, message.payload, qos=1, retain=message.retain
        )
        self._unconfirmed[info.mid] = message.size

    def subscribe(self, topics: frozenset[str]) -> None:
        """Make *topics* what the broker sends us."""
        for some in _chunks(sorted(self.topics - topics)):
            self._client.unsubscribe(some)
        for some in _chunks(sorted(topics - self.topics)):
            _, number = self._client.subscribe([(topic, 1) for topic in some])
            if number is not None:
                self._asked[number] = some
        self.topics = topics

    def say_goodbye(self, deadline: float) -> None:
        """Wait for the confirmations, then DISCONNECT, which drops the will."""
        while self._unconfirmed and time.monotonic() < deadline:
            self.step(deadline - time.monotonic())
        self._client.disconnect()
        while self._client.socket() is not None and time.monotonic() < deadline:
            self._wake.wait(deadline - time.monotonic(), self._socket, select.POLLOUT)
            self._client.loop_write()

    def _on_connect(
        self, _client: Any, _data: Any, _flags: Any, code: Any, *_: Any
    ) -> None:
        self._answer = int(getattr(code, "value", code))

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            raise BrokerProtocol("the broker sent a topic that is not UTF-8") from None
        event = Received(self._url, topic, bytes(message.payload), bool(message.retain))
        self._pending.add(event.size)
        self.received.append(event)

    def _on_publish(self, _client: Any, _data: Any, number: int, *_: Any) -> None:
        size = self._unconfirmed.pop(number, None)
        if size is not None:
            self.confirmed.append(size)

    def _on_subscribe(
        self, _client: Any, _data: Any, number: int, codes: Any, *_: Any
    ) -> None:
        grants = [int(getattr(code, "value", code)) for code in codes]
        topics = self._asked.pop(number, [])
        self.refused += [t for t, code in zip(topics, grants, strict=False) if code > 2]


def _refusal(answer: int) -> BrokerError:
    if answer in _LOGIN:
        return BrokerRefused("the broker refuses the user or the password")
    if answer in _IDENTITY:
        return BrokerRefused("the broker refuses clients it does not know by id")
    if answer in _VERSION:
        return BrokerProtocol("the broker does not speak MQTT 3.1.1")
    return BrokerUnreachable(f"the broker is not available now (code {answer})")


def _chunks(topics: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(topics), TOPICS_A_PACKET):
        yield list(topics[start : start + TOPICS_A_PACKET])
