"""The scanner: the index equals the shares, whatever happens on the disk."""

import contextlib
import dataclasses
import os
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fonshare_agent.errors import ContentChanged, DiskMissing, StorageError
from fonshare_agent.index import blocks, place, reading, walk
from fonshare_agent.index.reading import (
    AS_NICE,
    IDLE,
    set_number,
    set_reading,
    step_back,
)
from fonshare_agent.index.records import FileStamp, Listing, seen_file
from fonshare_agent.index.scanner import NICE, Scanner
from fonshare_agent.libc import INT, libc_call
from fonshare_agent.model import SharePath
from fonshare_agent.mounts import refuses_names
from fonshare_agent.protocol.content import RootHasher
from index_nodes import ALICE, BOB, CLUB, FAMILLE, Node
from waiting import wait_until


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path / "alice")
    yield node
    node.close()


def write(node, path, content=b"x", share="Films"):
    file = node.share(share) / os.fsdecode(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def root_of(content):
    hasher = RootHasher(len(content))
    hasher.update(content)
    return hasher.finish()


def tree_of(node, *shares):
    """Return what the index should hold, read from the disk by other means."""
    expected = set()
    for share in shares:
        for folder, _, files in os.walk(node.share(share)):
            for name in files:
                path = os.path.join(folder, name)
                shown = os.path.relpath(path, node.share(share).parent)
                info = os.stat(path)
                with open(path, "rb") as content:
                    root = root_of(content.read())
                expected.add((shown, info.st_size, int(info.st_mtime), root))
    return expected


def listed(node, group=FAMILLE):
    return node.listed(group, ALICE)


def hashed_names(node):
    return sorted(path.wire() for _, path, _ in node.hashed)


# --- what is there ------------------------------------------------------------------

AWKWARD = [
    b"accent\xc3\xa9",
    b"decomposed e\xcc\x81",
    b"not utf-8 \xff\xfe",
    b"new\nline",
    b"#%\"'?*|<>:\\",
    b" spaces ",
    b"-rf",
    b"x" * 255,
    b"tab\tand\x01control",
]


def test_a_scan_finds_every_file_with_any_name(node):
    for number, name in enumerate(AWKWARD):
        write(node, name, bytes([number]) * number)
        write(node, b"deep/" + name + b"/" + name, b"")
    node.publish(Films=[FAMILLE])
    assert listed(node) == tree_of(node, "Films")
    assert node.index.counts() == (18, sum(range(9)))
    assert node.scanner.report().shares["Films"].is_scanned


def test_a_number_tells_whether_anything_known_has_changed(node, tmp_path):
    """A scan that finds nothing new leaves it, and so do searches and listings."""
    film = write(node, "a.mkv")
    node.publish(Films=[FAMILLE])
    before = node.index.changes()
    node.rescan()
    assert node.names("a") == ["Films/a.mkv"]
    assert node.listed(FAMILLE, ALICE)
    assert node.index.changes() == before
    film.write_bytes(b"more")
    node.rescan()
    assert node.index.changes() != before
    bob = Node(tmp_path / "bob", BOB)
    with contextlib.closing(bob):
        before = bob.index.changes()
        node.deltas(FAMILLE, bob)
        assert bob.index.changes() != before


def test_what_is_no_file_is_skipped_and_counted(node, tmp_path):
    share = node.share()
    write(node, "real.txt")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("x")
    (share / "link-file").symlink_to(tmp_path / "outside" / "secret.txt")
    (share / "link-folder").symlink_to(tmp_path / "outside")
    (share / "loop").symlink_to(".")
    os.mkfifo(share / "pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(share / "door"))
        node.publish(Films=[FAMILLE])
    assert node.names("films") == ["Films/real.txt"]
    assert node.scanner.report().shares["Films"].skipped == {"link": 3, "special": 2}


@pytest.mark.parametrize("name", [".fonshare", ".FonShare"])
def test_the_private_folder_is_never_seen(node, name):
    write(node, f"{name}/state.db")
    write(node, f"a/{name}/partial/1/data")
    write(node, "a/b.txt")
    node.publish(Films=[FAMILLE])
    assert node.names("films") == ["Films/a/b.txt"]
    assert node.scanner.report().shares["Films"].skipped == {}


def test_trees_too_deep_or_paths_too_long_are_skipped_and_counted(node):
    write(node, "/".join(["d"] * 63) + "/last.txt")
    write(node, "/".join(["e"] * 64) + "/over.txt")
    descriptor = os.open(node.share(), os.O_RDONLY)
    for _ in range(20):
        os.mkdir("l" * 250, dir_fd=descriptor)
        deeper = os.open("l" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(descriptor)
    node.publish(Films=[FAMILLE])
    (name,) = node.names("films")
    assert name.endswith("/last.txt")
    assert node.scanner.report().shares["Films"].skipped == {
        "too_deep": 1,
        "too_long": 1,
    }
    for path in listed(node):
        SharePath.parse(path[0].removeprefix("Films/"))


@pytest.mark.parametrize("seconds", [-1, 0, 2**33, 2**35 // 10 * 10])
def test_times_no_number_of_ours_can_hold_do_no_harm(node, seconds):
    file = write(node, "a.txt")
    try:
        os.utime(file, (seconds, seconds))
    except OSError:
        pytest.skip("the file system does not keep that time")
    node.publish(Films=[FAMILLE])
    ((_, _, modified, root),) = listed(node)
    assert 0 <= modified <= max(0, seconds)
    assert root == root_of(b"x")


def test_a_number_too_large_for_the_database_is_brought_within_it():
    basics = (0o100644, 2**64 - 1, 0, 1, 0, 0, 5, 0, 2**40, 0)
    info = os.stat_result(basics, {"st_mtime_ns": 2**40 * 10**9})
    stamp = FileStamp.of(info)
    assert -(2**63) <= stamp.inode < 2**63
    assert stamp.mtime_ns < 2**63
    assert stamp.fits(info)


# --- what changes -------------------------------------------------------------------


def test_an_unchanged_tree_is_not_written_nor_read_again(node):
    for number in range(50):
        write(node, f"{number % 7}/{number}.txt")
    node.publish(Films=[FAMILLE])
    head = node.index.own_head(FAMILLE)
    node.hashed.clear()
    node.moved.clear()
    changes = node.index._connection.total_changes

    node.rescan()

    assert node.index._connection.total_changes == changes
    assert (node.hashed, node.moved) == ([], [])
    assert node.index.own_head(FAMILLE) == head


@pytest.mark.parametrize("new_place", ["a0/x.bin", "z/x.bin"])
def test_a_moved_file_keeps_its_root_and_is_not_read_again(node, new_place):
    old = write(node, "m/x.bin", b"content")
    node.publish(Films=[FAMILLE])
    node.hashed.clear()
    new = node.share() / new_place
    new.parent.mkdir()
    old.rename(new)

    node.rescan()

    assert node.hashed == []
    assert listed(node) == tree_of(node, "Films")
    assert len(node.index.blocks(root_of(b"content"), 0, 9)) == 1


def test_a_moved_folder_is_not_read_again(node):
    for number in range(5):
        write(node, f"m/n/{number}", b"c%d" % number)
    node.publish(Films=[FAMILLE])
    node.hashed.clear()
    (node.share() / "m").rename(node.share() / "a")
    node.rescan()
    assert node.hashed == []
    assert listed(node) == tree_of(node, "Films")


@pytest.mark.parametrize("tell", ["scan", "hints"])
@pytest.mark.parametrize(("old", "new"), [("Films", "Music"), ("Music", "Films")])
def test_a_folder_moved_to_another_share_is_not_read_again(node, old, new, tell):
    for number in range(5):
        write(node, f"m/n/{number}", b"c%d" % number, share=old)
    node.share(new)
    node.publish(Films=[FAMILLE], Music=[FAMILLE])
    node.hashed.clear()
    (node.share(old) / "m").rename(node.share(new) / "a")

    if tell == "scan":
        node.rescan()
    else:
        for path in (node.share(old) / "m", node.share(new) / "a"):
            node.scanner.on_change(path)
        node.settle()

    assert node.hashed == []
    assert listed(node) == tree_of(node, "Films", "Music")


def test_what_is_gone_is_dropped_although_another_share_cannot_be_read(node):
    write(node, "a.txt")
    write(node, "b.txt", share="Music")
    node.publish(Films=[FAMILLE], Music=[FAMILLE])
    (node.share() / "a.txt").unlink()
    shutil.rmtree(node.share("Music"))

    node.rescan()

    assert {path for path, *_ in listed(node)} == {"Music/b.txt"}


def test_an_interrupted_scan_goes_on_with_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(walk, "BATCH", 4)
    node = Node(tmp_path / "alice")
    for number in range(40):
        write(node, f"{number // 5}/{number}")
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})
    while not node.index.counts()[0] >= 20:
        assert node.scanner.step()
    before = node.delta(FAMILLE).changes
    node.close()

    node = Node(tmp_path / "alice")
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})
    while node.scanner.report().is_scanning:
        assert node.scanner.step()

    # None is numbered anew, so no member is told of it twice.
    delta = node.delta(FAMILLE)
    assert list(delta.changes[: len(before)]) == list(before)
    assert (delta.upto, len(delta.changes)) == (40, 40)
    node.close()


def test_where_inode_numbers_are_made_up_nothing_is_taken_for_moved(node, monkeypatch):
    monkeypatch.setattr(place, "keeps_inodes", lambda device: False)
    old = write(node, "m/x.bin", b"content")
    node.publish(Films=[FAMILLE])
    assert node.index.find_own("Films", SharePath.parse("m/x.bin")).stamp.inode == 0
    node.hashed.clear()
    node.rescan()
    assert node.hashed == []  # a new mount with other numbers is no change
    old.rename(node.share() / "y.bin")
    node.rescan()
    assert hashed_names(node) == ["y.bin"]
    assert listed(node) == tree_of(node, "Films")


def test_changed_content_is_hashed_again_and_its_old_root_forgotten(node):
    file = write(node, "a.txt", b"old!")
    node.publish(Films=[FAMILLE])
    file.write_bytes(b"new!")
    os.utime(file, (2_000_000_000, 2_000_000_000))
    node.rescan()
    assert listed(node) == tree_of(node, "Films")
    assert node.index.blocks(root_of(b"old!"), 0, 9) == []
    assert len(node.index.blocks(root_of(b"new!"), 0, 9)) == 1


def test_hashes_stay_as_long_as_any_file_has_that_content(node):
    one, two = write(node, "1", b"same"), write(node, "2", b"same")
    node.publish(Films=[FAMILLE])
    one.unlink()
    node.rescan()
    assert len(node.index.blocks(root_of(b"same"), 0, 9)) == 1
    two.unlink()
    node.rescan()
    assert node.index.blocks(root_of(b"same"), 0, 9) == []


def test_a_folder_that_becomes_a_file_and_back_is_followed(node):
    write(node, "x/inside.txt")
    write(node, "y")
    node.publish(Films=[FAMILLE])
    shutil.rmtree(node.share() / "x")
    (node.share() / "y").unlink()
    write(node, "x")
    write(node, "y/inside.txt")
    node.rescan()
    assert listed(node) == tree_of(node, "Films")
    assert node.index.counts()[0] == 2


def test_a_folder_of_many_batches_is_compared_without_being_held(node, monkeypatch):
    monkeypatch.setattr(walk, "BATCH", 4)
    for number in range(30):
        write(node, f"big/{number:02}")
    node.publish(Films=[FAMILLE])
    for number in (0, 7, 29):
        (node.share() / f"big/{number:02}").unlink()
    write(node, "big/new")
    node.rescan()
    assert listed(node) == tree_of(node, "Films")


# --- what must not be taken for deleted ---------------------------------------------


def test_a_folder_that_cannot_be_read_keeps_its_content(node, monkeypatch):
    write(node, "closed/a.txt")
    write(node, "closed/in/b.txt")
    write(node, "open.txt")
    node.publish(Films=[FAMILLE])
    before = listed(node)
    really_open = os.open

    def refuse(path, flags, *rest, **options):
        if path == b"closed":
            raise PermissionError(13, "Permission denied")
        return really_open(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root
    write(node, "new.txt")
    node.rescan()
    monkeypatch.undo()

    assert listed(node) == before | tree_of(node, "Films")
    assert node.scanner.report().shares["Films"].skipped == {"unreadable": 1}


class FailingListing:
    """A folder whose listing ends with an input/output error after some names."""

    def __init__(self, entries, count):
        self._entries, self._left = entries, count

    def __iter__(self):
        return self

    def __next__(self):
        if not self._left:
            raise OSError(5, "Input/output error")
        self._left -= 1
        return next(self._entries)

    def close(self):
        self._entries.close()


def test_a_listing_that_breaks_off_deletes_nothing(node, monkeypatch):
    for number in range(6):
        write(node, f"{number}.txt")
    node.publish(Films=[FAMILLE])
    before = listed(node)
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: FailingListing(scandir(path), 2))
    node.rescan()
    monkeypatch.undo()
    assert listed(node) == before
    assert node.scanner.report().shares["Films"].skipped == {"unreadable": 1}


def test_names_that_a_broken_folder_denies_are_kept(node, monkeypatch):
    """A damaged folder may list a part and call the rest unknown."""
    for number in range(6):
        write(node, f"{number}.txt")
    node.publish(Films=[FAMILLE])
    before = listed(node)
    scandir, really_stat = os.scandir, os.stat

    def deny(path, **options):
        if isinstance(path, bytes):
            raise FileNotFoundError(2, "No such file or directory")
        return really_stat(path, **options)

    monkeypatch.setattr(os, "scandir", lambda path: FailingListing(scandir(path), 2))
    monkeypatch.setattr(os, "stat", deny)
    node.rescan()
    monkeypatch.undo()
    assert listed(node) == before


def test_a_file_that_cannot_be_asked_for_is_not_gone(node, monkeypatch):
    write(node, "kept.txt")
    gone = write(node, "gone.txt")
    node.publish(Films=[FAMILLE])
    gone.unlink()
    really_stat = os.stat

    def refuse(path, **options):
        if path == b"kept.txt":
            raise OSError(5, "Input/output error")
        return really_stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    node.rescan()
    monkeypatch.undo()
    assert listed(node) == tree_of(node, "Films")


def test_what_is_mounted_below_a_share_is_not_entered(node, monkeypatch):
    really_open = place.Place.open.__func__

    def elsewhere(cls, share, path):
        opened = really_open(cls, share, path)
        return dataclasses.replace(opened, device=opened.device + 1)

    monkeypatch.setattr(place.Place, "open", classmethod(elsewhere))
    write(node, "a.txt")
    write(node, "d/b.txt")
    node.publish(Films=[FAMILLE])
    assert listed(node) == set()
    assert node.scanner.report().shares["Films"].skipped == {"mount": 2}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("ext4", True), ("vfat", False), ("exfat", False), ("fuseblk", False)],
)
def test_file_systems_that_make_inode_numbers_up_are_known(tmp_path, kind, expected):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:2 / / rw shared:1 - ext4 /dev/root rw\n"
        f"36 21 8:17 / /mnt/usb\\040disk rw,noatime shared:2 - {kind} /dev/sdb1 rw\n"
    )
    assert place.keeps_inodes(os.makedev(8, 17), mounts) is expected
    assert place.keeps_inodes(os.makedev(8, 99), mounts) is True
    assert place.keeps_inodes(os.makedev(8, 17), tmp_path / "none") is True


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("ext4", False), ("vfat", True), ("exfat", True), ("ntfs3", False)],
)
def test_file_systems_that_refuse_names_are_known(tmp_path, kind, expected):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 21 8:17 / /mnt rw shared:2 - {kind} /dev/sdb1 rw\n")
    assert refuses_names(os.makedev(8, 17), mounts) is expected
    assert refuses_names(os.makedev(8, 99), mounts) is False


