"""One file of a job while it arrives, block by block, in whatever order.

Rules kept:

- A block counts only once its hash was right, and is promised to a restart only once
  it was synced; what a crash leaves beyond that is fetched again.
- Bytes of two roots never share a partial: another root wipes the folder.
- The disk is checked again and again, and a reserve of it always stays free.
- The final name appears only with the right content, after the whole was read back
  from the disk: most of it while the rest arrived (read_back.py).
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
from functools import partial
from typing import Self

from fonshare_agent.disk import Disk
from fonshare_agent.errors import StorageError
from fonshare_agent.model import Root
from fonshare_agent.protocol.content import block_count
from fonshare_agent.transfer.arrivals import Arrivals
from fonshare_agent.transfer.block_writer import BlockWriter
from fonshare_agent.transfer.blocks import (
    BlockMap,
    Content,
    find_bad_blocks,
    is_right,
    new_buffer,
    unwatched,
)
from fonshare_agent.transfer.disk_errors import (
    demand_possible,
    demand_room,
    demand_size,
    translated,
)
from fonshare_agent.transfer.disk_guard import DiskGuard
from fonshare_agent.transfer.finishing import (
    find_placed,
    folder_on_disk,
    place,
    set_modified,
)
from fonshare_agent.transfer.partial_files import PartialFiles
from fonshare_agent.transfer.read_back import ReadBack
from fonshare_agent.transfer.write_behind import Aside, Backlog, Due, write_behind
from fonshare_agent.transfer.writers import Writers

Clock = Callable[[], float]  # monotonic seconds


class Partial:
    """See the module's text. Immutable: disk, size, root. Guarded by the lock: the
    rest. Made by `open`."""

    def __init__(
        self, files: PartialFiles, disk: Disk, size: int, root: Root, clock: Clock
    ) -> None:
        self.disk, self.size, self.root = disk, size, root
        self._files, self._clock = files, clock
        self._guard = DiskGuard(disk, clock)
        self._lock = threading.RLock()
        self._sync_lock = threading.Lock()
        self._content: Content | None = None
        self._have = BlockMap(block_count(size))  # verified
        self._synced = BlockMap(block_count(size))  # and surely on the disk
        self._backlog = Backlog(clock)
        self._is_placed = False  # renamed already; only the job's record lacks
        self._writers, self._aside = Writers(), Aside()

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
            opened = cls(files, disk, size, root, clock)
            try:
                opened._load()
                demand_room(disk, size - opened.done_bytes)
            except BaseException:
                opened.close()
                raise
        return opened

    def _load(self) -> None:
        content = self._files.read_content(self.size, self.root)
        if content is None:
            self._files.wipe()
        else:
            self._know(content)
            self._load_have(content)
        demand_size(self.disk, self._files.data, self.size)

    def _know(self, content: Content) -> None:
        self._content, self._arrivals = content, Arrivals(content)
        self._read_back = ReadBack(content, self._open_data)

    def _load_have(self, content: Content) -> None:
        if self._files.read_final()[0] and not self._files.has_data:
            self._is_placed = True
            for index in range(content.count):
                self._have.add(index)
        else:
            self._synced = self._files.read_have(content)
            self._have = self._synced.copy()

    def close(self) -> None:
        """Let go of the disk; nothing is flushed. A second call does nothing."""
        self._aside.stop()
        if self._content is not None:
            self._read_back.stop()
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
            return self._content.bytes_of(self._have) if self._content else 0

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

    def set_hashes(self, hashes: Iterable[bytes]) -> None:
        """Take the block hashes; BadContent unless they belong to the root."""
        content = Content.verified(self.size, self.root, hashes)
        with self._open_files() as files:
            files.write_hashes(content)
            self._know(content)

    # --- blocks that arrive ---------------------------------------------------------

    def write_block(self, index: int) -> BlockWriter:
        """Return what takes block *index*; looks if the disk has room first."""
        self._guard.count(0)
        offset, length = self.content.range(index)
        demand_room(self.disk, length)
        with self._open_files() as files:
            descriptor = os.dup(files.data)
            self._drop(index)  # until the new bytes are right, too
        expected = self.content.hash(index)
        return BlockWriter(
            self._guard, descriptor, offset, length, expected, partial(self._end, index)
        )

    def _end(self, index: int, is_right: bool) -> None:
        if is_right:
            self._take(index)
        else:
            # Another writer may have brought it meanwhile, under these bytes.
            self._read_back.drop(index)

    def _drop(self, index: int) -> None:
        self._have.drop(index)
        self._read_back.drop(index)

    def open_for_writing(self) -> int:
        """Return a descriptor of the data for a push, the caller's to close.

        Each stretch is written within `writing`, and only `verify_written` counts it.
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

    @contextmanager
    def writing(self, offset: int, length: int) -> Iterator[None]:
        """While a push writes there; what the disk has shown of it is no more then."""
        with self._writers.writing():
            with self._open_files():
                if self._is_placed:
                    raise StorageError("the file has its name already")
            try:
                yield
            finally:
                self._read_back.drop_bytes(offset, offset + length)

    def verify_written(self, offset: int, length: int) -> list[int]:
        """Note that a push wrote *length* bytes at *offset*.

        A block that is complete now is read back: right, it counts; else it is missing
        still. Returns the blocks that were wrong.
        """
        complete, bad = [], []
        with self._lock:
            for index, is_complete in self._arrivals.note(offset, offset + length):
                self._drop(index)  # overwritten: it must prove itself again
                if is_complete:
                    complete.append(index)
        for index in complete:
            descriptor = self._open_data()
            try:
                with translated(self.disk):
                    is_good = is_right(descriptor, self.content, index, new_buffer())
            finally:
                os.close(descriptor)
            if is_good:
                self._take(index)
            else:
                bad.append(index)
        return bad

    def _open_data(self) -> int:
        with self._open_files() as files:
            return os.dup(files.data)

    def _take(self, index: int) -> None:
        """Count block *index*, and have it written out when enough has gathered."""
        with self._lock:
            self._have.add(index)
            self._read_back.note_verified(index)
            left = self.size - self.content.bytes_of(self._have)
            due = self._backlog.add(self.content.range(index)[1], left)
        if due is not Due.NOTHING:
            is_sync = due is Due.SYNC
            self._aside.begin(self._sync if is_sync else self._start_writing)

    def _start_writing(self) -> None:
        """Let the disk begin: little of the file is to wait in memory for it."""
        with self._sync_lock:
            self._write_out(write_behind)
            self._read_back.end_writing(is_synced=False)

    def sync(self) -> None:
        """Bring to the disk what is verified, then promise it to the next start."""
        self._aside.wait()
        self._sync()

    def _sync(self) -> None:
        with self._sync_lock:
            with self._lock:
                length = self._backlog.begin_sync()
            have = self._write_out(os.fdatasync)
            with self._open_files() as files:
                files.write_have(self.content, have)
                self._synced = have
                self._backlog.end_sync(length)
            self._read_back.end_writing(is_synced=True)

    def _write_out(self, how: Callable[[int], None]) -> BlockMap:
        """Have the data written; return which blocks were verified before that."""
        with self._open_files() as files:
            have, descriptor = self._have.copy(), os.dup(files.data)
            self._read_back.begin_writing()
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
        on_checked: Callable[[int], None] = unwatched,
    ) -> bytes | None:
        """Put the complete file into *folder* (absolute, on the disk), and return the
        name it got there.

        None: blocks were found bad when read back; they are missing again. A file of
        that name with this very content is used as it is. Call `remove` once the name
        is on record; until then the same call gives the same answer. *on_checked* is
        told the bytes read back; what it raises ends the call, and nothing is lost.
        """
        self._aside.wait()
        if not self.is_complete:
            raise ValueError("a file with missing blocks cannot be finished")
        self.disk.check_writable()
        with (
            translated(self.disk),
            folder_on_disk(self.disk, folder) as target,
            self._writers.ending(),
        ):
            if self._is_placed:
                return self._find_placed(target)
            if self._backlog.unsynced_bytes:  # the last lane has synced, mostly
                self.sync()
            if not self._is_sound(on_checked):
                return None
            with self._open_files() as files:
                set_modified(files.data, modified)
                placed = place(files, self.content, target, name)
                self._is_placed = True
                return placed

    def _is_sound(self, on_checked: Callable[[int], None]) -> bool:
        self._read_back.stop()
        unread = self._read_back.unread()
        descriptor = self._open_data()
        try:
            os.ftruncate(descriptor, self.size)  # a push may have gone beyond the end
            bad = list(find_bad_blocks(descriptor, self.content, on_checked, unread))
        finally:
            os.close(descriptor)
        if bad:
            with self._open_files() as files:
                for index in bad:
                    self._drop(index)
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
