"""What a copy between two FTP servers is asked for and tells, wherever it runs.

The command line and the agent's process of its own (fxp_child.py) share it: what a wish
means, the row that both answer with, and the file that keeps it up to date for whoever
looks later.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fonshare_agent.errors import FonshareError, StorageError, UsageError
from fonshare_agent.model import ENDED
from fonshare_agent.transfer.fxp import Progress, Transfer, is_same_place
from fonshare_agent.transfer.fxp_file import Relay, Wishes
from fonshare_agent.transfer.fxp_server import Login
from fonshare_agent.transfer.fxp_tls import Trust
from fonshare_agent.transfer.fxp_url import ServerUrl

PRIVATE = 0o600  # of a file whose names are nobody else's business

Row = dict[str, Any]


def transfer_of(
    wish: Mapping[str, Any], ask: Callable[[list[ServerUrl]], list[str]]
) -> tuple[list[ServerUrl], Transfer]:
    """Return what *wish*, arguments of `fxp`, asks for, and the two servers; nobody is
    connected to yet. *ask* gives their passwords once all else is right."""
    urls = [ServerUrl.parse(str(wish[name])) for name in ("source", "target")]
    if is_same_place(*urls):
        raise UsageError("source and target are the same place", thing=str(urls[0]))
    pins = (wish["src_pin"], wish["dst_pin"])
    trusts = [
        _trust_of(url, pin, wish["ca"]) for url, pin in zip(urls, pins, strict=True)
    ]
    source, target = (
        Login(url, password, trust)
        for url, password, trust in zip(urls, ask(urls), trusts, strict=True)
    )
    wishes = Wishes(
        Relay(wish["relay"]), wish["overwrite"] is True, wish["plain_data"] is True
    )
    return urls, Transfer(source, target, wishes)


def _trust_of(url: ServerUrl, pin: object, ca: object) -> Trust | None:
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


def row_of(name: str, progress: Progress, urls: list[ServerUrl]) -> Row:
    """Return the answer, in the shape that `get` has, of the copy called *name*."""
    return {
        "id": name,
        "entry": str(urls[0]),
        "name": progress.name,
        "size": progress.size,
        "done_bytes": progress.done_bytes,
        "state": progress.state.value,
        "sources": [urls[0].server],
        "error": error_of(progress.error),
        "path": progress.path,
        "files": progress.files,
        "skipped": progress.skipped,
        "failed": progress.failed,
        "failures": [
            {"path": failure.path, "error": error_of(failure.error)}
            for failure in progress.failures
        ],
        "relayed": _relayed(progress),
    }


def error_of(error: FonshareError | None) -> dict[str, Any] | None:
    """Return *error* as an answer has it."""
    return dict(error.as_dict()) if error is not None else None


def _relayed(progress: Progress) -> str | None:
    if not progress.is_relayed:
        return None
    if progress.refusal is None:
        return "as `--relay always` asks"
    return f"{progress.refusal}: {progress.refusal.thing}"


def now_and_then(
    period_s: float,
    progress: Progress,
    act: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[], None]:
    """Return what calls *act* at most once a period, and at the end."""
    last = [clock() - period_s]

    def act_if_due() -> None:
        if clock() - last[0] >= period_s or progress.state in ENDED:
            last[0] = clock()
            act()

    return act_if_due


def write_rows(file: Path, rows: list[Row], mode: int = 0o666) -> None:
    """Replace *file*, so that who reads it never sees half. A new one has *mode*."""
    aside = file.with_name(file.name + ".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        with open(os.open(aside, flags, mode), "w") as opened:
            opened.write(json.dumps(rows) + "\n")
        aside.replace(file)
    except OSError as error:
        raise StorageError(
            f"the file cannot be written: {error.strerror}",
            thing=str(file),
            next="Choose a place that you may write to.",
        ) from None
