"""A line between two nodes that breaks when and how it is told.

Passes on every connection to one address of the loopback to the same port of another,
the passive data connections too, and counts what passes from the server's side. At the
chosen byte it does one thing: cuts, resets, changes a bit, falls silent, or calls.
"""

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

PIECE = 16 * 1024


@dataclass
class Fault:
    """What happens once *after* bytes have come from the server."""

    after: int
    act: Callable[["Line", bytes], bytes | None]  # what passes instead; None: nothing
    has_struck: bool = False


@dataclass
class Line:
    """The two ends of one connection."""

    client: socket.socket
    server: socket.socket
    is_silent: bool = False
    is_closed: bool = False

    def close(self, *, reset: bool = False) -> None:
        self.is_closed = True
        for end in (self.client, self.server):
            if reset:
                linger = struct.pack("ii", 1, 0)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.close()


def cut(line: Line, piece: bytes) -> None:
    line.close()


def reset(line: Line, piece: bytes) -> None:
    line.close(reset=True)


def silence(line: Line, piece: bytes) -> None:
    line.is_silent = True


def flip(line: Line, piece: bytes) -> bytes:
    return piece[:-1] + bytes([piece[-1] ^ 0x20])


@dataclass
class ChaosProxy:
    """Serves until `stop`; `fault` may be exchanged between attempts."""

    here: str
    there: str
    ports: Iterable[int]
    fault: Fault | None = None
    _seen: int = 0
    _lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: list[Callable[[], None]] = []
        self._waker, self._wake = socket.socketpair()
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._listeners = []
        for port in self.ports:
            listener = socket.create_server((self.here, port))
            self._listeners.append(listener)
            self._selector.register(listener, selectors.EVENT_READ)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def begin(self, fault: Fault | None) -> None:
        """Forget the lines of before, and break those that come as *fault* says."""
        done = threading.Event()

        def set_up() -> None:
            for line in list(self._lines):
                self._drop(line)
            self.fault, self._seen = fault, 0
            done.set()

        self._calls.append(set_up)
        self._wake.send(b"x")
        done.wait()

    def stop(self) -> None:
        self._is_stopping = True
        self._wake.send(b"x")
        self._thread.join()
        for line in list(self._lines):
            self._drop(line)
        for one in (*self._listeners, self._waker, self._wake):
            one.close()
        self._selector.close()

    # --- on the thread

    def _run(self) -> None:
        while not self._is_stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._waker:
                    self._waker.recv(64)
                    while self._calls:
                        self._calls.pop(0)()
                elif key.data is None:
                    self._accept(key.fileobj)  # type: ignore[arg-type]
                elif not key.data.is_closed:
                    self._pass_on(key.data, key.fileobj)  # type: ignore[arg-type]

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        try:
            there = (self.there, listener.getsockname()[1])
            server = socket.create_connection(there, 10)
        except ConnectionRefusedError:
            client.close()
            return
        line = Line(client, server)
        self._lines.append(line)
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ, line)

    def _pass_on(self, line: Line, end: socket.socket) -> None:
        is_from_server = end is line.server
        try:
            piece: bytes | None = end.recv(PIECE)
        except OSError:
            piece = b""
        if line.is_silent and is_from_server:
            if not piece:  # its end is not told either
                self._selector.unregister(end)
            return
        if not piece:
            self._drop(line)
            return
        if is_from_server:
            piece = self._strike(line, piece)
        other = line.client if is_from_server else line.server
        if line.is_closed:
            self._forget(line)
        elif piece:
            try:
                other.sendall(piece)
            except OSError:
                self._drop(line)

    def _strike(self, line: Line, piece: bytes) -> bytes | None:
        fault = self.fault
        self._seen += len(piece)
        if fault is None or fault.has_struck or self._seen < fault.after:
            return piece
        fault.has_struck = True
        return fault.act(line, piece)

    def _drop(self, line: Line) -> None:
        # The other side hears the end as it would without us: after all that came.
        line.close()
        self._forget(line)

    def _forget(self, line: Line) -> None:
        if line in self._lines:
            self._lines.remove(line)
            for end in (line.client, line.server):
                with suppress(KeyError, ValueError):
                    self._selector.unregister(end)
