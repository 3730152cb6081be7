"""The control socket: a thread that turns request lines into calls on the core.

Owns the socket, its lock file and the connections; all of that belongs to the thread
that runs `serve`. A request is checked at the door (door.py), handed to the core, and
its result comes back here to be written, so that neither a slow reader nor a large
answer ever costs the core time. It knows the table and the core, not what a command
does.

Everything is bounded: clients, bytes of a request, time to finish writing or reading.
An answer of many rows is encoded row by row as the client reads.
"""

import contextlib
import fcntl
import json
import logging
import os
import queue
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from fonshare_agent.control.client import REQUEST_BYTES_MAX, is_answered
from fonshare_agent.control.door import Dispatch, Request, read_request
from fonshare_agent.control.rows import JSON, Page
from fonshare_agent.core import Core
from fonshare_agent.errors import (
    AgentBusy,
    AgentRunning,
    FonshareError,
    StorageError,
    UsageError,
)

log = logging.getLogger(__name__)

CLIENTS_MAX = 16  # a person, LuCI's pages and a few `--wait` at once
BACKLOG = 16
STALL_S = 60.0  # a client that neither sends nor reads for so long is dropped
TICK_S = 5.0  # how often stalled clients are looked for
CHUNK_BYTES = 65536  # answers are encoded and written in pieces of about this size
SOCKET_MODE = 0o660  # DESIGN section 5: the owner, and LuCI's group on the router
FOLDER_MODE = 0o750


