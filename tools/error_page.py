"""docs/errors.md, made from the error classes, the jobs' reasons and doctor's findings.

    python tools/error_page.py > docs/errors.md

A test compares the two (tests/test_docs.py).
"""

import ast
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from importlib import import_module

import fonshare_agent
from fonshare_agent import doctor, doctor_storage, errors
from fonshare_agent.errors import FonshareError
from fonshare_agent.reasons import REASONS

HEAD = """\
# Errors

Made from the code by `python tools/error_page.py`; a test compares the two.

Each error has a code that stays the same for ever; the wording may change. A command
says `fonshare: what: which thing; what happens next` and ends with the exit status
below; with `--json` it answers `{error:{code, message, thing, next}}`. "Next" here is
what is said when there is nothing more exact to say.
"""
JOBS = """
## Why a job waits

`fonshare jobs` shows these as a job's `error`, `fonshare follow ls` those of follows.
None ends the job or follow; it goes on by itself as soon as it can.

| code | means |
| --- | --- |
"""
FINDINGS = """
## What `fonshare doctor` finds

Besides the errors above, which it shows when they last.

| code | level | says |
| --- | --- | --- |
"""
TABLE = """
| code | exit | means | next |
| --- | --- | --- | --- |
"""


def page() -> str:
    """Return docs/errors.md."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    yield HEAD
    known = sorted(error_classes(), key=_place)
    section = ""
    for kind in known:
        here = _section(kind)
        if here != section:
            section = here
            yield f"\n## {section}\n{TABLE}"
        words = [f"`{kind.code}`", str(kind.exit_status), _meaning(kind), kind.advice]
        yield _row(words)
    yield JOBS
    for reason in REASONS.values():
        yield _row([f"`{reason.code}`", reason.text])
    yield FINDINGS
    for finding in findings():
        yield _row([f"`{finding[1]}`", finding[0], finding[2]])


def _row(words: list[str]) -> str:
    return f"| {' | '.join(word.replace('|', chr(92) + '|') for word in words)} |\n"


def error_classes() -> list[type[FonshareError]]:
    """Every deliberate error of the agent, those outside errors.py too."""
    for module in pkgutil.walk_packages(fonshare_agent.__path__, "fonshare_agent."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found, left = [], [FonshareError]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if "code" in vars(kind):  # else it is told as its parent is
            found.append(kind)
    return found


def _anchor(kind: type[FonshareError]) -> type[FonshareError]:
    """Return *kind*, or its nearest ancestor that stands in errors.py."""
    return next(one for one in kind.__mro__ if one.__module__ == errors.__name__)


def _place(kind: type[FonshareError]) -> tuple[int, str]:
    return inspect.getsourcelines(_anchor(kind))[1], kind.code


def _section(kind: type[FonshareError]) -> str:
    """Return whose fault *kind* is, as the headings in errors.py say."""
    name = "Ours"
    lines = inspect.getsource(errors).splitlines()
    for line in lines[: inspect.getsourcelines(_anchor(kind))[1]]:
        if line.startswith("# --- "):
            name = line.strip("# -")
    return name[0].upper() + name[1:]


def _meaning(kind: type[FonshareError]) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def findings() -> list[tuple[str, str, str]]:
    """(level, code, message) of each finding that doctor can make."""
    found = []
    for module in (doctor, doctor_storage):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) in ("finding", "_finding"):
                level, code, message = (_text(value) for value in node.args[:3])
                found.append((level, code, message))
    return sorted(found, key=lambda row: row[1])


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…"
            for part in node.values
        )
    return "…"


if __name__ == "__main__":
    sys.stdout.write(page())
