"""`python -m fonshare_agent.transfer.fxp_child`: one copy from server to server.

The process that `fonshare fxp start` has the agent begin. The wish comes on standard
input, its passwords with it: no secret is in an argument, the environment, a file or a
log. How far it is stands in a file (NOTE below). Descriptor 3 holds a lock, by which
others know that it lives. It outlives the agent: who watched it may be gone meanwhile.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fonshare_agent.errors import FonshareError
from fonshare_agent.model import JobState
from fonshare_agent.processes import offer_to_oom_killer
from fonshare_agent.transfer.fxp import Transfer
from fonshare_agent.transfer.fxp_told import (
    PRIVATE,
    Row,
    error_of,
    now_and_then,
    row_of,
    transfer_of,
    write_rows,
)
from fonshare_agent.transfer.fxp_url import ServerUrl

NICE: Final = 10  # after all that somebody waits for
OOM_SCORE: Final = 1000  # it is the first to go when memory runs out
WRITE_S: Final = 1.0  # somebody may look at a page all the time


def run(task: dict[str, Any]) -> None:
    """Do *task*; every end of it stands in its note."""
    note, before = Path(task["note"]), task["row"]

    def write(row: Row) -> None:
        write_rows(note, [{**before, **row}], PRIVATE)

    try:
        urls, transfer = transfer_of(task["wish"], lambda _: task["passwords"])
        _copy(urls, transfer, before["id"], write)
    except FonshareError as error:
        write({"state": JobState.FAILED.value, "error": error_of(error)})
    except KeyboardInterrupt:  # before there was anything to copy
        write({"state": JobState.CANCELLED.value})


def _copy(
    urls: list[ServerUrl], transfer: Transfer, name: str, write: Callable[[Row], None]
) -> None:
    progress = transfer.progress

    def tell() -> None:
        write(row_of(name, progress, urls))

    try:
        transfer.prepare()
        progress.on_change = now_and_then(WRITE_S, progress, tell)
        with suppress(KeyboardInterrupt):  # it is `cancelled` then
            transfer.run()
        tell()
    finally:
        transfer.close()


def main() -> int:
    """Do the task that comes on standard input."""
    logging.disable()  # whatever there is to say is in the note
    os.nice(NICE)
    with suppress(OSError):
        offer_to_oom_killer(OOM_SCORE)
    os.setsid()  # the agent's terminal does not end it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run(json.load(sys.stdin.buffer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
