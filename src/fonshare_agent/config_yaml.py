"""Settings in YAML, off the router: text to nested dict, strictly.

PyYAML only composes the node tree; what a scalar means is decided here, as YAML 1.2 has
it: true and false are the only booleans (so `off` and `no` stay words), numbers are
plain decimals (so `0755` and `12:30` stay texts, and the option then says what it
wants), dates are texts. Doubled keys, anchors and tags are complaints with their line.
yaml is imported inside the functions: it must not be resident on a router.
"""

from pathlib import Path
from typing import Any

from fonshare_agent.config_check import absolute
from fonshare_agent.config_values import decimal, name_shape, shown
from fonshare_agent.errors import SettingsError

DEPTH_MAX = 16  # settings need 4; PyYAML's composer recurses
CHANGES_FILE = "shares.yaml"  # in STATE: what commands added or set
CHANGES_KEYS = ("shares", "limits", "passwords")
DEFAULT_STATE = "state"

_WORDS = {"true": True, "True": True, "TRUE": True}
_WORDS |= {"false": False, "False": False, "FALSE": False}
# What PyYAML itself finds in plain text, by YAML 1.1; some of it is text here.
_TAGS = {"map", "seq", "str", "null", "bool", "int", "float", "timestamp", "merge"}
_TAGS |= {"value"}
_NOTHING = ("", "~", "null", "Null", "NULL")


def read_yaml(raw: bytes) -> tuple[Any, list[str]]:
    """Return what *raw* says, and complaints about its form."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return {}, [f"line {line}: is not UTF-8 text"]
    walker = _Walker()
    try:
        node = walker.compose(text)
    except _TooDeep as error:
        return {}, [f"line {error.args[0]}: nests deeper than {DEPTH_MAX} levels"]
    if node is None:
        return {}, walker.complaints
    value = walker.value(node)
    if not isinstance(value, dict):
        what = name_shape(value)
        return {}, [*walker.complaints, f"the file must hold options, not {what}"]
    return value, walker.complaints


class _TooDeep(Exception):
    """The text nests too deep to be settings; the argument is the line."""


class _Walker:
    """Turns one node tree into plain values, noting what it does not take."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._seen: set[int] = set()

    def compose(self, text: str) -> Any:
        """Return the document's node tree; a syntax error becomes a complaint."""
        import yaml

        class Loader(yaml.SafeLoader):
            depth = 0

            def compose_node(self, parent: Any, index: Any) -> Any:
                self.depth += 1
                if self.depth > DEPTH_MAX:
                    mark = self.get_mark()
                    raise _TooDeep(mark.line + 1)
                node = super().compose_node(parent, index)
                self.depth -= 1
                return node

        try:
            return yaml.compose(text, Loader=Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = f"is not YAML: {error.problem}"
            line = mark.line + 1 if mark else 0
            self.complaints.append(f"line {line}: {problem}" if mark else problem)
        except yaml.YAMLError as error:
            self.complaints.append(f"is not YAML: {' '.join(str(error).split())}")
        return None

    def value(self, node: Any) -> Any:
        """Return *node* as dict, list, text, number, truth value or None."""
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            self.complaints.append(f"line {line}: anchors and aliases are not taken")
            return None
        self._seen.add(id(node))
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            what = f"the tag {shown(node.tag)}"
            self.complaints.append(f"line {line}: {what} is not taken")
            return None
        if node.id == "mapping":
            return self._mapping(node)
        if node.id == "sequence":
            return [self.value(item) for item in node.value]
        return self._scalar(node)

    def _mapping(self, node: Any) -> dict[object, Any]:
        found: dict[object, Any] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                self.complaints.append(f"line {line}: {shown(key)} is no option's name")
                continue
            value = self.value(value_node)
            if key in found:
                self.complaints.append(f"line {line}: {shown(key)} is given twice")
                continue
            found[key] = value
        return found

    def _scalar(self, node: Any) -> object:
        text: str = node.value
        # An explicit !!str makes a text of what would otherwise be a number.
        if node.style is not None or node.tag.endswith(":str"):
            return text
        if text in _NOTHING:
            return None
        if text in _WORDS:
            return _WORDS[text]
        number = decimal(text)
        return text if number is None else number


# --- what commands changed -----------------------------------------------------------


def changes_path(raw: object, path: Path) -> Path | None:
    """Return where the changes to the settings at *path* are kept, if *raw* says."""
    state = raw.get("state", DEFAULT_STATE) if isinstance(raw, dict) else None
    if not isinstance(state, str) or not state or "\0" in state:
        return None
    return absolute(path.absolute().parent, state) / CHANGES_FILE


def read_changes(place: Path) -> dict[str, Any]:
    """Return what commands changed; raises SettingsError if that cannot be read."""
    try:
        raw = place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raw = b""
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"cannot read {place}: {why}", thing=str(place)) from error
    values, complaints = read_yaml(raw)
    unknown = set(values).difference(CHANGES_KEYS)
    complaints += [f"{shown(key)} is no part of it" for key in sorted(unknown)]
    types = {"shares": list, "limits": dict, "passwords": dict}
    for key, wanted in types.items():
        if not isinstance(values.setdefault(key, wanted()), wanted):
            complaints.append(f"`{key}` is not as a command writes it")
    shares = values["shares"]
    if isinstance(shares, list) and not all(isinstance(row, dict) for row in shares):
        complaints.append("`shares` is not as a command writes it")
    if complaints:
        text = "\n".join(f"{place}: {line}" for line in complaints)
        raise SettingsError(text, thing=str(place))
    return dict(values)


def render_changes(changes: dict[str, Any]) -> str:
    """Return the text of the file of changes."""
    import yaml

    kept = {key: value for key, value in changes.items() if value}
    head = "# Written by `fonshare`; merged with the settings file. Change it there.\n"
    return head + yaml.safe_dump(kept, allow_unicode=True, sort_keys=False)


def add_changes(raw: Any, path: Path, complaints: list[str]) -> None:
    """Merge what commands changed into *raw*, where it stands; note what is wrong."""
    place = changes_path(raw, path)
    if place is None:
        return
    try:
        changes = read_changes(place)
    except SettingsError as error:
        complaints.extend(str(error).splitlines())
        return
    merge_changes(raw, changes)


def merge_changes(raw: dict[str, Any], changes: dict[str, Any]) -> None:
    """Merge *changes* into *raw*. What *raw* has in a wrong shape stays as it is."""
    if changes.get("shares") and isinstance(raw.get("shares") or [], list):
        raw["shares"] = [*(raw.get("shares") or []), *changes["shares"]]
    if changes.get("limits") and isinstance(raw.get("limits") or {}, dict):
        raw["limits"] = {**(raw.get("limits") or {}), **changes["limits"]}
    ftp = raw.get("ftp")
    users = ftp.get("users") if isinstance(ftp, dict) else None
    for user in users if isinstance(users, list) else []:
        if isinstance(user, dict) and isinstance(user.get("name"), str):
            user["password"] = changes.get("passwords", {}).get(
                user["name"], user.get("password")
            )
