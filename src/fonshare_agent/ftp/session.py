"""What a control connection does at either door: order, time-outs, TLS, data channels.

A session carries out one command at a time. While a worker is busy for it, or a
transfer runs, further lines are kept (and reading stops when too many wait); only ABOR
and a bare STAT are heard during a transfer. So replies keep the order of the commands,
and nothing here ever waits for the disk.

A transfer is: a worker opens (150 or 125 is sent) -> the data channel moves bytes -> a
worker finishes (`Transfer.sync`, then `Transfer.finish`) -> its reply is sent. Between
the two, the loop looks whether the control connection is still there: a client that was
killed closes both connections, and its upload is then cut short, not complete.

The doors (house.py, friends.py) add the commands.
"""

import logging
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from fonshare_agent.errors import FonshareError
from fonshare_agent.ftp.data import DataChannel, End, How
from fonshare_agent.ftp.listing import FACTS
from fonshare_agent.ftp.loop import READ, WRITE, ActiveDTP, FTPHandler, async_chat
from fonshare_agent.ftp.passive import PassiveListener, plain_address
from fonshare_agent.ftp.replies import one_line, reply_to_error
from fonshare_agent.ftp.streams import Sink, Source
from fonshare_agent.ftp.tls import TlsChannel, TlsState
from fonshare_agent.ftp.workers import Outcome, WorkerPool

if TYPE_CHECKING:
    from fonshare_agent.ftp.doors import Door

LINE_BYTES_MAX = 8192  # a command and a path of 4096 bytes, with Telnet's doublings
HELD_LINES_MAX = 32  # commands sent ahead of their turn before reading stops
LOGIN_ATTEMPTS_MAX = 3
NEEDS_DATA = frozenset(["PASV", "EPSV", "PORT", "EPRT"])

log = logging.getLogger(__name__)


class Transfer(Protocol):
    """One transfer, from its opening to its reply. Both methods run on workers."""

    source: Source | None
    sink: Sink | None

    def sync(self) -> None:
        """Make a whole upload durable; nothing else happens to it yet."""

    def finish(self, end: End) -> str:
        """Close everything and return the reply."""


