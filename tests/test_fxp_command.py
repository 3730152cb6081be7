"""`fonshare fxp` on the command line: passwords, the answer, Ctrl-C, the background."""

import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fonshare_agent.cli import main
from fxp_small import PASSWORD, small_server
from waiting import PATIENCE_S, wait_until

CONTENT = os.urandom(300_000)
PROGRAM = [sys.executable, "-m", "fonshare_agent", "fxp"]


@pytest.fixture
def secrets(tmp_path) -> str:
    file = tmp_path / "secrets"
    file.write_text(f"{PASSWORD}\n{PASSWORD}\n")
    file.chmod(0o600)
    return str(file)


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def source(stack, tmp_path):
    return stack.enter_context(small_server(tmp_path / "source", "127.0.0.2"))


@pytest.fixture
def target(stack, tmp_path):
    return stack.enter_context(small_server(tmp_path / "target", "127.0.0.3"))


def slow(stack, tmp_path):
    """A source that takes some ten seconds for the file."""
    server = small_server(tmp_path / "source", "127.0.0.2", bytes_s=20_000)
    return stack.enter_context(server)


def test_the_answer_has_the_shape_of_get(source, target, secrets, capsys):
    source.put("top/a b", CONTENT)
    words = ["fxp", source.url("top"), target.url("new"), "--passwords", secrets]
    assert main([*words, "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)
    assert job.keys() >= {"id", "entry", "name", "sources", "error", "path"}
    assert job["entry"] == source.url("top")
    assert (job["state"], job["size"], job["done_bytes"]) == ("done", *[300_000] * 2)
    assert (job["files"], job["failed"], job["relayed"]) == (1, 0, None)
    assert target.tree() == {"new/a b": CONTENT}


def test_people_are_told_what_was_not_copied(source, target, secrets, capsys):
    source.put("top/a", b"new")
    target.put("a", b"old")
    words = ["fxp", source.url("top"), target.url(), "--passwords", secrets]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "another file of that name" in shown.out
    assert PASSWORD not in shown.out + shown.err
    assert main([*words, "--overwrite"]) == 0
    assert target.tree() == {"a": b"new"}


@pytest.mark.full
def test_a_relay_is_told_with_its_reason(stack, tmp_path, target, secrets, capsys):
    closed = small_server(
        tmp_path / "closed", "127.0.0.4", permit_foreign_addresses=False
    )
    source = stack.enter_context(closed)
    source.put("a", CONTENT)
    words = ["fxp", source.url("a"), target.url("a"), "--passwords", secrets]
    assert main(words) == 0
    assert "went through this node: the server connects" in capsys.readouterr().out
    assert main([*words, "--relay", "always", "--overwrite"]) == 0
    assert "went through this node: as `--relay always`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ftp://a:secret1@127.0.0.1/x", "ftp://127.0.0.1/y"], "fxp.url"),
        (["ftp://127.0.0.1/x", "ftp://127.0.0.1/x/"], "usage"),
        (["ftp://127.0.0.1/x", "ftp://127.0.0.1/y", "--src-pin", "00"], "usage"),
        (["ftps://127.0.0.1/x", "ftp://127.0.0.1/y", "--src-pin", "00"], "fxp.url"),
        (["ftp://a@127.0.0.1/x", "ftp://127.0.0.1/y"], "usage"),
        (["ftp://127.0.0.1/x", "ftp://127.0.0.1/y", "--relay", "maybe"], "usage"),
    ],
)
def test_what_is_written_wrongly_is_a_usage_error(words, code, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    assert main(["fxp", *words, "--json"]) == 2
    sys.stdin.close()
    shown = capsys.readouterr().out
    assert json.loads(shown)["error"]["code"] == code
    assert "secret1" not in shown


def test_a_passwords_file_that_others_may_read_is_refused(secrets, capsys):
    os.chmod(secrets, 0o644)
    words = ["ftp://a@127.0.0.1/x", "ftp://127.0.0.1/y", "--passwords", secrets]
    assert main(["fxp", *words]) == 2
    assert "chmod 600" in capsys.readouterr().err


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *words, "--passwords", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("relay", ["never", "always"])
def test_ctrl_c_ends_both_transfers_and_keeps_what_came(stack, tmp_path, target, relay):
    source = slow(stack, tmp_path)
    source.put("a", CONTENT)
    child = start(source.url("a"), target.url("a"), "--relay", relay)
    assert child.stdin is not None
    child.stdin.write(f"{PASSWORD}\n{PASSWORD}\n")
    child.stdin.close()
    partial = target.disk / "a.fonshare-part"
    wait_until(lambda: partial.exists() and partial.stat().st_size, "the first bytes")
    arguments = Path(f"/proc/{child.pid}/cmdline").read_bytes()
    environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    assert PASSWORD.encode() not in arguments + environment
    child.send_signal(signal.SIGINT)
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout, child.stderr:
        assert child.wait(PATIENCE_S) == 130
    if relay == "never":
        assert "ABOR" in [*source.asked, *target.asked]
    assert [*source.asked, *target.asked].count("QUIT") >= 2
    assert 0 < partial.stat().st_size < len(CONTENT)
    assert not (target.disk / "a").exists()


@pytest.mark.full
def test_it_goes_on_in_the_background_and_writes_how_far_it_is(
    stack, tmp_path, target, secrets
):
    source = slow(stack, tmp_path)
    source.put("a", CONTENT[:150_000])
    answer = tmp_path / "answer.json"
    ended = subprocess.run(
        [
            *[*PROGRAM, source.url("a"), target.url("a"), "--passwords", secrets],
            *["--background", str(answer), "--json"],
        ],
        capture_output=True,  # ends when nobody holds the pipes any more
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    (job,) = json.loads(ended.stdout)
    assert job["state"] in ("queued", "locating", "running")
    process = int(job["id"].removeprefix("fxp-"))
    wait_until(
        lambda: json.loads(answer.read_text())[0]["state"] == "done", "the end of it"
    )
    wait_until(lambda: not Path(f"/proc/{process}").exists(), "the process's end")
    assert target.tree() == {"a": CONTENT[:150_000]}
    assert json.loads(answer.read_text())[0]["id"] == job["id"]
    assert stat.S_IMODE(answer.stat().st_mode) & 0o022 == 0


def test_a_login_that_fails_is_said_before_it_goes_to_the_background(
    source, target, tmp_path, secrets
):
    Path(secrets).write_text("wrong\nwrong\n")
    answer = tmp_path / "answer.json"
    ended = subprocess.run(
        [
            *[*PROGRAM, source.url("a"), target.url("a"), "--passwords", secrets],
            *["--background", str(answer), "--json"],
        ],
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["error"]["code"] == "fxp.login"
    assert not answer.exists()
