"""Changes to the text of a YAML settings file: what changed is written, nothing else.

PyYAML says where each value stands; only these places are replaced, so comments, order
and spelling of all the rest stay. The outcome is read again and must say exactly what
was wanted, or nothing is returned: YAML has more ways to write a thing than are known
here. yaml is imported inside the functions: it must not be resident on a router.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fonshare_agent.config_yaml import read_yaml
from fonshare_agent.errors import SettingsUnwritten

Steps = tuple[str | int, ...]


class Edit(NamedTuple):
    """One change: the option's steps from the top of the file, and its new value.

    None takes the option away. A number is a place in a list; the one behind its last
    adds to it.
    """

    steps: Steps
    value: Any


class _Unable(Exception):
    """The place is written in a way that this module does not change."""


def edit_yaml(raw: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the file *raw*, which can be read, with *edits* done in their order.

    Raises SettingsUnwritten, naming the option, if that cannot be done safely.
    """
    text = raw.decode("utf-8")
    wanted = read_yaml(raw)[0]
    for edit in edits:
        for part in _spread(wanted, edit):
            try:
                text = _set_text(text, part)
            except _Unable:
                raise _refusal(edit) from None
        wanted = _set_value(wanted, edit)
        values, complaints = read_yaml(text.encode())
        if complaints or _tidy(values) != _tidy(wanted):
            raise _refusal(edit)
    return text.encode()


def _refusal(edit: Edit) -> SettingsUnwritten:
    return SettingsUnwritten(
        "the settings file is written in a way that only a person can change",
        thing=".".join(map(str, edit.steps)),
        next="Change that option in the file itself; nothing was changed.",
    )


# --- what is wanted ------------------------------------------------------------------


def _set_value(values: Any, edit: Edit) -> Any:
    """Return the nested *values* with *edit* done; missing sections are made."""
    if not edit.steps:
        return edit.value
    step, *rest = edit.steps
    deeper = Edit(tuple(rest), edit.value)
    is_removal = edit.value is None and not rest
    if isinstance(step, int):
        rows = values or []
        old = rows[step] if step < len(rows) else None
        new = [] if is_removal else [_set_value(old, deeper)]
        return [*rows[:step], *new, *rows[step + 1 :]]
    section = values or {}
    if is_removal:
        return {key: value for key, value in section.items() if key != step}
    return section | {step: _set_value(section.get(step), deeper)}


def _tidy(values: Any) -> Any:
    """Return *values* without what says nothing: an empty section is as none."""
    if isinstance(values, dict):
        found = {key: _tidy(value) for key, value in values.items()}
        return {key: value for key, value in found.items() if value not in (None, {})}
    return [_tidy(value) for value in values] if isinstance(values, list) else values


def _spread(values: Any, edit: Edit) -> Iterator[Edit]:
    """Yield *edit*, or what it does to the entries of a list some of which stay.

    So these stay as they are written; what is new goes to the list's end.
    """
    old = values
    for step in edit.steps:
        has_step = isinstance(old, dict) and step in old
        if isinstance(step, int):
            has_step = isinstance(old, list) and step < len(old)
        old = old[step] if has_step else None
    if not isinstance(edit.value, list) or not isinstance(old, list):
        yield edit
        return
    kept: list[int] = []
    for place, value in enumerate(old):
        if len(kept) < len(edit.value) and value == edit.value[len(kept)]:
            kept.append(place)
    if not kept:
        yield edit
        return
    for number, value in enumerate(edit.value[len(kept) :]):
        yield Edit((*edit.steps, len(old) + number), value)
    for place in reversed(range(len(old))):
        if place not in kept:
            yield Edit((*edit.steps, place), None)


# --- the text ------------------------------------------------------------------------


def _set_text(text: str, edit: Edit) -> str:
    import yaml

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    step, *rest = edit.steps
    # As deep as the file goes; what is missing below that is made there.
    while rest and (entry := _find(node, step)) is not None and entry.value:
        node, (step, *rest) = entry, rest
    value = edit.value
    if rest:
        if value is None:
            return text
        value = _set_value(None, Edit(tuple(rest), value))
    return _Places(text).change(node, step, value)


