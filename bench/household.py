"""How soon transfers give way to the household, on a line with a rate and a queue.

    make bench-household   (or: python bench/household.py, with tests/ and tools/ on
    Python's path; as root)

Two network namespaces, joined by a line that the kernel's tbf holds at RATE_MBIT from
alice to bob. Alice's node sends a long file; after a while a connection that is not the
node's (the household's) sends as fast as it can for some seconds, and stops. Printed is
what part of the line it has in each half second, with `limits.give_way` on and off, and
how soon the transfer has the line again.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodes import NodeProcess, befriend, eventually, running, share
from transfer import LineBroker

ROOT = Path(__file__).resolve().parent.parent
RATE_MBIT, QUEUE_MS = 8, 300
HERE, THERE, PORT = "10.78.1.1", "10.78.1.2", 9999
LINE_BYTES_S = RATE_MBIT * 1e6 / 8
STEP_S, ALONE_S, USED_S, AFTER_S = 0.5, 8.0, 8.0, 16.0
FILM_BYTES = 96 << 20
SENDER = f"""
import socket, sys, time
until = time.monotonic() + {USED_S}
with socket.create_connection(("{THERE}", {PORT})) as out:
    while time.monotonic() < until:
        out.sendall(bytes(16384))
"""


def main() -> None:
    rows = {}
    for gives_way in (True, False):
        rows[str(gives_way)] = row = measured(gives_way)
        print(f"\ngive_way {'on' if gives_way else 'off'}: the household's part, each")
        print("half second:", " ".join(f"{part:.0%}" for part in row["parts"]))
        print(f"four fifths of the line after {row['within_s']} s")
        print(f"the transfer before: {row['before']:.0%}, after: {row['after']:.0%}")
    path = ROOT / "build" / "bench" / "household.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


def measured(gives_way: bool) -> dict[str, Any]:
    spaces = [f"fonshare-house-{os.getpid()}-{letter}" for letter in "ab"]
    inside = [("ip", "netns", "exec", space) for space in spaces]
    with (
        tempfile.TemporaryDirectory() as top,
        line(*spaces),
        LineBroker(Path(top) / "broker", inside[1], THERE) as broker,
    ):
        folder = Path(top)
        alice, bob = (
            NodeProcess(
                *(folder / name, name, broker.url),
                address=address,
                wrapper=wrapper,
                node={"allow_private_addresses": True},
                limits={"give_way": gives_way},
            )
            for name, address, wrapper in (
                ("alice", HERE, inside[0]),
                ("bob", THERE, inside[1]),
            )
        )
        with running(alice, bob):
            befriend("Bench", alice, bob)
            film = share(alice, "films", "Films", "Bench") / "film.mkv"
            film.write_bytes(os.urandom(FILM_BYTES))
            eventually(
                lambda: any(row["root"] for row in bob.find("film")), "hashed", 120
            )
            return played(bob, inside)


def played(bob: NodeProcess, inside: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    [job] = bob("get", "Bench/alice/Films/film.mkv")
    eventually(lambda: bob.job(job["id"])["done_bytes"] > 0, "it runs", 60)
    before = rate(bob, job["id"], ALONE_S)
    sink = Sink(inside[1])
    sender = subprocess.Popen([*inside[0], sys.executable, "-c", SENDER])
    parts = sink.parts(round(USED_S / STEP_S))
    sender.wait()
    sink.close()
    bob.job(job["id"])
    time.sleep(AFTER_S - 4)
    after = rate(bob, job["id"], 4)
    bob("jobs", "cancel", job["id"])
    within = [n * STEP_S for n, part in enumerate(parts) if part >= 0.8]
    return {
        "parts": parts,
        "within_s": within[0] if within else None,
        "before": before / LINE_BYTES_S,
        "after": after / LINE_BYTES_S,
    }


def rate(bob: NodeProcess, job: str, seconds: float) -> float:
    first, begun = bob.job(job)["done_bytes"], time.monotonic()
    time.sleep(seconds)
    moved = bob.job(job)["done_bytes"] - first
    return float(moved) / (time.monotonic() - begun)


class Sink:
    """Takes what the household sends, in bob's namespace, and counts it."""

    def __init__(self, wrapper: tuple[str, ...]) -> None:
        program = (
            "import socket, sys\n"
            f"with socket.create_server(('{THERE}', {PORT})) as server:\n"
            "    print('up', flush=True)\n"
            "    taken, _ = server.accept()\n"
            "    while chunk := taken.recv(65536):\n"
            "        print(len(chunk), flush=True)\n"
        )
        self._process = subprocess.Popen(
            [*wrapper, sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self._bytes = 0
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for count in self._process.stdout:
            self._bytes += int(count)
            self._begun.set()

    def parts(self, steps: int) -> list[float]:
        """Return the part of the line in each step from the first byte on."""
        self._begun.wait()
        seen, start, found = 0, time.monotonic(), []
        for step in range(1, steps + 1):
            time.sleep(max(0.0, start + step * STEP_S - time.monotonic()))
            now, seen_before = self._bytes, seen
            seen = now
            found.append((now - seen_before) / STEP_S / LINE_BYTES_S)
        return found

    def close(self) -> None:
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def line(one: str, other: str) -> Iterator[None]:
    name = f"house{os.getpid() % 100000}"
    ends = (f"{name}a", f"{name}b")
    for space in (one, other):
        _ip("netns", "add", space)
    try:
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for space, end, own, to in (
            (one, ends[0], HERE, THERE),
            (other, ends[1], THERE, HERE),
        ):
            _ip("link", "set", end, "netns", space)
            _ip("-n", space, "addr", "add", f"{own}/24", "dev", end)
            _ip("-n", space, "link", "set", end, "up")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "route", "add", "default", "via", to)
        tbf = f"tbf rate {RATE_MBIT}mbit burst 16kb latency {QUEUE_MS}ms"
        command = ["tc", "-n", one, "qdisc", "add", "dev", ends[0], "root"]
        subprocess.run([*command, *tbf.split()], check=True)
        yield
    finally:
        for space in (one, other):
            _ip("netns", "del", space)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main()
