"""A Mosquitto of a test's own, and clients made of plain sockets to look at it.

The clients speak the little MQTT 3.1.1 they need themselves, so that what a test sees
does not depend on the library under test.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from waiting import PATIENCE_S, wait_until

SEARCH_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin"  # Debian's place
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE = 1, 2, 3, 4, 8


class Seen(NamedTuple):
    """A message as an outsider sees it."""

    topic: str
    payload: bytes
    retained: bool


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A broker's certificate and key, and the CA that signed it (PEM files)."""

    ca: Path
    certificate: Path
    key: Path


class Mosquitto:
    """A broker on a loopback port, as a child with a configuration of its own."""

    def __init__(
        self,
        folder: Path,
        login: Login | None = None,
        tls: TlsFiles | None = None,
        persistence: bool = False,
        extra: str = "",
        address: str = "127.0.0.1",
    ) -> None:
        self.folder, self.login, self.tls = folder, login, tls
        self.address = address
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._log = folder / "mosquitto.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._write_configuration(persistence, extra)

    @property
    def url(self) -> str:
        scheme = "mqtts" if self.tls else "mqtt"
        login = f"{self.login.user}:{self.login.password}@" if self.login else ""
        return f"{scheme}://{login}{self.address}:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def store(self) -> bytes:
        """What the broker has on its disk; only after `stop` is it complete."""
        return (self.folder / "mosquitto.db").read_bytes()

    def start(self) -> Self:
        """Start, or start again on the same port; returns once it accepts."""
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command(), stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        wait_until(self._accepts, "the broker accepts connections")
        return self

    def stop(self) -> None:
        """End the broker as a service manager does; it writes its store."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """End the broker as a power cut does."""
        self._end(subprocess.Popen.kill)

    def _end(self, how: Callable[["subprocess.Popen[bytes]"], None]) -> None:
        if self._child is not None:
            how(self._child)
            self._child.wait(PATIENCE_S)
            if self._child.stdin:
                self._child.stdin.close()
            self._child = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def connect(self) -> "PlainClient":
        """Return a client that is connected; close it."""
        return PlainClient(self.port, self.login)

    @contextmanager
    def observe(self, topic: str = "#") -> Iterator["Observer"]:
        """Record every message on *topic* while the block runs, retained ones first."""
        observer = Observer(self.connect(), topic)
        try:
            yield observer
        finally:
            observer.close()

    def retained(self) -> dict[str, bytes]:
        """Return what a newcomer would be given: the retained message of each topic."""
        with self.observe() as observer:
            observer.catch_up()
            return {seen.topic: seen.payload for seen in observer.seen if seen.retained}

    def _command(self) -> list[str | Path]:
        program = shutil.which("mosquitto", path=SEARCH_PATH)
        assert program, "mosquitto is missing: apt-get install mosquitto"
        return [program, "-c", self.folder / "mosquitto.conf"]

    def _accepts(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, f"the broker ended: {self.log}"
        try:
            socket.create_connection((self.address, self.port), 1).close()
        except OSError:
            return False
        return True

    def _write_configuration(self, persistence: bool, extra: str) -> None:
        lines = [f"listener {self.port} {self.address}", "set_tcp_nodelay true"]
        lines += ["log_dest stderr", f"allow_anonymous {_word(self.login is None)}"]
        if os.geteuid() == 0:
            lines.append("user root")  # else it could not read the test's folder
        if self.login:
            passwords = self.folder / "passwords"
            subprocess.run(
                ["mosquitto_passwd", "-b", "-c", passwords, *_pair(self.login)],
                check=True,
                capture_output=True,
            )
            lines.append(f"password_file {passwords}")
        if self.tls:
            lines += [f"certfile {self.tls.certificate}", f"keyfile {self.tls.key}"]
        lines.append(f"persistence {_word(persistence)}")
        if persistence:
            lines.append(f"persistence_location {self.folder}/")
        text = "\n".join([*lines, extra, ""])
        (self.folder / "mosquitto.conf").write_text(text)


class EmbeddedBroker(Mosquitto):
    """The broker of machines without Mosquitto, tools/embedded_broker.py."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def _command(self) -> list[str | Path]:
        script = Path(__file__).parent.parent / "tools" / "embedded_broker.py"
        return [sys.executable, script, str(self.port)]