def rendered(value: Any) -> str:
    """Return *value* on one line, as it may stand anywhere in a YAML file."""
    import yaml

    # Within brackets more is quoted than outside of them.
    text: str = yaml.safe_dump(
        [value], default_flow_style=True, allow_unicode=True, width=1 << 30
    )
    return text.strip()[1:-1]


def _find(node: Any, step: str | int) -> Any:
    """Return the node of an entry of *node*, a section or a list; None without."""
    if node.id == "sequence" and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if node.id != "mapping":
        raise _Unable
    return next((entry for key, entry in node.value if key.value == step), None)


class _Places:
    """The text of a file, and what is done at the places of its nodes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def change(self, node: Any, step: str | int, value: Any) -> str:
        """Return the text with the entry *step* of *node* set, added or removed."""
        # An entry of a section begins with its key, one of a list with itself.
        entries = [one if isinstance(one, tuple) else (one, one) for one in node.value]
        entry = _find(node, step)
        if entry is None:
            return self._text if value is None else self._add(node, step, value)
        place = next(n for n, (_, found) in enumerate(entries) if found is entry)
        if value is None:
            return self._remove(node, entries, place)
        return self._replace(entries[place][0], entry, value)

    def _add(self, node: Any, step: str | int, value: Any) -> str:
        is_list = node.id == "sequence"
        text = rendered(value)
        if not is_list:
            text = f"{rendered(step)}: {text}"
        if not node.value:
            if not node.flow_style:
                raise _Unable
            return self._put(node.end_mark.index - 1, text)
        last = self._end(node)
        if node.flow_style:
            last = self._end(node.value[-1] if is_list else node.value[-1][1])
            return self._put(last, f", {text}")
        first = node if is_list else node.value[0][0]
        line = " " * first.start_mark.column + ("- " if is_list else "") + text
        return self._put(self._line_end(last), self._newline + line)

    def _remove(self, node: Any, entries: list[tuple[Any, Any]], place: int) -> str:
        start = entries[place][0].start_mark.index
        end = self._end(entries[place][1])
        if not node.flow_style:
            head = self._line_start(start)
            dash = "-" if node.id == "sequence" else ""
            if self._text[head:start].strip() != dash:
                raise _Unable  # something else begins on this line
            return self._cut(head, self._line_end(end) + len(self._newline))
        if place + 1 < len(entries):
            return self._cut(start, entries[place + 1][0].start_mark.index)
        return self._cut(self._end(entries[place - 1][1]) if place else start, end)

    def _replace(self, key: Any, entry: Any, value: Any) -> str:
        text = rendered(value)
        start, end = entry.start_mark.index, self._end(entry)
        if entry.id == "scalar" or entry.flow_style:
            if start == end:  # nothing at all behind the colon
                text = f" {text}"
            return self._text[:start] + text + self._text[end:]
        if key is entry:
            raise _Unable
        # A comment behind the colon stays where it is, others stay below.
        colon = self._text.index(":", key.end_mark.index) + 1
        head = self._line_start(start)
        tail = self._line_end(end) + len(self._newline)
        lines = self._text[head:tail].splitlines(keepends=True)
        below = "".join(one for one in lines if one.lstrip().startswith("#"))
        kept = self._text[colon:head] + below
        return f"{self._text[:colon]} {text}{kept}{self._text[tail:]}"

    # --- places ---

    def _end(self, node: Any) -> int:
        """Return where *node* ends; of a block PyYAML says where the next begins."""
        end: int = node.end_mark.index
        if node.id == "scalar":
            is_block = node.style in ("|", ">")
            return len(self._text[:end].rstrip()) if is_block else end
        if node.flow_style:
            return end
        last = node.value[-1]
        return self._end(last[1] if isinstance(last, tuple) else last)

    def _put(self, at: int, text: str) -> str:
        return self._text[:at] + text + self._text[at:]

    def _cut(self, start: int, end: int) -> str:
        return self._text[:start] + self._text[end:]

    def _line_start(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        found = self._text.find(self._newline, at)
        return len(self._text) if found < 0 else found
