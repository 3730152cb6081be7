"""What is mounted where, as the kernel tells it (proc(5)).

Must not know of disks, shares or settings.
"""

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# What a router runs from: its firmware, its changes to that, its memory. With extroot
# the second lies on a partition of the disk, which is mounted elsewhere as well.
SYSTEM = ("/", "/rom", "/overlay", "/boot", "/tmp")

REFUSING = ("vfat", "msdos", "exfat")


def find_mount(device: int, mounts: Path = MOUNTS) -> str | None:
    """Return the line of a mount of *device*, if the kernel tells."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with mounts.open(encoding="utf-8", errors="replace") as lines:
            return next((one for one in lines if one.split()[2] == wanted), None)
    except FileNotFoundError:
        return None  # not Linux


def refuses_names(device: int, mounts: Path = MOUNTS) -> bool:
    """Tell whether names are refused there that Linux's own file systems take."""
    line = find_mount(device, mounts)
    return line is not None and line.partition(" - ")[2].startswith(REFUSING)


def holds_system(device: int) -> bool:
    """Tell whether the router runs from the file system *device*."""
    return any(os.path.isdir(one) and os.stat(one).st_dev == device for one in SYSTEM)
