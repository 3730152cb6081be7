"""The documents say what the code does: commands, options, codes, links, targets."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from error_page import error_classes, page
from fonshare_agent.command_line import parse
from fonshare_agent.config_table import LISTS, OPTIONS
from fonshare_agent.help_texts import shown_commands

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TARGET = re.compile(r"^([a-z][a-z-]*):.* ## ", re.MULTILINE)


@cache
def texts() -> dict[Path, str]:
    """Every Markdown file of the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")]
    return {file: file.read_text() for file in sorted(found)}


def read(name: str) -> str:
    return texts()[ROOT / name]


@pytest.mark.parametrize("file", texts(), ids=lambda f: str(f.relative_to(ROOT)))
def test_local_links_lead_somewhere(file):
    for link in LINK.findall(FENCE.sub("", texts()[file])):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (file.parent / unquote(place)).resolve() if place else file
        assert target.exists(), f"{file.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{file.name} links to {link}"


def anchors(file: Path) -> set[str]:
    """The names that headings get where Markdown is shown."""
    headings = re.findall(r"^#+ +(.*)$", texts().get(file, ""), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.strip().replace(" ", "-") for word in words}


@pytest.mark.parametrize("command", shown_commands(), ids=lambda c: c.name)
def test_every_command_is_in_the_command_page(command):
    assert f"\n## {command.name}\n" in read("docs/cli.md")


def test_every_option_is_in_the_settings_page():
    names = [option.name for option in OPTIONS]
    for list_name, options in LISTS.items():
        names += [f"{list_name}[].{option.name}" for option in options]
    missing = [n for n in names if f"\n### {n}\n" not in read("docs/settings.md")]
    assert not missing


def test_the_error_page_is_what_the_classes_give():
    assert read("docs/errors.md") == page(), (
        "write it again: python tools/error_page.py > docs/errors.md"
    )


def test_error_codes_are_unique():
    codes = [kind.code for kind in error_classes()]
    assert sorted(codes) == sorted(set(codes))


def test_what_is_not_found_is_looked_for_where_its_kind_is_listed():
    """A job id is not to be checked with `fonshare ls`: each place says its own."""
    source = ROOT / "src" / "fonshare_agent"
    silent = []
    for file in source.rglob("*.py"):
        place = str(file.relative_to(source))
        # FTP clients are shown the message alone; another node gets the code alone.
        if place.startswith(("ftp/", "friends_tree.py", "parts.py")):
            continue
        calls = (n for n in ast.walk(ast.parse(file.read_text())) if is_not_found(n))
        silent += [
            f"{place}:{call.lineno}"
            for call in calls
            if not any(one.arg == "next" for one in call.keywords)
        ]
    assert not silent


def is_not_found(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "NotFound"


def shown_lines() -> list[tuple[str, str]]:
    """The command lines in fenced blocks: (document, line)."""
    return [
        (file.name, line.split(" #")[0].removeprefix("$ ").strip())
        for file, text in texts().items()
        for block in FENCE.findall(text)
        for line in block.splitlines()
    ]


def test_make_targets_that_documents_name_exist():
    makefiles = (ROOT / "Makefile", ROOT / "openwrt-sdk.mk")
    targets = {one for file in makefiles for one in TARGET.findall(file.read_text())}
    named = {
        (file.name, word)
        for file, text in texts().items()
        for word in re.findall(r"`make ([a-z][a-z-]*)", text)
    }
    for name, line in shown_lines():
        if line.startswith("make "):
            words = [w for w in line.split()[1:] if "=" not in w]
            named |= {(name, word) for word in words}
    unknown = {one for one in named if one[1] not in targets}
    assert not unknown


def test_command_lines_that_documents_show_are_understood():
    lines = [one for one in shown_lines() if one[1].startswith("fonshare ")]
    assert lines, "no document shows a command?"
    for name, line in lines:
        if re.search(r"\[|…|\.\.\.|\w\|\w", line):  # a form, not an example
            continue
        words = shlex.split(re.split(r" [|<>] ", line)[0])[1:]
        try:
            parse(words)
        except Exception as error:
            pytest.fail(f"{name} shows {line!r}: {error}")
