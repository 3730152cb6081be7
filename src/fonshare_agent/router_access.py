"""What the service's user may not do on a disk, and the exact remedy of each thing.

`fonshare setup` shows it once. Looks two levels deep, at folders and files, as root and
within bounds: a disk with 100,000 files is no reason to wait. Changes nothing.
"""

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from fonshare_agent.layout import visible
from fonshare_agent.model import PRIVATE_FOLDER
from fonshare_agent.router_disks import Mounted
from fonshare_agent.settings import USER_ID
from fonshare_agent.words import say

ROWS_MAX = 20  # a screen's
# What keeps one file of a folder from being read mostly keeps all of them, so the first
# ones of each do. The time is for a disk that is slow, or just waking up.
FOLDER_MAX = 500
ENTRIES_MAX = 5_000
LOOK_S = 5.0
STATE = os.fsdecode(PRIVATE_FOLDER)
PASSED_OVER = ("lost+found", STATE)  # e2fsck's, and the agent's own
# File systems without owners: who may do what is said when they are mounted.
WITHOUT_OWNERS = ("exfat", "fuseblk", "msdos", "ntfs", "ntfs3", "vfat")
OPTIONS = f"uid={USER_ID},gid={USER_ID},umask=022"
NOTHING, SOME, ALLOWED_TO_READ = "nothing", "in part", "read"
NO_ACCENTS = "ASCII"  # other letters come out as two strange ones elsewhere
READ_FILE = stat.S_IRUSR
READ, WRITE = stat.S_IRUSR | stat.S_IXUSR, stat.S_IRWXU


@dataclass(frozen=True, slots=True)
class Refusal:
    """A folder, what the service may do with it, and what gives it the rest."""

    folder: Path
    allowed: str
    remedy: str


@dataclass(slots=True)
class Survey:
    """What was found; `is_whole` unless the look had to end before its time."""

    refusals: list[Refusal] = field(default_factory=list)
    is_whole: bool = True


def survey(
    disk: Mounted,
    written: Iterable[str],
    fstab: Callable[[], str],
    clock: Callable[[], float],
) -> Survey:
    """Return what of the disk the service's user may not use.

    *written* are the folders, relative to the disk, that it has to write to. *fstab*
    gives what `uci show fstab` says, *clock* monotonic seconds.
    """
    found = _Look(disk.place, written, clock).survey()
    if disk.kind in WITHOUT_OWNERS and (found.refusals or not disk.keeps_names):
        allowed = found.refusals[0].allowed if found.refusals else NO_ACCENTS
        return Survey([Refusal(disk.place, allowed, _mount_options(disk, fstab()))])
    return found


@dataclass(slots=True)
class _Inside:
    """What a folder holds: what may be read of it, and what may not."""

    folders: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)
    has_closed_files: bool = False