class ControlServer:
    """Serves the table's commands on a unix socket until `stop`."""

    def __init__(
        self,
        path: Path,
        core: Core,
        dispatch: Dispatch,
        clock: Callable[[], float],
    ) -> None:
        self._path, self._core = path, core
        self._dispatch, self._clock = dispatch, clock
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._clients: set[_Client] = set()
        self._opened: _Opened | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Take the socket, or raise AgentRunning if another agent has it."""
        try:
            self._path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            lock = _take_lock(self._path)
            try:
                listener = _listen(self._path)
            except (OSError, AgentRunning):
                lock.close()
                raise
        except OSError as error:
            raise StorageError(
                f"the control socket cannot be made: {error.strerror or error}",
                thing=str(self._path),
                next="Set `run` to a folder that the agent may write to.",
            ) from error
        self._opened = _Opened(lock, listener)
        self._selector.register(self._opened.woken, selectors.EVENT_READ, self._woken)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def _selector(self) -> selectors.BaseSelector:
        assert self._opened is not None
        return self._opened.selector

    def start(self) -> None:
        """`open`, then `serve` on a thread of its own; what fails is raised here."""
        self.open()
        self._thread = threading.Thread(target=self.serve, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End `serve`; the socket is gone afterwards. From any other thread."""
        self._stopping = True
        self._post(_nothing)
        if self._thread is not None:
            self._thread.join()

    def serve(self) -> None:
        """Serve until `stop`; opens what is not open, removes it on the way out."""
        if self._opened is None:
            self.open()
        checked_at = self._clock()
        try:
            while not self._stopping:
                for key, events in self._selector.select(TICK_S):
                    key.data(events)
                if self._clock() - checked_at >= TICK_S:
                    checked_at = self._clock()
                    self._tick(checked_at)
        finally:
            self._close()

    def _close(self) -> None:
        for client in list(self._clients):
            self._drop(client)
        opened, self._opened = self._opened, None
        self._path.unlink(missing_ok=True)
        if opened is not None:
            opened.close()

    # --- handing over from the core ------------------------------------------

    def _post(self, call: Callable[[], None]) -> None:
        self._posted.put(call)
        opened = self._opened
        if opened is not None:
            opened.wake()

    def _woken(self, _events: int) -> None:
        assert self._opened is not None
        self._opened.woken.recv(4096)
        while not self._posted.empty():
            self._posted.get()()

    # --- clients -------------------------------------------------------------

    def _accept(self, _events: int) -> None:
        assert self._opened is not None
        try:
            connection, _ = self._opened.listener.accept()
        except OSError as error:  # out of descriptors, or gone before it was accepted
            log.warning("control: a client could not be accepted: %s", error)
            # It would be ready again at once: the next tick tries.
            self._selector.unregister(self._opened.listener)
            return
        connection.setblocking(False)
        client = _Client(connection, self._clock())
        self._clients.add(client)
        self._watch(client, selectors.EVENT_READ)
        if len(self._clients) > CLIENTS_MAX:
            busy = AgentBusy(f"{CLIENTS_MAX} commands are running already")
            self._answer(client, iter([_error_line(busy)]), is_last=True)

    def _serve(self, client: "_Client", events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._write(client)
            if events & selectors.EVENT_READ:
                self._read(client)
        except OSError:  # it went away: nothing of ours is lost with it
            self._drop(client)

    def _read(self, client: "_Client") -> None:
        received = client.connection.recv(CHUNK_BYTES)
        if not received:
            self._drop(client)
            return
        client.received += received
        if b"\n" in received:
            self._take_next(client)
        elif len(client.received) > REQUEST_BYTES_MAX:
            client.received.clear()
            error = UsageError(f"a request is longer than {REQUEST_BYTES_MAX} bytes")
            self._answer(client, iter([_error_line(error)]), is_last=True)

    def _take_next(self, client: "_Client") -> None:
        line, newline, rest = client.received.partition(b"\n")
        if newline:
            client.received = rest
            self._take(client, bytes(line))

    def _take(self, client: "_Client", line: bytes) -> None:
        try:
            request = read_request(line)
        except UsageError as error:
            self._answer(client, iter([_error_line(error)]))
            return
        # One request at a time: reading goes on when the answer is out.
        client.is_waiting = True
        self._watch(client, 0)
        self._core.post(lambda: self._spawn(client, request))

    def _spawn(self, client: "_Client", request: Request) -> None:
        # The core logs whatever else than a FonshareError escapes: a bug of ours.
        self._core.spawn_service(
            f"command {request.command.name}", self._run(client, request)
        )

    async def _run(self, client: "_Client", request: Request) -> None:
        """On the core thread: whatever happens, the client gets one answer."""
        name = request.command.name
        chunks = iter([_error_line(FonshareError("the agent failed", thing=name))])
        try:
            result = await self._dispatch(name, request.arguments)
            chunks = _result_chunks(result)
        except FonshareError as error:
            chunks = iter([_error_line(error)])
        finally:
            self._post(lambda: self._answer(client, chunks))

    # --- answers -------------------------------------------------------------

    def _answer(
        self, client: "_Client", chunks: Iterator[bytes], *, is_last: bool = False
    ) -> None:
        if client not in self._clients:  # it went away meanwhile
            return
        client.is_waiting, client.is_last, client.chunks = False, is_last, chunks
        client.active_at = self._clock()
        self._watch(client, selectors.EVENT_WRITE)

    def _write(self, client: "_Client") -> None:
        if not client.unsent:
            client.unsent = self._next_chunk(client)
        if client.unsent:
            sent = client.connection.send(client.unsent)
            client.active_at = self._clock()
            client.unsent = client.unsent[sent:]
        elif client.is_last:
            self._drop(client)
        else:
            client.chunks = iter(())
            self._watch(client, selectors.EVENT_READ)
            self._take_next(client)

    def _next_chunk(self, client: "_Client") -> bytes:
        try:
            return next(client.chunks, b"")
        except (TypeError, ValueError):  # not JSON: our bug; half an answer is none
            log.exception("control: an answer could not be encoded")
            client.is_last = True
            return b""

    def _watch(self, client: "_Client", events: int) -> None:
        """Wait for *events* only; 0 while the core works for this client."""
        if client.is_registered:
            self._selector.unregister(client.connection)
        client.is_registered = events != 0
        if events:
            self._selector.register(
                client.connection, events, lambda seen: self._serve(client, seen)
            )

    def _tick(self, now: float) -> None:
        """Drop clients that stalled; listen again after a failed accept."""
        for client in list(self._clients):
            if not client.is_waiting and now - client.active_at > STALL_S:
                self._drop(client)
        assert self._opened is not None
        listener = self._opened.listener
        if listener not in self._selector.get_map():
            self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def _drop(self, client: "_Client") -> None:
        self._watch(client, 0)
        self._clients.discard(client)
        client.connection.close()


class _Client:
    """One connection; reading, waiting for the core, or writing."""

    def __init__(self, connection: socket.socket, now: float) -> None:
        self.connection, self.active_at = connection, now
        self.received = bytearray()
        self.chunks: Iterator[bytes] = iter(())
        self.unsent = b""
        self.is_waiting = self.is_last = self.is_registered = False


class _Opened:
    """What the server holds while it is open."""

    def __init__(self, lock: IO[bytes], listener: socket.socket) -> None:
        self._lock, self.listener = lock, listener
        self.selector = selectors.DefaultSelector()
        self.woken, self._wake = socket.socketpair()
        self.woken.setblocking(False)
        self._wake.setblocking(False)

    def wake(self) -> None:
        """Make `select` return. From any thread."""
        # A full pipe wakes it already; a closed one has nobody to wake.
        with contextlib.suppress(OSError):
            self._wake.send(b"!")

    def close(self) -> None:
        # The lock goes last: until then nobody else makes a socket of that name.
        for thing in (self.selector, self.listener, self.woken, self._wake, self._lock):
            thing.close()


def _nothing() -> None:
    return None


def _take_lock(path: Path) -> IO[bytes]:
    """Hold the right to *path* for as long as the file returned is open.

    The kernel gives it back when the process dies, so two agents that find the same
    stale socket cannot both replace it.
    """
    lock = open(path.with_suffix(".lock"), "ab")  # noqa: SIM115 - held for life
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AgentRunning(
            "another agent runs with these settings", thing=str(path)
        ) from None
    return lock


def _listen(path: Path) -> socket.socket:
    if is_answered(path):
        raise AgentRunning("another program answers on the socket", thing=str(path))
    # Bound under another name first, so that nobody ever meets it with the wrong mode.
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(fresh))
        os.chmod(fresh, SOCKET_MODE)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        os.rename(fresh, path)
    except OSError:
        listener.close()
        raise
    return listener


def _error_line(error: FonshareError) -> bytes:
    return json.dumps({"error": error.as_dict()}).encode("ascii") + b"\n"


def _result_chunks(result: JSON) -> Iterator[bytes]:
    """Yield the answer line in pieces; a list is encoded while it is being read."""
    if not isinstance(result, list):
        yield _encode({"result": result}) + b"\n"
        return
    piece = bytearray(b'{"result":[')
    for number, row in enumerate(result):
        piece += (b"," if number else b"") + _encode(row)
        if len(piece) >= CHUNK_BYTES:
            yield bytes(piece)
            piece.clear()
    piece += b"]"
    if isinstance(result, Page):
        piece += b',"rest":' + _encode(result.rest())
    yield bytes(piece) + b"}\n"


def _encode(value: JSON) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
