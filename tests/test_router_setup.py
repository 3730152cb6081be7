"""`fonshare setup` on a router: its UCI file, its disks, what its user may do there."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fonshare_agent import first_use, router_setup
from fonshare_agent.cli import main
from fonshare_agent.config import load_settings
from fonshare_agent.passwords import verify_password

ROOT = Path(__file__).parent.parent
MOUNTS = """\
/dev/root /rom squashfs ro 0 0
proc /proc proc rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sda1 /overlay ext4 rw 0 0
overlayfs:/overlay / overlay rw 0 0
/dev/sda1 /mnt/sda1 ext4 rw 0 0
/dev/sda2 {disk} ext4 rw 0 0
/dev/sdb1 /tmp/stick vfat rw 0 0
"""


class Answers(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def router(tmp_path, monkeypatch):
    """A router with the settings as shipped, a disk, and uci's stand-in."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "disk").mkdir()
    file = tmp_path / "etc" / "fonshare"
    file.write_text((ROOT / "files/etc/config/fonshare").read_text())
    (tmp_path / "mounts").write_text(MOUNTS.format(disk=tmp_path / "disk"))
    program = tmp_path / "uci"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from uci_stand_in import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    service = tmp_path / "service"
    service.write_text(f"#!/bin/sh\necho $* >> {tmp_path}/restarted\n")
    for one in (program, service):
        one.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(first_use, "ROUTER_FILE", file)
    monkeypatch.setattr(router_setup, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(router_setup, "SERVICE", str(service))
    monkeypatch.setattr(router_setup, "MEMORY", "/tmp/stick")  # tests live in /tmp
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "s3cret")
    return tmp_path


def answer(monkeypatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Answers("".join(f"{one}\n" for one in lines)))


def test_five_answers_make_a_router_that_runs(router, monkeypatch, capsys):
    answer(monkeypatch, "alice", "9", "1", "films, music", "")

    assert main(["setup"]) == 0

    text = (router / "etc" / "fonshare").read_text()
    assert "s3cret" not in text
    settings = load_settings(router / "etc" / "fonshare")
    assert (settings.node.name, settings.disk) == ("alice", router / "disk")
    assert settings.ftp.guest_folders == ("films", "music")
    owner, guest = settings.ftp.users
    assert (owner.name, owner.access, guest.access) == ("owner", "write", "read")
    assert verify_password(owner.password_hash, "s3cret")
    assert (router / "restarted").read_text() == "restart\n"
    assert "fonshare doctor" in capsys.readouterr().err


def test_a_router_is_set_up_once(router, monkeypatch, capsys):
    answer(monkeypatch, "alice", "1", "", "")
    assert main(["setup"]) == 0
    before = (router / "etc" / "fonshare").read_bytes()

    answer(monkeypatch, "bob", "1", "", "")
    assert main(["setup"]) == 1

    assert (router / "etc" / "fonshare").read_bytes() == before
    assert "set up already" in capsys.readouterr().err


def test_a_wrong_answer_leaves_the_settings_as_they_were(router, monkeypatch, capsys):
    before = (router / "etc" / "fonshare").read_bytes()
    answer(monkeypatch, "alice", "1", "", "http://no.broker")

    assert main(["setup"]) != 0

    assert (router / "etc" / "fonshare").read_bytes() == before
    assert "broker" in capsys.readouterr().err
    assert not (router / "restarted").exists()


def test_disks_with_the_system_and_memory_are_not_offered():
    mounts = MOUNTS.format(disk="/mnt/my\\040files")
    assert router_setup.find_disks(mounts) == ["/mnt/my files"]


def test_without_a_disk_it_says_what_to_do(router, monkeypatch, capsys):
    (router / "mounts").write_text("/dev/root / ext4 rw 0 0\n")
    answer(monkeypatch)
    assert main(["setup"]) == 2
    assert "second partition" in capsys.readouterr().err


def test_what_the_service_may_not_use_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(router_setup, "USER_ID", 427)
    tmp_path.chmod(0o755)
    assert "chown 427" in router_setup.complaints(tmp_path)[0]

    monkeypatch.setattr(router_setup, "USER_ID", os.getuid())
    for name, mode in (("open", 0o755), ("closed", 0o000), ("lost+found", 0o000)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    (line,) = router_setup.complaints(tmp_path)
    assert "closed" in line
    assert "chmod -R g+rX" in line
    subprocess.run(["chmod", "-R", "u+rwx", tmp_path], check=True)
