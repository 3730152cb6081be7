"""A few threads that move blocks: each a blocking client of one ticket session.

`fetch` reads what a partial lacks, `push` writes a stretch of a file to a peer; both
return a promise of a reason: "" when all of it is done, else a stable code of
docs/errors.md that says why not. What was verified stays in the partial, whatever
happens. Called on the core thread; the work runs on the threads here. Must not know
jobs, rosters or shares.
"""

import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.errors import (
    BadContent,
    BadPath,
    DiskFull,
    DiskReadOnly,
    FileTooLarge,
    FonshareError,
    PeerUnreachable,
    SourceChanged,
    SourceVanished,
    StorageError,
    TransferCancelled,
)
from fonshare_agent.transfer.limits import CHUNK_BYTES, TokenBucket
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.session import Credentials, Download, Session
from fonshare_agent.transfer.session_pool import SessionPool
from fonshare_agent.transfer.wire import POLL_S, STALL_S, Address, Patience

T = TypeVar("T")

PUSHERS: Final = 2  # beside the fetchers, so that neither kind waits for the other


class Watch(Protocol):
    """How the owner of a fetch follows and stops it, from any thread."""

    is_cancelled: bool
    done_bytes: int


def _as_given(addresses: Sequence[Address]) -> Sequence[Address]:
    return addresses


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read what *partial* lacks from a peer's file."""

    ticket: bytes
    secret: bytes = field(repr=False)
    addresses: Sequence[Address]
    peer_fingerprint: bytes
    partial: Partial
    watch: Watch
    is_copy: bool = False  # of a catalogue: no file of a job has to wait for it


@dataclass(frozen=True, slots=True)
class Push:
    """Write bytes *first* to *end* of a file of ours to a peer's partial."""

    ticket: bytes
    secret: bytes = field(repr=False)
    addresses: Sequence[Address]
    peer_fingerprint: bytes
    opener: Callable[[], int] = field(repr=False)
    first: int
    end: int
    is_allowed: Callable[[], bool] = field(repr=False)


class TransferWorkers:
    """The threads, started as they are needed. *fetchers*: how many at once."""

    def __init__(
        self,
        core: Core,
        context: ssl.SSLContext,
        upload: TokenBucket,
        download: TokenBucket,
        fetchers: int = 2,
        stall_s: float = STALL_S,
        resolve: Callable[[Sequence[Address]], Sequence[Address]] = _as_given,
    ) -> None:
        """*resolve* looks names up, and leaves out what may not be dialled."""
        self._resolve = resolve
        self._core, self._clock, self._stall_s = core, core.clock, stall_s
        self._upload, self._download = upload, download
        self._pool = SessionPool(context, core.clock)
        self._fetchers = _Crew("fetch", fetchers, core)
        self._copiers = _Crew("copy", 1, core)
        self._pushers = _Crew("push", PUSHERS, core)
        self._tenders = _Crew("tend", 1, core)
        self._is_stopping = False

    def fetch(self, task: Fetch) -> Promise[str]:
        """Do *task*; the reason it ended for is promised, "" if it is complete."""
        crew = self._copiers if task.is_copy else self._fetchers
        return crew.run(self._fetch, task)

    def push(self, task: Push) -> Promise[str]:
        """Do *task*; the reason it ended for is promised, "" if all was taken.

        Nobody waits in line for hours: when all hands are full, that is the reason.
        """
        if self._pushers.is_busy:
            refused: Promise[str] = Promise()
            refused.resolve("source.busy")
            return refused
        return self._pushers.run(self._push, task)

    def tend(self) -> Promise[str]:
        """Keep idle sessions in order; call twice a minute."""
        return self._tenders.run(self._tend, None)

    def forget_sessions(self) -> Promise[str]:
        """End idle sessions: this host has another address, or another way out."""
        return self._tenders.run(self._close_idle, None)

    def stop(self) -> None:
        """Cancel what runs and end the threads. Waits for them."""
        self._is_stopping = True
        self._fetchers.stop()
        self._copiers.stop()
        self._pushers.stop()
        self._tenders.stop()
        self._pool.close()

    # --- on the threads -----------------------------------------------------------

    def _fetch(self, task: Fetch) -> str:
        patience = Patience(
            self._clock,
            lambda: self._is_stopping or task.watch.is_cancelled,
            self._stall_s,
        )
        return self._explained(lambda: self._fetch_by_session(task, patience))

    def _fetch_by_session(self, task: Fetch, patience: Patience) -> None:
        session = self._borrow(task, patience)
        try:
            Fetching(session, task, patience, self._download).run()
            task.partial.sync()
        except BaseException:
            session.close()  # its replies may be out of step
            raise
        self._pool.give_back(session)

    def _push(self, task: Push) -> str:
        patience = Patience(
            self._clock,
            lambda: self._is_stopping or not task.is_allowed(),
            self._stall_s,
        )
        reason = self._explained(lambda: self._push_by_session(task, patience))
        # The reason is told to the peer, and the disk is ours.
        return "source.disk" if reason.startswith("disk.") else reason

    def _push_by_session(self, task: Push, patience: Patience) -> None:
        source = _open_source(task)
        try:
            session = self._borrow(task, patience)
            try:
                _send_stretch(session, source, task, patience, self._upload)
            except BaseException:
                session.close()
                raise
            self._pool.give_back(session)
        finally:
            os.close(source)

    def _borrow(self, task: Fetch | Push, patience: Patience) -> Session:
        credentials = Credentials(task.ticket, task.secret)
        addresses = self._resolve(task.addresses)
        return self._pool.borrow(
            addresses, task.peer_fingerprint, credentials, patience
        )

    def _tend(self, _: None) -> str:
        self._pool.tend()
        return ""

    def _close_idle(self, _: None) -> str:
        self._pool.close()
        return ""

    def _explained(self, work: Callable[[], None]) -> str:
        try:
            work()
        except FonshareError as error:
            return reason_of(error)
        return ""


