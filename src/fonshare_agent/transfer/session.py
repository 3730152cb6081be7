"""The client's side of a ticket session at a friend's door (docs/protocol/transfer.md).

Owns the order of commands and what each reply means. Rules kept: nothing is sent before
the pinned certificate was seen, on control and data connections alike; nothing that
came before TLS is believed afterwards; where a data connection goes is the control
connection's address and never what the peer says. On a long line every round trip
counts: commands that need no answer first are sent together, *ahead* also what asks for
the first data's port; and while a ticket is asked for, a session that was kept can
`prepare` its data connection, on which the peer gives nothing but for a ticket. One
thread at a time.
"""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from fonshare_agent.errors import (
    ConnectionLost,
    PeerUnreachable,
    SourceRefused,
    WrongCertificate,
)
from fonshare_agent.model import base32
from fonshare_agent.transfer.resumption import Resumptions
from fonshare_agent.transfer.session_data import Download, Upload
from fonshare_agent.transfer.session_replies import Reply, bytes_in, port_in
from fonshare_agent.transfer.wire import Address, Patience, Wire, connect

# How a connection to an address is made: straight, or through a relay.
Dial = Callable[[Sequence[Address], Patience], tuple[Wire, Address]]

FILE: Final = b"file"  # a ticket names exactly one
BEGINS: Final = (125, 150)
NO_DATA: Final = 425  # no data connection is open
LINE_BYTES_MAX: Final = 4096
REPLY_LINES_MAX: Final = 64
READ_BYTES: Final = 2048
PORT_S: Final = 3.0  # so long a port that was asked for ahead is believed to be open
READY_S: Final = 10.0  # and so long a data connection, if nothing is moved on it


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """One ticket as the peer granted it."""

    ticket: bytes
    secret: bytes

    @property
    def words(self) -> tuple[bytes, bytes]:
        return base32(self.ticket).encode(), base32(self.secret).encode()

    def __repr__(self) -> str:
        return "<Credentials>"


