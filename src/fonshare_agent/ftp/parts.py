"""Sends some blocks of a file, which may be one that is still arriving itself.

Of such a file only what is verified is sent: before each block the holder is asked.
Where it has not got one, the transfer ends with `450 missing`, which the reader takes
for news and not for a failure (docs/protocol/parts.md). Loaded when a friend first
reads so. On workers, but for `read_now`.
"""

import os
from collections.abc import Callable, Sequence

from fonshare_agent.errors import BlockLacking, ContentChanged
from fonshare_agent.ftp.ends import End
from fonshare_agent.ftp.replies import reply_to_error
from fonshare_agent.ftp.streams import FileSource, Sink, Source
from fonshare_agent.ftp.tickets import FileStamp, Ticket
from fonshare_agent.ftp.transfers import reply_to_end

Range = tuple[int, int]  # bytes


class BlockSource:
    """The bytes of some blocks of an open file, one after another."""

    def __init__(
        self,
        fd: int,
        ranges: Sequence[Range],
        buffer_size: int,
        demand_here: Callable[[int], None],
    ) -> None:
        """*ranges* do not cross the border of two blocks; *demand_here* is told the
        offset of each before it is read, and raises BlockLacking."""
        self._fd, self._buffer_size = fd, buffer_size
        self._ranges, self._demand_here = iter(ranges), demand_here
        self._next = next(self._ranges, None)
        self._block = FileSource(fd, 0, 0, buffer_size)

    def read_now(self) -> memoryview | None:
        if self._block.left:
            return self._block.read_now()
        return memoryview(b"") if self._next is None else None

    def read(self) -> memoryview:
        if not self._block.left and self._next is not None:
            offset, end = self._next
            self._demand_here(offset)
            self._block = FileSource(self._fd, offset, end, self._buffer_size)
            self._next = next(self._ranges, None)
        return self._block.read()


class PartsDownload:
    """Blocks on their way out."""

    sink: Sink | None = None

    def __init__(
        self, fd: int, ticket: Ticket, ranges: Sequence[Range], buffer_size: int
    ) -> None:
        self._fd, self._is_held = fd, ticket.held is not None
        self._stamp = FileStamp.of(os.fstat(fd))
        self.source: Source | None = BlockSource(
            fd, ranges, buffer_size, _demander(ticket)
        )

    def sync(self) -> None:
        """Nothing is written."""

    def finish(self, end: End) -> str:
        try:
            # One that still arrives changes all the time; the reader checks each block.
            if not self._is_held and FileStamp.of(os.fstat(self._fd)) != self._stamp:
                return reply_to_error(
                    ContentChanged("the file was written to meanwhile")
                )
        finally:
            os.close(self._fd)
        return reply_to_end(end)


def open_parts(
    ticket: Ticket, offset: int, runs: Sequence[Range] | None, buffer_size: int
) -> PartsDownload:
    """Return what sends the blocks of *runs*, or all from *offset* on."""
    if runs is None:
        runs = [(offset // ticket.block_size, -(-ticket.size // ticket.block_size))]
    else:
        offset = 0
    ranges = [
        (max(offset, index * ticket.block_size), _end_of(ticket, index))
        for first, end in runs
        for index in range(first, end)
    ]
    fd = ticket.opener()
    if ticket.held is None and os.fstat(fd).st_size != ticket.size:
        os.close(fd)
        raise ContentChanged("the file is not the one that was granted")
    return PartsDownload(fd, ticket, ranges, buffer_size)


def _end_of(ticket: Ticket, index: int) -> int:
    return min(ticket.size, (index + 1) * ticket.block_size)


def _demander(ticket: Ticket) -> Callable[[int], None]:
    held = ticket.held

    def demand_here(offset: int) -> None:
        index = offset // ticket.block_size
        if held is not None and not held.has(index):
            raise BlockLacking(f"block {index} is not here yet")

    return demand_here
