"""`make run`: what it must never do to a person's files, and the whole of it once."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "tools" / "demo.py"


def _start(*arguments):
    return subprocess.Popen(
        [sys.executable, DEMO, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _refusal_of(*arguments):
    process = _start("--once", *arguments)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    return output


def test_a_folder_that_is_not_a_demos_is_never_emptied(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")

    assert "not a demo's" in _refusal_of("--folder", str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_without_files_is_refused_and_nothing_is_left_running(tmp_path):
    (tmp_path / "empty").mkdir()

    output = _refusal_of(
        *["--folder", str(tmp_path / "demo"), "--share", str(tmp_path / "empty")],
        "--embedded",
    )

    assert "no files" in output
    assert _children_in(tmp_path) == []


def _children_in(folder):
    """Return the command lines of living processes that name *folder*."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue  # it has just ended
        if bytes(folder) in words:
            found.append(words)
    return found


@pytest.mark.full
def test_the_main_job_is_shown_with_the_embedded_broker(tmp_path):
    (tmp_path / "mine").mkdir()
    film = tmp_path / "mine" / "-été #%.bin"
    film.write_bytes(bytes(range(256)) * 4096)
    changed = film.stat().st_ctime_ns

    process = _start(
        *["--once", "--embedded", "--folder", str(tmp_path / "demo")],
        *["--share", str(film.parent)],
    )
    output, _ = process.communicate(timeout=100)

    assert process.returncode == 0, output
    assert "byte for byte" in output
    assert "nothing found" in output
    fetched = list((tmp_path / "demo" / "bob" / "disk").rglob(film.name))
    assert [path.read_bytes() for path in fetched] == [film.read_bytes()]
    assert film.stat().st_ctime_ns == changed
    assert _children_in(tmp_path) == []


@pytest.mark.full
def test_it_stays_up_and_ends_cleanly_when_interrupted(tmp_path):
    process = _start("--folder", str(tmp_path / "demo"))
    lines = []
    _read_until(process, lines, "ftp://owner:demo@")

    process.send_signal(signal.SIGINT)

    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, lines
    assert "Stopped." in output
    assert _children_in(tmp_path) == []


def _read_until(process, lines, text):
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError("".join(lines))
