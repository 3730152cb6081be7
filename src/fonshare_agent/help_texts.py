"""What `--help` says and what docs/cli.md holds, made from the command table.

Written here and not by argparse, whose wording and line breaks differ between the
versions of Python. `python -m fonshare_agent.help_texts > docs/cli.md` writes the page.
"""

from collections.abc import Iterator

from fonshare_agent.control.commands import COMMANDS, KINDS
from fonshare_agent.control.rows import Argument, Command, Kind, Place
from fonshare_agent.words import say

PROGRAM = "fonshare"
OPTIONS = (
    ("-c FILE, --config FILE", "the settings; see below for the default"),
    ("--json", "answer with one JSON value on stdout, errors too"),
    ("-h, --help", "explain a command, with an example"),
    ("--version", "show the version"),
)
EXIT_STATUSES = (
    (0, "done"),
    (1, "failed; with `--wait`: not every job is done"),
    (2, "usage: the command or the settings are written wrongly"),
    (3, "no agent is running"),
)
DEFAULT_CONFIG = (
    "Without -c, the settings are /etc/config/fonshare on a router, else "
    "fonshare.yaml in this folder, else ~/.config/fonshare/fonshare.yaml."
)


FINDING = """
Words are found in the names of the file, its folders and its share, in any order; each
must be there. Capitals and accents do not matter. Three letters or more are found
anywhere, one or two at the beginning of a word.

`--sort relevance` shows first what has the words in the file's own name, best as whole
words, then what has them only in its folders; among equals the last changed. So that a
common word costs no more than a rare one, this is done for the 200 of them that came
last, then for the 200 before these, and so on. The other orders look at everything that
matches; if that takes more than five seconds, the answer is of what was looked at, and
a line on stderr says so.

`--limit` and `--after` show page after page; a line on stderr gives the command of the
next one. Rows that come or go in between move nothing: no row comes twice, none is left
out.

The same content (same root) offered by several members, in one group or in several, is
one row. What only one member offers, in two places or to two groups, is two.

While the clock is unknown, `--newer` and `--older` end with the error `clock_unknown`.
"""


def shown_commands() -> tuple[Command, ...]:
    return tuple(command for command in COMMANDS if command.is_shown)


def usage(command: Command) -> str:
    """Return how *command* is typed, after `fonshare `."""
    parts = [command.name]
    parts += [_positional(argument) for argument in command.arguments]
    parts += [_flag(flag) for flag in command.typed_flags]
    return " ".join(parts)


def _positional(argument: Argument) -> str:
    shown = argument.word + ("..." if argument.repeated else "")
    return f"[{shown}]" if argument.optional else shown


def _flag(flag: Argument) -> str:
    return f"[{_flag_value(flag)}]" if flag.optional else _flag_value(flag)


def _flag_value(flag: Argument) -> str:
    if flag.kind is Kind.SWITCH:
        return flag.flag
    return f"{flag.flag} {flag.word}" + (" ..." if flag.repeated else "")


def _rows(command: Command) -> list[tuple[str, str]]:
    rows = [(argument.word, say(argument.help)) for argument in command.arguments]
    for flag in command.typed_flags:
        limit = say(" (default {})", flag.default) if flag.default is not None else ""
        rows.append((_flag_value(flag), say(flag.help) + limit))
    return rows


def command_help(command: Command) -> str:
    """Return what `fonshare COMMAND --help` prints."""
    lines = [say("usage: {}", f"{PROGRAM} {usage(command)}")]
    lines += ["", _sentence(say(command.help))]
    rows = _rows(command)
    if rows:
        lines += ["", *_columns(rows)]
    lines += ["", say("example: {}", f"{PROGRAM} {command.example}")]
    return "\n".join(lines) + "\n"


def overview(family: str = "") -> str:
    """Return what `fonshare --help`, or `fonshare group --help`, prints."""
    rows = [
        (usage(command), say(command.help))
        for command in shown_commands()
        if not family or command.name.split()[0] == family
    ]
    lines = [say("usage: {}", f"{PROGRAM} [-c FILE] [--json] COMMAND ..."), ""]
    for shown, help in rows:
        lines += [f"  {shown}", f"      {help}"]
    options = [(option, say(help)) for option, help in OPTIONS]
    lines += ["", *_columns(options), "", say(DEFAULT_CONFIG)]
    lines += [say("`fonshare COMMAND --help` explains one command.")]
    return "\n".join(lines) + "\n"


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def page() -> str:
    """Return docs/cli.md."""
    return "\n".join(_page_lines()) + "\n"


def _page_lines() -> Iterator[str]:
    yield "# The command line"
    yield ""
    yield "Made from the command table by `python -m fonshare_agent.help_texts`;"
    yield "a test compares the two. `-c` and `--json` are accepted before or after the"
    yield "command."
    yield ""
    yield DEFAULT_CONFIG
    yield ""
    yield "| option | does |"
    yield "| --- | --- |"
    for option, help in OPTIONS:
        yield f"| `{option}` | {help} |"
    yield ""
    yield "| exit status | means |"
    yield "| --- | --- |"
    for status, meaning in EXIT_STATUSES:
        yield f"| {status} | {meaning} |"
    yield ""
    yield "An error is one line on stderr: `fonshare: what: which thing; what happens"
    yield "next`. With `--json` it is `{error:{code, message, thing, next}}` on stdout;"
    yield "the codes are in [errors.md](errors.md)."
    yield ""
    yield "Where LC_ALL, LC_MESSAGES or LANG asks for French, what is for people is in"
    yield "French; JSON and exit statuses never change."
    for command in shown_commands():
        yield ""
        yield from _command_lines(command)
        if command.name == "find":
            yield from _finding()


def _finding() -> Iterator[str]:
    """What a person must know of searching that fits in no line of the table."""
    yield FINDING
    yield "| kind | endings |"
    yield "| --- | --- |"
    for kind, endings in KINDS.items():
        yield f"| {kind} | {', '.join(endings)} |"


def _command_lines(command: Command) -> Iterator[str]:
    yield f"## {command.name}"
    yield ""
    yield _sentence(command.help)
    yield ""
    yield "```"
    yield f"{PROGRAM} {usage(command)}"
    if command.example != usage(command):
        yield f"{PROGRAM} {command.example}"
    yield "```"
    rows = _rows(command)
    if rows:
        yield ""
        yield "| argument | is |"
        yield "| --- | --- |"
        for left, right in rows:
            escaped = left.replace("|", "\\|")
            yield f"| `{escaped}` | {right} |"
    if command.answer:
        yield ""
        yield f"Answer: {command.answer}."
    if command.place is Place.HERE:
        yield ""
        yield "Needs no running agent."


if __name__ == "__main__":
    print(page(), end="")
