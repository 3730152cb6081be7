"""Which counters of one (sender, incarnation, channel) were accepted already.

Owns the sliding window and the one right order of the last checks
(docs/protocol/envelope.md, "Counters"). Rules: a counter is accepted at most once,
in whatever order envelopes arrive; what is too old to tell counts as seen; the window
moves only after the signature, so that nobody but the sender can push it ahead and so
silence the sender. Owner: the core thread. Never stored (decision 0002).
"""

from typing import Final, Self

from fonshare_agent.errors import ReplayedEnvelope
from fonshare_agent.protocol.envelope import Opened, check_signature
from fonshare_agent.protocol.keys import NUMBER_MAX

WIDTH: Final = 1024  # how late an envelope may be: minutes at 5 messages a second


class Window:
    """The counters from *floor* on that were seen; all below the floor count as seen.

    Bit i of *bitmap* stands for the counter floor + i.
    """

    __slots__ = ("bitmap", "floor")

    def __init__(self, floor: int = 0, bitmap: int = 0) -> None:
        if not 0 <= floor <= NUMBER_MAX + 1 or not 0 <= bitmap < 1 << WIDTH:
            raise ValueError("not a window")
        self.floor = floor
        self.bitmap = bitmap

    @classmethod
    def after(cls, counter: int) -> Self:
        """Return the window that begins behind *counter*: its floor after a hello."""
        return cls(floor=counter + 1)

    def has_seen(self, counter: int) -> bool:
        """Tell whether *counter* was marked, or is too old to tell."""
        if counter < self.floor:
            return True
        at = counter - self.floor
        return at < WIDTH and bool(self.bitmap >> at & 1)

    def mark(self, counter: int) -> None:
        """Count *counter* as seen; ReplayedEnvelope, and no change, if it was already.

        Only for a counter whose signature was checked: a far one moves the floor.
        """
        if self.has_seen(counter):
            raise ReplayedEnvelope(f"counter {counter} was seen or is too old")
        ahead = counter - self.floor - (WIDTH - 1)
        if ahead > 0:
            self.bitmap >>= ahead
            self.floor += ahead
        self.bitmap |= 1 << (counter - self.floor)

    def __repr__(self) -> str:
        return f"Window(floor={self.floor}, seen={self.bitmap.bit_count()})"


def admit(opened: Opened, identity_public: bytes, window: Window) -> None:
    """Accept a command once, or raise ReplayedEnvelope or ForgedEnvelope.

    The counter is looked at first since it costs nothing, and marked last. Where the
    signature is checked on another thread, `mark` catches the copy that came meanwhile.
    """
    counter = opened.header.counter
    if window.has_seen(counter):
        raise ReplayedEnvelope(f"counter {counter} was seen or is too old")
    check_signature(opened, identity_public)
    window.mark(counter)
