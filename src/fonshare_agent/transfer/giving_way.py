"""How fast we may move while the household uses the line: pure, fed with samples.

Theory of operation. Each sample tells, for both directions, how many bytes passed the
line and how many of them were ours; the rest is the household's. What the line can
carry is not known, so it is taken for the most that was seen of late.

- While the household moves more than a trickle, we leave it twice what it moves, and a
  tenth of the line: what can grow (a download) grows into that, is left twice as much,
  and has the line within a second; what cannot (a call, the radio) costs us little.
- While round trips take much longer than they could, a queue stands before the line; if
  the household moves anything in either direction, we also go down step by step until
  the queue is gone, for it delays what the household sends, however little that is.
- When the need has passed we wait a moment and then go up by a third a second. Nobody
  who clicks twice finds us in the way again, and a line that is free is used.

Never below a floor, so that transfers stay alive. Lost at a restart: all; it is seen
again within seconds. No clock, no I/O; one owner thread.
"""

from dataclasses import dataclass
from typing import Final

TRICKLE_BYTES_S: Final = 6 * 1024.0  # what a house does at night
TRICKLE_PART: Final = 0.05  # of the line: our own count is not more exact
FREE_PART: Final = 0.1  # of the line, for what the household has not asked for yet
FLOOR_BYTES_S: Final = 4 * 1024.0
FLOOR_PART: Final = 0.05
QUEUE_S: Final = 0.05  # a round trip so much longer than the least is a queue's
QUEUE_STEP: Final = 0.7  # by sample, while there is one
NEEDED_STEP: Final = 0.3  # the same where the household moves more than a trickle
FULL_PART: Final = 0.85
HOLD_S: Final = 2.0
GROWTH_A_SECOND: Final = 1.36
CARRIES_HALF_LIFE_S: Final = 600.0  # of the most that was seen
LEARN_S: Final = 1.5  # of our own use, once: TCP fills any line in that
SMOOTH_S: Final = 0.4  # a sample alone may be half of two


@dataclass(frozen=True, slots=True)
class Sample:
    """What has passed since the sample before."""

    seconds: float
    line_up: int
    own_up: int
    line_down: int
    own_down: int
    queue_s: float | None = None  # how much longer than the least a round trip takes


class GivingWay:
    """`feed` samples, a few each second; `up` and `down` are the ceilings."""

    def __init__(self) -> None:
        self._up, self._down = _Direction(), _Direction()

    @property
    def up_bytes_s(self) -> float | None:
        """The ceiling for what we send, None without one."""
        return self._up.ceiling

    @property
    def down_bytes_s(self) -> float | None:
        return self._down.ceiling

    def feed(self, sample: Sample) -> None:
        if sample.seconds <= 0:
            return
        self._up.see(sample.seconds, sample.line_up, sample.own_up)
        self._down.see(sample.seconds, sample.line_down, sample.own_down)
        is_needed = self._up.is_needed or self._down.is_needed
        has_queue = sample.queue_s is not None and sample.queue_s >= QUEUE_S
        # Round trips are measured by what we send; the queue is where we send.
        self._up.decide(sample.seconds, is_needed, has_queue)
        self._down.decide(sample.seconds, is_needed, False)


class _Direction:
    """One direction of the line; all in bytes a second."""

    def __init__(self) -> None:
        self.ceiling: float | None = None
        self.is_needed = False
        self._carries = self._own = self._others = 0.0
        self._calm_s = self._used_s = 0.0

    def see(self, seconds: float, line: int, own: int) -> None:
        new = min(1.0, seconds / SMOOTH_S)
        others = max(0, line - own) / seconds
        # Up at once, down smoothly: between two bursts of a download is no rest.
        self._others += (others - self._others) * new
        self._own += (own / seconds - self._own) * new
        faded = self._carries * 0.5 ** (seconds / CARRIES_HALF_LIFE_S)
        self._carries = max(faded, self._own + self._others)
        was_needed = self.is_needed
        trickle = max(TRICKLE_BYTES_S, TRICKLE_PART * self._carries)
        # Before we have used the line, what little passes seems to be all it carries.
        self._used_s += seconds if own else 0.0
        self.is_needed = self._others > trickle and self._used_s >= LEARN_S
        if was_needed and not self.is_needed:
            self._calm_s = 0.0

    def decide(self, seconds: float, is_line_needed: bool, has_queue: bool) -> None:
        self._calm_s += seconds
        wanted = self._wanted(is_line_needed, has_queue)
        if wanted is not None and (self.ceiling is None or wanted < self.ceiling):
            self.ceiling = wanted
            self._calm_s = 0.0
        elif (
            self.ceiling is not None
            and self._calm_s >= HOLD_S
            and not (has_queue and is_line_needed)
        ):
            self.ceiling *= GROWTH_A_SECOND**seconds
            if wanted is not None:
                self.ceiling = min(self.ceiling, wanted)
            elif self.ceiling >= (1 + FREE_PART) * self._carries:
                self.ceiling = None

    def _wanted(self, is_line_needed: bool, has_queue: bool) -> float | None:
        """Return the ceiling that what is seen asks for, None if it asks for none."""
        floor = max(FLOOR_BYTES_S, FLOOR_PART * self._carries)
        wanted = None
        if self.is_needed:
            wanted = (1 - FREE_PART) * self._carries - 2 * self._others
        elif is_line_needed and self._own + self._others >= FULL_PART * self._carries:
            wanted = FULL_PART * self._carries
        if is_line_needed and has_queue:
            now = self._own if self.ceiling is None else min(self._own, self.ceiling)
            step = (NEEDED_STEP if self.is_needed else QUEUE_STEP) * now
            wanted = step if wanted is None else min(wanted, step)
        return None if wanted is None else max(floor, wanted)
