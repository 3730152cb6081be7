"""What a mirror does with one file, and with what a server has no more. Pure.

Theory of operation. Three things are known of a path: what the server's listing says
now, what was noted when the mirror copied it, and what lies on the disk. What the
mirror did not copy, or somebody changed since, is the owner's: it is never written over
nor deleted. What the mirror copied follows the server, but what is gone there is
deleted here only when a second listing misses it too, and when most or all is gone at
once only when the owner has said so: the bytes may lie nowhere else. Most is meant of
what was there before: what has just come says nothing about what has gone.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from fonshare_agent.transfer.fxp_listing import Entry

FEW_FILES: Final = 10  # in so small a mirror some may be most of it
SAME_TIME_S: Final = 2  # FAT's seconds are even
_STAMP_WORDS: Final = 3  # Jan 1 12:00


class Act(Enum):
    """What is to be done about one file of a listing."""

    KEEP = "keep"  # it is here as the server has it
    ASK = "ask"  # the listing's date says too little: ask about this file
    COMPARE = "compare"  # what lies here may be it: nobody noted whether
    FETCH = "fetch"
    LEAVE = "leave"  # something of the owner's has the name


@dataclass(frozen=True, slots=True)
class Local:
    """A file on the disk, as far as one must look to see that it is the same."""

    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Known:
    """A file that the mirror has copied: as the server told of it, and as it was laid.

    `stamp` is None until a listing has shown it again: a change within the minute in
    which it was copied has the same one.
    """

    size: int
    modified: bytes | None
    stamp: bytes | None
    local: Local
    missed: int = 0  # complete listings in a row without it


def decide(entry: Entry, known: Known | None, local: Local | None) -> Act:
    """Return what to do about a file that is in the listing."""
    if local is None:
        return Act.FETCH
    if known is None:
        return Act.LEAVE if entry.size not in (None, local.size) else Act.COMPARE
    if local != known.local:
        return Act.LEAVE
    if entry.size is not None and entry.size != known.size:
        return Act.FETCH
    if entry.modified is not None:
        return Act.KEEP if entry.modified == known.modified else Act.FETCH
    if entry.stamp is None or is_same_day(entry.stamp, known.stamp):
        return Act.KEEP
    return Act.ASK


def decide_asked(found: Entry | None, known: Known) -> Act:
    """Return what to do after `Act.ASK`: *found* is the server's answer."""
    if found is None:
        return Act.KEEP  # it has gone since the listing: the next one tells
    if found.size is not None and found.size != known.size:
        return Act.FETCH
    if found.modified is None:
        # The server tells no date but the listing's, which is noted now, or differs.
        return Act.KEEP if known.stamp is None else Act.FETCH
    return Act.KEEP if found.modified == known.modified else Act.FETCH


def is_same_day(one: bytes, other: bytes | None) -> bool:
    """Tell whether two stamps are the same: after half a year the time is a year."""
    if one == other or other is None:
        return one == other
    words, others = one.split(), other.split()
    if len(words) != _STAMP_WORDS or len(others) != _STAMP_WORDS:
        return False
    return words[:2] == others[:2] and (b":" in words[2]) != (b":" in others[2])


def is_surely(local: Local, entry: Entry, modified_s: int | None) -> bool:
    """Tell whether what lies here is that file, without reading either.

    *modified_s*: the server's date of it as epoch seconds.
    """
    if entry.size != local.size or modified_s is None:
        return False
    return abs(local.modified_ns // 10**9 - modified_s) <= SAME_TIME_S


class Gone(Enum):
    """What becomes of what a complete listing lacks."""

    WAIT = "wait"  # until another one lacks it, too
    DELETE = "delete"
    HOLD = "hold"  # most is gone at once: until the owner confirms it


def judge(known: int, gone: int, *, is_confirmed: bool) -> Gone | None:
    """Return HOLD if so much is missing that nobody is believed, else None.

    *gone* of *known* files are missing. None: each goes by its own `missed`.
    """
    is_most = known > FEW_FILES and 2 * gone > known
    is_all = gone > 0 and gone >= known
    if (is_most or is_all) and not is_confirmed:
        return Gone.HOLD
    return None


def judge_one(known: Known, *, is_confirmed: bool) -> Gone:
    """Return what becomes of one file that a complete listing lacks."""
    return Gone.DELETE if known.missed or is_confirmed else Gone.WAIT
