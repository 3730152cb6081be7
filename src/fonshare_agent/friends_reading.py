"""Opening and fetching what friends offer, for the house door.

What a session has opened is either arriving or on the disk already; both become its
transfer. Asked on the FTP loop, done on the core thread, answered there. Must not know
sessions or replies.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fonshare_agent.core import Core, Promise
from fonshare_agent.disk import Disk
from fonshare_agent.downloads import Downloads
from fonshare_agent.errors import AlreadyExists, BadPath, FonshareError, NotHereNow
from fonshare_agent.friends_tree import FriendsTree
from fonshare_agent.ftp.arriving import ArrivingDownload
from fonshare_agent.ftp.filesystem import Parts
from fonshare_agent.ftp.transfers import Download
from fonshare_agent.index.records import Found
from fonshare_agent.streaming import Reading, open_local

Answer = Callable[[Any, OSError | FonshareError | None], None]


class Opened:
    """A friend's file that a session has opened: `transfer` it, or `finish` with it."""

    def __init__(self, source: Reading | Path, disk: Disk) -> None:
        self._source, self._disk = source, disk

    def transfer(self, offset: int, buffer_size: int) -> ArrivingDownload | Download:
        """Return the transfer from *offset* on. Blocks."""
        if isinstance(self._source, Reading):
            return ArrivingDownload(self._source, offset, buffer_size)
        return Download(open_local(self._disk, self._source), offset, buffer_size)

    def finish(self, end: object) -> str:
        """The session is gone before it had begun."""
        if isinstance(self._source, Reading):
            self._source.close()
        return ""


class FriendsReading(FriendsTree):
    """The friends' tree, whose files can be opened and fetched."""

    def wire(self, disk: Disk, downloads: Downloads, keep: bool) -> None:
        """*keep*: what is opened is fetched whole, and stays."""
        self._disk, self._downloads, self._keep = disk, downloads, keep

    def open(self, parts: Parts, offset: int, answer: Answer) -> None:
        """Answer with the file at *parts*, `Opened`, wanted from *offset* on."""
        self._do(self._open(parts, offset), answer)

    async def _open(self, parts: Parts, offset: int) -> Opened:
        found = await self._look_up(parts)
        if found.kind != "file":
            raise BadPath("that is a folder")
        streaming = await self._downloads.streaming.get()
        source = await streaming.open(found, offset, is_kept=self._keep)
        return Opened(source, self._disk)

    def fetch(self, parts: Parts, folder: Parts, answer: Answer) -> None:
        """Answer with the id of the job that fetches what is at *parts* into *folder*
        of the disk."""
        self._do(self._fetch(parts, folder), answer)

    async def _fetch(self, parts: Parts, folder: Parts) -> str:
        found = await self._look_up(parts)
        to = os.fsdecode(b"/".join(folder)) or "."
        job = await self._downloads.add(found, to)
        if job.target != self._downloads.adding.target(found, to):
            view = await self._downloads.view(job)
            assert isinstance(view, dict)
            place = os.path.relpath(str(view["path"]), self._disk.path)
            on_disk = os.path.join("/", place)
            if job.has_ended:
                raise AlreadyExists(f"job {job.id} has brought it already: {on_disk}")
            raise AlreadyExists(f"job {job.id} fetches it already: {on_disk}")
        return job.id

    async def _look_up(self, parts: Parts) -> Found:
        place = self.look_up(parts)
        return await self._store.run(self.resolve, place, parts)

    def _do(self, work: Any, answer: Answer) -> None:
        self._core.post(lambda: _start(self._core, work, answer))


def _start(core: Core, work: Any, answer: Answer) -> None:
    promise: Promise[Any] = core.spawn(work)
    promise.when_settled(lambda: _settle(promise, answer))


def _settle(promise: Promise[Any], answer: Answer) -> None:
    try:
        value = promise.result()
    except (OSError, FonshareError) as error:
        answer(None, error)
    except BaseException:
        answer(None, NotHereNow("internal error"))  # a client must not wait for ever
        raise
    else:
        answer(value, None)
