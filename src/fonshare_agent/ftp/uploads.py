"""The owner's uploads: written aside, moved into place when they are whole.

An upload lives in `.fonshare/upload/` under a name made from its target's path, so that
an interrupted one is found again, by another session or after a restart, and continued
by REST + STOR or APPE. There is at most one upload for a target at a time; one that
was cut off is still being synced when its client calls again, which then waits. An
older file under the target's name stays untouched until the new one replaces it in one
step.

Workers only.
"""

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fonshare_agent.errors import AlreadyExists, BadPath, FileBusy, UsageError
from fonshare_agent.ftp.filesystem import (
    FOLDER_FLAGS,
    DiskFiles,
    OnChange,
    Parts,
    View,
    open_regular,
)
from fonshare_agent.model import PRIVATE_FOLDER, printable
from fonshare_agent.mounts import refuses_names
from fonshare_agent.storable import storable_name

UPLOAD_FOLDER = b"upload"
COPY_BYTES = 1 << 20
APPEND = -1  # an offset: behind what is there
ENDING_WAIT_S = 10.0  # for the sync of an upload that has just ended: a slow USB disk
CLASH_WAIT_S = 0.5  # for one of which we have not heard yet that it has ended


class Upload:
    """One running upload: `fd` is written from `offset` on."""

    def __init__(self, store: "UploadStore", view: View, target: Parts) -> None:
        self._store, self._view, self._target = store, view, target
        self.fd, self.offset = -1, 0

    def sync(self) -> None:
        """Make what was written durable; no more bytes come."""
        self._store.note_ending(self._target)
        os.fsync(self.fd)

    def commit(self) -> None:
        """Move the whole file into place; call `sync` before."""
        try:
            self._store.move_into_place(self._view, self._target)
        finally:
            self._release()

    def keep(self) -> None:
        """Keep the interrupted upload for a resume; an empty one is dropped."""
        self._store.note_ending(self._target)
        try:
            os.fsync(self.fd)
            if os.fstat(self.fd).st_size == 0:
                self._store.forget(self._target)
        finally:
            self._release()

    def _release(self) -> None:
        os.close(self.fd)
        self._store.release(self._target)


