"""One file's bytes through this node: read from one server, written to the other.

Memory is one buffer, however large the file. Also reads pieces of a file, by which two
files are compared.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Final

from fonshare_agent.errors import FxpListing, FxpLost
from fonshare_agent.model import printable
from fonshare_agent.transfer.fxp_server import DATA_S, Server

BUFFER_BYTES: Final = 64 * 1024  # the largest buffer of a transfer, DESIGN section 3
LISTING_BYTES_MAX: Final = (
    16 << 20
)  # 100,000 names: more than a folder can be used with


def relay(
    source: Server,
    target: Server,
    paths: tuple[bytes, bytes],
    offset: int,
    on_bytes: Callable[[int], None],
) -> None:
    """Move the rest of a file from *offset* on; errors as `fxp_direct.move`."""
    try:
        with closing(target.open_data(b"STOR " + paths[1], offset, paths[1])) as into:
            reading = source.open_data(b"RETR " + paths[0], offset, paths[0])
            with closing(reading):
                _pump(source, target, reading, into, on_bytes)
            # Not before: the target's end of file must mean that all was sent.
            source.finish_data(paths[0])
            _end(into)
        target.finish_data(paths[1])
    except BaseException:
        # Hanging up has ended both transfers; what they say of it is read here.
        for server in (source, target):
            server.settle(aborts=False)
        raise


def _pump(
    source: Server,
    target: Server,
    reading: socket.socket,
    into: socket.socket,
    on_bytes: Callable[[int], None],
) -> None:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    while count := _receive(source, reading, buffer):
        try:
            into.sendall(buffer[:count])
        except OSError as error:
            raise FxpLost(f"cannot write: {error}", thing=target.name) from None
        on_bytes(count)


def _receive(server: Server, reading: socket.socket, buffer: memoryview) -> int:
    try:
        return reading.recv_into(buffer)
    except OSError as error:
        raise FxpLost(f"cannot read: {error}", thing=server.name) from None


def _end(into: socket.socket) -> None:
    """Say that this was all, by TLS's own word where there is TLS."""
    if isinstance(into, ssl.SSLSocket):
        into.settimeout(DATA_S)
        with suppress(OSError):  # the server may hang up at once; its reply counts
            into.unwrap()


def read_all(server: Server, command: bytes, about: bytes) -> bytes:
    """Return all that *command*, a listing, sends."""
    raw = b"".join(_chunks(server, command, 0, about, LISTING_BYTES_MAX))
    if len(raw) == LISTING_BYTES_MAX:
        raise FxpListing("the folder is too large to be listed", thing=printable(about))
    return raw


def read_piece(server: Server, path: bytes, offset: int, count: int) -> bytes:
    """Return up to *count* bytes of a file from *offset* on."""
    return b"".join(_chunks(server, b"RETR " + path, offset, path, count))


def _chunks(
    server: Server, command: bytes, offset: int, about: bytes, limit: int
) -> Iterator[bytes]:
    """Yield what is sent, *limit* bytes at most."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with closing(server.open_data(command, offset, about)) as reading:
        left = limit
        while left and (count := _receive(server, reading, buffer[: min(left, 65536)])):
            left -= count
            yield bytes(buffer[:count])
    if left:
        server.finish_data(about)
    else:
        server.settle(aborts=False)  # 426, or 226 where the end was reached
