"""What `fonshare setup` says of folders and files that the service may not use."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from fonshare_agent import router_access, router_disks
from fonshare_agent.router_access import survey, table
from fonshare_agent.router_disks import Mounted, find_disks

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="chgrp needs root")


def rows(folder: Path, kind: str = "ext4", fstab: str = "", clock=lambda: 0.0):
    """The table's lines, each cut into its columns; the head left out."""
    found = survey(Mounted(folder, kind, True), ["downloads"], lambda: fstab, clock)
    lines = [re.split("  +", line) for line in table(found)]
    if found.refusals:
        assert lines.pop(0) == ["FOLDER", "MAY", "TO CHANGE THAT"]
    return lines


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Path:
    """A disk whose owner is the service, so that the owner's bits are its rights."""
    monkeypatch.setattr(router_access, "USER_ID", os.getuid())
    yield tmp_path
    subprocess.run(["chmod", "-R", "u+rwx", tmp_path], check=True)


@pytest.fixture
def roots_disk(tmp_path, monkeypatch) -> Path:
    """A disk of root's, with folders that the service, another user, may not read."""
    monkeypatch.setattr(router_access, "USER_ID", 427)
    os.chown(tmp_path, 427, 427)
    return tmp_path


def make(place: Path, mode: int, *, is_file: bool = False) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch() if is_file else place.mkdir()
    place.chmod(mode)
    return place


def test_what_the_service_may_use_needs_no_table(disk):
    make(disk / "open" / "below" / "deeper", 0o755)
    make(disk / "open" / "file", 0o600, is_file=True)
    make(disk / "lost+found", 0o000)
    assert rows(disk) == []


def test_what_the_service_may_not_use_is_named_with_the_remedy(disk):
    """Its folder for downloads must be writable, all others only readable."""
    for name, mode in (("closed", 0o000), ("downloads", 0o500), ("open", 0o500)):
        make(disk / name, mode)

    closed, downloads = rows(disk)

    user, folder = os.getuid(), disk / "closed"
    remedy = f"chgrp -R {user} {folder}; chmod -R g+rX {folder}"
    assert closed == [str(folder), "nothing", remedy]
    assert downloads[:2] == [str(disk / "downloads"), "read"]
    assert "g+rwX" in downloads[2]


def test_a_second_level_is_looked_at_folders_and_files(disk):
    make(disk / "albums" / "closed", 0o000)
    make(disk / "albums" / "open" / "deeper", 0o000)  # a third level is not
    make(disk / "films" / "mine.mkv", 0o000, is_file=True)
    make(disk / "letter", 0o000, is_file=True)
    for number in range(3):
        make(disk / "photos" / f"{number}", 0o000)

    found = {row[0]: row[1:] for row in rows(disk)}

    assert {name: row[0] for name, row in found.items()} == {
        str(disk): "in part",  # the letter
        str(disk / "albums" / "closed"): "nothing",
        str(disk / "films"): "in part",
        str(disk / "photos"): "in part",
    }
    assert found[str(disk)][1].startswith(f"find {disk} -maxdepth 1 -type f -exec ")


@needs_root
def test_the_remedies_typed_as_they_stand_leave_nothing_to_remedy(roots_disk):
    make(roots_disk / "it's closed", 0o700)
    make(roots_disk / "two words" / "below", 0o700)
    make(roots_disk / "films" / "mine.mkv", 0o600, is_file=True)
    make(roots_disk / "letter", 0o600, is_file=True)
    make(roots_disk / "downloads", 0o755)
    make(roots_disk / ".fonshare" / "state.db", 0o600, is_file=True)
    make(roots_disk / "fine", 0o755)
    before = (roots_disk / "fine").stat()

    found = rows(roots_disk)

    assert len(found) == 6
    for *_, remedy in found:
        subprocess.run(["sh", "-ec", remedy], check=True)
    assert rows(roots_disk) == []
    assert (roots_disk / "fine").stat().st_gid == before.st_gid
    state = (roots_disk / ".fonshare" / "state.db").stat()
    assert (state.st_uid, state.st_mode & 0o777) == (427, 0o600)


@needs_root
def test_the_top_of_the_disk_is_given_away_alone(roots_disk):
    os.chown(roots_disk, 0, 0)
    make(roots_disk / "films", 0o755)
    ((*_, remedy),) = rows(roots_disk)
    assert remedy == f"chown 427 {roots_disk}; chmod u+rwx {roots_disk}"


