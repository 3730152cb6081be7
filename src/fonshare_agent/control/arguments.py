"""Checks of a command's arguments: types, bounds, defaults; by the table alone.

The command line checks with it before it asks, and the socket's door checks again: who
writes to the socket need not be our command line.
"""

from collections.abc import Mapping

from fonshare_agent.control.quantities import (
    AGE_EXAMPLES,
    SIZE_EXAMPLES,
    read_age,
    read_size,
)
from fonshare_agent.control.rows import JSON, Argument, Command, Kind
from fonshare_agent.errors import UsageError

TEXT_MAX = 8192  # characters: a path (4096 bytes) or a code with a CA pin fits
LIST_MAX = 10_000  # values of a repeated argument: a folder's worth of entries
QUANTITIES = {
    Kind.SIZE: (read_size, SIZE_EXAMPLES),
    Kind.AGE: (read_age, AGE_EXAMPLES),
}
QUOTED_MAX = 80  # characters of a wrong value: enough to recognise it, one line


def check_arguments(
    command: Command, given: Mapping[str, object], *, is_request: bool = True
) -> dict[str, JSON]:
    """Return every argument of *command*, defaults filled in, or raise UsageError.

    A request may not hold what only the command line reads.
    """
    known = {
        argument.name: argument
        for argument in (*command.arguments, *command.flags)
        if argument.is_sent or not is_request
    }
    for name in given:
        if name not in known:
            raise UsageError(
                f"`{command.name}` has no such argument", thing=shorten(name)
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
    if argument.kind in QUANTITIES and isinstance(value, str):
        read, examples = QUANTITIES[argument.kind]
        quantity = read(value)
        if quantity is None:
            raise _wrong(command, argument, f"must be {examples}")
        return _check_range(command, argument, quantity)
    if argument.kind is Kind.INTEGER or argument.kind in QUANTITIES:
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


def shorten(value: object) -> str:
    """Return *value* as a complaint quotes it."""
    return repr(value)[:QUOTED_MAX]
