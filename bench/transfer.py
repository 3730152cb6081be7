"""How fast files come from friends: many small ones, and one large from several.

    make bench-transfer   (or: python bench/transfer.py [--files N] [--delay MS]
    [--hidden] [--peers] [--json FILE], with tests/ and tools/ on Python's path)

Real agents on this machine, driven by their command line. Small files: N of 10 kB as
one folder, over loopback and, where network namespaces can be had, over a line with a
delay; beside it lftp mirrors the same folder from the house door, which neither
verifies nor syncs. With --peers others bring it too (beside.py), on loopback as over
the line, and nothing else is measured. A large file: from one, two and three sources,
each limited to the same rate. What is compared is measured in this one run. With
--hidden the small files come over the line alone, from a source that takes connections
and from one that takes none.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beside import folder_s
from brokers import Mosquitto
from fonshare_agent.control.client import request
from nodes import NodeProcess, befriend, eventually, running, share
from swarm import Net

ROOT = Path(__file__).resolve().parent.parent
SMALL_BYTES, LARGE_BYTES = 10_000, 24 << 20
LIMIT_KIB_S = 2048
PASSWORD = "secret"  # of tests/settings_files.py
HERE, THERE, NETWORK = "10.77.1.1", "10.77.1.2", "10.77.1.0/24"
BROKER_PORT = 1884
WITHIN_S = 300.0
LOOK_S = 0.02
# For agents that shall load modules compiled beforehand, as a package has them.
COMPILED = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(ROOT / "build" / "bench" / "pycache"),
}
MIRRORS = (  # on a line with a delay only the last: the others take many minutes
    ("lftp, one after another", "set ftp:ssl-allow no; mirror"),
    ("lftp, TLS, 4 at once", "set ftp:ssl-force yes; mirror -P 4"),
    ("lftp, 4 at once", "set ftp:ssl-allow no; mirror -P 4"),
)


class LineBroker(Mosquitto):  # type: ignore[misc]
    """A broker in a namespace, at the address of its end of the line."""

    def __init__(self, folder: Path, wrapper: Sequence[str], address: str) -> None:
        self._wrapper, self._address = wrapper, address
        super().__init__(folder, extra=f"listener {BROKER_PORT} {address}")

    @property
    def url(self) -> str:
        return f"mqtt://{self._address}:{BROKER_PORT}"

    def _command(self) -> list[str | Path]:
        return [*self._wrapper, *super()._command()]

    def _accepts(self) -> bool:
        return " running" in self.log


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast files come from friends.")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--delay", type=int, default=50, help="round trip in ms")
    default = ROOT / "build" / "bench" / "transfer.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    parser.add_argument("--hidden", action="store_true", help="see above")
    parser.add_argument("--peers", action="store_true", help="see above")
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    if options.hidden:
        for is_hidden, where in ((False, "reached"), (True, "reached by nobody")):
            took = on_a_line(options.files, options.delay, is_hidden=is_hidden)
            rows[where] = took
            print_small(f"{options.delay} ms, a source that is {where}", took)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
        return
    rows["loopback"] = on_loopback(options.files, options.peers)
    print_small("loopback", rows["loopback"])
    if can_have_namespaces():
        where = f"{options.delay} ms"
        rows[where] = on_a_line(options.files, options.delay, with_peers=options.peers)
        print_small(where, rows[where])
    else:
        print("no network namespaces here: nothing is measured with a delay")
    if not options.peers:
        rows["sources"] = from_sources()
        print_sources(rows["sources"])
    options.json.write_text(json.dumps(rows, indent=1) + "\n")


class Pair(Net):
    """The two ends of the line, as peers.py takes them; the first is the hub, too."""

    def space(self, number: int) -> str:
        return f"{self.prefix}-{'ab'[number]}"

    def address(self, number: int) -> str:
        return (HERE, THERE)[number]

    @property
    def inside_hub(self) -> tuple[str, ...]:
        return self.inside(0)

    @property
    def hub_address(self) -> str:
        return HERE


class Loopback(Pair):
    """Both ends on this machine, with nothing between them."""

    def inside(self, number: int) -> tuple[str, ...]:
        return ()

    def address(self, number: int) -> str:
        return f"127.0.0.{number + 1}"

    @property
    def hub_address(self) -> str:
        return self.address(0)


# --- many small files ---------------------------------------------------------------


def on_loopback(files: int, with_peers: bool) -> dict[str, float]:
    with workspace() as folder, Mosquitto(folder / "broker") as broker:
        alice, bob = (
            NodeProcess(folder / n, n, broker.url, env=COMPILED)
            for n in ("alice", "bob")
        )
        if not with_peers:
            return small_files(alice, bob, files, "127.0.0.1")
        return with_others(alice, bob, files, Loopback("", 2), folder)


def on_a_line(
    files: int,
    delay_ms: int,
    is_hidden: bool | None = None,
    with_peers: bool = False,
) -> dict[str, float]:
    """*is_hidden*: FonShare alone, whether alice takes no connections."""
    spaces = [f"fonshare-bench-{os.getpid()}-{letter}" for letter in "ab"]
    inside = [("ip", "netns", "exec", space) for space in spaces]
    with (
        workspace() as folder,
        line(delay_ms, *spaces),
        LineBroker(folder / "broker", inside[0], HERE) as broker,
    ):
        ftp = {"house_networks": [NETWORK]}
        alice, bob = (
            NodeProcess(
                folder / n, n, broker.url, address=a, wrapper=w, env=COMPILED, ftp=ftp
            )
            for n, a, w in (("alice", HERE, inside[0]), ("bob", THERE, inside[1]))
        )
        if is_hidden is not None:
            if is_hidden:
                hide(inside[0])
            return small_files(alice, bob, files)
        if not with_peers:
            return small_files(alice, bob, files, HERE, inside[1])
        ends = Pair(f"fonshare-bench-{os.getpid()}", 2)
        return with_others(alice, bob, files, ends, folder)


def with_others(
    alice: NodeProcess, bob: NodeProcess, files: int, ends: Pair, folder: Path
) -> dict[str, float]:
    """Return files a second, FonShare's first, then by program."""
    rates = small_files(alice, bob, files)
    took = folder_s(ends, folder, alice.disk / "small" / "many")
    return rates | {name: files / one for name, one in took.items()}


