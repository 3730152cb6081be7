"""What is kept of a request's body while it arrives: no more than will be read of it.

Waitress reads a body whole before anybody looks at the request. Here its headers are
looked at first, and a body that will be refused, or is none of that address, goes
nowhere while it arrives: the refusal is then answered as any other, on a connection
that stays in step. So a stranger's body costs no memory and no disk. Who sends a
request byte by byte is let go of in the end. With listener.py the only module that
knows waitress.
"""

import copy
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from waitress import channel, parser

from fonshare_agent.web.exchange import Environ

HTTPChannel: Any = channel.HTTPChannel  # neither has types
HTTPRequestParser: Any = parser.HTTPRequestParser

REQUEST_S: Final = 300.0  # for a whole request to arrive: a restore on a slow line

BodyMax = Callable[[Environ], int]  # bytes that will be read, by the headers


class _Nowhere:
    """Takes a body that nobody will read."""

    def append(self, data: bytes) -> None:
        pass

    def getfile(self) -> BytesIO:
        return BytesIO()

    def close(self) -> None:
        pass

    def __len__(self) -> int:
        return 0


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """One request of the browser at *address*."""

    adj: Any

    def __init__(self, adjustments: Any, body_max: BodyMax, address: str) -> None:
        super().__init__(adjustments)
        self._body_max, self._address = body_max, address

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.body_rcv is None:
            return
        most = self._body_max(self._environ())
        if most and self.chunked:  # how long it is shows only as it comes
            self.adj = copy.copy(self.adj)
            self.adj.max_request_body_size = most + 1
        elif self.content_length > most or not most:
            self.body_rcv.buf = _Nowhere()

    def _environ(self) -> Environ:
        """What the application will be asked, as far as it is known by now."""
        plain = ("CONTENT_LENGTH", "CONTENT_TYPE")
        headers = {
            name if name in plain else f"HTTP_{name}": value
            for name, value in self.headers.items()
        }
        return headers | {
            "REQUEST_METHOD": self.command,
            "PATH_INFO": self.path,
            "REMOTE_ADDR": self._address,
            "wsgi.input": BytesIO(),
        }


def channel_class(body_max: BodyMax) -> type:
    """Return what waitress makes of a connection."""

    class Channel(HTTPChannel):  # type: ignore[misc]
        def __init__(self, server: Any, sock: Any, addr: Any, *more: Any, **m: Any):
            super().__init__(server, sock, addr, *more, **m)
            self._begun = time.monotonic()
            self.parser_class = lambda adj: Parser(adj, body_max, str(addr[0]))

        def received(self, data: bytes) -> bool:
            before = self.request
            has_taken: bool = super().received(data)
            if self.request is not before:
                self._begun = time.monotonic()
            return has_taken

        def readable(self) -> bool:
            is_begun = self.request is not None
            if is_begun and time.monotonic() - self._begun > REQUEST_S:
                self.will_close = True
            return bool(super().readable())

    return Channel
