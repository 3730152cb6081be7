"""The house door beside vsftpd, pure-ftpd and ProFTPD: FTP on loopback, in one run.

    make bench-ftp   (or: python bench/ftp.py [--mib N] [--rounds N] [--json FILE]
    [--only download,upload,small,listing], with tests/ and tools/ on Python's path;
    as root, since those servers chroot)

A file in the page cache is fetched, and one is stored on a tmpfs, so no disk is
measured: plain, and with data connections by TLS. Also 100 small files in one session,
and a listing of 10,000. The servers take turns, in another order each round, and the
median counts. Meanwhile client and server run before all else, or other programs at
work would decide it. FonShare is a real agent.

The client is the same for all and this process: it reads into one buffer of 1 MiB (by
TLS the most that OpenSSL gives at once, a record of 16 KiB), writes by sendfile (by TLS
from memory), and forgets what it has read. What it takes at most is in the table too:
"nobody" is a program of thirty lines that sends, or receives, without FTP or files; for
the small files a hundred connections, for the listing nothing but Python looking at the
folder.
"""

import argparse
import ftplib
import json
import multiprocessing
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import fxp_servers
from ftp_service import make_certificate
from nodes import NodeProcess

ROOT = Path(__file__).resolve().parent.parent
TMPFS = Path("/dev/shm")
MIB = 1 << 20
SMALL_FILES, SMALL_BYTES, LISTED = 100, 10_000, 10_000
TIMEOUT_S = 300.0
BUFFER = memoryview(bytearray(MIB))
OURS, NOBODY = "fonshare", "nobody"


@dataclass
class Ground:
    """What all of them have in common. `file`: the large one of ours."""

    size: int
    file: Path
    pair: tuple[Path, Path]


@contextmanager
def ground_of(size: int) -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(dir=TMPFS) as folder:
        pair = make_certificate(Path(folder), "house")
        yield Ground(size, Path(folder), pair)


@dataclass
class Server:
    """A server that runs, and where its user's files are."""

    name: str
    host: str
    port: int
    user: str
    password: str
    folder: str  # as the client names it
    disk: Path
    pid: int

    def family(self) -> dict[int, float]:
        """The seconds that each of its processes has used: all that it has started."""
        parents: dict[int, int] = {}
        used: dict[int, float] = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):  # not a process, or ended meanwhile
                pid, stat = int(entry.name), (entry / "stat").read_text()
                words = stat.rpartition(")")[2].split()
                parents[pid] = int(words[1])
                used[pid] = sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
        family = {self.pid}
        while more := {pid for pid, of in parents.items() if of in family} - family:
            family |= more
        return {pid: used[pid] for pid in family if pid in used}


class Plain(ftplib.FTP):
    """A client's control connection; `data` gives the other one."""

    def data(self, command: str) -> socket.socket:
        connection = self.transfercmd(command)
        connection.settimeout(None)  # with one, each read is two calls
        return connection


class Secured(ftplib.FTP_TLS):
    """The same by TLS, for data too."""

    def data(self, command: str) -> socket.socket:
        # vsftpd demands of a data connection that it resume the session of this one.
        plain = ftplib.FTP.ntransfercmd(self, command)[0]
        plain.settimeout(None)
        assert isinstance(self.sock, ssl.SSLSocket)
        return self.context.wrap_socket(plain, session=self.sock.session)


# --- what a client does -------------------------------------------------------------


@contextmanager
def session(server: Server, tls: bool) -> Iterator[Plain | Secured]:
    client = Secured(context=_unverified()) if tls else Plain()
    client.encoding = "utf-8"
    client.connect(server.host, server.port, TIMEOUT_S)
    client.login(server.user, server.password)
    if isinstance(client, Secured):
        client.prot_p()
    client.cwd(server.folder)
    client.voidcmd("TYPE I")
    with client:
        yield client


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def drain(connection: socket.socket) -> int:
    total = 0
    while count := connection.recv_into(BUFFER):
        total += count
    return total


def pour(connection: socket.socket, path: Path, size: int) -> None:
    with path.open("rb") as file:
        pour_from(connection, file.fileno(), size)