def test_a_missing_share_folder_deletes_nothing_and_is_reported(node):
    write(node, "a.txt")
    node.publish(Films=[FAMILLE])
    before = listed(node)
    node.share().rename(node.folder / "elsewhere")

    node.rescan()

    report = node.scanner.report().shares["Films"]
    assert "cannot be read" in report.problem
    assert listed(node) == before
    (node.folder / "elsewhere").rename(node.folder / "disk" / "Films")
    node.rescan()
    assert node.scanner.report().shares["Films"].problem is None


def test_a_disk_lost_at_any_moment_of_a_scan_deletes_nothing(tmp_path):
    """The disk goes right after the first, the second, … check that it passed.

    Its folders, also those held open, look empty from then on, but for a stranger.
    """
    losses = 0
    for moment in range(1, 50):
        node = Node(tmp_path / str(moment))
        with contextlib.closing(node):
            for number in range(5):
                write(node, f"{number}/a.txt", b"%d" % number)
                write(node, f"{number}.txt", b"%d" % number)
            node.publish(Films=[FAMILLE])
            before = listed(node)
            (node.share() / "3" / "a.txt").unlink()  # these two are gone indeed
            (node.share() / "3.txt").unlink()
            after = tree_of(node, "Films")
            shutil.copytree(node.share(), node.folder / "kept")
            checks = node.disk_checks

            def lose(node=node, last=checks + moment):
                node.check_disk()
                if node.disk_checks == last:
                    for inside in node.share().iterdir():
                        shutil.rmtree(inside) if inside.is_dir() else inside.unlink()
                    write(node, "stranger.txt")  # another disk in its place
                    node.disk_is_there = False

            node.scanner._check_disk = lose
            node.rescan()
            assert after <= listed(node) <= before
            losses += not node.disk_is_there
            for name, *_ in after:  # nor is one of them called "not here"
                path = SharePath.parse(name.removeprefix("Films/"))
                assert node.index.find_own("Films", path) is not None

            node.scanner._check_disk = node.check_disk
            node.disk_is_there = True
            (node.share() / "stranger.txt").unlink(missing_ok=True)
            shutil.copytree(node.folder / "kept", node.share(), dirs_exist_ok=True)
            node.clock += 11
            node.rescan()
            assert {entry[0] for entry in listed(node)} == {entry[0] for entry in after}
            if node.disk_checks < checks + moment:
                break
    assert losses >= 4


