"""The folder of one partial file, DISK/.fonshare/partial/JOB-NUMBER/, and its files.

Owns the forms of `data` (sparse; never preallocated), `blocks` (the block hashes),
`have` (which blocks are surely on the disk) and `final` (the name the file is about to
get), and the folder's making and removal. Each but `data` is replaced whole or not at
all. Whoever calls translates OSErrors. Must not know when a block counts.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fonshare_agent.disk import Disk, make_folders_below, open_below, write_durably
from fonshare_agent.errors import BadContent
from fonshare_agent.model import NAME_BYTES_MAX, PRIVATE_FOLDER, Root, SharePath
from fonshare_agent.protocol.content import HASH_BYTES, block_count
from fonshare_agent.transfer.blocks import BlockMap, Content
from fonshare_agent.transfer.disk_errors import translated

# What is kept of a copy of a catalogue; no job's id, which is base32, begins so.
COPY_PREFIX: Final = "0"

DATA, BLOCKS, HAVE, FINAL = b"data", b"blocks", b"have", b"final"
BATCH: Final = -1  # where a number stands: all small files of the job that arrive now

_TOP: Final = SharePath((PRIVATE_FOLDER, b"partial"))
_PLAIN, _PLACEHOLDER = b"n", b"p"  # what `final` begins with
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PartialFiles:
    """The open folder. Not for two threads at once."""

    def __init__(self, disk: Disk, job_id: str, number: int) -> None:
        self._disk, self._name = disk, folder_name(job_id, number)
        with partials(disk) as top:
            self.folder = make_folders_below(top, SharePath((self._name,)), 0o700)
        self._data = -1

    @property
    def data(self) -> int:
        """A descriptor of the data; closed by `close`."""
        if self._data < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._data = os.open(DATA, flags, 0o666, dir_fd=self.folder)
        return self._data

    @property
    def has_data(self) -> bool:
        try:
            os.stat(DATA, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def reopen_data(self) -> int:
        """Return another descriptor of the data, the caller's to close."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(DATA, flags, dir_fd=self.folder)

    def forget_data(self) -> None:
        """The data has moved away, or must: begin with none."""
        if self._data >= 0:
            os.close(self._data)
            self._data = -1
        with suppress(FileNotFoundError):
            os.unlink(DATA, dir_fd=self.folder)

    def read_content(self, size: int, root: Root) -> Content | None:
        """Return the content whose hashes are kept; None without right ones."""
        raw = self._read(BLOCKS, block_count(size) * HASH_BYTES + 1)
        try:
            return Content.decode(size, root, raw)
        except BadContent:
            return None  # none yet, of another root, or damaged: asked for again

    def write_hashes(self, content: Content) -> None:
        write_durably(self.folder, BLOCKS, content.hashes, 0o600)

    def read_have(self, content: Content) -> BlockMap:
        """Return the blocks that were synced; none if the record is not of this."""
        raw = self._read(HAVE, HASH_BYTES + content.count)
        have = BlockMap.decode(content.count, raw[HASH_BYTES:])
        if have is None or raw[:HASH_BYTES] != content.root or not self.has_data:
            return BlockMap(content.count)
        size = os.stat(DATA, dir_fd=self.folder).st_size
        for index in have.copy():
            if sum(content.range(index)) > size:
                have.drop(index)  # a file system check cut the data
        return have

    def write_have(self, content: Content, have: BlockMap) -> None:
        write_durably(self.folder, HAVE, content.root + have.encode(), 0o600)

    def read_final(self) -> tuple[bytes, bool]:
        """Return the name (b"" if none) and whether an empty placeholder has it."""
        raw = self._read(FINAL, 1 + NAME_BYTES_MAX)
        return raw[1:], raw[:1] == _PLACEHOLDER

    def write_final(self, name: bytes, *, placeholder: bool = False) -> None:
        mark = _PLACEHOLDER if placeholder else _PLAIN
        write_durably(self.folder, FINAL, mark + name, 0o600)

    def wipe(self) -> None:
        """Delete everything inside."""
        self.forget_data()
        for name in os.listdir(self.folder):
            os.unlink(name, dir_fd=self.folder)

    def remove(self) -> None:
        """Delete and close the folder."""
        self.wipe()
        self.close()
        with partials(self._disk) as top, suppress(FileNotFoundError):
            os.rmdir(self._name, dir_fd=top)

    @property
    def is_closed(self) -> bool:
        return self.folder < 0

    def close(self) -> None:
        """Let go of the disk. A second call does nothing."""
        opened, self._data, self.folder = (self._data, self.folder), -1, -1
        for descriptor in opened:
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self, name: bytes, limit: int) -> bytes:
        try:
            opened = open_below(self.folder, SharePath((name,)), os.O_RDONLY)
        except FileNotFoundError:
            return b""
        with os.fdopen(opened, "rb") as file:
            return file.read(limit)


def folder_name(job_id: str, number: int) -> bytes:
    """Return the name of the folder of a job's file, or of its batch."""
    if not (job_id.isascii() and job_id.isalnum()) or number < BATCH:
        raise ValueError(f"{job_id!r} cannot name a partial")
    return job_id.encode() + (b"-batch" if number == BATCH else b"-%d" % number)


@contextmanager
def partials(disk: Disk) -> Iterator[int]:
    """Open the folder of all partials."""
    root = disk.open_root()
    try:
        top = make_folders_below(root, _TOP, 0o700)
    finally:
        os.close(root)
    try:
        yield top
    finally:
        os.close(top)


def list_partials(top: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield (job, number, folder's name) of each partial below *top*."""
    for name in os.listdir(top):
        job, _, number = name.rpartition("-")
        if job and (number.isdecimal() or number == "batch"):
            index = int(number) if number.isdecimal() else BATCH
            yield job, index, os.fsencode(name)


def remove_folder(top: int, name: bytes) -> None:
    """Delete the partial *name*; nothing if it is gone already."""
    try:
        folder = os.open(name, _FOLDER_FLAGS, dir_fd=top)
    except FileNotFoundError:
        return
    try:
        for inside in os.listdir(folder):
            os.unlink(inside, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def list_kept(disk: Disk) -> set[str]:
    """Return the ids of the jobs and copies of which something is kept."""
    disk.check()
    with translated(disk), partials(disk) as top:
        return {job for job, _, _ in list_partials(top)}


def list_copies(disk: Disk) -> set[str]:
    """Return the ids of the catalogues' copies of which something is kept."""
    return {one for one in list_kept(disk) if one.startswith(COPY_PREFIX)}


def list_numbers(disk: Disk, job_id: str) -> set[int]:
    """Return the numbers of the job's files of which something is kept."""
    disk.check()
    with translated(disk), partials(disk) as top:
        return {number for job, number, _ in list_partials(top) if job == job_id}


def discard_partials(disk: Disk, job_id: str, number: int | None = None) -> None:
    """Delete what arrived of the job, or of one file of it."""
    disk.check_writable()
    with translated(disk), partials(disk) as top:
        for job, index, name in list_partials(top):
            if job == job_id and number in (None, index):
                remove_folder(top, name)
