"""A small FTP server in this process, which can be told to behave badly.

Each has a loopback address of its own, notes every command, and needs no root. It is
pyftpdlib's own handler, told to let other servers in, so that what a test changes is
all that differs from a server which allows everything.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler, ThrottledDTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from fonshare_agent.transfer.fxp_server import Login
from fonshare_agent.transfer.fxp_url import ServerUrl

USER, PASSWORD = "owner", "geheim"


@dataclass
class Small:
    """A running server: its disk, and what it was asked."""

    disk: Path
    address: str
    port: int
    asked: list[str] = field(default_factory=list)
    wishes: list[Callable[[], None]] = field(default_factory=list)
    loop: IOLoop | None = None

    def url(self, path: str = "") -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"ftp://{USER}@{host}:{self.port}/{path}"

    def login(self, path: str = "", password: str = PASSWORD) -> Login:
        return Login(ServerUrl.parse(self.url(path)), password, None)

    def put(self, path: str, content: bytes = b"content") -> Path:
        file = self.disk / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def tree(self) -> dict[str, bytes]:
        return {
            str(file.relative_to(self.disk)): file.read_bytes()
            for file in self.disk.rglob("*")
            if file.is_file()
        }

    def asked_for(self, verb: str) -> list[str]:
        return [line for line in self.asked if line.split(" ")[0] == verb]

    def cut(self) -> None:
        """Have every session end in the middle of whatever it does."""
        self.wishes.append(self._cut)

    def _cut(self) -> None:
        assert self.loop is not None
        for one in list(self.loop.socket_map.values()):
            if isinstance(one, FTPHandler | DTPHandler):
                one.close()


@contextlib.contextmanager
def small_server(
    folder: Path,
    address: str,
    *,
    lacks: tuple[str, ...] = (),
    bytes_s: int = 0,
    **changes: Any,
) -> Iterator[Small]:
    """Run a server whose disk is *folder*.

    *lacks*: commands it does not know. *bytes_s*: how fast it reads and writes.
    *changes*: attributes of its handler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loop = IOLoop()
    small = Small(folder, address, 0, loop=loop)
    server = FTPServer((address, 0), _handler(small, lacks, bytes_s, changes), loop)
    small.port = server.address[1]
    ends = threading.Event()

    def serve() -> None:
        while not ends.is_set():
            loop.loop(timeout=0.02, blocking=False)
            while small.wishes:
                small.wishes.pop()()
        server.close_all()

    thread = threading.Thread(target=serve, name=f"small FTP server {address}")
    thread.start()
    try:
        yield small
    finally:
        ends.set()
        thread.join()


def _handler(
    small: Small, lacks: tuple[str, ...], bytes_s: int, changes: dict[str, Any]
) -> type[FTPHandler]:
    rows = FTPHandler.proto_cmds.items()
    known = {verb: row for verb, row in rows if verb not in lacks}
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(small.disk), perm="elradfmwMT")

    class Throttled(ThrottledDTPHandler):
        read_limit = write_limit = bytes_s

    class Handler(FTPHandler):
        permit_foreign_addresses = True
        use_sendfile = not bytes_s
        dtp_handler = Throttled if bytes_s else DTPHandler
        proto_cmds = known

        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            small.asked.append(line)
            super().pre_process_command(line, cmd, arg)

    Handler.authorizer = authorizer
    for name, value in changes.items():
        setattr(Handler, name, value)
    return Handler


def refuses(code: str) -> Callable[[FTPHandler, str], None]:
    """Return a command's method that answers *code* and does nothing."""
    return lambda handler, _line: handler.respond(f"{code} Not here.")