def test_many_folders_are_counted_rather_than_all_shown(disk):
    for number in range(30):
        make(disk / f"{number}", 0o000)
    found = rows(disk)
    assert len(found) == 21
    assert "10 more" in found[-1][0]


def test_a_name_that_would_act_on_a_terminal_is_shown_escaped(disk):
    make(disk / "a\x1b[2Jb", 0o000)
    make(disk / os.fsdecode(b"\xe9t\xe9"), 0o000)
    text = str(rows(disk))
    assert "\\x1b[2J" in text
    assert "\\xe9t" in text


def test_a_folder_of_very_many_files_is_looked_at_in_part(disk, monkeypatch):
    """Its first ones speak for it, and the folders beside it are looked at too."""
    monkeypatch.setattr(router_access, "FOLDER_MAX", 10)
    for number in range(50):
        make(disk / "many" / f"{number}", 0o000, is_file=True)
    make(disk / "other" / "closed", 0o000)
    assert [row[0] for row in rows(disk)] == [
        str(disk / "many"),
        str(disk / "other" / "closed"),
    ]


def test_a_look_that_takes_too_long_ends_and_says_so(disk, monkeypatch):
    """By its count or by the clock; what was found until then is shown."""
    make(disk / "closed", 0o000)
    for number in range(20):
        make(disk / "open" / f"{number}", 0o755)
    seen = iter(range(1000))

    *_, (said,) = rows(disk, clock=lambda: 0.5 * next(seen))
    assert said.startswith("Not all of the disk was looked at")

    monkeypatch.setattr(router_access, "ENTRIES_MAX", 15)
    closed, (said,) = rows(disk)
    assert closed[0] == str(disk / "closed")
    assert said.startswith("Not all of the disk was looked at")
    monkeypatch.setattr(router_access, "ENTRIES_MAX", 22)
    assert len(rows(disk)) == 1


def test_a_folder_that_the_disk_cannot_give_is_told(disk, monkeypatch):
    failing = make(disk / "failing", 0o755)
    scandir = os.scandir

    def fail(folder):
        if Path(folder) == failing:
            raise OSError(5, "Input/output error")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", fail)
    assert rows(disk) == [
        [str(failing), "nothing", "check the disk: Input/output error"]
    ]


def test_a_file_system_without_owners_is_mounted_for_the_service(tmp_path, monkeypatch):
    monkeypatch.setattr(router_access, "USER_ID", 427)
    tmp_path.chmod(0o755)
    fstab = (
        "fstab.@mount[0]=mount\nfstab.@mount[0].target='/mnt/x'\n"
        f"fstab.@mount[1]=mount\nfstab.@mount[1].target='{tmp_path}'\n"
    )
    ((*_, remedy),) = rows(tmp_path, "vfat", fstab)
    options = "uid=427,gid=427,umask=022"
    assert f"uci set fstab.@mount[1].options='{options},utf8'" in remedy
    assert "chown" not in remedy

    ((*_, remedy),) = rows(tmp_path, "exfat")
    assert "block detect" in remedy
    assert f"'{options}'" in remedy


@pytest.mark.parametrize(
    ("kind", "options", "keeps_names"),
    [
        (
            "vfat",
            "rw,fmask=0022,codepage=437,iocharset=iso8859-1,shortname=mixed",
            False,
        ),
        ("vfat", "rw,codepage=437,iocharset=iso8859-1,shortname=mixed,utf8", True),
        ("vfat", "rw,codepage=437,iocharset=utf8,shortname=mixed", True),
        ("exfat", "rw,iocharset=utf8", True),
        ("ext4", "rw", True),
    ],
)
def test_a_stick_whose_names_come_out_wrong_is_mounted_with_utf8(
    tmp_path, monkeypatch, kind, options, keeps_names
):
    monkeypatch.setattr(router_access, "USER_ID", os.getuid())
    monkeypatch.setattr(router_disks, "MEMORY", "/nowhere")
    mounts = f"26 24 8:2 / {tmp_path} rw - {kind} /dev/sda2 {options}\n"
    (disk,) = find_disks(mounts)
    fstab = f"fstab.@mount[0]=mount\nfstab.@mount[0].target='{tmp_path}'\n"

    lines = table(survey(disk, [], lambda: fstab, lambda: 0.0))

    assert disk.keeps_names is keeps_names
    if keeps_names:
        assert lines == []
    else:
        assert lines[1].split(maxsplit=2)[:2] == [str(tmp_path), "ASCII"]
        assert "umask=022,utf8'" in lines[1]
