"""What a data channel reads from and writes to; no sockets here.

A source gives bytes: `read_now` on the loop's thread, only if that cannot wait for the
disk, else `read` on a worker. A sink takes bytes, on a worker. Both know their place in
the file (`os.preadv`, `os.pwrite`), so the file's own position does not matter.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Protocol

from fonshare_agent.errors import ContentChanged, TooLong

# Read only what is in the page cache. Absent on some file systems (EOPNOTSUPP) and C
# libraries; then every read goes to a worker.
RWF_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
WARM_BYTES = 1 << 20  # fetched into the page cache by one visit to a worker
NOT_YET = memoryview(b"")  # what `read` returns when it is to be asked again later
# One chunk of a listing, 50 KB or so and 170 of the longest names: a folder of any size
# needs no more.
LISTING_LINES = 512


class Source(Protocol):
    """Where a download or a listing comes from."""

    def read_now(self) -> memoryview | None:
        """The next bytes, empty at the end; None if that may block."""

    def read(self) -> memoryview:
        """The next bytes, empty at the end; NOT_YET if there are none so far. May
        block."""


class Sink(Protocol):
    """Where an upload goes."""

    def room(self) -> int | None:
        """How many bytes may still come; None without a limit."""

    def write(self, chunk: memoryview) -> None:
        """Store *chunk* behind the last one; may block."""


class FileSource:
    """A range of an open file; the caller closes the file."""

    def __init__(self, fd: int, offset: int, end: int, buffer_size: int) -> None:
        self.fd, self.offset, self._end = fd, offset, end
        self.buffer_size = buffer_size
        self._buffer: bytearray | None = None  # not needed by sendfile
        self._warm_until = offset
        self._may_try = RWF_NOWAIT is not None

    @property
    def left(self) -> int:
        return self._end - self.offset

    def find_warm(self, wanted: int) -> int:
        """Return how many of the next *wanted* bytes can be read without waiting for
        the disk; 0: look again after `warm`.

        Looks only at the last byte: the kernel reads ahead, so the ones before it
        are there too but for rare evictions.
        """
        ready = self._warm_until - self.offset
        if ready <= 0 and self._try_read(bytearray(1), self.offset + wanted - 1):
            ready, self._warm_until = wanted, self.offset + wanted
        return max(0, min(wanted, ready))

    def warm(self) -> None:
        """Have the kernel fetch the next stretch; returns when its end is there."""
        length = min(self.left, WARM_BYTES)
        if length <= 0:
            return
        os.posix_fadvise(self.fd, self.offset, length, os.POSIX_FADV_WILLNEED)
        if not os.pread(self.fd, 1, self.offset + length - 1):
            raise ContentChanged("the file became shorter while it was read")
        self._warm_until = self.offset + length

    def read_now(self) -> memoryview | None:
        if self.left == 0:
            return memoryview(b"")
        view = self._view()
        count = self._try_read(view, self.offset)
        if not count:
            return None  # not in the cache, or shorter than it was: `read` tells
        self.offset += count
        return view[:count]

    def read(self) -> memoryview:
        view = self._view()
        if not view:
            return view
        count = os.preadv(self.fd, [view], self.offset)
        if count == 0:
            raise ContentChanged("the file became shorter while it was read")
        self.offset += count
        return view[:count]

    def _view(self) -> memoryview:
        if self._buffer is None:
            self._buffer = bytearray(min(self.buffer_size, max(self.left, 1)))
        return memoryview(self._buffer)[: self.left]

    def _try_read(self, into: bytearray | memoryview, offset: int) -> int | None:
        if not self._may_try or RWF_NOWAIT is None:
            return None
        try:
            return os.preadv(self.fd, [into], offset, RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError:
            # EOPNOTSUPP for ever; any other error comes again in `read`, where it is
            # reported.
            self._may_try = False
            return None


class WholeSource:
    """A file that was read already."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def read_now(self) -> memoryview:
        left, self._left = self._left, memoryview(b"")
        return left

    read = read_now


class Buffers:
    """Where an upload arrives: one is filled while a worker writes the other.

    The first is of the *small* size, for most files need no second; those after it are
    of the *large* one: each change costs two switches of thread.
    """

    def __init__(self, small: int, large: int) -> None:
        self._small, self._large = small, max(small, large)
        self._filling = self._spare = bytearray()
        self.filled = 0

    def open(self) -> None:
        self._filling = bytearray(self._small)

    @property
    def is_full(self) -> bool:
        return self.filled == len(self._filling)

    def rest(self) -> memoryview:
        """What is still free."""
        return memoryview(self._filling)[self.filled :]

    def turn(self, *, is_last: bool) -> memoryview:
        """Return what has come, and go on into the other buffer unless it *is_last*."""
        full, count = self._filling, self.filled
        if len(self._spare) < self._large and not is_last:
            self._spare = bytearray(self._large)
        self._filling, self._spare, self.filled = self._spare, full, 0
        return memoryview(full)[:count]


class ListingSource:
    """Lines of a listing, gathered into chunks as they are wanted."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def read_now(self) -> memoryview | None:
        return None

    def read(self) -> memoryview:
        return memoryview(b"".join(islice(self._lines, LISTING_LINES)))


class FileSink:
    """Writes into an open file from *offset* on, never beyond *limit*.

    Each stretch is written within *writing* (offset, length), then *on_written* told.
    """

    def __init__(
        self,
        fd: int,
        offset: int,
        limit: int | None = None,
        writing: Callable[[int, int], AbstractContextManager[None]] | None = None,
        on_written: Callable[[int, int], None] | None = None,
    ) -> None:
        self._fd, self.offset, self._limit = fd, offset, limit
        self._writing, self._on_written = writing, on_written

    def room(self) -> int | None:
        return None if self._limit is None else self._limit - self.offset

    def write(self, chunk: memoryview) -> None:
        start, left = self.offset, chunk
        if self._limit is not None and start + len(chunk) > self._limit:
            raise TooLong("more bytes than the ticket's file has")
        with self._writing(start, len(chunk)) if self._writing else nullcontext():
            while left:
                count = os.pwrite(self._fd, left, self.offset)
                self.offset += count
                left = left[count:]
        if self._on_written is not None:
            self._on_written(start, len(chunk))
