"""The replies on a control connection: cut out of the bytes, and read. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from fonshare_agent.errors import FxpLost
from fonshare_agent.model import printable

LINE_BYTES_MAX: Final = 16 * 1024  # a path of 4096 bytes, quoted in any way
REPLY_LINES_MAX: Final = 1024  # the longest help text has a tenth of that
_PASV: Final = re.compile(rb"(?:\d{1,3},){4}(\d{1,3}),(\d{1,3})")
_EPSV: Final = re.compile(rb"\((.)\1\1(\d{1,5})\1\)")
_PWD: Final = re.compile(rb'"((?:[^"]|"")*)"')


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a server, its lines without the code."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def is_good(self) -> bool:
        return 200 <= self.code < 400

    @property
    def text(self) -> bytes:
        """The last line, which is the one that programs read."""
        return self.lines[-1]

    def __str__(self) -> str:
        return f"{self.code} {printable(self.text).strip()}"


class ReplyReader:
    """Takes bytes, gives whole replies."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._lines: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        return not self._bytes and not self._lines

    def feed(self, raw: bytes) -> None:
        self._bytes += raw

    def find_reply(self) -> Reply | None:
        """Return the next reply if all of it is here; FxpLost if it is none."""
        while (end := self._bytes.find(b"\n")) >= 0:
            line = bytes(self._bytes[:end]).rstrip(b"\r")
            del self._bytes[: end + 1]
            reply = self._take(line)
            if reply is not None:
                return reply
        if len(self._bytes) > LINE_BYTES_MAX:
            raise FxpLost("the server sends an endless line")
        return None

    def _take(self, line: bytes) -> Reply | None:
        if not self._lines:
            if line[:3].isdigit() and len(line) == 3:
                line += b" "  # a code alone is an answer, too
            if not line[:3].isdigit() or line[3:4] not in (b"-", b" "):
                raise FxpLost("the server does not speak FTP", thing=printable(line))
        self._lines.append(line)
        code = self._lines[0][:3]
        if line.startswith(code + b" "):
            # What stands between the first line and the last is told as it came.
            ends = {0, len(self._lines) - 1}
            lines = tuple(
                one[4:] if number in ends else one
                for number, one in enumerate(self._lines)
            )
            self._lines = []
            return Reply(int(code), lines)
        if len(self._lines) > REPLY_LINES_MAX:
            raise FxpLost("the server's answer does not end")
        return None


def find_port(reply: Reply) -> int | None:
    """Return the port that PASV, CPSV or EPSV tells.

    The address beside it could be anybody's: nobody here wants to know it.
    """
    port = 0
    if reply.code == 227 and (found := _PASV.search(reply.text)):
        port = int(found[1]) * 256 + int(found[2])
    elif reply.code == 229 and (found := _EPSV.search(reply.text)):
        port = int(found[2])
    return port if 0 < port < 65536 else None


def find_folder(reply: Reply) -> bytes | None:
    """Return the path that PWD tells."""
    found = _PWD.search(reply.text) if reply.code == 257 else None
    return found[1].replace(b'""', b'"') if found else None


def find_features(reply: Reply) -> dict[str, str]:
    """Return what FEAT names, each with its parameters."""
    found = {}
    for line in reply.lines[1:-1] if reply.code == 211 else ():
        name, _, rest = printable(line.removeprefix(b"211-")).strip().partition(" ")
        found[name.upper()] = rest
    return found
