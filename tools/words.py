"""`make words`: the page's words for translation, and what is not translated yet.

    python3 tools/words.py [--check] [--drop]

Collects the texts of all `_('…')` in the page and in LuCI's views, the titles of LuCI's
menu and the table of settings into po/templates/fonshare.pot, and brings
po/fr/fonshare.po to the same texts: new ones come without a translation, translations
of texts that are gone stay at the end as comments, and count again if the text comes
back; --drop removes them. Lists what is untranslated, or set wrongly; with --check
writes nothing. The exit status tells whether all is well.
"""

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fonshare_agent.config_table import LIST_HELP, LISTS, OPTIONS, Unset
from fonshare_agent.web.labels import CAUTIONS, LABELS, SECTIONS

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "package" / "luci-app-fonshare"
TABLE = ROOT / "src" / "fonshare_agent" / "config_table.py"
NAMES = ROOT / "src" / "fonshare_agent" / "web" / "labels.py"
MENU = APP / "root" / "usr" / "share" / "luci" / "menu.d" / "luci-app-fonshare.json"
SOURCES = (APP / "htdocs", ROOT / "src" / "fonshare_agent" / "web" / "shell")
TEMPLATE = APP / "po" / "templates" / "fonshare.pot"
FRENCH = APP / "po" / "fr" / "fonshare.po"

