"""TLS for the FTP loop by the standard `ssl` module: contexts, and a channel mixin.

`TlsChannel` turns any pyftpdlib channel into a TLS server's end on a non-blocking
`SSLSocket`. A channel is plain, shaking (hands), open, ending or closed. While shaking
it is readable and writable for the poller and `send` returns 0, so that what is pushed
waits; then the wanted events are restored. `end_tls` sends our close_notify before the
socket closes, waiting for room in a full send buffer, but not for the peer's answer.

OpenSSL has no other way to accept a self-signed client certificate, so the friends'
context trusts exactly the certificates given to it (`FriendsContext`). That only lets
the handshake pass: who the peer *is* decides the caller by `peer_fingerprint`, on every
channel, also when OpenSSL resumed a session (it keeps the peer's certificate).
"""

import hashlib
import logging
import socket
import ssl
import threading
from collections.abc import Collection
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from fonshare_agent.errors import TicketRefused
from fonshare_agent.ftp.loop import READ, WRITE, AsyncChat

HANDSHAKE_TIMEOUT_S = 10.0
CLOSING_TIMEOUT_S = 10.0
# SSL_OP_PRIORITIZE_CHACHA of OpenSSL >= 1.1.1, which `ssl` does not name: where a
# client prefers ChaCha20 (its CPU has no AES, five times faster) the server takes it,
# whatever its own order is. What a node prefers is set by OpenSSL's openssl.cnf here.
OP_PRIORITIZE_CHACHA = 0x200000

log = logging.getLogger(__name__)


def fingerprint(certificate_der: bytes) -> bytes:
    """SHA-256 of a certificate, as key statements name it."""
    return hashlib.sha256(certificate_der).digest()


def house_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """The house door's context: TLS >= 1.2, no certificate asked of clients."""
    return _server_context(certificate, key)


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    return context