def test_nothing_is_dropped_while_the_disk_is_missing(node):
    gone = write(node, "gone.txt")
    node.publish(Films=[FAMILLE])
    before = listed(node)
    gone.unlink()
    with contextlib.closing(place.Place.open("Films", node.share())) as opened:
        work = walk.Walk(opened, node.index, lambda call: call(), node.check_disk)
        assert list(work.steps())
        node.disk_is_there = False
        with pytest.raises(DiskMissing):
            next(work.drop_gone())
        assert listed(node) == before
        node.disk_is_there = True
        assert list(work.drop_gone())
    assert listed(node) == set()


def test_a_disk_away_for_a_moment_is_not_taken_for_its_empty_mount_point(node):
    """The folder is opened while the disk is away; it is back before the next check."""
    write(node, "a.txt")
    node.publish(Films=[FAMILLE])
    before = listed(node)
    share, elsewhere = node.share(), node.folder / "elsewhere"
    share.rename(elsewhere)
    node.share()

    def check():
        if elsewhere.exists() and node.disk_checks:
            share.rmdir()
            elsewhere.rename(share)
        node.disk_checks += 1

    node.disk_checks = 0
    node.scanner._check_disk = check
    node.rescan()

    assert node.disk_checks > 1
    assert listed(node) == before


