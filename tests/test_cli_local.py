"""Backup and restore on the command line: the files, the passphrase, the refusals."""

import errno
import io
import json
import os
import stat
import sys

import pytest

from control_agent import running_agent, settings
from fonshare_agent.cli import main
from fonshare_agent.nodekeys import load_or_create
from fonshare_agent.protocol.keys import node_id_text


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "node.yaml").write_text(json.dumps(settings()))
    (tmp_path / "disk").mkdir()
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    return tmp_path


def run(*argv: str) -> int:
    return main(["-c", "node.yaml", *argv])


def test_a_backup_never_overwrites(node, capsys):
    (node / "kept").write_text("mine")
    (node / "link").symlink_to("nowhere")
    for name in ("kept", "link"):
        assert run("backup", name, "--passphrase-file", "secret") == 1
        assert "exists already" in capsys.readouterr().err
    assert (node / "kept").read_text() == "mine"
    assert not (node / "nowhere").exists()


def test_half_a_backup_is_not_left_behind(node, monkeypatch, capsys):
    sync = os.fsync

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/new"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    load_or_create(node / "state" / "keys", os.urandom)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert run("backup", "new", "--passphrase-file", "secret") == 1
    assert "No space left" in capsys.readouterr().err
    assert not (node / "new").exists()
    assert run("backup", "new", "--passphrase-file", "secret") == 0


def test_a_passphrase_file_that_others_may_read_is_refused(node, capsys):
    (node / "secret").chmod(0o640)
    assert run("backup", "new", "--passphrase-file", "secret") == 2
    error = capsys.readouterr().err
    assert "chmod 600" in error
    assert "horse" not in error
    assert not (node / "new").exists()


@pytest.mark.parametrize("given", ["", "\n"])
def test_an_empty_passphrase_is_refused(node, monkeypatch, given):
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    assert run("backup", "new", "--passphrase-file", "-") == 2
    assert not (node / "new").exists()


def test_nobody_is_asked_off_a_terminal(node, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("x\n"))
    assert run("backup", "new") == 2
    assert "--passphrase-file" in capsys.readouterr().err


def test_a_passphrase_cannot_be_given_as_an_argument(node):
    assert run("backup", "new", "--passphrase", "secret") == 2
    assert run("backup", "new", "secret") == 2


def test_a_missing_backup_file_is_named(node, capsys):
    assert run("restore", "gone", "--passphrase-file", "secret", "--json") == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["thing"] == "gone"


def test_nothing_is_restored_under_a_running_agent(node, capsys):
    (node / "old").write_bytes(b"x")
    with running_agent(node):
        assert run("restore", "old", "--passphrase-file", "secret", "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "agent.running"


def test_what_was_backed_up_comes_back_with_the_passphrase(node, monkeypatch, capsys):
    before = load_or_create(node / "state" / "keys", os.urandom).signer.node_id
    assert run("backup", "new", "--passphrase-file", "secret", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": "new",
        "bytes": (node / "new").stat().st_size,
    }
    assert stat.S_IMODE((node / "new").stat().st_mode) == 0o600

    (node / "state").rename(node / "lost")
    monkeypatch.setattr(sys, "stdin", io.StringIO("wrong\n"))
    assert run("restore", "new", "--passphrase-file", "-") == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    capsys.readouterr()
    assert run("restore", "new", "--passphrase-file", "-", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": "new",
        "node": node_id_text(before),
        "groups": 0,
        "settings": True,
    }
    after = load_or_create(node / "state" / "keys", os.urandom).signer.node_id
    assert after == before
