"""Files that are read while they arrive: their streams, and the jobs that readers make.

Who opens a friend's file makes a job that fetches what is read of it and no more. It
takes no place of other jobs, rests while nothing is wanted, and ends a minute after its
last reader: players close and open again whenever somebody jumps. What has arrived of
it is deleted then, unless it is kept (a setting, or `get` of the same entry). Loaded
with the first stream. Core thread, but for what `Reading` says.
"""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk, open_below
from fonshare_agent.downloads import Downloads
from fonshare_agent.errors import FonshareError, NotHereNow
from fonshare_agent.index.records import Found
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job
from fonshare_agent.model import JobState, SharePath
from fonshare_agent.reasons import REASONS
from fonshare_agent.streaming_on_demand import StreamingOnDemand
from fonshare_agent.transfer.blocks import Content
from fonshare_agent.transfer.stream import Stream

log = logging.getLogger(__name__)

OPENED_MAX: Final = 3  # at once: with two sources each, as many as lanes to spare
IDLE_MAX: Final = 4  # streams of other jobs that nobody reads; 64 KiB of hashes each
LINGER_S: Final = 60.0  # after the last reader of a file that was only opened
REST_S: Final = 5.0  # without a wish, before its source's session is given back
OPEN_S: Final = 25.0  # clients wait half a minute for an answer at least
RETRY_S: Final = 3.0
LOOK_S: Final = 0.25
PATIENCE_S: Final = 45.0  # of a reader, less than the door's own for a stalled transfer
# What may be over within the time that a client waits.
ENDED, PAUSED = FINAL = ("ended", "paused")
PASSING: Final = ("source.hashing", "source.lost", "source.busy", "source.changed", "")


class Reading:
    """One reader of one stream. `read` and `close` on a thread that may block."""

    def __init__(self, stream: Stream, content: Content, reader: int) -> None:
        self._stream, self._content, self._reader = stream, content, reader
        self.size = content.size
        self._waits_since: float | None = None

    def read(self, view: memoryview, offset: int) -> int:
        """Read verified bytes; 0: not yet. Raises NotHereNow after a while of that."""
        count = self._stream.read(self._reader, self._content, view, offset)
        now = time.monotonic()
        if count:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        elif self._stream.is_over or now - self._waits_since > PATIENCE_S:
            raise NotHereNow(self._stream.trouble or "the source sends nothing")
        return count

    def close(self) -> None:
        self._stream.end(self._reader)


@dataclass(slots=True)
class _Opened:
    """A job that lasts as long as somebody reads."""

    stream: Stream
    read_at: float
    wanted_at: float


