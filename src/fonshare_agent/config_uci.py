"""Settings in UCI text, on the router: a parser as libuci's, and the way back.

Grammar (libuci file.c): lines of `config TYPE [NAME]`, `option NAME VALUE` and
`list NAME VALUE`. A word is made of parts without space between them: bare text, where
a backslash takes the next character as it is, 'single quoted' text, where nothing is
special, and "double quoted" text, where a backslash is. A bare `#` begins a comment, a
bare `;` ends the command, quotes may span lines. A named section given twice is one;
of an option given twice the last counts.

The second half maps sections to the same nested dict that config_yaml.py gives.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fonshare_agent.config_table import LISTS, OPTIONS, Option
from fonshare_agent.config_values import decimal, shown
from fonshare_agent.errors import SettingsSyntax

PACKAGE = "fonshare"
_NAME = re.compile(r"[A-Za-z0-9_]+\Z")
_TYPE = re.compile(r"[!-~]+\Z")  # libuci: any printable ASCII
_SPACE = " \t\r\v\f"


@dataclass(slots=True)
class Section:
    """One section; `name` is None for an anonymous one."""

    type: str
    name: str | None
    line: int
    options: dict[str, str | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Command:
    line: int
    words: tuple[str, ...]


def parse_uci(text: str) -> list[Section]:
    """Return the sections of *text*, or raise SettingsSyntax naming the lines."""
    sections, complaints = _parse(text)
    if complaints:
        raise SettingsSyntax("\n".join(complaints))
    return sections


def quote_uci(value: str) -> str:
    """Return *value* as one word of UCI text. It must not hold a NUL character."""
    return "'" + value.replace("'", "'\\''") + "'"


# --- words ---------------------------------------------------------------------------


class _Scanner:
    """Cuts text into commands of words, keeping count of lines."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self.complaints: list[str] = []

    def commands(self) -> Iterator[_Command]:
        """Yield each command that has words."""
        while self._at < len(self._text):
            line = self._line
            words = tuple(self._words())
            if words:
                yield _Command(line, words)

    def _words(self) -> Iterator[str]:
        """Yield the words up to the end of the command, and step over that end."""
        while (char := self._peek()) not in ("", "\n", ";"):
            if char in _SPACE or self._skip_folded_line():
                self._take() if char in _SPACE else None
            elif char == "#":
                self._skip_comment()
            else:
                yield self._word()
        self._take()

    def _word(self) -> str:
        parts: list[str] = []
        while (char := self._peek()) and char not in _SPACE + "\n;#":
            if self._skip_folded_line():
                continue
            line = self._line
            self._take()
            if char in "'\"":
                parts.append(self._quoted(char, line))
            elif char == "\\":
                parts.append(self._take())
            else:
                parts.append(char)
        return "".join(parts)

    def _quoted(self, quote: str, line: int) -> str:
        parts: list[str] = []
        while char := self._take():
            if char == quote:
                return "".join(parts)
            if char == "\\" and quote == '"':
                char = self._take()
                if char == "\n":
                    continue
            parts.append(char)
        self.complaints.append(f"line {line}: a {quote} is never closed")
        return "".join(parts)

    def _skip_folded_line(self) -> bool:
        """Step over a backslash at a line's end: the command goes on below it."""
        for fold in ("\\\n", "\\\r\n"):
            if self._text.startswith(fold, self._at):
                self._at += len(fold)
                self._line += 1
                return True
        return False

    def _skip_comment(self) -> None:
        while self._peek() not in ("", "\n"):
            self._take()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        self._at += 1
        self._line += char == "\n"
        return char


# --- sections ------------------------------------------------------------------------


def _parse(text: str) -> tuple[list[Section], list[str]]:
    scanner = _Scanner(text)
    sections: list[Section] = []
    complaints: list[str] = []
    for command in scanner.commands():
        problem = _apply(command, sections)
        if problem:
            complaints.append(f"line {command.line}: {problem}")
    return sections, complaints + scanner.complaints


def _apply(command: _Command, sections: list[Section]) -> str | None:
    """Add what *command* says to *sections*; return what is wrong with it, if so."""
    verb, *arguments = command.words
    if "\0" in "".join(command.words):
        return "holds a NUL character"
    match verb, arguments:
        case "package", [_]:
            return None  # `uci export` writes it; there is one package in a file
        case "config", [_] | [_, _]:
            return _begin(command.line, arguments, sections)
        case "option" | "list", [name, *values] if len(values) < 2:
            if not sections:
                return f"`{verb}` before any `config`"
            return _set(verb, name, "".join(values), sections[-1])
        case (("config" | "option" | "list" | "package"), _):
            return f"`{verb}` with {len(arguments)} words after it"
        case _:
            # Not repeated: it may be the rest of a password that was not quoted.
            return "begins with none of config, option, list"


