"""What a transfer worker reads from a peer: missing blocks of a file, or small files.

Each task says how it is read on a session that has redeemed its ticket; the limit of
bandwidth and the owner's wish to stop are looked at before each chunk. Belongs to one
thread. Must not know how sessions are found, or what a job is.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from fonshare_agent.errors import (
    BadContent,
    BlockLacking,
    SourceRefused,
    TransferCancelled,
)
from fonshare_agent.transfer.limits import CHUNK_BYTES, TokenBucket
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.session import Download, Session
from fonshare_agent.transfer.wire import POLL_S, Address, Patience

if TYPE_CHECKING:  # an idle node does without them
    from fonshare_agent.transfer.batch import Batch
    from fonshare_agent.transfer.lanes import Lane

# A bundle that takes longer is cut at a file's end, so that what has come is placed.
BUNDLE_S: Final = 10.0
ASK_S: Final = 0.5  # a partner that had nothing is asked so often what it has


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
    """Read blocks that *kept* lacks from a peer's file: those of *lane*, or all."""

    kept: Partial
    watch: Watch
    lane: "Lane | None" = None
    is_copy: bool = False  # of a catalogue: no file of a job has to wait for it

    @property
    def is_cancelled(self) -> bool:
        return self.watch.is_cancelled or (self.lane is not None and self.lane.is_cut)

    def read(self, session: Session, patience: Patience, bucket: TokenBucket) -> None:
        lane = self.lane
        if lane is None:
            from fonshare_agent.transfer.lanes import Lanes

            watch = self.watch
            lanes = Lanes(self.kept, patience.clock, partial(_count, watch))
            lane = lanes.open("only")
        _Blocks(session, self.kept, lane, patience, bucket).run()
        self.kept.sync()


@dataclass(frozen=True, slots=True)
class FetchBundle(Right):
    """Read the files of *batch*, which are a peer's bundle."""

    batch: "Batch"
    watch: Watch

    @property
    def is_cancelled(self) -> bool:
        return self.watch.is_cancelled

    def read(self, session: Session, patience: Patience, bucket: TokenBucket) -> None:
        _Files(session, self, patience, bucket).run()


def _count(watch: Watch, done_bytes: int) -> None:
    watch.done_bytes = done_bytes


class _Taken(Exception):
    """The block that is being read was given to another lane."""


class _Blocks:
    """The blocks of one lane, read on one session."""

    def __init__(
        self,
        session: Session,
        kept: Partial,
        lane: "Lane",
        patience: Patience,
        bucket: TokenBucket,
    ) -> None:
        self._session, self._kept, self._lane = session, kept, lane
        self._patience, self._bucket = patience, bucket
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self._asked_at = 0.0

    def run(self) -> None:
        """Read until nothing is left for this lane.

        A block that is wrong twice raises BadContent: once may be the line's or the
        memory's fault, or the file changed just then, which the peer tells.
        """
        self._ask_partner()
        while (first := self._lane.begin(self._wait)) is not None:
            self._read_stretch(first)
            self._ask_partner()

    def _wait(self) -> None:
        self._patience.demand(self._patience.clock())
        if self._patience.clock() - self._asked_at >= ASK_S:
            self._ask_partner()

    def _ask_partner(self) -> None:
        """Hear what the partner has by now; others have all of it."""
        if self._lane.is_partner:
            if not self._lane.note_maps(*self._session.ask_maps()):
                raise SourceRefused("the partner speaks of another file")
            self._asked_at = self._patience.clock()

    def _read_stretch(self, index: int) -> None:
        content, runs = self._kept.content, self._lane.batch()
        if runs:
            download, end = self._session.read_blocks(runs), runs[-1][1]
        else:
            download = self._session.read_from(content.range(index)[0])
            end = content.count
        try:
            while self._read_block(download, index) and self._lane.has_more():
                index = self._lane.block
            if index + 1 == end:
                download.finish()
            else:
                download.break_off()
        except _Taken:
            self._lane.let_go()
            download.break_off()
        except BlockLacking:
            self._lane.note_lacking()
        finally:
            download.close()

    def _read_block(self, download: Download, index: int) -> bool:
        """Tell whether the block came right."""
        with self._kept.write_block(index) as writer:
            while writer.left:
                if self._lane.is_cut:
                    raise _Taken
                wanted = min(self._bucket.chunk_bytes, writer.left)
                wait_for_turn(self._bucket.take(wanted), self._patience)
                count = download.fill(self._buffer[:wanted])
                if count < wanted:
                    raise download.explain()
                writer.write(self._buffer[:count])
                self._lane.note_bytes(count)
            is_right = writer.finish()
        if not self._lane.note_block(is_right=is_right):
            raise BadContent(f"block {index} came wrong twice")
        return is_right


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
