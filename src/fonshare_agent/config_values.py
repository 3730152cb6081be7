"""The types of settings: for each, its UCI datatype, what is allowed, how it is read.

A reader takes what the file said (a YAML scalar, or a UCI text already turned into a
number where the type wants one) and returns the value, or raises Refused. The message
of Refused never holds the value of a secret; config_check.py adds the option's name.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from fonshare_agent.model import LABEL_BYTES_MAX, is_label

PORT_MAX = 65535
SHOWN_MAX = 60  # characters of a wrong value repeated in a complaint
HOST_MAX = 253  # RFC 1035, as text
PIN_BYTES = 32  # SHA-256
TRUE_WORDS = ("1", "yes", "on", "true", "enabled")  # as libuci reads booleans
FALSE_WORDS = ("0", "no", "off", "false", "disabled")
HOUSE_WORDS = ("loopback", "lan")
LOOPBACK = ("127.0.0.0/8", "::1/128")
BROKER_SCHEMES = {"mqtt": 1883, "mqtts": 8883}

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")
_TIME = re.compile(r"([0-9]{1,2})(?::([0-5][0-9]))?\Z", re.ASCII)
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")


class Refused(Exception):
    """A value that its option cannot take; the text says what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of setting."""

    uci: str  # a datatype of uci_load_validate
    allowed: str  # ends the sentence "allowed: ..."
    read: Callable[[object], Any]
    is_number: bool = False
    is_list: bool = False
    is_secret: bool = False


def name_shape(value: object) -> str:
    """Return what sort of thing *value* is, without what it says: it may be a secret
    that stands where a section should."""
    if value is None:
        return "nothing"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a section"
    return "text" if isinstance(value, str) else "a number or a truth value"


def shown(value: object) -> str:
    """Return *value* as a complaint repeats it: short, printable, never a structure."""
    if value is None or isinstance(value, (list, dict)):
        return name_shape(value)
    if isinstance(value, bool):
        return str(value).lower()
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def decimal(text: str) -> int | None:
    """Return the number that *text* plainly is; None for octal, signs and spaces."""
    return int(text) if _DECIMAL.match(text) else None


# --- readers ---------------------------------------------------------------------


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        raise Refused(f"must be text, and {shown(value)} is not: put it in quotes")
    raise Refused(f"must be text, not {shown(value)}")


def _filled(value: object) -> str:
    text = _text(value)
    if not text:
        raise Refused("is empty")
    return text


def _number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, str):
            hint = "a plain decimal number without quotes or leading zeros"
            raise Refused(f"must be {hint}, not the text {shown(value)}")
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused(f"must be a whole number, not {shown(value)}")
        if not least <= value <= most:
            raise Refused(f"is {shown(value)}")
        return value

    return read


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else str(value)
    if isinstance(value, (str, int)) and word in TRUE_WORDS + FALSE_WORDS:
        return word in TRUE_WORDS
    raise Refused(f"must be yes or no, not {shown(value)}")


def _label(value: object) -> str:
    text = _filled(value)
    if not is_label(text):
        raise Refused(f"is {shown(text)}")
    return text


def _login(value: object) -> str:
    text = _label(value)
    if " " in text:
        raise Refused(f"is {shown(text)}")
    return text


def _path(value: object) -> str:
    text = _filled(value)
    if "\0" in text:
        raise Refused("holds a NUL character")
    return text


def _choice(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value is False and "off" in words:
            return "off"  # a YAML false where the word off is one of the choices
        text = _text(value)
        if text not in words:
            raise Refused(f"is {shown(text)}")
        return text

    return read


def _address(value: object) -> str:
    text = _filled(value)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Refused(f"is {shown(text)}") from None


def _range(value: object) -> tuple[int, int]:
    if isinstance(value, int):
        raise Refused(f"is {shown(value)}")
    first, dash, last = _filled(value).partition("-")
    low, high = decimal(first.strip()), decimal(last.strip())
    if not dash or low is None or high is None:
        raise Refused(f"is {shown(value)}")
    if not 1024 <= low <= high <= PORT_MAX:
        raise Refused(f"is {shown(value)}")
    return low, high


def _hours(value: object) -> tuple[int, int] | None:
    """Return minutes of the day, None for all of it."""
    text = _filled(value)
    first, dash, end = text.partition("-")
    low, high = _minute(first.strip()), _minute(end.strip())
    if not dash or low is None or high is None or low == high:
        raise Refused(f"is {shown(text)}")
    return None if (low, high) == (0, 1440) else (low, high)


def _minute(text: str) -> int | None:
    found = _TIME.match(text)
    if found is None:
        return None
    minute = int(found[1]) * 60 + int(found[2] or 0)
    return minute if minute <= 1440 else None


def _host(value: object) -> str:
    text = _text(value)
    if text and not is_host(text):
        raise Refused(f"is {shown(text)}")
    return text


def is_host(text: str) -> bool:
    """Tell whether *text* is an IP address or a host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        return len(text) <= HOST_MAX and all(map(_HOST_LABEL.match, labels))
    return True


def _hosts(value: object) -> tuple[str, ...]:
    found = _list(value, "names")
    for text in found:
        if not is_host(text):
            raise Refused(f"holds {shown(text)}")
    return tuple(dict.fromkeys(found))


