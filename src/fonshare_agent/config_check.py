"""From what a settings file said to a Settings: every complaint at once.

A source (config_yaml.py, config_uci.py) gives the same nested dict; this module reads
each option by its row in config_table.py, then the rows of users and shares, then lets
config_rules.py look at what concerns several options. Reads no file. A complaint is
one line: the option, what was wrong, what is allowed; a secret's value is in none.
"""

import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fonshare_agent.config_table import LIST_MAX, LISTS, OPTIONS, Option, Unset
from fonshare_agent.config_values import Refused, name_shape, shown
from fonshare_agent.errors import SettingsError
from fonshare_agent.passwords import (
    SALT_BYTES,
    find_hash_complaint,
    hash_password,
    is_hash,
)
from fonshare_agent.settings import SourceKind, UserSettings

Draw = Callable[[int], bytes]
Row = dict[str, Any]

NO_HASH = "!"  # lets nobody in: no hash at all
FOREIGN_HASHES = ("$1$", "$2", "$5$", "$6$", "$7$", "$y$", "$argon2")
COMPLAINTS_MAX = 50  # a file that is no settings file at all fills no log


@dataclass(slots=True)
class Complaints:
    """Collects what is wrong; `bad` holds the options that no rule should look at.

    `unused`: what this version does not know, where that is no reason to refuse a file;
    None where it is.
    """

    lines: list[str] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    unused: list[str] | None = None

    def add(self, name: str, problem: str, allowed: str = "") -> None:
        """Note that the option *name* has a *problem*."""
        self.bad.add(name)
        if allowed:
            self.lines.append(f"{name}: {problem}; allowed: {allowed}")
        else:
            self.lines.append(f"{name}: {problem}")

    def add_unknown(self, name: str, known: Sequence[str], key: str = "") -> None:
        """Note that there is no option *name*; *key* is what *known* would have."""
        problem = _unknown(key or name, known)
        if self.unused is None:
            self.add(name, problem)
        elif len(self.unused) < COMPLAINTS_MAX:
            self.unused.append(f"{name}: {problem}")

    def is_good(self, *names: str) -> bool:
        return self.bad.isdisjoint(names)

    def raise_any(self, path: Path | None) -> None:
        """Raise one SettingsError holding every line, if there is any."""
        if not self.lines:
            return
        lines = self.lines + (self.unused or [])  # it may be a name mistyped
        kept = lines[:COMPLAINTS_MAX]
        if len(lines) > COMPLAINTS_MAX:
            kept.append(f"and {len(lines) - COMPLAINTS_MAX} complaints more")
        raise SettingsError("\n".join(kept), thing="" if path is None else str(path))


def read_options(raw: object, kind: SourceKind, complaints: Complaints) -> Row:
    """Return a value for every option of the table, and the rows of users and shares.

    An option with a complaint, or required and missing, has the value None.
    """
    given = _flatten(raw, complaints)
    values: Row = {}
    for option in OPTIONS:
        values[option.name] = _read(option, option.name, given, kind, complaints)
    for name in LISTS:
        values[name] = _read_rows(name, given.get(name, []), kind, complaints)
    return values


def _read(
    option: Option, name: str, given: Row, kind: SourceKind, complaints: Complaints
) -> object:
    """Return the option's value; *name* is what complaints call it."""
    if option.name not in given:
        default = option.router if kind is SourceKind.UCI else option.default
        if default is None:
            complaints.add(name, "is missing", option.kind.allowed)
        if default is None or isinstance(default, Unset):
            return None
        if isinstance(default, tuple):
            default = list(default)
        return option.kind.read(default)
    value = given[option.name]
    try:
        if value is None:
            raise Refused("is empty")
        if option.kind.is_secret and not isinstance(value, str):
            raise Refused("must be text: put it in quotes")
        return option.kind.read(value)
    except Refused as refused:
        complaints.add(name, str(refused), option.kind.allowed)
        return None


def _read_rows(
    name: str, rows: object, kind: SourceKind, complaints: Complaints
) -> list[Row]:
    if rows is None:
        return []
    if not isinstance(rows, list):
        complaints.add(name, f"must be a list, not {name_shape(rows)}")
        return []
    if len(rows) > LIST_MAX[name]:
        complaints.add(name, f"has {len(rows)} entries", f"at most {LIST_MAX[name]}")
        return []
    table = LISTS[name]
    return [
        _read_row(f"{name}[{number}]", row, table, kind, complaints)
        for number, row in enumerate(rows)
    ]


