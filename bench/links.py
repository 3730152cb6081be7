"""What of a line a transfer uses, and what it costs: one file from one friend.

    make bench-links   (or: python bench/links.py [--mbit N,...] [--delay MS,...]
    [--rounds N] [--peers] [--json FILE], with tests/ and tools/ on Python's path; root)

Two real agents at the ends of a line (line.py) of 1, 10 and 100 Mbit/s (tbf), without
and with a round trip of 50 ms. On the same line, just before and after, one TCP
connection only sends as many bytes: the ratio is FonShare's time, from the owner's
command to the whole, verified file under its name, to the mean of those two. The file
takes half a minute, and both agents have moved one before: a small file is fetched
twice first, and the time of each is told, the loading of modules and the opening of the
session being in the first alone. Each begins when the job before it has ended. With
several rounds TCP and FonShare take turns on the same line, TCP first and last, and the
median is told. With --peers others take their turns too (beside.py), each round anew,
with the same sizes, the two small files first. At 100 Mbit/s also the CPU of both
agents and what their resident memory grows by. Modules are compiled beforehand, as a
package has them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from beside import each_s
from busy import Figures, watched_most
from fonshare_agent.control.client import request
from nodes import NodeProcess, befriend, eventually, running, share
from transfer import (
    COMPILED,
    HERE,
    ROOT,
    THERE,
    LineBroker,
    Pair,
    line,
    workspace,
)

MBIT = {1: 4 << 20, 10: 40 << 20, 100: 400 << 20}  # and how many bytes are sent
SMALL = ("first", "second")
WHOLE = "whole.mkv"
SMALL_BYTES = 10_000
DELAYS_MS = (0, 50)
QUEUE_MS = 50
TICKS_S = os.sysconf("SC_CLK_TCK")
PORT = 5001
SEND = """
import socket, sys
with socket.create_server(("{host}", {port})) as server:
    print("up", flush=True)
    connection, _ = server.accept()
    with connection:
        for _ in range({count} >> 16):
            connection.sendall(bytes(1 << 16))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="What of a line a transfer uses.")
    default = ROOT / "build" / "bench" / "links.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    every = ",".join(map(str, MBIT))
    parser.add_argument("--mbit", default=every, help=f"of {every}")
    parser.add_argument("--rounds", type=int, default=1, help="median of so many")
    parser.add_argument("--peers", action="store_true", help="what others need, too")
    every = ",".join(map(str, DELAYS_MS))
    parser.add_argument("--delay", default=every, help=f"round trips in ms, as {every}")
    options = parser.parse_args()
    rates = [int(one) for one in options.mbit.split(",")]
    rows = [
        measured(mbit, delay_ms, options.rounds, options.peers)
        for delay_ms in map(int, options.delay.split(","))
        for mbit in rates
    ]
    print(
        f"\n{'line':<22}{'raw TCP':>12}{'fonshare':>12}{'of it':>9}"
        f"{'10 kB, first':>16}{'second, s':>12}"
    )
    for row in rows:
        where = f"{row['mbit']} Mbit/s, {row['delay_ms']} ms"
        print_row(where, row["tcp_mbit_s"], row)
        for name, its in row["peers"].items():
            print_row(f"  {name}", None, its, row)
    for row in rows:
        if row["mbit"] == max(MBIT):
            (sent, took), (source, target) = row["cpu_s"], row["grown_kib"]
            print(
                f"at {row['mbit']} Mbit/s, {row['delay_ms']} ms, source, target: CPU "
                f"{sent:.2f} and {took:.2f} s for 100 MB, memory +{source} and "
                f"+{target} KiB"
            )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1) + "\n")


def print_row(
    where: str, tcp: float | None, its: Any, ours: dict[str, Any] | None = None
) -> None:
    """*ours*: beside which figures these are."""
    first, second = its["small_s"]
    print(
        f"{where:<22}{'' if tcp is None else format(tcp, '.2f'):>12}"
        f"{its['mbit_s']:>12.2f}{its['ratio']:>9.1%}{first:>16.2f}{second:>12.2f}",
        end="" if ours else "\n",
    )
    if ours:
        whole = ours["ratio"] / its["ratio"]
        print(f"   fonshare / this: {whole:.3f}")


def measured(
    mbit: int, delay_ms: int, rounds: int = 1, with_peers: bool = False
) -> dict[str, Any]:
    ends = Pair(f"fonshare-bench-{os.getpid()}", 2)
    spaces = [ends.space(number) for number in range(2)]
    inside = [ends.inside(number) for number in range(2)]
    size = MBIT[mbit]
    with (
        workspace() as folder,
        line(delay_ms, *spaces),
        LineBroker(folder / "broker", inside[0], HERE) as broker,
    ):
        ftp = {"house_networks": ["127.0.0.0/8"]}
        alice, bob = (
            NodeProcess(
                folder / n, n, broker.url, address=a, wrapper=w, env=COMPILED, ftp=ftp
            )
            for n, a, w in (("alice", HERE, inside[0]), ("bob", THERE, inside[1]))
        )
        with running(alice, bob):
            befriend("Bench", alice, bob)
            films = share(alice, "films", "Films", "Bench")
            sizes = {f"{name}.mkv": SMALL_BYTES for name in SMALL} | {WHOLE: size}
            for name, count in sizes.items():
                (films / name).write_bytes(os.urandom(count))

            def are_hashed() -> bool:
                rows = bob("find", "mkv")
                return len(rows) == 3 and all(row["root"] for row in rows)

            eventually(are_hashed, "bob sees them hashed", 300)
            for space in spaces:
                shape(space, mbit)
            take_turns = Turns(ends, folder, sizes, alice, bob)
            found = take_turns(rounds, with_peers)
    return {"mbit": mbit, "delay_ms": delay_ms, "bytes": size, **found}


