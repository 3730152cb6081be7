"""`make words` for the command line: what its French lacks, or has too much.

    python3 tools/cli_words.py

Collects what the command line may say from the sources: the messages and next steps of
all errors, the help of the command table, the doctor's findings, the reasons of jobs,
and every text that `say` is called with. An f-string becomes a text with `{}` for each
of its expressions. Lists what src/fonshare_agent/french.txt does not translate, or
wrongly, and what nobody says any more; the exit status tells whether all is well.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fonshare_agent import errors, words
from fonshare_agent.control.commands import COMMANDS
from fonshare_agent.help_texts import DEFAULT_CONFIG, OPTIONS
from fonshare_agent.index.media import MEDIA
from fonshare_agent.layout import UNITS
from fonshare_agent.model import JobState, Role
from fonshare_agent.reasons import REASONS

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "fonshare_agent"
FRENCH = SOURCE / words.FRENCH

# Errors of these end in a log, at an FTP client or on the page: no command shows them.
UNHEARD = (
    *("ftp/", "web/backups.py", "web/calls.py", "web/pictures.py"),
    *("index/blocks.py", "index/place.py", "protocol/roster.py"),
)
# What is wrong with an option, and what is allowed.
SETTINGS = tuple(
    f"config_{name}.py" for name in ("check", "rules", "values", "uci", "yaml")
)
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.FonshareError)
}
PEERS_ERRORS = {
    name for name in ERRORS if issubclass(getattr(errors, name), errors.PeerError)
}
LEVELS = ("ok", "warning", "error")  # of a finding
SAYERS = {
    "say": (0,),
    "ask": (0,),
    "ask_yes": (0,),
    "complain": (0,),
    "finding": (2, 4),
    "_finding": (2, 4),
    "_reached": (1,),
    "_unreached": (1,),
}
SENT = {command.name for command in COMMANDS}  # by an `ask` that is handed over
SAID_TABLES = (("doctor_storage.py", "SKIPPED"),)  # beside those that are loaded here


def template_of(node: ast.expr) -> str | None:
    """Return the text that a literal or f-string is, with its gaps; else None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(template_of(part) or words.GAP for part in node.values)
    return None


def templates_of(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression may be, as far as they stand in it."""
    if isinstance(node, ast.IfExp):
        yield from templates_of(node.body)
        yield from templates_of(node.orelse)
    elif (text := template_of(node)) is not None:
        yield text


def said_by(call: ast.Call, place: str) -> Iterator[ast.expr]:
    """Yield the arguments of *call* that are for people.

    What another node did wrong in the protocol is dropped and logged.
    """
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else ""
    name = function.id if isinstance(function, ast.Name) else name
    is_logged = name in PEERS_ERRORS and place.startswith("protocol/")
    if name in ERRORS and not is_logged:
        yield from call.args[:1]
        yield from (one.value for one in call.keywords if one.arg == "next")
    if isinstance(function, ast.Name):  # a method of such a name asks a node or server
        for position in SAYERS.get(name, ()):
            for argument in call.args[position : position + 1]:
                if not (name == "ask" and template_of(argument) in SENT):
                    yield from values_of(argument, place)
    if name == "table" and isinstance(call.args[0], ast.Tuple):
        yield from call.args[0].elts
    if place.startswith(SETTINGS):
        yield from complaints_of(call, name)
    if name == "_wrong" and len(call.args) == 3:  # an argument's name and a complaint
        gap = ast.FormattedValue(call.args[1], -1)
        yield ast.JoinedStr([gap, ast.Constant(" "), call.args[2]])


def complaints_of(call: ast.Call, name: str) -> Iterator[ast.expr]:
    """Yield what a call says is wrong with a setting, or allowed."""
    if name in ("Refused", "append"):
        yield from call.args[:1]
    if name == "add":
        yield from call.args[1:3]
    if name in ("Kind", "_kind"):
        yield from call.args[1:2]


def values_of(argument: ast.expr, place: str) -> Iterator[ast.expr]:
    """Yield what *argument* is: if a variable, all that the file *place* puts in it."""
    if not isinstance(argument, ast.Name):
        yield argument
        return
    for target, value in assignments(place):
        if target == argument.id:
            yield value


@cache
def assignments(place: str) -> list[tuple[str, ast.expr]]:
    """Return each variable of a file with what is put in it, defaults too."""
    found: list[tuple[ast.expr | str, ast.expr]] = []
    for node in ast.walk(ast.parse((SOURCE / place).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found.append((target, node.value))
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    found += zip(target.elts, node.value.elts, strict=False)
        elif isinstance(node, ast.arguments) and node.defaults:
            names = [*node.posonlyargs, *node.args][-len(node.defaults) :]
            found += [
                (one.arg, value)
                for one, value in zip(names, node.defaults, strict=True)
            ]
    named = [(t.id if isinstance(t, ast.Name) else t, value) for t, value in found]
    return [(name, value) for name, value in named if isinstance(name, str)]


def is_literal_of(text: str, literals: set[str]) -> bool:
    """Tell whether the sources hold *text*, maybe as a part of what is put together."""
    return (
        text in literals
        or text.removeprefix(words.GAP) in literals
        or text.removesuffix(words.GAP) in literals
    )


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Return the calls and literals of the sources, and in which file they are."""
    return [
        (str(file.relative_to(SOURCE)), node)
        for file in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call | ast.Constant | ast.JoinedStr)
    ]


