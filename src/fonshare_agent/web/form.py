"""All settings as a form: what the owner's YAML file says, and changes to that file.

Only what changed is written (yaml_edits.py), as one file, after the settings' own check
of the whole. What commands change while the agent runs is not here: shares, and the
limits that `fonshare limits` sets; both are kept elsewhere. No secret leaves: a login's
password only comes in, and of the broker's address the password is masked.
"""

import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fonshare_agent.config import Source, SourceKind, check_source
from fonshare_agent.config_changes import ChangesWriter, replace_file
from fonshare_agent.config_shown import plain
from fonshare_agent.config_table import OPTIONS, Option, Unset
from fonshare_agent.config_uci import uci_place
from fonshare_agent.config_values import decimal, redact_url
from fonshare_agent.config_yaml import (
    add_changes,
    changes_path,
    read_changes,
    read_yaml,
)
from fonshare_agent.control.commands import BY_NAME
from fonshare_agent.errors import (
    FonshareError,
    SettingsError,
    SettingsUnwritten,
    UsageError,
)
from fonshare_agent.first_use import hashed
from fonshare_agent.web.exchange import is_text
from fonshare_agent.web.labels import CAUTIONS, LABELS, SECTIONS, choices_of, widget_of
from fonshare_agent.web.owners import demand_owner
from fonshare_agent.web.refusals import BadRequest
from fonshare_agent.web.yaml_edits import Edit, edit_yaml

LOGINS: Final = ("ftp", "users")
MASK: Final = ":***@"  # as redact_url shows a password
_AT_ONCE: Final = {flag.name for flag in BY_NAME["limits"].flags}


def _is_command(option: Option) -> bool:
    """Tell whether `fonshare limits` sets it, at once."""
    section, _, name = option.name.partition(".")
    return section == "limits" and name.removesuffix("_kib_s") in _AT_ONCE


FORM: Final = {one.name: one for one in OPTIONS if not _is_command(one)}


@dataclass(frozen=True, slots=True)
class Login:
    """A login as the form gives it."""

    was: str | None  # its name so far; None: a new one
    name: str
    access: str
    password: str | None = field(repr=False)  # None: as it was


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be changed: options by name, None for none; and all logins, if any."""

    options: Mapping[str, Any]
    logins: Sequence[Login] | None = None


class SettingsForm:
    """The form of one settings file. Any thread."""

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))  # what a link leads to is written
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any]:
        """Return {file, refusal, sections, options, logins}; refusal says why not."""
        values: dict[str, Any] = {}
        logins: list[dict[str, Any]] = []
        refusal = self._refusal()
        if refusal is None:
            try:
                values = self._values(self._bytes())
                logins = _rows(values)
            except SettingsError as error:
                refusal = error
        return {
            "file": str(self._path),
            "refusal": None if refusal is None else refusal.as_dict(),
            "sections": [{"name": k, "title": v} for k, v in SECTIONS.items()],
            "options": [_row(option, values) for option in FORM.values()],
            "logins": [
                {"name": row.get("name", ""), "access": row.get("access", "read")}
                for row in logins
            ],
        }

    def save(self, wish: Wish) -> list[str]:
        """Write what is wished for; return the names of what is another now.

        Raises SettingsError with every complaint, and then has written nothing.
        """
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        with self._lock:
            raw = self._bytes()
            values = self._values(raw)
            edits = [*_option_edits(values, wish.options)]
            if wish.logins is not None:
                edits += _login_edits(_rows(values), wish.logins)
            if not edits:
                return []
            new = edit_yaml(raw, edits)
            self._check(new)
            self._write(new)
            self._take_passwords(wish.logins or ())
        names = (".".join(map(str, edit.steps[:2])) for edit in edits)
        return list(dict.fromkeys(names))

    # --- the file ---

    def _refusal(self) -> FonshareError | None:
        """Return why the file cannot be changed here; None if it can."""
        if self._path.suffix.lower() not in (".yaml", ".yml"):
            return SettingsUnwritten(
                "these settings are a router's",
                thing=str(self._path),
                next="Change them in LuCI or with `uci`.",
            )
        for place in (self._path, self._path.parent):
            if not os.access(place, os.W_OK):
                return SettingsUnwritten(
                    "this program may not write the settings file",
                    thing=str(place),
                    next="Change the file itself, or let the page's user write to it "
                    "and to its folder.",
                )
        return None

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"cannot read {self._path}: {error.strerror}", thing=str(self._path)
            ) from None

    def _values(self, raw: bytes) -> dict[str, Any]:
        values, complaints = read_yaml(raw)
        if complaints:
            raise SettingsError("\n".join(complaints), thing=str(self._path))
        found: dict[str, Any] = values
        return found

    def _check(self, raw: bytes) -> None:
        values, complaints = read_yaml(raw)
        add_changes(values, self._path, complaints)
        source = Source(SourceKind.YAML, self._path, values, complaints)
        demand_owner(check_source(source, needs_hashes=False))

    def _write(self, raw: bytes) -> None:
        before = self._path.stat()
        replace_file(self._path, raw)
        os.chmod(self._path, stat.S_IMODE(before.st_mode))
        if before.st_uid != os.geteuid():  # root writes for another
            os.chown(self._path, before.st_uid, before.st_gid)

    def _take_passwords(self, logins: Sequence[Login]) -> None:
        """A password that a command once set counts before the file's: set it, too."""
        values = self._values(self._bytes())
        place = changes_path(values, self._path)
        kept = read_changes(place)["passwords"] if place else {}
        for row in _rows(values):
            is_new = any(one.name == row["name"] and one.password for one in logins)
            if is_new and row["name"] in kept:
                writer = ChangesWriter(self._path)
                writer.replace_password(row["name"], row["password"])