class FriendsContext:
    """The friends' door's context; the trusted certificates may change at any time.

    Any thread may call `trust` and `trust_only`. Handshakes take `current`.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._lock = threading.Lock()
        self._trusted: set[bytes] = set()
        self._context = self._build()

    @property
    def current(self) -> ssl.SSLContext:
        return self._context

    def trust(self, certificate_der: bytes) -> None:
        """Let handshakes with this certificate pass. Idempotent.

        TicketRefused if it is none: whoever shows it could not come in, either.
        """
        with self._lock:
            if certificate_der not in self._trusted:
                try:
                    self._context.load_verify_locations(cadata=certificate_der)
                except (ssl.SSLError, ValueError) as error:  # ValueError: an empty one
                    raise TicketRefused(f"that is no certificate: {error}") from None
                self._trusted.add(certificate_der)

    def trust_only(self, fingerprints: Collection[bytes]) -> None:
        """Distrust all but these (a context cannot forget, so there is a new one)."""
        with self._lock:
            kept = {one for one in self._trusted if fingerprint(one) in fingerprints}
            if kept != self._trusted:
                self._trusted = kept
                self._context = self._build()

    def _build(self) -> ssl.SSLContext:
        context = _server_context(self._certificate, self._key)
        context.verify_mode = ssl.CERT_OPTIONAL
        # A self-signed certificate need not be an authority to be trusted itself.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        # 1.2 would show the certificates to whoever listens on the line.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | OP_PRIORITIZE_CHACHA
        for certificate in self._trusted:
            context.load_verify_locations(cadata=certificate)
        return context


class TlsState(Enum):
    PLAIN = 0
    SHAKING = 1
    OPEN = 2
    ENDING = 3
    CLOSED = 4


class TlsChannel(AsyncChat):  # type: ignore[misc]
    """The mixin; the host class says `wanted_events`, `on_secured` and how to die."""

    socket: Any
    tls_state = TlsState.PLAIN
    # How many TLS 1.3 tickets its client gets to resume the session with, as its data
    # connections do (decision 0114). On those there are none: they arrive unasked at
    # a client that only sends (an upload); if it closes without reading them, its
    # kernel resets the connection and the tail is lost.
    session_tickets = 0
    _tls_timer: Any = None

    def __repr__(self) -> str:  # pyftpdlib formats it, at any log level, into a line
        return f"<{type(self).__name__}>"

    # --- what the host class fills in

    def wanted_events(self) -> int:
        """The poller events wanted while no TLS work is pending."""
        raise NotImplementedError

    def on_secured(self) -> None:
        """The handshake is done."""

    def on_tls_failed(self) -> None:
        """The handshake failed or took too long; nothing can be said any more."""
        self.close()

    # --- for the host class

    @property
    def is_secured(self) -> bool:
        return self.tls_state is TlsState.OPEN

    def update_events(self) -> None:
        """Tell the poller what this channel waits for now."""
        if self.tls_state not in (TlsState.SHAKING, TlsState.ENDING):
            self.modify_ioloop_events(self.wanted_events())

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Take the server's part of a handshake on this connected channel."""
        context.num_tickets = self.session_tickets  # of those made from here on
        try:
            self.socket = context.wrap_socket(
                self.socket,
                server_side=True,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,  # an upload cut off is not an upload
            )
        except OSError:  # the peer has gone already
            self.on_tls_failed()
            return
        self.tls_state = TlsState.SHAKING
        self._tls_timer = self.ioloop.call_later(
            HANDSHAKE_TIMEOUT_S, self.on_tls_failed, _errback=self.handle_error
        )
        self.modify_ioloop_events(READ)

    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, if it showed one."""
        if self.tls_state is not TlsState.OPEN:
            return None
        certificate: bytes | None = self.socket.getpeercert(binary_form=True)
        return certificate

    def peer_fingerprint(self) -> bytes | None:
        certificate = self.peer_certificate()
        return None if certificate is None else fingerprint(certificate)

    def end_tls(self) -> None:
        """Send close_notify if need be, then `close`."""
        if self.tls_state is not TlsState.OPEN:
            self.close()
            return
        self.tls_state = TlsState.ENDING
        self._tls_timer = self.ioloop.call_later(
            CLOSING_TIMEOUT_S, self.close, _errback=self.handle_error
        )
        self._send_close_notify()

    # --- the handshake and the end

    def _shake(self) -> None:
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.modify_ioloop_events(READ)
        except ssl.SSLWantWriteError:
            self.modify_ioloop_events(WRITE)
        except (OSError, ValueError) as error:
            log.debug("TLS handshake failed: %s", error)
            self.on_tls_failed()
        else:
            self.tls_state = TlsState.OPEN
            self._cancel_tls_timer()
            self.update_events()
            self.on_secured()

    def _send_close_notify(self) -> None:
        try:
            self.socket.unwrap()
        except ssl.SSLWantWriteError:
            self.modify_ioloop_events(WRITE)
            return
        except (OSError, ValueError):
            pass  # SSLWantRead: ours is out, theirs we do not wait for; or peer gone
        self.close()

    def _cancel_tls_timer(self) -> None:
        if self._tls_timer is not None and not self._tls_timer.cancelled:
            self._tls_timer.cancel()
        self._tls_timer = None

    # --- what the poller and asynchat call

    def readable(self) -> bool:
        return self.tls_state is TlsState.SHAKING or bool(super().readable())

    def writable(self) -> bool:
        return self.tls_state in (TlsState.SHAKING, TlsState.ENDING) or bool(
            super().writable()
        )

    def handle_read_event(self) -> None:
        if self.tls_state is TlsState.SHAKING:
            self._shake()
        elif self.tls_state is not TlsState.ENDING:
            self.handle_read()

    def handle_write_event(self) -> None:
        if self.tls_state is TlsState.SHAKING:
            self._shake()
        elif self.tls_state is TlsState.ENDING:
            self._send_close_notify()
        else:
            self.handle_write()

    def send(self, data: Any) -> int:
        if self.tls_state in (TlsState.SHAKING, TlsState.ENDING):
            return 0
        try:
            return int(super().send(data))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except ssl.SSLError:
            self.handle_close()
            return 0

    def recv(self, buffer_size: int) -> bytes:
        try:
            return bytes(super().recv(buffer_size))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLError:
            self.handle_close()
            return b""

    def close(self) -> None:
        if self.tls_state is TlsState.OPEN:
            with suppress(OSError, ValueError):
                self.socket.unwrap()  # once, if there is room; we do not wait here
        if self.tls_state is not TlsState.PLAIN:
            self.tls_state = TlsState.CLOSED
        self._cancel_tls_timer()
        super().close()


def has_left(fileno: int, *, is_any_byte_the_end: bool = False) -> bool:
    """Look whether the peer has closed a connection, without reading from it.

    One that only receives sends nothing by TLS but its leave: any byte is the end.
    """
    with socket.socket(fileno=socket.dup(fileno)) as probe:
        probe.setblocking(False)
        try:
            return probe.recv(1, socket.MSG_PEEK) == b"" or is_any_byte_the_end
        except BlockingIOError:
            return False
        except OSError:
            return True
