"""Where a mirror lies on the disk: its folder, and the folder of its partials.

Owns every look at, and change of, what lies there. Follows no symbolic link, opens
nothing for longer than a call, and writes over nothing but what the mirror itself has
laid. OSErrors become the disk's errors; what concerns one file alone is OfOneFile's.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fonshare_agent.disk import Disk, make_folders_below, open_below
from fonshare_agent.errors import AlreadyExists, BadPath
from fonshare_agent.mirror.decide import Local
from fonshare_agent.model import PRIVATE_FOLDER, SharePath
from fonshare_agent.transfer.disk_errors import translated
from fonshare_agent.transfer.placing import (
    NameTaken,
    Spot,
    is_bad_name,
    move_without_overwriting,
)

LEFT_ALONE: Final = "It is left alone: move it away to get the server's."
_MIRRORS: Final = b"mirrors"  # in DISK/.fonshare
_NAME_DIGITS: Final = 32
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Place:
    """The two folders of one mirror. *key* names that of its partials."""

    disk: Disk
    folder: SharePath
    key: bytes

    @contextmanager
    def open_folder(self) -> Iterator[int]:
        """Give a descriptor of the mirror's folder, making it if it lacks."""
        with self._open(self.folder, 0o777) as folder:
            yield folder

    @contextmanager
    def open_partials(self) -> Iterator[int]:
        """Give a descriptor of the folder of its partials."""
        path = SharePath((PRIVATE_FOLDER, _MIRRORS, self.key))
        with self._open(path, 0o700) as folder:
            yield folder

    @contextmanager
    def _open(self, path: SharePath, mode: int) -> Iterator[int]:
        with (
            _closing(self.disk.open_root()) as root,
            translated(self.disk),
            _closing(make_folders_below(root, path, mode)) as folder,
        ):
            yield folder

    # --- files that have their name ------------------------------------------------

    def look_at(self, path: SharePath) -> Local | None:
        """Return the file at *path*; None if nothing is there. AlreadyExists: it is
        none."""
        with self.open_folder() as folder:
            try:
                opened = open_below(folder, path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            except NotADirectoryError:
                raise _taken("a file lies where its folder would be", path) from None
            except BadPath as error:
                raise _taken(str(error), path) from None
            except OSError as error:
                _demand_name(error, path)
                raise
            with _closing(opened):
                found = os.fstat(opened)
        if stat.S_ISDIR(found.st_mode):
            raise _taken("a folder of that name lies there", path)
        return Local(found.st_size, found.st_mtime_ns)

    def look_into(self, folder: SharePath | None) -> dict[bytes, Local]:
        """Return the files that lie in *folder*, by name. None: the mirror's own.

        One call for each, and none is opened: most are as they were.
        """
        parts = folder.parts if folder is not None else ()
        with self.open_folder() as top:
            try:
                opened = _enter(top, parts)
            except FileNotFoundError:
                return {}
            except (NotADirectoryError, BadPath):
                return {}  # `look_at` says of each file what is in its way
            with _closing(opened), os.scandir(opened) as rows:
                found = [
                    (os.fsencode(row.name), row.stat(follow_symlinks=False))
                    for row in rows
                ]
        return {
            name: Local(one.st_size, one.st_mtime_ns)
            for name, one in found
            if stat.S_ISREG(one.st_mode)
        }

    def read_end(self, path: SharePath, start: int, count: int) -> bytes:
        """Return *count* bytes of a file from *start* on."""
        with (
            self.open_folder() as folder,
            _closing(open_below(folder, path, os.O_RDONLY)) as opened,
        ):
            return os.pread(opened, count, start)

    def remove(self, path: SharePath) -> None:
        """Delete a file, and then the folders that are empty."""
        with self.open_folder() as top:
            for depth in range(len(path.parts), 0, -1):
                name = path.parts[depth - 1]
                with _closing(_enter(top, path.parts[: depth - 1])) as folder:
                    if depth == len(path.parts):
                        _unlink_if_there(name, folder)
                    elif not _remove_if_empty(name, folder):
                        return

    # --- partials ------------------------------------------------------------------

    def open_partial(self, path: SharePath) -> int:
        """Return a descriptor of the partial of *path*; the caller closes it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with self.open_partials() as folder:
            return os.open(_partial_name(path.raw), flags, 0o666, dir_fd=folder)

    def drop_partials(self, paths: Iterable[bytes]) -> None:
        with self.open_partials() as folder:
            for path in paths:
                _unlink_if_there(_partial_name(path), folder)

    def give_name(self, path: SharePath, instead: Local | None) -> None:
        """Move the complete partial to *path*, durably.

        *instead*: what the mirror has laid there itself, to be replaced. AlreadyExists
        if anything else is there.
        """
        above = SharePath(path.parts[:-1]) if len(path.parts) > 1 else None
        with self.open_partials() as partials, self.open_folder() as top:
            source = Spot(partials, _partial_name(path.raw))
            try:
                folder = make_folders_below(top, above)
            except (NotADirectoryError, BadPath):
                raise _taken("a file lies where its folder would be", path) from None
            except OSError as error:
                _demand_name(error, path)
                raise
            with _closing(folder):
                try:
                    self._move(source, Spot(folder, path.name), path, instead)
                except OSError as error:
                    _demand_name(error, path)
                    raise
                os.fsync(folder)

    def _move(
        self, source: Spot, target: Spot, path: SharePath, instead: Local | None
    ) -> None:
        if instead is not None and self.look_at(path) == instead:
            os.rename(
                source.name,
                target.name,
                src_dir_fd=source.folder,
                dst_dir_fd=target.folder,
            )
            return
        try:
            # A placeholder that a power cut leaves behind is empty, and not ours: it
            # is told of, never written over.
            move_without_overwriting(source, target, lambda: None)
        except NameTaken:
            raise _taken("something else of that name has come there", path) from None


def _taken(why: str, path: SharePath) -> AlreadyExists:
    return AlreadyExists(why, thing=str(path), next=LEFT_ALONE)


def _demand_name(error: OSError, path: SharePath) -> None:
    """Raise BadPath if the file system has no such names."""
    if is_bad_name(error) or error.errno == errno.ENAMETOOLONG:
        raise BadPath("the disk cannot store such a name", thing=str(path)) from None


def _partial_name(path: bytes) -> bytes:
    return sha256(path).hexdigest()[:_NAME_DIGITS].encode()


def _enter(top: int, parts: tuple[bytes, ...]) -> int:
    return open_below(top, SharePath(parts), _FOLDER) if parts else os.dup(top)


def _remove_if_empty(name: bytes, folder: int) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _unlink_if_there(name: bytes, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
