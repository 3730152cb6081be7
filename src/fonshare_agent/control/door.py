"""The door of the control socket: a line of bytes becomes a valid request, or an error.

What comes through it has every argument of the table, typed and bounded, with the
defaults filled in; handlers check meaning only. Whatever the bytes, the only exception
is UsageError. Knows the table, not the socket, and nothing of what commands do.
"""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from fonshare_agent.control.arguments import check_arguments, shorten
from fonshare_agent.control.commands import AGENT_COMMANDS, BY_NAME
from fonshare_agent.control.rows import JSON, Command, Place
from fonshare_agent.errors import UsageError

Dispatch: TypeAlias = Callable[[str, dict[str, JSON]], Coroutine[Any, Any, JSON]]


@dataclass(frozen=True, slots=True)
class Request:
    """A command of the table with all its arguments."""

    command: Command
    arguments: dict[str, JSON]


def read_request(line: bytes) -> Request:
    """Return the request that *line* holds, or raise UsageError."""
    try:
        request = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UsageError("a request is one line of JSON") from None
    if not isinstance(request, dict) or not set(request) <= {"command", "arguments"}:
        raise UsageError('a request is {"command": ..., "arguments": {...}}')
    name, arguments = request.get("command"), request.get("arguments", {})
    command = BY_NAME.get(name) if isinstance(name, str) else None
    if command is None or command.place is not Place.AGENT:
        raise UsageError("the agent knows no such command", thing=shorten(name))
    if not isinstance(arguments, dict):
        raise UsageError("`arguments` must be an object", thing=command.name)
    return Request(command, check_arguments(command, arguments))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def bind(handlers: object) -> Dispatch:
    """Return what runs a request: the method of *handlers* named like the command.

    A command without a method is a bug of ours and shows at start, not at first use.
    """
    methods = {row.name: getattr(handlers, row.handler) for row in AGENT_COMMANDS}

    async def dispatch(name: str, arguments: dict[str, JSON]) -> JSON:
        answer: JSON = await methods[name](arguments)
        return answer

    return dispatch
