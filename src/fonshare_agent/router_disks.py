"""The disks of a router, as `fonshare setup` offers them, and who may do what there.

Changes nothing: it names the remedy of each thing that is in the way.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fonshare_agent.mounts import SYSTEM
from fonshare_agent.settings import USER_ID
from fonshare_agent.words import say

MEMORY = "/tmp"
ROWS_MAX = 20  # a screen's
# File systems without owners: who may do what is said when they are mounted.
WITHOUT_OWNERS = ("exfat", "fuseblk", "msdos", "ntfs", "ntfs3", "vfat")
OPTIONS = f"uid={USER_ID},gid={USER_ID},umask=022"
NO_ACCENTS = "ASCII"  # other letters come out as two strange ones elsewhere
LIST, READ, WRITE = stat.S_IXUSR, stat.S_IRUSR | stat.S_IXUSR, stat.S_IRWXU


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mounted file system that the router does not run from."""

    place: Path
    kind: str
    is_writable: bool
    keeps_names: bool = True  # not vfat that is mounted without `utf8`


def find_disks(mountinfo: str) -> list[Mounted]:
    """Return the mounted disks, without those that hold the system (proc(5))."""
    rows = [line.split() for line in mountinfo.splitlines()]
    rows = [row for row in rows if len(row) > 9 and "-" in row]
    system = {row[2] for row in rows if row[4] in SYSTEM}
    found: dict[str, Mounted] = {}
    for row in rows:
        kind, source, options = row[row.index("-") + 1 :][:3]
        place, device = _unescaped(row[4]), row[2]
        if (
            source.startswith("/dev/")
            and device not in system
            and not f"{place}/".startswith(f"{MEMORY}/")
        ):
            words = (*row[5].split(","), *options.split(","))
            disk = Mounted(Path(place), kind, "ro" not in words, _keeps(kind, words))
            found.setdefault(device, disk)
    return list(found.values())


def _keeps(kind: str, options: Iterable[str]) -> bool:
    """Whether names are kept as they are given: OpenWrt's vfat has them for Latin-1."""
    return kind != "vfat" or bool({"utf8", "iocharset=utf8"} & {*options})


def _unescaped(place: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A folder, what the service may do with it, and what gives it the rest."""

    folder: Path
    allowed: str
    remedy: str


def find_refusals(
    disk: Mounted, written: Iterable[str], fstab: Callable[[], str]
) -> list[Refusal]:
    """Return the folders of the disk that the service's user may not use.

    *written* are those, relative to the disk, that it has to write to. *fstab* gives
    what `uci show fstab` says.
    """
    refusals = []
    if not _allows(disk.place, WRITE):
        refusals.append(_refusal(disk.place, WRITE))
    wanted = dict.fromkeys(_folders(disk.place), READ)
    wanted |= {disk.place / name: WRITE for name in written}
    refusals += [
        _refusal(folder, needed)
        for folder, needed in sorted(wanted.items())
        if folder.is_dir() and not _allows(folder, needed)
    ]
    if disk.kind in WITHOUT_OWNERS and (refusals or not disk.keeps_names):
        allowed = refusals[0].allowed if refusals else NO_ACCENTS
        return [Refusal(disk.place, allowed, _mount_options(disk, fstab()))]
    return refusals


def _folders(disk: Path) -> list[Path]:
    return [
        Path(entry.path)
        for entry in os.scandir(disk)
        if entry.is_dir(follow_symlinks=False) and entry.name != "lost+found"
    ]


def _refusal(folder: Path, needed: int) -> Refusal:
    allowed = "read" if _allows(folder, READ) else "nothing"
    if os.path.ismount(folder):  # the disk itself: only this folder, nothing below
        return Refusal(
            folder, allowed, f"chown {USER_ID} {folder}; chmod u+rwx {folder}"
        )
    bits = "rwX" if needed == WRITE else "rX"
    remedy = f"chgrp -R {USER_ID} {folder}; chmod -R g+{bits} {folder}"
    return Refusal(folder, allowed, remedy)


def _allows(place: Path, wanted: int) -> bool:
    """Whether the service's user may do *wanted*, in the bits of an owner."""
    info = place.stat()
    shift = 0 if info.st_uid == USER_ID else 3 if info.st_gid == USER_ID else 6
    return info.st_mode & (wanted >> shift) == wanted >> shift


def _mount_options(disk: Mounted, fstab: str) -> str:
    """Return the commands that have it mounted for the service's user."""
    place = disk.place
    options = f"{OPTIONS},utf8" if disk.kind == "vfat" else OPTIONS
    remount = "uci commit fstab; block umount; block mount"
    for line in fstab.splitlines():
        option, _, value = line.partition("=")
        if option.endswith(".target") and value.strip("'") == str(place):
            section = option.removesuffix(".target")
            return f"uci set {section}.options='{options}'; {remount}"
    return (
        f"block detect | uci import fstab; in /etc/config/fstab, where {place} is,"
        f" add: option options '{options}'; {remount}"
    )


def table(refusals: list[Refusal]) -> list[str]:
    """Return the lines of a table, for a person."""
    if not refusals:
        return []
    shown = refusals[:ROWS_MAX]
    head, may = say("FOLDER"), say("MAY")
    width = max(len(head), *(len(str(one.folder)) for one in shown))
    lines = [f"{head:{width}}  {may:7}  {say('TO CHANGE THAT')}"]
    lines += [
        f"{one.folder!s:{width}}  {say(one.allowed):7}  {one.remedy}" for one in shown
    ]
    if len(refusals) > len(shown):
        lines.append(say("… and {} more", len(refusals) - len(shown)))
    return lines
