"""`fonshare setup` on a router: its UCI file, its disks, what its user may do there."""

import io
import os
import socket
import sys
from pathlib import Path

import pytest

from fonshare_agent import router_disks, router_setup
from fonshare_agent.cli import main
from fonshare_agent.config import load_settings
from fonshare_agent.passwords import verify_password
from fonshare_agent.router_disks import Mounted, find_disks

ROOT = Path(__file__).parent.parent
# As proc(5) has it: number, parent, device, root, place, options - type and source.
MOUNTS = """\
20 1 31:4 / /rom ro,relatime - squashfs /dev/root ro
21 1 0:4 / /proc rw - proc proc rw
22 1 0:17 / /tmp rw - tmpfs tmpfs rw
23 1 8:1 / /overlay rw - ext4 /dev/sda1 rw
24 1 0:21 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper
25 24 8:1 / /mnt/sda1 rw - ext4 /dev/sda1 rw
26 24 8:2 / {disk} rw shared:1 - ext4 /dev/sda2 rw
27 22 8:17 / /tmp/stick rw - vfat /dev/sdb1 rw
28 24 8:33 / /mnt/broken ro - ext4 /dev/sdc1 ro
29 24 31:4 / /mnt/firmware ro - squashfs /dev/mtdblock4 ro
"""
ALICE = ("alice", "1", "", "")  # name, disk, folders, broker


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
    service.write_text(
        f"#!/bin/sh\necho $* >> {tmp_path}/restarted\n"
        "echo 'Command failed: Not found' >&2\n"  # procd's, of one never started
    )
    for one in (program, service):
        one.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("fonshare_agent.ROUTER_FILE", str(file))
    monkeypatch.setattr(router_setup, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(router_setup, "SERVICE", str(service))
    monkeypatch.setattr(router_setup, "START_S", 0.0)  # nothing will start
    monkeypatch.setattr(router_disks, "MEMORY", "/tmp/stick")  # tests live in /tmp
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "s3cret")
    return tmp_path


@pytest.fixture
def port() -> str:
    """A port that is free, and the one after it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            number = first.getsockname()[1]
            try:
                second.bind(("", number + 1))
            except OSError:
                continue
            return str(number)


def answer(monkeypatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Answers("".join(f"{one}\n" for one in lines)))


def test_a_few_answers_make_a_router_that_runs(router, monkeypatch, capfd, port):
    questions = ("alice", "9", "1", "films, music", "", port, "")
    answer(monkeypatch, *questions)

    assert main(["setup"]) == 0

    text = (router / "etc" / "fonshare").read_text()
    assert "s3cret" not in text
    settings = load_settings(router / "etc" / "fonshare")
    assert (settings.node.name, settings.disk) == ("alice", router / "disk")
    assert settings.ftp.guest_folders == ("films", "music")
    assert settings.ftp.port == int(port)
    owner, guest = settings.ftp.users
    assert (owner.name, owner.access, guest.access) == ("owner", "write", "read")
    assert verify_password(owner.password_hash, "s3cret")
    assert "port_mapping" not in text.split("#option port_mapping")[0]
    assert (router / "restarted").read_text() == "restart\n"
    said = capfd.readouterr().err
    assert "fonshare doctor" in said
    assert "failed" not in said


def test_a_port_that_is_taken_is_not_taken_for_an_answer(
    router, monkeypatch, capsys, port
):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        answer(monkeypatch, *ALICE, "21", taken, port, "no")
        assert main(["setup"]) == 0
    settings = load_settings(router / "etc" / "fonshare")
    assert settings.ftp.port == int(port)
    assert settings.node.port_mapping == "off"
    assert f"Another program has {taken}" in capsys.readouterr().err


def test_a_broker_that_cannot_be_here_keeps_nobody_from_starting(
    router, monkeypatch, capsys, port
):
    monkeypatch.setenv("PATH", f"{router}:/usr/bin:/bin")  # Mosquitto is in /usr/sbin
    address = "router.example.org"
    answer(monkeypatch, *ALICE[:3], "here", port, "", "Famille", address)
    assert main(["setup"]) == 0
    said = capsys.readouterr().err
    assert "No broker: Mosquitto is not installed" in said
    assert "fonshare broker add NAME" in said
    assert load_settings(router / "etc" / "fonshare").mqtt.broker == ""
    assert (router / "restarted").exists()


def test_a_router_is_set_up_once(router, monkeypatch, capsys, port):
    answer(monkeypatch, *ALICE, port, "")
    assert main(["setup"]) == 0
    before = (router / "etc" / "fonshare").read_bytes()

    answer(monkeypatch, "bob", *ALICE[1:], port, "")
    assert main(["setup"]) == 1

    assert (router / "etc" / "fonshare").read_bytes() == before
    assert "set up already" in capsys.readouterr().err


def test_a_wrong_answer_leaves_the_settings_as_they_were(
    router, monkeypatch, capsys, port
):
    before = (router / "etc" / "fonshare").read_bytes()
    answer(monkeypatch, "alice", "1", "", "http://no.broker", port, "")

    assert main(["setup"]) != 0

    assert (router / "etc" / "fonshare").read_bytes() == before
    assert "broker" in capsys.readouterr().err
    assert not (router / "restarted").exists()


def test_disks_with_the_system_and_memory_are_not_offered():
    """Nor the partition of the extroot by its other mount, nor the firmware."""
    mounts = MOUNTS.format(disk="/mnt/my\\040files")
    assert find_disks(mounts) == [
        Mounted(Path("/mnt/my files"), "ext4", True),
        Mounted(Path("/mnt/broken"), "ext4", False),
    ]


def test_another_part_of_the_btrfs_that_holds_the_system_is_not_offered():
    """Filled up, it leaves the system no room either."""
    mounts = """\
