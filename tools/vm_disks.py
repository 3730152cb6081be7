"""USB disks for the emulated router, as image files."""

import subprocess
from pathlib import Path

OWNER = "root_owner=427:427"  # the service's user, whom its owner gave the disk
SECTOR, FIRST_SECTOR, LINUX = 512, 2048, 0x83
MBR_TABLE, MBR_END = 446, b"\x55\xaa"


def new_disk(folder: Path, kind: str, size_mb: int) -> Path:
    """A USB disk without partitions, as its owner formatted it."""
    folder.mkdir(exist_ok=True)
    disk = folder / f"disk.{kind}"
    disk.unlink(missing_ok=True)
    if kind == "vfat":
        quiet = subprocess.DEVNULL
        with disk.open("wb") as file:
            file.truncate(size_mb << 20)
        subprocess.run(["mkfs.vfat", "-F", "32", str(disk)], check=True, stdout=quiet)
    else:
        command = ["mke2fs", "-q", "-t", kind, "-E", OWNER, str(disk), f"{size_mb}M"]
        subprocess.run(command, check=True)
    return disk


def new_extroot_disk(folder: Path, root_mb: int, data_mb: int) -> Path:
    """A disk with two ext4 partitions: one for the router's root, one for files."""
    disk = folder / "disk.extroot"
    disk.unlink(missing_ok=True)
    start, table = FIRST_SECTOR, b""
    for size_mb in (root_mb, data_mb):
        sectors = (size_mb << 20) // SECTOR
        table += bytes([0, 0, 0, 0, LINUX, 0, 0, 0])
        table += start.to_bytes(4, "little") + sectors.to_bytes(4, "little")
        options = f"offset={start * SECTOR},{OWNER}"
        command = ["mke2fs", "-q", "-F", "-t", "ext4", "-E", options, str(disk)]
        subprocess.run([*command, f"{size_mb}M"], check=True)
        start += sectors
    with disk.open("r+b") as file:
        file.truncate(start * SECTOR)
        file.seek(MBR_TABLE)
        file.write(table.ljust(64, b"\0") + MBR_END)
    return disk
