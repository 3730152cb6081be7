"""The disk as a login sees it. Everything here may block: workers only.

A path from a client becomes a tuple of raw components by `resolve`, and only
`SharePath.parse` decides whether such components may name something. Each operation
opens the disk, asks `check` whether it is the right one, and walks down from it
component by component without ever following a symbolic link, so that no name leads off
the disk, nor into FonShare's own folder, whatever it is called (own_folder.py).

Must not know: sockets, replies, sessions.
"""

import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fonshare_agent.errors import BadPath, DiskMissing, NotAllowed, NotFound
from fonshare_agent.model import PRIVATE_FOLDER, SharePath, printable
from fonshare_agent.mounts import refuses_names
from fonshare_agent.own_folder import is_private

Parts = tuple[bytes, ...]
ChangeKind = str  # "stored", "made", "deleted", "moved_from", "moved_to", "touched"
OnChange = Callable[[bytes, ChangeKind], None]

FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must fail by our check, not wait for its other end.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LF, CR = b"\n\r"
PRIVATE_LENGTH = len(PRIVATE_FOLDER)
# As os.fsencode does, which takes three times as long.
FILE_NAMES = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def resolve(cwd: Parts, text: str) -> Parts:
    """Return the components that *text*, seen from *cwd*, names; () is the top.

    `..` is taken lexically and stops at the top. Raises BadPath.
    """
    raw = text.encode("utf-8", "surrogateescape")
    parts = [] if raw.startswith(b"/") else list(cwd)
    for part in raw.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    if not parts:
        return ()
    if any(b"\n" in part or b"\r" in part for part in parts):
        raise BadPath("a name with a line break cannot be used over FTP")
    return SharePath.parse(b"/".join(parts)).parts


def path_text(parts: Parts) -> str:
    """Return the path as clients write it; `resolve` takes it back."""
    return "/" + b"/".join(parts).decode("utf-8", "surrogateescape")


def is_listable(name: bytes) -> bool:
    """Tell whether a listing can show *name* (one line each, and not ours)."""
    # By number: `b"\n" in name` takes ten times as long.
    return LF not in name and CR not in name and name.lower() != PRIVATE_FOLDER


@dataclass(frozen=True, slots=True)
class View:
    """What one login may see: the whole disk, or some folders and the way to them."""

    folders: tuple[Parts, ...] | None  # None: everything
    can_write: bool

    def shows(self, parts: Parts) -> bool:
        """Tell whether the path exists at all for this login."""
        if self.folders is None or not parts:
            return True
        return any(
            parts[: len(folder)] == folder or folder[: len(parts)] == parts
            for folder in self.folders
        )

    def is_inside(self, parts: Parts) -> bool:
        """Tell whether a folder's files are shown, not just the way through it."""
        return self.folders is None or any(
            parts[: len(folder)] == folder for folder in self.folders
        )


