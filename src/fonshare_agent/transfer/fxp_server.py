"""One third party's FTP server: its control connection, and data connections to us.

Owns login, TLS, features and what state the server is in (protection, roles). Rules
kept: no password leaves before the certificate was verified, by the authorities or by
its pin, and never without one where TLS was asked for; what came before TLS is not
believed after it; data goes to the control connection's own peer, whatever address a
reply names. One thread. Must not know what is moved, or why.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fonshare_agent.errors import (
    BadPath,
    FxpForbidden,
    FxpLogin,
    FxpLost,
    FxpPartial,
    FxpRefused,
    FxpUnreachable,
)
from fonshare_agent.model import printable
from fonshare_agent.transfer.fxp_dial import CONNECT_S, dial
from fonshare_agent.transfer.fxp_replies import (
    Reply,
    ReplyReader,
    find_features,
    find_folder,
    find_port,
)
from fonshare_agent.transfer.fxp_tls import Trust
from fonshare_agent.transfer.fxp_url import ServerUrl

REPLY_S: Final = 60.0  # the slowest login or listing begins by then
ABORT_S: Final = 10.0  # an answer to ABOR comes at once, or the server hears nothing
MORE_S: Final = 3.0  # some have one answer where others have two
DATA_S: Final = 60.0  # without a byte of data: the server or the line is gone
IDLE_S: Final = 30.0  # servers hang up after 60 seconds or more of silence
READ_BYTES: Final = 16 * 1024
ANONYMOUS: Final = ("anonymous", "fonshare@")

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """Where, as whom, and whose certificate counts."""

    url: ServerUrl
    password: str
    trust: Trust | None  # None: no TLS

    def __repr__(self) -> str:
        return f"<Login {self.url}>"


class Server:
    """A session at one server. `open` first; `reopen` after it was lost."""

    def __init__(
        self, login: Login, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.login = login
        self.name = login.url.server
        self.features: dict[str, str] = {}
        self.home = b"/"
        self._clock = clock
        self._socket: socket.socket | None = None
        self._reader = ReplyReader()
        self._used_at = clock()
        self._protection = ""  # what PROT was set to last
        self._is_client = False  # SSCN: who begins TLS on data connections
        self._begins_at = 0  # REST, until a transfer has used it
        self.owes_end = False  # a transfer was begun; how it ended is still to be said

    # --- opening and closing ------------------------------------------------------

    def open(self, family: socket.AddressFamily | None = None) -> None:
        """Connect, verify, log in. *family* is tried first, if it is given."""
        self._connect(family)
        try:
            self._demand_greeting()
            if self.login.trust is not None:
                self._secure(self.login.trust)
            self._log_in()
        except BaseException:
            self.close()
            raise

    def reopen(self) -> None:
        """Begin a new session, as the one before."""
        family = self.family if self._socket is not None else None
        self.close()
        self.open(family)

    def close(self) -> None:
        """Hang up at once. A second call does nothing."""
        if self._socket is not None:
            self._socket.close()

    def quit(self) -> None:
        """Say good-bye, and hang up without waiting for the answer."""
        with contextlib.suppress(FxpLost):
            self.send(b"QUIT")
        self.close()

    def _connect(self, family: socket.AddressFamily | None) -> None:
        url = self.login.url
        self._socket = dial(url.host, url.port, family, self.name)
        self._reader = ReplyReader()
        self._protection, self._is_client = "", False
        self._begins_at, self.owes_end = 0, False

    def _demand_greeting(self) -> None:
        reply = self.wait_reply()
        while reply.code == 120:  # ready in some minutes
            reply = self.wait_reply()
        if reply.code != 220:
            raise FxpUnreachable(f"the server says: {reply}", thing=self.name)

    def _secure(self, trust: Trust) -> None:
        reply = self.ask(b"AUTH TLS")
        if reply.code != 234:
            raise trust.missing(self.name, str(reply))
        if not self._reader.is_empty:
            # Anybody on the way could have put it there, to be taken for the server's.
            raise FxpLost("the server spoke on before TLS began", thing=self.name)
        connected = self._get_socket()
        connected.settimeout(CONNECT_S)
        self._socket = trust.wrap(connected, self.login.url.host, self.name)

    def _log_in(self) -> None:
        user = self.login.url.user
        name, password = ANONYMOUS if user is None else (user, self.login.password)
        reply = self.ask(b"USER " + _raw(name))
        if reply.code == 331:
            reply = self.ask(b"PASS " + _raw(password))
        if reply.code == 332 or not reply.is_good or reply.code == 331:
            raise FxpLogin(f"the server says: {reply}", thing=self.name)
        if self.login.trust is not None:
            self.ask(b"PBSZ 0")
        reply = self.ask(b"FEAT")
        self.features = find_features(reply)
        if "UTF8" in self.features:
            self.ask(b"OPTS UTF8 ON")  # some have it on already and refuse
        self.demand(b"TYPE I")
        self.home = find_folder(self.ask(b"PWD")) or b"/"

    # --- commands -----------------------------------------------------------------

    def path(self, relative: bytes) -> bytes:
        """Return an absolute path: a leading dash or space is then no option."""
        if relative.startswith(b"/"):
            return relative
        return self.home.rstrip(b"/") + b"/" + relative

    def send(self, command: bytes) -> None:
        """Send *command* and do not wait for the answer."""
        if any(byte in command for byte in b"\r\n\0"):
            # Not the command itself: it could be a password.
            raise BadPath("FTP cannot carry a line break or NUL", thing=self.name)
        connected = self._get_socket()
        try:
            connected.settimeout(REPLY_S)
            connected.sendall(command + b"\r\n")
        except OSError as error:
            raise self._lost(f"the connection broke off: {error}") from None
        self._used_at = self._clock()
        if command.startswith((b"RETR ", b"STOR ")):
            self._begins_at = 0

    def ask(self, command: bytes, within_s: float = REPLY_S) -> Reply:
        """Send *command* and return the answer, whatever it is."""
        self.send(command)
        return self.wait_reply(within_s)

    def demand(self, command: bytes, about: bytes = b"") -> Reply:
        """Send *command*; FxpRefused, naming *about*, unless it is granted."""
        reply = self.ask(command)
        if not reply.is_good:
            raise self.refused(reply, about)
        return reply

    def refused(self, reply: Reply, about: bytes = b"") -> FxpRefused:
        thing = f"{self.name}: {printable(about)}" if about else self.name
        return FxpRefused(f"the server says: {reply}", thing=thing)

    def find_reply(self) -> Reply | None:
        """Return the next answer if it is here; never waits."""
        reply = self._reader.find_reply()
        if reply is None:
            why = self._drain()
            reply = self._reader.find_reply()
            if reply is None and why:
                raise self._lost(why)
        if reply is not None and reply.code == 421:
            raise self._lost(f"the server hangs up: {reply}")
        return reply

    def wait_reply(self, within_s: float = REPLY_S) -> Reply:
        """Return the next answer; FxpLost if it does not come."""
        until = self._clock() + within_s
        while (reply := self.find_reply()) is None:
            left = until - self._clock()
            if left <= 0:
                raise self._lost(f"no answer in {within_s:.0f} seconds")
            select.select([self._get_socket()], [], [], left)
        self._used_at = self._clock()
        return reply

    def fileno(self) -> int:
        """For `select`: all that has come was taken by `find_reply`."""
        return self._get_socket().fileno()

    def keep_alive(self) -> None:
        """Say something if nothing was said for long. Not while data moves."""
        if self._clock() - self._used_at > IDLE_S:
            self.ask(b"NOOP")

    def settle(self, *, aborts: bool) -> None:
        """Read the answer to a transfer that broke off, so that the next is its own.

        A server that does not answer is called anew.
        """
        if not self.owes_end:
            return
        try:
            if aborts:
                self.send(b"ABOR")
            # One for the transfer and one for ABOR, whichever comes first.
            within_s = ABORT_S
            for _ in range(2 if aborts else 1):
                while self.wait_reply(within_s).code < 200:
                    pass
                within_s = MORE_S
            self.owes_end = False
        except FxpLost:
            self.reopen()

    def _drain(self) -> str:
        """Take all that has come; return why there will be no more, if so."""
        connected = self._get_socket()
        connected.setblocking(False)
        while True:
            try:
                raw = connected.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return ""
            except OSError as error:
                return f"the connection broke off: {error}"
            if not raw:
                return "the server closed the connection"
            self._reader.feed(raw)

    def _get_socket(self) -> socket.socket:
        if self._socket is None or self._socket.fileno() < 0:
            raise self._lost("the connection is closed")
        return self._socket

    def _lost(self, why: str) -> FxpLost:
        return FxpLost(why, thing=self.name)

    # --- data connections ---------------------------------------------------------

    @property
    def family(self) -> socket.AddressFamily:
        """Whether this session is by IPv4 or IPv6."""
        assert self._socket is not None
        return socket.AddressFamily(self._socket.family)

    @property
    def has_tls(self) -> bool:
        return self.login.trust is not None

    @property
    def peer(self) -> str:
        """The server's address, from the connection itself."""
        address: str = self._get_socket().getpeername()[0]
        return address

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine: both ends have the same address."""
        own = self._get_socket().getsockname()[0]
        return self.peer == own or self.peer == "::1" or self.peer.startswith("127.")

    def protect(self, *, is_protected: bool, is_client: bool = False) -> None:
        """Set what the next data connections are: PROT, and who begins TLS."""
        if not self.has_tls:
            return
        level = "P" if is_protected else "C"
        if self._protection != level:
            self.demand(b"PROT " + level.encode())
            self._protection = level
        if self._is_client != is_client:
            self.demand(b"SSCN ON" if is_client else b"SSCN OFF")
            self._is_client = is_client

    def listen(self, command: bytes, *, is_client: bool = False) -> Address:
        """Have the server listen for the data of *command*; return where.

        The address is that of the control connection: one that a reply names could be
        anybody's. *is_client*: by CPSV the server begins TLS though it listens.
        """
        if "PRET" in self.features:
            self.demand(b"PRET " + command)
        if is_client:
            return self.peer, self._passive_port(self.ask(b"CPSV"))
        # Behind IPv4 PASV is what every server and firewall knows.
        first = b"EPSV" if self.family == socket.AF_INET6 else b"PASV"
        reply = self.ask(first)
        if not reply.is_good and first == b"PASV":
            reply = self.ask(b"EPSV")
        return self.peer, self._passive_port(reply)

    def _passive_port(self, reply: Reply) -> int:
        port = find_port(reply)
        if port is None:
            raise FxpForbidden(
                f"the server lets nobody connect: {reply}", thing=self.name
            )
        return port

    def begin_at(self, offset: int) -> None:
        """Have the next transfer begin there; FxpPartial if the server cannot."""
        if offset == self._begins_at:
            return
        reply = self.ask(b"REST %d" % offset)
        if not reply.is_good:
            raise FxpPartial(
                f"the server cannot begin inside a file: {reply}", thing=self.name
            )
        self._begins_at = offset

    def connect_to(self, address: Address) -> None:
        """Have the server connect to *address*, the other server's, for data."""
        host, port = address
        kind = b"2" if ":" in host else b"1"
        reply = None
        if kind == b"1":
            digits = [*host.split("."), str(port // 256), str(port % 256)]
            reply = self.ask(b"PORT " + ",".join(digits).encode())
        if reply is None or reply.code in (500, 502):
            words = [kind, host.partition("%")[0].encode(), str(port).encode()]
            extended = self.ask(b"EPRT |" + b"|".join(words) + b"|")
            # A server without EPRT has said by PORT what there is to say.
            if reply is None or extended.is_good:
                reply = extended
        if not reply.is_good:
            raise FxpForbidden(
                f"the server connects to no other one: {reply}", thing=self.name
            )

    def open_data(self, command: bytes, offset: int, about: bytes) -> socket.socket:
        """Begin *command* with us at the other end; return the data connection."""
        self.protect(is_protected=True)
        address = self.listen(command)
        self.begin_at(offset)
        connected = self._connect_data(address)
        try:
            reply = self.ask(command)
            if reply.code not in (125, 150):
                raise self.refused(reply, about)
            self.owes_end = True
            if self.login.trust is not None:
                connected = self.login.trust.wrap(
                    connected, self.login.url.host, self.name, self._get_socket()
                )
        except BaseException:
            connected.close()
            raise
        return connected

    def _connect_data(self, address: Address) -> socket.socket:
        try:
            connected = socket.create_connection(address, CONNECT_S)
        except OSError as error:
            raise self._lost(f"no data connection: {error}") from None
        connected.settimeout(DATA_S)
        return connected

    def finish_data(self, about: bytes) -> None:
        """Demand that the server found nothing amiss with a transfer that ended."""
        reply = self.wait_reply(DATA_S)
        self.owes_end = False
        if reply.code in (425, 426, 451):
            raise self._lost(f"the transfer broke off: {reply}")
        if not reply.is_good:
            raise self.refused(reply, about)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