def test_the_scan_is_tried_again_when_the_disk_is_back(node):
    write(node, "a.txt")
    node.disk_is_there = False
    node.publish(Films=[FAMILLE])
    assert listed(node) == set()
    assert "disk" in node.scanner.report().shares["Films"].problem
    node.disk_is_there = True
    node.clock += 11
    node.settle()
    assert listed(node) == tree_of(node, "Films")
    assert node.scanner.report().shares["Films"].problem is None


# --- hints --------------------------------------------------------------------------


def test_a_hint_brings_one_file_in_without_a_scan(node):
    write(node, "a/old.txt")
    node.publish(Films=[FAMILLE])
    write(node, "unseen.txt")
    new = write(node, "a/b/new.txt")

    node.scanner.on_change(new)
    node.settle()

    assert node.names("films") == ["Films/a/b/new.txt", "Films/a/old.txt"]


def test_hints_of_a_rename_keep_the_root(node):
    old = write(node, "a/x.bin", b"content")
    node.publish(Films=[FAMILLE])
    node.hashed.clear()
    new = node.share() / "y.bin"
    old.rename(new)
    node.scanner.on_change(old)
    node.scanner.on_change(new)
    node.settle()
    assert node.hashed == []
    assert listed(node) == tree_of(node, "Films")


