"""What joining a group costs where somebody offers many files, and a new file's way.

    python bench/catalogue.py [--entries N] [--folder DIR]

Two agents and a Mosquitto on loopback. One offers N files (they are in its index only,
as a scan and a hashing leave them), the other joins. Prints seconds, bytes over
the broker and over the data channel, what each side's resident memory is at rest and
how much more at its peak, and how long a new file takes to a friend's search result;
last, one line of JSON.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from brokers import Mosquitto
from fonshare_agent.control.client import request
from fonshare_agent.control.rows import JSON
from long_catalogues import (
    GROUP,
    IN_A_FOLDER,
    SHARE,
    add_entries,
    found_group,
)
from nodes import (
    CommandFailed,
    NodeProcess,
    befriend,
    running,
    share,
)

PROBE_S = 0.05
ASKED = 100  # searches through the socket
NO_SCAN = {"scan_period_s": 24 * 3600}  # but for the one at the start


def memory_kib(node: NodeProcess, name: str) -> int:
    assert node.process is not None
    text = Path(f"/proc/{node.process.pid}/status").read_text()
    line = next(one for one in text.splitlines() if one.startswith(name))
    return int(line.split()[1])


def written_bytes(node: NodeProcess) -> int:
    """Return what the node has given to disks so far."""
    assert node.process is not None
    text = Path(f"/proc/{node.process.pid}/io").read_text()
    line = next(one for one in text.splitlines() if one.startswith("write_bytes"))
    return int(line.split()[1])


def reset_peak(node: NodeProcess) -> int:
    """Let the peak begin anew; return what is resident now, in KiB."""
    assert node.process is not None
    Path(f"/proc/{node.process.pid}/clear_refs").write_text("5")
    return memory_kib(node, "VmRSS")


def wait_for(node: NodeProcess, words: str) -> None:
    while not node.find(words):
        time.sleep(PROBE_S)


def wait_for_last(node: NodeProcess, member: str, entries: int) -> None:
    """Wait until the last of *entries* is listed.

    Not until it is found: while names have no trigrams each search goes through all of
    them, and what is measured would be the asking.
    """
    folder = f"album {(entries - 1) // IN_A_FOLDER:05}"
    place, name = f"{GROUP}/{member}/{SHARE}/{folder}", last_name(entries)
    while True:
        with suppress(CommandFailed):
            if any(one["name"] == name for one in node("ls", place)):
                return
        time.sleep(PROBE_S)


def last_name(entries: int) -> str:
    return f"Bréhat {entries - 1:07}.ogg"


def join(
    alice: NodeProcess, bob: NodeProcess, broker: Mosquitto, entries: int
) -> dict[str, float]:
    rests = [reset_peak(node) for node in (alice, bob)]
    before = written_bytes(bob)
    with broker.observe() as observed:
        befriend(GROUP, alice, bob)
        start = time.monotonic()
        wait_for_last(bob, alice.name, entries)
        seconds = time.monotonic() - start
        written = written_bytes(bob) - before
        wait_for(bob, last_name(entries))
        found_seconds = time.monotonic() - start
        observed.catch_up()
        bulk = sum(len(one.payload) for one in observed.seen)
    folder = alice.disk / ".fonshare" / "copies"
    copied = sum(one.stat().st_size for one in folder.iterdir())
    peaks = [memory_kib(node, "VmHWM") for node in (alice, bob)]
    return {
        "entries": entries,
        "join_s": round(seconds, 1),
        "entries_per_s": round(entries / seconds),
        "found_s": round(found_seconds, 1),
        "broker_bytes": bulk,
        "data_channel_bytes": copied,
        "receiver_written_bytes": written,
        "source_rss_kib": rests[0],
        "source_growth_kib": peaks[0] - rests[0],
        "receiver_rss_kib": rests[1],
        "receiver_growth_kib": peaks[1] - rests[1],
    }


def new_file_seconds(alice: NodeProcess, bob: NodeProcess) -> float:
    start = time.monotonic()
    (alice.disk / "new" / "a new one.ogg").write_bytes(b"x")
    wait_for(bob, "a new one")
    return round(time.monotonic() - start, 2)


def find_ms(node: NodeProcess) -> dict[str, float]:
    """Ask through the socket for pages of 50, as a program does."""
    path, times = node.folder / "state" / "control.sock", []
    for number in range(ASKED):
        words: list[JSON] = ["brehat", f"{number:03}"]
        start = time.perf_counter()
        rows = request(path, "find", {"words": words, "limit": 50})
        times.append((time.perf_counter() - start) * 1000)
        assert isinstance(rows, list)
        assert rows
    times.sort()
    return {
        "find_p50_ms": round(times[ASKED // 2], 1),
        "find_p95_ms": round(times[ASKED * 19 // 20], 1),
    }


def measure(folder: Path, entries: int) -> dict[str, float]:
    with Mosquitto(folder / "broker") as broker:
        alice, bob = (
            NodeProcess(folder / name, name, broker.url, limits=NO_SCAN)
            for name in ("alice", "bob")
        )
        found_group(alice)
        with running(alice):
            share(alice, "new", "New", GROUP)
        add_entries(alice, 0, entries, on_disk=False)
        (alice.disk / "films").rmdir()
        with running(alice, bob):
            while alice("status")["index"]["scanning"]:
                time.sleep(PROBE_S)
            result: dict[str, float] = join(alice, bob, broker, entries)
            result |= find_ms(bob)
            result["new_file_to_friends_search_s"] = new_file_seconds(alice, bob)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to work; default: TMPDIR")
    options = parser.parse_args()
    # Stopped from outside it must not leave agents behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="fonshare-catalogue-", dir=options.folder))
    try:
        result = measure(folder, options.entries)
    finally:
        shutil.rmtree(folder)
    for name, value in result.items():
        print(f"{name:32} {value:>12}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
