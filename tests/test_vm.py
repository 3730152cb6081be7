"""The whole emulated machine's story: that it can still be told, without a machine.

`make vm` takes too long to run before each change. What it types and waits for is held
to the agent's commands and words here, so that it does not wait for what nobody says.
"""

import ast
import re
import socket
from pathlib import Path

import pytest

from fonshare_agent.control.commands import BY_NAME
from vm_image import MachineFailed
from vm_machine import Line, Turns
from vm_parts import PARTS

ROOT = Path(__file__).parent.parent
STORY = sorted((ROOT / "tools").glob("vm*.py"))
AGENT = ROOT / "src" / "fonshare_agent"
WAITS = {"wait_until_said"}  # for a sentence of the log


@pytest.fixture(scope="module")
def words():
    return "\n".join(file.read_text() for file in AGENT.rglob("*.py"))


def texts():
    """Every text of the story's programs."""
    for file in STORY:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_commands_that_are_typed_are_in_the_table():
    typed = {
        match[1] or match[2]
        for text in texts()
        for match in re.finditer(
            r"(?:^|[;&|] ?)fonshare ((?:group|share|jobs) [a-z]+|([a-z]+))\b", text
        )
    }
    assert {"status", "get", "group create", "share add"} <= typed
    assert typed - BY_NAME.keys() <= {"jobs"}


def test_what_is_waited_for_is_said_somewhere(words):
    said = set()
    for file in STORY:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in WAITS:
                assert isinstance(node.args[0], ast.Constant)
                said.add(node.args[0].value)
    assert said
    # The log's own form: "trouble: CODE".
    said = {text.removeprefix("trouble: ") for text in said}
    assert [text for text in said if text not in words] == []


def test_the_questions_that_are_answered_are_asked(words):
    (answers,) = (
        node.value
        for file in STORY
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "answers"
    )
    asked = [pair.elts[0].value for pair in answers.elts]
    assert len(asked) > 5
    assert [text for text in asked if text not in words] == []


def test_each_part_says_what_it_shows():
    assert all(part.__doc__ for part in PARTS.values())


def test_patience_does_not_run_out_while_the_machine_waits_for_its_turn(tmp_path):
    thread = tmp_path / "7" / "schedstat"
    thread.parent.mkdir()
    thread.write_text("1000000000 0 5\n")
    turns = Turns(tmp_path)
    before = turns()
    thread.write_text("1000000000 60000000000 5\n")
    assert turns() < before - 50


def test_a_line_waits_by_its_clock():
    near, far = socket.socketpair()
    with near, far:
        times = iter([0.0, 1.0, 99.0])
        line = Line(near, lambda: next(times))
        far.sendall(b"it boots\r\n")
        with pytest.raises(MachineFailed, match="it boots"):
            line.wait_for("READY", 50)
        far.sendall(b"READY after 9\r\nmore")
        line = Line(near, lambda: 0.0)
        assert line.wait_for(r"READY after (\d)\r\n", 50)[1] == b"9"