@pytest.mark.parametrize("hint", ["a", "a/b", "a/b/c.txt"])
def test_a_hint_of_something_deleted_removes_what_is_gone_and_no_more(node, hint):
    write(node, "a/b/c.txt")
    write(node, "a.txt")
    node.publish(Films=[FAMILLE])
    shutil.rmtree(node.share() / "a")
    node.scanner.on_change(node.share() / hint)
    node.settle()
    assert node.names("films") == ["Films/a.txt"]


def test_a_hint_of_a_new_folder_brings_in_all_that_is_in_it(node):
    node.publish(Films=[FAMILLE])
    write(node, "new/a/1.txt")
    write(node, "new/2.txt")
    node.scanner.on_change(node.share() / "new")
    node.settle()
    assert listed(node) == tree_of(node, "Films")


def test_hints_that_lead_out_of_the_share_are_ignored(node, tmp_path):
    node.publish(Films=[FAMILLE])
    write(node, ".fonshare/x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "y").write_text("y")
    (node.share() / "link").symlink_to(tmp_path / "outside")
    for hint in (
        "../outside/y",
        ".fonshare/x",
        "link",
        "link/y",
        "link/z/w",
        "nowhere/at/all",
        "",
    ):
        node.scanner.on_change(os.path.join(node.share(), hint))
    node.scanner.on_change(tmp_path / "outside" / "y")
    node.settle()
    assert listed(node) == set()


def test_a_hint_above_the_shares_scans_them(node):
    node.publish(Films=[FAMILLE], Photos=[CLUB])
    write(node, "a", share="Films")
    write(node, "b", share="Photos")
    node.scanner.on_change(node.folder)
    node.settle()
    assert node.names("films") == ["Films/a"]
    assert node.names("photos") == ["Photos/b"]


def test_hints_during_a_scan_leave_the_dropping_to_it(node, monkeypatch):
    old = write(node, "old.bin", b"content")
    for number in range(9):
        write(node, f"{number}/a.txt")
    node.publish(Films=[FAMILLE])
    node.hashed.clear()
    monkeypatch.setattr(walk, "BATCH", 1)
    node.scanner.rescan()
    while node.scanner._scanning is None:
        assert node.scanner.step()
    new = node.share() / "new.bin"
    old.rename(new)
    node.scanner.on_change(old)
    assert node.scanner.step()
    while node.scanner._looking:
        assert node.scanner.step()
    assert node.scanner._scanning is not None

    node.scanner.on_change(new)
    node.settle()

    assert node.hashed == []
    assert listed(node) == tree_of(node, "Films")


def test_too_many_hints_become_a_scan(node, monkeypatch):
    monkeypatch.setattr("fonshare_agent.index.hints.HINTS_MAX", 2)
    node.publish(Films=[FAMILLE])
    for number in range(5):
        node.scanner.on_change(write(node, f"{number}.txt"))
    node.settle()
    assert listed(node) == tree_of(node, "Films")


# --- hashing ------------------------------------------------------------------------


def test_a_requested_file_is_hashed_before_the_others(node):
    for number in range(5):
        write(node, f"{number}.txt", b"%d" % number)
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})
    while node.scanner.report().is_scanning:
        assert node.scanner.step()
    node.scanner.hash_soon("Films", SharePath.parse("3.txt"))
    node.settle()
    assert node.hashed[0][1:] == (SharePath.parse("3.txt"), root_of(b"3"))
    assert len(node.hashed) == 5


def test_a_requested_file_overtakes_a_large_one_being_hashed(node):
    with open(write(node, "large"), "r+b") as file:
        file.truncate(4 * blocks.STEP_BYTES)
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})
    while not node.scanner._hashing._background:
        assert node.scanner.step()
    node.scanner.on_change(write(node, "small", b"s"))
    node.scanner.hash_soon("Films", SharePath.parse("small"))
    node.settle()
    assert [path.wire() for _, path, _ in node.hashed] == ["small", "large"]


def test_asking_again_for_a_hashed_file_answers_at_once(node):
    write(node, "a.txt")
    node.publish(Films=[FAMILLE])
    node.scanner.hash_soon("Films", SharePath.parse("a.txt"))
    node.scanner.hash_soon("Films", SharePath.parse("missing.txt"))
    node.scanner.hash_soon("Nothing", SharePath.parse("a.txt"))
    node.settle()
    assert hashed_names(node) == ["a.txt", "a.txt"]


