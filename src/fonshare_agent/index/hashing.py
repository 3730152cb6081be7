"""Chooses what to hash next and carries it out in small steps.

A file that somebody asked for jumps the queue, at any hour and at full speed; otherwise
files go in disk order, at the owner's pace. A restart goes on inside a large file. A
file changed in the last seconds is probably still being written: it waits. Runs on the
scanner thread, but for `request`. It must not know who asked, nor why.
"""

import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from fonshare_agent.errors import BadPath, ContentChanged
from fonshare_agent.index.blocks import Hashed, hash_file, open_in_share
from fonshare_agent.index.pace import Pace
from fonshare_agent.index.place import Place
from fonshare_agent.index.records import UNHASHED_START, OwnFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.index.walk import OnStore
from fonshare_agent.model import GroupId, Root, SharePath
from fonshare_agent.protocol.content import block_count

QUIET_S = 2.0  # a file unchanged for so long counts as written
SAVE_BYTES = 64 << 20  # what a restart reads again at most: seconds on the box
REQUESTS_MAX = 1024  # beyond it the oldest is forgotten; its job asks again

Steps = Generator[None, None, None]
Request = tuple[str, SharePath]


class Hashing:
    """What is being hashed and what waits for it.

    Guarded by `_lock`: `_requests` (with the monotonic time not to begin before).
    All else belongs to the scanner thread.
    """

    def __init__(
        self,
        index: IndexStore,
        on_store: OnStore,
        *,
        check_disk: Callable[[], None],
        on_moved: Callable[[set[GroupId]], None],
        on_hashed: Callable[[str, SharePath, Root], None],
        on_changed: Callable[[str, SharePath], None],
        clock: Callable[[], float],
        now: Callable[[], float],
        pace: Pace,
    ) -> None:
        self._index, self._on_store = index, on_store
        self._check_disk = check_disk
        self._on_moved, self._on_hashed = on_moved, on_hashed
        self._on_changed = on_changed
        self._clock, self._now, self._pace = clock, now, pace
        self._lock = threading.Lock()
        self._requests: dict[Request, float] = {}
        self._requested: Steps | None = None
        self._background: Steps | None = None
        self._cursor = UNHASHED_START
        self._pass_due: float | None = 0.0  # when a pass may begin or go on
        self._is_pass_wanted = False  # another one, after this
        self._has_young = False  # this pass left some out

    def request(self, share: str, path: SharePath) -> None:
        """Hash that file next. From any thread; a second asking changes nothing."""
        with self._lock:
            self._requests.setdefault((share, path), 0.0)
            if len(self._requests) > REQUESTS_MAX:
                del self._requests[next(iter(self._requests))]

    def is_asked(self) -> bool:
        """Tell whether somebody waits for a file. From any thread."""
        return bool(self._requests)

    def begin_pass(self) -> None:
        """Look at all unhashed files again: something may have changed."""
        if self._pass_due is None:
            self._pass_due = 0.0
        else:
            self._is_pass_wanted = True

    def next_due(self) -> float | None:
        """Return the monotonic time at which there will be work again."""
        with self._lock:
            times = list(self._requests.values())
        if self._background is not None or self._pass_due is not None:
            times.append(max(self._pass_due or 0.0, self._pace.free_at()))
        return min(times, default=None)

    def step_requested(self, shares: Mapping[str, Path]) -> bool:
        """Hash on at what was asked for; False if there is nothing now."""
        if self._requested is None:
            request = self._next_request()
            if request is None:
                return False
            self._requested = self._serve(request, shares)
        self._requested = self._advance(self._requested)
        return True

    def step_background(self, shares: Mapping[str, Path]) -> bool:
        """Hash on at the next file in disk order; False if there is none now."""
        if self._pace.free_at() > self._clock():
            return False
        if self._background is None:
            if self._pass_due is None or self._pass_due > self._clock():
                return False
            # All that scans found, before a pass begins: then it meets all in order.
            if self._cursor == UNHASHED_START and self._on_store(
                self._index.queue_unhashed
            ):
                return True
            self._background = self._next_in_pass(shares)
            if self._background is None:
                return self._pass_due == 0.0  # another pass was asked for
        self._background = self._advance(self._background)
        return True

    def close(self) -> None:
        """Give up what is begun, closing its file; it will be begun anew."""
        for steps in (self._requested, self._background):
            if steps is not None:
                steps.close()
        self._requested = self._background = None

    # --- inside ---------------------------------------------------------------------

    @staticmethod
    def _advance(steps: Steps) -> Steps | None:
        return steps if next(steps, _END) is None else None

    def _next_request(self) -> Request | None:
        with self._lock:
            now = self._clock()
            for request, due in self._requests.items():
                if due <= now:
                    return request
        return None

    def _serve(self, request: Request, shares: Mapping[str, Path]) -> Steps:
        share, path = request
        file = self._on_store(lambda: self._index.find_own(share, path))
        if file is not None and file.root is not None:
            self._on_hashed(share, path, file.root)
        is_settled = file is None or file.root is not None
        if file is not None and not is_settled and not self._is_young(file):
            is_settled = yield from self._hash(file, shares, lambda count: None)
        with self._lock:
            if is_settled:
                self._requests.pop(request, None)
            elif request in self._requests:
                self._requests[request] = self._clock() + QUIET_S

    def _next_in_pass(self, shares: Mapping[str, Path]) -> Steps | None:
        found = self._on_store(lambda: self._index.next_unhashed(self._cursor))
        if found is None:
            self._end_pass()
            return None
        file, self._cursor = found
        return self._hash_in_pass(file, shares)

    def _end_pass(self) -> None:
        self._cursor, self._pass_due = UNHASHED_START, None
        if self._is_pass_wanted:
            self._pass_due = 0.0
        elif self._has_young:
            self._pass_due = self._clock() + QUIET_S
        self._is_pass_wanted = self._has_young = False

    def _hash_in_pass(self, file: OwnFile, shares: Mapping[str, Path]) -> Steps:
        if self._is_young(file):
            self._has_young = True
        else:
            yield from self._hash(file, shares, self._pace.note_read)

    def _is_young(self, file: OwnFile) -> bool:
        # A time in the future tells nothing: the clock may be unset.
        return 0 <= self._now() - file.stamp.mtime_ns / 1e9 < QUIET_S

    def _hash(
        self,
        file: OwnFile,
        shares: Mapping[str, Path],
        note_read: Callable[[int], None],
    ) -> Generator[None, None, bool]:
        """Hash *file* and note it; False if it changed and should be tried again."""
        root_path = shares.get(file.share)
        if root_path is None:
            return True
        self._check_disk()
        known, on_read = self._go_on(file, note_read)
        try:
            place = Place.open(file.share, root_path)
            try:
                hashed = yield from hash_file(
                    lambda: open_in_share(place.descriptor, file.path),
                    file.stamp,
                    known,
                    on_read,
                )
            finally:
                place.close()
        except ContentChanged:
            self._on_changed(file.share, file.path)
            return False
        except (OSError, BadPath):
            # Gone or unreadable: the next scan sees which. If the disk went, say so.
            self._check_disk()
            return True
        return self._note(file, hashed)

    def _go_on(
        self, file: OwnFile, note_read: Callable[[int], None]
    ) -> tuple[list[bytes], Callable[[int, list[bytes]], None]]:
        """Return the hashes that *file* has from before, and what keeps further ones.

        Kept by amount, not by block, and without a sync of its own.
        """
        if file.stamp.size <= SAVE_BYTES:
            return [], lambda count, hashes: note_read(count)
        known = self._on_store(lambda: self._index.load_hashing(file))
        kept, unsaved = len(known), 0

        def on_read(count: int, hashes: list[bytes]) -> None:
            nonlocal kept, unsaved
            note_read(count)
            unsaved += count
            if unsaved >= SAVE_BYTES and len(hashes) < block_count(file.stamp.size):
                self._on_store(lambda: self._index.save_hashing(file, hashes, kept))
                kept, unsaved = len(hashes), 0

        return known, on_read

    def _note(self, file: OwnFile, hashed: Hashed) -> bool:
        moved = self._on_store(
            lambda: self._index.set_root(file, hashed.root, hashed.hashes)
        )
        if moved is None:
            return False
        self._on_moved(moved)
        self._on_hashed(file.share, file.path, hashed.root)
        return True


_END = object()
