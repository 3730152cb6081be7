"""The two ends of a relay: how the asker dials through it, how the other end is there.

The asker's connections are wires as any other, once the relay has said yes; what is
said on them first is which port of the other's friends' door is meant. The other end
keeps one connection waiting at the relay, and joins it to its own door when somebody
comes by it: there it is a session like any other, with TLS and certificates from end to
end. Each call blocks: for threads that may.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from fonshare_agent.errors import ConnectionLost, FonshareError, PeerUnreachable
from fonshare_agent.protocol.relay import ASKER, PORT_BYTES, opening_line
from fonshare_agent.transfer.splicing import Account, Splicer
from fonshare_agent.transfer.wire import Address, Patience, Wire, connect

LINE_BYTES_MAX: Final = 512
GUEST_S: Final = 3600.0  # how long the other end stays at a relay
GUEST_BYTES: Final = 1 << 40  # the relay counts; this is no limit of its own
GUEST_IDLE_S: Final = 120.0  # without anybody coming
DOOR: Final = 0  # the port that stands for the friends' door itself


@dataclass(slots=True)
class RelayWay:
    """Where to meet, and the secret; the number of a stream is used once."""

    addresses: Sequence[Address]
    relay: bytes
    secret: bytes = field(repr=False)
    end: str = ASKER
    _next: int = 0

    def open_stream(self, patience: Patience) -> Wire:
        """Connect to the relay and be let in; PeerUnreachable otherwise."""
        wire, _ = connect(self.addresses, patience)
        number, self._next = self._next, self._next + 1
        try:
            _expect(wire, b"220")
            line = opening_line(self.relay, self.secret, self.end, number)
            wire.send(memoryview(line + b"\r\n"))
            _expect(wire, b"200")
        except ConnectionLost as error:
            wire.close()
            raise PeerUnreachable(f"the relay is not there: {error}") from None
        except BaseException:
            wire.close()
            raise
        return wire

    def dial(
        self, addresses: Sequence[Address], patience: Patience
    ) -> tuple[Wire, Address]:
        """As `connect`, but to that port of the other end's door."""
        wire = self.open_stream(patience)
        wire.send(memoryview(addresses[0][1].to_bytes(PORT_BYTES, "big")))
        return wire, addresses[0]


def _expect(wire: Wire, code: bytes) -> None:
    """Read one line, and not a byte more: what follows is the other end's."""
    line, byte = bytearray(), memoryview(bytearray(1))
    while not line.endswith(b"\n"):
        if not wire.receive_into(byte) or len(line) > LINE_BYTES_MAX:
            raise ConnectionLost("no answer")
        line += byte
    if not line.startswith(code + b" "):
        raise PeerUnreachable("the relay does not let us in")


@dataclass(slots=True)
class Guest:
    """This node as the other end of one relay. `arrive`, then `serve`."""

    way: RelayWay
    door: Address  # ours, on this host
    data_ports: range
    splicer: Splicer
    patience: Patience
    _waiting: Wire | None = None

    def arrive(self) -> str:
        """Have a connection wait at the relay; "" or why there is none."""
        try:
            self._waiting = self.way.open_stream(self.patience)
        except FonshareError:
            return "unreachable"
        return ""

    def serve(self) -> str:
        """Join who comes with our door, one after another, until nobody does."""
        clock = self.patience.clock
        account = Account(GUEST_BYTES, clock() + GUEST_S)
        try:
            while self._waiting is not None and not account.is_over(clock()):
                if self._serve_one(self._waiting, account):
                    self._waiting = None
                    self.arrive()
        except FonshareError:
            return "unreachable"  # nobody came, or the relay is over
        finally:
            # What is under way goes on; a node that stops has the splicer cut it.
            if self._waiting is not None:
                self._waiting.close()
        return ""

    def _serve_one(self, wire: Wire, account: Account) -> bool:
        """Join who comes; False if nobody does while another stream is open."""
        said = memoryview(bytearray(PORT_BYTES))
        count = 0
        while count < PORT_BYTES:
            try:
                got = wire.receive_into(said[count:])
            except ConnectionLost:
                if account.streams:
                    return False
                raise
            if not got:
                raise ConnectionLost("the relay is over")
            count += got
        port = int.from_bytes(said, "big")
        near = self._connect(port)
        if near is not None:
            self.splicer.join(wire.release(), near, account)
        wire.close()
        return True

    def _connect(self, port: int) -> socket.socket | None:
        """Connect to our own door, or to a data port of it, and to nothing else."""
        host, door = self.door
        if port not in (DOOR, *self.data_ports):
            return None
        with suppress(OSError):
            return socket.create_connection((host, port or door), timeout=5.0)
        return None
