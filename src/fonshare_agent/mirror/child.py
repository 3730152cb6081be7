"""`python -m fonshare_agent.mirror.child`: one reading of one mirror.

A process of its own, started by the agent with a socket as its standard input, over
which the task comes and the report goes (line.py): no secret is in an argument, the
environment or a log. Ends with the agent, whatever becomes of that.
"""

import logging
import os
import socket
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    FonshareError,
    FxpCertificate,
    FxpLogin,
    FxpLost,
    FxpUnreachable,
    FxpUrl,
)
from fonshare_agent.mirror.arrive import Arrivals
from fonshare_agent.mirror.known import KnownFiles
from fonshare_agent.mirror.line import TELL_S, Line, Message, Stopped, error_fields
from fonshare_agent.mirror.place import Place
from fonshare_agent.mirror.reading import Reading, Report, demand_folder, totals
from fonshare_agent.model import SharePath
from fonshare_agent.processes import offer_to_oom_killer
from fonshare_agent.transfer.fxp_server import Login, Server
from fonshare_agent.transfer.fxp_tls import Trust
from fonshare_agent.transfer.fxp_url import ServerUrl

NICE: Final = 10  # after all that somebody waits for
EVERYWHERE: Final = ("0.0.0.0", "::")
OOM_SCORE: Final = 1000  # it is the first to go when memory runs out


def run(line: Line, task: Message) -> dict[str, Any]:
    """Do *task*; return the report, an error's fields in `error` if it broke off."""
    report = Report()
    told: dict[str, Any] = {}
    try:
        with closing(_open(task)) as server:
            _demand_another(server, task["door"])
            if task["looks_only"]:
                demand_folder(server, _top(task, server))
            else:
                told = _read(line, task, server, report)
    except Stopped as stopped:
        told["stopped"] = str(stopped)
    except FonshareError as error:
        told["error"] = error_fields(_explained(error, looks_only=task["looks_only"]))
    return told


def _explained(error: FonshareError, *, looks_only: bool) -> FonshareError:
    """Return *error* with what comes next here; `fonshare fxp` says another thing."""
    text, thing = str(error), error.thing
    if isinstance(error, FxpCertificate):
        return FxpCertificate(
            text,
            thing=thing,
            next="No password was sent. If the server is yours, give `--pin` the "
            "SHA-256 of its certificate, or `--ca` the file of who signed it.",
        )
    if looks_only:
        return error
    if isinstance(error, FxpLogin):
        return FxpLogin(
            text,
            thing=thing,
            next="Give the right one with `fonshare share password NAME`.",
        )
    if isinstance(error, (FxpLost, FxpUnreachable)):
        return FxpLost(
            text, thing=thing, next="It is tried again by itself; nothing is lost."
        )
    return error


def _open(task: Message) -> Server:
    url = ServerUrl.parse(task["url"])
    trust = None
    if url.tls:
        pin, ca = task["pin"], task["ca"]
        authorities = Path(ca) if ca else None
        trust = Trust.of_pin(pin) if pin else Trust.of_authorities(authorities)
    server = Server(Login(url, task["password"], trust))
    server.open()
    return server


def _demand_another(server: Server, door: list[Any]) -> None:
    """Raise FxpUrl if the server is *door*, this node's own: of (address, port).

    Its copy would hold a copy of itself, one level deeper each hour.
    """
    address, port = door
    is_reached = address in EVERYWHERE or address == server.peer
    if server.is_here and is_reached and port == server.login.url.port:
        raise FxpUrl(
            "this is the FTP door of this node itself",
            thing=server.name,
            next="Share the folder by its path: `fonshare share add PATH`.",
        )


def _top(task: Message, server: Server) -> bytes:
    path = server.path(ServerUrl.parse(task["url"]).path)
    return path.rstrip(b"/")


def _read(line: Line, task: Message, server: Server, report: Report) -> dict[str, Any]:
    disk = Disk(Path(task["disk"]), Path(task["disk_id"]), os.urandom)
    disk.open()
    folder = SharePath.parse(task["folder"])
    place = Place(disk, folder, task["key"].encode("ascii"))
    ticker = _Ticker(line, report)
    with KnownFiles(Path(task["known"])) as known:
        arrivals = Arrivals(server, place, known, line, ticker.on_bytes)
        reading = Reading(
            arrivals,
            _top(task, server),
            is_confirmed=task["is_confirmed"],
            report=report,
            on_moved=ticker.tell,
        )
        try:
            reading.read()
        except FonshareError as error:
            why = error_fields(_explained(error, looks_only=False))
            return {**totals(arrivals, report), "error": why}
        except Stopped as stopped:
            return {**totals(arrivals, report), "stopped": str(stopped)}
        return {**totals(arrivals, report), "is_complete": report.is_whole}


class _Ticker:
    """Tells the agent now and then how far it is."""

    def __init__(self, line: Line, report: Report) -> None:
        self._line, self._report, self._clock = line, report, time.monotonic
        self._told_at = self._clock()

    def on_bytes(self, count: int) -> None:
        self._report.fetched_bytes += count
        self.tell()

    def tell(self) -> None:
        if self._clock() - self._told_at >= TELL_S:
            self._told_at = self._clock()
            report = self._report
            self._line.tell(
                found=report.found,
                fetched=report.fetched,
                fetched_bytes=report.fetched_bytes,
            )


def main() -> int:
    """Do the task that comes on standard input, which is a socket."""
    logging.disable()  # whatever there is to say is in the report
    os.nice(NICE)
    with suppress(OSError):
        offer_to_oom_killer(OOM_SCORE)
    line = Line(socket.socket(fileno=os.dup(0)))
    try:
        line.tell(report=run(line, line.take_task()))
    except Stopped:
        return 1  # nobody is there to be told
    return 0


if __name__ == "__main__":
    sys.exit(main())
