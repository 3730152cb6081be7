"""How long to wait before the next attempt. Pure: time and randomness come in.

The wait doubles from 1 s to 5 min. The jitter spreads the routers of a circle that all
lost the same broker; it never falls below half the step, so that a broker that refuses
at once is not hammered. A connection only counts as good, and starts the steps anew,
if it held for as long as the wait before it: a broker that accepts and drops at once
is thus left alone longer and longer too.
"""

from collections.abc import Callable

FIRST_S = 1.0  # a restarted broker is back within seconds
LONGEST_S = 300.0  # what a router may be away from its friends after a long outage
GOOD_S = 60.0  # a connection that held this long is good whatever was before


class Backoff:
    """The waits of one link. *draw* returns that many random bytes."""

    def __init__(
        self,
        draw: Callable[[int], bytes],
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        self._draw = draw
        self._first_s, self._longest_s = first_s, longest_s
        self._step_s = self._last_s = 0.0

    def next_wait_s(self) -> float:
        """Return the seconds to wait now; each call without `reset` waits longer."""
        step_s = self._step_s * 2 if self._step_s else self._first_s * 2
        self._step_s = min(step_s, self._longest_s)
        fraction = int.from_bytes(self._draw(4), "big") / 2**32
        self._last_s = self._step_s * (0.5 + fraction / 2)
        return self._last_s

    def note_connection(self, held_s: float) -> None:
        """A connection held for *held_s* and is gone; start anew if it was good."""
        if held_s >= min(self._last_s, GOOD_S):
            self.reset()

    def reset(self) -> None:
        """The next wait is the first again."""
        self._step_s = self._last_s = 0.0
