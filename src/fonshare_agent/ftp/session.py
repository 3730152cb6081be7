"""Transfers and data connections of a control connection.

A transfer is: a worker opens (150 or 125 is sent) -> the data channel moves bytes -> a
worker finishes (`Transfer.sync`, then `Transfer.finish`) -> its reply is sent. Between
the two, the loop looks whether the control connection is still there: a client that was
killed closes both connections, and its upload is then cut short, not complete.

The doors (house.py, friends.py) add the commands.
"""

import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

from fonshare_agent.addresses import plain_address
from fonshare_agent.ftp.data import DataChannel
from fonshare_agent.ftp.ends import End, How
from fonshare_agent.ftp.flow import Flow
from fonshare_agent.ftp.login import LoginSession
from fonshare_agent.ftp.passive import ActiveConnector, PassiveListener
from fonshare_agent.ftp.replies import reply_to_error
from fonshare_agent.ftp.streams import Sink, Source, WholeSource
from fonshare_agent.ftp.tls import has_left
from fonshare_agent.ftp.workers import Outcome

log = logging.getLogger(__name__)


class Transfer(Protocol):
    """One transfer, from its opening to its reply. Both methods run on workers."""

    source: Source | None
    sink: Sink | None

    def sync(self) -> None:
        """Make a whole upload durable; nothing else happens to it yet."""

    def finish(self, end: End) -> str:
        """Close everything and return the reply."""


