"""Reads the blocks of one lane on one session, as the plan says.

An idle node does without it. Belongs to one thread. Must not know how sessions are
found, or what a job is.
"""

from typing import TYPE_CHECKING, Final

from fonshare_agent.errors import BadContent, BlockLacking, SourceRefused
from fonshare_agent.transfer.limits import CHUNK_BYTES, Flow
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.reading import wait_for_turn
from fonshare_agent.transfer.session import Session
from fonshare_agent.transfer.session_data import Download
from fonshare_agent.transfer.wire import Patience

if TYPE_CHECKING:
    from fonshare_agent.transfer.lanes import Lane

ASK_S: Final = 0.5  # a partner that had nothing is asked so often what it has
# Being woken for every packet of a fast line costs more CPU than what is done with it.
# Once so much has come within so long the window has grown beyond what is waited for,
# and that is there within a twentieth of a second.
LOOK_BYTES: Final = 1024 * 1024
FAST_S: Final = 0.4
GATHERED_BYTES: Final = 128 * 1024


class _Taken(Exception):
    """The block that is being read was given to another lane."""


class Blocks:
    """The blocks of one lane, read on one session."""

    def __init__(
        self,
        session: Session,
        kept: Partial,
        lane: "Lane",
        patience: Patience,
        flow: Flow,
    ) -> None:
        self._session, self._kept, self._lane = session, kept, lane
        self._patience, self._flow = patience, flow
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self._asked_at = 0.0
        self._came, self._since = 0, 0.0  # bytes since the line was looked at last
        self._is_gathering = False

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
        self._came, self._since = 0, self._patience.clock()
        self._is_gathering = False
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
                wanted = min(self._flow.chunk_bytes, writer.left)
                wait_for_turn(self._flow, wanted, self._patience)
                count = download.fill(self._buffer[:wanted])
                if count < wanted:
                    raise download.explain()
                writer.write(self._buffer[:count])
                self._lane.note_bytes(count)
                self._note_speed(download, count)
            is_right = writer.finish()
        if not self._lane.note_block(is_right=is_right):
            raise BadContent(f"block {index} came wrong twice")
        return is_right

    def _note_speed(self, download: Download, count: int) -> None:
        self._came += count
        if self._came < LOOK_BYTES:
            return
        now = self._patience.clock()
        is_fast = now - self._since < FAST_S
        if is_fast is not self._is_gathering:
            download.gather(GATHERED_BYTES if is_fast else 1)
        self._came, self._since, self._is_gathering = 0, now, is_fast