# --- what is shown -------------------------------------------------------------------


def _row(option: Option, values: Mapping[str, Any]) -> dict[str, Any]:
    value = _value_at(values, option.name)
    if option.kind.is_secret and isinstance(value, str):
        value = redact_url(value)
    default = option.default
    return {
        "name": option.name,
        "section": uci_place(option)[0],
        "title": LABELS[option.name],
        "help": option.help,
        "caution": CAUTIONS.get(option.name),
        "widget": widget_of(option),
        "choices": choices_of(option) if widget_of(option) == "choice" else [],
        "is_number": option.kind.is_number,
        "is_needed": default is None,
        "value": value,
        "default": plain(default),
        "is_unset": isinstance(default, Unset),
    }


def _value_at(values: Mapping[str, Any], name: str) -> Any:
    found: Any = values
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _rows(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of logins; SettingsError if they are not as they have to be."""
    rows = _value_at(values, ".".join(LOGINS)) or []
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise SettingsError("ftp.users: must be a list of logins", thing="ftp.users")
    return rows


# --- what is to be changed -----------------------------------------------------------


def _option_edits(
    values: Mapping[str, Any], wished: Mapping[str, Any]
) -> Iterator[Edit]:
    for name, given in wished.items():
        option = FORM.get(name)
        if option is None:
            raise UsageError("the form has no such option", thing=name[:60])
        before = _value_at(values, name)
        value = _read(option, given, before)
        if value != before or isinstance(value, bool) != isinstance(before, bool):
            yield Edit(tuple(name.split(".")), value)


def _read(option: Option, given: Any, before: Any) -> Any:
    """Return what the form gave for *option* as the file has it."""
    if given is None:
        return None
    if widget_of(option) == "flag":
        if not isinstance(given, bool):
            raise BadRequest(f"`{option.name}` must be true or false")
        return given
    if option.kind.is_list:
        if not isinstance(given, list):
            raise BadRequest(f"`{option.name}` must be a list")
        return [_text(option.name, one) for one in given] or None
    text = _text(option.name, given)
    if option.kind.is_number and (number := decimal(text)) is not None:
        return number
    if option.kind.is_secret and isinstance(before, str):
        return _unmasked(text, before) or None
    return text or None


def _text(name: str, given: Any) -> str:
    if not isinstance(given, str) or not is_text(given):
        raise BadRequest(f"`{name}` is not text")
    return given.strip()


def _unmasked(text: str, before: str) -> str:
    """Return the address *text*, with the password that its mask stands for."""
    if text == redact_url(before):
        return before
    head, mask, host = text.partition(MASK)
    if not mask:
        return text
    login, _, place = before.rpartition("@")
    _, _, password = login.partition("://")[2].partition(":")
    is_same = head.partition("://")[2] == login.partition("://")[2].partition(":")[0]
    if not is_same or host.partition(":")[0] != place.partition(":")[0]:
        raise SettingsError(
            "mqtt.broker: its password is for another address; give it, too"
        )
    return f"{head}:{password}@{host}"


def _login_edits(
    rows: Sequence[Mapping[str, Any]], logins: Sequence[Login]
) -> Iterator[Edit]:
    known = {row.get("name") for row in rows}
    for login in logins:
        if login.was is not None and login.was not in known:
            raise UsageError("there is no such login any more", thing=login.was)
    gone: list[int] = []
    for place, row in enumerate(rows):
        found = next((one for one in logins if one.was == row.get("name")), None)
        if found is None:
            gone.append(place)
            continue
        wished = {"name": found.name, "access": found.access}
        if found.password is not None:
            wished["password"] = _hashed(found.password)
        for key, value in wished.items():
            if row.get(key, "read" if key == "access" else None) != value:
                yield Edit((*LOGINS, place, key), value)
    fresh = [one for one in logins if one.was is None]
    for number, one in enumerate(fresh, len(rows)):
        password = _hashed(one.password or "")
        row = {"name": one.name, "password": password, "access": one.access}
        yield Edit((*LOGINS, number), row)
    for place in reversed(gone):
        yield Edit((*LOGINS, place), None)


def _hashed(password: str) -> str:
    """Return what the settings hold of a password; nothing for none."""
    return hashed(password) if password else ""
