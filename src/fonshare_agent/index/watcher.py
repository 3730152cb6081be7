"""The watcher thread: hears from the kernel (inotify) where the shares change.

It only says where to look; the scanner looks. Folders are watched one by one, so what
is held grows with folders and is capped: routers allow 8,192 watches for everything.
The folder above a share is watched for the share alone, which may come (back) later.
What is not watched, for want of watches or on a file system without inotify, is found
by the periodic scan, and `report` tells how much that is. Watching is tried again now
and then, never in a loop: when the kernel has no watch left, nobody asks for the next
one before RETRY_S. A file that is being written is announced when it is closed.

A share is to be looked at once it is watched, not before: what changed between the two
would be heard by nobody (decision 0093). Who looks is told when that is.

Uses inotify(7) itself: three calls are less than a library (decision 0012).
"""

import errno
import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fonshare_agent.index.reading import step_back
from fonshare_agent.libc import INT, MASK, TEXT, libc_call
from fonshare_agent.model import DEPTH_MAX, PRIVATE_FOLDER

# linux/inotify.h: the same on every architecture, unlike the O_ flags.
IN_ATTRIB: Final = 0x004
IN_CLOSE_WRITE: Final = 0x008
IN_MOVED_FROM: Final = 0x040
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x01000000
IN_DONT_FOLLOW: Final = 0x02000000
IN_ISDIR: Final = 0x40000000

WATCHED: Final = (
    IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
    | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR | IN_DONT_FOLLOW
)  # fmt: skip
WATCHES_MAX: Final = 8192  # about 200 bytes each here, 1 KiB in the kernel
READ_BYTES: Final = 16 * 1024
NICE: Final = 10
RETRY_S: Final = 900.0  # somebody may have raised the limit, or given watches back
REMOUNT_S: Final = 5.0  # a disk that went for a moment: it may be back
_EVENT = struct.Struct("iIII")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchReport:
    """How much is watched. `unwatched`: folders that are not, each with all below."""

    watched: int
    unwatched: int
    lacks_instance: bool = False


