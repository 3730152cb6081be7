"""The door of the control socket: a line of bytes becomes a valid request, or an error.

What comes through it has every argument of the table, typed and bounded, with the
defaults filled in; handlers check meaning only. Whatever the bytes, the only exception
is UsageError. Knows the table, not the socket, and nothing of what commands do.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fonshare_agent.control.commands import AGENT_COMMANDS, BY_NAME
from fonshare_agent.control.rows import JSON, Argument, Command, Kind, Place
from fonshare_agent.errors import UsageError

TEXT_MAX = 8192  # characters: a path (4096 bytes) or a code with a CA pin fits
LIST_MAX = 10_000  # values of a repeated argument: a folder's worth of entries

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
        raise UsageError("the agent knows no such command", thing=_quoted(name))
    if not isinstance(arguments, dict):
        raise UsageError("`arguments` must be an object", thing=command.name)
    return Request(command, check_arguments(command, arguments))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _quoted(value: object) -> str:
    return repr(value)[:80]


def check_arguments(command: Command, given: Mapping[str, object]) -> dict[str, JSON]:
    """Return every argument of *command*, defaults filled in, or raise UsageError."""
    known = {
        argument.name: argument
        for argument in (*command.arguments, *command.flags)
        if argument.is_sent
    }
    for name in given:
        if name not in known:
            raise UsageError(
                f"`{command.name}` has no such argument", thing=_quoted(name)
            )
    return {
        name: _check(command, argument, given.get(name))
        for name, argument in known.items()
    }


def _check(command: Command, argument: Argument, value: object) -> JSON:
    if value is None:
        return _default(command, argument)
    if not argument.repeated:
        return _check_one(command, argument, value)
    if not isinstance(value, list):
        raise _wrong(command, argument, "must be a list")
    if len(value) > LIST_MAX:
        raise _wrong(command, argument, f"holds more than {LIST_MAX} values")
    if not value and not argument.optional:
        raise _wrong(command, argument, "is missing")
    return [_check_one(command, argument, one) for one in value]


def _default(command: Command, argument: Argument) -> JSON:
    if not argument.optional:
        raise _wrong(command, argument, "is missing")
    if argument.repeated:
        return []
    if argument.kind is Kind.SWITCH:
        return False
    return argument.default


def _check_one(command: Command, argument: Argument, value: object) -> JSON:
    if argument.kind is Kind.SWITCH:
        if isinstance(value, bool):
            return value
        raise _wrong(command, argument, "must be true or false")
    if argument.kind is Kind.INTEGER:
        # bool is an int in Python, not in JSON
        if isinstance(value, int) and not isinstance(value, bool):
            return _check_range(command, argument, value)
        raise _wrong(command, argument, "must be a whole number")
    if not isinstance(value, str):
        raise _wrong(command, argument, "must be text")
    return _check_text(command, argument, value)


def _check_range(command: Command, argument: Argument, value: int) -> int:
    if argument.minimum <= value <= argument.maximum:
        return value
    raise _wrong(
        command, argument, f"must be from {argument.minimum} to {argument.maximum}"
    )


def _check_text(command: Command, argument: Argument, value: str) -> str:
    if argument.choices and value not in argument.choices:
        raise _wrong(command, argument, f"must be {' or '.join(argument.choices)}")
    if value == "" and argument.default != "":
        raise _wrong(command, argument, "is empty")
    if len(value) > TEXT_MAX:
        raise _wrong(command, argument, f"is longer than {TEXT_MAX} characters")
    if "\0" in value:
        raise _wrong(command, argument, "holds a NUL character")
    return value


def _wrong(command: Command, argument: Argument, complaint: str) -> UsageError:
    shown = argument.word if argument in command.arguments else argument.flag
    return UsageError(
        f"{shown} {complaint}",
        thing=command.name,
        next=f"See `fonshare {command.name} --help`.",
    )


def bind(handlers: object) -> Dispatch:
    """Return what runs a request: the method of *handlers* named like the command.

    A command without a method is a bug of ours and shows at start, not at first use.
    """
    methods = {row.name: getattr(handlers, row.handler) for row in AGENT_COMMANDS}

    async def dispatch(name: str, arguments: dict[str, JSON]) -> JSON:
        answer: JSON = await methods[name](arguments)
        return answer

    return dispatch
