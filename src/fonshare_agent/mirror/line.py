"""What a mirror's child and the agent say to each other, over a socket of their own.

Each message is one packet of JSON. The agent gives a task first and then leave to move
bytes, as the owner's limits let it; the child tells how far it is, and its report last.
When the agent is gone the socket is closed, and the child ends. Names that are not
UTF-8 make the trip as lone surrogates.
"""

import json
import select
import socket
from typing import Any, Final

from fonshare_agent.errors import FonshareError, MirrorEnded

PACKET_BYTES_MAX: Final = 128 * 1024  # a task with a long path, a report with failures
TEXT_BYTES_MAX: Final = 800  # of a path or complaint in JSON: a report holds 60 of them
CREDIT_BYTES: Final = 256 * 1024  # asked for at once where there is no limit
TELL_S: Final = 1.0  # between two words on how far it is

Message = dict[str, Any]


class Stopped(Exception):
    """The agent wants no more of this run, or is gone; the argument is why."""


def encode(message: Message) -> bytes:
    return json.dumps(message).encode("ascii")


def decode(raw: bytes) -> Message:
    """Return the message of a packet; MirrorEnded if it is none, or was cut."""
    try:
        message = json.loads(raw)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise MirrorEnded("the process that reads the server said what nobody knows")
    return message


def error_fields(error: FonshareError) -> dict[str, str]:
    """Return an error as it is reported: a server's answer may be long."""
    return {name: shortened(text) for name, text in error.as_dict().items()}


def shortened(text: str) -> str:
    """Return so much of *text* as a report has room for.

    In JSON a letter may take twelve bytes, and names are as a server likes.
    """
    text = text[:TEXT_BYTES_MAX]
    while len(json.dumps(text)) > TEXT_BYTES_MAX:
        text = text[: len(text) * 9 // 10]
    return text


class Line:
    """The child's end."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._left = 0

    def take_task(self) -> Message:
        return self._receive()

    def tell(self, **message: Any) -> None:
        try:
            self._socket.send(encode(message))
        except OSError:
            raise Stopped("the agent is gone") from None

    def begin(self, data: socket.socket, address: str) -> None:
        """Bytes will come by *data*, whose other end is *address*."""
        self._left = 0
        packet = encode({"begin": address})
        try:
            socket.send_fds(self._socket, [packet], [data.fileno()])
        except OSError:
            raise Stopped("the agent is gone") from None

    def end(self) -> None:
        """No more bytes come by the connection that was begun."""
        self.tell(end=True)

    def wait_leave(self, wanted: int) -> int:
        """Return how many bytes may move now, *wanted* at most; waits for leave."""
        while not self._left:
            self.tell(want=min(wanted, CREDIT_BYTES))
            message = self._receive()
            self._left = int(message.get("go", 0))
        return min(wanted, self._left)

    def spend(self, count: int) -> None:
        self._left = max(0, self._left - count)

    def look(self) -> None:
        """Raise Stopped if the agent has said so; never waits."""
        while select.select([self._socket], [], [], 0)[0]:
            self._receive()

    def _receive(self) -> Message:
        try:
            raw = self._socket.recv(PACKET_BYTES_MAX)
        except OSError:
            raw = b""
        if not raw:
            raise Stopped("the agent is gone")
        message = decode(raw)
        if "stop" in message:
            raise Stopped(str(message["stop"]))
        return message
