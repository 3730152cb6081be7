"""What each module of the service costs in memory, on a 32-bit userland; and what is
loaded on first use, with the time that takes.

    PYTHONPATH=tools python bench/modules.py [--least KIB] [--json FILE]

The service is loaded as the router loads it; what Python's allocators hold more after a
module has run than before is the module's, without what it imported itself. Pages that
are shared with files (a library's code) are not in it; memory.py measures those.
"""

import argparse
import json
from pathlib import Path

from memory import BUILD, build_userland, python
from userland import Userland

# Runs inside. `_tracemalloc` alone: the module around it would import others.
PROGRAM = """
import _frozen_importlib, _tracemalloc, gc

costs, around = {}, [0]
usual = _frozen_importlib._load_unlocked

def load(spec):
    before = _tracemalloc.get_traced_memory()[0]
    around.append(0)
    try:
        return usual(spec)
    finally:
        gc.collect()
        grown = _tracemalloc.get_traced_memory()[0] - before
        costs[spec.name] = grown - around.pop()
        around[-1] += grown

_frozen_importlib._load_unlocked = load
_tracemalloc.start(1)
import fonshare_agent.resident
fonshare_agent.resident.load()
total = _tracemalloc.get_traced_memory()[0]
_tracemalloc.stop()
import json
print(json.dumps({"total": total, "modules": costs}))
"""


# What is loaded on first use (docs/decisions/0048), in the order of measuring:
# what two of them share counts with the first.
LATE = {
    "a theme of commands": ["control.file_handlers"],
    "doctor": ["doctor"],
    "searching": ["control.search_handlers", "index.finder", "index.browse"],
    "saved searches": ["index.state_searches"],
    "moving files": ["moving"],
    "fetching a file": ["gathering"],
    "fetching a folder": ["bundles"],
    "inviting, joining": ["invites"],
}

LATE_PROGRAM = """
import _tracemalloc, gc, json, sys, time

late, is_traced = json.loads(sys.argv[1]), len(sys.argv) > 2
if is_traced:
    _tracemalloc.start(1)
import fonshare_agent.resident
fonshare_agent.resident.load()
spent = []
for names in late.values():
    gc.collect()
    before = _tracemalloc.get_traced_memory()[0] if is_traced else time.process_time()
    for name in names:
        __import__("fonshare_agent." + name)
    if is_traced:
        gc.collect()
    now = _tracemalloc.get_traced_memory()[0] if is_traced else time.process_time()
    spent.append(now - before)
print(json.dumps(spent))
"""


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description="Memory of each module, 32-bit.")
    parser.add_argument("--least", type=float, default=4.0, metavar="KIB")
    default = BUILD / "bench" / "modules.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    options = parser.parse_args()
    userland = build_userland()
    measured = json.loads(userland.run(*python("-c", PROGRAM)))
    late = _measure_late(userland)
    _print_table(measured, options.least)
    _print_late(late)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({**measured, "late": late}, indent=1) + "\n")
    return 0


def _measure_late(userland: Userland) -> dict[str, dict[str, float]]:
    """Return KiB and milliseconds of CPU of each part; tracing would cost time."""
    late = json.dumps(LATE)
    sizes = json.loads(userland.run(*python("-c", LATE_PROGRAM, late, "traced")))
    times = json.loads(userland.run(*python("-c", LATE_PROGRAM, late)))
    return {
        name: {"kib": size / 1024, "cpu_ms": seconds * 1000}
        for name, size, seconds in zip(LATE, sizes, times, strict=True)
    }


def _print_late(late: dict[str, dict[str, float]]) -> None:
    print(f"{'on first use':28}{'KiB':>8}{'CPU, ms':>9}")
    for name, cost in late.items():
        print(f"{name:28}{cost['kib']:8.0f}{cost['cpu_ms']:9.1f}")


def _print_table(measured: dict[str, dict[str, int]], least_kib: float) -> None:
    modules = measured["modules"]
    for name, cost in sorted(modules.items(), key=lambda one: -one[1]):
        if cost >= least_kib * 1024:
            print(f"{cost / 1024:10.1f} {name}")
    print("KiB, by package:")
    packages: dict[str, int] = {}
    for name, cost in modules.items():
        first = ".".join(name.split(".")[:2])
        place = first if name.startswith("fonshare_agent") else name.split(".")[0]
        packages[place] = packages.get(place, 0) + cost
    for name, cost in sorted(packages.items(), key=lambda one: -one[1])[:40]:
        print(f"{cost / 1024:10.1f} {name}")
    print(f"{sum(modules.values()) / 1024:10.1f} all modules")


if __name__ == "__main__":
    raise SystemExit(main())
