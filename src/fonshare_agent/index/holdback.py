"""Keeps a sudden disappearance from being announced before it is beyond doubt.

A damaged file system, a folder on a disk that failed, a slip of the hand: when more
than half of a share's files are missing at once, friends keep seeing them until a
second complete scan, some minutes later, finds them missing as well, or until the owner
confirms. What is missing stays marked in the index meanwhile, and a file that comes
back is simply there. A restart begins the wait anew: it never shortens it.

Moved files are not missing: compared is how many files there were before a scan with
how many there are after it. The scanner asks here before it drops anything; it must not
know how a scan works.
"""

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass

from fonshare_agent.index.missing import Tally
from fonshare_agent.index.store import IndexStore
from fonshare_agent.index.walk import OnStore

FEW_FILES = 10  # in so small a share any deletion is most of it
HOLD_S = 300.0  # long enough for a cable, a hub or a file system check to be noticed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """What a share holds back: *missing* of *known* files, *since* (monotonic)."""

    missing: int
    known: int
    since: float


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan that came to its end; *is_whole*: it could read every folder."""

    began: float
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """How a share was looked at since what is gone of it was last dropped.

    *before*: how many files the index had then; *scan*: the last scan that came to its
    end since, None if only single places were looked at.
    """

    before: int
    scan: Scan | None


class Holdback:
    """Belongs to the scanner thread; `confirm` and `find` may be called from any."""

    def __init__(
        self,
        index: IndexStore,
        on_store: OnStore,
        clock: Callable[[], float],
        period_s: float,
    ) -> None:
        self._index, self._on_store, self._clock = index, on_store, clock
        self.hold_s = min(HOLD_S, period_s)
        self._held: dict[str, Held] = {}
        self._confirmed: set[str] = set()

    def find(self, share: str) -> Held | None:
        """Return what *share* holds back now."""
        return self._held.get(share)

    def confirm(self, share: str) -> None:
        """The owner says that what the next scan finds missing is gone indeed."""
        self._confirmed.add(share)

    def count(self, share: str) -> int:
        """Return how many files the index has of *share*, missing ones included."""
        return self._on_store(lambda: self._index.counts(share)[0])

    def may_drop(self, share: str, seen: Seen) -> Generator[None, None, bool]:
        """Tell whether what is marked as gone may be dropped now."""
        before, scan = seen.before, seen.scan
        missing = 0 if before <= FEW_FILES else (yield from self._tally(share))
        here = self.count(share) - missing
        if before <= FEW_FILES or 2 * here >= before:
            if self._held.pop(share, None) is not None:
                log.info("the missing files of a share are back")
            self._confirmed.discard(share)
            return True
        held = self._held.get(share)
        if scan is not None and self._is_beyond_doubt(share, held, scan):
            self._held.pop(share, None)
            self._confirmed.discard(share)
            return True
        since = held.since if held else self._clock()
        self._held[share] = Held(before - here, before, since)
        if held is None:
            log.warning(
                "most files of a share are missing: nothing is called deleted yet;"
                " see `fonshare doctor`"
            )
        return False

    def _tally(self, share: str) -> Generator[None, None, int]:
        tally = Tally(share)
        while not tally.is_complete:
            self._on_store(lambda: self._index.count_missing(tally))
            yield
        return tally.files

    def _is_beyond_doubt(self, share: str, held: Held | None, scan: Scan) -> bool:
        if share in self._confirmed:
            return True
        if held is None or not scan.is_whole:
            return False
        return scan.began >= held.since + self.hold_s
