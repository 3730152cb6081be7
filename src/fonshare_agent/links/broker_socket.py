"""Opens the TCP or TLS connection to a broker, bounded in time and interruptible.

Rules: no byte of MQTT (which may hold a password) leaves before the broker's
certificate is verified; with a pin that is the comparison of the certificate with it,
in code, and neither CA, name nor dates count; without one it is the standard library's
default verification, which is never loosened. Name look-ups have their own thread,
since the C library's cannot be interrupted. Knows nothing of MQTT.
"""

import hashlib
import hmac
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fonshare_agent.authorities import context_of
from fonshare_agent.errors import BrokerTls, BrokerUnreachable
from fonshare_agent.links.broker_url import BrokerUrl

ATTEMPT_S = 10.0  # look-up, connection and handshake together
ADDRESS_S = 3.0  # the least one address gets, so that a dead IPv6 leaves time for IPv4

Addresses = list[tuple[int, tuple[object, ...]]]  # (family, socket address)


class Interrupted(Exception):
    """The link is being stopped; nothing failed."""


class Wake:
    """Ends a wait for the network from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Begin to hear; until then, and after `close`, `set` does nothing."""
        with self._lock:
            self._ends = socket.socketpair()
            for end in self._ends:
                end.setblocking(False)

    def close(self) -> None:
        with self._lock:
            for end in self._ends or ():
                end.close()
            self._ends = None

    def set(self) -> None:
        """End the present wait, or the next."""
        with self._lock:
            if self._ends:
                try:
                    self._ends[1].send(b"!")
                except BlockingIOError:
                    return  # thousands of unheard calls: it will wake

    def wait(
        self, timeout_s: float, sock: socket.socket | None = None, events: int = 0
    ) -> int:
        """Wait for `set`, the time-out or *events* of *sock*; return those that are."""
        if self._ends is None:
            raise RuntimeError("wait before open")
        poll, ear = select.poll(), self._ends[0]
        poll.register(ear, select.POLLIN)
        if sock is not None:
            poll.register(sock, events)
        ready = dict(poll.poll(max(0.0, timeout_s) * 1000))
        if ready.pop(ear.fileno(), 0):
            ear.recv(65536)
        return next(iter(ready.values()), 0)


class _LookUp:
    """One name look-up in a thread of its own, which may outlive the attempt."""

    def __init__(self, host: str, port: int, wake: Wake) -> None:
        # Bytes: for a text Python loads its codec of foreign letters (170 KB), and a
        # broker's host has none.
        self._place, self._wake = (host.encode("ascii"), port), wake
        self.addresses: Addresses = []
        self.error: OSError | UnicodeError | None = None
        self.is_done = False
        threading.Thread(target=self._run, name="mqtt-name", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(*self._place, type=socket.SOCK_STREAM)
            self.addresses = [(family, place) for family, _, _, _, place in found]
        except (OSError, UnicodeError) as error:
            self.error = error
        self.is_done = True
        self._wake.set()


class Dialer:
    """Opens connections to one broker, one after another."""

    def __init__(
        self,
        url: BrokerUrl,
        ca: Path | None,
        pin: bytes | None,
        wake: Wake,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._url, self._ca, self._pin = url, ca, pin
        self._wake, self._is_stopping = wake, is_stopping
        self._look_up: _LookUp | None = None

    @property
    def needs_clock(self) -> bool:
        """Whether a certificate's dates will be looked at."""
        return self._url.tls and self._pin is None

    def dial(self) -> socket.socket:
        """Return a connected (and verified) non-blocking socket.

        Raises BrokerUnreachable, BrokerTls or Interrupted.
        """
        deadline = time.monotonic() + ATTEMPT_S
        addresses = self._find_addresses(deadline)
        error: OSError = OSError("the name has no address")
        for index, (family, place) in enumerate(addresses):
            left_s = deadline - time.monotonic()
            share_s = left_s / (len(addresses) - index)
            until = time.monotonic() + min(left_s, max(ADDRESS_S, share_s))
            try:
                sock = self._connect(family, place, until)
            except OSError as failure:
                error = failure
            else:
                return self._secure(sock, deadline) if self._url.tls else sock
        raise BrokerUnreachable(
            f"the broker cannot be reached: {_reason(error)}", thing=str(self._url)
        )

    def _find_addresses(self, deadline: float) -> Addresses:
        if self._look_up is None:
            self._look_up = _LookUp(self._url.host, self._url.port, self._wake)
        look_up = self._look_up
        while not look_up.is_done:
            if time.monotonic() >= deadline:
                # It stays the one look-up: the next attempt waits for the same.
                raise BrokerUnreachable(
                    "the broker's name cannot be looked up: no answer",
                    thing=str(self._url),
                )
            self._pause(deadline)
        self._look_up = None
        if look_up.error is not None:
            raise BrokerUnreachable(
                f"the broker's name cannot be looked up: {_reason(look_up.error)}",
                thing=str(self._url),
            )
        return look_up.addresses

    def _connect(
        self, family: int, place: tuple[object, ...], deadline: float
    ) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                sock.connect(place)
            except BlockingIOError:
                self._pause_for(sock, select.POLLOUT, deadline)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code)) from None
        except BaseException:
            sock.close()
            raise
        return sock

    def _secure(self, plain: socket.socket, deadline: float) -> socket.socket:
        try:
            sock = self._context().wrap_socket(
                plain, server_hostname=self._url.host, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            plain.close()
            raise self._untrusted(error) from error
        try:
            self._shake_hands(sock, deadline)
            self._check_pin(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _context(self) -> ssl.SSLContext:
        if self._pin is None:
            context = context_of(self._ca)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # `_check_pin` decides instead
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _shake_hands(self, sock: ssl.SSLSocket, deadline: float) -> None:
        while True:
            try:
                sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                events = select.POLLIN
            except ssl.SSLWantWriteError:
                events = select.POLLOUT
            except (ssl.SSLError, ssl.CertificateError) as error:
                raise self._untrusted(error) from error
            except OSError as error:
                raise BrokerUnreachable(
                    f"the broker left during the TLS handshake: {_reason(error)}",
                    thing=str(self._url),
                ) from error
            try:
                self._pause_for(sock, events, deadline)
            except TimeoutError:
                raise BrokerUnreachable(
                    "the broker does not answer the TLS handshake",
                    thing=str(self._url),
                ) from None

    def _check_pin(self, sock: ssl.SSLSocket) -> None:
        if self._pin is None:
            return
        certificate = sock.getpeercert(binary_form=True) or b""
        found = hashlib.sha256(certificate).digest()
        if not hmac.compare_digest(found, self._pin):
            raise BrokerTls(
                "the broker's certificate is not the pinned one", thing=str(self._url)
            )

    def _untrusted(self, error: Exception) -> BrokerTls:
        return BrokerTls(
            f"no trusted TLS with the broker: {_reason(error)}", thing=str(self._url)
        )

    def _pause_for(self, sock: socket.socket, events: int, deadline: float) -> None:
        while not self._pause(deadline, sock, events):
            if time.monotonic() >= deadline:
                raise TimeoutError("no answer in time")

    def _pause(
        self, deadline: float, sock: socket.socket | None = None, events: int = 0
    ) -> int:
        ready = self._wake.wait(deadline - time.monotonic(), sock, events)
        if self._is_stopping():
            raise Interrupted
        return ready


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or "failure").replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
