"""What holds for the text of the page's modules.

Names come from strangers, so nothing may become HTML; LuCI's jsmin must not break them;
and whoever translates must find every sentence.
"""

import posixpath
import re
from collections.abc import Iterator

from browser import MODULES, ROOT
from fonshare_agent.control.commands import COMMANDS

LINES_MAX = 400  # of a module, as of the agent's
SOURCES = {
    str(file.relative_to(MODULES)): file.read_text()
    for file in sorted(MODULES.rglob("*.js"))
}
STRING = re.compile(r"'(?:[^'\\\n]|\\.)*'")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def code_of(source: str) -> str:
    """Return *source* with its strings emptied and without comments."""
    found = re.compile(f"{STRING.pattern}|{COMMENT.pattern}", re.DOTALL)
    return found.sub(lambda one: "''" if one[0].startswith("'") else "", source)


def lines_with(pattern: str, *, of_code: bool = True) -> Iterator[str]:
    for name, source in SOURCES.items():
        for line in (code_of(source) if of_code else source).splitlines():
            if re.search(pattern, line):
                yield f"{name}: {line.strip()}"


def test_there_is_a_page():
    assert {"app.js", "dom.js", "pages/overview.js", "pages/files.js"} <= set(SOURCES)


def test_no_text_ever_becomes_html_or_code():
    sinks = (
        r"inner"
        r"HTML|outer"
        r"HTML|insertAdjacent|document\.write|srcdoc"
        r"|createContextualFragment|DOMParser|\beval\b|new Function"
        r"|setTimeout\(''|javascript:"
    )
    allowed = "dom.js: const FORBIDDEN"  # where they are refused
    found = [one for one in lines_with(sinks) if not one.startswith(allowed)]
    assert found == []


def test_no_style_is_written_as_an_attribute():
    assert list(lines_with(r"setAttribute\('style'", of_code=False)) == []


def test_nothing_is_loaded_from_elsewhere():
    found = [
        one
        for one in lines_with(r"https?://|'//", of_code=False)
        if "'http://www.w3.org/2000/svg'" not in one  # a name, never asked for
    ]
    assert found == []
    imports = re.compile(
        r"^import .* from '([^']+)';|^\} from '([^']+)';", re.MULTILINE
    )
    for name, source in SOURCES.items():
        for match in imports.finditer(source):
            path = match[1] or match[2]
            assert path.startswith(("./", "../")), f"{name}: {path}"


def test_what_a_module_imports_another_exports():
    """A browser loads none of the page if one name is missing."""
    imported = re.compile(r"import \{([^}]*)\} from '(\.[^']*)'")
    exported = re.compile(
        r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE
    )
    found = [
        (name, one.split(" as ")[0].strip(), posixpath.normpath(f"{name}/../{place}"))
        for name, source in SOURCES.items()
        for names, place in imported.findall(source)
        for one in names.split(",")
    ]
    assert len(found) > 100
    assert [
        (name, one)
        for name, one, place in found
        if one not in exported.findall(SOURCES[place])
    ] == []


def test_nothing_is_there_that_jsmin_breaks():
    """Template literals keep their spaces badly; regular expressions are guessed."""
    assert list(lines_with("`")) == []
    assert list(lines_with(r"[^\w)\]'\s]\s*/(?![/*])")) == [], "a regular expression?"


def test_every_sentence_is_a_plain_literal():
    """tools/words.py reads them from the source, so nothing may be put together."""
    wrong = []
    for name, source in SOURCES.items():
        if name == "words.js":
            continue
        for match in re.finditer(r"(?<![\w.$'])_\((?!\s*')[^)]*", source):
            wrong.append(f"{name}: {match[0]}")
        for match in re.finditer(rf"(?<![\w.$'])_\(\s*({STRING.pattern})", source):
            end = source[match.end() :].lstrip()
            if not end.startswith(")"):
                wrong.append(f"{name}: {match[0]}")
    assert wrong == []


def test_modules_are_short_and_say_what_they_own():
    long = {name: len(text.splitlines()) for name, text in SOURCES.items()}
    assert {name: n for name, n in long.items() if n > LINES_MAX} == {}
    assert [name for name, text in SOURCES.items() if not text.startswith("/* ")] == []


def test_the_sheet_touches_nothing_but_the_page():
    sheet = re.sub(
        r"/\*.*?\*/", "", (MODULES / "page.css").read_text(), flags=re.DOTALL
    )
    assert "url(" not in sheet
    assert "@import" not in sheet
    for selectors in re.findall(r"(?:^|\})\s*([^{}@]+)\{", sheet):
        for one in re.split(r",(?![^()]*\))", selectors):
            name = one.strip()
            is_ours = name.startswith((".fonshare", "body[data-fonshare"))
            assert is_ours or name in ("to", "from"), name


def test_the_page_says_where_each_command_of_the_table_is():
    text = (ROOT / "docs" / "page.md").read_text()
    rows = text.partition("| command | where |\n| --- | --- |\n")[2]
    named = [
        name
        for line in rows.partition("\n\n")[0].splitlines()
        for name in re.findall(r"`([a-z ]+)`", line.split("|")[1])
    ]
    assert sorted(named) == sorted(row.name for row in COMMANDS if row.is_shown)
