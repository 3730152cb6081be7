"""The page's words in another language, read from the po files. Pure but for the file.

Only what such a file of ours has: comments, msgid and msgstr over several lines, and
the usual escapes. A text without a translation, or whose translation is fuzzy, is left
out: the page then shows its English.
"""

import ast
import re
from pathlib import Path
from typing import Final

LANGUAGE: Final = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?\Z")
_LINE: Final = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr)\s+)?(".*")\s*\Z')


def load_words(folder: Path, language: str) -> dict[str, str]:
    """Return the translations into *language*; none if there is no such file."""
    if not LANGUAGE.match(language):
        return {}
    found: dict[str, str] = {}
    for file in sorted((folder / language).glob("*.po")):
        found.update(parse_po(file.read_text(encoding="utf-8")))
    return found


def parse_po(text: str) -> dict[str, str]:
    """Return msgstr by msgid. A line that is none of a po file's is passed over."""
    found: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        fields: dict[str, str] = {}
        here = ""
        for line in block.split("\n"):
            match = _LINE.match(line)
            if match is None:
                continue
            here = match[1] or here
            fields[here] = fields.get(here, "") + _unquoted(match[2])
        is_fuzzy = re.search(r"^#,.*\bfuzzy\b", block, re.MULTILINE) is not None
        if fields.get("msgid") and fields.get("msgstr") and not is_fuzzy:
            found[fields["msgid"]] = fields["msgstr"]
    return found


def _unquoted(quoted: str) -> str:
    # The escapes of po files (\n, \t, \", \\) are those of Python's strings.
    try:
        return str(ast.literal_eval(quoted))
    except (SyntaxError, ValueError):
        return ""
