"""How exactly the limits of bandwidth hold: measured rate against the limit.

    make bench-limits   (or: python bench/limits.py [--seconds S] [--json FILE], with
    tests/ on Python's path)

Two nodes' transfer parts on this machine, over loopback and TLS. Each of the four ways
in which bytes come or go is held back by its limit alone: what friends read at our
door, what we fetch, what we push, what is pushed to us. The rate is that of whole
files, from the question to the last byte that is verified. Ends with status 1 if any
is off by more than five percent.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from fonshare_agent.ftp.tickets import secret_hash
from fonshare_agent.transfer.limits import Flow, TokenBucket
from transfer_world import SECRET, World, two_nodes

ROOT = Path(__file__).resolve().parent.parent
LIMITS_KIB_S = (64, 512, 4096, 16384)
COUNTS = (1, 2)
OFF_MAX = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description="How exactly the limits hold.")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each rate")
    default = ROOT / "build" / "bench" / "limits.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    options = parser.parse_args()
    rows = []
    print(f"{'way':<20}{'transfers':>10}{'KiB/s':>8}{'measured':>10}{'off':>8}")
    for way, (is_door, is_push) in WAYS.items():
        for count in COUNTS:
            for limit in LIMITS_KIB_S:
                rate = measured(is_door, is_push, limit, count, options.seconds)
                off = rate / limit - 1
                rows.append((way, count, limit, rate, off))
                print(f"{way:<20}{count:>10}{limit:>8}{rate:>10.1f}{off:>+8.1%}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(abs(row[-1]) > OFF_MAX for row in rows))


WAYS = {
    "read at our door": (True, False),
    "fetched by us": (False, False),
    "pushed by us": (False, True),
    "pushed to our door": (True, True),
}


def measured(
    is_door: bool, is_push: bool, kib_s: int, count: int, seconds: float
) -> float:
    """Return the KiB/s of *count* transfers at once that share the limit."""
    size = int(kib_s * 1024 * seconds / count)
    door = TokenBucket(kib_s if is_door else 0, time.monotonic)
    with (
        tempfile.TemporaryDirectory() as folder,
        two_nodes(
            Path(folder),
            size,
            kib_s=0 if is_door else kib_s,
            throttle=lambda direction, address, whose: Flow(door, whose or b""),
        ) as world,
    ):
        prepare = pushed if is_push else fetched
        # Beforehand: what makes a ticket and a partial here hashes the whole file.
        begins = [prepare(world, number) for number in range(count)]
        begun = time.monotonic()
        ended = [begin() for begin in begins]
        reasons = [world.settled(one) for one in ended]
        elapsed = time.monotonic() - begun
    assert reasons == [""] * count, reasons
    return size * count / 1024 / elapsed


def fetched(world: World, number: int):  # type: ignore[no-untyped-def]
    kept, ticket = world.partial(number), world.grant()
    return lambda: world.begin_fetch(kept, ticket=ticket)


def pushed(world: World, number: int):  # type: ignore[no-untyped-def]
    place = world.folder / f"pushed {number}"
    ticket = world.grant(
        direction="write",
        secret_hash=secret_hash(SECRET),
        opener=lambda: os.open(place, os.O_RDWR | os.O_CREAT),
    )
    return lambda: world.begin_push(ticket)


if __name__ == "__main__":
    sys.exit(main())
