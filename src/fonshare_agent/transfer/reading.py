"""What a transfer worker reads from a peer: missing blocks of a file, or small files.

Each task says how it is read on a session that has redeemed its ticket; the limit of
bandwidth and the owner's wish to stop are looked at before each chunk. Belongs to one
thread. Must not know how sessions are found, or what a job is.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from fonshare_agent.errors import BadContent, TransferCancelled
from fonshare_agent.transfer.batch import Batch
from fonshare_agent.transfer.limits import CHUNK_BYTES, TokenBucket
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.session import Download, Session
from fonshare_agent.transfer.wire import POLL_S, Address, Patience

# A bundle that takes longer is cut at a file's end, so that what has come is placed.
BUNDLE_S: Final = 10.0


class Watch(Protocol):
    """How the owner of a fetch follows and stops it, from any thread."""

    is_cancelled: bool
    done_bytes: int


@dataclass(frozen=True, slots=True)
class Right:
    """A ticket, and whose it is."""

    ticket: bytes
    secret: bytes = field(repr=False)
    addresses: Sequence[Address]
    peer_fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Fetch(Right):
    """Read what *partial* lacks from a peer's file."""

    partial: Partial
    watch: Watch

    def read(self, session: Session, patience: Patience, bucket: TokenBucket) -> None:
        _Blocks(session, self, patience, bucket).run()
        self.partial.sync()


@dataclass(frozen=True, slots=True)
class FetchBundle(Right):
    """Read the files of *batch*, which are a peer's bundle."""

    batch: Batch
    watch: Watch

    def read(self, session: Session, patience: Patience, bucket: TokenBucket) -> None:
        _Files(session, self, patience, bucket).run()


class _Blocks:
    """One fetch on one session."""

    def __init__(
        self, session: Session, task: Fetch, patience: Patience, bucket: TokenBucket
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
                wait_for_turn(self._bucket.take(wanted), self._patience)
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


class _Files:
    """One bundle on one session."""

    def __init__(
        self,
        session: Session,
        task: FetchBundle,
        patience: Patience,
        bucket: TokenBucket,
    ) -> None:
        self._session, self._task = session, task
        self._patience, self._bucket = patience, bucket
        self._buffer = memoryview(bytearray(CHUNK_BYTES))

    def run(self) -> None:
        """Read one file after another, until the end or until it has taken long."""
        files = self._task.batch.files
        until = self._patience.clock() + BUNDLE_S
        download = self._session.read_from(0)
        try:
            for index in range(len(files)):
                if index and self._patience.clock() >= until:
                    download.break_off()
                    return
                self._read_file(download, index, files[index].size)
            download.finish()
        finally:
            download.close()

    def _read_file(self, download: Download, index: int, size: int) -> None:
        with self._task.batch.write_file(index) as writer:
            while size:
                wanted = min(self._bucket.chunk_bytes, size)
                wait_for_turn(self._bucket.take(wanted), self._patience)
                count = download.fill(self._buffer[:wanted])
                if count < wanted:
                    raise download.explain()
                writer.write(self._buffer[:count])
                size -= count
                self._task.watch.done_bytes += count


def wait_for_turn(seconds: float, patience: Patience) -> None:
    """Wait for the limit of bandwidth; let go promptly when cancelled."""
    until = patience.clock() + seconds
    while True:
        if patience.is_cancelled():
            raise TransferCancelled("the transfer was cancelled")
        left = until - patience.clock()
        if left <= 0:
            return
        time.sleep(min(left, POLL_S))