def _read_row(
    place: str,
    row: object,
    table: Sequence[Option],
    kind: SourceKind,
    complaints: Complaints,
) -> Row:
    known = [option.name for option in table]
    if not isinstance(row, dict):
        problem = f"must have {', '.join(known)}, and is {name_shape(row)}"
        complaints.add(place, problem)
        return {"place": place} | dict.fromkeys(known)
    for key in row:
        if key not in known:
            complaints.add_unknown(f"{place}.{_name(key)}", known, _name(key))
    values: Row = {"place": place}
    for option in table:
        full = f"{place}.{option.name}"
        values[option.name] = _read(option, full, row, kind, complaints)
    return values


def _flatten(raw: object, complaints: Complaints) -> Row:
    """Return the given values by dotted name; what the table does not know is noted."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        complaints.add(
            "settings", f"must be a section of options, not {name_shape(raw)}"
        )
        return {}
    names = [option.name for option in OPTIONS] + list(LISTS)
    sections = {name.partition(".")[0] for name in names if "." in name}
    given: Row = {}
    for key, value in raw.items():
        if key in names:
            given[key] = value
        elif key not in sections:
            complaints.add_unknown(_name(key), [*names, *sections])
        elif isinstance(value, Mapping):
            given |= _section(key, value, names, complaints)
        elif value is not None:
            problem = f"must be a section of options, not {name_shape(value)}"
            complaints.add(key, problem)
    return given


def _section(
    section: str,
    options: Mapping[Any, object],
    names: list[str],
    complaints: Complaints,
) -> Row:
    known = [name for name in names if name.startswith(section + ".")]
    given: Row = {}
    for key, value in options.items():
        name = f"{section}.{_name(key)}"
        if name in known:
            given[name] = value
        else:
            complaints.add_unknown(name, names)
    return given


def _name(key: object) -> str:
    text = key if isinstance(key, str) else shown(key)
    return text if text.isprintable() and len(text) <= 60 else shown(text)


def _unknown(name: str, known: Sequence[str]) -> str:
    # difflib is 60 KB of code that a correct file never needs.
    import difflib

    close = difflib.get_close_matches(name[:60], known, n=1, cutoff=0.5)
    return f"is no option; did you mean `{close[0]}`?" if close else "is no option"


# --- users ---------------------------------------------------------------------------


def read_users(
    rows: list[Row], complaints: Complaints, draw: Draw | None
) -> tuple[list[UserSettings], list[str]]:
    """Return the users with hashes only, and the names of those given in clear.

    Without *draw* these get `NO_HASH`: nobody is to be let in by these settings.
    """
    users: list[UserSettings] = []
    plain: list[str] = []
    names: set[str] = set()
    for row in rows:
        place = row["place"]
        name, password, access = row["name"], row["password"], row["access"]
        if name in names and name is not None:
            complaints.add(f"{place}.name", f"is {shown(name)} again", "each name once")
        names.add(name)
        problem = _password_problem(password, access)
        if problem:
            complaints.add(f"{place}.password", problem, "text, or a scrypt hash")
        if problem or None in (name, password, access):
            continue
        if password and not is_hash(password):
            plain.append(name)
            password = hash_password(password, draw(SALT_BYTES)) if draw else NO_HASH
        users.append(UserSettings(name, password, access))
    return users, plain


def _password_problem(password: str | None, access: str | None) -> str | None:
    if password is None:
        return None
    if not password:
        return None if access == "read" else "is empty, which only access: read may be"
    if is_hash(password):
        return find_hash_complaint(password)
    if password.startswith(FOREIGN_HASHES):
        return "looks like the hash of another program"
    return None


# --- places --------------------------------------------------------------------------


def absolute(folder: Path, text: str) -> Path:
    """Return *text* as a path, seen from *folder*; `..` is resolved by its spelling."""
    joined = os.path.normpath(os.path.join(folder, text))
    return Path("/" + joined.lstrip("/"))


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether *path* is *folder* or lies below it, by their spelling."""
    return path == folder or folder in path.parents