def test_a_file_just_written_is_listed_now_and_hashed_when_it_rests(node):
    file = write(node, "a.txt")
    node.now = file.stat().st_mtime + 1
    node.publish(Films=[FAMILLE])
    node.scanner.hash_soon("Films", SharePath.parse("a.txt"))
    node.settle()
    assert node.names("a.txt") == ["Films/a.txt"]
    assert node.hashed == []
    node.clock += 3
    node.now += 3
    node.settle()
    assert set(hashed_names(node)) == {"a.txt"}


def test_a_file_dated_in_the_future_is_hashed_too(node):
    file = write(node, "a.txt")
    node.now = file.stat().st_mtime - 9e8  # the router's clock is not set
    node.publish(Films=[FAMILLE])
    assert hashed_names(node) == ["a.txt"]


def test_a_file_that_has_changed_is_not_read_to_its_end(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as content:
        content.truncate(3 * blocks.STEP_BYTES)
    stamp = FileStamp.of(file.stat())
    os.utime(file, (5, 5))
    with pytest.raises(ContentChanged):
        next(blocks.hash_file(lambda: os.open(file, os.O_RDONLY), stamp))


def test_a_file_that_changes_while_it_is_hashed_gets_no_root_of_the_mixture(node):
    size = blocks.STEP_BYTES * 2
    file = write(node, "a.bin", bytes(size))
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})
    while not node.scanner._hashing._background:
        assert node.scanner.step()
    assert node.scanner.step()  # half of it is read by now
    with open(file, "r+b") as changing:
        changing.write(b"changed")
    os.utime(file, (3e9, 3e9))

    node.settle()

    assert [root for _, _, root in node.hashed] == [
        root_of(b"changed" + bytes(size - 7))
    ]


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, 3_000_000])
def test_hashes_and_root_are_those_of_the_content(node, size):
    content = os.urandom(size)
    write(node, "a.bin", content)
    node.publish(Films=[FAMILLE])
    ((_, _, root),) = node.hashed
    assert root == root_of(content)
    hashes = node.index.blocks(root, 0, 10_000)
    assert hashes == RootHasher(size).update(content)
    assert node.index.blocks(root, 3, 2) == hashes[3:5]
    assert node.index.blocks(root, len(hashes), 5) == []


def test_long_block_lists_come_in_pages(node):
    file = write(node, "a.bin")
    node.publish(Films=[FAMILLE])
    stamp = FileStamp.of(file.stat())
    hashes = [bytes([number % 256]) * 32 for number in range(700)]
    own = node.index.find_own("Films", SharePath.parse("a.bin"))
    assert own.stamp == stamp
    node.index.set_root(own, b"R" * 32, hashes)
    assert node.index.blocks(b"R" * 32, 250, 300) == hashes[250:550]
    assert node.index.blocks(b"R" * 32, 690, 300) == hashes[690:]


def test_a_root_computed_for_another_state_of_the_file_is_refused(node):
    file = write(node, "a.txt")
    node.publish(Films=[FAMILLE])
    own = node.index.find_own("Films", SharePath.parse("a.txt"))
    os.utime(file, (5, 5))
    seen = seen_file(b"a.txt", file.stat())
    node.index.take_listings("Films", [Listing((), [seen])])
    assert node.index.set_root(own, b"R" * 32, [b"h" * 32]) is None
    assert node.index.find_own("Films", own.path).root is None


def test_hashing_waits_for_a_share_to_be_published(node):
    write(node, "a.txt")
    node.publish(Films=[])
    assert node.hashed == []
    node.publish(Films=[FAMILLE])
    assert hashed_names(node) == ["a.txt"]


def steps_of(node, work):
    """Return how many of SQLite's instructions, in hundreds, *work* takes."""
    count = 0

    def tick():
        nonlocal count
        count += 1

    node.index._connection.set_progress_handler(tick, 100)
    work()
    node.index._connection.set_progress_handler(None, 0)
    return count


def test_what_is_next_is_found_without_going_through_all_files(node):
    files = [(b"%d" % number, 1, 1, number) for number in range(3000)]
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.index.take_listings("Films", [Listing((), files)])
    node.index.publish({"Films": frozenset([FAMILLE, CLUB])})
    while node.index.queue_unhashed():
        pass

    _, last = node.index.next_unhashed((0, 2990))
    assert steps_of(node, node.index.next_unhashed) < 5
    assert steps_of(node, lambda: node.index.next_unhashed(last)) < 5
    assert steps_of(node, lambda: node.index.tidy_some(limit=1)) < 5


def unhashed(node):
    """Queue what scans found; return the names of the queue in its order."""
    while node.index.queue_unhashed():
        pass
    names, found = [], node.index.next_unhashed()
    while found:
        names.append(found[0].path.raw)
        found = node.index.next_unhashed(found[1])
    return names