def _pin(value: object) -> bytes:
    try:
        raw = bytes.fromhex(_filled(value).replace(":", ""))
    except ValueError:
        raise Refused("is not hexadecimal") from None
    if len(raw) != PIN_BYTES:
        raise Refused(f"has {len(raw)} bytes")
    return raw


def _houses(value: object) -> tuple[str, ...]:
    """Return networks in their one spelling, and the word lan if it was there."""
    found: list[str] = []
    for text in _list(value, "networks"):
        if text == "loopback":
            found.extend(LOOPBACK)
        elif text == "lan":
            found.append(text)
        else:
            found.append(_network(text))
    return tuple(dict.fromkeys(found))


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise Refused(f"holds {shown(text)}: {shown(str(error))}") from None


def _paths(value: object) -> tuple[str, ...]:
    return tuple(_path(text) for text in _list(value, "folders"))


def _labels(value: object) -> tuple[str, ...]:
    found = _list(value, "names")
    for text in found:
        if not is_label(text):
            raise Refused(f"holds {shown(text)}")
    return tuple(dict.fromkeys(found))


def _list(value: object, what: str) -> list[str]:
    if not isinstance(value, list):
        raise Refused(f"must be a list of {what}, not {shown(value)}")
    return [_filled(item) for item in value]


# --- brokers -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class BrokerUrl:
    """A broker's address taken apart; user and password are percent-decoded."""

    text: str
    tls: bool
    host: str
    port: int
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"BrokerUrl({redact_url(self.text)!r})"


def parse_broker(text: str) -> BrokerUrl:
    """Return the broker that *text* names, or raise Refused without the password."""
    if not text.isprintable() or " " in text or "\\" in text:
        raise Refused("holds a space or a character that no address has")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("is not an address: its host or port cannot be read") from None
    if parts.scheme not in BROKER_SCHEMES:
        raise Refused("does not begin with mqtt:// or mqtts://")
    if not host or not is_host(host):
        raise Refused("names no host")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Refused("holds more than user, password, host and port")
    if port == 0:
        raise Refused("names port 0")
    return BrokerUrl(
        text=text,
        tls=parts.scheme == "mqtts",
        host=host,
        port=port or BROKER_SCHEMES[parts.scheme],
        user=_decoded(parts.username),
        password=_decoded(parts.password),
    )


def _decoded(part: str | None) -> str | None:
    try:
        return None if part is None else unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise Refused("has a user or password that is not UTF-8 when decoded") from None


def redact_url(text: str) -> str:
    """Return *text* without what stands between :// and @ after the user's name."""
    scheme, separator, rest = text.partition("://")
    login, at, host = rest.rpartition("@")
    if not at:
        return text
    return f"{scheme}{separator}{login.partition(':')[0]}:***@{host}"


def _broker(value: object) -> str:
    text = _text(value)
    return parse_broker(text).text if text else ""


# --- the types -----------------------------------------------------------------------


def number(least: int, most: int, unit: str = "") -> Kind:
    """Return the type of whole numbers from *least* to *most*."""
    allowed = f"a whole number from {least} to {most}"
    if unit:
        allowed = f"a whole number from {least} to {most} ({unit})"
    uci = f"range({least},{most})"
    return Kind(uci, allowed, _number(least, most), is_number=True)


def choice(*words: str) -> Kind:
    """Return the type whose values are *words*."""
    uci = "or(" + ",".join(f'"{word}"' for word in words) + ")"
    return Kind(uci, " or ".join(words), _choice(*words))


def _kind(uci: str, allowed: str, read: object, **flags: bool) -> Kind:
    return Kind(uci, allowed, cast(Callable[[object], Any], read), **flags)


BOOL = _kind("bool", "yes or no", _bool)
PORT = Kind("port", f"a port from 1 to {PORT_MAX}", _number(1, PORT_MAX), True)
PORT_RANGE = _kind(
    "portrange", f"FIRST-LAST, ports from 1024 to {PORT_MAX}, as 30000-30009", _range
)
HOURS = _kind(
    "string",
    "FIRST-END, times from 0:00 to 24:00, as 1-6, 23-7 or 22:30-06:45",
    _hours,
)
LABEL = _kind(
    "string",
    f"a name of at most {LABEL_BYTES_MAX} bytes, printable, without `/` and without "
    "spaces at its ends",
    _label,
)
LOGIN = _kind("string", "a name as of a share, without spaces", _login)
PATH = _kind("string", "a folder's or file's path", _path)
ADDRESS = _kind("ipaddr", "an IPv4 or IPv6 address; `::` means all", _address)
HOST = _kind("host", "a host name or an IP address, or nothing", _host)
HOSTS = _kind("list(host)", "a list of host names", _hosts, is_list=True)
PIN = _kind("string", "the SHA-256 of a certificate, 64 hexadecimal digits", _pin)
PASSWORD = _kind("string", "text, or a scrypt hash", _text, is_secret=True)
BROKER = _kind(
    "string",
    "mqtt://[user:password@]host[:port] or mqtts://..., or nothing; a user or password "
    "with special characters is percent-encoded",
    _broker,
    is_secret=True,
)
HOUSES = _kind(
    "list(string)",
    "a list of networks such as 192.168.1.0/24 or fd00::/64, and the words "
    + " and ".join(f"`{word}`" for word in HOUSE_WORDS),
    _houses,
    is_list=True,
)
FOLDERS = _kind(
    "list(string)", "a list of folders below the disk", _paths, is_list=True
)
LABELS = _kind("list(string)", "a list of group names", _labels, is_list=True)
