"""The disk's marker, its loss, and opening below a folder without following links."""

import os
import shutil
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent import mounts
from fonshare_agent.disk import (
    Disk,
    make_folders_below,
    open_below,
    write_durably,
)
from fonshare_agent.errors import (
    BadPath,
    DiskMissing,
    DiskReadOnly,
    DiskWrong,
    StorageError,
)
from fonshare_agent.model import SharePath
from fonshare_agent.room_watch import RoomWatch


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk", tmp_path / "keys" / "disk-id", os.urandom)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def marker(disk):
    return disk.path / ".fonshare" / "disk-id"


def again(disk, **changes):
    """The same disk as a restarted agent sees it."""
    return Disk(disk.path, disk._id_file, os.urandom, **changes)


def test_the_first_start_marks_the_disk_and_later_ones_know_it(disk):
    disk_id = disk.open()

    assert marker(disk).read_text() == disk_id + "\n"
    assert disk.known_id == disk_id
    assert again(disk).open() == disk_id
    disk.check()


def test_an_empty_mount_point_is_a_missing_disk_and_gets_no_marker(disk):
    disk.open()
    shutil.rmtree(disk.path)
    disk.path.mkdir()

    with pytest.raises(DiskMissing, match="marker file is not there") as caught:
        again(disk).open()
    assert caught.value.code == "disk.missing"
    assert list(disk.path.iterdir()) == []
    with pytest.raises(DiskMissing, match="marker"):
        disk.check()


def test_a_first_start_before_the_mount_marks_nothing(tmp_path, monkeypatch):
    id_file = tmp_path / "keys" / "disk-id"
    early = Disk(Path("/"), id_file, os.urandom, needs_mount=True)
    with pytest.raises(DiskMissing, match="nothing is mounted"):
        early.open()
    with pytest.raises(DiskMissing, match="nothing is mounted"):
        early.adopt()
    assert not Path("/.fonshare").exists()
    assert not id_file.exists()

    (tmp_path / "disk").mkdir()
    real = os.stat
    as_root = real("/proc")  # any other device
    monkeypatch.setattr(
        os, "stat", lambda path, **rest: as_root if path == "/" else real(path, **rest)
    )
    mounted = Disk(tmp_path / "disk", id_file, os.urandom, needs_mount=True)
    # The file system of a router's memory, or of its extroot, mounted once more.
    monkeypatch.setattr(mounts, "SYSTEM", ("/proc", str(tmp_path)))
    with pytest.raises(DiskMissing, match="router itself"):
        mounted.open()
    assert not list((tmp_path / "disk").iterdir())

    monkeypatch.setattr(mounts, "SYSTEM", ("/proc", "/nowhere"))
    assert mounted.open()


def test_a_mount_point_that_is_not_even_there_is_a_missing_disk(disk):
    disk.open()
    shutil.rmtree(disk.path)

    with pytest.raises(DiskMissing):
        disk.check()
    with pytest.raises(DiskMissing):
        again(disk).open()
    with pytest.raises(DiskMissing):
        disk.space()


def test_another_disk_is_refused_until_it_is_adopted(disk):
    disk.open()
    other = "a" * 26
    marker(disk).write_text(other + "\n")

    with pytest.raises(DiskWrong) as caught:
        disk.check()
    assert caught.value.code == "disk.wrong"
    with pytest.raises(DiskWrong):
        again(disk).open()
    assert again(disk).adopt() == other
    assert again(disk).open() == other


@pytest.mark.parametrize("damage", [b"", b"\0" * 27, b"../../etc", b"b" * 64])
def test_a_damaged_marker_is_a_wrong_disk_and_adopting_mends_it(disk, damage):
    first = disk.open()
    marker(disk).write_bytes(damage)

    with pytest.raises(DiskWrong):
        disk.check()
    assert again(disk).adopt() not in (first, damage.decode("ascii", "replace"))
    again(disk).open()


def test_a_marker_that_is_a_symbolic_link_is_not_believed(disk, tmp_path):
    disk_id = disk.open()
    (tmp_path / "elsewhere").write_text(disk_id)
    marker(disk).unlink()
    marker(disk).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DiskMissing, match="symbolic link"):
        disk.check()


def test_a_marked_disk_is_taken_when_this_node_remembers_none(disk):
    """A crash between marking and remembering must not lose the disk."""
    disk_id = disk.open()
    disk._id_file.unlink()

    assert again(disk).open() == disk_id


