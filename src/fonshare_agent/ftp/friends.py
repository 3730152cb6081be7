"""The friends' door: other nodes with tickets, and nothing else.

TLS with a client certificate comes before USER; the certificate's fingerprint is
compared with the ticket's on the control connection and on every data connection. A
ticket names its one file, so the only file name that exists here is `file`; that of a
bundle is its files one after another (bundles.py).

Reading ranges: REST n, RETR file; the client reads what it wants and closes the data
connection. It then gets exactly one reply, `226` if everything to the end of the file
had been handed over, `426` if it closed before, `450 changed` if the file is no longer
the one that was granted (what was read may be worthless). After each of them the
session serves the next command; ABOR is not needed, and does no harm (`426` for the
transfer, `226` for itself; `225` if the transfer was over). Little is queued unsent
(see data.py), so closing early wastes what is on the way, not a full socket buffer.

Reading blocks: SITE BLOCKS, RETR; see parts.py. A ticket may be for a file that is
still arriving here: `SITE HAVE` says which blocks it has, and `450 missing` is the
reply where another one was to be read.

Writing ranges: REST n, STOR file, the bytes, close. They are written at n and on, never
beyond the ticket's size (`552`), and the file is never made shorter. `226` means
written, not yet on the platter: the job that granted the ticket verifies and syncs.
"""

import base64
import hmac
import os
import socket
from typing import TYPE_CHECKING, Any

from fonshare_agent.errors import (
    ContentChanged,
    FonshareError,
    TicketRefused,
    UsageError,
)
from fonshare_agent.ftp.bundles import BundleDownload
from fonshare_agent.ftp.data import DataChannel
from fonshare_agent.ftp.ends import End, How
from fonshare_agent.ftp.loop import FTPHandler
from fonshare_agent.ftp.replies import reply_to_error
from fonshare_agent.ftp.session import ControlSession, Transfer
from fonshare_agent.ftp.streams import FileSink, Sink, Source
from fonshare_agent.ftp.tickets import (
    ID_BYTES,
    SECRET_BYTES,
    FileStamp,
    Ticket,
    parse_base32,
)
from fonshare_agent.ftp.transfers import Download, reply_to_end

if TYPE_CHECKING:
    from fonshare_agent.ftp.doors import FriendsDoor

# Unsent bytes that the kernel keeps for a socket: enough to keep a link busy, and all
# that is wasted, besides what is on the way, when a friend closes a range early.
NOTSENT_LOWAT_BYTES = 128 << 10
FILE = "file"
KNOWN = (
    "USER",
    "PASS",
    "TYPE",
    "EPSV",
    "PASV",
    "REST",
    "RETR",
    "STOR",
    "SIZE",
    "NOOP",
    "ABOR",
    "QUIT",
    "FEAT",
)


def _entry(argument: bool | None, *, before_login: bool) -> dict[str, Any]:
    return {"perm": None, "auth": not before_login, "arg": argument, "help": ""}


