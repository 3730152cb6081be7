"""Whose certificate counts at a third party's FTP server: authorities', or a pin.

There is no way to skip the check. With a pin neither authority, name nor dates count:
the certificate itself is compared, on control and data connections alike.
"""

import hashlib
import hmac
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from fonshare_agent.authorities import context_of
from fonshare_agent.clock import is_known
from fonshare_agent.errors import (
    ClockUnknown,
    FonshareError,
    FxpCertificate,
    FxpLost,
    FxpUrl,
)

PIN_DIGITS: Final = 64  # SHA-256 in hexadecimal


def read_pin(digits: str) -> bytes:
    """Return the SHA-256 that *digits* are, colons allowed; FxpUrl if they are none."""
    plain = digits.replace(":", "")
    try:
        pin = bytes.fromhex(plain)
    except ValueError:
        pin = b""
    if len(plain) != PIN_DIGITS or len(pin) * 2 != PIN_DIGITS:
        raise FxpUrl("a pin is the SHA-256 of a certificate: 64 hex digits")
    return pin


class Trust:
    """Wraps connections to one server; made by `of_authorities` or `of_pin`."""

    def __init__(
        self,
        context: ssl.SSLContext,
        pin: bytes | None,
        knows_time: Callable[[], bool] = is_known,
    ) -> None:
        self._context, self._pin, self._knows_time = context, pin, knows_time

    @classmethod
    def of_authorities(cls, ca: Path | None) -> Self:
        """Trust whom the system trusts, or who is in the file *ca* and no other."""
        try:
            context = context_of(ca)
        except (OSError, ssl.SSLError) as error:
            raise FxpCertificate(
                f"the file of authorities cannot be used: {error}", thing=str(ca)
            ) from None
        return cls(context, None)

    @classmethod
    def of_pin(cls, digits: str) -> Self:
        """Trust the one certificate whose SHA-256 is *digits*, colons allowed."""
        pin = read_pin(digits)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # compared in `wrap` instead
        return cls(context, pin)

    def wrap(
        self,
        connected: socket.socket,
        host: str,
        name: str,
        control: socket.socket | None = None,
    ) -> ssl.SSLSocket:
        """Shake hands, and demand the right certificate; the time-out is kept.

        *control*: the session's secured control connection; data resumes its TLS
        session, as many servers demand.
        """
        session = control.session if isinstance(control, ssl.SSLSocket) else None
        try:
            secured = self._context.wrap_socket(
                connected, server_hostname=host, session=session
            )
        except ssl.SSLCertVerificationError as error:
            raise self._untrusted(error.verify_message, name) from None
        except OSError as error:
            raise FxpLost(f"no TLS: {error}", thing=name) from None
        shown = secured.getpeercert(binary_form=True) or b""
        if self._pin is not None and not hmac.compare_digest(
            hashlib.sha256(shown).digest(), self._pin
        ):
            secured.close()
            raise FxpCertificate("the certificate is not the pinned one", thing=name)
        return secured

    def missing(self, name: str, said: str) -> FxpCertificate:
        """Return the error for a server that has no TLS."""
        return FxpCertificate(
            f"the server has no TLS: {said}",
            thing=name,
            next="No password was sent. With ftp:// it would be sent in clear.",
        )

    def _untrusted(self, why: str, name: str) -> FonshareError:
        if not self._knows_time():
            return ClockUnknown(
                "the server's certificate cannot be checked before the time is known",
                thing=name,
            )
        return FxpCertificate(f"the certificate cannot be trusted: {why}", thing=name)
