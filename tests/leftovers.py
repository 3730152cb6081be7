"""What a test leaves behind in this process: threads, children, open files.

Compared before and after each test by conftest.py. Threads and children that are ending
get a moment; whatever is left after it was forgotten.
"""

import gc
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ENDING_S = 20.0  # what ends by itself on a busy machine has ended by then
# Opened once by a library, kept for good, and no test's doing.
LASTING = ("/dev/urandom", "/dev/random", "/dev/null", "/proc/", "anon_inode:inotify")


@dataclass(frozen=True, slots=True)
class Belongings:
    """Threads by identity, children by process id, files as (number, what it is)."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    files: frozenset[tuple[str, str]]

    @classmethod
    def now(cls) -> "Belongings":
        return cls(
            frozenset(t for t in threading.enumerate() if t.is_alive()),
            frozenset(_children()),
            frozenset(_open_files()),
        )

    def since(self, before: "Belongings") -> "Belongings":
        """Return what is here now and was not *before*."""
        return Belongings(
            self.threads - before.threads,
            self.children - before.children,
            self.files - before.files,
        )

    def __bool__(self) -> bool:
        return bool(self.threads or self.children or self.files)

    def __str__(self) -> str:
        lines = [f"thread {thread.name!r}" for thread in self.threads]
        lines += [f"child {pid} ({_command(pid)})" for pid in self.children]
        lines += [f"open file {number}: {what}" for number, what in self.files]
        return "\n".join(sorted(lines))


def wait_for_leftovers(before: Belongings) -> Belongings:
    """Return what is left since *before* once all that is ending has ended."""
    deadline = time.monotonic() + ENDING_S
    while left := Belongings.now().since(before):
        if time.monotonic() > deadline:
            return left
        gc.collect()  # files held by cycles are not forgotten, only not yet closed
        time.sleep(0.02)
    return left


def _open_files() -> set[tuple[str, str]]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            what = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the one that was listing
            continue
        if not what.startswith(LASTING):
            found.add((number, what))
    return found


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except OSError:  # that thread has ended
            continue
    return found


def _command(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "ended"
    return command.replace(b"\0", b" ").decode(errors="replace").strip() or "a zombie"