class ControlSession(LoginSession):
    """See the module's text."""

    def __init__(self, conn: Any, server: Any, ioloop: Any) -> None:
        self._transfer: Transfer | None = None
        self._listener: PassiveListener | None = None
        self._connector: ActiveConnector | None = None
        self._candidate: DataChannel | None = None  # active mode's, shaking hands
        self._is_aborting = False
        super().__init__(conn, server, ioloop)

    # --- what a door fills in

    def is_right_data_peer(self, channel: DataChannel) -> bool:
        """Tell whether a data connection may be this session's."""
        return True

    # --- state

    @property
    def is_transferring(self) -> bool:
        return self._transfer is not None

    @property
    def is_busy(self) -> bool:
        return super().is_busy or self._connector is not None

    def abandon(self, outcome: Outcome[Any]) -> None:
        if outcome.error is None and hasattr(outcome.get(), "finish"):
            self._finish_unheard(outcome.get(), End(How.CUT))

    def _finish_unheard(self, transfer: Transfer, end: End) -> None:
        self.server.files.run(transfer.finish, end, then=_log_failure)

    # --- transfers

    def begin(self, transfer: Transfer) -> None:
        """Answer 125 or 150 and start *transfer* when the data connection is there."""
        if not (self.data_channel or self._listener or self._candidate):
            self.work(
                transfer.finish,
                End(How.CUT),
                then=lambda _: self.respond("425 Use PASV or EPSV first"),
            )
            return
        self._transfer = transfer
        if self.data_channel is None:
            self.respond("150 Opening the data connection")
        else:
            self.respond("125 Transfer starting")
            self._start_transfer()

    def _start_transfer(self) -> None:
        assert self._transfer is not None
        if self._transfer.source is not None:
            self.data_channel.send_from(self._transfer.source, self._on_moved)
        elif self._transfer.sink is not None:
            self.data_channel.receive_into(self._transfer.sink, self._on_moved)

    def _on_moved(self, end: End) -> None:
        """All bytes are moved, or never will be; the data connection is closed."""
        transfer, self.data_channel = self._transfer, None
        if transfer is None:
            return
        if self._closed:
            self._finish_unheard(transfer, End(How.CUT, end.moved, error=end.error))
            return
        self._is_working = True

        def synced(outcome: Outcome[None]) -> None:
            nonlocal end
            if outcome.error is not None:
                end = End(How.FAILED, end.moved, error=outcome.error)
            elif self._has_peer_left():
                end = End(How.CUT, end.moved, "the client has gone")
            self.server.files.run(transfer.finish, end, then=self._on_finished)

        if end.how is How.COMPLETE and transfer.sink is not None:
            self.server.files.run(transfer.sync, then=synced)
        elif isinstance(transfer.source, WholeSource):  # nothing is open any more
            self._on_finished(Outcome(transfer.finish(end), None))
        else:
            self.server.files.run(transfer.finish, end, then=self._on_finished)

    def _has_peer_left(self) -> bool:
        """Look whether the control connection was closed, without reading from it."""
        return self._closed or has_left(self._fileno)

    def _on_finished(self, outcome: Outcome[str]) -> None:
        self._is_working, self._transfer = False, None
        if self._closed:
            _log_failure(outcome)
            return
        error = outcome.error
        self.respond(outcome.get() if error is None else reply_to_error(error))
        if self._is_aborting:
            self._is_aborting = False
            self.respond("226 ABOR done")
        self.rearm_idle()
        self._run_held()

    def cut_transfer(self, reason: str) -> None:
        """End the running transfer; its reply follows."""
        if self.data_channel is not None:
            self.data_channel.cut(reason)
        elif self._transfer is not None:
            self._shutdown_connecting_dtp()
            self._on_moved(End(How.CUT, reason=reason))

    def ftp_ABOR(self, line: str) -> None:
        if self._transfer is not None:
            self._is_aborting = True
            self.cut_transfer("aborted")
            return
        self._shutdown_connecting_dtp()
        if self.data_channel is not None:
            self.data_channel.cut("aborted")
        self.respond("225 No transfer to abort")

    # --- data connections

    def _make_epasv(self, extmode: bool = False) -> None:
        self.drop_data()
        local = self.socket.getsockname()
        if not extmode and plain_address(local[0]).version != 4:
            self.respond("425 PASV is for IPv4: use EPSV")
            return
        peer, ports = plain_address(self.remote_ip), self.server.ports
        sock = socket.socket(self.socket.family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        try:
            listens = ports.listen(sock, local, peer, self.has_owner_rights())
        except OSError:
            listens = False
        if not listens:
            sock.close()
            self.server.refused_ports += 1
            self.respond("425 All passive ports are in use; try again later")
            return
        port = int(sock.getsockname()[1])
        # First, since it takes the client a while to come; the kernel lets it wait.
        self._tell_port(local, ports.shown(port, peer), extmode)
        if self._closed:
            sock.close()
            ports.free(port)
            return
        self._listener = PassiveListener(
            sock,
            self.ioloop,
            peer=peer,
            make_channel=self._make_channel,
            is_right=self.is_right_data_peer,
            on_connected=self._on_data_connected,
            on_late=self._on_data_late,
            on_closed=lambda: ports.free(port),
        )

    def _tell_port(self, local: tuple[Any, ...], port: int, extmode: bool) -> None:
        if extmode:
            self.respond(f"229 Entering extended passive mode (|||{port}|)")
        else:
            address = str(plain_address(local[0])).replace(".", ",")
            self.respond(
                f"227 Entering passive mode ({address},{port >> 8},{port & 255})"
            )

    def _make_eport(self, ip: str, port: int) -> None:
        self.drop_data()
        try:
            address = plain_address(ip)
        except ValueError:
            self.respond("501 Not an address")
            return
        # Never to a third party (RFC 2577: the bounce attack), nor to a system service.
        if address != plain_address(self.remote_ip) or port < 1024:
            self.respond("501 Data connections only to your own address, ports >= 1024")
            return
        connector = ActiveConnector(str(address), port, self)
        self._connector = None if connector.is_over else connector

    def on_connector_over(self) -> None:
        """The connection to the client's port is made, or 425 is answered."""
        self._connector = None
        self._run_held()

    def on_active_connected(self, sock: socket.socket) -> None:
        """A connection to the client's port is there."""
        channel = self._make_channel(sock, self._on_active_confirmed)
        if self.data_channel is not channel and not channel._closed:
            self._candidate = channel

    def _on_active_confirmed(self, channel: DataChannel) -> None:
        if self.is_right_data_peer(channel):
            self._candidate = None
            self._on_data_connected(channel)
        else:
            channel.close()

    def _make_channel(
        self, sock: socket.socket, on_confirmed: Callable[[DataChannel], None]
    ) -> DataChannel:
        return DataChannel(
            sock,
            self.ioloop,
            files=self.server.files,
            buffer_size=self.server.buffer_size,
            upload_buffer_size=self.server.upload_buffer_size,
            context=self.tls_context() if self._is_protected else None,
            on_confirmed=on_confirmed,
            on_gone=self._on_data_gone,
            throttle=self.find_flow,
        )

    def find_flow(self, direction: str) -> Flow | None:
        """Return how the bytes of a transfer are held back, None if they are not."""
        throttle = self.server.throttle
        return throttle and throttle(direction, self.remote_ip, self.friend())

    def friend(self) -> bytes | None:
        """Return whose transfers these are, None at the house door."""
        return None

    def _on_data_connected(self, channel: DataChannel) -> None:
        self._listener = None
        self.data_channel = channel
        if self._transfer is not None:
            self._start_transfer()

    def _on_data_gone(self, channel: DataChannel) -> None:
        """A connection closed before any transfer had begun on it."""
        if self._candidate is channel:
            self._on_data_late()
        elif self._listener is not None:
            self._listener.drop(channel)
        elif self.data_channel is channel:
            self.data_channel = None

    def _on_data_late(self) -> None:
        self._shutdown_connecting_dtp()
        if self._transfer is not None:
            self._on_moved(End(How.CUT, reason="no data connection came"))

    def drop_data(self) -> None:
        self._shutdown_connecting_dtp()
        if self.data_channel is not None:
            self.data_channel.close()
            self.data_channel = None

    def _shutdown_connecting_dtp(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.close()
        if self._connector is not None:
            connector, self._connector = self._connector, None
            connector.close()
        if self._candidate is not None:
            candidate, self._candidate = self._candidate, None
            candidate.close()

    # --- small commands

    def ftp_REST(self, line: str) -> None:
        if not (line.isascii() and line.isdigit()) or len(line) > 19:
            self.respond("501 Not an offset")
            return
        self._restart_position = int(line)
        self.respond(f"350 Restarting at {line}")

    def take_restart(self) -> int:
        offset, self._restart_position = self._restart_position, 0
        return int(offset)

    def ftp_QUIT(self, line: str) -> None:
        self.respond("221 Goodbye")
        self.close_when_done()

    def close(self) -> None:
        if self._closed:
            return
        channel, transfer = self.data_channel, self._transfer
        super().close()
        self.data_channel = None
        # With a channel, its closing has finished the transfer already; while a worker
        # is busy, `abandon` or `_on_finished` will see that we are closed.
        if channel is None and transfer is not None and not self._is_working:
            self._transfer = None
            self._finish_unheard(transfer, End(How.CUT))
        self.server.forget(self)


def _log_failure(outcome: Outcome[Any]) -> None:
    # Nobody is left to tell; the file's name does not belong into a log.
    if outcome.error is not None:
        log.warning("an unheard transfer ended badly: %s", type(outcome.error).__name__)
