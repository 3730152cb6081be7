"""The watch over what tests leave behind sees each kind, and lets go of what ended."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import leftovers
from leftovers import Belongings, wait_for_leftovers


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(leftovers, "ENDING_S", 0.1)


def test_an_open_file_is_seen_until_it_is_closed(tmp_path):
    before = Belongings.now()
    with (tmp_path / "open").open("w"):
        assert "open file" in str(wait_for_leftovers(before))

    assert not wait_for_leftovers(before)


def test_a_thread_is_seen_until_it_has_ended():
    before = Belongings.now()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    assert str(wait_for_leftovers(before)) == "thread 'forgotten'"

    end.set()
    thread.join()
    assert not wait_for_leftovers(before)


def test_a_child_is_seen_until_somebody_has_waited_for_it():
    before = Belongings.now()
    child = subprocess.Popen(["true"])
    assert str(child.pid) in str(wait_for_leftovers(before))

    child.wait()
    assert not wait_for_leftovers(before)


TESTS = """
import socket, threading
import pytest
import leftovers

leftovers.ENDING_S = 0.1
KEPT = []

def test_that_forgets_a_socket():
    KEPT.append(socket.socket())

def test_that_forgets_a_thread():
    end = threading.Event()
    KEPT.append(end)
    threading.Thread(target=end.wait, daemon=True).start()

@pytest.mark.leaves_behind(reason="shows the way out")
def test_that_says_so():
    KEPT.append(socket.socket())

def test_that_is_tidy():
    socket.socket().close()

def test_that_wants_a_program():
    from programs import require_program
    require_program("no-such-program")

def test_that_starts_a_missing_program(monkeypatch):
    import subprocess
    import packages
    monkeypatch.setattr("conftest.find_program", lambda name: None)
    raise FileNotFoundError(2, "No such file or directory", "mosquitto")
"""


@pytest.fixture(params=[False, True], ids=["here", "in CI"])
def outcomes(request, tmp_path) -> dict[str, str]:
    """How each of TESTS ended, by name, in a run of its own."""
    (tmp_path / "test_watched.py").write_text(TESTS)
    root = Path(__file__).parent.parent
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", root / "pyproject.toml", "-rA"),
            *("--rootdir", tmp_path, "-p", "conftest", tmp_path),
        ],
        env={
            **{name: value for name, value in os.environ.items() if name != "CI"},
            **({"CI": "true"} if request.param else {}),
            "PYTHONPATH": os.pathsep.join(map(str, (root / "tests", root / "tools"))),
        },
        capture_output=True,
        text=True,
    )
    found = {}
    for line in run.stdout.splitlines():
        words = line.split()
        if words and words[0] in ("PASSED", "FAILED", "ERROR", "SKIPPED"):
            where = re.search(r"test_that_\w+|py:\d+", line)
            found[where[0] if where else line] = words[0]
    found["in CI"] = str(request.param)
    return found


@pytest.mark.full
def test_what_a_test_leaves_behind_or_skips_unseen_counts(outcomes):
    assert outcomes["test_that_is_tidy"] == "PASSED"
    assert outcomes["test_that_says_so"] == "PASSED"
    assert outcomes["test_that_forgets_a_socket"] == "ERROR"
    assert outcomes["test_that_forgets_a_thread"] == "ERROR"
    absent = ("test_that_wants_a_program", "test_that_starts_a_missing_program")
    told = [outcomes.get(name) for name in absent]
    assert told == (["FAILED"] * 2 if outcomes["in CI"] == "True" else [None] * 2)
    assert ("SKIPPED" in outcomes.values()) == (outcomes["in CI"] == "False")
