"""`fonshare fxp` as a person meets it: passwords, trust, progress, the outcome.

Runs in this process and needs no agent (docs/decisions/0050). Passwords come from a
prompt, stdin or a file that only its owner may read, and are kept in memory alone.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from fonshare_agent.command_line import CommandLine
from fonshare_agent.control.rows import JSON, Command
from fonshare_agent.processes import offer_to_oom_killer
from fonshare_agent.progress import Screen, is_done
from fonshare_agent.server_passwords import ask_passwords
from fonshare_agent.terminal import show_result
from fonshare_agent.transfer.fxp import Progress, Transfer
from fonshare_agent.transfer.fxp_told import (
    Row,
    now_and_then,
    row_of,
    transfer_of,
    write_rows,
)
from fonshare_agent.transfer.fxp_url import ServerUrl

OOM_SCORE = 1000
SHOW_S = 0.5  # a bar that moves twice a second looks alive
WRITE_S = 5.0  # who reads the file looks now and then


def run_fxp(line: CommandLine, command: Command) -> int:
    """Copy; 0 if everything is there at the end."""
    given = line.arguments
    urls, transfer = transfer_of(
        given, lambda urls: ask_passwords(urls, given["passwords"])
    )
    # Ended by whom it may: the servers are told, and the partial stays.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        transfer.prepare()
        file = given["background"]
        if isinstance(file, str):
            return _in_background(transfer, urls, Path(file), line, command)
        return _in_sight(transfer, urls, line, command)
    finally:
        transfer.close()
        signal.signal(signal.SIGTERM, before)


def _in_sight(
    transfer: Transfer, urls: list[ServerUrl], line: CommandLine, command: Command
) -> int:
    screen = None if line.wants_json else Screen.on_terminal(sys.stderr)
    progress = transfer.progress
    if screen is not None:
        progress.on_change = now_and_then(
            SHOW_S,
            progress,
            lambda: screen.draw([_row(progress, urls)], time.monotonic()),
        )
    try:
        transfer.run()
    finally:
        if screen is not None:
            screen.clear()
    rows: list[JSON] = [_row(progress, urls)]
    show_result(rows, line, command)
    return 0 if is_done(rows) else 1


def _row(progress: Progress, urls: list[ServerUrl]) -> Row:
    return row_of(f"fxp-{os.getpid()}", progress, urls)


# --- without a terminal -------------------------------------------------------------


def _in_background(
    transfer: Transfer,
    urls: list[ServerUrl],
    file: Path,
    line: CommandLine,
    command: Command,
) -> int:
    """Go on in a process that no terminal can end; its answer goes into *file*."""
    progress = transfer.progress
    file = file.absolute()
    write_rows(file, [_row(progress, urls)])  # says now if it cannot be written
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        rows: list[JSON] = [{**_row(progress, urls), "id": f"fxp-{child}"}]
        show_result(rows, line, command)
        sys.stdout.flush()
        os._exit(0)  # the sessions are the child's: nothing of them is closed here
    _leave_terminal()
    progress.on_change = now_and_then(
        WRITE_S, progress, lambda: write_rows(file, [_row(progress, urls)])
    )
    try:
        transfer.run()
    finally:
        write_rows(file, [_row(progress, urls)])
    return 0 if is_done([_row(progress, urls)]) else 1


def _leave_terminal() -> None:
    # Nobody watches it now: it ends before the router's own services, and the agent.
    with contextlib.suppress(OSError):
        offer_to_oom_killer(OOM_SCORE)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
