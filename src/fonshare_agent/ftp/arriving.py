"""A file on its way out while it is still on its way in.

What is not here yet is asked for again after a moment, so that no worker waits for a
friend. Loaded with the first. On workers.
"""

from typing import Protocol

from fonshare_agent.errors import UsageError
from fonshare_agent.ftp.ends import End
from fonshare_agent.ftp.streams import NOT_YET, Sink, Source
from fonshare_agent.ftp.transfers import reply_to_end


class Arriving(Protocol):
    """A reader of a file that arrives."""

    size: int

    def read(self, view: memoryview, offset: int) -> int:
        """Read what is verified; 0: not yet."""

    def close(self) -> None:
        """Want nothing any more."""


class ArrivingSource:
    """From an offset to the end of a file that arrives."""

    def __init__(self, file: Arriving, offset: int, buffer_size: int) -> None:
        self._file, self._offset = file, offset
        self._buffer = memoryview(bytearray(buffer_size))

    def read_now(self) -> memoryview | None:
        return None

    def read(self) -> memoryview:
        left = self._file.size - self._offset
        if not left:
            return self._buffer[:0]
        count = self._file.read(self._buffer[:left], self._offset)
        self._offset += count
        return self._buffer[:count] if count else NOT_YET


class ArrivingDownload:
    """See the module's text."""

    sink: Sink | None = None

    def __init__(self, file: Arriving, offset: int, buffer_size: int) -> None:
        if offset > file.size:
            file.close()
            raise UsageError(f"REST {offset} is beyond the end at {file.size}")
        self._file = file
        self.source: Source | None = ArrivingSource(file, offset, buffer_size)

    def sync(self) -> None:
        """Nothing is written."""

    def finish(self, end: End) -> str:
        self._file.close()
        return reply_to_end(end)
