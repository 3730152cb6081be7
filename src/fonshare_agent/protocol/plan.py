"""Who reads which blocks of a file that several sources have.

A lane reads one stretch of blocks after another from one source, each in order, since a
source may have one spinning disk. The whole file is the first lane's; who comes later,
or has done with its own, takes over the end of what another has before it, as much as
both together need equally long for. So nobody waits for a slow source at the end, and
no block is read twice for it. Only the very last block of a slow source is taken away
altogether, once another would have read all of it in half the time.

Once other members fetch the same file (partners.py) stretches are short *batches*: a
lane of a source that has everything reads what nobody else has, one of a partner what
that partner has, and after a few seconds of reading each looks again.

Pure: no clock of its own, and no thread. Must not know what a source is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fonshare_agent.protocol.partners import Partners
from fonshare_agent.protocol.parts import (
    RUNS_MAX,
    Run,
    gather,
    highest,
    runs_of,
    span,
)

LANES_MAX: Final = 4  # of one job: each holds TLS, a buffer and a place at a source
SHARED_LANES_MAX: Final = 8  # with partners, who send a part of their line each
SMOOTH_S: Final = 5.0  # over which a lane's rate is taken
START_S: Final = 1.0  # what a new stretch costs before its first byte: round trips
PATIENT_S: Final = 1.0  # without a byte, before a lane counts as slower than it was
# A batch is long enough for round trips not to show, and short enough for what others
# have meanwhile to count.
BATCH_S: Final = 3.0
FIRST_BATCH: Final = 2  # blocks, of whom nothing is known
DOUBLE_S: Final = 3.0  # without work, before a block is read that a partner reads now
TURN_S: Final = 15.0  # of a partner's lane, if others wait for a place
IDLE_S: Final = 5.0  # of a partner's lane without work, before its place is free


@dataclass(slots=True)
class _Lane:
    todo: int = 0  # its blocks; the lowest is the one that is read now
    is_batch: bool = False  # all of them were asked for by name
    got: int = 0  # bytes of the block that is read now
    is_cut: bool = False  # that block was taken away
    was_cut: bool = False  # and is now for the others
    rate: float = 0.0  # times weight: bytes a second
    weight: float = 0.0
    heard_at: float = 0.0
    since: float | None = None
    idle_since: float | None = None

    @property
    def at(self) -> int:
        """The block that is read now."""
        return (self.todo & -self.todo).bit_length() - 1

    @property
    def spare(self) -> int:
        """What is before the lane, besides the block it reads."""
        return self.todo & (self.todo - 1) if self.todo else 0

    def rate_at(self, now: float) -> float:
        """Return the rate in bytes a second; 0 if it is unknown."""
        if not self.weight:
            return 0.0
        silent_s = max(0.0, now - self.heard_at - PATIENT_S)
        return self.rate / self.weight * SMOOTH_S / (SMOOTH_S + silent_s)

    def note(self, count: int, now: float) -> None:
        passed_s = max(1e-3, now - self.heard_at)
        part = passed_s / (passed_s + SMOOTH_S)
        self.rate += part * (count / passed_s - self.rate)
        self.weight += part * (1.0 - self.weight)
        self.heard_at = now


class Plan:
    """What is missing of one file. *length* tells the bytes of a block; *me* is this
    node's name among its partners, who are told apart from other lanes by theirs."""

    def __init__(
        self,
        gaps: Iterable[Run],
        length: Callable[[int], int],
        me: str = "",
        count: int = 0,
    ) -> None:
        self._free = gather(gaps)  # blocks that nobody reads
        self._missing = self._free
        self._length = length
        self._lanes: dict[str, _Lane] = {}
        self._doubted: set[tuple[str, int]] = set()  # lane and block that came wrong
        self._partners = Partners(me, count or self._free.bit_length())
        self._left_at: dict[str, float] = {}  # when a partner's last lane ended

    @property
    def is_complete(self) -> bool:
        return not self._missing

    @property
    def is_shared(self) -> bool:
        """Whether others fetch the same file now."""
        return bool(self._partners)

    @property
    def coming(self) -> int:
        """The blocks that lanes read now."""
        return self._missing & ~self._free

    def is_cut(self, name: str) -> bool:
        """Tell whether the block was taken away that the lane reads: let go of it."""
        lane = self._lanes.get(name)
        return lane is not None and lane.is_cut

    def begin(self, name: str, now: float) -> int | None:
        """Give the lane a stretch; return its first block, None if there is none now.

        A lane that gets none may ask again: what others have may become free.
        """
        lane = self._lanes.setdefault(name, _Lane())
        if lane.since is None:
            lane.since = now
        if not lane.todo:  # else it has a block that came wrong
            taken = self._find(name, lane, now)
            if not taken:
                if lane.idle_since is None:
                    lane.idle_since = now
                return None
            lane.todo, lane.is_batch = taken, self.is_shared
        lane.got, lane.heard_at, lane.idle_since = 0, now, None
        return lane.at

    def block(self, name: str) -> int:
        """Return the block that the lane is to read now."""
        return self._lanes[name].at

    def batch(self, name: str) -> list[Run]:
        """Return the runs of the lane's stretch if they are to be asked for by name;
        none for a stretch that goes on until `has_more` says no."""
        lane = self._lanes[name]
        return list(runs_of(lane.todo)) if lane.is_batch else []

    def has_more(self, name: str) -> bool:
        """Tell whether the lane's stretch goes on behind what it has read."""
        return self._lanes[name].todo != 0

    def note_bytes(self, name: str, count: int, now: float) -> None:
        """*count* bytes of the lane's block came."""
        lane = self._lanes[name]
        lane.got += count
        lane.note(count, now)

    def note_right(self, name: str) -> None:
        """The lane's block is here and right; it goes on with the next."""
        lane = self._lanes[name]
        self._missing &= ~(lane.todo & -lane.todo)
        lane.todo, lane.got, lane.is_cut, lane.was_cut = lane.spare, 0, False, False

    def note_wrong(self, name: str) -> bool:
        """The lane's block came wrong: it is to be read again. True: not for the
        first time, and the source is not to be trusted."""
        lane = self._lanes[name]
        is_again = (name, lane.at) in self._doubted
        self._doubted.add((name, lane.at))
        # By this lane itself: who else had it would not show whose fault it was.
        lane.got = 0
        return is_again

    def note_lacking(self, name: str) -> None:
        """The lane's partner does not have its block after all."""
        lane = self._lanes[name]
        self._partners.lose(name, lane.at)
        self._release(lane)

    def let_go(self, name: str) -> None:
        """The lane has stopped reading the block that was taken away from it."""
        lane = self._lanes[name]
        self._release(lane)
        lane.was_cut = True

    def drop(self, name: str) -> None:
        """The lane is gone; what it has not read is free again."""
        lane = self._lanes.pop(name, None)
        if lane is not None:
            self._release(lane)
            self._left_at[name] = lane.heard_at
            self._partners.lose_sight(name)

    # --- partners -------------------------------------------------------------------

    def note_partner(self, name: str, have: int, coming: int | None = None) -> None:
        """Somebody who fetches the file, too, has these blocks, and reads those now if
        it has just said so itself, on the lane."""
        was_shared = self.is_shared
        self._partners.note(name, have, coming)
        if not was_shared:
            for lane in self._lanes.values():
                # Long stretches are for those who read alone.
                self._free |= lane.spare
                lane.todo &= ~lane.spare

    def forget_partner(self, name: str) -> None:
        self._partners.forget(name)

    def is_over(self, name: str, now: float) -> bool:
        """Tell whether a partner's lane should leave its place to another's: it has
        had its turn, or its partner has had nothing for a while."""
        lane = self._lanes.get(name)
        if lane is None or lane.since is None or self._partners.have(name) is None:
            return False
        if _is_idle(lane, now, IDLE_S):
            return True
        return now - lane.since >= TURN_S and bool(self.waiting_partners())

    def waiting_partners(self) -> list[str]:
        """Return the partners without a lane who have what nobody reads yet, or may;
        first of all whose turn was longest ago."""
        waiting = [
            name
            for name, have in self._partners
            if name not in self._lanes
            and (have & self._open or name not in self._left_at)
        ]
        return sorted(waiting, key=lambda name: self._left_at.get(name, 0.0))

    # --- inside ---------------------------------------------------------------------

    @property
    def _open(self) -> int:
        """The blocks that a new lane could be given now."""
        return self._free

    def _find(self, name: str, lane: _Lane, now: float) -> int:
        """Take what an empty lane is to read out of where it is; 0 if nothing."""
        taken = self._take_free(name, lane, now) or self._split(name, lane, now)
        if not taken:
            self._cut_last(name, lane, now)
        return taken

    def _release(self, lane: _Lane) -> None:
        self._free |= lane.todo
        lane.todo, lane.got, lane.is_cut, lane.was_cut = 0, 0, False, False

    def _take_free(self, name: str, lane: _Lane, now: float) -> int:
        # Who was too slow for a block takes it again only if nobody else is there.
        if not self._free or (lane.was_cut and len(self._lanes) > 1):
            return 0
        taken = self._choose(name, lane, now) if self.is_shared else self._first_run()
        self._free &= ~taken
        return taken

    def _first_run(self) -> int:
        first, end = next(runs_of(self._free))
        return span(first, end)

    def _choose(self, name: str, lane: _Lane, now: float) -> int:
        count = self._batch_blocks(lane, now)
        if self._partners.have(name) is not None:
            chosen = self._partners.choose_from(name, self._free, count)
        else:
            may_double = _is_idle(lane, now, DOUBLE_S)
            chosen = self._partners.choose(self._free, count, may_double=may_double)
        return _first_runs(chosen)

    def _batch_blocks(self, lane: _Lane, now: float) -> int:
        """Return how many blocks the lane should read before it looks again."""
        rate = lane.rate_at(now)
        if not rate:
            return FIRST_BATCH
        return max(1, round(rate * BATCH_S / self._length(0)))

    def _left_bytes(self, lane: _Lane) -> int:
        """Return what the lane has before it, all blocks being taken as long as the
        one it reads but the last."""
        count = lane.todo.bit_count()
        last = self._length(lane.todo.bit_length() - 1)
        return (count - 1) * self._length(lane.at) + last - lane.got

    def _left_s(self, lane: _Lane, now: float) -> float:
        """Return how long the lane's stretch takes; for ever if that is unknown."""
        rate = lane.rate_at(now)
        return self._left_bytes(lane) / rate if rate else float("inf")

    def _stealable(self, name: str, victim: _Lane) -> int:
        """Return the end of what the victim has before it, as far as the lane's
        source has it: from in between nothing is taken."""
        have = self._partners.have(name)
        if have is None:
            return victim.spare
        lacking = victim.todo & ~have
        return victim.spare & ~span(0, lacking.bit_length())

    def _split(self, name: str, thief: _Lane, now: float) -> int:
        """Take the end of the stretch that would last longest; 0 if no use."""
        others = [
            (self._left_s(one, now), spare.bit_count(), spare, one)
            for one in self._lanes.values()
            if one is not thief and (spare := self._stealable(name, one))
        ]
        if not others:
            return 0
        left_s, spare_count, spare, victim = max(others, key=lambda one: one[:2])
        fast, slow = thief.rate_at(now), victim.rate_at(now)
        count = (spare_count + 1) // 2  # as long as nothing is known
        if fast and slow:
            left = self._left_bytes(victim) / self._length(victim.at)
            count = min(spare_count, int(left * fast / (fast + slow)))
            # A batch that is cut short costs what is on the way.
            worth_s = 2 * START_S if victim.is_batch else START_S
            if left_s <= worth_s or not count:
                return 0
        elif victim.is_batch:
            return 0  # it is short anyhow
        taken = highest(spare, count)
        victim.todo &= ~taken
        return taken

    def _cut_last(self, name: str, thief: _Lane, now: float) -> None:
        """Take a last block away from a lane that needs too long for it."""
        reading = [one for one in self._lanes.values() if one.todo]
        fast = thief.rate_at(now)
        if not fast or thief.was_cut or any(one.is_cut for one in reading):
            return
        have = self._partners.have(name)
        for victim in sorted(reading, key=lambda one: -self._left_s(one, now)):
            own_s = START_S + self._length(victim.at) / fast
            if have is not None and not have >> victim.at & 1:
                continue
            if victim is not thief and self._left_s(victim, now) > 2 * own_s:
                victim.is_cut = True
                return


def _is_idle(lane: _Lane, now: float, for_s: float) -> bool:
    """Tell whether the lane has asked in vain for so long."""
    return lane.idle_since is not None and now - lane.idle_since >= for_s


def _first_runs(blocks: int) -> int:
    """Return as much of the set as one request can name."""
    for number, (_, end) in enumerate(runs_of(blocks), 1):
        if number == RUNS_MAX:
            return blocks & span(0, end)
    return blocks
