"""The scripts for LuCI: they are the same programs after its minifier, and linted."""

import subprocess
from pathlib import Path

import pytest

import lint_js
from luci_minifier import Broken, minify
from programs import refuse

RESOURCES = lint_js.ROOT / "package/luci-app-fonshare/htdocs/luci-static/resources"


@pytest.fixture(scope="module", autouse=True)
def node() -> None:
    trouble = lint_js.bring()
    if trouble == lint_js.MISSING:
        refuse(trouble)
    assert trouble is None


def differing(kind: str, pairs: list[tuple[Path, Path]]) -> list[Path]:
    """The first of each pair of files that are not the same program."""
    program = lint_js.FOLDER / "same_program.mjs"
    files = [file for pair in pairs for file in pair]
    done = subprocess.run(
        ["node", program, kind, *files], capture_output=True, text=True
    )
    assert done.stderr == ""
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("script", "view/**/*.js"), ("module", "fonshare/**/*.js")],
)
def test_every_script_survives_the_minifier_of_luci(kind, pattern, tmp_path):
    pairs = []
    for file in sorted(RESOURCES.glob(pattern)):
        small = tmp_path / f"{len(pairs)}.js"
        text = file.read_text(encoding="utf-8")
        small.write_text(minify(text), encoding="utf-8")
        assert small.stat().st_size < file.stat().st_size, file.name
        pairs.append((file, small))
    assert differing(kind, pairs) == []


KEPT = (
    "a = b + ++c; // d\nif (e)\n\treturn '/* f */';",
    "x = y.replace(/[/'\"]/g, '');\nz = a / b / c;",
    "x = a\n(b || c).d()",
    "f = () => {}\ng()",
)
BROKEN = (
    "x = y > /a  -b/.test(z)",  # it takes the slash for a division
    "x = `a ${`  b`}`",
)


def test_what_the_minifier_breaks_is_seen(tmp_path):
    pairs = []
    for number, source in enumerate(KEPT + BROKEN):
        before, after = tmp_path / f"{number}.js", tmp_path / f"{number}.min.js"
        before.write_text(f"function t() {{\n{source}\n}}\n")
        after.write_text(minify(before.read_text()))
        pairs.append((before, after))
    broken = [before for before, _ in pairs[len(KEPT) :]]
    assert differing("script", pairs) == broken


@pytest.mark.parametrize("source", ["a = 'b", "/* a", "a = (/b", "a = (/b//c/"])
def test_what_the_minifier_refuses_is_refused(source):
    with pytest.raises(Broken):
        minify(source)