def take(node, *names):
    files = [(name, 1, 1, number) for number, name in enumerate(names, 1)]
    node.index.take_listings("Films", [Listing((), files)])


def test_a_new_file_with_the_number_of_a_dropped_one_is_hashed(node):
    node.index.publish({"Films": frozenset([FAMILLE])})
    take(node, b"a", b"b")
    assert unhashed(node) == [b"a", b"b"]
    node.index.mark_gone("Films", (), [b"b"], [])
    while node.index.drop_gone("Films")[1]:
        pass

    take(node, b"c")

    assert unhashed(node) == [b"a", b"c"]


def test_a_file_that_was_missing_when_others_were_queued_is_hashed_later(node):
    node.index.publish({"Films": frozenset([FAMILLE])})
    take(node, b"a", b"b")
    node.index.mark_gone("Films", (), [b"a"], [])
    assert unhashed(node) == [b"b"]

    take(node, b"a", b"b")

    assert unhashed(node) == [b"a", b"b"]


def test_a_file_swapped_for_a_link_is_not_hashed(node, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    file = write(node, "a.txt")
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})
    while node.scanner.report().is_scanning:
        assert node.scanner.step()
    file.unlink()
    file.symlink_to(secret)
    node.settle()
    assert node.hashed == []


# --- the thread ---------------------------------------------------------------------


def test_the_thread_works_alone_with_low_priority_and_ends_when_told(tmp_path):
    niceness, urgencies, done = [], [], threading.Event()
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    node = Node(tmp_path / "alice")
    write(node, "a.txt")

    def hashed(share, path, root):
        urgencies.append(reading_urgency())
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        done.set()

    lock = threading.Lock()

    def on_store(work):
        with lock:
            return work()

    scanner = Scanner(
        node.index,
        on_store,
        check_disk=lambda: None,
        on_catalogue_moved=lambda groups: None,
        on_hashed=hashed,
        now=lambda: 4e9,
    )
    on_store(lambda: node.index.publish({"Films": frozenset([FAMILLE])}))
    scanner.start()
    scanner.set_shares({"Films": node.share()})
    assert done.wait(10)
    done.clear()
    write(node, "b.txt")
    scanner.on_change(node.share() / "b.txt")
    assert done.wait(10)
    assert urgencies == [IDLE] * 2

    def is_urgent_once_asked():
        scanner.hash_soon("Films", SharePath.parse("b.txt"))
        return AS_NICE in urgencies

    wait_until(is_urgent_once_asked)  # the step at work may have begun before
    scanner.stop()
    assert set(niceness) == {max(niceness)}
    assert niceness[0] >= NICE
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours
    assert reading_urgency() == AS_NICE  # only its own thread's is another
    node.close()


def reading_urgency():
    """Ask the kernel how urgent this thread's reading is."""
    number = set_number(os.uname().machine, sys.maxsize.bit_length() + 1)
    value = libc_call("syscall", INT, INT, INT)(number + 1, 1, 0)
    return IDLE if value >> 13 == IDLE >> 13 else AS_NICE


@pytest.mark.parametrize(
    ("machine", "bits", "number"),
    [("mips", 32, 4314), ("armv7l", 32, 314), ("i686", 32, 289), ("x86_64", 32, 289)],
)
def test_the_call_for_it_is_known_on_routers(machine, bits, number):
    assert set_number(machine, bits) == number


def test_on_an_unknown_machine_the_nice_value_alone_has_to_do(monkeypatch):
    assert set_number("vax", 32) is None
    monkeypatch.setattr(reading, "_own_number", lambda: None)
    assert not set_reading(IDLE)


def test_a_scan_period_later_the_share_is_scanned_again(node):
    node.publish(Films=[FAMILLE])
    write(node, "a.txt")
    node.settle()
    assert listed(node) == set()
    node.clock += 3601
    node.settle()
    assert listed(node) == tree_of(node, "Films")


def test_a_closed_index_stops_the_scan_and_an_opened_one_carries_on(node):
    write(node, "a.txt")
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})
    node.index.close()
    node.settle()
    with pytest.raises(StorageError):
        node.index.counts()
    node.index.open()
    node.clock += 11
    node.settle()
    assert listed(node) == tree_of(node, "Films")


@pytest.mark.parametrize("damage", ["half", "noise"])
def test_a_damaged_index_is_rebuilt_by_a_scan_and_members_take_a_new_copy(
    node, tmp_path, damage
):
    for number in range(200):
        write(node, f"{number}.txt", b"%d" % number)
    node.publish(Films=[FAMILLE])
    before = listed(node)
    bob = Node(tmp_path / "bob", BOB)
    node.deltas(FAMILLE, bob)
    node.index.close()
    path = node.folder / "index.db"
    content = path.read_bytes()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:100] + bytes(b ^ 0x5A for b in content[100:]))

    node.index.open()

    assert node.index.rebuilt is not None
    assert node.index.counts() == (0, 0)
    node.publish(Films=[FAMILLE])
    node.rescan()
    assert listed(node) == before
    node.deltas(FAMILLE, bob)
    assert bob.listed(FAMILLE, ALICE) == before
    bob.close()


