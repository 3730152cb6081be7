"""Where the house door's time goes, for small files and for a listing.

    python bench/ftp_parts.py [--rounds N], with tests/ and tools/ on Python's path; as
    root, to run before all other programs (ftp.py)

One client fetches the same small files from servers that do less and less of what
FonShare does, each in a process of its own and all in Python:

- nobody: sockets that send the bytes, no FTP
- least: FTP's dialogue by one thread that knows nothing but these commands
- handed over: the same, each file opened and read by a second thread
- checked: the same, with all that FonShare looks at before it opens a file
- pyftpdlib: the library's own server, which opens files itself, in its loop

A listing is parted by calls on one thread: what the file system needs, what choosing
the names adds, and what wording them.
"""

import argparse
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from pyftpdlib import authorizers, handlers, servers

import ftp
from fonshare_agent.disk import Disk
from fonshare_agent.ftp.filesystem import DiskFiles, View, resolve
from fonshare_agent.ftp.listing import list_lines
from fonshare_agent.ftp.transfers import open_download

HOST, MANY = "127.0.0.1", (b"many",)
OWNER = View(None, can_write=True)
# What the least of servers says to all that needs no more.
SAID = {"USER": 331, "PASS": 230, "CWD": 250, "TYPE": 200, "QUIT": 221}
AUTHORIZER: Any = authorizers.DummyAuthorizer  # Any: pyftpdlib has no types
HANDLER: Any = handlers.FTPHandler  # type: ignore[attr-defined]
SERVER: Any = servers.FTPServer
Read = Callable[[str], bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the house door's time goes.")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing is left behind
    build = ftp.ROOT / "build"
    with ftp.ground_of(ftp.MIB) as ground, ExitStack() as stack:
        ours = ftp.ours(stack, stack.enter_context(ftp.folder_below(build)))
        ftp.fill(ours.disk, 0, ("small", "listing"))
        disk = files_of(ours.disk, stack.enter_context(ftp.folder_below(build)))
        tried = [ours]
        tried += [stack.enter_context(one) for one in others(ours.disk, disk)]
        samples = ftp.rounds(tried, ftp.small, ground, False, options.rounds)
        files = {name: 1000 * one.clock_s for name, one in samples.items()}
        listing = listing_ms(ours, disk, options.rounds)
    print(f"{ftp.SMALL_FILES} small files, ms, and more than the line above")
    show(files, (ftp.NOBODY, "least", "handed over", "checked", ftp.OURS))
    show(files, ("pyftpdlib",))
    print(f"LIST of {ftp.LISTED:,} files, ms, and more than the line above")
    show(listing, tuple(listing))


def show(ms: dict[str, float], names: tuple[str, ...]) -> None:
    """Print each, and what it has more than the one before."""
    print(f"  {names[0]:<24}{ms[names[0]]:>8.0f}")
    for before, name in pairwise(names):
        print(f"  {name:<24}{ms[name]:>8.0f}{ms[name] - ms[before]:>+8.0f}")


def files_of(top: Path, keys: Path) -> DiskFiles:
    disk = Disk(top, keys / "disk-id", os.urandom)
    disk.open()
    return DiskFiles(top, disk.check)


# --- small files --------------------------------------------------------------------


def others(top: Path, disk: DiskFiles) -> Iterator[AbstractContextManager[ftp.Server]]:
    def opened(path: str) -> bytes:
        return (top / path).read_bytes()

    def checked(path: str) -> bytes:
        fd = disk.open_file(OWNER, resolve((), path))
        source = open_download(fd, 0, 1 << 16).source
        assert source is not None
        return bytes(source.read())

    yield child("least", top, lambda listener: serve(listener, opened))
    yield child("handed over", top, lambda listener: serve(listener, by_thread(opened)))
    yield child("checked", top, lambda listener: serve(listener, by_thread(checked)))
    yield child("pyftpdlib", top, lambda listener: serve_by_library(listener, top))


@contextmanager
def child(
    name: str, top: Path, run: Callable[[socket.socket], None]
) -> Iterator[ftp.Server]:
    with socket.create_server((HOST, 0)) as listener:
        port = int(listener.getsockname()[1])
        process = multiprocessing.get_context("fork").Process(
            target=run, args=[listener]
        )
        process.start()
        assert process.pid is not None
        try:
            yield ftp.Server(name, HOST, port, "o", "p", "/", top, process.pid)
        finally:
            process.terminate()
            process.join()


def by_thread(read: Read) -> Read:
    """Return what has another thread do the same."""
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def work() -> None:
        while True:
            answers.put(read(asked.get()))

    def ask(path: str) -> bytes:
        asked.put(path)
        return answers.get()

    threading.Thread(target=work, daemon=True).start()
    return ask


def serve(listener: socket.socket, read: Read) -> None:
    while True:
        with listener.accept()[0] as control, ExitStack() as stack:
            control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk(control, stack, read)


def talk(control: socket.socket, stack: ExitStack, read: Read) -> None:
    """One session, until it ends."""
    control.sendall(b"220 here\r\n")
    for line in stack.enter_context(control.makefile()):
        verb, _, argument = line.rstrip().partition(" ")
        if verb == "PASV":
            passive = socket.create_server((HOST, 0))
            port = passive.getsockname()[1]
            at = f"{HOST.replace('.', ',')},{port >> 8},{port & 255}"
            control.sendall(f"227 there ({at})\r\n".encode())
        elif verb == "RETR":
            content = read(argument)
            control.sendall(b"150 now\r\n")
            with passive, passive.accept()[0] as data:
                data.sendall(content)
            control.sendall(b"226 done\r\n")
        else:
            control.sendall(b"%d so be it\r\n" % SAID[verb])


def serve_by_library(listener: socket.socket, top: Path) -> None:
    authorizer = AUTHORIZER()
    authorizer.add_user("o", "p", str(top))
    HANDLER.authorizer = authorizer
    SERVER(listener, HANDLER).serve_forever()


# --- a listing ----------------------------------------------------------------------


def listing_ms(ours: ftp.Server, disk: DiskFiles, rounds: int) -> dict[str, float]:
    parts: dict[str, Callable[[], float]] = {
        "names and status": lambda: ftp.looked_at_s(ours.disk / "many"),
        "which are shown": lambda: took_s(lambda: used_up(disk.entries(OWNER, MANY))),
        "in words": lambda: took_s(
            lambda: used_up(list_lines(disk.entries(OWNER, MANY), time.time()))
        ),
        "LIST": lambda: ftp.listing(ours, False, 0, ours.disk).clock_s,
    }
    return {
        name: 1000 * median(one() for _ in range(rounds + 1))
        for name, one in parts.items()
    }


def took_s(act: Callable[[], None]) -> float:
    with ftp.ahead_of_others([os.getpid()]):
        begun = time.monotonic()
        act()
        return time.monotonic() - begun


def used_up(found: Iterator[object]) -> None:
    for _ in found:
        pass


if __name__ == "__main__":
    main()
