"""A broker's address: mqtt://USER:PASSWORD@HOST:PORT?ca=FILE&pin=SHA256. Pure.

User and password are percent-decoded. `str` and `repr` never show the password, so a
BrokerUrl may be put into any message; only `encode` writes everything, for settings,
invite codes and the roster. `ca` names a file of this node: never follow one that came
from elsewhere (`without_ca`).
"""

import re
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote_to_bytes, urlsplit

from fonshare_agent.errors import BadBrokerUrl

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
URL_CHARS_MAX = 1024  # it travels in invite codes and rosters
LOGIN_BYTES_MAX = 255  # far above any broker's accounts, far below MQTT's 65535
PIN_BYTES = 32  # SHA-256
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9._-]{1,15})?")


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Where a broker listens and how to log in there."""

    tls: bool
    host: str
    port: int
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    pin: bytes | None = None  # SHA-256 of the broker's certificate (DER)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that *text* names, or raise BadBrokerUrl saying why not.

        The complaint never repeats the text: it may hold a password.
        """
        if len(text) > URL_CHARS_MAX:
            raise BadBrokerUrl(f"a broker URL has at most {URL_CHARS_MAX} characters")
        if not text.isprintable() or " " in text:
            raise BadBrokerUrl("a broker URL has no spaces or control characters")
        try:
            parts = urlsplit(text)
        except ValueError:
            raise BadBrokerUrl("the host of the broker URL is malformed") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise BadBrokerUrl("a broker URL begins with mqtt:// or mqtts://")
        if parts.path not in ("", "/") or parts.fragment:
            raise BadBrokerUrl("a broker URL has nothing after HOST:PORT but options")
        user, password = _parse_login(parts)
        ca, pin = _parse_options(parts)
        host, port = _parse_place(parts)
        return cls(parts.scheme == "mqtts", host, port, user, password, ca, pin)

    def encode(self) -> str:
        """Return the URL with everything in it; `parse` takes it back unchanged."""
        login = ""
        if self.user is not None:
            login = quote(self.user, safe="")
            if self.password is not None:
                login += ":" + quote(self.password, safe="")
            login += "@"
        options = []
        if self.ca is not None:
            options.append("ca=" + quote(self.ca, safe="/"))
        if self.pin is not None:
            options.append("pin=" + self.pin.hex())
        return self._text(login) + ("?" + "&".join(options) if options else "")

    def without_ca(self) -> Self:
        """Return the address without a file of the node that wrote it."""
        return replace(self, ca=None)

    def __str__(self) -> str:
        return self._text("…@" if self.user is not None else "")

    def __repr__(self) -> str:
        return f"<BrokerUrl {self}>"

    def _text(self, login: str) -> str:
        scheme = "mqtts" if self.tls else "mqtt"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{login}{host}{port}"


def _parse_place(parts: SplitResult) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        # urlsplit takes "host:" for "no port"; nobody means that.
        port = 0 if parts.netloc.endswith(":") else DEFAULT_PORTS[parts.scheme]
    if not 1 <= port <= 65535:
        raise BadBrokerUrl("the port of a broker URL is a number from 1 to 65535")
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or ".." in host:
        raise BadBrokerUrl("a broker URL names a host: a name, or [IPv6] in brackets")
    return host, port


def _parse_login(parts: SplitResult) -> tuple[str | None, str | None]:
    login, at, _ = parts.netloc.rpartition("@")
    if not at:
        return None, None
    if "@" in login:
        raise BadBrokerUrl("an @ in the broker's user or password is written %40")
    user, colon, password = login.partition(":")
    if not user:
        # MQTT 3.1.1 [3.1.2-22]: no password without a user name.
        raise BadBrokerUrl("the broker URL has a password but no user")
    return _unquote(user, "user"), _unquote(password, "password") if colon else None


def _unquote(text: str, what: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise BadBrokerUrl(f"a % in the broker's {what} is written %25")
    try:
        plain = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise BadBrokerUrl(f"the broker's {what} is not UTF-8") from None
    if "\0" in plain or len(plain.encode("utf-8")) > LOGIN_BYTES_MAX:
        raise BadBrokerUrl(
            f"the broker's {what} has at most {LOGIN_BYTES_MAX} bytes and no NUL"
        )
    return plain


def _parse_options(parts: SplitResult) -> tuple[str | None, bytes | None]:
    try:
        pairs = parse_qsl(parts.query, True, True, errors="strict")
    except ValueError:
        raise BadBrokerUrl(
            "the options of a broker URL are ca=FILE and pin=HEX"
        ) from None
    options = dict(pairs)
    if len(options) != len(pairs) or not options.keys() <= {"ca", "pin"}:
        raise BadBrokerUrl("the options of a broker URL are ca=FILE and pin=HEX, once")
    if options and parts.scheme != "mqtts":
        raise BadBrokerUrl("ca and pin need an mqtts:// URL: mqtt:// is not encrypted")
    ca = options.get("ca")
    if ca is not None and (not ca or "\0" in ca):
        raise BadBrokerUrl("ca= names a file")
    return ca, parse_pin(options["pin"]) if "pin" in options else None


def parse_pin(text: str) -> bytes:
    """Return the SHA-256 that *text* shows in hexadecimal, colons allowed."""
    digits = text.replace(":", "")
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        raise BadBrokerUrl("a pin is the SHA-256 of a certificate: 64 hex digits")
    return bytes.fromhex(digits)