def test_a_damaged_memory_of_the_disk_never_marks_another(disk):
    disk.open()
    disk._id_file.write_text("")
    shutil.rmtree(marker(disk).parent)

    with pytest.raises(StorageError, match="damaged"):
        again(disk).open()
    assert not marker(disk).exists()


def test_a_disk_the_kernel_no_longer_lists_is_missing_though_it_still_answers(
    disk, tmp_path
):
    devices = tmp_path / "devices"
    devices.mkdir()
    device = disk.path.stat().st_dev
    node = devices / f"{os.major(device)}:{os.minor(device)}"
    node.touch()
    pulled = again(disk, devices=devices)
    pulled.open()
    pulled.check()
    node.unlink()

    with pytest.raises(DiskMissing, match="no longer lists"):
        pulled.check()


def test_something_else_mounted_over_the_disk_is_a_missing_disk(disk, monkeypatch):
    disk.open()
    real = os.fstat

    def elsewhere(opened):
        found = real(opened)
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:10]])

    monkeypatch.setattr("fonshare_agent.disk.os.fstat", elsewhere)
    with pytest.raises(DiskMissing, match="something else is mounted"):
        disk.check()


def test_a_disk_turned_read_only_can_be_read_and_not_written(disk, monkeypatch):
    disk.open()
    disk.check_writable()
    real = os.statvfs(disk.path)
    changed = os.statvfs_result([*real[:8], real.f_flag | os.ST_RDONLY, real[9]])
    monkeypatch.setattr(os, "statvfs", lambda path: changed)

    disk.check()
    with pytest.raises(DiskReadOnly) as caught:
        disk.check_writable()
    assert caught.value.code == "disk.readonly"


def test_a_disk_not_opened_yet_is_missing(disk):
    with pytest.raises(DiskMissing):
        disk.check()


def test_the_space_is_what_the_system_says(disk):
    space = disk.space()
    assert 0 < space.free_bytes <= space.total_bytes


def test_no_descriptor_stays_open_so_that_the_disk_can_be_unmounted(disk):
    before = os.listdir("/proc/self/fd")
    disk.open()
    disk.check_writable()
    disk.adopt()
    os.close(disk.open_root())

    assert os.listdir("/proc/self/fd") == before


# --- opening below a folder ---------------------------------------------------


def path(text):
    return SharePath.parse(text)


def test_a_file_below_is_opened_whatever_bytes_name_it(root, tmp_path):
    name = 'Bréhat\n#%" é'.encode() + b"\xff"
    os.mkdir(os.fsencode(tmp_path / "root") + b"/" + name)
    inside = os.fsencode(tmp_path / "root") + b"/" + name + b"/" + name
    Path(os.fsdecode(inside)).write_bytes(b"here")

    opened = open_below(root, path(name + b"/" + name), os.O_RDONLY)
    assert os.read(opened, 9) == b"here"
    os.close(opened)


