"""The small files of one job while they arrive together, and their common end.

Rules kept:

- A file counts only once its root was right, both as it came and when it was read back.
- One sync for all of them comes before the first gets its name, one sync of each folder
  before any is called placed: the promise of a single file, at the price of one
  (decision 0055).
- Nothing is on record meanwhile: what a crash leaves is deleted by the next `open`, and
  what had its name already is found there by its content.

One thread at a time; all may block on the disk. Must not know peers or job records.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

from fonshare_agent.disk import Disk
from fonshare_agent.errors import ContentChanged
from fonshare_agent.libc import INT, MissingCall, libc_call
from fonshare_agent.model import Root
from fonshare_agent.protocol.content import RootHasher
from fonshare_agent.transfer.blocks import READ_BYTES, Content
from fonshare_agent.transfer.disk_errors import demand_room, translated
from fonshare_agent.transfer.disk_guard import CHECK_BYTES
from fonshare_agent.transfer.finishing import folder_on_disk, take_name
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.partial_files import BATCH, PartialFiles
from fonshare_agent.transfer.placing import Spot

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class BatchFile:
    """One file as it was granted, and where it goes; *folder* is absolute."""

    number: int
    size: int
    root: Root
    modified: int
    folder: bytes
    name: bytes


class Batch:
    """See the module's text. Made by `open`."""

    def __init__(
        self, folder: PartialFiles, disk: Disk, job_id: str, files: Sequence[BatchFile]
    ) -> None:
        self._folder, self._disk, self._job = folder, disk, job_id
        self.files = files
        self._arrived: dict[int, Content] = {}  # by index in `files`
        self._unchecked_bytes = 0  # written since the disk was looked at
        self.wrong: set[int] = set()  # by number: came wrong, or was bad when read back

    @classmethod
    def open(cls, disk: Disk, job_id: str, files: Sequence[BatchFile]) -> Self:
        """Return an empty batch; DiskFull if the files have no room."""
        disk.check_writable()
        demand_room(disk, sum(file.size for file in files))
        with translated(disk):
            folder = PartialFiles(disk, job_id, BATCH)
            try:
                folder.wipe()
            except BaseException:
                folder.close()
                raise
        return cls(folder, disk, job_id, files)

    def remove(self) -> None:
        """Delete what was not placed, and let go of the disk."""
        try:
            with translated(self._disk):
                if not self._folder.is_closed:
                    self._folder.remove()
        finally:
            self._folder.close()

    def close(self) -> None:
        """Let go of the disk. A second call does nothing."""
        self._folder.close()

    @contextmanager
    def write_file(self, index: int) -> Iterator["FileWriter"]:
        """Take the bytes of `files[index]`; it has arrived if they were right."""
        file = self.files[index]
        self._unchecked_bytes += file.size
        if self._unchecked_bytes >= CHECK_BYTES:
            self._disk.check_writable()
            self._unchecked_bytes = 0
        with translated(self._disk):
            descriptor = os.open(_name(file), _NEW, 0o666, dir_fd=self._folder.folder)
        try:
            writer = FileWriter(self._disk, descriptor, file.size)
            yield writer
            content = writer.finish(file.root, file.modified)
        finally:
            os.close(descriptor)
        if content is not None:
            self._arrived[index] = content
        else:
            self.wrong.add(file.number)

    # --- the end --------------------------------------------------------------------

    def finish(self) -> dict[int, bytes]:
        """Place what has arrived; return by number the names that the files got."""
        if not self._arrived:
            return {}
        self._disk.check_writable()
        placed: dict[int, bytes] = {}
        with translated(self._disk):
            sync_file_system(self._folder.folder)
            sound = [one for one in self._arrived if self._is_sound(one)]
            sound.sort(key=lambda index: self.files[index].folder)
            for folder, group in groupby(sound, lambda one: self.files[one].folder):
                placed |= self._place_all(folder, list(group))
        return placed

    def _is_sound(self, index: int) -> bool:
        file = self.files[index]
        opened = os.open(_name(file), _OLD, dir_fd=self._folder.folder)
        try:
            # From the disk, not from memory: what was synced is what counts.
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            is_sound = _root_of(opened, file.size) == file.root
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(opened)
        if not is_sound:
            self.wrong.add(file.number)
        return is_sound

    def _place_all(self, folder: bytes, group: list[int]) -> dict[int, bytes]:
        placed, left = {}, []
        with folder_on_disk(self._disk, folder) as target:
            for index in group:
                file, content = self.files[index], self._arrived[index]
                source = Spot(self._folder.folder, _name(file))
                name = take_name(source, content, target, file.name)
                if name is None:
                    left.append(index)
                else:
                    placed[file.number] = name
            os.fsync(target)
        for index in left:
            placed[self.files[index].number] = self._place_by_partial(index)
        return placed

    def _place_by_partial(self, index: int) -> bytes:
        """On a file system without links a name is taken in steps that are recorded."""
        file, content = self.files[index], self._arrived[index]
        kept = Partial.open(self._disk, self._job, file.number, file.size, file.root)
        try:
            if not kept.has_hashes:
                step = content.hashes
                kept.set_hashes(step[at : at + 32] for at in range(0, len(step), 32))
            source = os.open(_name(file), _OLD, dir_fd=self._folder.folder)
            try:
                _copy(source, kept)
            finally:
                os.close(source)
            name = kept.finish(file.folder, file.name, file.modified)
            assert name is not None
            kept.remove()
            return name
        finally:
            kept.close()


class FileWriter:
    """Takes one file's bytes in order."""

    def __init__(self, disk: Disk, descriptor: int, size: int) -> None:
        self._disk, self._descriptor, self._size = disk, descriptor, size
        self._hasher, self._hashes = RootHasher(size), bytearray()

    def write(self, chunk: memoryview) -> None:
        for block_hash in self._hasher.update(chunk):
            self._hashes += block_hash
        with translated(self._disk):
            while chunk:
                chunk = chunk[os.write(self._descriptor, chunk) :]

    def finish(self, root: Root, modified: int) -> Content | None:
        """Return the content if all of it has come and has this root."""
        try:
            found = self._hasher.finish()
        except ContentChanged:
            return None
        if found != root:
            return None
        # A time that this file system or a 32-bit system cannot hold is left out.
        with suppress(OverflowError, OSError):
            os.utime(self._descriptor, (modified, modified))
        return Content(self._size, root, bytes(self._hashes))


def sync_file_system(descriptor: int) -> None:
    """Sync the whole file system that *descriptor* is open on; blocks."""
    try:
        call = libc_call("syncfs", INT)
    except MissingCall:
        os.sync()  # every disk's, and no error is told: reading back finds what is lost
    else:
        call(descriptor)


def _name(file: BatchFile) -> bytes:
    return b"%d" % file.number


def _root_of(descriptor: int, size: int) -> Root | None:
    hasher = RootHasher(size)
    try:
        while chunk := os.read(descriptor, READ_BYTES):
            hasher.update(chunk)
        return hasher.finish()
    except ContentChanged:
        return None


def _copy(source: int, kept: Partial) -> None:
    for first, end in kept.gaps():
        for index in range(first, end):
            offset, length = kept.content.range(index)
            with kept.write_block(index) as writer:
                writer.write(os.pread(source, length, offset))
                writer.finish()