class PlainClient:
    """As much of an MQTT 3.1.1 client as tests need, on a plain blocking socket."""

    def __init__(self, port: int, login: Login | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        flags = 0x02 | (0xC0 if login else 0)
        body = _text("MQTT") + bytes([4, flags, 0x70, 0])  # eight hours without a ping
        body += _text("t" + os.urandom(8).hex())
        if login:
            body += _text(login.user) + _text(login.password)
        self.send(CONNECT << 4, body)
        kind, answer = self.receive()
        assert (kind >> 4, answer[1:]) == (CONNACK, b"\0"), f"not let in: {answer!r}"

    def send(self, head: int, body: bytes) -> None:
        write_packet(self.socket, head, body)

    def receive(self) -> tuple[int, bytes]:
        """Return the next packet's first byte and body; EOFError when there is none."""
        return read_packet(self.socket)

    def subscribe(self, topic: str) -> None:
        self.send(SUBSCRIBE << 4 | 2, b"\0\1" + _text(topic) + b"\0")

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Send with QoS 0: what follows on this connection comes later."""
        self.send(PUBLISH << 4 | retain, _text(topic) + payload)

    def publish_stream(self, topic: str, size: int, retain: bool = False) -> None:
        """Publish *size* zero bytes without holding them, and wait for the broker."""
        head = _text(topic) + b"\0\7"
        self.socket.sendall(
            bytes([PUBLISH << 4 | 2 | retain]) + _length(len(head) + size) + head
        )
        piece = bytes(1 << 20)
        for start in range(0, size, len(piece)):
            self.socket.sendall(piece[: size - start])
        kind, number = self.receive()
        assert (kind >> 4, number) == (PUBACK, b"\0\7")

    def close(self) -> None:
        self.socket.close()


class Observer:
    """Records all messages on a topic filter, in order, on a thread of its own."""

    def __init__(self, client: PlainClient, topic: str) -> None:
        self.seen: list[Seen] = []
        self._marks: set[str] = set()
        self._client = client
        client.socket.settimeout(None)
        client.subscribe(topic)
        client.subscribe("observer/#")
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()
        self.catch_up()

    def catch_up(self) -> None:
        """Wait until all that the broker had for us before this call is recorded."""
        mark = "observer/" + os.urandom(8).hex()
        self._client.publish(mark, b"")
        wait_until(lambda: mark in self._marks, "the observer's mark")

    def close(self) -> None:
        self._client.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        self._client.close()

    def _record(self) -> None:
        while True:
            try:
                head, body = self._client.receive()
            except (OSError, EOFError):
                return
            if head >> 4 != PUBLISH:
                continue
            end = 2 + int.from_bytes(body[:2], "big")
            topic = body[2:end].decode()
            if topic.startswith("observer/"):
                self._marks.add(topic)
            else:
                self.seen.append(Seen(topic, body[end:], bool(head & 1)))


def _word(yes: bool) -> str:
    return "true" if yes else "false"


def _pair(login: Login) -> tuple[str, str]:
    return login.user, login.password


def _text(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def _length(length: int) -> bytes:
    coded = b""
    while True:
        length, byte = length >> 7, length & 0x7F
        coded += bytes([byte | (0x80 if length else 0)])
        if not length:
            return coded


class Listener:
    """A scripted broker: runs *script* for each connection until `close`."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._script = script
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break all connections at once, as a dead line does."""
        connections, self._open = self._open, []
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._play, args=[connection], daemon=True).start()

    def _play(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError):
            self._script(connection)


def relay_to(port: int) -> Callable[[socket.socket], None]:
    """Return a Listener's script that joins each connection to 127.0.0.1:*port*."""

    def relay(near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join(PATIENCE_S)

    return relay


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def read_packet(sock: socket.socket) -> tuple[int, bytes]:
    """Return the first byte and the body of the next packet on *sock*."""
    head, length = _exactly(sock, 1)[0], 0
    for place in range(4):
        byte = _exactly(sock, 1)[0]
        length |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            break
    return head, _exactly(sock, length)


def write_packet(sock: socket.socket, head: int, body: bytes) -> None:
    sock.sendall(bytes([head]) + _length(len(body)) + body)


def accept_login(sock: socket.socket) -> bytes:
    """Take CONNECT, say yes, and return CONNECT's body."""
    head, body = read_packet(sock)
    assert head >> 4 == CONNECT
    write_packet(sock, CONNACK << 4, b"\0\0")
    return body


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(min(count - len(data), 1 << 20))
        if not piece:
            raise EOFError("the connection is closed")
        data += piece
    return bytes(data)
