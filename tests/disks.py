"""Disks: a folder that is one, and real ones to pull.

The real ones are ext4 in a file, mounted by a loop device where root may.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fonshare_agent.disk import Disk
from waiting import wait_until

MIB = 1 << 20


def new_disk(place: Path) -> Disk:
    """Return the disk of a node, opened; its files are in the folder `disk`."""
    (place / "disk").mkdir()
    disk = Disk(place / "disk", place / "keys" / "disk-id", os.urandom)
    disk.open()
    return disk


class LoopDisk:
    """A file system of its own in *image*, put onto a mount point and taken away."""

    def __init__(
        self, image: Path, size: int = 96 * MIB, *, has_journal: bool = False
    ) -> None:
        self.image = image
        with image.open("wb") as file:
            file.truncate(size)
        journal = "has_journal" if has_journal else "^has_journal"
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", journal, str(image))

    def mount(self, place: Path, options: str = "") -> None:
        # Else mount(8) takes the loop device of before, and with it the file system
        # as it was: sealed, if it was sealed.
        wait_until(lambda: not self._has_device(), "nobody holds the pulled disk")
        place.mkdir(parents=True, exist_ok=True)
        more = f",{options}" if options else ""
        _run("mount", "-o", f"loop{more}", str(self.image), str(place))

    def _has_device(self) -> bool:
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with suppress(OSError):  # it goes while we look
                if backing.read_text().strip() == str(self.image):
                    return True
        return False

    def keep_what_it_has(self) -> None:
        """Note what has reached the disk by now, without what is only in memory.

        `lose_the_rest` makes it that again, as if it had been pulled just now. A device
        that fails while it is mounted would show more, and can take the kernel along.
        """
        _run("cp", "--sparse=always", str(self.image), str(self._kept))

    def lose_the_rest(self) -> None:
        """Be what was kept; the disk is not mounted."""
        wait_until(lambda: not self._has_device(), "nobody holds the pulled disk")
        shutil.move(self._kept, self.image)

    @property
    def _kept(self) -> Path:
        return self.image.with_suffix(".kept")

    @staticmethod
    def pull(place: Path) -> None:
        """Take the disk away as a router's hotplug does: whoever holds it, or not."""
        _run("umount", "-l", str(place))

    @staticmethod
    def remount(place: Path, options: str) -> None:
        _run("mount", "-o", f"remount,{options}", str(place))


def make_disks(tmp_path: Path) -> Iterator[Callable[..., LoopDisk]]:
    """Give what makes disks; skip where mounting is not allowed; unmount at the end."""
    probe = LoopDisk(tmp_path / "probe.img", 4 * MIB)
    try:
        # Shared: else whoever makes itself a mount namespace meanwhile, for another
        # test's network or router, holds the disk for as long as it lives.
        _run("mount", "--bind", "--make-shared", str(tmp_path), str(tmp_path))
        probe.mount(tmp_path / "probe")
    except subprocess.CalledProcessError:
        pytest.skip("mounting real disks needs root and loop devices")
    probe.pull(tmp_path / "probe")
    try:
        yield lambda name, **options: LoopDisk(tmp_path / f"{name}.img", **options)
    finally:
        for place in _mounts_below(tmp_path):
            subprocess.run(["umount", "-l", place], check=False)


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split()[4] for line in lines]
    return [
        one
        for one in reversed(places)
        if one == str(folder) or one.startswith(f"{folder}{os.sep}")
    ]


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