def pour_from(connection: socket.socket, file: int, size: int) -> None:
    if not isinstance(connection, ssl.SSLSocket):
        offset = 0
        while offset < size:
            offset += os.sendfile(connection.fileno(), file, offset, size - offset)
        return
    content = memoryview(os.pread(file, MIB, 0))
    for _ in range(size // MIB):
        connection.sendall(content)


def end(connection: socket.socket) -> None:
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()
    connection.close()


def fetch(client: Plain | Secured, name: str) -> int:
    connection = client.data(f"RETR {name}")
    total = drain(connection)
    end(connection)
    client.voidresp()
    return total


def store(client: Plain | Secured, name: str, file: Path, size: int) -> None:
    connection = client.data(f"STOR {name}")
    pour(connection, file, size)
    end(connection)
    client.voidresp()


# --- what is measured ---------------------------------------------------------------


@dataclass
class Sample:
    """One round of one server: by the clock, and the server's processors."""

    clock_s: float
    cpu_s: float


def measured(server: Server, act: Callable[[], None]) -> Sample:
    before = server.family()
    with ahead_of_others([os.getpid(), *before]):
        begun = time.monotonic()
        act()
        took = time.monotonic() - begun
    after = server.family()
    return Sample(took, sum(after.values()) - sum(before.values()))


@contextmanager
def ahead_of_others(processes: list[int]) -> Iterator[None]:
    """Run them before whatever else the machine does; for a second or so at a time."""
    threads = [
        int(task.name)
        for pid in processes
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    _schedule(threads, os.SCHED_RR, 1)
    try:
        yield
    finally:
        _schedule(threads, os.SCHED_OTHER, 0)


def _schedule(threads: list[int], policy: int, priority: int) -> None:
    for thread in threads:
        with suppress(OSError):  # it has ended, or this is not for us to say
            os.sched_setscheduler(thread, policy, os.sched_param(priority))


def download(server: Server, tls: bool, size: int, _: Path) -> Sample:
    with session(server, tls) as client:

        def act() -> None:
            assert fetch(client, "large") == size

        return measured(server, act)


def upload(server: Server, tls: bool, size: int, file: Path) -> Sample:
    with session(server, tls) as client:
        sample = measured(server, lambda: store(client, "stored", file, size))
    stored = server.disk / "stored"
    assert stored.stat().st_size == size
    stored.unlink()
    return sample


def small(server: Server, tls: bool, _: int, __: Path) -> Sample:
    with session(server, tls) as client:

        def act() -> None:
            for number in range(SMALL_FILES):
                assert fetch(client, f"small/{number}") == SMALL_BYTES

        return measured(server, act)


def listing(server: Server, tls: bool, _: int, __: Path) -> Sample:
    with session(server, tls) as client:

        def act() -> None:
            connection = client.data("LIST many")
            assert drain(connection) > 10 * LISTED
            end(connection)
            client.voidresp()

        return measured(server, act)


Measure = Callable[[Server, bool, int, Path], Sample]


def rounds(
    servers: list[Server], measure: Measure, ground: "Ground", tls: bool, count: int
) -> dict[str, Sample]:
    """Return the medians by server, and what the client does by itself."""
    samples: dict[str, list[Sample]] = {}
    for number in range(count + 1):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:
            sample = measure(server, tls, ground.size, ground.file)
            if number:  # the first round only warms up
                samples.setdefault(server.name, []).append(sample)
        if measure is listing:
            took = looked_at_s(servers[0].disk / "many")
        elif measure is small:
            took = small_with_nobody_s(tls, ground)
        else:
            took = with_nobody_s(tls, ground, sends=measure is download)
        samples.setdefault(NOBODY, []).append(Sample(took, 0.0))
    return {
        name: Sample(
            statistics.median(one.clock_s for one in of),
            statistics.median(one.cpu_s for one in of),
        )
        for name, of in samples.items()
    }


def with_nobody_s(tls: bool, ground: "Ground", *, sends: bool) -> float:
    """How long this client takes with nothing but a socket at the other end."""
    with nobody(tls, ground, sends=sends) as (port, pid):
        connection = socket.create_connection(("127.0.0.1", port))
        if tls:
            connection = _unverified().wrap_socket(connection)
        with ahead_of_others([os.getpid(), pid]):
            begun = time.monotonic()
            if sends:
                assert drain(connection) == ground.size
            else:
                pour(connection, ground.file, ground.size)
            end(connection)
            return time.monotonic() - begun


def small_with_nobody_s(tls: bool, ground: "Ground") -> float:
    """How long the data connections of small files take by themselves."""
    client, session = _unverified(), None
    with (
        nobody(tls, ground, sends=True, small=SMALL_FILES) as (port, pid),
        ahead_of_others([os.getpid(), pid]),
    ):
        begun = time.monotonic()
        for _ in range(SMALL_FILES):
            connection = socket.create_connection(("127.0.0.1", port))
            if tls:
                connection = client.wrap_socket(connection, session=session)
            assert drain(connection) == SMALL_BYTES
            if isinstance(connection, ssl.SSLSocket):
                session = connection.session
            end(connection)
        return time.monotonic() - begun


def looked_at_s(folder: Path) -> float:
    """How long Python takes to ask for each name in a folder, and for its status."""
    with ahead_of_others([os.getpid()]):
        begun = time.monotonic()
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with os.scandir(number) as found:
            for entry in found:
                entry.stat(follow_symlinks=False)
        os.close(number)
        return time.monotonic() - begun


@contextmanager
def nobody(
    tls: bool, ground: "Ground", *, sends: bool, small: int = 0
) -> Iterator[tuple[int, int]]:
    """A process that only sends bytes, or takes them, to whoever connects: the large
    file, or so many *small* ones."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*ground.pair)
            for _ in range(small or 1):
                connection: socket.socket = listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if tls:
                    connection = context.wrap_socket(connection, server_side=True)
                if small:
                    connection.sendall(bytes(SMALL_BYTES))
                elif sends:
                    pour(connection, ground.file, ground.size)
                else:
                    drain(connection)
                end(connection)

        child = multiprocessing.get_context("fork").Process(target=serve)
        child.start()
        assert child.pid is not None
        yield int(listener.getsockname()[1]), child.pid
        child.join()


# --- the servers --------------------------------------------------------------------


@contextmanager
def everybody(
    place: Path, ground: Ground, measures: Collection[str]
) -> Iterator[list[Server]]:
    """All four, with the same files below *place*."""
    with ExitStack() as stack:
        folder = stack.enter_context(folder_below(place))
        tempfile.tempdir = str(place)  # where third_party makes its folders
        stack.callback(setattr, tempfile, "tempdir", None)
        servers = [ours(stack, folder)]
        for number, kind in enumerate(fxp_servers.KINDS, 2):
            one = stack.enter_context(
                fxp_servers.third_party(kind, f"127.0.0.{number}", pair=ground.pair)
            )
            assert one.child is not None
            servers.append(
                Server(
                    kind,
                    one.address,
                    one.port,
                    one.user,
                    fxp_servers.PASSWORD,
                    "/pub",
                    one.disk,
                    one.child.pid,
                )
            )
        for server in servers:
            fill(server.disk, ground.size, measures)
        yield servers


@contextmanager
def folder_below(place: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def ours(stack: ExitStack, folder: Path) -> Server:
    node = NodeProcess(folder / "node", OURS, "")
    stack.callback(node.stop)
    node.start()
    assert node.process is not None
    port = int(node.settings.read_text().split("  port: ")[1].split()[0])
    disk, pid = node.disk, node.process.pid
    return Server(OURS, "127.0.0.1", port, "owner", "secret", "/", disk, pid)


def fill(disk: Path, size: int, measures: Collection[str]) -> None:
    """Lay there what *measures* need."""
    write_large(disk / "large", size)
    if "small" in measures:
        (disk / "small").mkdir()
        for number in range(SMALL_FILES):
            (disk / "small" / str(number)).write_bytes(os.urandom(SMALL_BYTES))
    if "listing" in measures:
        (disk / "many").mkdir()
        for number in range(LISTED):
            (disk / "many" / f"file number {number:05}.jpg").open("x").close()
    for path in (disk, *disk.iterdir()):
        os.chown(path, fxp_servers.DAEMON, fxp_servers.DAEMON)


def write_large(path: Path, size: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)


@contextmanager
def tmpfs(build: Path) -> Iterator[Path]:
    """A file system in memory, for all that is stored: no disk is measured."""
    with tempfile.TemporaryDirectory(dir=build) as place:
        subprocess.run(["mount", "-t", "tmpfs", "fonshare-bench", place], check=True)
        try:
            Path(place).chmod(0o755)
            yield Path(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


# --- the table ----------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="FTP on loopback, beside others.")
    parser.add_argument("--mib", type=int, default=512, help="of the large file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="download,upload,small,listing")
    default = ROOT / "build" / "bench" / "ftp.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing is left behind
    size, build = options.mib * MIB, ROOT / "build"
    wanted = frozenset(options.only.split(","))
    build.mkdir(exist_ok=True)
    with ground_of(size) as ground, tmpfs(build) as memory:
        rows: dict[str, dict[str, Sample]] = {}
        for place, measures in (
            (build, {"download": download, "small": small}),
            (memory, {"upload": upload, "listing": listing}),
        ):
            kept = {name: one for name, one in measures.items() if name in wanted}
            if kept:
                rows |= on(place, ground, options.rounds, **kept)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    plain = {row: {n: vars(one) for n, one in of.items()} for row, of in rows.items()}
    options.json.write_text(json.dumps(plain, indent=1) + "\n")


def on(
    place: Path, ground: Ground, count: int, **measures: Measure
) -> dict[str, dict[str, Sample]]:
    """Return the medians by row and server, all files being below *place*."""
    rows: dict[str, dict[str, Sample]] = {}
    with everybody(place, ground, measures) as servers:
        # Sending from a tmpfs is slower: what "nobody" sends lies where the others' is.
        ground = replace(ground, file=servers[0].disk / "large")
        for name, measure in measures.items():
            for tls in (False, True):
                row = f"{name}, TLS" if tls else name
                rows[row] = rounds(servers, measure, ground, tls, count)
                show(row, rows[row], ground.size)
    return rows


def show(row: str, medians: dict[str, Sample], size: int) -> None:
    mib = size / MIB if row.startswith(("download", "upload")) else 0
    print(f"\n{row}: {'MiB a second' if mib else 'ms'}, CPU s of the server a GiB")
    best = min(medians[kind].clock_s for kind in fxp_servers.KINDS)
    for name, one in medians.items():
        value = mib / one.clock_s if mib else 1000 * one.clock_s
        cpu = f"{one.cpu_s * 1024 / mib:>8.2f}" if mib and one.cpu_s else " " * 8
        print(f"  {name:<12}{value:>8.0f}{cpu}   / best of C: {best / one.clock_s:.2f}")


if __name__ == "__main__":
    main()
