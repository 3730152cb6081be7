"""The plan of one file's fetch, shared by the threads that carry it out.

A `Lane` is what one thread sees of it: which block to read next, and whether it may go
on. Guarded by the lock: plan, bytes, is_over. Must not know sessions or sources.
"""

import threading
from collections.abc import Callable

from fonshare_agent.protocol.plan import Plan
from fonshare_agent.transfer.partial import Partial

LOOK_S = 0.2  # a lane without work looks so often whether others have left it some


class Lanes:
    """One fetch. *on_bytes* is told how many bytes of the file are here, wrong ones
    that are still to be found out included; by the thread that counts them."""

    def __init__(
        self,
        partial: Partial,
        clock: Callable[[], float],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._partial, self._clock, self._on_bytes = partial, clock, on_bytes
        content = partial.content
        self._plan = Plan(partial.gaps(), lambda index: content.range(index)[1])
        self._changed = threading.Condition()
        self._begun: dict[str, int] = {}  # bytes of the block that each lane reads
        self._done_bytes = partial.done_bytes
        self._is_over = False

    def open(self, name: str) -> "Lane":
        return Lane(self, name)

    def end(self) -> None:
        """Let every lane stop at its next block: the fetch cannot be completed now."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    # --- for the lanes --------------------------------------------------------------

    def begin(self, name: str, demand: Callable[[], None]) -> int | None:
        with self._changed:
            while not (self._plan.is_complete or self._is_over):
                first = self._plan.begin(name, self._clock())
                if first is not None:
                    return first
                self._changed.wait(LOOK_S)
                demand()
        return None

    def has_more(self, name: str) -> bool:
        with self._changed:
            return self._plan.has_more(name) and not self._is_over

    def is_cut(self, name: str) -> bool:
        with self._changed:
            return self._plan.is_cut(name)

    def note_bytes(self, name: str, count: int) -> None:
        with self._changed:
            self._plan.note_bytes(name, count, self._clock())
            self._begun[name] = self._begun.get(name, 0) + count
            self._on_bytes(self._done_bytes + sum(self._begun.values()))

    def note_block(self, name: str, *, is_right: bool) -> bool:
        """Return whether the lane's source is still to be trusted."""
        with self._changed:
            length = self._begun.pop(name, 0)
            if not is_right:
                return not self._plan.note_wrong(name)
            self._done_bytes += length
            self._plan.note_right(name)
            if self._plan.is_complete:
                self._changed.notify_all()
            return True

    def let_go(self, name: str) -> None:
        with self._changed:
            self._begun.pop(name, None)
            self._plan.let_go(name)
            self._changed.notify_all()

    def drop(self, name: str) -> None:
        with self._changed:
            self._begun.pop(name, None)
            self._plan.drop(name)
            self._changed.notify_all()


class Lane:
    """What one thread reads. `close` when it is done: others read the rest."""

    def __init__(self, lanes: Lanes, name: str) -> None:
        self._lanes, self._name = lanes, name

    def begin(self, demand: Callable[[], None]) -> int | None:
        """Return the first block of a stretch, None when all is here or the fetch ends.

        Waits while there is nothing to do; what *demand* raises then ends the wait.
        """
        return self._lanes.begin(self._name, demand)

    def has_more(self) -> bool:
        """Tell whether the next block is this lane's, too."""
        return self._lanes.has_more(self._name)

    @property
    def is_cut(self) -> bool:
        """Whether the block that is being read is somebody else's now."""
        return self._lanes.is_cut(self._name)

    def note_bytes(self, count: int) -> None:
        self._lanes.note_bytes(self._name, count)

    def note_block(self, *, is_right: bool) -> bool:
        """Say how the block came; return whether the source is still to be trusted."""
        return self._lanes.note_block(self._name, is_right=is_right)

    def let_go(self) -> None:
        """Stop reading the block that was taken away."""
        self._lanes.let_go(self._name)

    def close(self) -> None:
        self._lanes.drop(self._name)