def reason_of(error: FonshareError) -> str:
    """Return the code under which a job waits because of *error*."""
    for kind, reason in (
        (PeerUnreachable, "unreachable"),
        (SourceChanged, "source.changed"),
        (SourceVanished, "source.vanished"),
        (BadContent, "source.corrupt"),
        (DiskFull, "disk.full"),
        (FileTooLarge, "disk.file_too_large"),
        (DiskReadOnly, "disk.readonly"),
        (StorageError, "disk.missing"),
    ):
        if isinstance(error, kind):
            return reason
    return "source.lost"


class Fetching:
    """One fetch on one session; belongs to one thread."""

    def __init__(
        self,
        session: Session,
        task: Fetch,
        patience: Patience,
        bucket: TokenBucket,
    ) -> None:
        self._session, self._task = session, task
        self._partial, self._patience, self._bucket = task.partial, patience, bucket
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self._doubted: set[int] = set()  # blocks that were wrong once

    def run(self) -> None:
        """Read until nothing is missing.

        A block that is wrong twice raises BadContent: once may be the line's or the
        memory's fault, or the file changed just then, which the peer tells.
        """
        while gaps := self._partial.gaps():
            self._read_gap(*gaps[0])

    def _read_gap(self, first: int, end: int) -> None:
        content = self._partial.content
        download = self._session.read_from(content.range(first)[0])
        try:
            for index in range(first, end):
                self._read_block(download, index)
            if end == content.count:
                download.finish()
            else:
                download.break_off()
        finally:
            download.close()

    def _read_block(self, download: Download, index: int) -> None:
        before = self._partial.done_bytes
        with self._partial.write_block(index) as writer:
            while writer.left:
                wanted = min(self._bucket.chunk_bytes, writer.left)
                _wait(self._bucket.take(wanted), self._patience)
                count = download.fill(self._buffer[:wanted])
                if count < wanted:
                    raise download.explain()
                writer.write(self._buffer[:count])
                length = self._partial.content.range(index)[1]
                self._task.watch.done_bytes = before + length - writer.left
            is_right = writer.finish()
        self._task.watch.done_bytes = self._partial.done_bytes
        if not is_right:
            if index in self._doubted:
                raise BadContent(f"block {index} came wrong twice")
            self._doubted.add(index)


def _open_source(task: Push) -> int:
    try:
        return task.opener()
    except (FileNotFoundError, NotADirectoryError, BadPath):
        raise SourceVanished("the file is not there any more") from None
    except OSError as error:
        raise StorageError(f"the file cannot be opened: {error.strerror}") from None


def _read(source: int, view: memoryview, offset: int) -> int:
    try:
        count = os.preadv(source, [view], offset)
    except OSError as error:
        raise StorageError(f"the file cannot be read: {error.strerror}") from None
    if not count:
        raise SourceChanged("the file is shorter than it was")
    return count


def _send_stretch(
    session: Session,
    source: int,
    task: Push,
    patience: Patience,
    bucket: TokenBucket,
) -> None:
    before = _stamp(source)
    upload = session.write_from(task.first)
    buffer = memoryview(bytearray(CHUNK_BYTES))
    try:
        offset = task.first
        while offset < task.end:
            wanted = min(bucket.chunk_bytes, task.end - offset)
            _wait(bucket.take(wanted), patience)
            count = _read(source, buffer[:wanted], offset)
            upload.send(buffer[:count])
            offset += count
        if _stamp(source) != before:
            raise SourceChanged("the file changed while it was read")
        upload.finish()
    finally:
        upload.close()


def _stamp(descriptor: int) -> tuple[int, ...]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _wait(seconds: float, patience: Patience) -> None:
    """Wait for the limit of bandwidth; let go promptly when cancelled."""
    until = patience.clock() + seconds
    while True:
        if patience.is_cancelled():
            raise TransferCancelled("the transfer was cancelled")
        left = until - patience.clock()
        if left <= 0:
            return
        time.sleep(min(left, POLL_S))


class _Crew:
    """Some threads of one kind, started one by one as there is work. Core thread."""

    def __init__(self, name: str, size: int, core: Core) -> None:
        self._name, self._size, self._core = name, size, core
        self._workers: list[Worker] = []
        self._waiting: list[int] = []  # tasks given to each and not yet done

    @property
    def is_busy(self) -> bool:
        """Whether nobody is idle, and nobody more is to come."""
        return len(self._workers) == self._size and all(self._waiting)

    def run(self, function: Callable[[T], str], task: T) -> Promise[str]:
        """Run *function* on the least busy thread."""
        index = self._choose()
        self._waiting[index] += 1
        promise = self._workers[index].run(function, task)
        promise.when_settled(lambda: self._note_done(index))
        return promise

    def _choose(self) -> int:
        idle = [index for index, count in enumerate(self._waiting) if not count]
        if idle:
            return idle[0]
        if len(self._workers) == self._size:
            return self._waiting.index(min(self._waiting))
        worker = Worker(f"{self._name}-{len(self._workers)}", self._core)
        worker.start()
        self._workers.append(worker)
        self._waiting.append(0)
        return len(self._workers) - 1

    def _note_done(self, index: int) -> None:
        self._waiting[index] -= 1

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()
