"""The FTP thread's loop: pyftpdlib's poller, and a way in for the other threads.

This is the only module that imports pyftpdlib; the rest of the package takes its
classes from here. pyftpdlib imports PyOpenSSL wherever it is installed (5 MB on the
router, and a second TLS), so the name is closed to it; TLS is ours (tls.py).

All sessions belong to the one thread that calls `run`. Others only `post`.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fonshare_agent.deferring import deferring

# tempfile is for STOU, which we do not have, random for passive ports, which passive.py
# draws; without the others pyftpdlib does without its own TLS, accounts of the system
# and coloured logs.
with deferring("tempfile", "random", missing=("OpenSSL", "crypt", "curses")):
    from pyftpdlib import handlers, ioloop

# Any: pyftpdlib has no types, and asynchat's stubs call its hooks abstract.
Acceptor: Any = ioloop.Acceptor
AsyncChat: Any = ioloop.AsyncChat
FTPHandler: Any = handlers.FTPHandler  # type: ignore[attr-defined]
IOLoop: Any = ioloop.IOLoop
ActiveDTP: Any = FTPHandler.active_dtp
async_chat: Any = AsyncChat.__bases__[0]  # asynchat's own, wherever it lives now

READ: int = IOLoop.READ
WRITE: int = IOLoop.WRITE

log = logging.getLogger(__name__)
# pyftpdlib would configure logging by itself, and its lines hold names and addresses,
# which never enter a log at the default level (DESIGN section 8).
logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
logging.getLogger("pyftpdlib").propagate = False


class FtpLoop:
    """Polls sockets and timers, and runs what other threads post."""

    def __init__(self) -> None:
        self.io = IOLoop.factory()
        self._waker = _Waker(self.io)
        self._stopping = False

    def post(self, call: Callable[[], None]) -> None:
        """Run *call* on the loop's thread; from any thread, never waits."""
        self._waker.post(call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Any:
        """Run *call* after *delay_s*; the result has `cancel`. Loop thread only."""
        return self.io.call_later(delay_s, call)

    def run(self) -> None:
        """Serve until `stop`, then close every socket still open."""
        timeout_s = None
        while not self._stopping:
            self.io.poll(timeout_s)
            timeout_s = self.io.sched.poll()
        self.io.close()

    def stop(self) -> None:
        """End `run`; loop thread only (post it from elsewhere)."""
        self._stopping = True

    def close(self) -> None:
        """Free a loop that never ran."""
        self.io.close()


class _Waker:
    """A pipe in the poller: one byte in it means that calls are waiting."""

    def __init__(self, io: Any) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._fileno, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._io = io
        self._closed = False
        self._lock = threading.Lock()
        io.register(self._fileno, self, READ)

    def post(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        self._wake()

    def _wake(self) -> None:
        # Under a lock: a late `post` must not write to a file number that somebody else
        # has opened since `close`. A full pipe is a wake-up already; after the end of
        # the loop nobody waits for the call.
        with self._lock:
            if not self._closed:
                with suppress(BlockingIOError):
                    os.write(self._write_end, b"\0")

    # what the poller asks of its instances

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        os.read(self._fileno, 4096)
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def handle_error(self) -> None:
        log.exception("a call posted to the FTP loop failed")
        self._wake()  # the calls behind the failed one

    def handle_close(self) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._io.unregister(self._fileno)
                os.close(self._fileno)
                os.close(self._write_end)