23 1 0:30 /overlay /overlay rw - btrfs /dev/sda1 rw,subvol=/overlay
24 1 0:21 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper
25 24 0:31 /files /mnt/files rw - btrfs /dev/sda1 rw,subvol=/files
26 24 0:32 /films /mnt/films rw - btrfs /dev/sda2 rw,subvol=/films
"""
    assert [disk.place for disk in find_disks(mounts)] == [Path("/mnt/films")]


@pytest.mark.parametrize(
    "name", ["été à Brest", "disque\u00a0dur", "a\u2028b", "tab\tbed", "\udce9t\udce9"]
)
def test_a_disk_may_have_any_name(router, monkeypatch, port, name):
    """The last one is Latin-1, as an old stick's label may be."""
    (router / name).mkdir()
    shown = str(router / name).replace(" ", "\\040").replace("\t", "\\011")
    text = f"26 24 8:2 / {shown} rw - vfat /dev/sda2 rw\n"
    (router / "mounts").write_bytes(os.fsencode(text))
    assert [disk.place for disk in router_setup.mounted_disks()] == [router / name]
    answer(monkeypatch, *ALICE, port, "")
    assert main(["setup"]) == 0
    assert load_settings(router / "etc" / "fonshare").disk == router / name


def test_a_disk_that_can_only_be_read_is_not_taken(router, monkeypatch, capsys, port):
    answer(monkeypatch, "alice", "2", *ALICE[1:], port, "")
    assert main(["setup"]) == 0
    assert load_settings(router / "etc" / "fonshare").disk == router / "disk"
    assert "read-only" in capsys.readouterr().err


def test_without_a_disk_it_says_what_to_do(router, monkeypatch, capsys):
    (router / "mounts").write_text("20 1 8:1 / / rw - ext4 /dev/root rw\n")
    answer(monkeypatch)
    assert main(["setup"]) == 2
    assert "second partition" in capsys.readouterr().err


def test_nothing_is_chowned_with_all_below_it():
    for file in (ROOT / "src").rglob("*.py"):
        assert "chown -R" not in file.read_text()
