"""Walks one share's folders and tells the index what is there, a batch at a time.

Theory: a folder is read as a stream; what was seen goes to the index in batches, which
writes only what changed. Then the index's own number of files and folders in that
folder is compared with what was seen. If they differ, something is gone, and only then
the known names are looked up one by one. So an unchanged tree costs directory reads and
stats, nothing is held but one batch and one open folder for each level, and nothing is
called gone that was not asked for by name.

Rules kept: no link is followed; no mount below the share is entered; `.fonshare` is
never seen; the content of a folder that cannot be read is kept; before anything is
marked or dropped the disk is checked, and its loss (DiskMissing) ends the walk.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from fonshare_agent.index.place import OPEN_FOLDER, Place
from fonshare_agent.index.records import FileStamp, Listing, SeenFile
from fonshare_agent.index.store import BATCH, IndexStore
from fonshare_agent.model import (
    DEPTH_MAX,
    PATH_BYTES_MAX,
    PRIVATE_FOLDER,
    GroupId,
)

T = TypeVar("T")
Parts = tuple[bytes, ...]
Moved = Generator[set[GroupId], None, None]

# What opening gives when a folder went, or something else took its name.
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class OnStore(Protocol):
    """Runs a function on the store thread and waits for what it returns or raises."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


@dataclass(slots=True)
class _Level:
    """One open folder of the walk, and what was seen of it so far."""

    parts: Parts
    descriptor: int
    entries: "os._ScandirIterator[str]"
    raw_length: int
    files: int = 0
    folders: int = 0
    is_whole: bool = True
    seen_files: list[SeenFile] = field(default_factory=list)
    seen_folders: list[bytes] = field(default_factory=list)

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