# --- any order of anything ----------------------------------------------------------

PLACES = ["a", "b", "d/a", "d/e/b", "e/a", "e\u0301/é"]
GROUPS = {"f": FAMILLE, "c": CLUB}


class DiskAndIndex(RuleBasedStateMachine):
    """Random work on the disk, hints given or forgotten; then index == tree."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fonshare-index-"))
        self.node = Node(self.folder / "alice")
        self.bob = Node(self.folder / "bob", BOB)
        self.version = 0
        self.shares = {"Films": [FAMILLE], "Photos": [FAMILLE, CLUB]}
        self.node.publish(**self.shares)

    def teardown(self):
        try:
            self.compare_all()
        finally:
            self.clean_up()

    def clean_up(self):
        self.node.close()
        self.bob.close()
        shutil.rmtree(self.folder)

    def path(self, share, place):
        return self.node.share(share) / place

    shares_drawn = st.sampled_from(["Films", "Photos"])
    places_drawn = st.sampled_from(PLACES)

    @rule(share=shares_drawn, place=places_drawn, is_told=st.booleans())
    def write(self, share, place, is_told):
        path = self.path(share, place)
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() or not path.parent.is_dir():
            return
        self.version += 1
        path.write_bytes(b"version %d" % self.version)
        os.utime(path, (self.version * 10, self.version * 10))
        if is_told:
            self.node.scanner.on_change(path)

    @rule(share=shares_drawn, place=places_drawn, is_told=st.booleans())
    def delete(self, share, place, is_told):
        path = self.path(share, place)
        if path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        if is_told:
            self.node.scanner.on_change(path)

    @rule(
        share=shares_drawn,
        old=st.sampled_from([*PLACES, "d", "d/e", "e"]),
        new=st.sampled_from([*PLACES, "d", "g"]),
        is_told=st.booleans(),
    )
    def move(self, share, old, new, is_told):
        source, target = self.path(share, old), self.path(share, new)
        if not source.exists() or target.exists() or not target.parent.is_dir():
            return
        if target.is_relative_to(source):
            return
        source.rename(target)
        if is_told:
            self.node.scanner.on_change(source)
            self.node.scanner.on_change(target)

    @rule(share=shares_drawn, place=places_drawn)
    def link(self, share, place):
        path = self.path(share, place)
        if path.parent.is_dir() and not os.path.lexists(path):
            path.symlink_to("/etc/hostname")

    @rule(share=shares_drawn, groups=st.sets(st.sampled_from("fc")))
    def publish(self, share, groups):
        self.shares[share] = [GROUPS[group] for group in groups]
        self.node.index.publish(
            {name: frozenset(groups) for name, groups in self.shares.items()}
        )
        self.node.scanner.tidy()

    @rule(steps=st.integers(1, 5))
    def work_a_little(self, steps):
        for _ in range(steps):
            self.node.scanner.step()

    @rule()
    def begin_a_scan(self):
        self.node.scanner.rescan()
        self.node.scanner.step()

    @rule(group=st.sampled_from([FAMILLE, CLUB]), entries=st.integers(1, 3))
    def replicate_a_page(self, group, entries):
        _, head = self.node.index.own_head(group)
        known = self.bob.index.replica_head(group, ALICE)
        delta = self.node.index.delta(group, *known, max_entries=entries)
        self.bob.index.apply_delta(group, ALICE, delta, complete_at=head)

    @rule(group=st.sampled_from([FAMILLE, CLUB]))
    def begin_a_new_index(self, group):
        self.node.index.reset_index_id(group)

    @rule()
    def restart(self):
        self.node.index.close()
        self.node.index.open()

    @rule()
    def compare_all(self):
        self.node.rescan()
        self.node.rescan()  # what changed under the first scan
        expected = {
            group: set().union(
                *(
                    self.tree(share)
                    for share, groups in self.shares.items()
                    if group in groups
                )
            )
            for group in GROUPS.values()
        }
        for group, entries in expected.items():
            assert listed(self.node, group) == entries
            self.node.deltas(group, self.bob, entries=2)
            assert self.bob.listed(group, ALICE) == entries
        while self.bob.index.tidy_some()[0]:
            pass
        found = self.bob.index.search("version", limit=9).found
        assert found == ()
        total = sum(len(self.tree(share)) for share in self.shares)
        assert self.node.index.counts()[0] == total

    def tree(self, share):
        return {
            entry
            for entry in tree_of(self.node, share)
            if not (self.node.share(share).parent / entry[0]).is_symlink()
        }

    @invariant()
    def no_group_sees_what_is_not_published_to_it(self):
        for share, groups in self.shares.items():
            for group in GROUPS.values():
                assert self.node.index.is_published(group, share) == (group in groups)


DiskAndIndex.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestDiskAndIndex = DiskAndIndex.TestCase


def test_a_thread_that_is_nicer_already_stays_so_instead_of_ending():
    seen = []

    def work():
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, NICE + 5)
        step_back(NICE)
        seen.append(os.getpriority(os.PRIO_PROCESS, thread))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [NICE + 5]
