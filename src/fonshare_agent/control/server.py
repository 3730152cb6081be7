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

from fonshare_agent.control.client import is_answered
from fonshare_agent.control.door import Dispatch, Request, read_request
from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core
from fonshare_agent.errors import (
    AgentRunning,
    FonshareError,
    StorageError,
    UsageError,
)

log = logging.getLogger(__name__)

REQUEST_BYTES_MAX = 1 << 20  # 1 MiB: 10,000 entries of `get` fit
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
        self._path, self._core, self._dispatch, self._clock = (
            path,
            core,
            dispatch,
            clock,
        )
        self._lock: IO[bytes] | None = None
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._clients: set[_Client] = set()
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = socket.socketpair()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Take the socket, or raise AgentRunning if another agent has it."""
        self._path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self._lock = _take_lock(self._path)
        self._listener = _listen(self._path)
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._run_posted)

    def start(self) -> None:
        """`open`, then `serve` on a thread of its own."""
        self.open()
        self._thread = threading.Thread(target=self.serve, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End `serve`; the socket is gone afterwards. From any thread, once."""
        self._post(self._stop)
        if self._thread is not None:
            self._thread.join()

    def serve(self) -> None:
        """Serve until `stop`; the socket is removed on the way out."""
        checked_at = self._clock()
        try:
            while not self._stopping:
                for key, events in self._selector.select(TICK_S):
                    key.data(events)
                if self._clock() - checked_at >= TICK_S:
                    checked_at = self._clock()
                    self._drop_stalled(checked_at)
        finally:
            self._close()

    def _stop(self) -> None:
        self._stopping = True

    def _close(self) -> None:
        for client in list(self._clients):
            self._drop(client)
        self._path.unlink(missing_ok=True)
        for thing in (self._listener, self._wake_read, self._wake_write, self._lock):
            if thing is not None:
                thing.close()
        self._selector.close()

    # --- handing over from the core ------------------------------------------

    def _post(self, call: Callable[[], None]) -> None:
        self._posted.put(call)
        # A full pipe already wakes the thread; a closed one has nobody to wake.
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_write.send(b"!")

    def _run_posted(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
        while not self._posted.empty():
            self._posted.get()()

    # --- clients -------------------------------------------------------------

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # out of descriptors, or gone before it was accepted
            log.warning("control: a client could not be accepted: %s", error)
            return
        connection.setblocking(False)
        client = _Client(connection, self._clock())
        self._clients.add(client)
        self._watch(client, selectors.EVENT_READ)
        if len(self._clients) > CLIENTS_MAX:
            busy = UsageError(
                f"{CLIENTS_MAX} commands are running already",
                next="Try again when one of them has ended.",
            )
            self._answer(client, iter([_error_line(busy)]), is_last=True)

    def _serve(self, client: "_Client", events: int) -> None:
        client.active_at = self._clock()
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
        self._take_next(client)

    def _take_next(self, client: "_Client") -> None:
        line, newline, rest = client.received.partition(b"\n")
        if newline:
            client.received = rest
            self._take(client, bytes(line))
        elif len(client.received) > REQUEST_BYTES_MAX:
            error = UsageError(f"a request is longer than {REQUEST_BYTES_MAX} bytes")
            self._answer(client, iter([_error_line(error)]), is_last=True)

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

    def _drop_stalled(self, now: float) -> None:
        for client in list(self._clients):
            if not client.is_waiting and now - client.active_at > STALL_S:
                self._drop(client)

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
    except OSError as error:
        listener.close()
        raise StorageError(
            f"the control socket cannot be made: {error.strerror or error}",
            thing=str(path),
            next="Set `run` to a folder that the agent may write to.",
        ) from error
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
    yield bytes(piece) + b"]}\n"


def _encode(value: JSON) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
