"""A data port that is tried: one node listens at it, a friend connects and says why.

A door that is reached moves nothing if the data ports behind it are not. So who asks a
friend to try its door listens for as long at one port of the range that transfers use,
and answers there whoever proves to be that friend, and nobody else. Blocking calls, for
threads that may; `DataListener` is opened and closed by the core thread.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Self

from fonshare_agent.addresses import plain_address
from fonshare_agent.errors import ConnectionLost, FonshareError, PeerUnreachable
from fonshare_agent.protocol.data_try import ASKED, HERE, PROOF_BYTES, is_proof, prove
from fonshare_agent.transfer.wire import POLL_S, Address, Patience, Wire, connect

SPEAK_S: Final = 3.0  # a stranger who takes the port first keeps it no longer
BACKLOG: Final = 8
# Another has it, or nobody may, or our address is gone: then no data port is tried.
UNUSABLE: Final = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL)


class DataListener:
    """One port of the range, open for one question."""

    def __init__(self, listening: socket.socket) -> None:
        listening.settimeout(POLL_S)
        self._socket = listening
        self._is_closed = False
        self.port = int(listening.getsockname()[1])
        self.was_tried = False  # by the friend who was asked, and answered

    @classmethod
    def open(cls, bound: str, ports: Sequence[int]) -> Self | None:
        """Listen at one of *ports* that is free; None if there is none.

        *bound*: the address of this node's doors, "" for all.
        """
        for port in sorted(ports, key=lambda _: os.urandom(8)):
            try:
                return cls(_listen(bound, port))
            except OSError as error:
                if error.errno not in UNUSABLE:
                    raise
        return None

    def serve(self, request: bytes, clock: Callable[[], float], until: float) -> None:
        """Answer who proves to know *request*, until that was done, or `close`."""
        try:
            while not (self.was_tried or self._is_closed) and clock() < until:
                with suppress(TimeoutError, ConnectionAbortedError):
                    came, (peer, *_) = self._socket.accept()
                    wire = Wire(came, peer, self._patience(clock))
                    self._answer(wire, request)
        finally:
            self._socket.close()

    def close(self) -> None:
        """Have `serve` end within moments."""
        self._is_closed = True

    def discard(self) -> None:
        """Close a port at which nobody serves."""
        self._socket.close()

    def _patience(self, clock: Callable[[], float]) -> Patience:
        over_at = clock() + SPEAK_S  # also for who sends a byte now and then

        def is_over() -> bool:
            return clock() >= over_at or (self._is_closed and not self.was_tried)

        return Patience(clock, is_over, SPEAK_S)

    def _answer(self, wire: Wire, request: bytes) -> None:
        try:
            if is_proof(request, ASKED, _read_proof(wire)):
                self.was_tried = True
                wire.send(memoryview(prove(request, HERE)))
        except FonshareError:
            return  # a stranger, or the line broke: the friend says so
        finally:
            wire.close()


def _listen(bound: str, port: int) -> socket.socket:
    """Listen without SO_REUSEADDR: never at a port where a transfer waits."""
    family = socket.AF_INET6 if ":" in bound or not bound else socket.AF_INET
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if bound or error.errno != errno.EAFNOSUPPORT:
            raise
        bound, listening = "0.0.0.0", socket.socket()
    try:
        if not bound:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((bound or "::", port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def at_host(addresses: Sequence[Address], host: str) -> list[Address]:
    """Return those of *addresses* that are of *host*, where the door was."""
    there = plain_address(host)
    return [one for one in addresses if plain_address(one[0]) == there]


def knock_at_data(
    addresses: Sequence[Address], request: bytes, patience: Patience
) -> None:
    """See that the node that asked is at one of *addresses*, or PeerUnreachable."""
    wire, _ = connect(addresses, patience)
    try:
        wire.send(memoryview(prove(request, ASKED)))
        if not is_proof(request, HERE, _read_proof(wire)):
            raise PeerUnreachable("somebody else answers at the data port")
    except ConnectionLost as error:
        raise PeerUnreachable(f"not the peer: {error}") from None
    finally:
        wire.close()


def _read_proof(wire: Wire) -> bytes:
    said = bytearray(PROOF_BYTES)
    count = 0
    while count < PROOF_BYTES:
        got = wire.receive_into(memoryview(said)[count:])
        if not got:
            raise ConnectionLost("no answer")
        count += got
    return bytes(said)
