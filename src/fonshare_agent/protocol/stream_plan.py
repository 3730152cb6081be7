"""Who reads which blocks of a file that somebody reads while it arrives.

Readers want stretches of blocks, the most urgent first (`Wishes`). A lane takes the
first block of them that nobody has, and goes on from there as long as that is what is
wanted most; so one source alone reads in order and without a break. What is wanted is
taken out of the stretch of a lane that reads elsewhere. When a reader jumps, one lane
that reads what nobody wants leaves its block at once. A block that is wanted first is
taken away from a source that needs too long for it, as the last one of a file is, and
who is far slower than another reads from the file's end. What is left over is read as
always, or not at all where only reading is wanted.

Partners serve readers, too, each with what it has of the stretches, in order. A source
is not asked for what a partner with a lane has, reads, or is about to read, but for the
first blocks where a reader has just come, and for what is wanted first when nobody has
begun it for long. So those who play the same film at the same time still have most of
it from each other.

Pure: see plan.py. Must not know who the readers are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from fonshare_agent.protocol.parts import Run, gather, lowest, runs_of, span
from fonshare_agent.protocol.plan import (
    DOUBLE_S,
    FIRST_BATCH,
    START_S,
    Plan,
    _first_runs,
    _Lane,
)

# What several lanes take of a window in one go: each new stretch costs round trips.
CLAIM_BYTES: Final = 1024 * 1024
CLAIM_S: Final = 2.0  # or what the lane reads in so long, if that is more
PATIENCE: Final = 3.0  # a partner may need so much longer for a block than a source
SLOW: Final = 4.0  # so much slower than another, a lane is no help to a reader


class Wishes(Protocol):
    """What the readers want, as the plan asks for it again and again."""

    @property
    def version(self) -> int:
        """Another number since a reader came, or went on elsewhere."""

    @property
    def is_all(self) -> bool:
        """Whether the rest of the file is wanted too."""

    def stretches(self) -> list[Run]:
        """Return the blocks (first, end) that are wanted, the most urgent first."""


@dataclass(slots=True)
class _Front:
    """The block that is wanted first of those that nobody reads."""

    block: int = 0  # as a set
    since: float = 0.0
    version: int = -1  # of the wishes


class _Found(NamedTuple):
    """What a lane may read from block *first* on, which is wanted until *end*; *rank*:
    how many wishes are more urgent than that one."""

    first: int
    end: int
    blocks: int
    rank: int


class StreamPlan(Plan):
    """See the module's text."""

    def __init__(
        self,
        gaps: Iterable[Run],
        length: Callable[[int], int],
        wishes: Wishes,
        me: str = "",
        count: int = 0,
    ) -> None:
        super().__init__(gaps, length, me, count)
        self._wishes = wishes
        self._seen = wishes.version
        self._turning: set[str] = set()  # lanes that leave their block for a reader
        self._behind: dict[str, int] = {}  # the block behind what each lane has read
        self._front = _Front()

    def is_cut(self, name: str) -> bool:
        if self._wishes.version != self._seen:
            self._seen = self._wishes.version
            self._turn_one()
        return super().is_cut(name)

    def has_more(self, name: str) -> bool:
        lane = self._lanes[name]
        now, wishes = lane.heard_at, self._wishes.stretches()
        self._take_first_away(name, lane, now, wishes)
        if self._is_too_slow(name, lane, now):
            return lane.todo != 0
        wanted = self._most_wanted(name, lane, now, wishes)
        if not lane.todo:
            return self._go_on(name, lane, now, wanted)
        last = len(wishes) if self._wishes.is_all else len(wishes) - 1
        if _rank(lane.at, wishes) > (last if wanted is None else wanted.rank):
            self._release(lane)
        return lane.todo != 0

    def note_right(self, name: str) -> None:
        self._behind[name] = self._lanes[name].at + 1
        super().note_right(name)

    def let_go(self, name: str) -> None:
        super().let_go(name)
        if name in self._turning:
            self._turning.discard(name)
            self._lanes[name].was_cut = False  # it was not too slow: it is needed

    def drop(self, name: str) -> None:
        self._turning.discard(name)
        self._behind.pop(name, None)
        super().drop(name)

    # --- inside ---------------------------------------------------------------------

    @property
    def _open(self) -> int:
        if self._wishes.is_all:
            return self._free
        return self._free & gather(self._wishes.stretches())

    def _find(self, name: str, lane: _Lane, now: float) -> int:
        wishes = self._wishes.stretches()
        if self._is_too_slow(name, lane, now):
            return self._take_last(name, gather(wishes))
        if all(one.was_cut for one in self._lanes.values()):
            lane.was_cut = False  # there is nobody better
        if not lane.was_cut:  # else it would take the same block again
            wanted = self._most_wanted(name, lane, now, wishes)
            if wanted is not None:
                return self._claim(wanted, lane, now)
            is_coming = self._take_first_away(name, lane, now, wishes)
            if is_coming or not self._wishes.is_all:
                return 0  # and come again
        return super()._find(name, lane, now)

    def _take_last(self, name: str, wished: int) -> int:
        """Take what is last of all that no reader wants, for a lane that is slow."""
        have = self._free & self._within(name)
        rest = have & ~wished if self._wishes.is_all else 0
        if not rest and self._partners.have(name) is not None:
            rest = have & wished  # many of them are of use together
        if not rest:
            return 0
        end = rest.bit_length()
        first = (span(0, end) & ~rest).bit_length()
        taken = span(max(first, end - self._claim_blocks(first)), end)
        self._free &= ~taken
        return taken

    def _go_on(self, name: str, lane: _Lane, now: float, wanted: _Found | None) -> bool:
        """The stretch is at its end: go on behind it without a new one, if one may."""
        behind = self._behind[name]
        if lane.is_batch or self.is_shared:
            return False
        if wanted is not None:
            if wanted.first == behind:
                lane.todo = self._claim(wanted, lane, now)
        elif self._wishes.is_all and self._free >> behind & 1:
            lane.todo = _first_run(self._free & ~span(0, behind))
            self._free &= ~lane.todo
        return lane.todo != 0

    # --- what is wanted -------------------------------------------------------------

    def _most_wanted(
        self, name: str, lane: _Lane, now: float, wishes: list[Run]
    ) -> _Found | None:
        """Return what the lane may read of the most urgent wish, its own included."""
        may_read = self._within(name)
        if self.is_shared and self._partners.have(name) is None:
            slow = {
                other
                for other, one in self._lanes.items()
                if one.weight and _is_slower(one, lane, now)
            }
            near = self._partners.near(self._lanes, slow)
            may_read &= ~near | self._late(lane, now, wishes)
        found = (self._free | self._takeable(name, now, wishes)) & may_read | lane.todo
        for rank, (begin, end) in enumerate(wishes):
            if blocks := found & span(begin, end):
                first = (blocks & -blocks).bit_length() - 1
                return _Found(first, end, found & ~span(0, first), rank)
        return None

    def _within(self, name: str) -> int:
        """Return what the lane's source has."""
        have = self._partners.have(name)
        return -1 if have is None else have

    def _late(self, lane: _Lane, now: float, wishes: list[Run]) -> int:
        """Return the blocks that are wanted first if nobody has begun them for long,
        or a reader has just come there."""
        missing = next((m for one in wishes if (m := self._free & span(*one))), 0)
        if not missing:
            return 0
        front, version = self._front, self._wishes.version
        if front.block != missing & -missing:
            front.block, front.since = missing & -missing, now
        if front.version != version:
            front.version, front.since = version, float("-inf")
        rate = lane.rate_at(now)
        # On a slow line a partner needs long, too, and this lane would be no faster.
        own_s = self._length(0) / rate if rate else 0.0
        is_late = now - front.since >= max(DOUBLE_S, PATIENCE * own_s)
        return lowest(missing, FIRST_BATCH) if is_late else 0

    def _takeable(self, name: str, now: float, wishes: list[Run]) -> int:
        """Return what lanes have before them while they read elsewhere, or slowly."""
        found, wished = 0, gather(wishes)
        thief = self._lanes[name]
        for lane in self._lanes.values():
            if lane is not thief and lane.todo:
                is_slow = bool(lane.weight) and _is_slower(lane, thief, now)
                if is_slow or not wished >> lane.at & 1:
                    found |= lane.spare
        return found

    def _claim(self, wanted: _Found, lane: _Lane, now: float) -> int:
        """Take some of what is wanted for *lane*, out of where it is."""
        self._free |= lane.todo
        lane.todo = 0
        count = self._claim_blocks(wanted.first, lane.rate_at(now) * CLAIM_S)
        if self.is_shared:
            reach = span(0, max(wanted.end, wanted.first + count))
            claimed = _first_runs(lowest(wanted.blocks & reach, count))
        else:
            claimed = lowest(_first_run(wanted.blocks), count)
        for victim in self._lanes.values():
            if taken := victim.spare & claimed:
                # All behind that, too: each reads its stretch without a hole.
                tail = victim.spare & -(taken & -taken)
                victim.todo &= ~tail
                self._free |= tail
        self._free &= ~claimed
        return claimed

    def _claim_blocks(self, first: int, least_bytes: float = 0.0) -> int:
        wanted_bytes = max(CLAIM_BYTES, int(least_bytes))
        return max(1, wanted_bytes // max(1, self._length(first)))

    # --- who is in a reader's way ---------------------------------------------------

    def _is_too_slow(self, name: str, lane: _Lane, now: float) -> bool:
        """Tell whether a lane that reads all this one could is far faster."""
        return bool(lane.weight) and any(
            _is_slower(lane, one, now)
            for other, one in self._lanes.items()
            if other != name and self._partners.have(other) is None
        )

    def _turn_one(self) -> None:
        """A reader has jumped: let one lane leave what nobody waits for."""
        if not all(one.todo for one in self._lanes.values()):
            return  # somebody is free and looks for work
        wishes, unread = self._wishes.stretches(), self._free
        for one in self._lanes.values():
            unread |= one.spare
        unmet = ((rank, unread & span(*wish)) for rank, wish in enumerate(wishes))
        rank, wanted = next((one for one in unmet if one[1]), (0, 0))
        elsewhere = {
            name: self._block_left(one)
            for name, one in self._lanes.items()
            if not one.is_cut
            and wanted & self._within(name)
            and _rank(one.at, wishes) > rank
        }
        if elsewhere:
            name = max(elsewhere, key=lambda one: elsewhere[one])
            self._lanes[name].is_cut = True
            self._turning.add(name)

    def _block_left(self, lane: _Lane) -> int:
        return self._length(lane.at) - lane.got

    def _take_first_away(
        self, name: str, thief: _Lane, now: float, wishes: list[Run]
    ) -> bool:
        """Have a slow lane leave the block that is wanted first; tell whether."""
        fast = thief.rate_at(now)
        if not fast or not wishes:
            return False
        wanted = span(*wishes[0]) & self._within(name)
        reading = [
            one
            for one in self._lanes.values()
            if one is not thief and one.todo and wanted >> one.at & 1
        ]
        if not reading:
            return False
        victim = min(reading, key=lambda one: one.at)
        rate, own_s = victim.rate_at(now), START_S + self._length(victim.at) / fast
        is_late = bool(rate) and self._block_left(victim) / rate > 2 * own_s
        # Silence is late, too, whatever its rate was until then.
        victim.is_cut |= is_late or now - victim.heard_at > 2 * own_s
        return victim.is_cut


def _is_slower(lane: _Lane, other: _Lane, now: float) -> bool:
    return SLOW * lane.rate_at(now) < other.rate_at(now)


def _first_run(blocks: int) -> int:
    return span(*next(runs_of(blocks)))


def _rank(block: int, wishes: list[Run]) -> int:
    """Return how many wishes are more urgent than any for that block."""
    fits = (at for at, (first, end) in enumerate(wishes) if first <= block < end)
    return next(fits, len(wishes))