def hide(inside: Sequence[str]) -> None:
    """Have nobody connect to a namespace, but to the broker in it."""
    rules = f"""
        table ip hidden {{
          chain in {{
            type filter hook input priority 0
            iifname "line*" ct state new tcp dport != {BROKER_PORT} drop
          }}
        }}
    """
    subprocess.run([*inside, "nft", "-f", "-"], input=rules, text=True, check=True)


def small_files(
    alice: NodeProcess,
    bob: NodeProcess,
    count: int,
    host: str = "",
    wrapper: Sequence[str] = (),
) -> dict[str, float]:
    """Return files a second, by who brought them; FonShare alone without *host*."""
    with running(alice, bob):
        befriend("Bench", alice, bob)
        top = share(alice, "small", "Small", "Bench")
        rates = {"fonshare": folder_rate(alice, bob, top / "many", count)}
        if not host:
            rates["the next folder"] = folder_rate(alice, bob, top / "more", count)
        elif shutil.which("lftp"):
            for name, options in MIRRORS[2:] if wrapper else MIRRORS:
                rates[name] = count / mirrored_s(alice, host, wrapper, options)
        return rates


def folder_rate(
    alice: NodeProcess, bob: NodeProcess, folder: Path, count: int
) -> float:
    """Return files a second of a new folder of *count*."""
    folder.mkdir()
    for number in range(count):
        name = f"{folder.name} picture {number:05}.jpg"
        (folder / name).write_bytes(os.urandom(SMALL_BYTES))

    def is_hashed() -> bool:
        rows = bob("find", f"{folder.name} picture", "--limit", str(2 * count))
        return len(rows) == count and all(row["root"] for row in rows)

    eventually(is_hashed, "bob sees all hashed", WITHIN_S)
    before = len(bob.fetched())
    rate = count / fetched_s(bob, f"Bench/alice/Small/{folder.name}")
    assert len(bob.fetched()) - before == count
    return rate


