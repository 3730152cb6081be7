"""The client's side of the control socket: one request, one answer.

Imports little, because on the router every import of a command costs the user time.
"""

from __future__ import annotations

import contextlib
import json
import socket

from fonshare_agent.control.rows import JSON, Page
from fonshare_agent.errors import FonshareError, NoAgent, NotAllowed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

CONNECT_TIMEOUT_S = 10.0  # a living agent accepts in milliseconds
ANSWER_TIMEOUT_S = 300.0  # the slowest answer is a listing from a sleeping disk
CHUNK_BYTES = 65536
REQUEST_BYTES_MAX = 1 << 20  # 1 MiB: 10,000 entries of `get` fit


class AgentError(FonshareError):
    """An error that the agent answered with; carries the agent's own code."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(
            error.get("message", "the agent reported an error"),
            thing=error.get("thing", ""),
            next=error.get("next", ""),
        )
        self.answered_code = error.get("code", "internal")

    def as_dict(self) -> dict[str, str]:
        return {**super().as_dict(), "code": self.answered_code}


def is_usage(error: FonshareError) -> bool:
    """Tell whether the agent refused the request for how it was written."""
    return isinstance(error, AgentError) and error.answered_code == "usage"


def connect(path: Path | str) -> socket.socket:
    """Return a connection to the agent on *path*, or raise NoAgent."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_TIMEOUT_S)
    try:
        connection.connect(str(path))
    except PermissionError:
        connection.close()
        raise NotAllowed(
            "this user may not command the agent",
            thing=str(path),
            next="Run it as the user that the agent runs as.",
        ) from None
    except OSError:
        connection.close()
        raise NoAgent("no agent is running", thing=str(path)) from None
    return connection


def is_answered(path: Path) -> bool:
    """Tell whether somebody listens on the socket *path*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def request(path: Path | str, command: str, arguments: dict[str, JSON]) -> JSON:
    """Return the agent's result, or raise its error or NoAgent."""
    return request_by(connect(path), path, command, arguments)


def request_by(
    connection: socket.socket,
    path: Path | str,
    command: str,
    arguments: dict[str, JSON],
) -> JSON:
    """As `request`, over a *connection* to *path* that is there; closes it."""
    # ASCII with escapes: lone surrogates, which stand for the bytes of a path that is
    # not UTF-8, make the trip unchanged.
    line = json.dumps({"command": command, "arguments": arguments}).encode("ascii")
    if len(line) >= REQUEST_BYTES_MAX:
        connection.close()
        raise UsageError("the command is too long; give it in parts", thing=command)
    return exchange(connection, path, line + b"\n")


def exchange(connection: socket.socket, path: Path | str, line: bytes) -> JSON:
    """Send *line*, return the result that comes back; closes the connection."""
    with connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            # An agent that turns clients away answers and closes without reading: then
            # sending fails, and the reason waits to be read.
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(line)
            raw = _read_line(connection)
        except TimeoutError:
            raise _no_answer(path, "the agent did not answer in time") from None
        except OSError:
            raise _no_answer(path, "the agent went away before it answered") from None
    return _read_answer(path, raw)


def _read_answer(path: Path | str, raw: bytes) -> JSON:
    try:
        answer = json.loads(raw)
    except ValueError:
        raise _no_answer(path, "the agent went away before it answered") from None
    match answer:
        case {"error": dict(error)}:
            raise AgentError(error)
        case {"result": list(rows), "rest": dict(rest)}:
            return Page(
                rows,
                rest.get("more"),
                has_more=rest.get("has_more") is True,
                is_cut=rest.get("is_cut") is True,
            )
        case {"result": result}:
            found: JSON = result
            return found
    raise _no_answer(path, "another program answers on the socket")


def _no_answer(path: Path | str, message: str) -> NoAgent:
    return NoAgent(message, thing=str(path), next="See `fonshare status`.")


def _read_line(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(CHUNK_BYTES):
        chunks.append(chunk)
        if chunk.endswith(b"\n"):
            break
    return b"".join(chunks)