@dataclass(frozen=True, slots=True)
class Turns:
    """Who sends over one line, one after another."""

    ends: Pair
    folder: Path
    sizes: dict[str, int]
    alice: NodeProcess
    bob: NodeProcess

    def __call__(self, rounds: int, with_peers: bool) -> dict[str, Any]:
        small = [fetch_s(self.bob, name) for name in SMALL]
        size, costs = self.sizes[WHOLE], dict[str, Any]()
        ours, others = list[float](), list[dict[str, list[float]]]()
        beside_ours, beside_others = list[float](), list[float]()
        before = self.raw_tcp_s()
        for _ in range(rounds):
            if costs:
                target_of(self.bob, "whole").unlink()
                ours.append(fetch_s(self.bob, "whole"))
            else:
                took, costs = fetch_and_watch(self.alice, self.bob, size)
                ours.append(took)
            # Each beside the two of TCP that were taken just before and after it.
            before = self.mean_with_next(before, beside_ours)
            if with_peers:
                others.append(each_s(self.ends, self.folder, self.sizes))
                before = self.mean_with_next(before, beside_others)
        return {
            "tcp_mbit_s": size * 8e-6 / median(beside_ours),
            **figures([[*small, whole] for whole in ours], beside_ours, size),
            "peers": {
                name: figures([one[name] for one in others], beside_others, size)
                for name in (others[0] if others else ())
            },
            **costs,
        }

    def raw_tcp_s(self) -> float:
        return raw_tcp_s(self.sizes[WHOLE], [self.ends.inside(at) for at in range(2)])

    def mean_with_next(self, before: float, means: list[float]) -> float:
        after = self.raw_tcp_s()
        means.append((before + after) / 2)
        return after


def figures(
    rounds: Sequence[Sequence[float]], beside: Sequence[float], size: int
) -> dict[str, Any]:
    """Return the medians of one program: two small files and the long one a round."""
    *small, whole = zip(*rounds, strict=True)
    ratios = [tcp / own for tcp, own in zip(beside, whole, strict=True)]
    return {
        "mbit_s": size * 8e-6 / median(whole),
        "ratio": median(ratios),
        "ratios": ratios,
        "small_s": [median(one) for one in small],
    }


def shape(space: str, mbit: int) -> None:
    shown = subprocess.run(
        ["ip", "-n", space, "-o", "link"], check=True, capture_output=True, text=True
    )
    [device] = [
        words[1].rstrip(":")
        for words in map(str.split, shown.stdout.splitlines())
        if words[1].startswith("line")
    ]
    rate = ["rate", f"{mbit}mbit", "burst", "32kb", "latency", f"{QUEUE_MS}ms"]
    subprocess.run(
        ["tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", *rate],
        check=True,
    )


def raw_tcp_s(size: int, inside: Sequence[Sequence[str]]) -> float:
    """Return how long one connection takes for *size* bytes, opening it included."""
    source = SEND.format(host=HERE, port=PORT, count=size)
    take = (
        "import socket, time; begun = time.monotonic();"
        f"taking = socket.create_connection(('{HERE}', {PORT}));"
        "buffer = bytearray(1 << 16)\nwhile taking.recv_into(buffer): pass\n"
        "print(time.monotonic() - begun)"
    )
    sender = subprocess.Popen(
        [*inside[0], sys.executable, "-c", source], stdout=subprocess.PIPE
    )
    assert sender.stdout is not None
    assert sender.stdout.readline() == b"up\n"
    taken = subprocess.run(
        [*inside[1], sys.executable, "-c", take],
        check=True,
        capture_output=True,
        text=True,
    )
    sender.communicate()
    return float(taken.stdout)


def fetch_and_watch(
    source: NodeProcess, destination: NodeProcess, size: int
) -> tuple[float, dict[str, Any]]:
    """Return the seconds, and what it cost both."""
    nodes = (source, destination)
    cpu_before = [cpu_s(node) for node in nodes]
    with watched_memory(*nodes) as grown:
        took = fetch_s(destination, "whole")
    spent = [cpu_s(node) - then for node, then in zip(nodes, cpu_before, strict=True)]
    return took, {"cpu_s": [one * 1e8 / size for one in spent], "grown_kib": grown}


def fetch_s(node: NodeProcess, name: str) -> float:
    """Return the seconds from the command to the file under its name."""
    [entry] = node("find", name)
    control = node.folder / "state" / "control.sock"
    target = target_of(node, name)

    def is_idle() -> bool:
        return all(job["state"] == "done" for job in node("jobs"))

    eventually(is_idle, "the job before has ended")
    begun = time.monotonic()
    request(control, "get", {"entries": [entry["id"]]})
    while not target.exists():
        time.sleep(0.005)
        assert time.monotonic() - begun < 600, "it did not come"
    return time.monotonic() - begun


def target_of(node: NodeProcess, name: str) -> Path:
    place: Path = node.disk / "downloads" / "Bench" / "alice" / f"{name}.mkv"
    return place


def cpu_s(node: NodeProcess) -> float:
    fields = (proc(node) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def resident_kib(node: NodeProcess) -> int:
    status = (proc(node) / "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def proc(node: NodeProcess) -> Path:
    assert node.process is not None
    return Path("/proc") / str(node.process.pid)


@contextmanager
def watched_memory(*nodes: NodeProcess) -> Iterator[list[int]]:
    """Give the most that each node's memory is above what it was, once over."""

    def measure() -> Figures:
        return {str(number): resident_kib(node) for number, node in enumerate(nodes)}

    at_rest, grown = measure(), list[int]()
    with watched_most(measure) as most:
        yield grown
    grown += [most[name] - before for name, before in at_rest.items()]


if __name__ == "__main__":
    main()
