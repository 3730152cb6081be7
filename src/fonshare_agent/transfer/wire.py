"""A blocking socket to a peer that can be cancelled, and that notices standing still.

Owns time-outs, cancellation and the certificate's comparison: `secure` returns only if
the peer showed the certificate with the pinned fingerprint, so nothing is ever sent to
anybody else. One thread at a time. Must not know FTP.
"""

import hashlib
import hmac
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Final, TypeVar

from fonshare_agent.errors import (
    ConnectionLost,
    PeerUnreachable,
    TransferCancelled,
    WrongCertificate,
)

POLL_S: Final = 0.2  # how soon a cancelled transfer lets go
STALL_S: Final = 30.0  # without a byte: the peer or the line is gone
DRIP_BYTES_S: Final = 32  # less for so long is no line: the slowest limit gives more
CONNECT_S: Final = 6.0  # for all addresses together
HEAD_START_S: Final = 0.4  # then the next address is tried beside it
# RFC 8422: in TLS 1.2 "ECDSA" suites carry Ed25519 certificates.

Address = tuple[str, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """When to give up: the clock, the owner's wish, and how long nothing may move."""

    clock: Callable[[], float]
    is_cancelled: Callable[[], bool]
    stall_s: float = STALL_S

    def demand(self, since: float) -> None:
        """Raise if the transfer was cancelled, or stood still since *since*."""
        if self.is_cancelled():
            raise TransferCancelled("the transfer was cancelled")
        if self.clock() - since >= self.stall_s:
            raise ConnectionLost(f"nothing came for {self.stall_s:.0f} seconds")


@dataclass(slots=True)
class Pace:
    """How much comes while it is waited for. A peer that sends a byte now and then is
    never silent, and would hold a job's place for ever."""

    patience: Patience
    _waited_s: float = 0.0
    _came: int = 0

    def note(self, count: int, waited_s: float) -> None:
        """*count* bytes came after *waited_s*; raise if they only drip."""
        self._waited_s += waited_s
        self._came += count
        if self._waited_s >= self.patience.stall_s:
            if self._came < DRIP_BYTES_S * self._waited_s:
                raise ConnectionLost(f"hardly anything came for {self._waited_s:.0f} s")
            self._waited_s, self._came = 0.0, 0


def client_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context that shows our certificate; peers are pinned by `Wire`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # No authority has signed it: the fingerprint is compared instead. That the peer
    # holds the certificate's key is part of every handshake.
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION
    context.load_cert_chain(certificate, key)
    return context


class Wire:
    """One connection. Made by `connect`.

    *peer* is the address at its other end, known also once that has hung up.
    """

    def __init__(self, connected: socket.socket, peer: str, patience: Patience) -> None:
        connected.settimeout(POLL_S)
        self._socket, self.peer = connected, peer
        self.patience = patience
        self.on_close: Callable[[Wire], None] | None = None
        self._session: ssl.SSLSession | None = None

    @property
    def connection(self) -> socket.socket:
        """The socket as it is now, for who counts what it moves."""
        return self._socket

    @property
    def session(self) -> ssl.SSLSession | None:
        """What lets the next connection to this peer resume; read once, for which see
        resumption.py."""
        secured = self._socket
        if self._session is None and isinstance(secured, ssl.SSLSocket):
            self._session = secured.session
        return self._session

    @property
    def is_resumed(self) -> bool:
        """Whether this connection goes on with the TLS of another one."""
        secured = self._socket
        return isinstance(secured, ssl.SSLSocket) and bool(secured.session_reused)

    def secure(
        self,
        context: ssl.SSLContext,
        fingerprint: bytes,
        session: ssl.SSLSession | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        """Shake hands, then demand the certificate; WrongCertificate closes the wire.

        *on_wait* is called while the peer is silent; what it raises ends the wait.
        """
        try:
            secured = context.wrap_socket(
                self._socket, do_handshake_on_connect=False, session=session
            )
        except OSError as error:
            raise ConnectionLost(f"no TLS: {error}") from None
        self._socket = secured
        self._patiently(secured.do_handshake, on_wait)
        # Compared also when a session was resumed: it says who it was resumed from.
        shown = secured.getpeercert(binary_form=True) or b""
        if not hmac.compare_digest(hashlib.sha256(shown).digest(), fingerprint):
            self.close()
            raise WrongCertificate("the peer shows another node's certificate")

    def receive_into(self, view: memoryview) -> int:
        """Read what is there, at least a byte; 0 at the end."""
        count = self._patiently(lambda: self._socket.recv_into(view))
        self.patience.demand(self.patience.clock())  # who drips lets no wait time out
        return count

    def fill(self, view: memoryview, pace: Pace) -> int:
        """Read until *view* is full; fewer bytes come only at the end.

        As `receive_into` again and again, which for records of 16 KiB takes as much CPU
        as deciphering them: little may happen for each of them.
        """
        receive, clock, wanted = self._socket.recv_into, self.patience.clock, len(view)
        count = noted = 0
        since = noted_at = clock()
        while count < wanted:
            try:
                got = receive(view[count:])
            except TimeoutError:
                self.patience.demand(since)
                continue
            except (OSError, ValueError) as error:  # ValueError: closed under us
                raise _broken(error) from None
            if not got:
                break
            count, since = count + got, clock()
            if since - noted_at >= POLL_S:  # who drips lets no wait time out
                pace.note(count - noted, since - noted_at)
                self.patience.demand(since)
                noted, noted_at = count, since
        pace.note(count - noted, since - noted_at)
        return count

    def gather(self, count: int) -> None:
        """From now on wake who waits only once *count* bytes lie ready, or at the end,
        or after POLL_S: what has come by then is read."""
        # Where the window is smaller than that, the kernel wakes when it is full.
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def send(self, view: memoryview) -> None:
        """Send all of *view*."""
        while view:
            # After a time-out the same bytes are offered again, as OpenSSL demands.
            count = self._patiently(lambda rest=view: self._socket.send(rest))  # type: ignore[misc]
            view = view[count:]

    def has_pending(self) -> bool:
        """Tell whether there is something to receive, be it the end."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        with DefaultSelector() as selector:
            selector.register(self._socket, EVENT_READ)
            return bool(selector.select(0))

    def end_sending(self) -> None:
        """Say that all was sent, and wait until the peer has said the same."""
        secured = self._socket
        if isinstance(secured, ssl.SSLSocket):
            # The peer may hang up without a word; its reply says if it has all.
            with suppress(ConnectionLost):
                self._socket = self._patiently(secured.unwrap)

    def release(self) -> socket.socket:
        """Return the plain connection; the wire is over."""
        return socket.socket(fileno=self._socket.detach())

    def close(self) -> None:
        """Hang up at once. A second call does nothing."""
        if self.on_close is not None:
            self.on_close(self)
        self._socket.close()

    def _patiently(
        self, call: Callable[[], T], on_wait: Callable[[], None] | None = None
    ) -> T:
        since = self.patience.clock()
        while True:
            try:
                return call()
            except TimeoutError:
                self.patience.demand(since)
                if on_wait is not None:
                    on_wait()
            except (OSError, ValueError) as error:  # ValueError: closed under us
                raise _broken(error) from None


def _broken(error: OSError | ValueError) -> ConnectionLost:
    return ConnectionLost(f"the connection broke off: {error}")


def connect(addresses: Sequence[Address], patience: Patience) -> tuple[Wire, Address]:
    """Return a wire to the first of *addresses* that answers, and which it is.

    Each address gets a head start over the next. PeerUnreachable if none answers.
    """
    waiting, opened = list(addresses), dict[socket.socket, Address]()
    next_at = since = patience.clock()
    with DefaultSelector() as selector:
        try:
            while (waiting or opened) and patience.clock() - since < CONNECT_S:
                if waiting and (patience.clock() >= next_at or not opened):
                    address = waiting.pop(0)
                    started = _begin_connect(address)
                    if started is not None:
                        opened[started] = address
                        selector.register(started, EVENT_WRITE)
                        next_at = patience.clock() + HEAD_START_S
                for key, _ in selector.select(POLL_S if opened else 0):
                    ended = key.fileobj
                    assert isinstance(ended, socket.socket)
                    selector.unregister(ended)
                    address = opened.pop(ended)
                    peer = _find_peer(ended)
                    if peer is not None:
                        return Wire(ended, peer, patience), address
                    ended.close()
                patience.demand(patience.clock())
        finally:
            for left in opened:
                left.close()
    raise PeerUnreachable("none of the peer's addresses answers")


def _find_peer(ended: socket.socket) -> str | None:
    """Return the address that was connected to; None if that failed."""
    if ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return None
    try:
        address: str = ended.getpeername()[0]
    except OSError:
        return None  # connected, and hung up already
    return address


def _begin_connect(address: Address) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        started = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError:
        return None  # no IPv6 here
    try:
        started.setblocking(False)
        started.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        started.close()
        return None
    return started
