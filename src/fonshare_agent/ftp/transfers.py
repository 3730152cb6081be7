"""The transfers of the house door: files down, files up, listings. On workers.

Each closes what it opened in `finish`, whose result is the reply; see session.py.
"""

import os
from collections.abc import Generator

from fonshare_agent.errors import ContentChanged
from fonshare_agent.ftp.ends import End, How
from fonshare_agent.ftp.replies import reply_to_error
from fonshare_agent.ftp.streams import FileSink, FileSource, ListingSource, Sink, Source
from fonshare_agent.ftp.tickets import FileStamp
from fonshare_agent.ftp.uploads import Upload


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

    def sync(self) -> None:
        """Nothing is written."""

    def finish(self, end: End) -> str:
        try:
            if FileStamp.of(os.fstat(self._fd)) != self._stamp:
                return reply_to_error(
                    ContentChanged("the file was written to meanwhile")
                )
        finally:
            os.close(self._fd)
        return reply_to_end(end)


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
