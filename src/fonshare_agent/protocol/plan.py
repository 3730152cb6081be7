"""Who reads which blocks of a file that several sources have.

A lane reads one stretch of blocks after another from one source, each in order, since a
source may have one spinning disk. The whole file is the first lane's; who comes later,
or has done with its own, takes over the end of what another has before it, as much as
both together need equally long for. So nobody waits for a slow source at the end, and
no block is read twice for it. Only the very last block of a slow source is taken away
altogether, once another would have read all of it in half the time.

Pure: no clock of its own, and no thread. Must not know what a source is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

LANES_MAX: Final = 4  # of one job: each holds TLS, a buffer and a place at a source
SMOOTH_S: Final = 5.0  # over which a lane's rate is taken
START_S: Final = 1.0  # what a new stretch costs before its first byte: round trips
PATIENT_S: Final = 1.0  # without a byte, before a lane counts as slower than it was


@dataclass(slots=True)
class _Lane:
    at: int = 0  # the block that is read now
    end: int = 0  # the first that is not this lane's any more
    got: int = 0  # bytes of the block that is read now
    is_cut: bool = False  # that block was taken away
    was_cut: bool = False  # and is now for the others
    rate: float = 0.0  # times weight: bytes a second
    weight: float = 0.0
    heard_at: float = 0.0

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
    """What is missing of one file. *length* tells the bytes of a block."""

    def __init__(
        self, gaps: Iterable[tuple[int, int]], length: Callable[[int], int]
    ) -> None:
        self._free = sorted(gaps)  # stretches (first, end) that nobody reads
        self._left = sum(end - first for first, end in self._free)
        self._length = length
        self._lanes: dict[str, _Lane] = {}
        self._doubted: set[tuple[str, int]] = set()  # lane and block that came wrong

    @property
    def is_complete(self) -> bool:
        return not self._left

    def is_cut(self, name: str) -> bool:
        """Tell whether the block was taken away that the lane reads: let go of it."""
        lane = self._lanes.get(name)
        return lane is not None and lane.is_cut

    def begin(self, name: str, now: float) -> int | None:
        """Give the lane a stretch; return its first block, None if there is none now.

        A lane that gets none may ask again: what others have may become free.
        """
        lane = self._lanes.setdefault(name, _Lane())
        stretch = self._take_free(lane) or self._split(lane, now)
        if stretch is None:
            self._cut_last(lane, now)
            return None
        (lane.at, lane.end), lane.got, lane.heard_at = stretch, 0, now
        return lane.at

    def has_more(self, name: str) -> bool:
        """Tell whether the lane's stretch goes on behind what it has read."""
        lane = self._lanes[name]
        return lane.at < lane.end

    def note_bytes(self, name: str, count: int, now: float) -> None:
        """*count* bytes of the lane's block came."""
        lane = self._lanes[name]
        lane.got += count
        lane.note(count, now)

    def note_right(self, name: str) -> None:
        """The lane's block is here and right; it goes on with the next."""
        lane = self._lanes[name]
        lane.at, lane.got, lane.is_cut, lane.was_cut = lane.at + 1, 0, False, False
        self._left -= 1

    def note_wrong(self, name: str) -> bool:
        """The lane's block came wrong: it is to be read again. True: not for the
        first time, and the source is not to be trusted."""
        lane = self._lanes[name]
        is_again = (name, lane.at) in self._doubted
        self._doubted.add((name, lane.at))
        # By this lane itself: who else had it would not show whose fault it was.
        lane.got = 0
        return is_again

    def let_go(self, name: str) -> None:
        """The lane has stopped reading the block that was taken away from it."""
        lane = self._lanes[name]
        self._release(lane.at, lane.end)
        lane.end, lane.got, lane.is_cut, lane.was_cut = lane.at, 0, False, True

    def drop(self, name: str) -> None:
        """The lane is gone; what it has not read is free again."""
        lane = self._lanes.pop(name, None)
        if lane is not None:
            self._release(lane.at, lane.end)

    # --- inside ---------------------------------------------------------------------

    def _release(self, first: int, end: int) -> None:
        if first < end:
            self._free = sorted([*self._free, (first, end)])

    def _take_free(self, lane: _Lane) -> tuple[int, int] | None:
        if lane.at < lane.end:  # a block that came wrong
            return lane.at, lane.end
        # Who was too slow for a block takes it again only if nobody else is there.
        if not self._free or (lane.was_cut and len(self._lanes) > 1):
            return None
        return self._free.pop(0)

    def _left_bytes(self, lane: _Lane) -> int:
        whole = sum(map(self._length, (lane.end - 1, lane.at)))
        middle = max(0, lane.end - lane.at - 2) * self._length(lane.at)
        return (whole if lane.end - lane.at > 1 else whole // 2) + middle - lane.got

    def _left_s(self, lane: _Lane, now: float) -> float:
        """Return how long the lane's stretch takes; for ever if that is unknown."""
        rate = lane.rate_at(now)
        return self._left_bytes(lane) / rate if rate else float("inf")

    def _split(self, thief: _Lane, now: float) -> tuple[int, int] | None:
        """Take the end of the stretch that would last longest; None if no use."""
        others = [
            one for one in self._lanes.values() if one is not thief and _spare(one) > 0
        ]
        if not others:
            return None
        victim = max(others, key=lambda one: (self._left_s(one, now), _spare(one)))
        fast, slow = thief.rate_at(now), victim.rate_at(now)
        count = (_spare(victim) + 1) // 2  # as long as nothing is known
        if fast and slow:
            left = self._left_bytes(victim) / self._length(victim.at)
            count = min(_spare(victim), int(left * fast / (fast + slow)))
            if self._left_s(victim, now) <= START_S or not count:
                return None
        victim.end -= count
        return victim.end, victim.end + count

    def _cut_last(self, thief: _Lane, now: float) -> None:
        """Take a last block away from a lane that needs too long for it."""
        reading = [one for one in self._lanes.values() if one.at < one.end]
        fast = thief.rate_at(now)
        if not fast or thief.was_cut or any(one.is_cut for one in reading):
            return
        for victim in sorted(reading, key=lambda one: -self._left_s(one, now)):
            own_s = START_S + self._length(victim.at) / fast
            if victim is not thief and self._left_s(victim, now) > 2 * own_s:
                victim.is_cut = True
                return


def _spare(lane: _Lane) -> int:
    """Return how many blocks the lane has before it, besides the one it reads."""
    return max(0, lane.end - lane.at - 1)
