"""`fonshare fxp` as a person meets it: passwords, trust, progress, the outcome.

Runs in this process and needs no agent (docs/decisions/0050). Passwords come from a
prompt, stdin or a file that only its owner may read, and are kept in memory alone.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fonshare_agent.command_line import CommandLine
from fonshare_agent.control.rows import JSON, Command
from fonshare_agent.errors import FonshareError, StorageError, UsageError
from fonshare_agent.processes import offer_to_oom_killer
from fonshare_agent.progress import ENDED, Screen, is_done
from fonshare_agent.server_passwords import ask_passwords
from fonshare_agent.terminal import show_result
from fonshare_agent.transfer.fxp import Progress, Transfer, is_same_place
from fonshare_agent.transfer.fxp_file import Relay, Wishes
from fonshare_agent.transfer.fxp_server import Login
from fonshare_agent.transfer.fxp_tls import Trust
from fonshare_agent.transfer.fxp_url import ServerUrl

OOM_SCORE = 1000
SHOW_S = 0.5  # a bar that moves twice a second looks alive
WRITE_S = 5.0  # who reads the file looks now and then


def run_fxp(line: CommandLine, command: Command) -> int:
    """Copy; 0 if everything is there at the end."""
    given = line.arguments
    urls = [ServerUrl.parse(str(given[name])) for name in ("source", "target")]
    if is_same_place(*urls):
        raise UsageError("source and target are the same place", thing=str(urls[0]))
    source, target = _logins(urls, given)
    wishes = Wishes(
        Relay(given["relay"]), given["overwrite"] is True, given["plain_data"] is True
    )
    transfer = Transfer(source, target, wishes)
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
        progress.on_change = _now_and_then(
            SHOW_S, progress, lambda: screen.draw([_row(progress, urls)], _now())
        )
    try:
        transfer.run()
    finally:
        if screen is not None:
            screen.clear()
    rows: list[JSON] = [_row(progress, urls)]
    show_result(rows, line, command)
    return 0 if is_done(rows) else 1


def _now() -> float:
    return time.monotonic()


def _now_and_then(
    period_s: float, progress: Progress, act: Callable[[], None]
) -> Callable[[], None]:
    """Return what calls *act* at most once a period, and at the end."""
    last = [_now() - period_s]

    def act_if_due() -> None:
        if _now() - last[0] >= period_s or progress.state.value in ENDED:
            last[0] = _now()
            act()

    return act_if_due


def _row(progress: Progress, urls: list[ServerUrl]) -> dict[str, JSON]:
    """The answer, in the shape that `get` has."""
    return {
        "id": f"fxp-{os.getpid()}",
        "entry": str(urls[0]),
        "name": progress.name,
        "size": progress.size,
        "done_bytes": progress.done_bytes,
        "state": progress.state.value,
        "sources": [urls[0].server],
        "error": _error(progress.error),
        "path": progress.path,
        "files": progress.files,
        "skipped": progress.skipped,
        "failed": progress.failed,
        "failures": [
            {"path": failure.path, "error": _error(failure.error)}
            for failure in progress.failures
        ],
        "relayed": _relayed(progress),
    }


def _error(error: FonshareError | None) -> JSON:
    return dict(error.as_dict()) if error is not None else None


def _relayed(progress: Progress) -> JSON:
    if not progress.is_relayed:
        return None
    if progress.refusal is None:
        return "as `--relay always` asks"
    return f"{progress.refusal}: {progress.refusal.thing}"


# --- logins -------------------------------------------------------------------------


def _logins(urls: list[ServerUrl], given: dict[str, JSON]) -> list[Login]:
    pins = (given["src_pin"], given["dst_pin"])
    trusts = [
        _trust(url, pin, given["ca"]) for url, pin in zip(urls, pins, strict=True)
    ]
    passwords = ask_passwords(urls, given["passwords"])
    return [
        Login(url, password, trust)
        for url, password, trust in zip(urls, passwords, trusts, strict=True)
    ]


def _trust(url: ServerUrl, pin: JSON, ca: JSON) -> Trust | None:
    if not url.tls:
        if pin is not None:
            raise UsageError(
                "a pin is for a server with TLS",
                thing=str(url),
                next="Write its URL with ftps://.",
            )
        return None
    if isinstance(pin, str):
        return Trust.of_pin(pin)
    return Trust.of_authorities(Path(ca) if isinstance(ca, str) else None)


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
    _write(file, [_row(progress, urls)])  # says now if it cannot be written
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        rows: list[JSON] = [{**_row(progress, urls), "id": f"fxp-{child}"}]
        show_result(rows, line, command)
        sys.stdout.flush()
        os._exit(0)  # the sessions are the child's: nothing of them is closed here
    _leave_terminal()
    progress.on_change = _now_and_then(
        WRITE_S, progress, lambda: _write(file, [_row(progress, urls)])
    )
    try:
        transfer.run()
    finally:
        _write(file, [_row(progress, urls)])
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


def _write(file: Path, rows: list[JSON]) -> None:
    """Replace *file*, so that who reads it never sees half."""
    aside = file.with_name(file.name + ".new")
    try:
        aside.write_text(json.dumps(rows) + "\n")
        aside.replace(file)
    except OSError as error:
        raise StorageError(
            f"the file cannot be written: {error.strerror}",
            thing=str(file),
            next="Choose a place that you may write to.",
        ) from None