class ControlSession(TlsChannel, FTPHandler):  # type: ignore[misc]
    """See the module's text. Loop thread only; `server` is the door."""

    server: "Door"
    data_channel: Any
    socket: Any
    _idler: Any
    _in_buffer: list[bytes]
    encoding = "utf-8"
    unicode_errors = "surrogateescape"  # names are bytes; any byte makes the round trip
    banner = "FonShare"
    timeout = 300.0
    needs_tls = False  # before USER
    needs_protected_data = False  # before PASV, EPSV, PORT, EPRT

    def __init__(self, conn: socket.socket, server: "Door", ioloop: Any) -> None:
        self._held: deque[bytes] = deque()
        self._is_working = False
        self._transfer: Transfer | None = None
        self._listener: PassiveListener | None = None
        self._is_protected = self._has_pbsz = False
        self._is_unauthenticated = True
        self._aborting = False
        self._is_skipping = False
        super().__init__(conn, server, ioloop=ioloop)
        self._available_facts = list(FACTS)
        self._current_facts = list(FACTS)
        self._extra_feats = ["AUTH TLS", "PBSZ", "PROT"] if self.tls_context() else []
        self._login_timer = self.call_later(server.login_timeout_s, self._on_login_late)

    # --- what a door fills in

    def tls_context(self) -> Any:
        """The context for this door's handshakes; None: no TLS here."""
        raise NotImplementedError

    def is_right_data_peer(self, channel: DataChannel) -> bool:
        """Tell whether a data connection may be this session's."""
        return True

    def has_owner_rights(self) -> bool:
        return False

    # --- lines in, replies out

    def collect_incoming_data(self, data: bytes) -> None:
        self._in_buffer_len += len(data)
        if self._in_buffer_len > LINE_BYTES_MAX:
            self._is_skipping = True
            self._in_buffer.clear()
        else:
            self._in_buffer.append(data)

    def found_terminator(self) -> None:
        line = b"".join(self._in_buffer)
        self._in_buffer, self._in_buffer_len = [], 0
        if self._is_skipping:  # the rest of a line must not pass as a command
            self._is_skipping = False
            self.respond("500 Command too long")
            return
        if self._idler is not None and not self._idler.cancelled:
            self._idler.reset()
        is_urgent = line.upper().endswith(b"ABOR") or line.upper() == b"STAT"
        if self.is_busy and not (
            is_urgent and self._transfer and not self._held and not self._is_working
        ):
            self._held.append(line)
            self.update_events()
        else:
            self._obey(line)

    @property
    def is_busy(self) -> bool:
        return self._is_working or self._transfer is not None

    def _obey(self, line: bytes) -> None:
        text = self.decode(line)
        command, _, argument = text.partition(" ")
        command = command.upper()
        if command == "SITE":
            sub, _, argument = argument.partition(" ")
            command = f"SITE {sub.upper()}"
        if command not in self.proto_cmds and command[-4:] in ("ABOR", "STAT", "QUIT"):
            command = command[-4:]  # Telnet's interrupt stands before it
        refusal = self.find_refusal(command, argument)
        if refusal:
            self.respond(refusal)
        else:
            getattr(self, "ftp_" + command.replace(" ", "_"))(argument)

    def find_refusal(self, command: str, argument: str) -> str | None:
        """Return the reply that turns the command down, if it must be."""
        entry = self.proto_cmds.get(command)
        if entry is None:
            return "500 Command not understood"
        if entry["arg"] is True and not argument:
            return "501 The command needs an argument"
        if entry["arg"] is False and argument:
            return "501 The command takes no argument"
        if command in ("USER", "PASS") and self.needs_tls and not self.is_secured:
            return "530 TLS is required here: send AUTH TLS first"
        if not self.authenticated and entry["auth"]:
            return "530 Log in with USER and PASS first"
        if (
            command in NEEDS_DATA
            and self.needs_protected_data
            and not self._is_protected
        ):
            return "521 Data must be protected: send PBSZ 0 and PROT P first"
        return None

    def respond(self, resp: str, logfun: Any = None) -> None:
        if not self._closed:
            self.push(one_line(resp) + "\r\n")

    def respond_w_warning(self, resp: str) -> None:
        self.respond(resp)

    def push(self, data: str) -> None:
        self.push_bytes(data.encode(self.encoding, self.unicode_errors))

    def push_bytes(self, data: bytes) -> None:
        async_chat.push(self, data)

    def _run_held(self) -> None:
        while self._held and not self.is_busy and not self._closed:
            self._obey(self._held.popleft())
        if not self._closed:
            self.update_events()

    # --- work on other threads

    def work(
        self,
        function: Callable[..., Any],
        *args: Any,
        then: Callable[[Any], None],
        pool: WorkerPool | None = None,
    ) -> None:
        """Run *function* on a worker, then ``then(value)`` here; errors become replies.

        If the session is gone by then, a value with `abandon` gets it called on a
        worker, so that no descriptor stays open.
        """
        self._is_working = True

        def done(outcome: Outcome[Any]) -> None:
            self._is_working = False
            if self._closed:
                self._abandon(outcome)
                return
            try:
                value = outcome.get()
            except (OSError, FonshareError) as error:
                self.respond(reply_to_error(error))
            else:
                then(value)
            self._run_held()

        (pool or self.server.files).run(function, *args, then=done)

    def _abandon(self, outcome: Outcome[Any]) -> None:
        if outcome.error is None and hasattr(outcome.get(), "finish"):
            self._finish_unheard(outcome.get(), End(How.CUT))

    def _finish_unheard(self, transfer: Transfer, end: End) -> None:
        self.server.files.run(transfer.finish, end, then=_log_failure)

    # --- transfers

    def begin(self, transfer: Transfer) -> None:
        """Answer 125 or 150 and start *transfer* when the data connection is there."""
        if self.data_channel is None and self._listener is None:
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
        else:
            self.server.files.run(transfer.finish, end, then=self._on_finished)

    def _has_peer_left(self) -> bool:
        """Look whether the control connection was closed, without reading from it."""
        if self._closed:
            return True
        with socket.socket(fileno=socket.dup(self._fileno)) as probe:
            probe.setblocking(False)
            try:
                return probe.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                return False
            except OSError:
                return True

    def _on_finished(self, outcome: Outcome[str]) -> None:
        self._is_working, self._transfer = False, None
        if self._closed:
            _log_failure(outcome)
            return
        error = outcome.error
        self.respond(outcome.get() if error is None else reply_to_error(error))
        if self._aborting:
            self._aborting = False
            self.respond("226 ABOR done")
        self._rearm_idle()
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
            self._aborting = True
            self.cut_transfer("aborted")
            return
        self._shutdown_connecting_dtp()
        if self.data_channel is not None:
            self.data_channel.cut("aborted")
        self.respond("225 No transfer to abort")

    # --- data connections

    def _make_epasv(self, extmode: bool = False) -> None:
        self._drop_data()
        local = self.socket.getsockname()
        if not extmode and plain_address(local[0]).version != 4:
            self.respond("425 PASV is for IPv4: use EPSV")
            return
        sock = socket.socket(self.socket.family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            is_bound = self.server.ports.bind(sock, local, self.has_owner_rights())
        except OSError:
            is_bound = False
        if not is_bound:
            sock.close()
            self.server.refused_ports += 1
            self.respond("425 All passive ports are in use; try again later")
            return
        self._listener = PassiveListener(
            sock,
            self.ioloop,
            peer=plain_address(self.remote_ip),
            make_channel=self._make_channel,
            is_right=self.is_right_data_peer,
            on_connected=self._on_data_connected,
            on_late=self._on_data_late,
            on_closed=self.server.ports.free,
        )
        port = self._listener.port
        if extmode:
            self.respond(f"229 Entering extended passive mode (|||{port}|)")
        else:
            address = str(plain_address(local[0])).replace(".", ",")
            self.respond(
                f"227 Entering passive mode ({address},{port >> 8},{port & 255})"
            )

    def _make_eport(self, ip: str, port: int) -> None:
        self._drop_data()
        try:
            address = plain_address(ip)
        except ValueError:
            self.respond("501 Not an address")
            return
        # Never to a third party (RFC 2577: the bounce attack), nor to a system service.
        if address != plain_address(self.remote_ip) or port < 1024:
            self.respond("501 Data connections only to your own address, ports >= 1024")
            return
        self._dtp_connector = ActiveDTP(str(address), port, self)

    def dtp_handler(self, sock: socket.socket, _session: Any) -> DataChannel:
        """What ActiveDTP makes of a connection to the client."""
        self._dtp_connector = None
        return self._make_channel(sock, self._on_active_confirmed)

    def _on_dtp_connection(self) -> None:
        """ActiveDTP says so; `_on_active_confirmed` has done it."""

    def _on_active_confirmed(self, channel: DataChannel) -> None:
        if self.is_right_data_peer(channel):
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
            context=self.tls_context() if self._is_protected else None,
            on_confirmed=on_confirmed,
            on_gone=self._on_data_gone,
            throttle=self.server.throttle,
        )

    def _on_data_connected(self, channel: DataChannel) -> None:
        self._listener = None
        self.data_channel = channel
        if self._transfer is not None:
            self._start_transfer()

    def _on_data_gone(self, channel: DataChannel) -> None:
        """A connection closed before any transfer had begun on it."""
        if self._listener is not None:
            self._listener.drop(channel)
        elif self.data_channel is channel:
            self.data_channel = None

    def _on_data_late(self) -> None:
        self._shutdown_connecting_dtp()
        if self._transfer is not None:
            self._on_moved(End(How.CUT, reason="no data connection came"))

    def _drop_data(self) -> None:
        self._shutdown_connecting_dtp()
        if self.data_channel is not None:
            self.data_channel.close()
            self.data_channel = None

    def _shutdown_connecting_dtp(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.close()
        if self._dtp_connector is not None:
            self._dtp_connector.close()
            self._dtp_connector = None

    # --- TLS

    def ftp_AUTH(self, line: str) -> None:
        context = self.tls_context()
        if self.tls_state is not TlsState.PLAIN:
            self.respond("503 Already using TLS")
        elif context is None:
            self.respond("534 This server has no certificate")
        elif line.upper() not in ("TLS", "TLS-C", "SSL", "TLS-P"):
            self.respond("504 Only AUTH TLS is known")
        elif self.ac_in_buffer or self._held:
            # Commands smuggled in before the handshake must not count after it.
            self.close()
        else:
            self.respond("234 Ready for TLS")
            self.flush_account()
            self.start_tls(context)

    def ftp_PBSZ(self, line: str) -> None:
        if self.is_secured:
            self._has_pbsz = True
            self.respond("200 PBSZ=0")
        else:
            self.respond("503 PBSZ needs TLS")

    def ftp_PROT(self, line: str) -> None:
        level = line.upper()
        if not self.is_secured or not self._has_pbsz:
            self.respond("503 PROT needs TLS and PBSZ 0 first")
        elif level == "P" or (level == "C" and not self.needs_protected_data):
            self._is_protected = level == "P"
            self.respond(f"200 Protection set to {level}")
        else:
            self.respond("536 That level is not possible here")

    # --- login

    def fail_login(self) -> None:
        """Answer 530 after a while, during which nothing else is heard."""
        self.attempted_logins += 1
        self._is_working = True
        self.call_later(self.server.failed_login_delay_s, self._on_login_failed)

    def _on_login_failed(self) -> None:
        self._is_working = False
        self.username = ""
        self.respond("530 Login incorrect")
        if self.attempted_logins >= LOGIN_ATTEMPTS_MAX:
            self.close_when_done()
        else:
            self._rearm_login()
            self._run_held()

    def succeed_login(self) -> None:
        """The client is who it says; it no longer counts as a stranger."""
        self.authenticated = True
        self.attempted_logins = 0
        self._stop_counting()
        if not self._login_timer.cancelled:
            self._login_timer.cancel()
        self.respond("230 Logged in")

    def _rearm_login(self) -> None:
        if not self._login_timer.cancelled:
            self._login_timer.cancel()
        self._login_timer = self.call_later(
            self.server.login_timeout_s, self._on_login_late
        )

    def _on_login_late(self) -> None:
        if self._is_working:  # a password is being checked, or a failure delayed
            self._rearm_login()
        else:
            self.respond("421 Login took too long")
            self.close_when_done()

    def flush_account(self) -> None:
        self._drop_data()
        self.authenticated = False
        self.username = ""
        self._restart_position = 0
        self._rnfr = None

    # --- the small commands both doors know

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

    # --- time, events, the end

    def handle_timeout(self) -> None:
        if self.is_busy:
            self._rearm_idle()
        else:
            self.respond("421 Idle for too long")
            self.close_when_done()

    def _rearm_idle(self) -> None:
        if self._idler is not None and not self._idler.cancelled:
            self._idler.cancel()
        self._idler = self.ioloop.call_later(
            self.timeout, self.handle_timeout, _errback=self.handle_error
        )

    def wanted_events(self) -> int:
        events = 0 if len(self._held) >= HELD_LINES_MAX else READ
        return events | WRITE if self.producer_fifo else events

    def initiate_send(self) -> None:
        async_chat.initiate_send(self)  # pyftpdlib's own would set the events itself
        if not self._closed:
            self.update_events()

    def log(self, msg: str, logfun: Any = None) -> None:
        """pyftpdlib's lines hold names and addresses: for debugging only."""
        log.debug("%s", msg)

    logline = logerror = log

    def log_exception(self, instance: Any) -> None:
        log.exception("an FTP session failed")

    def close(self) -> None:
        if self._closed:
            return
        channel, transfer = self.data_channel, self._transfer
        was_moving = channel is not None and transfer is not None
        super().close()
        self.data_channel = None
        if transfer is not None and not was_moving and not self._is_working:
            self._transfer = None
            self._finish_unheard(transfer, End(How.CUT))
        self._stop_counting()
        self.server.forget(self)

    def _stop_counting(self) -> None:
        if self._is_unauthenticated:
            self._is_unauthenticated = False
            self.server.strangers.leave(self.remote_ip)


def _log_failure(outcome: Outcome[Any]) -> None:
    # Nobody is left to tell; what failed is in the log without the file's name.
    if outcome.error is not None:
        with suppress(AttributeError):
            log.debug("an unheard transfer ended badly: %s", type(outcome.error))
