"""The disks of a router, as `fonshare setup` offers them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fonshare_agent.mounts import SYSTEM

MEMORY = "/tmp"


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mounted file system that the router does not run from."""

    place: Path
    kind: str
    is_writable: bool
    keeps_names: bool = True  # not vfat that is mounted without `utf8`


def find_disks(mountinfo: str) -> list[Mounted]:
    """Return the mounted disks, without those that hold the system (proc(5)).

    The parts of a btrfs have numbers of their own: their source says that they are one.
    """
    rows = [line.split(" ") for line in mountinfo.split("\n")]
    rows = [row for row in rows if len(row) > 9 and "-" in row]
    system = {one for row in rows if row[4] in SYSTEM for one in (row[2], _source(row))}
    found: dict[str, Mounted] = {}
    for row in rows:
        kind, source, options = row[row.index("-") + 1 :][:3]
        place, device = _unescaped(row[4]), row[2]
        if (
            source.startswith("/dev/")
            and not system & {device, source}
            and not f"{place}/".startswith(f"{MEMORY}/")
        ):
            words = (*row[5].split(","), *options.split(","))
            disk = Mounted(Path(place), kind, "ro" not in words, _keeps(kind, words))
            found.setdefault(device, disk)
    return list(found.values())


def _source(row: list[str]) -> str:
    return row[row.index("-") + 2]


def _keeps(kind: str, options: Iterable[str]) -> bool:
    """Whether names are kept as they are given: OpenWrt's vfat has them for Latin-1."""
    return kind != "vfat" or bool({"utf8", "iocharset=utf8"} & {*options})


def _unescaped(place: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place)
