"""Runs another program to its end: a short-lived child, its output read and bounded.

`posix_spawn` and a pipe, since `subprocess` would stay in the agent's memory. A child
is the first to die when memory runs out. Blocks: for threads that may wait.
"""

import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

OUTPUT_BYTES_MAX: Final = 64 * 1024
LOOK_S: Final = 0.01  # between its last word and its end
KILLED: Final = -1000  # no signal: the status of a child that took too long
_OOM_FIRST: Final = b"1000"


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
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return Ended(os.waitstatus_to_exitcode(status), output)
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ended(KILLED, output)
        time.sleep(LOOK_S)


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
    _offer_to_oom(child)
    return child


def _offer_to_oom(child: int) -> None:
    try:
        place = os.open(f"/proc/{child}/oom_score_adj", os.O_WRONLY)
    except OSError:
        return  # it has ended already, or there is no /proc
    try:
        os.write(place, _OOM_FIRST)
    except OSError:
        return  # it ended meanwhile
    finally:
        os.close(place)


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
