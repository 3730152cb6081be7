"""The settings form's two requests: what stands in the file, and what is to be there.

What is wrong with an option is answered beside its name, in the language of the page.
Whoever changes logins gives a password that opens one of them now: a browser that was
left open is not enough to shut its owner out.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fonshare_agent.config import load_settings
from fonshare_agent.config_shown import rows
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import FonshareError, SettingsError
from fonshare_agent.web.exchange import is_text, text_of
from fonshare_agent.web.form import FORM, Login, SettingsForm, Wish
from fonshare_agent.web.refusals import BadRequest
from fonshare_agent.words import translate

LOGINS_MAX: Final = 32  # as the settings have it; more is no household's form
LOGINS: Final = "ftp.users"
OF_THE_PAGE: Final = "web."  # what concerns this program, not the agent
Call = Callable[[str, dict[str, JSON]], Mapping[str, JSON]]


class Unseen:
    """Secrets that were saved while one agent lived, which it will not tell: until
    another one lives it has not taken them. Any thread."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._life: object = None

    def note(self, wish: Wish, saved: Sequence[JSON], life: object) -> None:
        """Remember what of *saved* no comparison will show."""
        names = map(str, saved)
        found = {one for one in names if one in FORM and FORM[one].kind.is_secret}
        if any(login.password is not None for login in wish.logins or ()):
            found.add(LOGINS)
        if life is None or not found:
            return  # the next agent reads them
        if life != self._life:
            self._life, self._names = life, set()
        self._names = self._names | found

    def add_to(self, form: dict[str, JSON], life: object) -> None:
        """Add to the `pending` of *form* what is remembered."""
        pending = form["pending"]
        if isinstance(pending, list) and life is not None and life == self._life:
            pending += sorted(self._names.difference(map(str, pending)))


def read_form(form: SettingsForm, path: Path, call: Call) -> dict[str, JSON]:
    """Return the form, and `pending`: what the agent has not taken yet.

    None there: no agent answers.
    """
    return {**form.read(), "pending": _pending(path, call)}


def _pending(path: Path, call: Call) -> JSON:
    try:
        told: Any = call("settings", {})["result"]
        running = {row["name"]: row["value"] for row in told}
        wanted = rows(load_settings(path, needs_hashes=False))
    except FonshareError:  # no agent, or a file that it could not take
        return None
    return [
        row["name"]
        for row in wanted
        if (row["name"] in FORM or row["name"] == LOGINS)
        and not row["name"].startswith(OF_THE_PAGE)
        and running.get(row["name"]) != row["value"]
    ]


def wish_of(body: Mapping[str, JSON]) -> Wish:
    """Return what a request wants to be changed."""
    options, logins = body.get("options", {}), body.get("logins")
    if not isinstance(options, dict):
        raise BadRequest("`options` must be an object")
    if logins is None:
        return Wish(options)
    if not isinstance(logins, list) or len(logins) > LOGINS_MAX:
        raise BadRequest(f"`logins` must be a list of at most {LOGINS_MAX}")
    return Wish(options, [_login(row) for row in logins])


def _login(row: JSON) -> Login:
    if not isinstance(row, dict):
        raise BadRequest("a login must be an object")
    was = None if row.get("was") is None else text_of(row, "was")
    password = None if row.get("password") is None else text_of(row, "password")
    login = Login(was, text_of(row, "name"), text_of(row, "access"), password)
    if not is_text(f"{login.name}{password}"):
        raise BadRequest("a login must be text")
    return login


def told_by_field(error: SettingsError, language: str) -> dict[str, JSON]:
    """Return *error* with `fields`: what is wrong with each option, in *language*.

    What belongs to none stays in its message.
    """
    fields: dict[str, JSON] = {}
    rest = []
    for line in str(error).split("\n"):
        name, colon, _ = line.partition(": ")
        said = translate(line, language)
        if colon and " " not in name and not name.startswith("/"):
            fields.setdefault(name, said.partition(": ")[2].strip() or said)
        else:
            rest.append(said)
    message = "\n".join(rest) or translate("some settings cannot be used", language)
    return {
        **error.as_dict(),
        "message": message,
        "next": translate(error.next, language),
        "fields": fields,
    }
