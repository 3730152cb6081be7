"""Reads one file from several sources at once, each the blocks that the plan gives it.

The first source is the one that granted; for a large file others of the group that
offer the same content are asked as well. One that fails is asked again after a pause,
longer each time, while others go on; one that has nothing for us, or sent a block wrong
twice, is not asked again. Partners, who fetch the same content, have lanes beside the
sources: as many as there are places, and by turns. When nobody is at it any more the
fetch is over, and what is verified stays. Core thread. Must not know how the file is
finished.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fonshare_agent.asking import NoAnswer
from fonshare_agent.core import Core, Promise, Timer
from fonshare_agent.model import NodeId
from fonshare_agent.protocol.content import SHARED_BYTES_MIN
from fonshare_agent.protocol.plan import LANES_MAX, SHARED_LANES_MAX
from fonshare_agent.receiving import Granted
from fonshare_agent.transfer.disk_errors import is_ours
from fonshare_agent.transfer.lanes import Lane, Lanes
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.watch import Watch

if TYPE_CHECKING:
    from fonshare_agent.parts import Holding

log = logging.getLogger(__name__)

PAUSE_S: Final = 2.0  # before a source is asked again that failed; doubled each time
PAUSE_MAX_S: Final = 60.0
PARTNERS_S: Final = 5.0  # in which a first partner has spoken, if there is any
LOOK_S: Final = 30.0  # who comes online meanwhile joins in
READ_LANES_MAX: Final = 2  # where a file is only read: several are open at once
FOR_GOOD: Final = ("source.corrupt", "source.vanished", "source.changed", "unreachable")


@dataclass(frozen=True, slots=True)
class Ways:
    """What a gathering needs of who knows the job."""

    others: Callable[[], Awaitable[list[NodeId]]]  # online, and offering the content
    ask: Callable[[NodeId], Awaitable[Granted | str]]  # a grant, or why there is none
    pull: Callable[[Granted, Lane], Awaitable[str]]
    has_hands: Callable[[], bool]  # for one more lane
    distrust: Callable[[NodeId], None]
    ask_partner: Callable[[NodeId], Awaitable[Granted | str]]
    me: NodeId
    holding: "Holding | None" = None  # what this node tells partners of


@dataclass(slots=True)
class Gathering:
    """One fetch of one file."""

    core: Core
    ways: Ways
    kept: Partial
    watch: Watch
    _lanes: Lanes = field(init=False)
    _sources: set[NodeId] = field(default_factory=set)  # that have a place here
    _partners: set[NodeId] = field(default_factory=set)  # of these
    _given_up: set[NodeId] = field(default_factory=set)
    _waiting: Timer | None = None  # for a first partner to speak
    _active: int = 0  # sources at work or being asked, and looks for more
    _pulling: int = 0
    _reason: str = ""
    _is_over: bool = False
    _changed: Promise[None] = field(default_factory=Promise)

    def __post_init__(self) -> None:
        me, stream = self.ways.me.hex(), self.watch.stream
        self._lanes = Lanes(self.kept, self.core.clock, self._count, me, stream)

    async def run(self, first: Granted | None) -> str:
        """Return why it ended, "" if nothing is missing. Without *first* it begins
        with partners alone, and waits a little for them."""
        holding = self.ways.holding
        if first is None:
            self._active += 1
            self._waiting = self.core.call_later(PARTNERS_S, self._stop_waiting)
        elif first.is_held:
            self._begin_partner(first.source, first)
        else:
            self._begin(first.source, first)
        if holding is not None:
            holding.arrive(self._lanes, self._on_partner)
        if self.kept.size - self.kept.done_bytes >= SHARED_BYTES_MIN:
            self._active += 1
            self.core.spawn_service("sources", self._look_around())
        while self._active:
            await self._changed
            if self._is_done and self._waiting is not None:
                self._waiting.cancel()
                self._stop_waiting()
        self._is_over = True
        self._lanes.end()
        if holding is not None:
            holding.pause()
        self.watch.sources = 0
        return "" if self.kept.is_complete else self._reason or "source.lost"

    def _stop_waiting(self) -> None:
        self._waiting = None
        self._rest()

    def _count(self, done_bytes: int) -> None:
        self.watch.done_bytes = done_bytes

    # --- the sources ----------------------------------------------------------------

    async def _look_around(self) -> None:
        """Begin with every other source there is a place for, now and then again."""
        is_first = True
        while not self._is_done:
            try:
                for source in await self.ways.others():
                    if self._has_place() and self._is_new(source):
                        self._begin(source, None)
            finally:
                if is_first:
                    self._rest()
                    is_first = False
            await self.core.sleep(LOOK_S)

    def _has_place(self, *, is_partner: bool = False) -> bool:
        stream = self.watch.stream
        if stream is not None and not stream.is_all:
            most, taken = READ_LANES_MAX, self._sources
        elif is_partner:
            most, taken = SHARED_LANES_MAX, self._sources
        else:
            most, taken = LANES_MAX, self._sources - self._partners
        return len(taken) < most and self.ways.has_hands()

    @property
    def _is_done(self) -> bool:
        return self._is_over or self.watch.is_cancelled or self.kept.is_complete

    def _on_partner(self, partner: NodeId, have: bytes | None) -> None:
        """Hear of a partner by message; what is heard on its lane is newer."""
        if have is None:
            self._lanes.forget_partner(partner.hex())
        elif partner not in self._sources:
            self._lanes.note_partner(partner.hex(), have)
        self._fill_places()

    def _fill_places(self) -> None:
        for name in self._lanes.waiting_partners():
            partner = NodeId(bytes.fromhex(name))
            if self._has_place(is_partner=True) and self._is_new(partner):
                self._begin_partner(partner, None)

    def _is_new(self, source: NodeId) -> bool:
        return not self._is_done and source not in self._sources | self._given_up

    def _begin_partner(self, partner: NodeId, granted: Granted | None) -> None:
        self._sources.add(partner)
        self._partners.add(partner)
        self._active += 1
        self.core.spawn_service("partner", self._serve_partner(partner, granted))

    def _begin(self, source: NodeId, granted: Granted | None) -> None:
        self._sources.add(source)
        self._active += 1
        self.core.spawn_service("source", self._serve(source, granted))

    def _rest(self) -> None:
        """Somebody has ended, or pauses."""
        self._active -= 1
        changed, self._changed = self._changed, Promise()
        changed.resolve(None)

    async def _serve(self, source: NodeId, granted: Granted | None) -> None:
        """Read from *source* as long as it has something that is missing."""
        pause_s, is_active = PAUSE_S, True
        try:
            while not self._is_done:
                reason = await self._try(source, granted)
                if not reason:
                    return
                self._note_failure(source, reason)
                if source in self._given_up or self._is_done:
                    return
                is_active, granted = False, None
                self._rest()
                await self.core.sleep(pause_s)
                if self._is_over:
                    return
                is_active, pause_s = True, min(2 * pause_s, PAUSE_MAX_S)
                self._active += 1
        finally:
            self._sources.discard(source)
            if is_active:
                self._rest()
            self._fill_places()

    async def _serve_partner(self, partner: NodeId, granted: Granted | None) -> None:
        """Read from *partner* for a turn, or until it has nothing that is missing."""
        try:
            reason = await self._try(partner, granted)
            if reason:
                self._note_partner_failure(partner, reason)
        finally:
            self._sources.discard(partner)
            self._partners.discard(partner)
            self._rest()
            self._fill_places()

    async def _try(self, source: NodeId, granted: Granted | None) -> str:
        try:
            is_partner = source in self._partners
            ask = self.ways.ask_partner if is_partner else self.ways.ask
            found = granted or await ask(source)
        except NoAnswer:
            return "source.silent"
        if isinstance(found, str):
            return found
        lane = self._lanes.open(source.hex(), is_partner=is_partner)
        self._pulling += 1
        self.watch.sources = self._pulling
        try:
            return await self.ways.pull(found, lane)
        finally:
            lane.close()
            self._pulling -= 1
            self.watch.sources = self._pulling

    def _note_partner_failure(self, partner: NodeId, reason: str) -> None:
        """What one of the partners lacks or does holds up nobody."""
        holding = self.ways.holding
        self._lanes.forget_partner(partner.hex())
        if reason in ("source.corrupt", "unreachable"):
            self._given_up.add(partner)
        elif reason in FOR_GOOD:  # until it speaks again
            if holding is not None:
                holding.forget(partner)
        else:
            self.core.call_later(PAUSE_S, lambda: self._look_again(partner))
        if _weight(reason) > 1:
            self._note_failure(partner, reason)

    def _look_again(self, partner: NodeId) -> None:
        holding = self.ways.holding
        have = holding.partners.get(partner) if holding is not None else None
        if have is not None and not self._is_done:
            self._on_partner(partner, have)

    def _note_failure(self, source: NodeId, reason: str) -> None:
        if _weight(reason) >= _weight(self._reason):
            self._reason = reason
        if reason in FOR_GOOD:
            self._given_up.add(source)
        if reason == "source.corrupt":
            self.ways.distrust(source)
        if is_ours(reason):  # nobody can help
            self._is_over = True
            self._lanes.end()


def _weight(reason: str) -> int:
    """Order reasons by what is done about them, whatever else failed: our own disk, a
    liar whom the job's owner is told of, a source that may be able to push instead."""
    if is_ours(reason):
        return 3
    return {"source.corrupt": 2, "unreachable": 1}.get(reason, 0)
