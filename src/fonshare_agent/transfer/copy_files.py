"""Copies of catalogues as files: DISK/.fonshare/copies/, and reading one that came.

Owns that folder: a copy is written as `writing` and then named by its root. It is not
synced, since a restart removes all that is there. Rules kept: the disk is checked and
its reserve stays free; what was read of a copy stays below the limits of
protocol/catalogue_copy.py, whatever it says.

All of it may block on the disk; a writer or reader belongs to one caller at a time.
Must not know catalogues, groups or tickets.
"""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fonshare_agent.disk import Disk, make_folders_below, open_below
from fonshare_agent.model import PRIVATE_FOLDER, Root, SharePath
from fonshare_agent.protocol.catalogue_copy import (
    COPY_BYTES_MAX,
    FRAMES_MAX,
    HEAD_BYTES,
    UNPACKED_MAX,
    pack,
    parse_head,
    unpack,
)
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN, content_root
from fonshare_agent.protocol.fields import BadMessage
from fonshare_agent.protocol.messages import CatalogueDelta
from fonshare_agent.transfer.disk_errors import demand_room, translated

_TOP: Final = SharePath((PRIVATE_FOLDER, b"copies"))
_WRITING: Final = b"writing"
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class CopyFile:
    """A copy as it lies on the disk."""

    name: bytes
    size: int
    root: Root
    hashes: tuple[bytes, ...]


class CopyWriter:
    """Writes one copy, page by page; `close` it, which removes what is not finished."""

    def __init__(self, disk: Disk) -> None:
        disk.check_writable()
        self._disk = disk
        self._size = self._frames = 0
        self._hashes: list[bytes] = []
        self._block = hashlib.sha256()
        with translated(disk):
            self._folder = _open_folder(disk)
            try:
                with suppress(FileNotFoundError):  # of a writer that was killed
                    os.unlink(_WRITING, dir_fd=self._folder)
                self._file = os.open(_WRITING, _FLAGS, 0o600, dir_fd=self._folder)
            except BaseException:
                os.close(self._folder)
                raise

    def add(self, page: CatalogueDelta) -> bool:
        """Append *page*; False, and nothing is written, if the copy is full."""
        frame = pack(page)
        if self._size + len(frame) > COPY_BYTES_MAX or self._frames == FRAMES_MAX:
            return False
        self._disk.check_writable()
        demand_room(self._disk, len(frame))
        view = memoryview(frame)
        with translated(self._disk):
            while view:
                view = view[os.write(self._file, view) :]
        self._hash(memoryview(frame))
        self._frames += 1
        return True

    def _hash(self, view: memoryview) -> None:
        while view:
            room = BLOCK_SIZE_MIN - self._size % BLOCK_SIZE_MIN
            piece, view = view[:room], view[room:]
            self._block.update(piece)
            self._size += len(piece)
            if len(piece) == room:
                self._end_block()

    def _end_block(self) -> None:
        self._hashes.append(self._block.digest())
        self._block = hashlib.sha256()

    def finish(self) -> CopyFile:
        """Give the copy its name."""
        if self._size % BLOCK_SIZE_MIN:
            self._end_block()
        root = content_root(self._size, self._hashes)
        name = root.hex().encode()
        with translated(self._disk):
            folder = self._folder
            os.rename(_WRITING, name, src_dir_fd=folder, dst_dir_fd=folder)
        return CopyFile(name, self._size, root, tuple(self._hashes))

    def close(self) -> None:
        """Let go of the disk. A second call does nothing."""
        if self._folder < 0:
            return
        folder, self._folder = self._folder, -1
        os.close(self._file)
        with suppress(OSError):  # finished, or the disk is gone
            os.unlink(_WRITING, dir_fd=folder)
        os.close(folder)


def open_copy(disk: Disk, name: bytes) -> int:
    """Return a descriptor of a copy, the caller's to close."""
    root = disk.open_root()
    try:
        return open_below(root, SharePath((*_TOP.parts, name)), os.O_RDONLY)
    finally:
        os.close(root)


def remove_copies(disk: Disk, name: bytes | None = None) -> None:
    """Delete one copy, or all that lie there."""
    disk.check_writable()
    with translated(disk):
        folder = _open_folder(disk)
        try:
            for one in os.listdir(folder):
                if name in (None, os.fsencode(one)):
                    os.unlink(one, dir_fd=folder)
        finally:
            os.close(folder)


def _open_folder(disk: Disk) -> int:
    root = disk.open_root()
    try:
        return make_folders_below(root, _TOP, 0o700)
    finally:
        os.close(root)


class CopyReader:
    """Reads the pages of a copy whose first *length* bytes are verified.

    *is_whole*: that is all of it. Owns *descriptor* until `close`.
    """

    def __init__(
        self, disk: Disk, descriptor: int, length: int, *, is_whole: bool
    ) -> None:
        self._disk, self._descriptor = disk, descriptor
        self._length, self._is_whole = length, is_whole
        self._at = self._frames = self._unpacked = 0

    def read_after(self, number: int) -> CatalogueDelta | None:
        """Return the next page that goes beyond *number*, or None at the end.

        Raises BadMessage where the copy breaks a rule; nothing behind it counts.
        """
        while self._has(HEAD_BYTES):
            head = parse_head(self._read(self._at, HEAD_BYTES))
            start = self._at + HEAD_BYTES
            if not self._has(HEAD_BYTES + head.length):
                break
            self._frames += 1
            if self._frames > FRAMES_MAX:
                raise BadMessage("a copy has too many frames")
            self._at = start + head.length
            if head.upto > number:
                page, size = unpack(head, self._read(start, head.length))
                self._unpacked += size
                if self._unpacked > UNPACKED_MAX:
                    raise BadMessage("the pages of a copy are too large")
                return page
        if self._is_whole and self._at != self._length:
            raise BadMessage("a copy ends within a frame")
        return None

    def _has(self, count: int) -> bool:
        return self._at + count <= self._length

    def _read(self, offset: int, count: int) -> bytes:
        with translated(self._disk):
            return os.pread(self._descriptor, count, offset)

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
