"""Sets of blocks: as bits, as text, and as the bitmaps that members tell each other.

A set is a whole number whose bit *i* stands for block *i*: what is asked of sets here
(which of these has nobody, the ten lowest of those) takes a few operations on long
numbers then, and no loop over thousands of blocks. The forms on the wire are those of
docs/protocol/parts.md. Pure.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

# A bitmap of 2 KiB: files up to 256 GiB, whose parts travel in one small envelope.
PART_BLOCKS_MAX: Final = 16384
RUNS_MAX: Final = 64  # of one request: a line that any FTP server would take
_RUN: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)

Run = tuple[int, int]  # the first block, and the first behind it


def pack(blocks: int, count: int) -> bytes:
    """Return the bitmap of a file of *count* blocks."""
    return blocks.to_bytes(-(-count // 8), "little")


def unpack(raw: bytes, count: int) -> int | None:
    """Return the set in *raw*; None if it is no bitmap of *count* blocks."""
    if len(raw) != -(-count // 8):
        return None
    blocks = int.from_bytes(raw, "little")
    return None if blocks >> count else blocks


def span(first: int, end: int) -> int:
    """Return the set of the blocks from *first* to before *end*."""
    return (1 << end) - (1 << first)


def gather(runs: Iterable[Run]) -> int:
    blocks = 0
    for first, end in runs:
        blocks |= span(first, end)
    return blocks


def runs_of(blocks: int) -> Iterator[Run]:
    """Yield the set's runs, in order."""
    at = 0
    while blocks:
        skipped = _first(blocks)
        blocks >>= skipped
        length = _first(~blocks)
        yield at + skipped, at + skipped + length
        at += skipped + length
        blocks >>= length


def lowest(blocks: int, count: int) -> int:
    """Return the *count* lowest blocks of the set, or all of it."""
    return blocks & span(0, _cut(blocks, count))


def highest(blocks: int, count: int) -> int:
    """Return the *count* highest blocks of the set, or all of it."""
    keep = blocks.bit_count() - count
    return blocks if keep <= 0 else blocks & ~span(0, _cut(blocks, keep))


def lowest_from(blocks: int, start: int, count: int) -> int:
    """As `lowest`, but beginning at block *start*, and from 0 when the end is met."""
    chosen = lowest(blocks & ~span(0, start), count)
    return chosen | lowest(blocks & span(0, start), count - chosen.bit_count())


def _first(blocks: int) -> int:
    return (blocks & -blocks).bit_length() - 1


def _cut(blocks: int, count: int) -> int:
    """Return below which number *count* blocks of the set lie."""
    low, high = 0, blocks.bit_length()
    while low < high:
        middle = (low + high) // 2
        if (blocks & span(0, middle)).bit_count() < count:
            low = middle + 1
        else:
            high = middle
    return low


# --- as text: SITE BLOCKS -----------------------------------------------------------


def write_runs(runs: Iterable[Run]) -> str:
    """Return the runs as a request names them: `0-3,7`."""
    return ",".join(
        str(first) if end == first + 1 else f"{first}-{end - 1}" for first, end in runs
    )


def parse_runs(text: str, count: int) -> tuple[Run, ...] | None:
    """Return the runs that *text* names; None unless all are blocks of a file of
    *count* blocks, in order."""
    runs: list[Run] = []
    words = text.split(",", RUNS_MAX)
    for word in words:
        found = _RUN.fullmatch(word)
        if found is None:
            return None
        first, last = int(found[1]), int(found[2] or found[1])
        if not (runs[-1][1] if runs else 0) <= first <= last < count:
            return None
        runs.append((first, last + 1))
    return tuple(runs) if len(runs) <= RUNS_MAX else None
