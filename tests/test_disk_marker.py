"""The disk is known by its marker's status alone only while that is what was read."""

import os

import pytest

from fonshare_agent import disk_marker
from fonshare_agent.disk import Disk
from fonshare_agent.disk_marker import MarkerSeen
from fonshare_agent.errors import DiskMissing, DiskWrong
from waiting import wait_until

OTHER = "a" * 26


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """One whose marker counts as at rest from the first moment on."""
    monkeypatch.setattr(disk_marker, "AT_REST_S", -3600.0)
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", tmp_path / "keys" / "disk-id", os.urandom)
    disk.open()
    disk.check()
    return disk


@pytest.fixture
def reads(monkeypatch):
    """Counts how often a marker is read."""
    done = []
    read = os.read

    def counted(fd, count):
        done.append(fd)
        return read(fd, count)

    monkeypatch.setattr(os, "read", counted)
    return done


def marker(disk):
    return disk.path / ".fonshare" / "disk-id"


def test_a_marker_that_is_what_was_read_is_not_read_again(disk, reads):
    for _ in range(3):
        disk.check()

    assert reads == []


def test_one_written_over_is_read_again(disk):
    before = marker(disk).stat()

    def is_changed():
        # The clock of an older kernel's file system stands still for some ms.
        marker(disk).write_text(OTHER + "\n")
        return marker(disk).stat().st_ctime_ns != before.st_ctime_ns

    wait_until(is_changed)

    with pytest.raises(DiskWrong):
        disk.check()
    with pytest.raises(DiskWrong):  # nor is it believed for having been read
        disk.check()


def test_one_put_in_its_place_is_read(disk):
    other = marker(disk).with_name("other")
    other.write_text(OTHER + "\n")
    os.utime(other, ns=(0, marker(disk).stat().st_mtime_ns))
    other.rename(marker(disk))

    with pytest.raises(DiskWrong):
        disk.check()


def test_one_that_has_gone_is_missed_and_known_again_when_it_is_back(disk, reads):
    aside = disk.path / "aside"
    marker(disk).parent.rename(aside)
    with pytest.raises(DiskMissing):
        disk.check()
    aside.rename(marker(disk).parent)

    disk.check()

    assert reads == []  # moving the folder has not touched the file


def test_one_on_another_device_is_never_known_by_its_status(disk):
    device = marker(disk).stat().st_dev
    seen = MarkerSeen(marker(disk))
    seen.note(marker(disk).stat(), OTHER)

    assert seen.still_says(OTHER, device)
    assert not seen.still_says(OTHER, device + 1)
    assert not seen.still_says("b" * 26, device)


def test_one_changed_just_now_is_read_each_time(disk, reads, monkeypatch):
    monkeypatch.setattr(disk_marker, "AT_REST_S", 3600.0)
    disk.open()

    disk.check()
    disk.check()

    assert len(reads) == 3


def test_a_clock_that_is_not_set_yet_means_reading(disk, reads, monkeypatch):
    monkeypatch.setattr(disk_marker, "AT_REST_S", 4.0)
    monkeypatch.setattr(disk_marker.time, "time", lambda: 60.0)
    disk.open()

    disk.check()

    assert len(reads) == 2
