"""Reads blocks back from the disk while others of their file still arrive.

So a file gets its name as soon as its last block is there, and not as much later as
the disk needs to read all of it. Rules kept: a block is read only once the kernel has
given it to the disk, and what memory holds of it is dropped before, so that the disk
itself is asked; only what is right is noted. What is wrong, cannot be read or is not
reached in time is left to `Partial.finish`, which reads it (again) and decides.

The thread begins with enough to read, and ends with `stop`. Any thread may call. Must
not know of records, or of what a block is for.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from fonshare_agent.errors import StorageError
from fonshare_agent.transfer.blocks import BlockMap, Content, is_right, new_buffer
from fonshare_agent.transfer.write_behind import STEP_BYTES

# A dead disk may hold a reader for long; then it is left behind.
STOP_S: Final = 5.0


class ReadBack:
    """The blocks of one file. *open_data* gives a descriptor, to be closed here.
    Guarded by the condition: all but that and the content."""

    def __init__(self, content: Content, open_data: Callable[[], int]) -> None:
        self._content, self._open_data = content, open_data
        self._changed = threading.Condition()
        self._right = BlockMap(content.count)  # as the disk itself has shown
        self._fresh: set[int] = set()  # verified, and in memory alone
        self._going: set[int] = set()  # being written out by a call that lasts
        self._started: set[int] = set()  # on their way to the disk
        self._due: set[int] = set()  # there, and to be read
        self._reading = -1
        self._thread: threading.Thread | None = None
        self._is_over = False

    def note_verified(self, index: int) -> None:
        """Block *index* was right when it came."""
        with self._changed:
            self._fresh.add(index)

    def begin_writing(self) -> None:
        """What is verified by now is about to be written out."""
        with self._changed:
            self._going, self._fresh = self._fresh, set()

    def end_writing(self, *, is_synced: bool) -> None:
        """That was started, and what was started the last time is on the disk; or,
        with *is_synced*, all of it."""
        with self._changed:
            due, self._started, self._going = self._started, self._going, set()
            if is_synced:
                due, self._started = due | self._started, set()
            self._add(due)

    def drop(self, index: int) -> None:
        """Block *index* is to be written anew."""
        with self._changed:
            self._right.drop(index)
            for blocks in (self._fresh, self._going, self._started, self._due):
                blocks.discard(index)
            if self._reading == index:
                self._reading = -1

    def drop_bytes(self, offset: int, end: int) -> None:
        """The blocks of these bytes may change on the disk from now on."""
        size = self._content.block_size
        for index in range(offset // size, min(-(-end // size), self._content.count)):
            self.drop(index)

    def unread(self) -> list[int]:
        """Return the blocks that the disk has not shown."""
        with self._changed:
            everything = range(self._content.count)
            return [index for index in everything if index not in self._right]

    def stop(self) -> None:
        """Read nothing more; waits for the thread. A second call does nothing."""
        with self._changed:
            self._is_over = True
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None:
            thread.join(STOP_S)

    # --- inside ---------------------------------------------------------------------

    def _add(self, blocks: set[int]) -> None:
        self._due.update(blocks)
        # By steps, since a disk that turns reads and writes at different places.
        is_much = len(self._due) * self._content.block_size >= STEP_BYTES
        if self._is_over or not is_much:
            return
        if self._thread is None:
            # By itself: who fetches must go on emptying the line meanwhile.
            thread = threading.Thread(target=self._run, name="read-back", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # no memory for a thread now: the next step tries again
            self._thread = thread
        self._changed.notify()

    def _run(self) -> None:
        buffer = new_buffer()
        while blocks := self._take():
            try:
                descriptor = self._open_data()
            except StorageError:
                return  # closed, or the disk is gone: `finish` says so
            try:
                self._read(descriptor, blocks, buffer)
            except OSError:
                return  # `finish` reads it again, and says what is wrong
            finally:
                os.close(descriptor)

    def _take(self) -> list[int]:
        """Wait for blocks to read; none when it is over."""
        with self._changed:
            while not self._due and not self._is_over:
                self._changed.wait()
            return [] if self._is_over else sorted(self._due)

    def _read(self, descriptor: int, blocks: list[int], buffer: memoryview) -> None:
        for first, end in _runs(blocks):
            # As one: where pages are large, those on a block's border would stay.
            offset = self._content.range(first)[0]
            length = sum(self._content.range(end - 1)) - offset
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
            for index in range(first, end):
                if self._begin(index):
                    self._end(is_right(descriptor, self._content, index, buffer))
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)

    def _begin(self, index: int) -> bool:
        with self._changed:
            if self._is_over or index not in self._due:
                return False
            self._due.remove(index)
            self._reading = index
            return True

    def _end(self, was_right: bool) -> None:
        with self._changed:
            index, self._reading = self._reading, -1
            if was_right and index >= 0:  # else it is being written anew
                self._right.add(index)


def _runs(blocks: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs (first, end) in sorted *blocks*."""
    first = end = -1
    for index in blocks:
        if index != end:
            if end >= 0:
                yield first, end
            first = index
        end = index + 1
    if end >= 0:
        yield first, end
