"""A few threads that move blocks: each a blocking client of one ticket session.

`fetch` reads what a partial or a batch lacks (reading.py), `push` writes a stretch of a
file to a peer; both return a promise of a reason: "" when all of it is done, else a
stable code of docs/errors.md that says why not. What was verified stays, whatever
happens. Called on the core thread; the work runs on the threads here. Must not know
jobs, rosters or shares.
"""

import os
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, TypeVar

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
    TargetBarred,
    TargetElsewhere,
)
from fonshare_agent.transfer.data_try import at_host, knock_at_data
from fonshare_agent.transfer.disk_errors import is_ours
from fonshare_agent.transfer.limits import CHUNK_BYTES, Flow, TokenBucket, Traffic
from fonshare_agent.transfer.reading import (
    Fetch,
    FetchBundle,
    Right,
    wait_for_turn,
)
from fonshare_agent.transfer.session import Credentials, Dial, Session
from fonshare_agent.transfer.session_pool import NOOP_PATIENCE_S, SessionPool
from fonshare_agent.transfer.wire import STALL_S, Address, Patience, Wire, connect

T = TypeVar("T")

PUSHERS: Final = 2  # beside the fetchers, so that neither kind waits for the other


RELAYED: Final = ("relay", 0)  # the friends' door at the other end of a relay


def _as_given(addresses: Sequence[Address]) -> Sequence[Address]:
    return addresses


