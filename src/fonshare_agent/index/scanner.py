"""The scanner thread: keeps the index equal to the shares, and hashes in between.

One low-priority thread does everything that reads the shares for the index, one small
step after another, the most urgent first: places said to have changed, files somebody
waits for, publishing and withdrawing, scans, what makes searches fast, and at last the
hashing of the rest. While transfers run it pauses between steps, so that they have the
disk.

A missing or wrong disk stops the scan at once; nothing is called gone, and it is tried
again later. Nor is it when most of a share is missing (holdback.py). It must not know
the network, nor decide who sees what.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path

from fonshare_agent.errors import BadPath, StorageError
from fonshare_agent.index.hashing import Hashing
from fonshare_agent.index.hints import Hint, Hints
from fonshare_agent.index.holdback import Held, Holdback, Scan, Seen
from fonshare_agent.index.pace import Pace
from fonshare_agent.index.place import Place
from fonshare_agent.index.reading import AS_NICE, IDLE, set_reading, step_back
from fonshare_agent.index.scan_report import ScanReport, ShareReport
from fonshare_agent.index.schedule import AT_ONCE, Schedule
from fonshare_agent.index.store import IndexStore
from fonshare_agent.index.walk import Moved, OnStore, Walk
from fonshare_agent.model import GroupId, Root, SharePath

PERIOD_S = 3600.0  # between two scans of a share when nobody tells us of changes
RETRY_S = 10.0  # after the disk was missing
WATCH_S = 60.0  # what watching many folders takes at most; then they are scanned anyway
BUSY_PAUSE_S = 0.2  # between two steps while transfers run
NICE = 10  # below everything a router does for its house

log = logging.getLogger(__name__)
Steps = Generator[None, None, None]


class Scanner:
    """Owns the scanner thread. Callbacks are called on it and must not block.

    *on_store* runs a function on the store thread and waits for it; *check_disk*
    raises DiskMissing; *clock* is monotonic, *now* the time of day.

    Everything but the schedule and the hints belongs to the scanner thread.
    """

    def __init__(
        self,
        index: IndexStore,
        on_store: OnStore,
        *,
        check_disk: Callable[[], None],
        on_catalogue_moved: Callable[[set[GroupId]], None],
        on_hashed: Callable[[str, SharePath, Root], None],
        is_busy: Callable[[], bool] = lambda: False,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self._index, self._on_store = index, on_store
        self._check_disk = check_disk
        self._on_moved = on_catalogue_moved
        self._is_busy = is_busy
        self._period_s = period_s
        self._clock = clock
        self._hashing = Hashing(
            index,
            on_store,
            check_disk=check_disk,
            on_moved=self._tell_moved,
            on_hashed=on_hashed,
            on_changed=self._hint,
            clock=clock,
            now=now,
            pace=pace or Pace(clock, now),
        )
        self._holdback = Holdback(index, on_store, clock, period_s)
        self._wake = threading.Event()
        self._schedule = Schedule()
        self._hints = Hints()
        self._is_stopping = False
        self._is_tidy = False
        self._is_indexed = False
        self._retry_at = 0.0
        self._looking: Steps | None = None
        self._scanning: tuple[str, Steps] | None = None
        self._undropped: dict[str, Seen] = {}  # seen; what is gone is still there
        self._thread = threading.Thread(target=self._run, name="scanner")

    # --- from any thread ------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present step; unfinished work is begun anew."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._abandon()

    def set_shares(
        self, shares: Mapping[str, Path], *, is_watching: bool = False
    ) -> None:
        """Say which folders to scan; new ones are scanned at once.

        If *is_watching*, then not before `rescan` says that they are watched, or after
        WATCH_S. `IndexStore.publish` must have been told of them before.
        """
        first_due = self._clock() + WATCH_S if is_watching else AT_ONCE
        self._schedule.set_shares(shares, first_due)
        self.tidy()

    def rescan(self, share: str | None = None) -> None:
        """Scan *share*, or all shares, as soon as possible."""
        self._schedule.want(share)
        self._wake.set()

    def on_change(self, path: str | bytes | os.PathLike[str]) -> None:
        """Look soon at *path* (absolute): a file or folder came, went or changed."""
        for share, place in self._schedule.locate(os.fsencode(path)):
            if not place:
                self.rescan(share)
                continue
            with contextlib.suppress(BadPath):  # such a name is never offered
                self._hint(share, SharePath.parse(place))

    def hash_soon(self, share: str, path: SharePath) -> None:
        """Hash that file before all others; `on_hashed` tells when it is done."""
        self._hashing.request(share, path)
        self._wake.set()

    def tidy(self) -> None:
        """Carry on what the index has pending: after `publish`, a delta or a drop."""
        self._is_tidy = self._is_indexed = False
        self._wake.set()

    def confirm(self, share: str) -> Held | None:
        """Drop what the next scan of *share* finds missing; return what was held."""
        held = self._holdback.find(share)
        self._holdback.confirm(share)
        self.rescan(share)
        return held

    def report(self) -> ScanReport:
        is_at_it = self._scanning is not None or bool(self._undropped)
        reports = {
            name: replace(report, held=self._holdback.find(name))
            for name, report in self._schedule.reports().items()
        }
        return ScanReport(is_at_it or self._schedule.is_behind(), reports)

    # --- the thread -----------------------------------------------------------------

    def _run(self) -> None:
        step_back(NICE)
        while not self._is_stopping:
            self._wake.clear()
            set_reading(AS_NICE if self._hashing.is_asked() else IDLE)
            if not self.step():
                self._wake.wait(self._idle_s())
            elif self._is_busy():
                self._wake.wait(BUSY_PAUSE_S)

    def step(self) -> bool:
        """Do the most urgent bit of work; False if there is nothing to do now.

        Called by the thread; without `start` it may be called directly instead.
        """
        if self._clock() < self._retry_at:
            return False
        try:
            return self._step()
        except StorageError as error:
            # The disk or the database: give up what is begun, and try again later.
            self._abandon()
            self._retry_at = self._clock() + RETRY_S
            self.rescan()  # also for what was given up
            log.warning("scanning stopped: %s", error.code)
            return False

    def _step(self) -> bool:
        shares = self._schedule.shares()
        if self._looking is None and (hints := self._hints.take_due(self._clock())):
            self._looking = self._look_at_hints(shares, hints)
        if self._looking is not None:
            if next(self._looking, _END) is _END:
                self._looking = None
            return True
        return (
            self._hashing.step_requested(shares)
            or self._tidy_step()
            or self._scan_step(shares)
            or self._index_step()
            or self._hashing.step_background(shares)
        )

    def _idle_s(self) -> float | None:
        now = self._clock()
        if self._retry_at > now:
            return self._retry_at - now
        parts = (self._schedule, self._hashing, self._hints)
        times = [due for due in (one.next_due() for one in parts) if due is not None]
        return max(0.0, min(times) - now) if times else None

    def _abandon(self) -> None:
        for steps in (self._looking, self._scanning and self._scanning[1]):
            if steps is not None:
                steps.close()
        self._looking = self._scanning = None
        self._undropped.clear()  # all is scanned again
        self._hashing.close()

    def _tell_moved(self, groups: set[GroupId]) -> None:
        if groups:
            self._is_indexed = False
            self._on_moved(groups)

    # --- publishing -----------------------------------------------------------------

    def _tidy_step(self) -> bool:
        if self._is_tidy:
            return False
        self._is_tidy = True
        is_busy, group = self._on_store(self._index.tidy_some)
        if is_busy:
            self._is_tidy = False
        if group is not None:
            self._tell_moved({group})
            self._hashing.begin_pass()
        return True

    def _index_step(self) -> bool:
        if self._is_indexed:
            return False
        self._is_indexed = True
        if self._on_store(self._index.index_names):
            self._is_indexed = False
        return True

    # --- scans ----------------------------------------------------------------------

    def _scan_step(self, shares: Mapping[str, Path]) -> bool:
        if self._scanning is None:
            self._scanning = self._begin(shares)
        if self._scanning is None:
            return False
        if next(self._scanning[1], _END) is _END:
            self._scanning = None
        return True

    def _begin(self, shares: Mapping[str, Path]) -> tuple[str, Steps] | None:
        now = self._clock()
        due = self._schedule.take_due(now, now + self._period_s)
        if due is not None:
            share, path = due
            return share, self._scan(share, path)
        # Only when all is seen: what was moved to another share keeps its root.
        while self._undropped:
            share, seen = self._undropped.popitem()
            if share in shares:
                return share, self._drop_gone(share, shares[share], seen)
        return None

    def _scan(self, share: str, path: Path) -> Steps:
        began, before = self._clock(), self._holdback.count(share)
        try:
            walk = yield from self._each_step(share, path, Walk.steps)
        except OSError as error:
            self._check_disk()
            problem = f"its folder cannot be read: {error.strerror}"
            self._schedule.set_report(share, ShareReport(problem=problem))
            log.warning("a share was not scanned: see `fonshare doctor`")
            return
        except StorageError as error:
            self._schedule.set_report(share, ShareReport(problem=str(error)))
            raise
        scan = Scan(began, is_whole=not walk.skipped["unreadable"])
        self._note_seen(share, before, scan)
        skipped = {reason: count for reason, count in walk.skipped.items() if count}
        self._schedule.set_report(share, ShareReport(skipped, is_scanned=True))

    def _note_seen(self, share: str, before: int, scan: Scan | None) -> None:
        earlier = self._undropped.get(share)
        if earlier is not None:
            before, scan = max(before, earlier.before), scan or earlier.scan
        self._undropped[share] = Seen(before, scan)

    def _drop_gone(self, share: str, path: Path, seen: Seen) -> Steps:
        is_held = self._holdback.find(share) is not None
        try:
            if (yield from self._holdback.may_drop(share, seen)):
                yield from self._each_step(share, path, Walk.drop_gone)
            elif seen.scan is not None:
                self._schedule.postpone(share, self._clock() + self._holdback.hold_s)
            elif not is_held:  # a scan tells how much of the share is missing
                self._schedule.want(share)
        except OSError as error:
            self._check_disk()
            log.info("what is gone is not dropped yet: %s", error.strerror)

    def _each_step(
        self, share: str, path: Path, steps: Callable[[Walk], Moved]
    ) -> Generator[None, None, Walk]:
        self._check_disk()
        place = Place.open(share, path)
        try:
            walk = Walk(place, self._index, self._on_store, self._check_disk)
            yield from self._tell(steps(walk))
        finally:
            place.close()
        self._hashing.begin_pass()
        return walk

    def _tell(self, steps: Moved) -> Steps:
        for moved in steps:
            self._tell_moved(moved)
            yield

    # --- hints ----------------------------------------------------------------------

    def _hint(self, share: str, path: SharePath) -> None:
        if not self._hints.add(share, path):
            self._schedule.want(share)
        self._wake.set()

    def _look_at_hints(self, shares: Mapping[str, Path], hints: list[Hint]) -> Steps:
        """Look at all places said to have changed; what is gone is dropped afterwards.

        A renamed file comes as two hints: the new name takes over the old one's root.
        """
        for share in dict.fromkeys(share for share, _ in hints):
            if share in shares:
                paths = [path for name, path in hints if name == share]
                yield from self._look(share, shares[share], paths)
        self._hashing.begin_pass()

    def _look(self, share: str, root: Path, paths: list[SharePath]) -> Steps:
        self._check_disk()
        before = self._holdback.count(share)
        try:
            place = Place.open(share, root)
            try:
                walk = Walk(place, self._index, self._on_store, self._check_disk)
                for path in paths:
                    yield from self._tell(walk.look_at(path.parts))
            finally:
                place.close()
            self._note_seen(share, before, None)
        except OSError as error:
            self._check_disk()
            log.info("a changed place was not read: %s", error.strerror)
            self._schedule.want(share)


_END = object()
