"""Passive data ports: their range, and the listener that waits for the right peer.

A listener stays open until the *right* peer is there: the control connection's address
and, by TLS, a finished handshake that the session approves. A stranger who takes the
port first is dropped, and the rightful client still gets through.
"""

import errno
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from fonshare_agent.addresses import Address, plain_address
from fonshare_agent.ftp.data import DataChannel
from fonshare_agent.ftp.loop import READ, ActiveDTP

CONNECT_TIMEOUT_S = 30.0
# Handshakes that may go on at once on one passive port; the oldest makes room.
CANDIDATES_MAX = 8
NOBODY_THERE = (errno.EAGAIN, errno.ECONNABORTED)  # any more, when we look

log = logging.getLogger(__name__)


class PassivePorts:
    """A range of ports; the last *reserved* free ones are for the owner.

    A router upstream may forward them, from ports of other numbers: `forwarded` says
    which are what outside. Who comes through it gets none that it does not forward.
    """

    def __init__(self, ports: range | None, reserved: int) -> None:
        self.forwarded: Mapping[int, int] = {}
        self.range = ports
        self._reserved = min(reserved, max(len(ports) - 1, 0)) if ports else 0
        self._used: set[int] = set()

    def shown(self, port: int, peer: Address) -> int:
        """Return the number by which *peer* reaches *port*."""
        return self.forwarded.get(port, port) if _is_outside(peer) else port

    def listen(
        self, sock: socket.socket, local: tuple[Any, ...], peer: Address, is_owner: bool
    ) -> bool:
        """Have *sock* listen at the address of *local*; False if no port is left."""
        if not self.range:
            sock.bind((local[0], 0, *local[2:]))
            sock.listen(CANDIDATES_MAX)
            return True
        ports = self.forwarded if self.forwarded and _is_outside(peer) else self.range
        free = [port for port in ports if port not in self._used]
        if len(free) <= (0 if is_owner else self._reserved):
            return False
        while free:
            # Drawn, so that strangers cannot guess it.
            drawn = int.from_bytes(os.urandom(4), "big") % len(free)
            free[drawn], free[-1] = free[-1], free[drawn]
            port = free.pop()
            try:
                sock.bind((local[0], port, *local[2:]))
                sock.listen(CANDIDATES_MAX)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                self._used.add(port)
                return True
        return False

    def free(self, port: int) -> None:
        self._used.discard(port)


def _is_outside(peer: Address) -> bool:
    """Tell whether *peer* comes through the router's NAT: IPv6 knows none."""
    return peer.version == 4 and peer.is_global


class PassiveListener:
    """Waits for one session's data connection.

    Not one of pyftpdlib's acceptors: each small file takes one of these, and what those
    are made for besides (names, buffers, both directions) costs as much as the file.
    """

    def __init__(
        self,
        sock: socket.socket,
        io: Any,
        *,
        peer: Address,
        make_channel: Callable[
            [socket.socket, Callable[[DataChannel], None]], DataChannel
        ],
        is_right: Callable[[DataChannel], bool],
        on_connected: Callable[[DataChannel], None],
        on_late: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        """*sock* listens already, and does not block."""
        self._peer, self._make_channel, self._is_right = peer, make_channel, is_right
        self._on_connected, self._on_closed = on_connected, on_closed
        self._candidates: list[DataChannel] = []
        self._sock, self._io, self._closed = sock, io, False
        self._fileno = sock.fileno()
        io.register(self._fileno, self, READ)
        self._timer = io.call_later(
            CONNECT_TIMEOUT_S, on_late, _errback=self.handle_error
        )

    def _accept(self) -> None:
        try:
            sock, addr = self._sock.accept()
        except OSError as error:
            if error.errno not in NOBODY_THERE:
                raise
            return
        if plain_address(addr[0]) != self._peer:
            sock.close()
            return
        while len(self._candidates) >= CANDIDATES_MAX:
            self._candidates[0].close()  # `drop` takes it off the list
        channel = self._make_channel(sock, self._confirm)
        if not (self._closed or channel._closed):
            self._candidates.append(channel)

    def drop(self, channel: DataChannel) -> None:
        """A candidate has gone."""
        if channel in self._candidates:
            self._candidates.remove(channel)

    def _confirm(self, channel: DataChannel) -> None:
        if self._closed or not self._is_right(channel):
            channel.close()
            return
        self.drop(channel)
        self.close()
        self._on_connected(channel)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._timer.cancel()
            self._io.unregister(self._fileno)
            self._sock.close()
            self._on_closed()
            for candidate in list(self._candidates):
                candidate.close()

    # what the poller asks of its instances

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self._accept()

    def handle_error(self) -> None:
        log.exception("a passive port failed")
        self.close()

    def handle_close(self) -> None:
        self.close()


class ActiveConnector(ActiveDTP):  # type: ignore[misc]
    """Connects to a port of the client's; tells the session when that is over."""

    timeout = CONNECT_TIMEOUT_S

    def __init__(self, ip: str, port: int, session: Any) -> None:
        self.is_over = False  # may become true within the constructor
        super().__init__(ip, port, session)

    def handle_connect(self) -> None:
        # Not pyftpdlib's own: that one makes the channel the session's at once, while a
        # TLS handshake has only begun.
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.handle_close()
            return
        self.del_channel()
        self._idler.cancel()
        if self.cmd_channel.connected:
            self.cmd_channel.respond("200 Connected")
            self.cmd_channel.on_active_connected(self.socket)
            self._tell()
        else:
            self.close()

    def handle_timeout(self) -> None:
        self.handle_close()

    def handle_close(self) -> None:
        if not self._closed:
            self.close()
            self.cmd_channel.respond("425 Cannot connect to that port")
            self._tell()

    def _tell(self) -> None:
        self.is_over = True
        self.cmd_channel.on_connector_over()
