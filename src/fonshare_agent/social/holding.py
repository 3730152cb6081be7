"""What follows hold on the disk: the files that their jobs have put there.

A file counts as long as it lies where its job has put it. Only the record is ever
changed here, and only while the disk is surely there: a missing disk is no deletion.
"""

import os
from contextlib import suppress

from fonshare_agent.core import Worker
from fonshare_agent.disk import Disk, open_below
from fonshare_agent.errors import BadPath
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_follows import Fetched, Follow
from fonshare_agent.index.state_records import Job
from fonshare_agent.model import SharePath
from fonshare_agent.transfer.disk_errors import translated

PAGE = 100  # files looked at in one go


class Holding:
    """Core thread; the disk is looked at on the files thread."""

    def __init__(
        self, store: Worker, files: Worker, state: StateStore, disk: Disk
    ) -> None:
        self._store, self._files, self._state = store, files, state
        self._disk = disk

    def place(self, below: bytes) -> str:
        """Return the absolute path of a folder below the disk."""
        return os.path.join(self._disk.path, os.fsdecode(below))

    async def record(self, job: Job) -> None:
        """Put the file that *job* has brought on record, once."""
        file = await self._store.run(self._state.get_file, job.id, 0)
        if file.final_name is None or job.follow is None:
            return
        place = os.path.join(job.target, file.final_name)
        below = os.path.relpath(place, os.fsencode(self._disk.path))
        fetched = Fetched(0, job.id, below, file.size, file.modified)
        await self._store.run(self._state.follows.add_file, job.follow, fetched)

    async def release(self, follow: Follow) -> None:
        """Forget the follow's files that are not there any more."""
        after = 0
        while page := await self._store.run(
            self._state.follows.files, follow, after, PAGE
        ):
            after = page[-1].number
            for file in await self._files.run(self._missing, page):
                await self._store.run(self._state.follows.claim, file.job)

    def _missing(self, page: list[Fetched]) -> list[Fetched]:
        """Return those that are gone; on the files thread. StorageError: no disk."""
        root = self._disk.open_root()
        try:
            with translated(self._disk):
                gone = [one for one in page if not _is_there(root, one)]
            self._disk.check()  # it was there all the time
        finally:
            os.close(root)
        return gone


def _is_there(root: int, file: Fetched) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError, BadPath):
        # O_PATH: whatever lies there now is not waited for, nor needs to be readable.
        os.close(open_below(root, SharePath.parse(file.place), os.O_PATH))
        return True
    return False