def collect() -> dict[str, str]:
    """Return all texts, each with the file that says it first."""
    found: dict[str, str] = {}

    def add(text: str, place: str) -> None:
        if any(char.isalpha() for char in text.replace(words.GAP, "")):
            found.setdefault(text, place)

    for place, node in nodes():
        if isinstance(node, ast.Call) and not place.startswith(UNHEARD):
            for argument in said_by(node, place):
                for text in templates_of(argument):
                    add(text, place)
    for text, place in tables():
        add(text, place)
    return found


def tables() -> Iterator[tuple[str, str]]:
    """Yield the texts of tables, and where they are."""
    for name in sorted(ERRORS):
        yield getattr(errors, name).advice, "errors.py"
    for value in (*JobState, *Role):
        yield value.value, "model.py"
    for text in LEVELS:
        yield text, "doctor.py"
    for text in UNITS:
        yield text, "layout.py"
    for text in MEDIA:
        yield text, "index/media.py"
    for reason in REASONS.values():
        yield reason.text, "reasons.py"
    for command in COMMANDS:
        yield command.help, "control/commands.py"
        for argument in (*command.arguments, *command.flags):
            yield argument.help, "control/commands.py"
            if argument.choices:
                choices = " or ".join([words.GAP] * len(argument.choices))
                yield f"{words.GAP} must be {choices}", "control/arguments.py"
    for place, table in SAID_TABLES:
        for name, value in assignments(place):
            if name == table:
                rows = ast.literal_eval(value).values()
                yield from ((text, place) for row in rows for text in row)
    for _, text in OPTIONS:
        yield text, "help_texts.py"
    yield DEFAULT_CONFIG, "help_texts.py"


def complain(texts: dict[str, str], french: dict[str, str]) -> list[str]:
    """Return what is untranslated, has other gaps than its text, or is not said."""
    literals = {
        text
        for _, node in nodes()
        if isinstance(node, ast.expr) and (text := template_of(node)) is not None
    }
    complaints = [
        f"not translated: {text} ({place})"
        for text, place in texts.items()
        if not french.get(text)
    ]
    for text, translation in french.items():
        gaps = translation.count(words.GAP) + translation.count(words.SPOKEN)
        if gaps != text.count(words.GAP):
            complaints.append(f"its gaps differ: {text}")
        if text not in texts and not is_literal_of(text, literals):
            complaints.append(f"nobody says it: {text}")
    return complaints


def without_code(text: str) -> str:
    """Return *text* without what is typed: quoted so, it is not set as French is."""
    return re.sub(r"`[^`]*`", "x", text)


def main() -> int:
    """List what is wrong; the exit status."""
    french = words.parse(FRENCH.read_text(encoding="utf-8"))
    complaints = complain(collect(), french)
    print("\n".join(complaints) or "The command line's words are all translated.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