def _begin(line: int, arguments: list[str], sections: list[Section]) -> str | None:
    kind, name = arguments[0], arguments[1] if len(arguments) > 1 else None
    if not _TYPE.match(kind):
        return f"{shown(kind)} is no section's type"
    if name is not None and not _NAME.match(name):
        return f"{shown(name)} is no section's name; allowed: letters, digits and _"
    for number, known in enumerate(sections):
        if name is not None and known.name == name:
            if known.type != kind:
                return f"section {name} is of type {shown(known.type)} above"
            sections.append(sections.pop(number))
            return None
    sections.append(Section(kind, name, line))
    return None


def _set(verb: str, name: str, value: str, section: Section) -> str | None:
    if not _NAME.match(name):
        return f"{shown(name)} is no option's name; allowed: letters, digits and _"
    if verb == "option":
        # As in libuci, an empty value is no value: what was there before stays.
        if value:
            section.options[name] = value
        return None
    known = section.options.get(name)
    if isinstance(known, list):
        known.append(value)
    else:
        section.options[name] = [value] if known is None else [known, value]
    return None


# --- to the nested dict --------------------------------------------------------------

# The scalars at the top of the YAML file have no section there; here they have one.
TOP_PLACES = {
    "disk": ("disk", "path"),
    "state": ("disk", "state"),
    "keys": ("disk", "keys"),
    "index": ("disk", "index"),
    "run": ("disk", "run"),
    "downloads": ("downloads", "path"),
}
ROW_TYPES = {"user": "ftp.users", "share": "shares"}


def uci_place(option: Option) -> tuple[str, str]:
    """Return the section and the option name under which UCI has *option*."""
    if option.name in TOP_PLACES:
        return TOP_PLACES[option.name]
    section, _, name = option.name.partition(".")
    return section, name


def read_uci(raw: bytes) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return what *raw* says as the nested dict, complaints, and what is unknown."""
    sections, complaints = _parse(raw.decode("utf-8", "surrogateescape"))
    unknown: list[str] = []
    return map_sections(sections, complaints, unknown), complaints, unknown


def map_sections(
    sections: list[Section], complaints: list[str], unknown: list[str]
) -> dict[str, Any]:
    """Return *sections* as config_yaml.py would give them; note what has no place.

    What another version may have written goes into *unknown*, and no further.
    """
    table = {uci_place(option): option for option in OPTIONS}
    table |= {(name, name): table[name, "path"] for name in ("disk", "downloads")}
    types = {section for section, _ in table}
    raw: dict[str, Any] = {"ftp": {"users": []}, "shares": []}
    seen: set[str] = set()
    for section in sections:
        where = f"line {section.line}: section {shown(section.name or section.type)}"
        if section.type in ROW_TYPES:
            row = _row(section, ROW_TYPES[section.type])
            rows = raw["shares"] if section.type == "share" else raw["ftp"]["users"]
            rows.append(row)
        elif section.type not in types:
            unknown.append(f"{where} is of no known type")
        elif section.type in seen:
            complaints.append(f"{where} is there twice; allowed: one `{section.type}`")
        else:
            seen.add(section.type)
            _map_section(section, table, raw, complaints, unknown)
    return raw


def _map_section(
    section: Section,
    table: dict[tuple[str, str], Option],
    raw: dict[str, Any],
    complaints: list[str],
    unknown: list[str],
) -> None:
    for name, value in section.options.items():
        option = table.get((section.type, name))
        if option is None:
            # Left under its own name: config_check.py suggests the nearest one.
            if section.type in TOP_PLACES:
                unknown.append(f"{section.type}.{name}: is no option")
            else:
                raw.setdefault(section.type, {})[name] = value
            continue
        parent, _, leaf = option.name.rpartition(".")
        target = raw.setdefault(parent, {}) if parent else raw
        if leaf in target and not parent:
            complaints.append(f"{option.name}: is given twice, as `{name}` too")
        target[leaf] = uci_value(option, value)


def _row(section: Section, list_name: str) -> dict[str, Any]:
    table = {option.name: option for option in LISTS[list_name]}
    row: dict[str, Any] = {
        name: uci_value(table[name], value) if name in table else value
        for name, value in section.options.items()
    }
    if list_name == "ftp.users":
        row.setdefault("password", "")  # UCI drops an option whose value is empty
    return row


def uci_value(option: Option, value: str | list[str]) -> object:
    """Return *value* as YAML would have it, by the option's type."""
    if option.kind.is_list:
        return value if isinstance(value, list) else value.split()
    if option.kind.is_number and isinstance(value, str):
        number = decimal(value)
        return value if number is None else number
    return value
