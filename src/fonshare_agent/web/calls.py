"""Commands of the page, handed to the agent over its control socket.

The command table checks them here as it does at the socket, and what only the command
line does is refused. So many may wait for the agent at once that a slow one keeps no
thread from serving the page itself.
"""

import threading
from pathlib import Path
from typing import Final

from fonshare_agent.control import client
from fonshare_agent.control.arguments import check_arguments, shorten
from fonshare_agent.control.commands import BY_NAME
from fonshare_agent.control.rows import JSON, Page, Place
from fonshare_agent.errors import UsageError
from fonshare_agent.web.refusals import WebBusy

CALLS_MAX: Final = 8  # the agent takes 16 clients, and its owner's terminal is one
WAIT_S: Final = 10.0  # for one of these to end; a page asks a few things at once


class Calls:
    """The agent behind one control socket. Any thread.

    *before* is where it listened by older settings, which it may not have left yet.
    """

    def __init__(self, socket: Path, before: Path | None = None) -> None:
        self._socket, self._before = socket, before
        self._free = threading.BoundedSemaphore(CALLS_MAX)

    def call(self, command: JSON, arguments: JSON) -> dict[str, JSON]:
        """Return {result}, and {rest} beside a page of rows; raises what is refused."""
        row = BY_NAME.get(command) if isinstance(command, str) else None
        if row is None or row.place is not Place.AGENT:
            raise UsageError("the agent knows no such command", thing=shorten(command))
        if not isinstance(arguments, dict):
            raise UsageError("`arguments` must be an object", thing=row.name)
        checked = check_arguments(row, arguments)
        if not self._free.acquire(timeout=WAIT_S):
            raise WebBusy(f"{CALLS_MAX} commands are running already")
        try:
            result = client.request(self._find(), row.name, checked)
        finally:
            self._free.release()
        if isinstance(result, Page):
            return {"result": result, "rest": result.rest()}
        return {"result": result}

    def life(self) -> tuple[int, int] | None:
        """Return what is another one after each start of the agent; None without it."""
        try:
            state = self._find().stat()
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns

    def _find(self) -> Path:
        if self._before is None or client.is_answered(self._socket):
            return self._socket
        return self._before
