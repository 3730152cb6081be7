"""Runs another program to its end: a short-lived child, its output read and bounded.

`posix_spawn` and a pipe, since `subprocess` would stay in the agent's memory. A child
is the first to die when memory runs out. Blocks: for threads that may wait.
"""

import os
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from fonshare_agent.processes import offer_to_oom_killer, reap

OUTPUT_BYTES_MAX: Final = 64 * 1024
KILLED: Final = -1000  # no signal: the status of a child that took too long
OOM_SCORE: Final = 1000


class Ended(NamedTuple):
    """How a child ended; both its outputs as one text."""

    status: int
    output: str


def run_child(words: Sequence[str], timeout_s: float) -> Ended:
    """Run a program of the PATH; kill it after *timeout_s*. OSError: there is none."""
    until = time.monotonic() + timeout_s
    reading, writing = os.pipe()
    try:
        child = _start(words, writing)
        output = _read(reading, until)
    finally:
        os.close(reading)
    status = reap(child, until)
    return Ended(KILLED if status is None else status, output)


def _start(words: Sequence[str], writing: int) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_DUP2, writing, 2),
    ]
    try:
        child = os.posix_spawnp(words[0], list(words), os.environ, file_actions=actions)
    finally:
        os.close(writing)
    with suppress(OSError):  # it has ended already, or there is no /proc
        offer_to_oom_killer(OOM_SCORE, child)
    return child


def _read(reading: int, until: float) -> str:
    """Return what the child says, until it is silent for good or it is too late."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    said = bytearray()
    while (left_s := until - time.monotonic()) > 0:
        if not poll.poll(left_s * 1000):
            break
        piece = os.read(reading, 4096)
        if not piece:
            break
        said += piece[: OUTPUT_BYTES_MAX - len(said)]
    return said.decode("utf-8", "replace")
