"""The plan of one file's fetch, shared by the threads that carry it out.

A `Lane` is what one thread sees of it: which block to read next, and whether it may go
on. A partner's lane also tells the plan what its partner has. Guarded by the lock:
plan, bytes, is_over. Must not know sessions or sources.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.protocol.parts import Run, pack, unpack
from fonshare_agent.protocol.plan import Plan
from fonshare_agent.transfer.partial import Partial

if TYPE_CHECKING:
    from fonshare_agent.transfer.stream import Stream

LOOK_S = 0.2  # a lane without work looks so often whether others have left it some


class Lanes:
    """One fetch. *on_bytes* is told how many bytes of the file are here, wrong ones
    that are still to be found out included; by the thread that counts them. *me* is
    this node's name, as partners have theirs."""

    def __init__(
        self,
        partial: Partial,
        clock: Callable[[], float],
        on_bytes: Callable[[int], None],
        me: str = "",
        stream: "Stream | None" = None,
    ) -> None:
        self._partial, self._clock, self._on_bytes = partial, clock, on_bytes
        content = partial.content
        self._count = content.count
        plan = Plan if stream is None else stream.plan
        self._plan = plan(
            partial.gaps(), lambda index: content.range(index)[1], me, self._count
        )
        self._changed = threading.Condition()
        self._begun: dict[str, int] = {}  # bytes of the block that each lane reads
        self._done_bytes = partial.done_bytes
        self._is_over = False

    def open(self, name: str, *, is_partner: bool = False) -> "Lane":
        return Lane(self, name, is_partner)

    def end(self) -> None:
        """Let every lane stop at its next block: the fetch cannot be completed now."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    # --- partners, by name ---

    @property
    def coming(self) -> bytes:
        """The bitmap of what is being read now."""
        with self._changed:
            return pack(self._plan.coming, self._count)

    def note_partner(self, name: str, have: bytes, coming: bytes | None = None) -> bool:
        """Take what a partner has; False if those are no bitmaps of this file."""
        blocks = unpack(have, self._count)
        others = None if coming is None else unpack(coming, self._count)
        if blocks is None or (coming is not None and others is None):
            return False
        with self._changed:
            self._plan.note_partner(name, blocks, others)
        return True

    def forget_partner(self, name: str) -> None:
        with self._changed:
            self._plan.forget_partner(name)

    def waiting_partners(self) -> list[str]:
        """Return who has something for us and no lane."""
        with self._changed:
            return self._plan.waiting_partners()

    # --- for the lanes --------------------------------------------------------------

    def begin(self, name: str, demand: Callable[[], None]) -> int | None:
        while True:
            with self._changed:
                now = self._clock()
                if self._is_done or self._plan.is_over(name, now):
                    return None
                first = self._plan.begin(name, now)
                if first is not None:
                    return first
                self._changed.wait(LOOK_S)
                if self._is_done:
                    return None
            demand()  # may ask the partner, and must not keep the others waiting

    @property
    def _is_done(self) -> bool:
        return self._plan.is_complete or self._is_over

    def batch(self, name: str) -> list[Run]:
        with self._changed:
            return self._plan.batch(name)

    def block(self, name: str) -> int:
        with self._changed:
            return self._plan.block(name)

    def has_more(self, name: str) -> bool:
        with self._changed:
            return self._plan.has_more(name) and not self._is_over

    def is_cut(self, name: str) -> bool:
        # Without the lock, since it is asked for each chunk: one late does no harm.
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

    def note_lacking(self, name: str) -> None:
        with self._changed:
            self._begun.pop(name, None)
            self._plan.note_lacking(name)
            self._changed.notify_all()

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

    def __init__(self, lanes: Lanes, name: str, is_partner: bool) -> None:
        self._lanes, self._name = lanes, name
        self.is_partner = is_partner

    def begin(self, demand: Callable[[], None]) -> int | None:
        """Return the first block of a stretch; None when all is here, the fetch ends,
        or another partner should have this place.

        Waits while there is nothing to do; what *demand* raises then ends the wait.
        """
        return self._lanes.begin(self._name, demand)

    def batch(self) -> list[Run]:
        """Return the runs of the stretch if it is to be asked for by name."""
        return self._lanes.batch(self._name)

    @property
    def block(self) -> int:
        """The block that is to be read next."""
        return self._lanes.block(self._name)

    def note_maps(self, have: bytes, coming: bytes) -> bool:
        """Take what the partner says of itself; False if that makes no sense."""
        return self._lanes.note_partner(self._name, have, coming)

    def note_lacking(self) -> None:
        """The partner does not have the block it was asked for."""
        self._lanes.note_lacking(self._name)

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
