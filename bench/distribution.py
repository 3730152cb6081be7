"""One file to 4 and to 8 members at once: how long until the last one has it.

    make bench-distribution   (or: python bench/distribution.py [--mib N] [--json FILE]
    [--receivers 4,8] [--only fonshare,aria2,...], with tests/ and tools/ on the path)

Real programs, each in a network namespace with a line of 10 Mbit/s up and 40 down
(swarm.py). The fluid bound is what water would need: the source's line once, the
slowest receiver's, or all the bytes over all lines that send. Beside FonShare: aria2 by
BitTorrent with a tracker here, Syncthing, and plain FTP from the same source, one copy
after another. Everything is measured in this one run; what is not installed is left
out. A figure is the time from the first wish to the last file, over the bound.
"""

import argparse
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nodes import NodeProcess, befriend, eventually, running, share
from peers import aria2_s, syncthing_s
from swarm import HUB, NETWORK, Net, lines
from transfer import (
    COMPILED,
    PASSWORD,
    ROOT,
    LineBroker,
    can_have_namespaces,
    workspace,
)

UP_MBIT, DOWN_MBIT = 10.0, 40.0
WITHIN_S = 1200.0
LOOK_S = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description="One file to several at once.")
    parser.add_argument("--mib", type=int, default=48)
    parser.add_argument("--receivers", default="4,8")
    parser.add_argument("--only", default=",".join(WAYS))
    default = ROOT / "build" / "bench" / "distribution.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    options = parser.parse_args()
    if not can_have_namespaces():
        print("no network namespaces here: nothing is measured")
        return
    rows: dict[str, dict[str, Any]] = {}
    for count in map(int, options.receivers.split(",")):
        size = options.mib << 20
        rows[str(count)] = measured(count, size, options.only.split(","))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1) + "\n")


def measured(count: int, size: int, names: Sequence[str]) -> dict[str, Any]:
    bound = fluid_s(count, size)
    print(f"\n{count} receivers, {size >> 20} MiB, fluid bound {bound:.1f} s")
    found: dict[str, Any] = {"bytes": size, "bound_s": bound}
    for name in names:
        program, way = WAYS[name]
        if program is not None and shutil.which(program) is None:
            print(f"  {name:<12} not installed")
            continue
        with workspace() as folder, lines(count, UP_MBIT, DOWN_MBIT) as net:
            took, sent = way(net, folder, size)
        found[name] = {"s": took, "of_bound": took / bound, "source_copies": sent}
        copies = "" if sent is None else f"   the source sent {sent:.2f} copies"
        print(f"  {name:<12}{took:>8.1f} s   {took / bound:.2f}{copies}", flush=True)
    return found


def fluid_s(count: int, size: int) -> float:
    up, down = UP_MBIT * 125_000, DOWN_MBIT * 125_000
    return max(size / up, size / down, count * size / (up + count * up))


# --- FonShare -----------------------------------------------------------------------


def fonshare_s(net: Net, folder: Path, size: int) -> tuple[float, float | None]:
    with LineBroker(folder / "broker", net.inside_hub, HUB) as broker:
        nodes = [
            NodeProcess(
                folder / f"node{number}",
                f"node{number}",
                broker.url,
                address=net.address(number),
                wrapper=net.inside(number),
                env=COMPILED,
                ftp={"house_networks": [NETWORK]},
            )
            for number in range(net.count)
        ]
        with running(*nodes):
            source, *others = nodes
            befriend("Bench", *nodes)
            films = share(source, "films", "Films", "Bench")
            content = os.urandom(size)
            (films / "film.mkv").write_bytes(content)

            def entry(node: NodeProcess) -> str | None:
                rows = node("find", "film")
                return rows[0]["id"] if rows and rows[0]["root"] else None

            entries = [
                eventually(lambda n=n: entry(n), "it is offered", WITHIN_S)
                for n in others
            ]
            before, start = sent_bytes(net), time.monotonic()
            jobs = [
                node("get", one)[0]["id"]
                for node, one in zip(others, entries, strict=True)
            ]
            waiting = list(zip(others, jobs, strict=True))
            while waiting:
                assert time.monotonic() - start < WITHIN_S
                time.sleep(LOOK_S)
                waiting = [
                    (node, job)
                    for node, job in waiting
                    if node.job(job)["state"] != "done"
                ]
            took = time.monotonic() - start
            for node in others:
                assert list(node.fetched().values()) == [content]
            return took, (sent_bytes(net) - before) / size


def sent_bytes(net: Net) -> int:
    """Return what has left the source's line, headers included."""
    shown = subprocess.run(
        [*net.inside(0), "cat", "/sys/class/net/wan/statistics/tx_bytes"],
        check=True,
        capture_output=True,
    )
    return int(shown.stdout)


# --- one after another --------------------------------------------------------------


def one_by_one_s(net: Net, folder: Path, size: int) -> tuple[float, float | None]:
    """The house door of the same source, plain FTP by curl; a third of the size,
    since the ratio is the same."""
    part = size // 3
    with LineBroker(folder / "broker", net.inside_hub, HUB) as broker:
        source = NodeProcess(
            folder / "node",
            "node",
            broker.url,
            address=net.address(0),
            wrapper=net.inside(0),
            ftp={"house_networks": [NETWORK]},
        )
        with running(source):
            (source.disk / "film.mkv").write_bytes(os.urandom(part))
            port = source.settings.read_text().split("  port: ")[1].split()[0]
            url = f"ftp://owner:{PASSWORD}@{net.address(0)}:{port}/film.mkv"
            start = time.monotonic()
            for number in range(1, net.count):
                subprocess.run(
                    [*net.inside(number), "curl", "-s", "-o", os.devnull, url],
                    check=True,
                    timeout=WITHIN_S,
                )
            return (time.monotonic() - start) * size / part, None


Way = Callable[[Net, Path, int], tuple[float, float | None]]
WAYS: dict[str, tuple[str | None, Way]] = {
    "fonshare": (None, fonshare_s),
    "aria2": ("aria2c", aria2_s),
    "syncthing": ("syncthing", syncthing_s),
    "one by one": ("curl", one_by_one_s),
}


if __name__ == "__main__":
    main()
