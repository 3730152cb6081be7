"""A running FtpService over a temporary disk, and how the tests talk to it."""

import contextlib
import ftplib
import io
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fonshare_agent.errors import DiskMissing
from fonshare_agent.ftp.accounts import Account, Verify
from fonshare_agent.ftp.flow import Throttle
from fonshare_agent.ftp.server import FtpOptions, FtpService
from fonshare_agent.ftp.tickets import Ticket, TicketDesk
from waiting import PATIENCE_S

OWNER, GUEST = ("owner", "geheim"), ("guest", "any")


def make_certificate(folder: Path, name: str, kind: str = "ec") -> tuple[Path, Path]:
    """Make a self-signed certificate; return its file and its key's."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    curve = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else []
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", kind, *curve]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run(
        [*command, *files, "-subj", "/CN=fonshare", "-days", "3650"],
        check=True,
        capture_output=True,
    )
    return certificate, key


def certificate_der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


@dataclass
class Served:
    """What a test holds of a running service."""

    service: FtpService
    desk: TicketDesk
    disk: Path
    changes: list[tuple[bytes, str]]
    now: list[float] = field(default_factory=lambda: [0.0])
    is_missing: list[bool] = field(default_factory=lambda: [False])
    forbidden: set[bytes] = field(default_factory=set)

    def login(
        self, user: tuple[str, str] = OWNER, *, tls: ssl.SSLContext | None = None
    ) -> ftplib.FTP:
        ftp = ftplib.FTP_TLS(context=tls) if tls else ftplib.FTP()
        ftp.connect("127.0.0.1", self.service.house_port, timeout=PATIENCE_S)
        ftp.encoding = "utf-8"
        ftp.login(*user)
        if isinstance(ftp, ftplib.FTP_TLS):
            ftp.prot_p()
        return ftp

    def raw(self, port: int | None = None) -> "Lines":
        return Lines(port or self.service.house_port)


class Lines:
    """A control connection on which the test writes every byte itself."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", port), PATIENCE_S, source_address=(source, 0)
        )
        self._file = self.socket.makefile("rb")

    def secure(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket)
        self._file = self.socket.makefile("rb")

    def send(self, *lines: str | bytes) -> None:
        raw = [line.encode() if isinstance(line, str) else line for line in lines]
        self.socket.sendall(b"".join(line + b"\r\n" for line in raw))

    def reply(self) -> str:
        """Return the next reply, its lines joined; empty at the end."""
        lines = [self._line()]
        if lines[0][3:4] == "-":
            while not lines[-1].startswith(lines[0][:3] + " "):
                lines.append(self._line())
        return "\n".join(lines)

    def ask(self, line: str | bytes) -> str:
        self.send(line)
        return self.reply()

    def code(self, line: str | bytes) -> str:
        return self.ask(line)[:3]

    def is_closed(self) -> bool:
        """Wait for the server's end of the connection."""
        try:
            return self._file.read(1) == b""
        except OSError:
            return True

    def epsv(self) -> int:
        reply = self.ask("EPSV")
        assert reply.startswith("229"), reply
        return int(reply.split("|")[3])

    def data(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(
            ("127.0.0.1", self.epsv()), PATIENCE_S, source_address=(source, 0)
        )

    def login(self, user: tuple[str, str] = OWNER) -> "Lines":
        assert self.reply().startswith("220")
        assert self.code(f"USER {user[0]}") == "331"
        assert self.code(f"PASS {user[1]}") == "230"
        return self

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def _line(self) -> str:
        return self._file.readline().decode("utf-8", "surrogateescape").rstrip("\r\n")


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    throttle: Throttle | None = None,
    friends: Any = None,
    verify: Verify = str.__eq__,
    **options: Any,
) -> Iterator[Served]:
    """Run a service whose disk is *folder*/disk; *friends* gives the friends' tree."""
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    changes: list[tuple[bytes, str]] = []
    now, is_missing = [0.0], [False]
    forbidden: set[bytes] = set()

    def check() -> None:
        if is_missing[0]:
            raise DiskMissing("the disk is not there")

    def is_allowed(ticket: Ticket) -> bool:
        return ticket.id not in forbidden

    desk = TicketDesk(lambda: now[0], is_allowed)
    settings: dict[str, Any] = {
        "disk": disk,
        "address": "127.0.0.1",
        "users": (Account("owner", "geheim", "write"), Account("guest", "", "read")),
        "failed_login_delay_s": 0.05,
    }
    service = FtpService(
        FtpOptions(**(settings | options)),
        verify=verify,
        disk_check=check,
        desk=desk,
        on_change=lambda path, kind: changes.append((path, kind)),
        throttle=throttle,
        friends=friends,
    )
    service.start()
    try:
        yield Served(service, desk, disk, changes, now, is_missing, forbidden)
    finally:
        service.stop()


def fetch(ftp: ftplib.FTP, name: str, rest: int | None = None) -> bytes:
    into = io.BytesIO()
    ftp.retrbinary(f"RETR {name}", into.write, rest=rest)
    return into.getvalue()


def store(ftp: ftplib.FTP, name: str, content: bytes, rest: int | None = None) -> str:
    return ftp.storbinary(f"STOR {name}", io.BytesIO(content), rest=rest)


def uploads_aside(disk: Path) -> list[str]:
    """Return what lies in the hidden upload folder."""
    folder = disk / ".fonshare" / "upload"
    return os.listdir(folder) if folder.is_dir() else []


def size_aside(disk: Path) -> int:
    """Return how many bytes lie in the hidden upload folder."""
    folder = disk / ".fonshare" / "upload"
    return sum((folder / name).stat().st_size for name in uploads_aside(disk))