class Session:
    """One control connection that has redeemed at least one ticket."""

    def __init__(
        self,
        wire: Wire,
        context: ssl.SSLContext,
        fingerprint: bytes,
        dial: Dial = connect,
    ) -> None:
        self.fingerprint, self._dial = fingerprint, dial
        self.used_at = wire.patience.clock()
        self._wire, self._context = wire, context
        self.resumptions = Resumptions()  # a pool has one for all its sessions
        self._received = bytearray()
        self._port: tuple[int, float] | None = None  # asked for ahead, and when
        self._ready: tuple[Wire, float] | None = None  # the next data's, and since when
        self._owes_ticket = False  # its answer is the next to be read
        # Told of every data connection, if anybody counts what they move.
        self.on_data: Callable[[Wire], None] | None = None

    @property
    def peer(self) -> str:
        """The peer's address, from the connection itself."""
        return self._wire.peer

    @classmethod
    def open(
        cls,
        addresses: Sequence[Address],
        context: ssl.SSLContext,
        fingerprint: bytes,
        credentials: Credentials,
        patience: Patience,
        dial: Dial = connect,
        *,
        ahead: bool = False,
    ) -> Self:
        """Connect, see the right certificate, and redeem the ticket.

        PeerUnreachable when none of the addresses is the peer's; SourceRefused when it
        does not take the ticket.
        """
        session = cls.knock(addresses, context, fingerprint, patience, dial)
        try:
            session._log_in(credentials, ahead)
        except BaseException:
            session.close()
            raise
        return session

    @classmethod
    def knock(
        cls,
        addresses: Sequence[Address],
        context: ssl.SSLContext,
        fingerprint: bytes,
        patience: Patience,
        dial: Dial = connect,
    ) -> Self:
        """Connect and see the right certificate, and no more.

        Addresses where somebody else answers are passed over.
        """
        left = list(addresses)
        while True:
            wire, address = dial(left, patience)
            try:
                session = cls(wire, context, fingerprint, dial)
                session._secure()
            except (WrongCertificate, ConnectionLost) as error:
                wire.close()
                left.remove(address)
                if not left:
                    raise PeerUnreachable(f"not the peer: {error}") from None
            except BaseException:
                wire.close()
                raise
            else:
                return session

    def be_patient(self, patience: Patience) -> None:
        """From now on wait as *patience* says."""
        self._wire.patience = patience
        if self._ready is not None:
            self._ready[0].patience = patience

    def prepare(self) -> None:
        """Open the data connection for what will be moved next.

        A refusal costs only that; after ConnectionLost the session is of no use.
        """
        if self._ready is not None or self._dial is not connect:
            return  # what a relay carries is its owner's to spare
        self._send(b"EPSV")
        reply = self._read_reply()
        if reply.is_refusal:
            return
        wire = self._dial_data(port_in(reply))
        try:
            self._secure_data(wire)
        except BaseException:
            wire.close()
            raise
        self._ready = wire, self._wire.patience.clock()

    def drop_ready(self) -> None:
        """Close a data connection that was prepared and is not needed."""
        if self._ready is not None:
            self._ready[0].close()
            self._ready = None

    @property
    def is_ready(self) -> bool:
        """Whether a data connection waits that is believed to be open."""
        now = self._wire.patience.clock()
        return self._ready is not None and now - self._ready[1] < READY_S

    def take_ticket(self, credentials: Credentials, *, ahead: bool = False) -> None:
        """Redeem another ticket here; the following commands are about its file.

        With a data connection that is ready what is said of it is heard later: so
        shortly after that was made the session is alive.
        """
        ticket, secret = credentials.words
        command = b"SITE TICKET " + ticket + b" " + secret
        if ahead and self.is_ready:
            self._send(command)
            self._owes_ticket = True
            return
        self.drop_ready()
        self._send_ahead(ahead, command)
        self._expect(200)
        self._keep_port(ahead)

    def read_from(self, offset: int) -> "Download":
        """Begin to read the ticket's file at *offset*."""
        return Download(self, self._open_data(b"RETR", b"REST %d" % offset, 350))

    def read_blocks(self, runs: Sequence[tuple[int, int]]) -> "Download":
        """Begin to read these blocks, one behind the other."""
        from fonshare_agent.protocol.parts import write_runs  # with the plan, if at all

        named = b"SITE BLOCKS " + write_runs(runs).encode("ascii")
        return Download(self, self._open_data(b"RETR", named, 200))

    def ask_maps(self) -> tuple[bytes, bytes]:
        """Return which blocks the holder has of the file, and which it reads now."""
        self._send(b"SITE HAVE")
        have, _, coming = self._expect(213).text.partition(" ")
        return bytes_in(have), bytes_in(coming)

    def write_from(self, offset: int) -> "Upload":
        """Begin to write the ticket's file at *offset*."""
        return Upload(self, self._open_data(b"STOR", b"REST %d" % offset, 350))

    def stay_open(self) -> None:
        """Tell the peer that we are still here; the session may be dead afterwards."""
        self._send(b"NOOP")
        self._expect(200)

    def is_alive(self) -> bool:
        """Tell whether the peer has neither hung up nor said anything unasked."""
        return not self._received and not self._wire.has_pending()

    def close(self) -> None:
        """Hang up. A second call does nothing."""
        self.drop_ready()
        self._wire.close()

    # --- opening ------------------------------------------------------------------

    def _secure(self) -> None:
        # Sent before the greeting was read: it takes no account of what that says.
        self._send(b"AUTH TLS")
        self._expect(220)
        self._expect(234)
        if self._received:
            # Anybody on the way could have put it there, to be taken for the peer's.
            raise ConnectionLost("the peer spoke on before TLS began")
        self._wire.secure(self._context, self.fingerprint)

    def _log_in(self, credentials: Credentials, ahead: bool) -> None:
        ticket, secret = credentials.words
        words = b"PASS " + secret, b"PBSZ 0", b"PROT P", b"TYPE I"
        self._send_ahead(ahead, b"USER " + ticket, *words)
        for code in (331, 230, 200, 200, 200):
            self._expect(code)
        self._keep_port(ahead)

    def _send_ahead(self, ahead: bool, *commands: bytes) -> None:
        self._send(*commands, *([b"EPSV"] if ahead else []))

    def _keep_port(self, ahead: bool) -> None:
        """Hear the answer to what was sent ahead; a refusal costs only that."""
        if ahead:
            reply, now = self._read_reply(), self._wire.patience.clock()
            self._port = None if reply.is_refusal else (port_in(reply), now)

    def _find_port(self) -> int | None:
        """Return the port that was asked for ahead; None if it may be closed by now."""
        port, self._port = self._port, None
        now = self._wire.patience.clock()
        return port[0] if port is not None and now - port[1] < PORT_S else None

    def _open_data(self, command: bytes, place: bytes, placed: int) -> Wire:
        """Return a data connection on which *command* begins, after *place* said what
        of the file is meant and was answered by *placed*."""
        commands = place, command + b" " + FILE
        wire = self._begin_on_ready(commands, placed) if self.is_ready else None
        if wire is None:
            wire = self._begin_on_new(commands, placed)
        if self.on_data is not None:
            self.on_data(wire)
        return wire

    def _begin_on_ready(self, commands: Sequence[bytes], placed: int) -> Wire | None:
        """Begin on the data connection that waits; None if it has gone meanwhile."""
        assert self._ready is not None
        self._send(*commands)
        self._expect(placed)
        reply = self._read_reply()
        if reply.code == NO_DATA:
            self.drop_ready()
            return None
        if reply.code not in BEGINS:
            raise reply.error()
        (wire, _), self._ready = self._ready, None
        return wire

    def _begin_on_new(self, commands: Sequence[bytes], placed: int) -> Wire:
        self.drop_ready()
        port = self._find_port()
        ahead = () if port is not None else (b"EPSV",)
        self._send(*ahead, *commands)
        if port is None:
            port = port_in(self._expect(229))
        wire = self._dial_data(port)
        try:
            self._expect(placed)
            self._secure_data(wire)
            # A refusal may leave the data connection open, and silent.
            reply = self._read_reply()
            if reply.code not in BEGINS:
                raise reply.error()
        except ConnectionLost:
            wire.close()
            self._hear_refusal()  # says why, if it said anything
            raise
        except BaseException:
            wire.close()
            raise
        return wire

    def _dial_data(self, port: int) -> Wire:
        try:
            # Never the address that a reply names: it could be anybody's.
            wire, _ = self._dial([(self._wire.peer, port)], self._wire.patience)
        except PeerUnreachable as error:
            raise ConnectionLost(f"no data connection: {error}") from None
        return wire

    def _secure_data(self, wire: Wire) -> None:
        kept = self.resumptions.find(self.fingerprint, self._wire)
        wire.secure(self._context, self.fingerprint, kept, self._hear_refusal)
        if not wire.is_resumed:
            self.resumptions.forget(self.fingerprint)

    def _hear_refusal(self) -> None:
        """Raise what the peer says if it has said anything instead of beginning."""
        if not self._received and self._wire.has_pending():
            self._receive()
        if self._received.startswith((b"4", b"5")):
            raise self._read_reply().error()

    # --- lines ----------------------------------------------------------------------

    def _send(self, *commands: bytes) -> None:
        lines = b"".join(command + b"\r\n" for command in commands)
        self._wire.send(memoryview(lines))

    def _expect(self, code: int) -> Reply:
        reply = self._read_reply()
        if reply.is_refusal:
            raise reply.error()
        if reply.code != code:
            raise SourceRefused(f"the peer answers {reply.code} instead of {code}")
        return reply

    def _expect_end(self) -> None:
        reply = self._read_reply()
        if reply.code not in (226, 250):
            raise reply.error()
        self.used_at = self._wire.patience.clock()

    def _read_reply(self) -> Reply:
        if self._owes_ticket:
            self._owes_ticket = False
            self._expect(200)
        line = self._read_line()
        code = line[:3]
        if not (code.isascii() and code.isdigit()) or line[3:4] not in (" ", "-"):
            raise SourceRefused("the peer does not speak FTP")
        for _ in range(REPLY_LINES_MAX):
            if line.startswith(code + " "):
                return Reply(int(code), line[4:])
            line = self._read_line()
        raise SourceRefused("the peer's answer does not end")

    def _read_line(self) -> str:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > LINE_BYTES_MAX:
                raise SourceRefused("the peer sends an endless line")
            self._receive()
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def _receive(self) -> None:
        buffer = bytearray(READ_BYTES)
        count = self._wire.receive_into(memoryview(buffer))
        if not count:
            raise ConnectionLost("the peer closed the connection")
        self._received += buffer[:count]

    def _end_early(self) -> None:
        """Read the reply to a transfer that we broke off."""
        self._read_reply()  # 426, or 226 if everything was on its way already
        self.used_at = self._wire.patience.clock()
