"""What a transfer worker reads from a peer: missing blocks of a file (how:
block_reading.py, loaded with the first), or small files.

Each task says how it is read on a session that has redeemed its ticket; the limit of
bandwidth and the owner's wish to stop are looked at before each chunk. Belongs to one
thread. Must not know how sessions are found, or what a job is.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from fonshare_agent.errors import TransferCancelled
from fonshare_agent.transfer.limits import CHUNK_BYTES, Flow
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.session import Session
from fonshare_agent.transfer.session_data import Download
from fonshare_agent.transfer.wire import POLL_S, Address, Patience

if TYPE_CHECKING:  # an idle node does without them
    from fonshare_agent.transfer.batch import Batch
    from fonshare_agent.transfer.lanes import Lane
    from fonshare_agent.transfer.relayed import RelayWay

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
    """Read blocks that *kept* lacks from a peer's file: those of *lane*, or all."""

    kept: Partial
    watch: Watch
    lane: "Lane | None" = None
    is_copy: bool = False  # of a catalogue: no file of a job has to wait for it
    relay: "RelayWay | None" = None  # by which the peer is reached
    is_opened: bool = False  # somebody reads it now, and only for that it comes

    @property
    def is_cancelled(self) -> bool:
        return self.watch.is_cancelled or (self.lane is not None and self.lane.is_cut)

    def read(self, session: Session, patience: Patience, flow: Flow) -> None:
        from fonshare_agent.transfer.block_reading import Blocks

        lane = self.lane
        if lane is None:
            from fonshare_agent.transfer.lanes import Lanes

            watch = self.watch
            lanes = Lanes(self.kept, patience.clock, partial(_count, watch))
            lane = lanes.open("only")
        Blocks(session, self.kept, lane, patience, flow).run()
        self.kept.sync()


@dataclass(frozen=True, slots=True)
class FetchBundle(Right):
    """Read the files of *batch*, which are a peer's bundle."""

    batch: "Batch"
    watch: Watch
    relay: "RelayWay | None" = None  # by which the peer is reached

    @property
    def is_cancelled(self) -> bool:
        return self.watch.is_cancelled

    def read(self, session: Session, patience: Patience, flow: Flow) -> None:
        _Files(session, self, patience, flow).run()


def _count(watch: Watch, done_bytes: int) -> None:
    watch.done_bytes = done_bytes


class _Files:
    """One bundle on one session."""

    def __init__(
        self,
        session: Session,
        task: FetchBundle,
        patience: Patience,
        flow: Flow,
    ) -> None:
        self._session, self._task = session, task
        self._patience, self._flow = patience, flow
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
                wanted = min(self._flow.chunk_bytes, size)
                wait_for_turn(self._flow, wanted, self._patience)
                count = download.fill(self._buffer[:wanted])
                if count < wanted:
                    raise download.explain()
                writer.write(self._buffer[:count])
                size -= count
                self._task.watch.done_bytes += count


def wait_for_turn(flow: Flow, wanted: int, patience: Patience) -> None:
    """Wait until the limit of bandwidth lets *wanted* bytes through.

    Lets go promptly when cancelled.
    """
    if flow.is_unlimited:
        if patience.is_cancelled():
            raise TransferCancelled("the transfer was cancelled")
        return
    since = patience.clock()
    while wanted > 0:
        if flow.is_closed:  # for hours: the other side does not wait for that
            patience.demand(since)
        if patience.is_cancelled():
            raise TransferCancelled("the transfer was cancelled")
        wait_s = flow.wait_s(wanted)
        if wait_s:
            time.sleep(min(wait_s, POLL_S))
        else:
            count = min(wanted, flow.left)
            flow.spend(count)
            wanted -= count
