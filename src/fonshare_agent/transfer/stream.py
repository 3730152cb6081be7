"""One file that is read while it arrives: what is wanted of it, and what may be had.

A reader is at a byte and wants what follows, a window ahead of it; the first missing
byte of the file is wanted as well where the beginning shall come first. Only bytes of
verified blocks are given out. Outlives the attempts of the job, each of which attaches
its partial. Any thread; only the methods that say so may block. Must not know the job.
"""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from fonshare_agent.errors import ContentChanged, StorageError
from fonshare_agent.transfer.blocks import BlockMap, Content
from fonshare_agent.transfer.partial import Partial

if TYPE_CHECKING:
    from fonshare_agent.protocol.stream_plan import StreamPlan

WINDOW_BYTES: Final = 8 * 1024 * 1024  # ahead of a reader: some seconds of any film
TURN_BYTES: Final = 1024 * 1024  # before another reader that has less has its turn


class Stream:
    """See the module's text. *is_all*: the whole file is wanted, the beginning first.

    Guarded by the lock: readers, version, what is attached. Guarded by the other lock,
    under which the disk may be waited for: the descriptor, open while somebody reads.
    """

    def __init__(self, *, is_all: bool) -> None:
        self.is_all = is_all
        self.version = 0
        self.trouble = ""  # why nothing comes, in words
        self.is_over = False  # and never will
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._readers: dict[int, int] = {}  # reader -> the byte it is at
        self._last_reader = 0
        self._kept: Partial | None = None
        self._content: Content | None = None
        self._have = BlockMap(0)  # while nothing is attached
        self._data = -1
        self._data_of: Partial | None = None  # which was attached when it was opened
        self._ready = 0  # blocks from the start on that are here

    # --- the attempt's side ---------------------------------------------------------

    def attach(self, kept: Partial) -> None:
        """Blocks arrive in *kept* from now on, whose hashes are known."""
        with self._lock:
            content = self._content
            if content is not None and content.root != kept.root:
                self.version += 1
            self._kept, self._content, self._ready = kept, kept.content, 0

    def hold(self) -> None:
        """Keep open what is read, before the file gets its name. Blocks."""
        with self._reading:
            if self._is_read and self._kept is not None:
                self._open_data(self._kept)

    @property
    def _is_read(self) -> bool:
        # What was only opened may be opened again soon, whoever is away then.
        return not self.is_over and (bool(self._readers) or not self.is_all)

    def detach(self) -> None:
        """The attempt has ended, and closes its partial. Blocks."""
        with suppress(StorageError):  # it has its name, or the disk has gone
            self.hold()
        with self._reading:
            with self._lock:
                kept = self._kept
                if kept is not None:
                    self._have = BlockMap(kept.content.count, kept.bitmap())
                    self._kept = None
            if not self._is_read:
                self._close_data()

    def plan(
        self,
        gaps: Iterable[tuple[int, int]],
        length: Callable[[int], int],
        me: str,
        count: int,
    ) -> "StreamPlan":
        """Return the plan by which the missing blocks are fetched."""
        from fonshare_agent.protocol.stream_plan import StreamPlan

        return StreamPlan(gaps, length, self, me, count)

    def stretches(self) -> list[tuple[int, int]]:
        """Return the blocks (first, end) that readers want, the first one first."""
        content, readers = self._content, list(self._readers.values())
        if content is None or not content.count:
            return []
        at_work = [at for at in readers if at < content.size]
        # Who has least before it comes first; not for every block another one.
        at_work.sort(key=lambda at: self._ahead_bytes(content, at) // TURN_BYTES)
        wanted = [self._window(content, at) for at in at_work]
        if self.is_all and self.ready_bytes < content.size:
            wanted.append(self._window(content, self.ready_bytes))
        return wanted

    def missing_range(self) -> tuple[int, int] | None:
        """Return the bytes (first, end) that are wanted first, the blocks in a row that
        are missing of a window; None if nothing is wanted now."""
        content = self._content
        for first, end in self.stretches() if content is not None else ():
            missing = [one for one in range(first, end) if not self._has(one)]
            if missing and content is not None:
                last = missing[0]
                while last + 1 in missing:
                    last += 1
                offset, length = content.range(last)
                return content.range(missing[0])[0], offset + length
        return None

    def _ahead_bytes(self, content: Content, at: int) -> int:
        first, end = self._window(content, at)
        index = first
        while index < end and self._has(index):
            index += 1
        return max(0, index * content.block_size - at)

    def _window(self, content: Content, at: int) -> tuple[int, int]:
        first = at // content.block_size
        count = max(1, WINDOW_BYTES // content.block_size)
        return first, min(content.count, first + count + 1)

    # --- what is here ---------------------------------------------------------------

    @property
    def content(self) -> Content | None:
        """What the file shall be; None until an attempt knows it."""
        return self._content

    @property
    def ready_bytes(self) -> int:
        """How many bytes from the start on are verified."""
        content = self._content
        if content is None:
            return 0
        ready = self._ready
        while ready < content.count and self._has(ready):
            ready += 1
        self._ready = ready
        return content.range(ready)[0] if ready < content.count else content.size

    @property
    def is_whole(self) -> bool:
        """Whether all of it has arrived."""
        content = self._content
        return content is not None and all(map(self._has, range(content.count)))

    def _has(self, index: int) -> bool:
        kept, have = self._kept, self._have
        return kept.has(index) if kept is not None else index in have

    # --- the readers' side ----------------------------------------------------------

    def begin(self, offset: int) -> int:
        """Return a new reader, which is at *offset*."""
        with self._lock:
            self._last_reader += 1
            self._readers[self._last_reader] = offset
            self.version += 1
            return self._last_reader

    def end(self, reader: int) -> None:
        """That reader wants nothing any more. Blocks."""
        with self._lock:
            self._readers.pop(reader, None)
        if not self._readers and self._kept is None and self.is_all:
            self.close()

    @property
    def readers(self) -> int:
        return len(self._readers)

    @property
    def wants(self) -> bool:
        """Whether something that is wanted needs an attempt."""
        if self._data < 0 and self._kept is None:
            return bool(self._readers)
        return any(
            not self._has(index)
            for first, end in self.stretches()
            for index in range(first, end)
        )

    def read(self, reader: int, content: Content, view: memoryview, offset: int) -> int:
        """Read verified bytes at *offset*; 0 if they are not here yet. Blocks.

        Raises ContentChanged if the file is not *content* any more.
        """
        self._move(reader, offset)
        index = offset // content.block_size
        with self._reading:
            with self._lock:
                kept, known, have = self._kept, self._content, self._have
            if known is None or known.root != content.root:
                raise ContentChanged("the file has changed at the source")
            if not (kept.has(index) if kept is not None else index in have):
                return 0
            if kept is not None:
                self._open_data(kept)
            if self._data < 0:
                return 0  # until the next attempt
            start, length = content.range(index)
            count = min(len(view), start + length - offset)
            # Under the lock: the descriptor must not become another file's meanwhile.
            count = os.preadv(self._data, [view[:count]], offset)
        with self._lock:
            if reader in self._readers:
                self._readers[reader] = offset + count
        return count

    def _move(self, reader: int, offset: int) -> None:
        if self._readers.get(reader, offset) != offset:
            with self._lock:
                self._readers[reader] = offset
                self.version += 1

    def close(self) -> None:
        """Let go of the disk. A second call does nothing."""
        with self._reading:
            self._close_data()

    def _open_data(self, kept: Partial) -> None:
        """Have the data of *kept* open: what an attempt before had need not be it."""
        if self._data_of is not kept:
            self._close_data()
            self._data, _ = kept.open_verified()
            self._data_of = kept

    def _close_data(self) -> None:
        if self._data >= 0:
            os.close(self._data)
        self._data, self._data_of = -1, None
