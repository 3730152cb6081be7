"""Makes a job of what the owner wants, unless there is one for it already.

Core thread; the files of a folder are written down on the store thread. Must not know
which jobs run.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from fonshare_agent.core import Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import BadPath, NotAllowed
from fonshare_agent.index.records import Found
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import (
    GroupId,
    JobState,
    NodeId,
    SharePath,
    base32,
    printable,
)
from fonshare_agent.settings import Settings
from fonshare_agent.storable import storable_folder

JOB_ID_BYTES = 5  # 8 characters: enough for the jobs one node keeps


class JobAdding:
    """*names* are a group's and a member's here, as the names of folders."""

    def __init__(
        self,
        store: Worker,
        files: Worker,
        index: IndexStore,
        state: StateStore,
        settings: Settings,
        disk: Disk,
        names: Callable[[GroupId, NodeId], tuple[str, str]],
        draw: Callable[[int], bytes],
    ) -> None:
        self._store, self._files, self._disk = store, files, disk
        self._index, self._state = index, state
        self._settings, self._names, self._draw = settings, names, draw

    async def add(
        self, found: Found, to: str | None, follow: str | None, *, is_wish: bool
    ) -> tuple[Job, bool]:
        """Return the job for *found*, and whether it is a new one.

        *follow* wants it, or the owner; *is_wish*: who will keep it.
        """
        if found.own:
            raise NotAllowed(
                "that is a file of this node already",
                thing=printable(found.name),
                next="Nothing was fetched.",
            )
        same = await self._find_same(found)
        if same is not None:
            if same.follow and follow is None and is_wish:
                await self._store.run(self._state.follows.claim, same.id)
                same = replace(same, follow=None)
            return same, False
        job = Job(
            id=base32(self._draw(JOB_ID_BYTES)),
            group=found.group,
            member=found.member,
            share=found.share,
            path=found.path,
            kind=found.kind,
            name=printable(found.name),
            target=self.target(found, to),
            created=int(time.time()),
            follow=follow,
        )
        return await self._store.run(self._add_job, job, found), True

    def target(self, found: Found, to: str | None) -> bytes:
        """Return the absolute folder where *found* goes."""
        names = self._names(found.group, found.member)
        folder = target_of(self._settings, names, to)
        if self._disk.refuses_names:
            return storable_folder(folder, self._disk.path)
        return folder

    async def _find_same(self, found: Found) -> Job | None:
        """Return the job that fetches *found*, or has fetched just this content."""
        job = await self._store.run(
            self._state.find_same,
            found.group,
            found.member,
            found.share,
            found.path,
            also_ended=True,
        )
        if job is None or job.state in (JobState.FAILED, JobState.CANCELLED):
            return None
        if job.state is not JobState.DONE:
            return job
        if job.kind != "file":
            return None  # what is new in a folder is worth another look
        file = await self._store.run(self._state.get_file, job.id, 0)
        place = Path(os.fsdecode(os.path.join(job.target, file.final_name or b"")))
        is_here = await self._files.run(_is_file_of, place, file.size)
        return job if is_here and file.root == found.root else None

    def _add_job(self, job: Job, found: Found) -> Job:
        """On the store thread: the files of a folder are streamed, never gathered."""
        # Again, now that nobody comes between: two may have asked for it at once.
        same = self._state.find_same(job.group, job.member, job.share, job.path)
        return same or self._state.add_job(job, self._files_of(job.id, found))

    def _files_of(self, job: str, found: Found) -> Iterator[JobFile]:
        if found.kind == "file" and found.path is not None:
            yield JobFile(job, 0, found.path, found.size, found.modified, found.root)
            return
        number, after = 0, None
        while page := self._index.walk_folder(found, after):
            for one in page:
                if one.path is not None:
                    yield JobFile(
                        job, number, one.path, one.size, one.modified, one.root
                    )
                    number += 1
            after = page[-1].path


def _is_file_of(place: Path, size: int) -> bool:
    """Tell whether a file is there that has not been cut or gone on with since."""
    return place.is_file() and place.stat().st_size == size


def target_of(settings: Settings, names: tuple[str, str], to: str | None) -> bytes:
    """Return the absolute folder of the disk for what is fetched.

    *names*: the group's and the member's here, where the owner wants no folder *to*.
    """
    disk = settings.disk
    if to is None:
        group, member = names
        return os.fsencode(settings.downloads_folder / group / member)
    folder = Path(os.path.normpath(disk / to))
    if folder != disk and disk not in folder.parents:
        raise BadPath(
            f"{to!r} is not on the disk {disk}",
            thing=to,
            next="Name a folder of the disk; nothing was fetched.",
        )
    if folder != disk:  # FonShare's own folder is no place for files
        SharePath.parse(os.fsencode(folder.relative_to(disk)))
    return os.fsencode(folder)
