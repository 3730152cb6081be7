"""The attached disk: is it there, is it the right one, and safe opening below it.

Owns the marker `DISK/.fonshare/disk-id` and its twin, the id this node remembers in
its keys folder (there and not in STATE, because on the router STATE lies on the disk
itself and would vanish with it). Rules kept:

- The marker is made only while this node remembers no disk; later its absence means
  that the disk is missing, never that the mount point is a new, empty disk.
- A pulled disk keeps looking mounted and writable for seconds (stat, listing and
  writes go on succeeding from the cache); the kernel's device list does not lie, so
  `check` looks there too.
- Nothing here follows a symbolic link below the root it is given.

Nothing is held open between calls: a held descriptor would keep a pulled disk from
being unmounted. Every function may block on the disk: never call from the core thread.
Must not know of shares, groups or settings.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fonshare_agent.disk_marker import ID_BYTES, MarkerSeen, parse_id
from fonshare_agent.errors import (
    BadPath,
    DiskMissing,
    DiskReadOnly,
    DiskWrong,
    StorageError,
)
from fonshare_agent.model import PRIVATE_FOLDER, SharePath, base32, printable
from fonshare_agent.mounts import find_mount, holds_system, refuses_names
from fonshare_agent.room_watch import LeastRoom

MARKER = b"disk-id"
MARKER_BYTES_MAX = 64  # the id in base32 and a newline are 27

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO in a share must not hold up its opener, nor a terminal become ours.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """What the file system says about its room, in bytes."""

    total_bytes: int
    free_bytes: int


class Disk:
    """The one disk of this node. Stateless but for the device seen at `open`.

    *id_file* remembers the id outside the disk (KEYS/disk-id); *draw* gives random
    bytes. With *needs_mount* (on the router) the first start waits until something is
    mounted at *path*, since it might come before the mount. Methods may run on any
    thread that may block.
    """

    def __init__(
        self,
        path: Path,
        id_file: Path,
        draw: Callable[[int], bytes],
        *,
        needs_mount: bool = False,
        devices: Path = Path("/sys/dev/block"),
    ) -> None:
        self.path = path
        self._id_file = id_file
        self._draw = draw
        self._needs_mount, self._devices = needs_mount, devices
        self._least_room = LeastRoom()
        self._device: int | None = None
        self._id: str | None = None  # as `open` found it
        self._node = ""  # what the kernel lists its device as, if it does
        self._seen = MarkerSeen(path / os.fsdecode(PRIVATE_FOLDER + b"/" + MARKER))
        self.refuses_names = False

    @property
    def known_id(self) -> str | None:
        """The id of the disk this node belongs to; None before the first start."""
        try:
            raw = self._id_file.read_bytes()
        except FileNotFoundError:
            return None
        return parse_id(raw, str(self._id_file))

    def open(self) -> str:
        """Look at the disk anew, making its marker on the very first start.

        Returns the disk's id. Raises DiskMissing or DiskWrong; the caller then closes
        whatever it holds below the disk and calls again later.
        """
        root = self._open_folder()
        try:
            known, found = self.known_id, self._read_marker(root)
            if known is None:
                found = found or self._make_marker(root)
                self._remember(found)
            elif found is None:
                raise self._missing("its marker file is not there")
            elif found != known:
                raise self._wrong()
            device = os.fstat(root).st_dev
        finally:
            os.close(root)
        node = self._devices / f"{os.major(device)}:{os.minor(device)}"
        self._node = str(node) if node.exists() else ""
        self._device, self._id = device, found
        self.refuses_names = refuses_names(device)
        return found

    def check(self) -> None:
        """Raise DiskMissing or DiskWrong unless the disk of `open` is still there.

        Two system calls while nothing has changed: cheap enough before each write.
        """
        if self._device is None:
            raise self._missing("it has not been opened")
        # First, since with a pulled disk any call into its file system may hang.
        if self._node and not os.path.exists(self._node):
            raise self._missing("the kernel no longer lists its device")
        if self._seen.still_says(self._id, self._device):
            return
        root = self._open_folder()
        try:
            device, found = os.fstat(root).st_dev, self._read_marker(root)
        finally:
            os.close(root)
        if found is None:
            raise self._missing("its marker file is not there")
        if found != self._id:
            raise self._wrong()
        if device != self._device:  # `check_again` finds out what
            raise self._missing("something else is mounted in its place")

    def check_again(self) -> bool:
        """As `check`, but a disk that was away may have come back as another device.

        True if it did: who holds something below it looks there anew.
        """
        try:
            self.check()
        except DiskMissing:
            if self._id is None:
                raise
            self.open()
            return True
        return False

    def check_writable(self) -> None:
        """As `check`; also raise DiskReadOnly when the file system takes no writes."""
        self.check()
        device = self._device
        is_sealed = bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)
        if is_sealed or (device is not None and _is_shut_down(device)):
            raise DiskReadOnly(
                f"disk {self.path} can only be read", thing=str(self.path)
            )

    def adopt(self) -> str:
        """Take whatever disk is there now as this node's, and return its id."""
        root = self._open_folder()
        try:
            try:
                found = self._read_marker(root)
            except DiskWrong:  # a damaged marker: the owner has just vouched for it
                found = None
            found = found or self._make_marker(root)
        finally:
            os.close(root)
        self._remember(found)
        return self.open()

    def space(self) -> DiskSpace:
        """Return the disk's size and free room (what a user may fill)."""
        try:
            figures = os.statvfs(self.path)
        except OSError as error:
            raise self._missing(error.strerror or "it does not answer") from None
        unit = figures.f_frsize
        free_bytes = figures.f_bavail * unit
        self._least_room.note(free_bytes)
        return DiskSpace(figures.f_blocks * unit, free_bytes)

    def room_seen(self) -> tuple[int, int]:
        """Return the least free bytes that `space` has found since the last call, for
        whomever, and those of now."""
        now = self.space().free_bytes
        return self._least_room.take(now), now

    def open_root(self) -> int:
        """Check the disk and return a descriptor of its top folder; close it soon."""
        self.check()
        root = self._open_folder()
        if os.fstat(root).st_dev != self._device:
            os.close(root)
            raise self._missing("something else is mounted in its place")
        return root

    def _open_folder(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._missing(error.strerror or "it cannot be opened") from None

    def _read_marker(self, root: int) -> str | None:
        path = private_path(MARKER)
        try:
            marker = open_below(root, path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except (OSError, BadPath) as error:
            raise self._missing(f"its marker cannot be read ({error})") from None
        try:
            status, raw = os.fstat(marker), os.read(marker, MARKER_BYTES_MAX)
        except OSError as error:
            raise self._missing(f"its marker cannot be read ({error})") from None
        finally:
            os.close(marker)
        try:
            disk_id = parse_id(raw, str(self.path))
        except StorageError as error:
            raise DiskWrong(str(error), thing=str(self.path)) from None
        self._seen.note(status, disk_id)
        return disk_id

    def _make_marker(self, root: int) -> str:
        if self._needs_mount:
            self._check_mounted(os.fstat(root).st_dev)
        disk_id = base32(self._draw(ID_BYTES))
        try:
            folder = _enter_or_make(root, PRIVATE_FOLDER, 0o700)
            try:
                write_durably(folder, MARKER, disk_id.encode() + b"\n", 0o644)
            finally:
                os.close(folder)
            os.fsync(root)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DiskReadOnly(
                f"disk {self.path} takes no marker file: {reason}",
                thing=str(self.path),
            ) from None
        return disk_id

    def _check_mounted(self, device: int) -> None:
        # An empty mount point lies on /, also when / is an overlay.
        if device == os.stat("/").st_dev:
            raise self._missing("nothing is mounted there")
        if holds_system(device):
            raise self._missing("the router itself runs from what is mounted there")

    def _remember(self, disk_id: str) -> None:
        # After the marker: a crash in between leaves a marked disk nobody knows,
        # which the next start takes; the other order would lose the disk.
        self._id_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._id_file.parent, os.O_RDONLY | _FOLDER)
        try:
            name = os.fsencode(self._id_file.name)
            write_durably(folder, name, disk_id.encode() + b"\n", 0o600)
        finally:
            os.close(folder)

    def _missing(self, why: str) -> DiskMissing:
        return DiskMissing(f"disk {self.path}: {why}", thing=str(self.path))

    def _wrong(self) -> DiskWrong:
        return DiskWrong(
            f"disk {self.path} is not this node's disk", thing=str(self.path)
        )


def _is_shut_down(device: int) -> bool:
    """Tell whether the kernel refuses writes since it found the file system damaged.

    Linux 6.15 and later do so without calling it read-only in statvfs(2).
    """
    line = find_mount(device)
    options = line.split()[-1].split(",") if line else ()
    return "emergency_ro" in options or "shutdown" in options


def private_path(name: bytes) -> SharePath:
    """Return the path of a file of ours, which `SharePath.parse` refuses to name."""
    return SharePath((PRIVATE_FOLDER, name))


def open_below(root_fd: int, path: SharePath, flags: int, mode: int = 0o666) -> int:
    """Open *path* below the folder *root_fd*, following no symbolic link at all.

    Component by component, so a folder swapped for a link between two calls is
    refused as well. Raises BadPath for a link or anything but a file or a folder;
    FileNotFoundError and other OSErrors as the system gives them. The descriptor is
    the caller's to close.
    """
    folder = _enter(root_fd, path)
    try:
        opened = _open_at(folder, path.name, flags | _FILE, mode, path)
    finally:
        os.close(folder)
    kind = os.fstat(opened).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        os.close(opened)
        raise BadPath(f"{path} is neither a file nor a folder", thing=str(path))
    return opened


def make_folders_below(root_fd: int, path: SharePath | None, mode: int = 0o777) -> int:
    """Return a descriptor of the folder *path* below *root_fd*, making what lacks.

    None means the root itself. What is made is durable before the call returns.
    """
    folder = os.dup(root_fd)
    try:
        for part in path.parts if path else ():
            deeper = _enter_or_make(folder, part, mode)
            os.close(folder)
            folder = deeper
    except BaseException:
        os.close(folder)
        raise
    return folder


def write_durably(folder_fd: int, name: bytes, data: bytes, mode: int) -> None:
    """Put *data* under *name*, whole or not at all, also through a power cut."""
    temporary = name + b".new"
    # A crash's leftover may have another mode, and FAT refuses fchmod: start anew.
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder_fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(temporary, flags, mode, dir_fd=folder_fd)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(opened, view) :]
        os.fsync(opened)
    finally:
        os.close(opened)
    os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    os.fsync(folder_fd)