class Watcher:
    """See the module's text. `set_shares` and `stop` may be called from any thread.

    *on_change* gets an absolute path that changed. *on_unseen* gets the name of a share
    of which only a scan can tell what changed until now: it was not watched before, or
    events were lost. Both are called on the thread.
    """

    def __init__(
        self,
        on_change: Callable[[bytes], None],
        on_unseen: Callable[[str], None],
        watches_max: int = WATCHES_MAX,
    ) -> None:
        self._on_change, self._on_unseen = on_change, on_unseen
        self._watches_max = watches_max
        self._add_watch = libc_call("inotify_add_watch", INT, TEXT, MASK)
        self._remove_watch = libc_call("inotify_rm_watch", INT, INT)
        self._open = libc_call("inotify_init1", INT)
        self._inotify = self._open_inotify()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The thread's own: watch -> folder, below shares and above them; the shares.
        self._paths: dict[int, bytes] = {}
        self._above: dict[int, bytes] = {}
        self._roots: set[bytes] = set()
        self._again_at: float | None = None  # when to try again what failed
        self._is_full = False  # the kernel has refused a watch in this pass
        self._lock = threading.Lock()
        self._wanted: dict[str, Path] = {}  # guarded by the lock, as the next two
        self._followed: dict[str, Path] = {}  # those that need no scan to be known
        self._is_wanted_anew = False
        self._is_stopping = False
        self._unwatched = 0
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and give the watches back."""
        self._is_stopping = True
        self._wake_up()
        if self._thread.ident is not None:
            self._thread.join()
        for descriptor in (self._inotify, self._woken, self._wake):
            if descriptor >= 0:
                os.close(descriptor)

    def set_shares(self, shares: Mapping[str, Path]) -> None:
        """Watch these folders and what is below them, and nothing else."""
        with self._lock:
            self._wanted = dict(shares)
            # One that goes and comes back is scanned, however soon that is.
            for share in self._followed.keys() - shares.keys():
                del self._followed[share]
            self._is_wanted_anew = True
        self._wake_up()

    def watch_anew(self) -> None:
        """Look for the folders again, and have them scanned: a disk has come back."""
        with self._lock:
            self._followed = {}
            self._is_wanted_anew = True
        self._wake_up()

    def _wake_up(self) -> None:
        with suppress(BlockingIOError):  # it has been woken often enough
            os.write(self._wake, b".")

    def report(self) -> WatchReport:
        return WatchReport(len(self._paths), self._unwatched, self._inotify < 0)

    # --- the thread ---

    def _run(self) -> None:
        step_back(NICE)
        while not self._is_stopping:
            self._wait()
            if self._is_due():
                self._follow_wishes()
            self.read_events()

    def _wait(self) -> None:
        poll = select.poll()
        for descriptor in (self._inotify, self._woken):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        left_s = None
        if self._again_at is not None:
            left_s = max(0.0, self._again_at - time.monotonic())
        ready = poll.poll(None if left_s is None else left_s * 1000 + 1)
        if (self._woken, select.POLLIN) in ready:
            os.read(self._woken, READ_BYTES)

    def read_events(self) -> None:
        """Tell what the kernel has noted since; returns when there is no more now."""
        while self._inotify >= 0 and not self._is_stopping:
            try:
                data = os.read(self._inotify, READ_BYTES)
            except BlockingIOError:
                return
            for watch, mask, name in _events(data):
                self._take(watch, mask, name)

    def _is_due(self) -> bool:
        with self._lock:
            is_wanted, self._is_wanted_anew = self._is_wanted_anew, False
        return is_wanted or (
            self._again_at is not None and time.monotonic() >= self._again_at
        )

    def _follow_wishes(self) -> None:
        """Watch what is wanted. What is watched already is never let go in between."""
        with self._lock:
            wanted = dict(self._wanted)
            before, self._followed = self._followed, dict(wanted)
        if self._inotify < 0:
            self._inotify = self._open_inotify()
        self._again_at = None
        old_paths, self._paths = self._paths, {}
        old_above, self._above = self._above, {}
        self._unwatched, self._is_full = 0, False
        self._roots = {os.fsencode(folder) for folder in wanted.values()}
        for root in self._roots:
            self._watch(os.path.dirname(root), self._above)
            self._watch_below(root)
        for watch in {*old_paths, *old_above} - {*self._paths, *self._above}:
            with suppress(OSError):  # removed by the kernel already, with its folder
                self._remove_watch(self._inotify, watch)
        if self._unwatched:
            self._again_at = time.monotonic() + RETRY_S
            log.warning(
                "%d folders are not watched: see `fonshare doctor`", self._unwatched
            )
        # A watch is of a folder itself: one of the same name may be another disk's.
        roots = {watch for watch, path in self._paths.items() if path in self._roots}
        new = {self._paths[watch] for watch in roots - old_paths.keys()}
        for share, folder in wanted.items():
            if before.get(share) != folder or os.fsencode(folder) in new:
                self._on_unseen(share)

    def _open_inotify(self) -> int:
        """Return a new inotify descriptor, -1 if this user has too many already."""
        try:
            return self._open(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            log.warning("nothing is watched: %s", error.strerror)
            return -1

    def _take(self, watch: int, mask: int, name: bytes) -> None:
        if mask & IN_Q_OVERFLOW:
            self.watch_anew()  # a new folder may be among what is lost
            return
        if mask & IN_UNMOUNT:
            # Its disk went. If it is back at once nobody else may notice.
            self._again_at = time.monotonic() + REMOUNT_S
        if mask & IN_IGNORED:
            self._paths.pop(watch, None)
            self._above.pop(watch, None)
            return
        above, folder = self._above.get(watch), self._paths.get(watch)
        if folder is None and above is not None and above + b"/" + name in self._roots:
            folder = above
        if folder is None or name.lower() == PRIVATE_FOLDER:
            return
        path = folder + b"/" + name if name else folder
        if mask & IN_DELETE_SELF or (mask & IN_MOVE_SELF and not os.path.isdir(folder)):
            self._forget_below(watch, folder)  # else it has its new name here already
        elif mask & IN_ISDIR and mask & (IN_CREATE | IN_MOVED_TO):
            self._watch_below(path)
        elif mask & IN_CREATE and not _is_linked(path):
            return  # it will be closed when it is complete
        self._on_change(path)

    # --- watches ---

    def _watch_below(self, top: bytes, depth: int = 0) -> None:
        """Watch *top* and the folders below it, as far as watches reach."""
        if depth > DEPTH_MAX or not self._watch(top, self._paths):
            return
        try:
            with os.scandir(top) as entries:
                folders = [e.path for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError as error:
            log.debug("a folder is not watched: %s", error.strerror)
            return
        for folder in folders:
            if os.path.basename(folder).lower() != PRIVATE_FOLDER:
                self._watch_below(folder, depth + 1)

    def _watch(self, folder: bytes, kept: dict[int, bytes]) -> bool:
        if self._inotify < 0 or self._is_full or len(self._paths) >= self._watches_max:
            self._unwatched += 1
            return False
        try:
            watch = self._add_watch(self._inotify, folder, WATCHED)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._unwatched += 1
                self._is_full = error.errno == errno.ENOSPC
                log.debug("a folder is not watched: %s", error.strerror)
            return False
        kept[watch] = folder
        return True

    def _forget_below(self, watch: int, folder: bytes) -> None:
        """Give back the watches of a folder that went, with all that it held."""
        inside = folder + b"/"
        for other in [n for n, path in self._paths.items() if path.startswith(inside)]:
            self._forget(other)
        self._forget(watch)

    def _forget(self, watch: int) -> None:
        known = {self._paths.pop(watch, None), self._above.pop(watch, None)}
        if known != {None}:
            with suppress(OSError):  # removed by the kernel already, with its folder
                self._remove_watch(self._inotify, watch)


def _events(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (watch, mask, name) of what a read of inotify gave."""
    at = 0
    while at < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield watch, mask, data[at : at + length].rstrip(b"\0")
        at += length


def _is_linked(path: bytes) -> bool:
    """Tell whether *path* is a further name of a file, which nobody will close."""
    try:
        return os.lstat(path).st_nlink > 1
    except OSError:
        return False  # gone again
