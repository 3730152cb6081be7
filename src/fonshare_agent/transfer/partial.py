"""One file of a job while it arrives, block by block, in whatever order.

Rules kept:

- A block counts only once its hash was right, and is promised to a restart only once
  it was synced; what a crash leaves beyond that is fetched again.
- Bytes of two roots never share a partial: another root wipes the folder.
- The disk is checked before each block, and a reserve of it always stays free.
- The final name appears only with the right content, after the whole was read back.
  The folder stays until `remove`, so that a crash between the rename and the job's
  record finds the file it had placed.

Methods may be called from several threads, each writing other blocks; all may block on
the disk. Must not know peers, tickets or the job's record.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from fonshare_agent.disk import Disk
from fonshare_agent.errors import StorageError
from fonshare_agent.model import Root
from fonshare_agent.protocol.content import block_count
from fonshare_agent.transfer.block_writer import BlockWriter
from fonshare_agent.transfer.blocks import (
    BlockMap,
    Content,
    find_bad_blocks,
    hash_block,
)
from fonshare_agent.transfer.disk_errors import (
    demand_possible,
    demand_room,
    demand_size,
    translated,
)
from fonshare_agent.transfer.finishing import (
    find_placed,
    folder_on_disk,
    place,
    set_modified,
)
from fonshare_agent.transfer.partial_files import (
    COPY_PREFIX,
    PartialFiles,
    list_kept,
    list_partials,
    partials,
    remove_folder,
)
from fonshare_agent.transfer.write_behind import STEP_BYTES, write_behind

Clock = Callable[[], float]  # monotonic seconds

SYNC_BYTES: Final = 32 * 1024 * 1024  # fetched again at most, after a power cut
SYNC_PERIOD_S: Final = 10.0  # or this long, on slow lines


def _unwatched(_: int) -> None:
    return None


class Partial:
    """See the module's text. Immutable: disk, size, root. Guarded by the lock: the
    rest. Made by `open`."""

    def __init__(
        self, files: PartialFiles, disk: Disk, size: int, root: Root, clock: Clock
    ) -> None:
        self.disk, self.size, self.root = disk, size, root
        self._files, self._clock = files, clock
        self._lock = threading.RLock()
        self._sync_lock = threading.Lock()
        self._content: Content | None = None
        self._have = BlockMap(block_count(size))  # verified
        self._synced = BlockMap(block_count(size))  # and surely on the disk
        self._unsynced_bytes = self._unstarted_bytes = 0
        self._synced_at = clock()
        self._arrived: dict[int, int] = {}  # pushed: block -> bytes from its start
        self._is_placed = False  # renamed already; only the job's record lacks

    @classmethod
    def open(
        cls,
        disk: Disk,
        job_id: str,
        number: int,
        size: int,
        root: Root,
        clock: Clock = time.monotonic,
    ) -> Self:
        """Return the partial, with what arrived earlier of this very root.

        Raises DiskFull or FileTooLarge when the rest has no room.
        """
        disk.check_writable()
        demand_possible(disk, size)  # before maps of its blocks are made
        with translated(disk):
            files = PartialFiles(disk, job_id, number)
            partial = cls(files, disk, size, root, clock)
            try:
                partial._load()
                demand_room(disk, size - partial.done_bytes)
            except BaseException:
                partial.close()
                raise
        return partial

    def _load(self) -> None:
        self._content = self._files.read_content(self.size, self.root)
        if self._content is None:
            self._files.wipe()
        elif self._files.read_final()[0] and not self._files.has_data:
            self._is_placed = True
            for index in range(self._content.count):
                self._have.add(index)
            return
        else:
            self._synced = self._files.read_have(self._content)
            self._have = self._synced.copy()
        demand_size(self.disk, self._files.data, self.size)

    @staticmethod
    def discard(disk: Disk, job_id: str, number: int | None = None) -> None:
        """Delete what arrived of the job, or of one file of it."""
        disk.check_writable()
        with translated(disk), partials(disk) as top:
            for job, index, name in list_partials(top):
                if job == job_id and number in (None, index):
                    remove_folder(top, name)

    @staticmethod
    def copies(disk: Disk) -> set[str]:
        """Return the ids of the catalogues' copies of which something is kept here."""
        return {one for one in list_kept(disk) if one.startswith(COPY_PREFIX)}

    @staticmethod
    def numbers(disk: Disk, job_id: str) -> set[int]:
        """Return the numbers of the job's files of which something is kept here."""
        disk.check()
        with translated(disk), partials(disk) as top:
            return {number for job, number, _ in list_partials(top) if job == job_id}

    def close(self) -> None:
        """Let go of the disk; nothing is flushed. A second call does nothing."""
        with self._lock:
            self._files.close()

    def remove(self) -> None:
        """Delete what was kept: the job has its file, on record."""
        with translated(self.disk), self._lock:
            if not self._files.is_closed:
                self._files.remove()

    # --- what is here ---------------------------------------------------------------

    @property
    def has_hashes(self) -> bool:
        return self._content is not None

    @property
    def content(self) -> Content:
        """The content with its hashes; only once `has_hashes`."""
        if self._content is None:
            raise ValueError("the block hashes are not known yet")
        return self._content

    @property
    def done_bytes(self) -> int:
        """How many bytes are verified."""
        with self._lock:
            if self._content is None or not len(self._have):
                return 0
            whole = len(self._have) * self._content.block_size
            last = self._content.count - 1
            if last in self._have:
                whole -= self._content.block_size - self._content.range(last)[1]
            return whole

    @property
    def is_complete(self) -> bool:
        with self._lock:
            return self.has_hashes and len(self._have) == self.content.count

    def has(self, index: int) -> bool:
        """Tell whether block *index* is here and verified; never waits."""
        return index in self._have

    def bitmap(self) -> bytes:
        with self._lock:
            return self._have.encode()

    def gaps(self) -> list[tuple[int, int]]:
        """Return the runs (first, end) of blocks that are missing."""
        with self._lock:
            return list(self._have.gaps())

    def missing_range(self) -> tuple[int, int]:
        """Return the bytes (first, end) from the first missing one to the last."""
        gaps = self.gaps()
        if not gaps:
            return 0, 0
        offset, length = self.content.range(gaps[-1][1] - 1)
        return self.content.range(gaps[0][0])[0], offset + length

    def set_hashes(self, hashes: Iterable[bytes]) -> None:
        """Take the block hashes; BadContent unless they belong to the root."""
        content = Content.verified(self.size, self.root, hashes)
        with self._open_files() as files:
            files.write_hashes(content)
            self._content = content

    # --- blocks that arrive ---------------------------------------------------------

    def write_block(self, index: int) -> BlockWriter:
        """Return what takes block *index*; checks the disk and its room first."""
        self.disk.check_writable()
        offset, length = self.content.range(index)
        demand_room(self.disk, length)
        with self._open_files() as files:
            descriptor = os.dup(files.data)
            self._have.drop(index)  # until the new bytes are right, too
        expected = self.content.hash(index)
        return BlockWriter(
            self.disk, descriptor, offset, length, expected, lambda: self._take(index)
        )

    def open_for_writing(self) -> int:
        """Return a descriptor of the data for a push, the caller's to close.

        What is written there counts only by `verify_written`.
        """
        self.disk.check_writable()
        demand_room(self.disk, self.size - self.done_bytes)
        with self._open_files() as files:
            return files.reopen_data()

    def open_verified(self) -> tuple[int, int]:
        """Return a descriptor, the caller's to close, and how many bytes from the
        start on are verified."""
        gaps = self.gaps()
        length = self.content.range(gaps[0][0])[0] if gaps else self.size
        with self._open_files() as files:
            return files.reopen_data(), length

    def verify_written(self, offset: int, length: int) -> list[int]:
        """Note that a push wrote *length* bytes at *offset*.

        A block that is complete now is read back: right, it counts; else it is missing
        still. Returns the blocks that were wrong.
        """
        bad = []
        with self._lock:
            complete = list(self._note_arrived(offset, offset + length))
        for index in complete:
            with self._open_files() as files:
                descriptor = os.dup(files.data)
            try:
                with translated(self.disk):
                    found = hash_block(descriptor, self.content, index)
            finally:
                os.close(descriptor)
            if found == self.content.hash(index):
                self._take(index)
            else:
                bad.append(index)
        return bad

    def _note_arrived(self, offset: int, end: int) -> Iterator[int]:
        """Yield the blocks that these bytes complete, if each came in order."""
        end = min(end, self.size)
        while offset < end:
            index = offset // self.content.block_size
            start, size = self.content.range(index)
            self._have.drop(index)  # overwritten: it must prove itself again
            if offset - start <= self._arrived.get(index, 0):
                self._arrived[index] = min(end - start, size)
                if self._arrived[index] == size:
                    del self._arrived[index]
                    yield index
            offset = start + size

    def _take(self, index: int) -> None:
        """Count block *index*, and sync when enough has gathered."""
        length = self.content.range(index)[1]
        with self._lock:
            self._have.add(index)
            self._unsynced_bytes += length
            self._unstarted_bytes += length
            since_s = self._clock() - self._synced_at
            is_due = self._unsynced_bytes >= SYNC_BYTES or since_s >= SYNC_PERIOD_S
        if is_due:
            self.sync()
        elif self._unstarted_bytes >= STEP_BYTES:
            self._start_writing()

    def _start_writing(self) -> None:
        """Let the disk begin: little of the file is to wait in memory for it."""
        with self._sync_lock:
            self._write_out(write_behind)

    def sync(self) -> None:
        """Bring to the disk what is verified, then promise it to the next start."""
        with self._sync_lock:
            self._unsynced_bytes, self._synced_at = 0, self._clock()
            have = self._write_out(os.fdatasync)
            with self._open_files() as files:
                files.write_have(self.content, have)
                self._synced = have

    def _write_out(self, how: Callable[[int], None]) -> BlockMap:
        """Have the data written; return which blocks were verified before that."""
        with self._open_files() as files:
            have, descriptor = self._have.copy(), os.dup(files.data)
            self._unstarted_bytes = 0
        try:
            with translated(self.disk):
                how(descriptor)
        except StorageError:
            # What the kernel could not write passes the next sync unwritten, so it
            # is missing from now on.
            with self._lock:
                self._have = self._synced.copy()
            raise
        finally:
            os.close(descriptor)
        return have

    # --- the end --------------------------------------------------------------------

    def finish(
        self,
        folder: bytes,
        name: bytes,
        modified: int,
        on_checked: Callable[[int], None] = _unwatched,
    ) -> bytes | None:
        """Put the complete file into *folder* (absolute, on the disk), and return the
        name it got there.

        None: blocks were found bad when read back; they are missing again. A file of
        that name with this very content is used as it is. Call `remove` once the name
        is on record; until then the same call gives the same answer. *on_checked* is
        told the bytes read back; what it raises ends the call, and nothing is lost.
        """
        if not self.is_complete:
            raise ValueError("a file with missing blocks cannot be finished")
        self.disk.check_writable()
        with translated(self.disk), folder_on_disk(self.disk, folder) as target:
            if self._is_placed:
                return self._find_placed(target)
            self.sync()
            if not self._is_sound(on_checked):
                return None
            with self._open_files() as files:
                set_modified(files.data, modified)
                placed = place(files, self.content, target, name)
                self._is_placed = True
                return placed

    def _is_sound(self, on_checked: Callable[[int], None]) -> bool:
        with self._open_files() as files:
            descriptor = os.dup(files.data)
        try:
            os.ftruncate(descriptor, self.size)  # a push may have gone beyond the end
            bad = list(find_bad_blocks(descriptor, self.content, on_checked))
        finally:
            os.close(descriptor)
        if bad:
            with self._open_files() as files:
                for index in bad:
                    self._have.drop(index)
                self._synced = self._have.copy()
                files.write_have(self.content, self._synced)
        return not bad

    def _find_placed(self, target: int) -> bytes | None:
        with self._open_files() as files:
            name = find_placed(files, self.content, target)
            if name is None:
                # Somebody took it away in between: everything is missing again.
                files.write_have(self.content, BlockMap(self.content.count))
                self._have = BlockMap(self.content.count)
                self._synced = self._have.copy()
                self._is_placed = False
                _ = files.data
            return name

    @contextmanager
    def _open_files(self) -> Iterator[PartialFiles]:
        with translated(self.disk), self._lock:
            if self._files.is_closed:
                raise StorageError(f"a partial file on {self.disk.path} was closed")
            yield self._files