def _find_runs(ticket: Ticket, text: str) -> tuple[tuple[int, int], ...] | None:
    """On a worker: what is needed for parts alone is loaded with the first of them."""
    from fonshare_agent.protocol.parts import parse_runs

    return parse_runs(text, -(-ticket.size // ticket.block_size))


def _as_text(bitmap: bytes) -> str:
    return base64.urlsafe_b64encode(bitmap).decode("ascii").rstrip("=")


class TicketUpload:
    """A friend's push into the one file of a job here."""

    source: Source | None = None

    def __init__(self, fd: int, ticket: Ticket, offset: int) -> None:
        self._fd = fd
        self.sink: Sink | None = FileSink(
            fd, offset, ticket.size, ticket.writing, ticket.on_written
        )

    def sync(self) -> None:
        """The job syncs once, at its end."""

    def finish(self, end: End) -> str:
        os.close(self._fd)
        return reply_to_end(end)


class FriendSession(ControlSession):
    """See the module's text."""

    server: "FriendsDoor"
    timeout = 60.0
    needs_tls = needs_protected_data = True
    proto_cmds = {name: FTPHandler.proto_cmds[name] for name in KNOWN} | {
        "AUTH": _entry(True, before_login=True),
        "PBSZ": _entry(True, before_login=True),
        "PROT": _entry(True, before_login=True),
        "SITE TICKET": _entry(True, before_login=False),
        "SITE BLOCKS": _entry(True, before_login=False),
        "SITE HAVE": _entry(False, before_login=False),
        "RELAY": _entry(True, before_login=True),
    }

    def __init__(self, conn: Any, server: "FriendsDoor", ioloop: Any) -> None:
        self._peer: bytes | None = None  # the certificate's fingerprint
        self._ticket: Ticket | None = None
        self._runs: tuple[tuple[int, int], ...] | None = None  # for the next RETR
        self._ends_soon = False
        super().__init__(conn, server, ioloop)
        self._extra_feats.append("SITE TICKET BLOCKS HAVE")

    def tls_context(self) -> Any:
        return self.server.context.current

    # --- who is it

    def on_secured(self) -> None:
        self._peer = self.peer_fingerprint()
        if self._peer is None or not self.server.desk.knows_peer(self._peer):
            self.close()  # unread

    def is_right_data_peer(self, channel: DataChannel) -> bool:
        # Compared on every channel, since a resumed session brings no certificate of
        # its own but the one of the handshake it resumes.
        shown = channel.peer_fingerprint()
        if shown is None or self._peer is None:
            return False
        if not hmac.compare_digest(shown, self._peer):
            return False
        channel.socket.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES
        )
        return True

    def friend(self) -> bytes | None:
        return self._peer

    # --- relays (docs/protocol/relay.md): not a session any more, if it is let in

    def ftp_RELAY(self, line: str) -> None:
        admit = self.server.admit_relay
        if admit is None or self.is_secured or self.authenticated or self.ac_in_buffer:
            self.respond("502 No relay here")
            self.close_when_done()
            return
        try:
            take = admit(line)
        except FonshareError:
            self.fail_login()
            return
        self.respond("200 Welcome")
        if self.producer_fifo:  # a tiny reply never waits; what follows is not ours
            self.close()
            return
        connection = socket.socket(fileno=os.dup(self.socket.fileno()))
        self.close()
        take(connection)

    # --- tickets

    def ftp_USER(self, line: str) -> None:
        if self.authenticated:
            self.respond("503 Use SITE TICKET for another ticket")
        else:
            self.username = line
            self.respond("331 Send the secret")

    def ftp_PASS(self, line: str) -> None:
        if self.authenticated or not self.username:
            self.respond("503 Send USER first")
            return
        try:
            self._ticket = self._redeem(self.username, line)
        except TicketRefused:
            self.fail_login()
        else:
            self.succeed_login()

    def ftp_SITE_TICKET(self, line: str) -> None:
        ticket_id, _, secret = line.partition(" ")
        try:
            ticket = self._redeem(ticket_id, secret)
        except TicketRefused as error:
            self.respond(reply_to_error(error))
        else:
            self._ticket = ticket
            self.respond("200 Ticket taken")

    def _redeem(self, id_text: str, secret_text: str) -> Ticket:
        ticket_id = parse_base32(id_text, ID_BYTES)
        secret = parse_base32(secret_text, SECRET_BYTES)
        if ticket_id is None or secret is None or self._peer is None:
            raise TicketRefused("not a ticket")
        return self.server.desk.redeem(ticket_id, secret, self._peer, self)

    def on_revoked(self, dead: frozenset[bytes], ends_sessions: bool) -> None:
        """Tickets died: end what runs on them, and maybe the session with the last."""
        if self._ticket is not None and self._ticket.id in dead:
            self._ticket = None
            self.cut_transfer("the ticket was revoked")
        is_empty = self.authenticated and not self.server.desk.holds_any(self)
        if is_empty and ends_sessions:
            self._ends_soon = True
            self._run_held()

    def _run_held(self) -> None:
        if self._ends_soon and not self.is_busy and not self._closed:
            self.respond("421 No ticket is left")
            self.close_when_done()
        else:
            super()._run_held()

    # --- parts

    def ftp_SITE_BLOCKS(self, line: str) -> None:
        ticket = self._demand_ticket(FILE, "read")
        if ticket is None:
            return
        if ticket.bundle is not None:
            self.respond("504 Not of a bundle")
            return
        self.work(_find_runs, ticket, line, then=self._take_runs)

    def _take_runs(self, runs: tuple[tuple[int, int], ...] | None) -> None:
        self._runs = runs
        if runs is None:
            self.respond("501 Not blocks of this file")
        else:
            self.respond("200 These blocks")

    def ftp_SITE_HAVE(self, line: str) -> None:
        ticket = self._demand_ticket(FILE, "read")
        if ticket is None:
            return
        if ticket.held is None:
            self.respond("504 All of it")
            return
        self.work(ticket.held.maps, then=self._tell_maps)

    def _tell_maps(self, maps: tuple[bytes, bytes]) -> None:
        self.respond("213 " + " ".join(map(_as_text, maps)))

    # --- commands

    def ftp_TYPE(self, line: str) -> None:
        if line.upper() == "I":
            self.respond("200 Binary")
        else:
            self.respond("504 Only TYPE I")

    def ftp_SIZE(self, line: str) -> None:
        ticket = self._demand_ticket(line)
        if ticket is not None:
            self.respond(f"213 {ticket.size}")

    def ftp_RETR(self, line: str) -> None:
        offset = self.take_restart()
        ticket = self._demand_ticket(line, "read")
        if ticket is not None:
            runs, self._runs = self._runs, None
            self.work(
                self._open_download, ticket, offset, runs, then=self._begin_if_alive
            )

    def ftp_STOR(self, line: str) -> None:
        offset = self.take_restart()
        ticket = self._demand_ticket(line, "write")
        if ticket is not None:
            self.work(self._open_upload, ticket, offset, then=self._begin_if_alive)

    def _demand_ticket(self, name: str, direction: str | None = None) -> Ticket | None:
        ticket = self._ticket
        if ticket is None:
            self.respond("550 No ticket: it was revoked")
        elif name != FILE:
            self.respond("553 A ticket's only file is called `file`")
        elif direction is not None and ticket.direction != direction:
            self.respond(
                f"550 The ticket is not for this direction: {ticket.direction}"
            )
        else:
            return ticket
        return None

    def _open_download(
        self, ticket: Ticket, offset: int, runs: tuple[tuple[int, int], ...] | None
    ) -> Transfer:
        self.server.desk.demand_alive(ticket, self)
        if offset > ticket.size:
            raise UsageError(f"REST {offset} is beyond the end at {ticket.size}")
        if ticket.bundle is not None:
            return BundleDownload(ticket.bundle, offset, self.server.buffer_size)
        if runs is not None or ticket.held is not None:
            from fonshare_agent.ftp.parts import open_parts

            return open_parts(ticket, offset, runs, self.server.buffer_size)
        fd = ticket.opener()
        stamp = FileStamp.of(os.fstat(fd))
        if stamp.size != ticket.size or ticket.recorded not in (None, stamp):
            os.close(fd)
            raise ContentChanged("the file is not the one that was granted")
        return Download(fd, offset, self.server.buffer_size)

    def _open_upload(self, ticket: Ticket, offset: int) -> TicketUpload:
        self.server.desk.demand_alive(ticket, self)
        if offset > ticket.size:
            raise UsageError(f"REST {offset} is beyond the end at {ticket.size}")
        return TicketUpload(ticket.opener(), ticket, offset)

    def _begin_if_alive(self, transfer: Transfer) -> None:
        if self._ticket is None:  # revoked while the file was opened
            self.work(
                transfer.finish,
                End(How.CUT),
                then=lambda _: self.respond("550 The ticket was revoked"),
            )
        else:
            self.begin(transfer)

    def close(self) -> None:
        if not self._closed:
            super().close()
            self.server.desk.release(self)