def _enter(root_fd: int, path: SharePath) -> int:
    folder = os.dup(root_fd)
    for part in path.parts[:-1]:
        try:
            # O_PATH: a folder may be entered though it must not be listed.
            deeper = _open_at(folder, part, os.O_PATH | _FOLDER, 0, path)
        finally:
            os.close(folder)
        folder = deeper
    return folder


def _enter_or_make(folder: int, part: bytes, mode: int) -> int:
    where = SharePath((part,))
    flags = os.O_RDONLY | _FOLDER
    try:
        return _open_at(folder, part, flags, 0, where)
    except FileNotFoundError:
        pass
    with suppress(FileExistsError):  # somebody else made it meanwhile
        os.mkdir(part, mode, dir_fd=folder)
    os.fsync(folder)
    return _open_at(folder, part, flags, 0, where)


def _open_at(folder: int, part: bytes, flags: int, mode: int, path: SharePath) -> int:
    try:
        return os.open(part, flags, mode, dir_fd=folder)
    except OSError as error:
        # A link gives ELOOP, or ENOTDIR where a folder was asked for.
        if error.errno == errno.ELOOP or (
            error.errno == errno.ENOTDIR and _is_link(folder, part)
        ):
            raise BadPath(
                f"{path}: {printable(part)!r} is a symbolic link", thing=str(path)
            ) from None
        raise


def _is_link(folder: int, part: bytes) -> bool:
    try:
        found = os.stat(part, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISLNK(found.st_mode)
