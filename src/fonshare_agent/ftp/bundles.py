"""Sends a bundle: the small files of one ticket, one after another, as one file.

What the peer reads has just the length that was granted. A file that is gone, or that
is not the one any more which was granted, is sent as zeros: its reader finds another
root, asks for that file alone, and is told why; the others are not delayed. Only a disk
that fails ends the transfer. On workers, but for `read_now`.
"""

import os

from fonshare_agent.errors import DiskMissing, FonshareError
from fonshare_agent.ftp.ends import End
from fonshare_agent.ftp.streams import Sink, Source
from fonshare_agent.ftp.tickets import Bundle
from fonshare_agent.ftp.transfers import reply_to_end


class BundleSource:
    """The bytes of a bundle from *offset* on. `close` when done with it."""

    def __init__(self, bundle: Bundle, offset: int, buffer_size: int) -> None:
        self._bundle, self._part, self._at = bundle, 0, offset
        sizes = bundle.sizes
        while self._part < len(sizes) and self._at >= sizes[self._part]:
            self._at -= sizes[self._part]
            self._part += 1
        self._fd = -1
        self._is_open = False  # whether the part was tried; without a file: zeros
        self._buffer = memoryview(bytearray(buffer_size))

    def read_now(self) -> memoryview | None:
        is_over = self._part == len(self._bundle.sizes)
        return memoryview(b"") if is_over else None

    def read(self) -> memoryview:
        filled = 0
        while filled < len(self._buffer) and self._part < len(self._bundle.sizes):
            filled += self._read_part(self._buffer[filled:])
        return self._buffer[:filled]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._is_open = -1, False

    def _read_part(self, view: memoryview) -> int:
        view = view[: self._bundle.sizes[self._part] - self._at]
        if not self._is_open:
            self._fd, self._is_open = self._open(), True
        count = self._read_file(view) if view else 0
        if not count:
            view[:] = bytes(len(view))
            count = len(view)
        self._at += count
        if self._at == self._bundle.sizes[self._part]:
            self.close()
            self._part, self._at = self._part + 1, 0
        return count

    def _open(self) -> int:
        try:
            return self._bundle.open_part(self._part)
        except DiskMissing:
            raise
        except (OSError, FonshareError):
            return -1

    def _read_file(self, view: memoryview) -> int:
        try:
            return os.preadv(self._fd, [view], self._at) if self._fd >= 0 else 0
        except OSError:
            return 0


class BundleDownload:
    """A bundle on its way out."""

    sink: Sink | None = None

    def __init__(self, bundle: Bundle, offset: int, buffer_size: int) -> None:
        self._bytes = BundleSource(bundle, offset, buffer_size)
        self.source: Source | None = self._bytes

    def sync(self) -> None:
        """Nothing is written."""

    def finish(self, end: End) -> str:
        self._bytes.close()
        return reply_to_end(end)