class Streaming:
    """See the module's text."""

    def __init__(
        self,
        downloads: Downloads,
        marks: StreamingOnDemand,
        core: Core,
        store: Worker,
        files: Worker,
        state: StateStore,
    ) -> None:
        self._downloads, self._marks = downloads, marks
        self._core, self._store, self._files = core, store, files
        self._state = state
        self._streams: dict[str, Stream] = {}
        self._opened: dict[str, _Opened] = {}
        self._tried: dict[str, float] = {}  # job -> when it was begun last
        self._is_looking = self._is_closed = False

    def stream(self, job_id: str, *, is_kept: bool) -> Stream:
        """Return the stream of a job, which may be new."""
        if job_id not in self._streams:
            self._drop_idle()
            self._streams[job_id] = Stream(is_all=is_kept)
            if not is_kept:
                now = self._core.clock()
                self._opened[job_id] = _Opened(self._streams[job_id], now, now)
        return self._streams[job_id]

    def _drop_idle(self) -> None:
        """Forget streams of jobs that go on, or have ended, without anybody reading:
        each holds the hashes of its file, and is made anew when it is wanted."""
        idle = [
            job_id
            for job_id, stream in self._streams.items()
            if not (
                stream.readers
                or job_id in self._opened
                or self._downloads.is_running(job_id)
            )
        ]
        for job_id in idle[:-IDLE_MAX]:
            del self._streams[job_id]
            self._tried.pop(job_id, None)

    def keep(self, job_id: str) -> None:
        """The whole file is wanted now, whoever reads it."""
        self._opened.pop(job_id, None)
        if job_id in self._streams:
            self._streams[job_id].is_all = True

    def ready_bytes(self, job_id: str) -> int:
        stream = self._streams.get(job_id)
        return 0 if stream is None else stream.ready_bytes

    def close(self) -> None:
        """Let go of every file. Blocks; any thread."""
        self._is_closed = True
        for stream in list(self._streams.values()):
            stream.is_over = True
            stream.close()

    # --- opening ---

    async def open(self, found: Found, offset: int, *, is_kept: bool) -> Reading | Path:
        """Return a reader of *found*, who begins at *offset*, or where it lies on the
        disk already.

        NotHereNow, with the reason, if nobody gives it now.
        """
        await self._make_room()
        job = await self._downloads.add(found, None, is_kept)
        stream = self.stream(job.id, is_kept=not self._marks.is_opened(job.id))
        reader, has_reader = stream.begin(offset), False
        try:
            opened = await self._open(job, stream, reader)
            has_reader = isinstance(opened, Reading)
            return opened
        finally:
            if not has_reader:
                await self._files.run(stream.end, reader)
                await self._end_unread(job.id)

    async def _end_unread(self, job_id: str) -> None:
        """It could not be opened: nothing is kept of it, unless others read it."""
        opened = self._opened.get(job_id)
        if opened is not None and not opened.stream.readers:
            await self._end(job_id)

    async def _make_room(self) -> None:
        """End what nobody reads any more if there are too many."""
        idle = [
            one for one, opened in self._opened.items() if not opened.stream.readers
        ]
        if len(self._opened) >= OPENED_MAX:
            if not idle:
                raise NotHereNow(f"{OPENED_MAX} files are open already")
            await self._end(min(idle, key=lambda one: self._opened[one].read_at))

    async def _open(self, job: Job, stream: Stream, reader: int) -> Reading | Path:
        until = self._core.clock() + OPEN_S
        while True:
            now = await self._store.run(self._state.find_job, job.id)
            if now is not None and now.state is JobState.DONE:
                file = await self._store.run(self._state.get_file, job.id, 0)
                return Path(
                    os.fsdecode(os.path.join(now.target, file.final_name or b""))
                )
            if why := self._downloads.why_closed(job.id):
                raise NotHereNow(why)
            trouble = self._begin(now)
            if stream.content is not None and trouble not in FINAL:
                self._look_soon()
                return Reading(stream, stream.content, reader)
            is_late = self._core.clock() > until or self._is_closed
            if trouble is not None and (trouble not in PASSING or is_late):
                raise NotHereNow(_text_of(now))
            if is_late:
                raise NotHereNow("the source does not answer")
            await self._core.sleep(LOOK_S)

    def _begin(self, job: Job | None) -> str | None:
        """See that an attempt runs; return why the last one ended, None if one runs."""
        if job is None or job.has_ended:
            return ENDED
        if self._downloads.is_running(job.id):
            return None
        if job.state is JobState.PAUSED:
            return PAUSED
        was_tried = self._tried.get(job.id)
        if was_tried is None or self._core.clock() - was_tried > RETRY_S:
            self._tried[job.id] = self._core.clock()
            self._downloads.start(job)
            return None
        return job.error_code

    # --- while they are read ---

    def _look_soon(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._core.spawn_service("streams", self._look())

    async def _look(self) -> None:
        """Look after the streams until nobody reads one."""
        try:
            while not self._is_closed and (self._opened or self._is_read):
                for job_id in list(self._streams):
                    try:
                        await self._look_at(job_id)
                    except FonshareError as error:  # a disk that was pulled, mostly
                        log.warning("a stream is not looked after: %s", error.code)
                await self._core.sleep(LOOK_S)
        finally:
            self._is_looking = False

    @property
    def _is_read(self) -> bool:
        return any(stream.readers for stream in self._streams.values())

    async def _look_at(self, job_id: str) -> None:
        stream, opened = self._streams.get(job_id), self._opened.get(job_id)
        if stream is None:
            return
        now, wants = self._core.clock(), stream.readers > 0 and stream.wants
        if wants and not self._downloads.is_running(job_id):
            job = await self._store.run(self._state.find_job, job_id)
            if self._begin(job) is not None:
                stream.trouble = _text_of(job)
            stream.is_over = job is None or (job.has_ended and not stream.is_whole)
        if opened is None:
            return
        if wants or stream.is_whole:
            opened.wanted_at = now
        elif self._downloads.is_running(job_id) and now - opened.wanted_at > REST_S:
            self._downloads.break_off(job_id)
            await self._store.run(self._state.update_job, job_id, JobState.QUEUED)
        if stream.readers:
            opened.read_at = now
        elif now - opened.read_at > LINGER_S:
            await self._end(job_id)

    async def _end(self, job_id: str) -> None:
        """Nobody reads it any more: end the job, and delete what has arrived of it."""
        opened = self._opened.pop(job_id, None)
        stream = self._streams.pop(job_id, None)
        self._tried.pop(job_id, None)
        if opened is None or stream is None:
            return
        stream.is_over = True
        await self._files.run(stream.close)
        await self._downloads.cancel(job_id)
        await self._marks.forget(job_id)


def _text_of(job: Job | None) -> str:
    """Say why nothing comes."""
    if job is None or job.has_ended:
        return "its job has ended"
    if job.state is JobState.PAUSED:
        return "its job is paused"
    reason = REASONS.get(job.error_code)
    return job.error_text or (reason.text if reason else "the source does not answer")


def open_local(disk: Disk, path: Path) -> int:
    """Return a descriptor of a file on the disk. Blocks."""
    root = disk.open_root()
    try:
        below = SharePath.parse(os.fsencode(path.relative_to(disk.path)))
        return open_below(root, below, os.O_RDONLY)
    finally:
        os.close(root)