@dataclass(frozen=True, slots=True)
class Push(Right):
    """Write bytes *first* to *end* of a file of ours to a peer's partial."""

    opener: Callable[[], int] = field(repr=False)
    first: int
    end: int
    is_allowed: Callable[[], bool] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Knock:
    """See whether a peer's door is at one of its addresses, and a data port there."""

    addresses: Sequence[Address]
    peer_fingerprint: bytes
    data: Sequence[Address] = ()  # where it listens; () if no data port is tried
    request: bytes = field(default=b"", repr=False)


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
        is_free: Callable[[str], bool] = lambda address: False,
        traffic: Traffic | None = None,
        opened: Callable[[], TokenBucket] | None = None,
    ) -> None:
        """*resolve* looks names up, and leaves out what may not be dialled; *is_free*
        tells whether what goes to an address passes by the limits; *traffic* counts
        what does not; *opened* is the bucket of what somebody reads as it comes."""
        self._traffic = traffic
        self._is_free, self._free = is_free, TokenBucket(0, core.clock)
        self._resolve = resolve
        self._core, self._clock, self._stall_s = core, core.clock, stall_s
        self._upload, self._download = upload, download
        self._opened = opened or (lambda: download)
        self._context, self._pool = context, SessionPool(context, core.clock)
        self._fetchers = _Crew("fetch", fetchers, core)
        self._copiers = _Crew("copy", 1, core)
        self._pushers = _Crew("push", PUSHERS, core)
        self._tenders = _Crew("tend", 1, core)
        self._is_stopping = False

    def fetch(self, task: Fetch | FetchBundle) -> Promise[str]:
        """Do *task*; the reason it ended for is promised, "" if it is complete."""
        is_copy = isinstance(task, Fetch) and task.is_copy
        crew = self._copiers if is_copy else self._fetchers
        return crew.run(self._fetch, task)

    @property
    def has_hands(self) -> bool:
        """Whether one more fetch would begin at once."""
        return not self._fetchers.is_busy

    def push(self, task: Push) -> Promise[str]:
        """Do *task*; the reason it ended for is promised, "" if all was taken.

        Nobody waits in line for hours: when all hands are full, that is the reason.
        """
        if self._pushers.is_busy:
            refused: Promise[str] = Promise()
            refused.resolve("source.busy")
            return refused
        return self._pushers.run(self._push, task)

    def knock(self, task: Knock) -> Promise[str]:
        """See whether a door is reached; "" if so, else why not."""
        return self._tenders.run(self._knock, task)

    def expect(self, peer_fingerprint: bytes) -> Promise[str]:
        """That peer is being asked for a ticket: if a session with it is open, have the
        connection made on which its data will come."""
        return self._tenders.run(self._prepare, peer_fingerprint)

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

    def _fetch(self, task: Fetch | FetchBundle) -> str:
        patience = Patience(
            self._clock,
            lambda: self._is_stopping or task.is_cancelled,
            self._stall_s,
        )
        return self._explained(lambda: self._fetch_by_session(task, patience))

    def _fetch_by_session(self, task: Fetch | FetchBundle, patience: Patience) -> None:
        session = self._borrow(task, patience)
        is_opened = isinstance(task, Fetch) and task.is_opened
        bucket = self._opened() if is_opened else self._download
        flow = self._flow(bucket, session)
        try:
            task.read(session, patience, flow)
        except BaseException:
            session.close()  # its replies may be out of step
            raise
        finally:
            flow.close()
        self._pool.give_back(session)

    def _push(self, task: Push) -> str:
        patience = Patience(
            self._clock,
            lambda: self._is_stopping or not task.is_allowed(),
            self._stall_s,
        )
        reason = self._explained(lambda: self._push_by_session(task, patience))
        # The reason is told to the peer, and the disk is ours.
        return "source.disk" if is_ours(reason) else reason

    def _push_by_session(self, task: Push, patience: Patience) -> None:
        source = _open_source(task)
        try:
            session = self._borrow(task, patience)
            flow = self._flow(self._upload, session)
            try:
                _send_stretch(session, source, task, patience, flow)
            except BaseException:
                session.close()
                raise
            finally:
                flow.close()
            self._pool.give_back(session)
        finally:
            os.close(source)

    def _flow(self, bucket: TokenBucket, session: Session) -> Flow:
        is_free = self._is_free(session.peer)
        session.on_data = None if is_free or self._traffic is None else self._count
        return Flow(self._free if is_free else bucket, session.fingerprint)

    def _count(self, wire: Wire) -> None:
        assert self._traffic is not None
        self._traffic.add(wire, lambda: wire.connection)
        wire.on_close = self._traffic.drop

    def _borrow(self, task: Right, patience: Patience) -> Session:
        credentials = Credentials(task.ticket, task.secret)
        # A partner is asked first what it has, and may have nothing for long.
        lane = task.lane if isinstance(task, Fetch) else None
        ahead = lane is None or not lane.is_partner
        relay = task.relay if isinstance(task, (Fetch, FetchBundle)) else None
        addresses: Sequence[Address] = (RELAYED,)
        dial: Dial = connect
        if relay is None:
            addresses = self._resolve(task.addresses)
        else:
            relay.addresses, dial = self._resolve(relay.addresses), relay.dial
        return self._pool.borrow(
            addresses, task.peer_fingerprint, credentials, patience, dial, ahead=ahead
        )

    def _knock(self, task: Knock) -> str:
        patience = Patience(self._clock, lambda: self._is_stopping, self._stall_s)
        there: list[Address] = []

        def knock() -> None:
            addresses = self._resolve(task.addresses)
            session = Session.knock(
                addresses, self._context, task.peer_fingerprint, patience
            )
            with closing(session):
                there.extend(at_host(self._resolve(task.data), session.peer))

        reason = self._explained(knock)
        if reason or not there:
            return reason
        failed = self._explained(lambda: knock_at_data(there, task.request, patience))
        return "data" if failed else ""

    def _prepare(self, peer_fingerprint: bytes) -> str:
        patience = Patience(self._clock, lambda: self._is_stopping, NOOP_PATIENCE_S)
        return self._explained(lambda: self._pool.prepare(peer_fingerprint, patience))

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
        (TargetElsewhere, "target.elsewhere"),
        ((TargetBarred, BadPath), "target.barred"),
        (StorageError, "disk.missing"),
    ):
        if isinstance(error, kind):
            return reason
    return "source.lost"


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
    flow: Flow,
) -> None:
    before = _stamp(source)
    upload = session.write_from(task.first)
    buffer = memoryview(bytearray(CHUNK_BYTES))
    try:
        offset = task.first
        while offset < task.end:
            wanted = min(flow.chunk_bytes, task.end - offset)
            wait_for_turn(flow, wanted, patience)
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
