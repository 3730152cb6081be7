"""The transfers of the house door: files down, files up, listings. On workers.

Each closes what it opened in `finish`, whose result is the reply; see session.py.
"""

import os
from collections.abc import Generator

from fonshare_agent.errors import ContentChanged, UsageError
from fonshare_agent.ftp.ends import End, How
from fonshare_agent.ftp.replies import reply_to_error
from fonshare_agent.ftp.streams import (
    FileSink,
    FileSource,
    ListingSource,
    Sink,
    Source,
    WholeSource,
)
from fonshare_agent.ftp.tickets import FileStamp
from fonshare_agent.ftp.uploads import Upload

# A file up to this is read by the visit to a worker that opens it: what a transfer by
# TLS takes as its buffer on a router, too.
SMALL_BYTES = 64 << 10


def reply_to_end(end: End) -> str:
    """The reply to a transfer that nothing else is to be said about."""
    if end.how is How.COMPLETE:
        return f"226 Transfer complete, {end.moved} bytes"
    if end.error is not None:
        return reply_to_error(end.error)
    return f"426 Transfer ended after {end.moved} bytes: {end.reason}"


class Download:
    """A file on its way out, from an offset to the size it has now."""

    sink: Sink | None = None

    def __init__(self, fd: int, offset: int, buffer_size: int) -> None:
        self._fd = fd
        self._stamp = FileStamp.of(os.fstat(fd))
        self.source: Source | None = FileSource(
            fd, offset, self._stamp.size, buffer_size
        )

    @property
    def stamp(self) -> FileStamp:
        return self._stamp

    @property
    def is_changed(self) -> bool:
        """Whether the file is another than when it was opened. May block."""
        return FileStamp.of(os.fstat(self._fd)) != self._stamp

    def sync(self) -> None:
        """Nothing is written."""

    def finish(self, end: End) -> str:
        try:
            if self.is_changed:
                return reply_to_error(
                    ContentChanged("the file was written to meanwhile")
                )
        finally:
            os.close(self._fd)
        return reply_to_end(end)


class SmallDownload:
    """A small file on its way out: the worker that opened it has read and closed it."""

    sink: Sink | None = None

    def __init__(self, content: bytes) -> None:
        self.source: Source | None = WholeSource(content)

    def sync(self) -> None:
        """Nothing is written."""

    def finish(self, end: End) -> str:
        return reply_to_end(end)


def open_download(fd: int, offset: int, buffer_size: int) -> Download | SmallDownload:
    """Return what sends the file *fd* from *offset* on and closes it."""
    download = Download(fd, offset, buffer_size)
    size = download.stamp.size
    if offset > size:
        os.close(fd)
        raise UsageError(f"REST {offset} is beyond the end at {size}")
    if size - offset > SMALL_BYTES:
        return download
    try:
        content = os.pread(fd, size - offset, offset)
        if download.is_changed or len(content) < size - offset:
            raise ContentChanged("the file was written to meanwhile")
    finally:
        os.close(fd)
    return SmallDownload(content)


class HouseUpload:
    """The owner's file on its way in."""

    source: Source | None = None

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.sink: Sink | None = FileSink(upload.fd, upload.offset)

    def sync(self) -> None:
        self._upload.sync()

    def finish(self, end: End) -> str:
        if end.how is How.COMPLETE:
            self._upload.commit()
        else:
            self._upload.keep()
        return reply_to_end(end)


class Listing:
    """A folder on its way out."""

    sink: Sink | None = None

    def __init__(self, lines: Generator[bytes, None, None]) -> None:
        self.lines = lines
        self.source: Source | None = ListingSource(lines)

    def sync(self) -> None:
        """Nothing is written."""

    def finish(self, end: End) -> str:
        self.lines.close()
        return reply_to_end(end)