class Walk:
    """One pass over a share, or over one folder of it.

    *skipped* counts by reason what was left out: link, special, mount, too_deep,
    too_long, unreadable.
    """

    def __init__(
        self,
        place: Place,
        index: IndexStore,
        on_store: OnStore,
        check_disk: Callable[[], None],
    ) -> None:
        self._place = place
        self._index = index
        self._on_store = on_store
        self._check_outside = check_disk
        self._listings: list[Listing] = []
        self._pending = 0  # names in the listings
        self._finished: list[tuple[Parts, int, int]] = []
        self.skipped: Counter[str] = Counter()

    def steps(self, start: Parts = ()) -> Moved:
        """Walk all below *start*; yields, after each batch, the groups moved."""
        levels: list[_Level] = []
        try:
            self._enter(levels, self._open(start), start)
            while levels:
                self._read(levels)
                if self._pending >= BATCH or not levels:
                    yield self._flush(levels)
                    yield from self._verify_finished()
        finally:
            for level in levels:
                level.close()

    def drop_gone(self) -> Moved:
        """Drop what the walk found gone; only after a walk that came to its end."""
        is_more = True
        while is_more:
            self._check_disk()
            moved, is_more = self._on_store(
                lambda: self._index.drop_gone(self._place.share)
            )
            yield moved

    def look_at(self, parts: Parts) -> Moved:
        """Look at one file or folder that is said to have changed."""
        try:
            folder = self._open(parts[:-1])
        except OSError as error:
            if error.errno not in _NO_FOLDER or len(parts) == 1:
                raise
            yield from self.look_at(parts[:-1])
            return
        try:
            is_folder = self._look(folder, parts)
        finally:
            os.close(folder)
        if is_folder:
            self._note(Listing(parts[:-1], (), (parts[-1],)), 1)
            yield from self.steps(parts)
        else:
            yield self._flush([])

    # --- one folder -----------------------------------------------------------------

    def _open(self, parts: Parts) -> int:
        """Open a folder of the share, component by component, following no link."""
        descriptor = os.dup(self._place.descriptor)
        for part in parts:
            try:
                deeper = os.open(part, OPEN_FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = deeper
        return descriptor

    def _enter(self, levels: list[_Level], descriptor: int, parts: Parts) -> None:
        try:
            entries = os.scandir(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        length = sum(len(part) + 1 for part in parts)
        levels.append(_Level(parts, descriptor, entries, length))

    def _read(self, levels: list[_Level]) -> None:
        """Read on in the deepest folder until a batch is full or it ends."""
        level = levels[-1]
        while self._pending < BATCH:
            try:
                entry = next(level.entries, None)
            except OSError:
                # What was not listed is not gone: a bad sector, or the disk went.
                self._skip(level, "unreadable")
                entry = None
            if entry is None:
                self._leave(levels)
                return
            if self._take(levels, level, entry):
                return

    def _take(
        self, levels: list[_Level], level: _Level, entry: "os.DirEntry[str]"
    ) -> bool:
        """Note *entry*; True if it is a folder that is now being read."""
        name = os.fsencode(entry.name)
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:
            self._skip(level, "unreadable")
            return False
        reason = self._refusal(level.parts, level.raw_length, name, info)
        if reason is not None:
            self.skipped[reason] += bool(reason)
            return False
        if stat.S_ISREG(info.st_mode):
            level.seen_files.append(self._seen(name, info))
            level.files += 1
            self._pending += 1
            return False
        return self._take_folder(levels, level, name)

    def _take_folder(self, levels: list[_Level], level: _Level, name: bytes) -> bool:
        try:
            descriptor = os.open(name, OPEN_FOLDER, dir_fd=level.descriptor)
        except OSError as error:
            if error.errno in _NO_FOLDER:
                return False  # it went between two calls; the counts will differ
            descriptor = -1
        level.seen_folders.append(name)
        level.folders += 1
        self._pending += 1
        try:
            if descriptor >= 0:
                self._enter(levels, descriptor, (*level.parts, name))
                return True
        except OSError:
            pass  # as a folder that may not be opened
        self.skipped["unreadable"] += 1
        return False

    def _leave(self, levels: list[_Level]) -> None:
        level = levels.pop()
        level.close()
        self._put(level)
        if level.is_whole:
            self._finished.append((level.parts, level.files, level.folders))

    def _put(self, level: _Level) -> None:
        if level.seen_files or level.seen_folders:
            self._listings.append(
                Listing(level.parts, level.seen_files, level.seen_folders)
            )
            level.seen_files, level.seen_folders = [], []

    def _skip(self, level: _Level, reason: str) -> None:
        self.skipped[reason] += 1
        level.is_whole = False

    def _seen(self, name: bytes, info: os.stat_result) -> SeenFile:
        stamp = FileStamp.of(info, keeps_inodes=self._place.keeps_inodes)
        return SeenFile(name, stamp)

    def _refusal(
        self, parts: Parts, length: int, name: bytes, info: os.stat_result
    ) -> str | None:
        """Return why a name is not offered; "" if it needs no mention.

        The rules are SharePath's, asked for one name at a time.
        """
        if name.lower() == PRIVATE_FOLDER:
            return ""
        if stat.S_ISLNK(info.st_mode):
            return "link"
        is_folder = stat.S_ISDIR(info.st_mode)
        if not is_folder and not stat.S_ISREG(info.st_mode):
            return "special"
        if info.st_dev != self._place.device:
            return "mount"
        # A folder at the deepest level could only hold what is refused.
        if len(parts) + 1 + is_folder > DEPTH_MAX:
            return "too_deep"
        if length + len(name) > PATH_BYTES_MAX:
            return "too_long"
        return None

    # --- the index ------------------------------------------------------------------

    def _check_disk(self) -> None:
        self._check_outside()
        self._place.check()

    def _note(self, listing: Listing, count: int) -> None:
        self._listings.append(listing)
        self._pending += count

    def _flush(self, levels: list[_Level]) -> set[GroupId]:
        """Give the index what was seen."""
        for level in levels:
            self._put(level)
        listings, self._listings, self._pending = self._listings, [], 0
        # A disk pulled meanwhile may have shown an empty or half a folder.
        self._check_disk()
        share = self._place.share
        return self._on_store(lambda: self._index.take_listings(share, listings))

    def _verify_finished(self) -> Moved:
        finished, self._finished = self._finished, []
        share = self._place.share

        def differing() -> list[Parts]:
            return [
                parts
                for parts, files, folders in finished
                if self._index.count_in(share, parts) != (files, folders)
            ]

        for parts in self._on_store(differing):
            yield from self._verify(parts)

    def _verify(self, parts: Parts) -> Moved:
        """Ask for each known name of a folder, and mark those that are gone."""
        try:
            folder = self._open(parts)
        except OSError:
            return  # it went as well: its parent's turn comes
        try:
            for known, is_folder in (
                (self._index.known_files, False),
                (self._index.known_folders, True),
            ):
                after = b""
                while names := self._on_store(
                    lambda known=known, after=after: known(  # type: ignore[misc]
                        self._place.share, parts, after
                    )
                ):
                    self._mark(folder, parts, names, is_folder=is_folder)
                    after = names[-1]
                    yield set()
        finally:
            os.close(folder)

    def _mark(
        self, folder: int, parts: Parts, names: list[bytes], *, is_folder: bool
    ) -> None:
        gone = [
            name
            for name in names
            if not self._is_there(folder, parts, name, is_folder=is_folder)
        ]
        if not gone:
            return
        self._check_disk()
        files, folders = ([], gone) if is_folder else (gone, [])
        share = self._place.share
        self._on_store(lambda: self._index.mark_gone(share, parts, files, folders))

    def _is_there(
        self, folder: int, parts: Parts, name: bytes, *, is_folder: bool
    ) -> bool:
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # unreadable is not gone
        length = sum(len(part) + 1 for part in parts)
        if self._refusal(parts, length, name, info) is not None:
            return False
        return stat.S_ISDIR(info.st_mode) == is_folder

    def _look(self, folder: int, parts: Parts) -> bool:
        """Note the file at *parts*, or that it is gone; True if it is a folder."""
        name, above = parts[-1], parts[:-1]
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            info = None
        length = sum(len(part) + 1 for part in above)
        refused = info is None or self._refusal(above, length, name, info) is not None
        is_folder = not refused and info is not None and stat.S_ISDIR(info.st_mode)
        if not refused and not is_folder and info is not None:
            self._note(Listing(above, (self._seen(name, info),)), 1)
        files = [name] if refused or is_folder else []
        folders = [] if is_folder else [name]
        self._check_disk()
        share = self._place.share
        self._on_store(lambda: self._index.mark_gone(share, above, files, folders))
        return is_folder