class _Look:
    """One look at a disk: its top, then what is in each folder there."""

    def __init__(
        self, disk: Path, written: Iterable[str], clock: Callable[[], float]
    ) -> None:
        self._disk = disk
        self._written = [disk / name for name in written]
        self._clock = clock
        self._ends_at = clock() + LOOK_S
        self._left = ENTRIES_MAX
        self._found = Survey()

    def survey(self) -> Survey:
        self._look_at_own()
        top = self._look_into(self._disk)
        for folder in top.closed:
            self._refuse(folder, NOTHING, _opened(folder, READ))
        if top.has_closed_files:
            self._refuse(self._disk, SOME, _opened_files(self._disk))
        for folder in top.folders:
            self._look_below(folder)
        self._found.refusals.sort(key=lambda one: one.folder)
        return self._found

    def _look_at_own(self) -> None:
        """What the agent has to write to, as far as it is there."""
        if not _allows(self._disk.stat(), WRITE):
            quoted = shlex.quote(str(self._disk))  # only this folder, nothing below
            remedy = f"chown {USER_ID} {quoted}; chmod u+rwx {quoted}"
            self._refuse(self._disk, _allowed(self._disk), remedy)
        for folder in self._written:
            if folder.is_dir() and not _allows(folder.stat(), WRITE):
                self._refuse(folder, _allowed(folder), _opened(folder, WRITE))
        state = self._disk / STATE  # made by root, if the agent ran as root
        if state.is_dir() and state.stat().st_uid != USER_ID:
            quoted = shlex.quote(str(state))
            remedy = f"find {quoted} -exec chown {USER_ID}:{USER_ID} {{}} \\;"
            self._refuse(state, NOTHING, remedy)

    def _look_below(self, folder: Path) -> None:
        """Tell of the one folder in *folder* that is closed, or of all in one row."""
        inside = self._look_into(folder)
        if len(inside.closed) == 1 and not inside.has_closed_files:
            (folder,) = inside.closed
            self._refuse(folder, NOTHING, _opened(folder, READ))
        elif inside.closed or inside.has_closed_files:
            self._refuse(folder, SOME, _opened(folder, READ))

    def _look_into(self, folder: Path) -> _Inside:
        inside = _Inside()
        try:
            for entry in self._entries(folder):
                info, path = entry.stat(follow_symlinks=False), Path(entry.path)
                if stat.S_ISREG(info.st_mode):
                    inside.has_closed_files |= not _allows(info, READ_FILE)
                elif stat.S_ISDIR(info.st_mode) and path not in self._written:
                    is_open = _allows(info, READ)
                    (inside.folders if is_open else inside.closed).append(path)
        except OSError as error:  # root may read everything: the disk is failing
            self._refuse(folder, NOTHING, say("check the disk: {}", error.strerror))
        return inside

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            for entry in islice(entries, FOLDER_MAX):
                if self._left == 0 or self._clock() >= self._ends_at:
                    self._found.is_whole = False
                    return
                self._left -= 1
                if entry.name not in PASSED_OVER:
                    yield entry

    def _refuse(self, folder: Path, allowed: str, remedy: str) -> None:
        self._found.refusals.append(Refusal(folder, allowed, remedy))


def _opened(folder: Path, needed: int) -> str:
    """Return what lets the service at a folder and all that is in it."""
    bits, quoted = "rwX" if needed == WRITE else "rX", shlex.quote(str(folder))
    return f"chgrp -R {USER_ID} {quoted}; chmod -R g+{bits} {quoted}"


def _opened_files(folder: Path) -> str:
    """Return what lets the service read the files of a folder, and nothing below."""
    each = f"-exec chgrp {USER_ID} {{}} \\; -exec chmod g+r {{}} \\;"
    return f"find {shlex.quote(str(folder))} -maxdepth 1 -type f {each}"


def _allowed(folder: Path) -> str:
    return ALLOWED_TO_READ if _allows(folder.stat(), READ) else NOTHING


def _allows(info: os.stat_result, wanted: int) -> bool:
    """Whether the service's user may do *wanted*, in the bits of an owner."""
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


def table(found: Survey) -> list[str]:
    """Return the lines of a table, for a person; none if there is nothing to say."""
    lines = _rows(found.refusals) if found.refusals else []
    if not found.is_whole:
        lines.append(
            say(
                "Not all of the disk was looked at; `fonshare doctor` counts what the"
                " agent cannot read of a share."
            )
        )
    return lines


def _rows(refusals: list[Refusal]) -> list[str]:
    shown = [
        (visible(str(one.folder)), say(one.allowed), visible(one.remedy))
        for one in refusals[:ROWS_MAX]
    ]
    rows = [(say("FOLDER"), say("MAY"), say("TO CHANGE THAT")), *shown]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{row[0]:{first}}  {row[1]:{second}}  {row[2]}" for row in rows]
    if len(refusals) > len(shown):
        lines.append(say("… and {} more", len(refusals) - len(shown)))
    return lines