def fetched_s(node: NodeProcess, entry: str) -> float:
    """Fetch *entry* and return how long it took from the command to the end.

    `get --wait` looks each half second, which is as much as a short folder takes.
    """
    control = node.folder / "state" / "control.sock"
    start = time.monotonic()
    [begun] = node("get", entry)
    while True:
        jobs: Any = request(control, "jobs", {})
        state = next(one["state"] for one in jobs if one["id"] == begun["id"])
        if state == "done":
            return time.monotonic() - start
        assert state != "failed", entry
        time.sleep(LOOK_S)


def mirrored_s(
    node: NodeProcess, host: str, wrapper: Sequence[str], options: str
) -> float:
    port = int(node.settings.read_text().split("  port: ")[1].split()[0])
    target = node.folder / "mirror"
    shutil.rmtree(target, ignore_errors=True)
    script = (
        "set net:max-retries 2; set ssl:verify-certificate no;"
        f" set ftp:ssl-protect-data yes; {options} /small/many {target}; exit"
    )
    start = time.monotonic()
    subprocess.run(
        [*wrapper, "lftp", "-u", f"owner,{PASSWORD}", "-e", script, f"{host}:{port}"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=WITHIN_S,
    )
    took = time.monotonic() - start
    names = os.listdir(target)
    assert names, "lftp brought nothing"
    return took


# --- one large file -----------------------------------------------------------------


def from_sources() -> dict[str, float]:
    """Return MiB a second by the number of sources."""
    names = ("bob", "carol", "dora")
    with workspace() as folder, Mosquitto(folder / "broker") as broker:
        limits = {"upload_kib_s": LIMIT_KIB_S}
        alice = NodeProcess(folder / "alice", "alice", broker.url, env=COMPILED)
        others = [
            NodeProcess(folder / name, name, broker.url, env=COMPILED, limits=limits)
            for name in names
        ]
        rates = {}
        with running(alice, *others):
            befriend("Bench", alice, *others)
            for node in others:
                share(node, "films", "Films", "Bench")
            for count in range(1, len(others) + 1):
                content = os.urandom(LARGE_BYTES)
                for node in others[:count]:
                    (node.disk / "films" / f"film {count}.mkv").write_bytes(content)

                def is_hashed(count: int = count) -> bool:
                    rows = alice("find", f"film {count}")
                    return (
                        len(rows) == 1
                        and rows[0]["root"] is not None
                        and len(rows[0]["sources"]) == count
                    )

                eventually(is_hashed, f"alice sees {count} sources", WITHIN_S)
                took = fetched_s(alice, f"Bench/bob/Films/film {count}.mkv")
                rates[str(count)] = LARGE_BYTES / took / (1 << 20)
        return rates


# --- the ground ---------------------------------------------------------------------


@contextmanager
def workspace() -> Iterator[Path]:
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    # A short name: sockets lie below, and their paths are short.
    with tempfile.TemporaryDirectory(prefix="b", dir=build) as folder:
        yield Path(folder)


def can_have_namespaces() -> bool:
    if os.geteuid() or not shutil.which("ip") or not os.path.exists("/dev/net/tun"):
        return False
    probe = f"fonshare-bench-{os.getpid()}-probe"
    added = subprocess.run(["ip", "netns", "add", probe], capture_output=True)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return added.returncode == 0


@contextmanager
def line(delay_ms: int, first: str, second: str) -> Iterator[None]:
    for space in (first, second):
        subprocess.run(["ip", "netns", "add", space], check=True)
    words = [str(delay_ms), first, HERE, second, THERE]
    carrier = subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "line.py"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert carrier.stdin is not None
        assert carrier.stdout is not None
        assert carrier.stdout.readline() == b"up\n", "no line"
        yield
    finally:
        carrier.communicate()
        for space in (first, second):
            subprocess.run(["ip", "netns", "del", space], check=False)


def print_small(where: str, rates: dict[str, float]) -> None:
    print(f"\n{where}: files of 10 kB a second")
    for name, rate in rates.items():
        ratio = rates["fonshare"] / rate
        print(f"  {name:<28}{rate:>8.0f}   fonshare / this: {ratio:.2f}", flush=True)


def print_sources(rates: dict[str, float]) -> None:
    print(f"\none file of {LARGE_BYTES >> 20} MiB, sources of {LIMIT_KIB_S} KiB/s each")
    for count, rate in rates.items():
        print(f"  {count} sources {rate:>8.2f} MiB/s   x {rate / rates['1']:.2f}")


if __name__ == "__main__":
    main()