@pytest.mark.parametrize("victim", ["link", "a/link", "swapped/file", "a/swapped/file"])
def test_no_component_may_be_a_symbolic_link(root, tmp_path, victim):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    (tmp_path / "root" / "a").mkdir()
    for place in (tmp_path / "root", tmp_path / "root" / "a"):
        (place / "link").symlink_to(outside / "file")
        (place / "swapped").symlink_to(outside)

    with pytest.raises(BadPath, match="symbolic link"):
        open_below(root, path(victim), os.O_RDONLY)
    with pytest.raises(BadPath, match="symbolic link"):
        open_below(root, path(victim), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert (outside / "file").read_text() == "secret"


def test_a_folder_swapped_for_a_link_while_opening_never_leads_outside(root, tmp_path):
    inside, outside = tmp_path / "root" / "a", tmp_path / "outside"
    for folder, content in ((inside, "inside"), (outside, "outside")):
        folder.mkdir()
        (folder / "file").write_text(content)
    aside, link = tmp_path / "aside", tmp_path / "link"
    link.symlink_to(outside)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            inside.rename(aside)
            link.rename(inside)
            inside.rename(link)
            aside.rename(inside)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(3000):
            try:
                opened = open_below(root, path("a/file"), os.O_RDONLY)
            except (BadPath, OSError) as error:
                seen.add(type(error).__name__)
            else:
                seen.add(os.read(opened, 20).decode())
                os.close(opened)
    finally:
        stop.set()
        swapper.join()
    assert "inside" in seen
    assert "outside" not in seen


def test_a_fifo_in_a_share_is_refused_at_once(root, tmp_path):
    os.mkfifo(tmp_path / "root" / "pipe")

    with pytest.raises(BadPath, match="neither a file nor a folder"):
        open_below(root, path("pipe"), os.O_RDONLY)


def test_a_file_that_is_not_there_is_told_as_such(root, tmp_path):
    (tmp_path / "root" / "file").touch()
    with pytest.raises(FileNotFoundError):
        open_below(root, path("no/file"), os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        open_below(root, path("file/file"), os.O_RDONLY)


def test_folders_are_made_below_and_links_among_them_refused(root, tmp_path):
    os.close(make_folders_below(root, path("a/b/c")))
    os.close(make_folders_below(root, path("a/b/c")))
    os.close(make_folders_below(root, None))
    assert (tmp_path / "root" / "a" / "b" / "c").is_dir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(BadPath):
        make_folders_below(root, path("link/d"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_refusals_leave_no_descriptor_open(root, tmp_path):
    (tmp_path / "root" / "link").symlink_to("/")
    os.mkfifo(tmp_path / "root" / "pipe")
    before = os.listdir("/proc/self/fd")
    for refused in ("link/etc", "pipe", "no/file", "link"):
        with pytest.raises((BadPath, OSError)):
            open_below(root, path(refused), os.O_RDONLY)
        with pytest.raises((BadPath, OSError)):
            make_folders_below(
                root, path(refused + "/x" if refused == "pipe" else "link")
            )

    assert os.listdir("/proc/self/fd") == before


def test_a_durable_write_replaces_the_whole_file_and_its_mode(root, tmp_path):
    target = tmp_path / "root" / "key"
    target.with_name("key.new").write_text("left by a crash")
    target.with_name("key.new").chmod(0o666)
    write_durably(root, b"key", b"one", 0o600)
    write_durably(root, b"key", b"2", 0o600)

    assert target.read_bytes() == b"2"
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(root) == ["key"]


# --- room that appears ---------------------------------------------------------------


def test_room_that_appears_little_by_little_is_noticed():
    watch, now, room, noticed = RoomWatch(), 0.0, 0, []
    for _ in range(100):  # 40 KB at each look, every two seconds
        now, room = now + 2.0, room + 40_000
        if watch.has_grown(room, now):
            noticed.append(now)
    assert noticed[:2] == [4.0, 58.0], "at first any, then a MiB or a minute"
    assert all(50 <= b - a <= 62 for a, b in pairwise(noticed))
    assert len(noticed) >= 3


def test_room_that_is_used_up_and_freed_again_is_noticed():
    watch = RoomWatch()
    assert not watch.has_grown(50 << 20, 0)
    assert not watch.has_grown(1 << 20, 2)
    assert watch.has_grown(2 << 20, 4)
    assert not watch.has_grown(2 << 20, 6)
    assert not watch.has_grown((2 << 20) + 4096, 8), "a little, just after"
    assert watch.has_grown((2 << 20) + 4096, 65), "but it is not forgotten"
    assert not watch.has_grown((2 << 20) + 4096, 1000)


def test_a_disk_that_was_full_between_two_looks_is_noticed(disk, monkeypatch):
    """The job that found it full would have waited for its own time to come."""
    free, usual, watch = [50 << 20], os.statvfs, RoomWatch()

    def statvfs(path):
        blocks = [*usual(path)]
        blocks[0:2], blocks[4] = [1, 1], free[0]  # f_bsize, f_frsize, f_bavail
        return os.statvfs_result(blocks)

    monkeypatch.setattr(os, "statvfs", statvfs)

    def looked(now):
        return [watch.has_grown(one, now) for one in disk.room_seen()]

    assert not any(looked(0))
    free[0] = 1 << 20
    assert disk.space().free_bytes == 1 << 20  # what a job has found
    free[0] = 50 << 20
    assert any(looked(2))
    assert not any(looked(4))


@given(st.lists(st.integers(0, 5 << 20), min_size=2, max_size=40))
def test_whoever_waits_hears_of_any_growth_within_a_minute(rooms):
    watch, now, least = RoomWatch(), 0.0, None
    for room in rooms:
        said = watch.has_grown(room, now)
        assert not (said and (least is None or room <= least))
        least = room if said or least is None else min(least, room)
        now += 2.0
    for _ in range(31):
        if watch.has_grown(rooms[-1], now):
            least = rooms[-1]
        now += 2.0
    assert rooms[-1] <= least, "it was told, or there is nothing to tell"
