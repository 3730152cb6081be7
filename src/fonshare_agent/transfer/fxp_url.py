"""The address of a third party's FTP server: ftp://USER@HOST:PORT/PATH. Pure.

`ftps://` and `ftpes://` both mean explicit TLS: the port is FTP's own, and AUTH TLS
comes before the login. A password in it is refused: a command line can be read by every
process of the machine. Everything after the host is the path; only `%XX` is special
there, so `#`, `?` and spaces need no care beyond the shell's.
"""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, unquote_to_bytes

from fonshare_agent.errors import FxpUrl
from fonshare_agent.model import PATH_BYTES_MAX

SCHEMES: Final = {"ftp": False, "ftps": True, "ftpes": True}
DEFAULT_PORT: Final = 21
LOGIN_BYTES_MAX: Final = 255  # far above any server's accounts
_URL: Final = re.compile(r"([A-Za-z]+)://([^/]*)(?:/(.*))?", re.DOTALL)
_PLACE: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A file or folder at a server. `path` is relative to where the login begins."""

    tls: bool
    host: str
    port: int
    user: str | None
    path: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what *text* names, or raise FxpUrl saying why it names nothing.

        The complaint never repeats the text: it may hold a password.
        """
        found = _URL.fullmatch(text)
        if found is None or found[1].lower() not in SCHEMES:
            raise FxpUrl("a server's URL begins with ftp://, ftps:// or ftpes://")
        login, at, place = found[2].rpartition("@")
        host, port = _parse_place(place)
        user = _parse_user(login) if at else None
        path = _unquote(found[3] or "", "path")
        if len(path) > PATH_BYTES_MAX:
            raise FxpUrl(f"the path of the URL is longer than {PATH_BYTES_MAX} bytes")
        if any(byte in path for byte in b"\r\n\0"):
            raise FxpUrl("FTP cannot name a path with a line break or NUL in it")
        return cls(SCHEMES[found[1].lower()], host, port, user, path)

    @property
    def names_a_folder(self) -> bool:
        return self.path == b"" or self.path.endswith(b"/")

    @property
    def server(self) -> str:
        """The server alone, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        scheme = "ftps" if self.tls else "ftp"
        login = f"{quote(self.user, safe='')}@" if self.user is not None else ""
        return f"{scheme}://{login}{self.server}/{quote(self.path, safe='/')}"


def _parse_place(text: str) -> tuple[str, int]:
    found = _PLACE.fullmatch(text)
    if found is None:
        raise FxpUrl("the URL names a host, or [IPv6] in brackets, and maybe a :PORT")
    port = int(found[3] or DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise FxpUrl("the port of the URL is a number from 1 to 65535")
    return found[1] or found[2], port


def _parse_user(text: str) -> str:
    user, colon, _ = text.partition(":")
    if colon:
        raise FxpUrl(
            "the URL holds a password, which others on this machine could read",
            next="Leave it out: it is asked for, or read from `--passwords FILE`.",
        )
    if "@" in user or not user:
        raise FxpUrl("the URL names a user before the @; an @ in it is written %40")
    plain = _unquote(user, "user")
    if len(plain) > LOGIN_BYTES_MAX or any(byte in plain for byte in b"\r\n\0"):
        raise FxpUrl("the user of the URL is too long, or holds a line break")
    return plain.decode("utf-8", "surrogateescape")


def _unquote(text: str, what: str) -> bytes:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise FxpUrl(f"a % in the URL's {what} is written %25")
    try:
        # Each byte that is not UTF-8 came from argv as a lone surrogate.
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise FxpUrl(f"the URL's {what} holds what no name can") from None
