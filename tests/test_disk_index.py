"""The index while a real disk is pulled, exchanged and remounted under it."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from disks import MIB, LoopDisk, make_disks
from fonshare_agent.disk import Disk
from fonshare_agent.errors import DiskMissing, DiskReadOnly, DiskWrong
from fonshare_agent.index import blocks, walk
from index_nodes import ALICE, FAMILLE, Node


@pytest.fixture
def disks(tmp_path):
    yield from make_disks(tmp_path)


class MountedNode(Node):
    """A node whose shares lie on a real disk; its index does not."""

    def __init__(self, folder: Path, loop: LoopDisk) -> None:
        self.place = folder / "disk"
        self.loop = loop
        loop.mount(self.place)
        self.disk = Disk(self.place, folder / "keys" / "disk-id", os.urandom)
        self.disk.open()
        super().__init__(folder)

    def check_disk(self) -> None:
        self.disk_checks += 1
        self.disk.check()

    def fill(self) -> None:
        for number in range(4):
            folder = self.share() / str(number)
            folder.mkdir()
            for name in ("a", "b", "c"):
                (folder / name).write_bytes(b"%d" % number)
        (self.share() / "large").write_bytes(bytes(3 * blocks.STEP_BYTES))

    def view(self):
        """What friends see, by name."""
        return {entry[0] for entry in self.listed(FAMILLE, ALICE)}

    def come_back(self) -> None:
        self.disk.open()
        self.clock += 11
        self.rescan()


def below(place: Path) -> list[str]:
    return sorted(os.listdir(place))


@pytest.fixture
def mounted(tmp_path, disks):
    node = MountedNode(tmp_path / "alice", disks("alice", size=32 * MIB))
    with contextlib.closing(node):
        yield node


@pytest.mark.parametrize("instead", ["nothing", "blank", "foreign"])
def test_a_disk_pulled_at_any_step_of_a_scan_or_of_hashing_changes_no_view(
    mounted, disks, instead, monkeypatch
):
    monkeypatch.setattr(walk, "BATCH", 3)
    mounted.fill()
    mounted.publish(Films=[FAMILLE])
    everything = mounted.view()
    assert len(everything) == 13
    other = disks("other", size=8 * MIB)
    if instead == "foreign":  # another node's, with a folder of the same name
        other.mount(mounted.place)
        Disk(mounted.place, mounted.folder / "other-id", os.urandom).open()
        (mounted.share() / "stranger").write_bytes(b"x")
        other.pull(mounted.place)
    steps, moment, is_complete = 1, 0, False
    while not is_complete:
        os.utime(mounted.share() / "large", (moment, moment))
        mounted.scanner.rescan()
        is_complete = not all(mounted.scanner.step() for _ in range(steps))
        mounted.loop.pull(mounted.place)
        assert below(mounted.place) == []
        if instead != "nothing":
            other.mount(mounted.place)
        before = below(mounted.place)

        mounted.settle()
        mounted.clock += 11
        mounted.rescan()

        assert mounted.view() == everything
        assert below(mounted.place) == before
        with pytest.raises(DiskWrong if instead == "foreign" else DiskMissing):
            mounted.disk.check()
        with pytest.raises(DiskWrong if instead == "foreign" else DiskMissing):
            mounted.disk.check_again()
        if instead != "nothing":
            other.pull(mounted.place)
            assert below(mounted.place) == []
        mounted.loop.mount(mounted.place)
        mounted.come_back()
        assert mounted.view() == everything
        steps, moment = steps + 2, moment + 1
    assert moment > 4


def test_a_disk_that_comes_back_as_another_device_is_the_same_disk(mounted, disks):
    mounted.fill()
    mounted.publish(Films=[FAMILLE])
    everything, device = mounted.view(), os.stat(mounted.place).st_dev
    mounted.loop.pull(mounted.place)
    with pytest.raises(DiskMissing):
        mounted.disk.check_again()
    disks("first", size=4 * MIB).mount(mounted.folder / "first")
    mounted.loop.mount(mounted.place)
    assert os.stat(mounted.place).st_dev != device
    with pytest.raises(DiskMissing):
        mounted.disk.check()

    assert mounted.disk.check_again()

    mounted.disk.check()
    assert not mounted.disk.check_again()
    mounted.come_back()
    assert mounted.view() == everything


@pytest.mark.parametrize("how", ["ro", "abort"])
def test_a_disk_that_takes_no_more_writes_is_read_and_said_to(mounted, how):
    """The kernel makes a file system read-only when it finds it damaged: `abort`."""
    mounted.fill()
    mounted.publish(Films=[FAMILLE])
    mounted.disk.check_writable()

    mounted.loop.remount(mounted.place, how)

    with pytest.raises(OSError, match="Read-only"):
        (mounted.place / "new").touch()
    mounted.disk.check()
    with pytest.raises(DiskReadOnly):
        mounted.disk.check_writable()
    before = mounted.view()
    mounted.rescan()
    assert mounted.view() == before


def test_a_disk_mounted_over_a_folder_of_the_share_hides_and_is_not_entered(
    mounted, disks
):
    mounted.fill()
    mounted.publish(Films=[FAMILLE])
    above = disks("above", size=4 * MIB)
    above.mount(mounted.share() / "2")
    (mounted.share() / "2" / "stranger").write_bytes(b"x")

    mounted.rescan()

    assert mounted.scanner.report().shares["Films"].skipped == {"mount": 1}
    assert "Films/2/stranger" not in mounted.view()
    above.pull(mounted.share() / "2")
    mounted.rescan()
    assert "Films/2/a" in mounted.view()
    shutil.rmtree(mounted.share() / "2")
    mounted.rescan()
    assert "Films/2/a" not in mounted.view()
