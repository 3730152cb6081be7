"""What the command line says, in the language of the person: English or French.

English is what the sources hold; French comes from french.txt, which is read the first
time that something is said in it. Only the process of a command asks here: the agent,
the logs and every JSON answer stay English (docs/decisions/0091).
"""

import os
from collections.abc import Mapping
from typing import Final

FRENCH: Final = "french.txt"
GAP: Final = "{}"  # in a text, for what is filled in
SPOKEN: Final = "{t}"  # in its translation, for a gap whose text is translated too
ALLOWED: Final = "; allowed: "  # in what config_check.py says of an option
VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides
YES: Final = {"en": ("y", "yes"), "fr": ("o", "oui", "y", "yes")}

_chosen = "en"
_french: dict[str, str] = {}
_templates: list[tuple[str, str]] = []  # those with gaps, those that say most first


def choose_language(environ: Mapping[str, str]) -> None:
    """Speak from now on as the person's locale has it."""
    global _chosen
    value = next((environ[one] for one in VARIABLES if environ.get(one)), "")
    is_french = value[:2] == "fr" and not value[2:3].isalpha()
    _chosen = "fr" if is_french else "en"


def say(text: str, *values: object) -> str:
    """Return a text of this program, its gaps filled with *values* in their order."""
    if _chosen != "en":
        text = _load().get(text, text).replace(SPOKEN, GAP)
    return _fill(text, [str(value) for value in values]) if values else text


def translate(text: str, language: str | None = None) -> str:
    """Return a text that came with its gaps filled, as an error's message does.

    In *language*, else in the person's; what no translation is known of stays as it is.
    """
    return _in_french(text) if (language or _chosen) == "fr" else text


def _in_french(text: str) -> str:
    if not text:
        return text
    return "\n".join(_translate_line(line) for line in text.split("\n"))


def is_yes(answer: str) -> bool:
    return answer.strip().lower() in YES[_chosen]


def _translate_line(line: str) -> str:
    whole = _load().get(line) or _translate_complaint(line)
    if whole is not None:
        return whole
    for template, french in _templates:
        pieces = template.split(GAP)
        if all(piece in line for piece in pieces):
            found = _match(pieces, line)
            if found is not None:
                return _fill(french, found)
    return line


def _translate_complaint(line: str) -> str | None:
    """Translate what is wrong with an option, part by part; None if it is not that."""
    option, colon, said = line.partition(": ")
    problem, ends, allowed = said.partition(ALLOWED)
    if not colon or " " in option or _in_french(problem) == problem:
        return None
    if ends:
        return _fill(_load()[f"{GAP}: {GAP}{ALLOWED}{GAP}"], [option, problem, allowed])
    return _fill(_load()[f"{GAP}: {GAP}"], [option, problem])


def _match(pieces: list[str], line: str) -> list[str] | None:
    """Return what stands in the gaps between *pieces*; None if they do not fit."""
    import re

    pattern = "(.+?)".join(re.escape(piece) for piece in pieces)
    match = re.fullmatch(pattern, line, re.DOTALL)
    return None if match is None else list(match.groups())


def _fill(template: str, values: list[str]) -> str:
    """Put *values* into the gaps; unlike str.format, other braces are only braces."""
    filled = []
    rest = template
    for value in values:
        before, gap, rest = _cut(rest)
        filled += [before, _in_french(value) if gap == SPOKEN else value]
    return "".join([*filled, rest])


def _cut(template: str) -> tuple[str, str, str]:
    """Cut at the first gap of either kind."""
    places = [(template.find(gap), gap) for gap in (GAP, SPOKEN) if gap in template]
    if not places:
        return template, "", ""
    at, gap = min(places)
    return template[:at], gap, template[at + len(gap) :]


def parse(text: str) -> dict[str, str]:
    """Return French by English: pairs of lines, `\\n` for a line break within one."""
    found = {}
    for block in text.strip("\n").split("\n\n"):
        english, _, french = block.partition("\n")
        if not english.startswith("# "):
            found[english.replace("\\n", "\n")] = french.replace("\\n", "\n")
    return found


def _load() -> dict[str, str]:
    if not _french:
        place = os.path.join(os.path.dirname(__file__), FRENCH)
        with open(place, encoding="utf-8") as file:
            _french.update(parse(file.read()))
        with_gaps = [pair for pair in _french.items() if GAP in pair[0]]
        _templates.extend(sorted(with_gaps, key=_weight, reverse=True))
    return _french


def _weight(pair: tuple[str, str]) -> int:
    return len(pair[0].replace(GAP, ""))