class UploadStore:
    """All uploads of one disk."""

    def __init__(self, files: DiskFiles, on_change: OnChange) -> None:
        self._files, self._on_change = files, on_change
        self._changed = threading.Condition()  # guards the two below
        self._active: set[Parts] = set()
        self._ending: set[Parts] = set()  # of those, the ones being put away

    def begin(self, view: View, target: Parts, offset: int) -> Upload:
        """Start an upload to *target*, or continue it at *offset* (or APPEND)."""
        with self._changed:
            self._changed.wait_for(
                lambda: target not in self._active - self._ending, CLASH_WAIT_S
            )
            self._await_end(target)
            if target in self._active:
                raise FileBusy(f"{printable(target[-1])!r} is being uploaded already")
            self._active.add(target)
        try:
            upload = Upload(self, view, target)
            self._open(upload, view, target, offset)
        except BaseException:
            self.release(target)
            raise
        return upload

    def note_ending(self, target: Parts) -> None:
        """The upload to *target* takes no more bytes; `release` follows."""
        with self._changed:
            self._ending.add(target)
            self._changed.notify_all()

    def release(self, target: Parts) -> None:
        with self._changed:
            self._active.discard(target)
            self._ending.discard(target)
            self._changed.notify_all()

    def interrupted_size(self, target: Parts) -> int | None:
        """Return how much of an interrupted upload is here, or None."""
        with self._changed:
            self._await_end(target)
            if target in self._active:
                return None
        try:
            with self._folder(create=False) as folder:
                return os.stat(_key(target), dir_fd=folder).st_size
        except FileNotFoundError:
            return None

    def forget(self, target: Parts) -> bool:
        """Drop an interrupted upload; tell whether there was one."""
        try:
            with self._folder(create=False) as folder:
                os.unlink(_key(target), dir_fd=folder)
        except FileNotFoundError:
            return False
        return True

    def purge(self, older_than_s: float) -> int:
        """Drop interrupted uploads not touched for so long; return how many."""
        purged, limit = 0, time.time() - older_than_s
        with suppress(FileNotFoundError), self._folder(create=False) as folder:
            with self._changed:
                active = {_key(target) for target in self._active}
            for name in _names(folder):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if status.st_mtime < limit and name not in active:
                    os.unlink(name, dir_fd=folder)
                    purged += 1
        return purged

    def move_into_place(self, view: View, target: Parts) -> None:
        with (
            self._files.parent(view, target) as (parent, name),
            self._folder(create=False) as folder,
        ):
            _demand_file_or_nothing(parent, name)
            os.rename(_key(target), name, src_dir_fd=folder, dst_dir_fd=parent)
            _sync_folder(parent)
        self._on_change(b"/".join(target), "stored")

    def _await_end(self, target: Parts) -> None:
        """Wait for an upload that is being put away; the lock is held."""
        self._changed.wait_for(lambda: target not in self._ending, ENDING_WAIT_S)

    # --- opening

    def _open(self, upload: Upload, view: View, target: Parts, offset: int) -> None:
        with (
            self._files.parent(view, target) as (parent, name),
            self._folder(create=True) as folder,
        ):
            _demand_file_or_nothing(parent, name)
            if os.fstat(parent).st_dev != os.fstat(folder).st_dev:
                raise BadPath("this folder is on another file system than the disk")
            # Now, and not when all of it has come.
            if refuses_names(os.fstat(parent).st_dev) and storable_name(name) != name:
                raise BadPath(f"the disk's file system takes no {printable(name)!r}")
            if offset == 0:
                upload.fd = _open_partial(folder, target, os.O_TRUNC)
                return
            upload.fd = _open_partial(folder, target, 0)
            try:
                upload.offset = self._resume(upload.fd, parent, name, offset)
            except BaseException:
                _drop_if_empty(upload.fd, folder, target)
                os.close(upload.fd)
                raise

    def _resume(self, fd: int, parent: int, name: bytes, offset: int) -> int:
        here = os.fstat(fd).st_size
        if here == 0:  # no interrupted upload: a whole file is changed
            here = _copy_present(fd, parent, name, None if offset == APPEND else offset)
        if offset == APPEND:
            return here
        if offset > here:
            raise UsageError(f"REST {offset} is beyond the {here} bytes that are here")
        os.ftruncate(fd, offset)
        return offset

    @contextmanager
    def _folder(self, create: bool) -> Iterator[int]:
        with self._files.opened() as root:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(PRIVATE_FOLDER, 0o700, dir_fd=root)
            private = os.open(PRIVATE_FOLDER, FOLDER_FLAGS, dir_fd=root)
            try:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(UPLOAD_FOLDER, 0o700, dir_fd=private)
                folder = os.open(UPLOAD_FOLDER, FOLDER_FLAGS, dir_fd=private)
            finally:
                os.close(private)
            try:
                yield folder
            finally:
                os.close(folder)


def _key(target: Parts) -> bytes:
    return hashlib.sha256(b"/".join(target)).hexdigest()[:40].encode()


def _open_partial(folder: int, target: Parts, flags: int) -> int:
    flags |= os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(_key(target), flags, 0o666, dir_fd=folder)


def _drop_if_empty(fd: int, folder: int, target: Parts) -> None:
    if os.fstat(fd).st_size == 0:
        os.unlink(_key(target), dir_fd=folder)


def _demand_file_or_nothing(parent: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise AlreadyExists(f"{printable(name)!r} exists and is not a file")


def _copy_present(fd: int, parent: int, name: bytes, length: int | None) -> int:
    """Copy the first *length* bytes (or all) of the present file into the partial."""
    try:
        source = open_regular(parent, name, (name,))
    except FileNotFoundError:
        return 0
    try:
        size = os.fstat(source).st_size
        if length is not None and length > size:
            return size  # the caller refuses
        left = size if length is None else length
        while left:
            count = _copy_some(source, fd, min(left, COPY_BYTES))
            if count == 0:
                break
            left -= count
        return os.fstat(fd).st_size
    finally:
        os.close(source)


def _copy_some(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in (
            errno.EXDEV,
            errno.EINVAL,
            errno.ENOSYS,
            errno.EOPNOTSUPP,
        ):
            raise
    return os.write(target, os.read(source, count))


@contextmanager
def _really_open(folder: int) -> Iterator[int]:
    """Yield a descriptor that can do more than O_PATH ones."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


def _names(folder: int) -> list[bytes]:
    with _really_open(folder) as fd:
        return [os.fsencode(name) for name in os.listdir(fd)]


def _sync_folder(folder: int) -> None:
    with _really_open(folder) as fd:
        os.fsync(fd)
