"""How fast and how small the index is: first scan, rescan, search, size, memory.

    python bench/index.py [--files N] [--folder DIR]

Makes N empty-ish files, compares the scan with `find -printf` over the same tree in the
same run, and prints a table and, last, one line of JSON. Budgets: docs/architecture.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fonshare_agent.index.scanner import Scanner
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, NodeId

ME, GROUP = NodeId(b"m" * 32), GroupId(b"g" * 32)
VOCABULARY = (
    "plage Bréhat été soleil concert nuit Noël famille vacances port film forêt pluie"
    " lumière chanson guitare enregistrement direct album photo vidéo série saison"
    " archive été1998 île rouge blanche tempête musique entretien montagne"
)
WORDS = VOCABULARY.split()
QUERIES = {
    "one word": "brehat",
    "two words": "concert guitare",
    "rare": "4711",
    "short": "ph",
    "folder and name": "dossier-17 pluie",
    "nothing": "zzyzx",
}
ROUNDS = 20  # of each query


def make_tree(top: Path, files: int) -> None:
    draw = random.Random(1)
    for number in range(files):
        if number % 40 == 0:
            folder = top / f"{draw.choice(WORDS)}" / f"dossier-{number // 40}"
            folder.mkdir(parents=True, exist_ok=True)
        words = " ".join(draw.choices(WORDS, k=3))
        (folder / f"{words} {number:06}.ogg").touch()


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def find_seconds(tree: Path) -> float:
    command = ["find", str(tree), "-printf", "%p %s %T@ %i\n"]
    return min(
        timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))
        for _ in range(3)
    )


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def scan(scanner: Scanner) -> None:
    while scanner.step() and scanner.report().is_scanning:
        pass


def latencies(index: IndexStore) -> Iterator[tuple[str, float, float, int]]:
    for name, query in QUERIES.items():
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            hits = len(index.search(query, deadline=time.monotonic() + 5).found)
            times.append((time.perf_counter() - start) * 1000)
        times.sort()
        yield name, times[len(times) // 2], times[int(len(times) * 0.95)], hits


def measure(folder: Path, files: int) -> dict[str, float]:
    tree = folder / "tree"
    make_tree(tree, files)
    find_s = find_seconds(tree)
    before_kib = peak_kib()
    path = folder / "index.db"
    index = IndexStore(path, ME, os.urandom)
    index.publish({"Films": frozenset([GROUP])})
    scanner = Scanner(
        index,
        lambda work: work(),
        check_disk=lambda: None,
        on_catalogue_moved=lambda groups: None,
        on_hashed=lambda share, path, root: None,
    )
    scanner.set_shares({"Films": tree})
    cpu_s = time.process_time()
    first_s = timed(lambda: scan(scanner))
    cpu_s = time.process_time() - cpu_s
    after_kib = peak_kib()
    scanner.rescan()
    again_s = timed(lambda: scan(scanner))
    result = {
        "files": files,
        "find_s": round(find_s, 3),
        "first_scan_s": round(first_s, 3),
        "first_scan_cpu_s_per_1000": round(cpu_s / files * 1000, 4),
        "first_scan_to_find": round(first_s / find_s, 1),
        "rescan_s": round(again_s, 3),
        "rescan_to_find": round(again_s / find_s, 1),
        "peak_rss_before_kib": before_kib,
        "peak_rss_after_kib": after_kib,
    }
    for name, p50, p95, hits in latencies(index):
        key = name.replace(" ", "_")
        result[f"search_{key}_p50_ms"] = round(p50, 2)
        result[f"search_{key}_p95_ms"] = round(p95, 2)
        result[f"search_{key}_hits"] = hits
    assert index.counts()[0] == files
    index.close()
    result["bytes_per_entry"] = round(path.stat().st_size / files)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where to work; default: TMPDIR")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fonshare-index-", dir=options.folder))
    try:
        result = measure(folder, options.files)
    finally:
        shutil.rmtree(folder)
    for name, value in result.items():
        print(f"{name:32} {value:>12}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
