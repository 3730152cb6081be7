"""What a node takes more while it works: a friend's files fetched, a large disk read.

Each returns the most that was seen of the process between its begin and its end.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo_nodes import Node, Ports, wait_for

Figures = dict[str, int]
Ask = Callable[..., Any]

SCANNED = 100_000  # files, DESIGN section 7
FILES_A_FOLDER = 500
MOVED_AT_ONCE = 4
MOVED_BYTES = 96 << 20  # each
FRIEND_SHARE = "Musique"
SAMPLE_S = 0.02
WORK_S = 600.0


@contextmanager
def watched_most(measure: Callable[[], Figures]) -> Iterator[Figures]:
    """Yield what becomes the highest of each figure while the block lasts."""
    most, is_over = measure(), threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLE_S):
            for name, value in measure().items():
                most[name] = max(most[name], value)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()


def measure_scan(
    ask: Ask, disk: Path, share: str, measure: Callable[[], Figures]
) -> Figures:
    """Let many files appear in a *share*'s folder at once; return the most."""
    before = ask("status")["index"]["files"]
    staged = disk / "staged"
    for number in range(SCANNED):
        folder = staged / f"album {number // FILES_A_FOLDER}"
        if number % FILES_A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"a song of some length, number {number}.flac").touch()
    with watched_most(measure) as most:
        staged.rename(disk / share / "many")

        def is_read() -> bool:
            index = ask("status")["index"]
            return index["files"] == before + SCANNED and not index["scanning"]

        wait_for("the scan", is_read, WORK_S)
    return most


@contextmanager
def a_friend(
    ask: Ask, folder: Path, ports: Ports, broker: str, group: str
) -> Iterator[Node]:
    """Run a node that joins *group* and shares files in it."""
    shutil.rmtree(folder, ignore_errors=True)
    friend = Node("friend", folder, ports, broker)
    try:
        (friend.disk / "music").mkdir()
        for number in range(MOVED_AT_ONCE):
            with (friend.disk / "music" / f"{number}.flac").open("wb") as file:
                for _ in range(MOVED_BYTES >> 20):
                    file.write(os.urandom(1 << 20))
        friend.start()
        friend.wait_until_up()
        code = ask("group", "invite", group, "--accept-first")["code"]
        friend.ask("group", "join", code, "--yes")
        wait_for("the friend joins", lambda: friend.ask("group", "ls"), WORK_S)
        friend.ask("share", "add", "music", "--name", FRIEND_SHARE, "--group", group)
        yield friend
    finally:
        friend.end()


def measure_fetch(ask: Ask, measure: Callable[[], Figures]) -> Figures:
    """Fetch all files of the friend, so many at once; return the most."""

    def found() -> list[str]:
        return [row["id"] for row in ask("find", "flac") if row["size"]]

    entries = wait_for(
        "the friend's files", lambda: len(found()) == MOVED_AT_ONCE and found(), WORK_S
    )
    with watched_most(measure) as most:
        ask("get", *entries)

        def is_done() -> bool:
            jobs = ask("status")["jobs"]
            return bool(jobs["done"] == MOVED_AT_ONCE)

        wait_for("the fetch", is_done, WORK_S)
    return most
