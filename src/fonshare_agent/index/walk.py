"""Walks one share's folders and tells the index what is there, a batch at a time.

Theory: a folder is read as a stream; what was seen goes to the index in batches, which
writes only what changed, and compares its own number of files and folders in each
folder that ended with what was seen. If they differ, something is gone, and only then
the known names are looked up one by one. So an unchanged tree costs directory reads and
stats, nothing is held but two batches and one open folder for each level, and nothing
is called gone that was not asked for by name.

Rules kept: no link is followed; no mount below the share is entered; `.fonshare` is
never seen; the content of a folder that cannot be read is kept; before anything is
marked or dropped the disk is checked, and its loss (DiskMissing) ends the walk.
"""

import errno
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from fonshare_agent.index.place import OPEN_FOLDER, Place
from fonshare_agent.index.records import Listing, SeenFile, Taken, seen_file
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
_DOT = ord(".")
# What os.fsencode does, which is asked for each file.
_NAMES = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


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
    room: int  # how long a file's name may be here
    files: int = 0  # in the listings taken
    folders: int = 0
    is_whole: bool = True
    seen_files: list[SeenFile] = field(default_factory=list)
    seen_folders: list[bytes] = field(default_factory=list)  # those not entered

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)

    def take(self, *, is_last: bool) -> Listing:
        """Return what was seen since the last time; it is forgotten here."""
        self.files += len(self.seen_files)
        total = (self.files, self.folders) if is_last and self.is_whole else None
        listing = Listing(self.parts, self.seen_files, self.seen_folders, total)
        self.seen_files, self.seen_folders = [], []
        return listing


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
        self._listed = 0  # what is in them
        self.skipped: Counter[str] = Counter()

    def steps(self, start: Parts = ()) -> Moved:
        """Walk all below *start*; yields, after each batch, the groups moved."""
        levels: list[_Level] = []
        try:
            self._enter(levels, self._open(start), start)
            while levels:
                self._read(levels)
                if self._listed + _held(levels) >= BATCH or not levels:
                    yield from self._flush(levels)
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
            yield from self.steps(parts)
        else:
            yield from self._flush([])

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
        length = sum([len(part) + 1 for part in parts])
        room = PATH_BYTES_MAX - length if len(parts) < DEPTH_MAX else 0
        levels.append(_Level(parts, descriptor, entries, length, room))

    def _read(self, levels: list[_Level]) -> None:
        """Read on in the deepest folder: to its end, a folder in it, a full batch."""
        level = levels[-1]
        seen, room = level.seen_files, level.room
        device, keeps = self._place.device, self._place.keeps_inodes
        try:
            for entry in level.entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError:
                    self._skip(level, "unreadable")
                    continue
                name = entry.name.encode(*_NAMES)
                # Nearly all are plain files: for them the other rules are left out.
                if (
                    stat.S_ISREG(info.st_mode)
                    and info.st_dev == device
                    and len(name) <= room
                    and name[0] != _DOT
                ):
                    seen.append(seen_file(name, info, keeps))
                elif self._take_other(levels, level, name, info):
                    return
                if len(seen) >= BATCH:
                    return
        except OSError:
            # What was not listed is not gone: a bad sector, or the disk went.
            self._skip(level, "unreadable")
        self._leave(levels)

    def _take_other(
        self, levels: list[_Level], level: _Level, name: bytes, info: os.stat_result
    ) -> bool:
        """Do as the rules say with what may not be a plain file; True if entered."""
        reason = self._refusal(level.parts, level.raw_length, name, info)
        if reason is not None:
            self.skipped[reason] += bool(reason)
        elif stat.S_ISREG(info.st_mode):
            level.seen_files.append(seen_file(name, info, self._place.keeps_inodes))
        else:
            return self._take_folder(levels, level, name)
        return False

    def _take_folder(self, levels: list[_Level], level: _Level, name: bytes) -> bool:
        """Enter a folder, or note it if it may not be read; True if entered."""
        try:
            descriptor = os.open(name, OPEN_FOLDER, dir_fd=level.descriptor)
        except OSError as error:
            if error.errno in _NO_FOLDER:
                return False  # it went between two calls; the counts will differ
            descriptor = -1
        level.folders += 1
        try:
            if descriptor >= 0:
                self._enter(levels, descriptor, (*level.parts, name))
                return True
        except OSError:
            pass  # as a folder that may not be opened
        level.seen_folders.append(name)
        self.skipped["unreadable"] += 1
        return False

    def _leave(self, levels: list[_Level]) -> None:
        level = levels.pop()
        level.close()
        self._note(level.take(is_last=True))

    def _skip(self, level: _Level, reason: str) -> None:
        self.skipped[reason] += 1
        level.is_whole = False

    def _refusal(
        self, parts: Parts, length: int, name: bytes, info: os.stat_result
    ) -> str | None:
        """Return why a name is not offered; "" if it needs no mention.

        The rules are SharePath's, asked for one name at a time.
        """
        if name[0] == _DOT and name.lower() == PRIVATE_FOLDER:
            return ""
        is_folder = False
        if not stat.S_ISREG(info.st_mode):
            is_folder = stat.S_ISDIR(info.st_mode)
            if not is_folder:
                return "link" if stat.S_ISLNK(info.st_mode) else "special"
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

    def _note(self, listing: Listing) -> None:
        self._listings.append(listing)
        # One more for the folder itself: many empty ones are a batch as well.
        self._listed += len(listing.files) + len(listing.folders) + 1

    def _flush(self, levels: list[_Level]) -> Moved:
        """Give the index what was seen, and look at what it knows beyond that."""
        # Open folders wait, so that most are given whole: that is cheaper. But they
        # may be many, or one a large one.
        if _held(levels) * 2 >= BATCH:
            for level in levels:
                self._note(level.take(is_last=False))
        taken = self._give()
        yield taken.moved
        for parts in taken.doubtful:
            yield from self._verify(parts)

    def _give(self) -> Taken:
        """Give the index what was noted, and keep none of it: the next batch comes."""
        listings, self._listings, self._listed = self._listings, [], 0
        # A disk pulled meanwhile may have shown an empty or half a folder.
        self._check_disk()
        share = self._place.share
        return self._on_store(lambda: self._index.take_listings(share, listings))

    def _verify(self, parts: Parts) -> Moved:
        """Ask for each known name of a folder, and mark those that are gone."""
        try:
            folder = self._open(parts)
        except OSError:
            return  # it went as well: its parent's turn comes
        try:
            for is_folder in (False, True):
                after = b""
                while names := self._on_store(
                    lambda is_folder=is_folder, after=after: (  # type: ignore[misc]
                        self._index.known_names(
                            self._place.share, parts, after, is_folder=is_folder
                        )
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
            seen = seen_file(name, info, self._place.keeps_inodes)
            self._note(Listing(above, (seen,)))
        files = [name] if refused or is_folder else []
        folders = [] if is_folder else [name]
        self._check_disk()
        share = self._place.share
        self._on_store(lambda: self._index.mark_gone(share, above, files, folders))
        return is_folder


def _held(levels: list[_Level]) -> int:
    """Return how many names of the open folders are not yet in a listing."""
    return sum([len(level.seen_files) + len(level.seen_folders) for level in levels])