GAP = re.compile(r"%(?:[sd%]|[\d.]+m?B)")
# A comment, a string, or the beginning of a call of `_`: whichever comes first.
TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)
      | (?P<call>(?<![\w$.])_\()""",
    re.DOTALL | re.VERBOSE,
)
ARGUMENT = re.compile(
    r"""\s*((?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      (?:\s*\+\s*(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))*)\s*\)""",
    re.VERBOSE,
)
LITERAL = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "0": "\0"}
PO_LINE = re.compile(r'(#~ )?(?:(msgid|msgstr) )?(".*")\Z')
HEADER = """\
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"""
FRENCH_HEADER = """\
msgid ""
msgstr ""
"Language: fr\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\\n"
"""


@dataclass(slots=True)
class Text:
    """A text for translation and the files that say it."""

    id: str
    places: list[str] = field(default_factory=list)
    translation: str = ""


class NoLiteral(Exception):
    """A call of `_` whose text no program can read."""


# --- collecting ----------------------------------------------------------------------


def find_texts(source: str) -> list[str]:
    """Return the texts of all calls of `_` in a module, or raise NoLiteral.

    A text is a literal, or several joined by `+`. The calls of a function named `_` are
    meant; its own definition has no literal and is passed over.
    """
    found = []
    at = 0
    while (token := TOKEN.search(source, at)) is not None:
        at = token.end()
        if token["call"] is None:
            continue
        argument = ARGUMENT.match(source, at)
        if argument is None:
            line = source.count("\n", 0, at) + 1
            before = source[source.rfind("\n", 0, at) + 1 : at]
            after = source[at : at + 40].partition("\n")[0]
            if is_forwarding(before, after):
                continue
            raise NoLiteral(f"line {line}: {before.strip()}{after}")
        literals = LITERAL.findall(argument[1])
        found.append("".join(unquoted(one) for one in literals))
        at = argument.end()
    return found


def is_forwarding(before: str, after: str) -> bool:
    """Tell whether this is `_`'s own definition, or hands a variable's text on."""
    return "function _(" in before or after.startswith("text)")


def unquoted(literal: str) -> str:
    """Return what a JavaScript string literal stands for."""

    def replace(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code:
            return chr(int(code, 16))
        return ESCAPES.get(match[3], match[3])

    return ESCAPE.sub(replace, literal[1:-1])


def collect() -> dict[str, Text]:
    """Return all texts, in the order of files and of lines in them."""
    texts: dict[str, Text] = {}

    def add(text: str, file: Path) -> None:
        known = texts.setdefault(text, Text(text))
        place = str(file.relative_to(ROOT))
        if place not in known.places:
            known.places.append(place)

    files = sorted(file for folder in SOURCES for file in folder.rglob("*.js"))
    for file in files:
        try:
            for text in find_texts(file.read_text(encoding="utf-8")):
                add(text, file)
        except NoLiteral as problem:
            raise SystemExit(
                f"{file}: {problem}\n`_` is called with a text in quotes, nothing else"
            ) from None
    for entry in json.loads(MENU.read_text(encoding="utf-8")).values():
        if "title" in entry:  # without it is no entry, only an address
            add(entry["title"], MENU)
    for text in settings_texts():
        add(text, TABLE)
    for text in (*LABELS.values(), *SECTIONS.values(), *CAUTIONS.values()):
        add(text, NAMES)
    return texts


def settings_texts() -> Iterable[str]:
    """Yield what the page says of settings, as `settings` answers it."""
    for option in (*OPTIONS, *(one for rows in LISTS.values() for one in rows)):
        yield option.help
        for default in (option.default, option.router):
            if isinstance(default, Unset):
                yield str(default)
    yield from LIST_HELP.values()


# --- the files -----------------------------------------------------------------------


def read_po(text: str, *, gone: bool = False) -> dict[str, str]:
    """Return the translations of a .po file of ours, by their text.

    With *gone*, those that are kept of texts that are not there any more.
    """
    found: dict[str, str] = {}
    for block in text.split("\n\n"):
        fields = {"msgid": "", "msgstr": ""}
        here = "msgid"
        for line in block.splitlines():
            match = PO_LINE.match(line)
            if match is not None and (match[1] is not None) == gone:
                here = match[2] or here
                fields[here] += ast.literal_eval(match[3])
        if fields["msgid"]:
            found[fields["msgid"]] = fields["msgstr"]
    return found


def quoted(text: str) -> str:
    """Return *text* as .po files have it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def render(header: str, texts: dict[str, Text]) -> str:
    """Return a .po file, or a template if nothing is translated."""
    blocks = [header]
    for text in texts.values():
        places = "".join(f"#: {place}\n" for place in text.places)
        blocks.append(
            f"{places}msgid {quoted(text.id)}\nmsgstr {quoted(text.translation)}\n"
        )
    return "\n".join(blocks)


def rendered(*, drop: bool = False) -> dict[Path, str]:
    """Return the two files as they must be."""
    texts = collect()
    template = render(HEADER, texts)
    before = FRENCH.read_text(encoding="utf-8") if FRENCH.exists() else ""
    known = read_po(before, gone=True) | read_po(before)
    for text in texts.values():
        text.translation = known.pop(text.id, "")
    french = render(FRENCH_HEADER, texts)
    for text_id, translation in known.items():
        if translation and not drop:
            french += f"\n#~ msgid {quoted(text_id)}\n#~ msgstr {quoted(translation)}\n"
    return {TEMPLATE: template, FRENCH: french}


# --- what is wrong -------------------------------------------------------------------


def complain(translations: dict[str, str]) -> list[str]:
    """Return what is untranslated, or has other gaps than its text."""
    complaints = []
    for text, translation in translations.items():
        if not translation:
            complaints.append(f"not translated: {text}")
        elif GAP.findall(text) != GAP.findall(translation):
            complaints.append(f"its gaps differ: {text}")
        elif slip := find_slip(translation):
            complaints.append(f"{slip}: {translation}")
    return complaints


def find_slip(translation: str) -> str:
    """Return what is wrong with how French is set, if anything is."""
    if re.search(
        r"(?<![\u00a0\u202f])[;?!»]|(?<=[^\W\d_]) ?:(?!/)(?=\s|\Z)", translation
    ):
        return "no unbreakable space before a mark"
    if re.search(r"«(?!\u00a0|\u202f)", translation):
        return "no unbreakable space after a quotation mark"
    if re.search(r"(?<=\w)'(?=\w)|\"", translation):
        return "a straight quotation mark"
    return ""


def main() -> int:
    """Write the files and list what is wrong; the exit status."""
    parser = argparse.ArgumentParser(description="Collect the words of the page.")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--drop", action="store_true", help="forget what is gone")
    options = parser.parse_args()
    files = rendered(drop=options.drop)
    complaints = complain(read_po(files[FRENCH]))
    for file, text in files.items():
        if not options.check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            complaints.append(f"stale: {file.relative_to(ROOT)}; run `make words`")
    print("\n".join(complaints) or "All words are translated.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
