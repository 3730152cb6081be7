"""The watcher thread: hears from the kernel (inotify) where the shares change.

It only says where to look; the scanner looks. Folders are watched one by one, so what
is held grows with folders and is capped: routers allow 8,192 watches for everything.
The folder above a share is watched for the share alone, which may come (back) later.
What is not watched, for want of watches or on a file system without inotify, is found
by the periodic scan; `unwatched` tells how many folders that are. A file that is being
written is announced when it is closed.

Uses inotify(7) itself: three calls are less than a library (decision 0012).
"""

import errno
import logging
import os
import select
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

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
_EVENT = struct.Struct("iIII")

log = logging.getLogger(__name__)


class Watcher:
    """See the module's text. `set_shares` and `stop` may be called from any thread.

    *on_change* gets an absolute path that changed; *on_lost* hears that events were
    lost, so that only a scan can tell what changed. Both are called on the thread.
    """

    def __init__(
        self,
        on_change: Callable[[bytes], None],
        on_lost: Callable[[], None],
        watches_max: int = WATCHES_MAX,
    ) -> None:
        self._on_change, self._on_lost = on_change, on_lost
        self._watches_max = watches_max
        self._add_watch = libc_call("inotify_add_watch", INT, TEXT, MASK)
        self._remove_watch = libc_call("inotify_rm_watch", INT, INT)
        self._inotify = libc_call("inotify_init1", INT)(os.O_NONBLOCK | os.O_CLOEXEC)
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The thread's own: watch -> folder, below shares and above them; the shares.
        self._paths: dict[int, bytes] = {}
        self._above: dict[int, bytes] = {}
        self._roots: set[bytes] = set()
        self._lock = threading.Lock()
        self._wanted: dict[str, Path] | None = None  # guarded by the lock
        self._is_stopping = False
        self.unwatched = 0  # folders left to the periodic scan
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and give the watches back."""
        self._is_stopping = True
        os.write(self._wake, b".")
        if self._thread.ident is not None:
            self._thread.join()
        for descriptor in (self._inotify, self._woken, self._wake):
            os.close(descriptor)

    def set_shares(self, shares: Mapping[str, Path]) -> None:
        """Watch these folders and what is below them, and nothing else."""
        with self._lock:
            self._wanted = dict(shares)
        os.write(self._wake, b".")

    # --- the thread ---

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        poll = select.poll()
        poll.register(self._inotify, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while not self._is_stopping:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._woken in ready:
                os.read(self._woken, READ_BYTES)
                self._follow_wishes()
            if self._inotify in ready:
                for watch, mask, name in _events(os.read(self._inotify, READ_BYTES)):
                    self._take(watch, mask, name)

    def _follow_wishes(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        for watch in {*self._paths, *self._above}:
            self._forget(watch)
        self.unwatched = 0
        self._roots = {os.fsencode(folder) for folder in wanted.values()}
        for root in self._roots:
            self._watch(os.path.dirname(root), self._above)
            self._watch_below(root)

    def _take(self, watch: int, mask: int, name: bytes) -> None:
        if mask & IN_Q_OVERFLOW:
            self._on_lost()
            return
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
        if mask & (IN_MOVE_SELF | IN_DELETE_SELF):
            self._forget(watch)
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
            log.info("a folder is not watched: %s", error.strerror)
            return
        for folder in folders:
            if os.path.basename(folder).lower() != PRIVATE_FOLDER:
                self._watch_below(folder, depth + 1)

    def _watch(self, folder: bytes, kept: dict[int, bytes]) -> bool:
        if len(self._paths) >= self._watches_max:
            self.unwatched += 1
            return False
        try:
            watch = self._add_watch(self._inotify, folder, WATCHED)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self.unwatched += 1
                log.info("a folder is not watched: %s", error.strerror)
            return False
        kept[watch] = folder
        return True

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
