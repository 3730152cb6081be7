"""Who else fetches the same file, what they have of it, and what to read next.

Several members fetch from one source: it should send each block once, and they the
rest to each other. So each reads from the source first what is *its own share*: the
blocks are dealt out in small runs, by the order of the members' ids, which all know.
Nobody has to agree on anything; who does not know of a partner yet, or has done with
its share, only reads some blocks that another was about to read.

From a partner, and from the source when there is nothing left that nobody has, the
rarest blocks come first, so that all pass on what others lack. Where blocks are as rare
as each other every member begins at another place of the file.

Pure, and without lots: two of the same knowledge choose the same.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from fonshare_agent.protocol.parts import (
    Run,
    highest,
    lowest,
    lowest_from,
    runs_of,
    span,
)

DEALT_BLOCKS: Final = 4  # in a row to each: some disks seek, and files are short


class Partners:
    """What is known of the others, by name; *me* is this node's name among them."""

    def __init__(self, me: str, count: int) -> None:
        self._me, self._count = me, count
        self._have: dict[str, int] = {}
        self._coming: dict[str, int] = {}
        self._copies: list[int] = []  # how many have a block, as binary digits of it
        self._unheard: set[str] = set()  # whose state is an old one
        self._any_coming = self._own = self._others = 0
        self._shares: dict[str, int] = {}  # of those who lack something

    def __bool__(self) -> bool:
        return bool(self._have)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield each partner's name, and what it has."""
        return iter(self._have.items())

    def note(self, name: str, have: int, coming: int | None = None) -> None:
        """*name* has these blocks, and reads those now; unknown if it said so by a
        message, and what it has is more by now."""
        whole = span(0, self._count)
        before = self._have.get(name, whole), name in self._unheard
        self._have[name], self._coming[name] = have, (coming or 0) & ~have
        if coming is None:
            self._unheard.add(name)
        else:
            self._unheard.discard(name)
        self._count_copies()
        if (before[0] == whole, before[1]) != (have == whole, coming is None):
            self._deal()

    def lose_sight(self, name: str) -> None:
        """From now on *name* is known as it was."""
        if name in self._have:
            self.note(name, self._have[name])

    def forget(self, name: str) -> None:
        if self._have.pop(name, None) is not None:
            del self._coming[name]
            self._unheard.discard(name)
            self._count_copies()
            self._deal()

    def lose(self, name: str, block: int) -> None:
        """*name* does not have that block after all."""
        if name in self._have:
            self._have[name] &= ~span(block, block + 1)
            self._count_copies()

    def have(self, name: str) -> int | None:
        """Return what a partner has; None for anybody else."""
        return self._have.get(name)

    def near(self, lanes: Collection[str], slow: Collection[str]) -> int:
        """Return the blocks that a partner among *lanes* has, or that any partner
        reads now, or soon; *slow* are of no help."""
        blocks = 0
        for name, have in self._have.items():
            if name not in slow:
                blocks |= self._coming[name] | self._soon(name)
                blocks |= have if name in lanes else 0
        return blocks

    def _soon(self, name: str) -> int:
        """Return what *name* reads next of its share: in order, from where it is."""
        left = self._shares.get(name, 0) & ~self._have[name]
        ahead = 2 * DEALT_BLOCKS * (len(self._shares) + 1)
        blocks = 0
        for place in (left, self._coming[name]):
            if place:
                first = (place & -place).bit_length() - 1
                blocks |= left & span(first, first + ahead)
        return blocks

    def choose(self, free: int, count: int, *, may_double: bool) -> int:
        """Return up to *count* blocks of *free* to read from who has all of them.

        *may_double*: also blocks that somebody else reads now, or may.
        """
        held = self._held()
        fresh = free & ~held & ~self._any_coming
        chosen = lowest(fresh & self._own, count)
        if not chosen:
            # Of another's share: from its end, where that one will be last.
            chosen = self._last_of_somebody(fresh & self._others, count)
        if not chosen:
            chosen = self._rarest(free & held, count)
        if not chosen and may_double:
            chosen = lowest_from(free, self._start(free), count)
        return chosen

    def choose_from(self, name: str, free: int, count: int) -> int:
        """Return up to *count* blocks of *free* to read from that partner."""
        return self._rarest(free & self._have[name], count)

    # --- inside ---------------------------------------------------------------------

    def _held(self) -> int:
        """Return the blocks that some partner has."""
        held = 0
        for digit in self._copies:
            held |= digit
        return held

    def _rarest(self, blocks: int, count: int) -> int:
        chosen = 0
        for copies in range(1, len(self._have) + 1):
            left = count - chosen.bit_count()
            if left <= 0 or not blocks:
                break
            level = blocks
            for place, digit in enumerate(self._copies):
                level &= digit if copies >> place & 1 else ~digit
            chosen |= lowest_from(level, self._start(level), left)
            blocks &= ~level
        return chosen

    def _start(self, blocks: int) -> int:
        """Return where in the set this node begins: others begin elsewhere."""
        lots = zlib.crc32(self._me.encode())
        return lots % (blocks.bit_length() or 1)

    def _last_of_somebody(self, blocks: int, count: int) -> int:
        """Return the end of one of the runs: another node takes another's."""
        runs = list(runs_of(blocks))
        if not runs:
            return 0
        first, end = runs[zlib.crc32(self._me.encode()) % len(runs)]
        return highest(span(first, end), count)

    def _count_copies(self) -> None:
        digits: list[int] = []
        for have in self._have.values():
            carry = have
            for place, digit in enumerate(digits):
                digits[place], carry = digit ^ carry, digit & carry
            if carry:
                digits.append(carry)
        self._copies = digits
        self._any_coming = 0
        for coming in self._coming.values():
            self._any_coming |= coming

    def _deal(self) -> None:
        """Say which blocks are this node's to read from the source, and which are
        those of partners of whom it hears at once what they have."""
        whole = span(0, self._count)
        lacking = [name for name, have in self._have.items() if have != whole]
        names = sorted([self._me, *lacking])
        self._own = self._dealt(names, self._me)
        self._shares = {name: self._dealt(names, name) for name in lacking}
        self._others = 0
        for name, share in self._shares.items():
            if name not in self._unheard:
                self._others |= share

    def _dealt(self, names: list[str], name: str) -> int:
        length, at = DEALT_BLOCKS * len(names), DEALT_BLOCKS * names.index(name)
        blocks = span(at, at + DEALT_BLOCKS)
        while length < self._count:
            blocks |= blocks << length
            length *= 2
        return blocks & span(0, self._count)


def own_stretch(
    me: str, lacking: Iterable[str], missing: int, known: Iterable[int]
) -> Run:
    """Return the run that *me* should read of what is *missing*: its part of what
    nobody has, the members that lack any taking one each in the order of their names.
    """
    fresh = missing
    for have in known:
        fresh &= ~have
    fresh = fresh or missing
    names = sorted([me, *lacking])
    count, rank = fresh.bit_count(), names.index(me)
    before = lowest(fresh, count * rank // len(names))
    part = lowest(fresh, count * (rank + 1) // len(names)) & ~before
    return next(runs_of(part or fresh))
