"""From argv to a command of the table and its arguments.

argparse sees only the options of the one command that argv names, so the start costs
the same however long the table grows, and whatever follows `--` never reaches it: those
words are data. Positionals are handed out here, by the table. Every complaint is a
UsageError; nothing here prints or ends the process.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from fonshare_agent.control.arguments import check_arguments
from fonshare_agent.control.commands import BY_NAME
from fonshare_agent.control.rows import JSON, Argument, Command, Kind
from fonshare_agent.errors import UsageError

GLOBAL_SWITCHES = {"--json", "--version", "--help", "-h"}
CONFIG_FLAGS = ("-c", "--config")
DIGITS_MAX = 18  # fits 64 bits; the table's own ranges are narrower


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What the user wants. Without a command, `topic` is what help was asked about."""

    command: Command | None
    arguments: dict[str, JSON]
    config: str | None = None
    wants_json: bool = False
    wants_help: bool = False
    wants_version: bool = False
    topic: str = ""
    argv: tuple[str, ...] = ()


def asks_for_json(argv: Sequence[str]) -> bool:
    """Tell whether even a complaint about *argv* must be JSON."""
    before, _ = _split(argv)
    return "--json" in before


def parse(argv: Sequence[str]) -> CommandLine:
    """Return what *argv* asks for, or raise UsageError."""
    before, data = _split(argv)
    words, options, rest = _find_words(before)
    name, used = _find_name(words)
    command = BY_NAME.get(name)
    if command is None or command.name != name:
        command = None
    # Words that are no part of the name are arguments; so is all that follows.
    parser = _parser(command)
    parsed = parser.parse_intermixed_args([*options, *words[used:], *rest])
    line = _global_part(command, parsed, name)
    if line.wants_help or line.wants_version:
        return line
    if command is None:
        raise _no_command(words)
    given = _arguments(command, parsed, [*parsed.words, *data])
    arguments = check_arguments(command, given, is_request=False)
    return CommandLine(
        command, arguments, line.config, line.wants_json, argv=tuple(argv)
    )


def with_flag(argv: Sequence[str], flag: str, value: str) -> list[str]:
    """Return *argv* with *flag* set to *value*, whatever it was."""
    before, data = _split(argv)
    kept: list[str] = []
    for word in before:
        if kept and kept[-1] == flag:
            kept.pop()
        elif not word.startswith(flag + "="):
            kept.append(word)
    return [*kept, flag, value, *(["--", *data] if data else [])]


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cut at the first `--`, which a command's own flags can never be."""
    if "--" not in argv:
        return list(argv), []
    cut = argv.index("--")
    return list(argv[:cut]), list(argv[cut + 1 :])


def _find_words(argv: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Cut into the leading words, the global options among them, and the rest."""
    words: list[str] = []
    options: list[str] = []
    position = 0
    while position < len(argv):
        word = argv[position]
        if word in CONFIG_FLAGS:
            options += argv[position : position + 2]
            position += 1
        elif word in GLOBAL_SWITCHES or word.startswith(("--config=", "-c")):
            options.append(word)
        elif word.startswith("-") and word != "-":
            break
        else:
            words.append(word)
        position += 1
    return words, options, argv[position:]


def _find_name(words: list[str]) -> tuple[str, int]:
    """Return the longest name in the table that *words* begin with, and its length."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and (name in BY_NAME or _is_family(name)):
            return name, length
    return "", 0


def _is_family(name: str) -> bool:
    return any(known.startswith(name + " ") for known in BY_NAME)


def _no_command(words: list[str]) -> UsageError:
    if not words:
        return UsageError("no command was given")
    if _is_family(words[0]):
        known = [name for name in BY_NAME if name.startswith(words[0] + " ")]
        shown = ", ".join(name for name in known if BY_NAME[name].is_shown)
        return UsageError(
            "there is no such command", thing=" ".join(words[:2]), next=f"Try: {shown}."
        )
    return UsageError("there is no such command", thing=words[0])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, thing=self.prog, next=_advice(self.prog))


def _advice(name: str) -> str:
    return f"See `{'fonshare ' + name if name else 'fonshare'} --help`."


def _parser(command: Command | None) -> _Parser:
    # Usage and width, which nobody sees, keep argparse from asking how wide the
    # terminal is, for which it loads a dozen modules.
    parser = _Parser(
        prog=command.name if command else "",
        usage="",
        formatter_class=partial(argparse.HelpFormatter, width=80),
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", dest="config ")
    parser.add_argument("--json", action="store_true", dest="json ")
    parser.add_argument("-h", "--help", action="store_true", dest="help ")
    parser.add_argument("--version", action="store_true", dest="version ")
    for flag in command.typed_flags if command else ():
        _add_flag(parser, flag)
    parser.add_argument("words", nargs="*")
    return parser


def _add_flag(parser: argparse.ArgumentParser, flag: Argument) -> None:
    if flag.kind is Kind.SWITCH:
        parser.add_argument(flag.flag, action="store_true", dest=flag.name)
    else:
        action = "append" if flag.repeated else "store"
        parser.add_argument(flag.flag, action=action, dest=flag.name)


def _global_part(
    command: Command | None, parsed: argparse.Namespace, topic: str
) -> CommandLine:
    found = vars(parsed)
    return CommandLine(
        command,
        {},
        config=found["config "],
        wants_json=found["json "],
        wants_help=found["help "],
        wants_version=found["version "],
        topic=topic,
    )


def _arguments(
    command: Command, parsed: argparse.Namespace, words: list[str]
) -> dict[str, JSON]:
    """Hand the words out to the positionals; what is missing is left out."""
    found: dict[str, JSON] = {}
    for argument in command.arguments:
        if argument.repeated:
            found[argument.name], words = [*words], []
        elif words:
            found[argument.name], words = _typed(argument, words[0]), words[1:]
    if words:
        raise UsageError(
            f"`{command.name}` takes fewer words",
            thing=words[0],
            next=_advice(command.name),
        )
    for flag in command.typed_flags:
        found[flag.name] = _typed(flag, vars(parsed)[flag.name])
    return found


def _typed(argument: Argument, value: str | None) -> JSON:
    return _number(value) if argument.kind is Kind.INTEGER else value


def _number(text: str | None) -> JSON:
    """Return the number that *text* is, else *text*, for the check to complain of."""
    # Not int() alone: it takes "1_000", " 5" and digits of other scripts.
    if text and text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX:
        return int(text)
    return text