class DiskFiles:
    """The disk below *root*; `check` raises DiskMissing if it is not the right one."""

    def __init__(self, root: Path, check: Callable[[], None]) -> None:
        self._root, self._check = root, check

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Yield the disk's top folder, certain to be the disk's."""
        try:
            fd = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise DiskMissing("the disk is not there") from None
        try:
            self._check()
            # What was opened before the check might be the empty mount point.
            if not os.path.samestat(os.fstat(fd), os.stat(self._root)):
                raise DiskMissing("the disk was mounted just now")
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def folder(self, view: View, parts: Parts) -> Iterator[int]:
        """Yield an O_PATH descriptor of the folder *parts*."""
        _demand_visible(view, parts)
        with self.opened() as root:
            fd = walk(root, parts)
            try:
                yield fd
            finally:
                os.close(fd)

    @contextmanager
    def parent(self, view: View, parts: Parts) -> Iterator[tuple[int, bytes]]:
        """Yield the folder that holds *parts*, and the last component."""
        if not parts:
            raise BadPath("the top folder cannot be changed")
        _demand_visible(view, parts)
        with self.opened() as root:
            fd = walk(root, parts[:-1])
            try:
                if is_private(root, fd, parts[-1]):
                    raise _not_found(parts)
                yield fd, parts[-1]
            finally:
                os.close(fd)

    # --- reading

    def stat(self, view: View, parts: Parts) -> os.stat_result:
        """Return the status of a file or folder; links and devices are not there."""
        if not parts:
            with self.folder(view, parts) as fd:
                return os.fstat(fd)
        with self.parent(view, parts) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            _demand_plain(status, parts)
            if stat.S_ISREG(status.st_mode) and not view.is_inside(parts[:-1]):
                raise _not_found(parts)
            return status

    def open_file(self, view: View, parts: Parts) -> int:
        """Return a descriptor for reading the regular file *parts*."""
        with self.parent(view, parts) as (folder, name):
            if not view.is_inside(parts[:-1]):
                raise _not_found(parts)
            return open_regular(folder, name, parts)

    def demand_folder(self, view: View, parts: Parts) -> None:
        """Raise unless *parts* is a folder."""
        with self.folder(view, parts):
            pass

    def entries(
        self, view: View, parts: Parts
    ) -> Generator[tuple[bytes, os.stat_result], None, None]:
        """Yield what is in a folder, one by one, in the disk's order.

        The folder is opened by the call that asks for the first entry, and closed when
        the generator is closed or used up. Links are shown to the owner only.
        """
        with self.folder(view, parts) as folder:
            fd = os.open(
                ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder
            )
        try:
            is_inside, shows_all = view.is_inside(parts), view.folders is None
            shown: dict[int, bool] = {}  # by mode; there are few
            with os.scandir(fd) as found:
                for entry in found:  # maybe thousands of times
                    text = entry.name
                    name = text.encode(*FILE_NAMES)
                    # The first two rule out nearly all that cannot be listed.
                    if not (
                        (text.isprintable() and len(name) != PRIVATE_LENGTH)
                        or is_listable(name)
                    ):
                        continue
                    if not (shows_all or view.shows((*parts, name))):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    mode = status.st_mode
                    if mode not in shown:
                        shown[mode] = _is_shown(status, view, is_inside)
                    if shown[mode]:
                        yield name, status
        finally:
            os.close(fd)

    # --- the owner's changes; each raises before anything is done

    def make_folder(self, view: View, parts: Parts) -> None:
        with self._writable(view, parts) as (folder, name):
            os.mkdir(name, dir_fd=folder)

    def remove_folder(self, view: View, parts: Parts) -> None:
        with self._writable(view, parts) as (folder, name):
            os.rmdir(name, dir_fd=folder)

    def remove_file(self, view: View, parts: Parts) -> None:
        """Remove a file, or a link itself."""
        with self._writable(view, parts) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def rename(self, view: View, old: Parts, new: Parts) -> None:
        """Move a file or folder; a file in its place is replaced at once."""
        if new[: len(old)] == old != new:
            raise BadPath("a folder cannot go into itself")
        with (
            self._writable(view, old) as (old_folder, old_name),
            self._writable(view, new) as (new_folder, new_name),
        ):
            _demand_other(old_folder, old_name, new_folder, new_name)
            os.rename(old_name, new_name, src_dir_fd=old_folder, dst_dir_fd=new_folder)

    def set_modified(self, view: View, parts: Parts, modified: int) -> None:
        _demand_write(view)
        fd = self.open_file(view, parts)
        try:
            os.utime(fd, (modified, modified))
        finally:
            os.close(fd)

    @contextmanager
    def _writable(self, view: View, parts: Parts) -> Iterator[tuple[int, bytes]]:
        _demand_write(view)
        with self.parent(view, parts) as found:
            yield found


def walk(root: int, parts: Parts) -> int:
    """Return an O_PATH descriptor of the folder below *root*, following no link."""
    fd = os.dup(root)
    try:
        for part in parts:
            if is_private(root, fd, part):
                raise _not_found(parts)
            below = os.open(part, FOLDER_FLAGS, dir_fd=fd)
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_regular(folder: int, name: bytes, parts: Parts) -> int:
    """Open the file *name* for reading; BadPath if it is a link or no file."""
    fd = os.open(name, FILE_FLAGS, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadPath(f"{printable(parts[-1])!r} is not a file")
    return fd


def _demand_other(old_folder: int, old: bytes, new_folder: int, new: bytes) -> None:
    """Raise BadPath if the file system takes the two names for one, as FAT does."""
    try:
        before = os.stat(old, dir_fd=old_folder, follow_symlinks=False)
        after = os.stat(new, dir_fd=new_folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    is_same = old != new and os.path.samestat(before, after)
    # Else a rename would change nothing, and be called a success.
    if is_same and refuses_names(before.st_dev):
        both = f"{printable(old)!r} and {printable(new)!r}"
        raise BadPath(f"the disk takes {both} for the same name")


def _demand_visible(view: View, parts: Parts) -> None:
    if not view.shows(parts):
        raise _not_found(parts)


def _demand_write(view: View) -> None:
    if not view.can_write:
        raise NotAllowed("this login may only read")


def _demand_plain(status: os.stat_result, parts: Parts) -> None:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise BadPath(
            f"{printable(parts[-1])!r} is a link or a device; those are not followed"
        )


def _is_shown(status: os.stat_result, view: View, is_inside: bool) -> bool:
    if stat.S_ISREG(status.st_mode):
        return is_inside
    if stat.S_ISDIR(status.st_mode):
        return True
    return stat.S_ISLNK(status.st_mode) and view.can_write


def _not_found(parts: Parts) -> NotFound:
    return NotFound("no such file or folder", thing=printable(b"/".join(parts)))
