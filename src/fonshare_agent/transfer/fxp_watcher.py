"""How far a transfer between two servers is: a second session asks for the size.

The bytes do not pass here, and most servers hear nothing on a control connection while
data moves on it. The session is opened only when a transfer lasts, and a server that
allows no second one is left alone: then there is no progress to show, and the servers'
own time-outs end what stands still.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from fonshare_agent.errors import ClockUnknown, FxpError, FxpForbidden, FxpLost
from fonshare_agent.transfer.fxp_listing import read_size
from fonshare_agent.transfer.fxp_server import Login, Server

BEGIN_S: Final = 3.0  # a file that takes less needs no bar
ASK_S: Final = 2.0
FIRST_S: Final = 30.0  # until the first byte: the servers do not reach each other
STALL_S: Final = 120.0  # without a byte more: the line between the servers is dead


class Watcher:
    """Watches one file grow; `tick` is called now and then while data moves."""

    def __init__(
        self,
        login: Login,
        path: bytes,
        offset: int,
        on_done: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server: Server | None = Server(login)
        self._path, self._on_done, self._clock = path, on_done, clock
        self._is_open = False
        self._ask_at = clock() + BEGIN_S
        self._size, self._grew_at = offset, clock()
        self._has_grown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._is_open:
            self._server.quit()

    def tick(self) -> None:
        """Ask if it is time; an error if the file does not grow."""
        server = self._server
        if server is None or self._clock() < self._ask_at:
            return
        size = self._find_size(server)
        self._ask_at = self._clock() + ASK_S
        if size is None:
            return
        if size > self._size:
            self._size, self._grew_at = size, self._clock()
            self._has_grown = True
            self._on_done(size)
            return
        rests_s = self._clock() - self._grew_at
        if not self._has_grown and rests_s > FIRST_S:
            raise FxpForbidden("no byte came from server to server", thing=server.name)
        if rests_s > STALL_S:
            raise FxpLost(f"nothing has moved for {STALL_S:.0f} s", thing=server.name)

    def _find_size(self, server: Server) -> int | None:
        try:
            if not self._is_open:
                server.open()
                self._is_open = True
            reply = server.ask(b"SIZE " + self._path)
        except (FxpError, ClockUnknown):
            with suppress(FxpError):
                server.close()
            self._server = None  # this server allows no second session
            return None
        return read_size(reply.text.strip()) if reply.code == 213 else None
