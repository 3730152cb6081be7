"""A share's folder while it is being read: opened once, and still the one at its path.

It must not know what is in it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from fonshare_agent.errors import DiskMissing
from fonshare_agent.mounts import MOUNTS, find_mount

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# These make inode numbers up at each mount: they tell nothing about a file.
_INODES_MADE_UP = ("vfat", "msdos", "exfat", "fuse", "overlay", "9p")


@dataclass(frozen=True, slots=True)
class Place:
    """A share's folder, opened; whoever uses it ends before it is closed."""

    share: str
    path: str | os.PathLike[str]
    descriptor: int
    device: int
    keeps_inodes: bool

    @classmethod
    def open(cls, share: str, path: str | os.PathLike[str]) -> "Place":
        descriptor = os.open(path, OPEN_FOLDER)
        device = os.fstat(descriptor).st_dev
        return cls(share, path, descriptor, device, keeps_inodes(device))

    def check(self) -> None:
        """Raise DiskMissing if the share's path leads elsewhere by now.

        A disk that went for a moment may be back and pass its check, while what was
        opened in between is the empty folder it is mounted on.
        """
        there = os.stat(self.path, follow_symlinks=False)
        if not os.path.samestat(there, os.fstat(self.descriptor)):
            raise DiskMissing("the folder of a share was exchanged", thing=self.share)

    def close(self) -> None:
        os.close(self.descriptor)


def keeps_inodes(device: int, mounts: Path = MOUNTS) -> bool:
    """Tell whether a file keeps its inode number on that device when mounted anew."""
    line = find_mount(device, mounts)
    # Where the kernel does not tell: POSIX promises inode numbers that stay.
    return line is None or not line.partition(" - ")[2].startswith(_INODES_MADE_UP)
