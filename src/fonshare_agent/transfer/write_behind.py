"""Keeps what waits in memory for the disk small, without a sync.

The kernel gathers written pages for half a minute, or until a fifth of the memory is
full of them; on 64 MB everything else then waits for a USB disk. Here each step of a
file is started on its way as it is written, and the step after it waits for that. Wears
nothing: no journal is committed, no cache of the disk's is emptied. `write_behind`
blocks on the disk; `Aside` does that while others go on.
"""

import errno
import os
import threading
from collections.abc import Callable
from enum import Enum
from typing import Final

from fonshare_agent.errors import StorageError
from fonshare_agent.libc import INT, LONG, MASK, MissingCall, libc_call

# So much is dirty, as much on its way, and as much comes meanwhile.
STEP_BYTES: Final = 3 * 1024 * 1024
# Towards the end steps become smaller, down to this: what the last sync waits for is
# what nobody had begun to write.
LAST_STEP_BYTES: Final = 512 * 1024
SYNC_BYTES: Final = 32 * 1024 * 1024  # fetched again at most, after a power cut
SYNC_PERIOD_S: Final = 10.0  # or this long, on slow lines
STOP_S: Final = 5.0  # a dead disk may hold a thread for long; then it is left behind
# linux/fs.h: wait for what is on its way, then start what is dirty
_WAIT_BEFORE, _WRITE = 1, 2
# Not on every kernel and file system; then the data is synced, which is slower.
_UNKNOWN: Final = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def write_behind(descriptor: int) -> None:
    """Start writing what is dirty of the file, once what was started before is done.

    OSError: something could not be written, and the next sync may not say so again.
    """
    try:
        call = libc_call("sync_file_range", INT, LONG, LONG, MASK)
        call(descriptor, 0, 0, _WAIT_BEFORE | _WRITE)
    except MissingCall:
        os.fdatasync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        os.fdatasync(descriptor)


class Due(Enum):
    NOTHING = 0
    START = 1  # a step is to be started on its way
    SYNC = 2


class Backlog:
    """How much of a file is verified and waits for the disk. Not for two threads.

    `unsynced_bytes`: what no sync has surely brought there.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._asked_at = clock, clock()
        self.unsynced_bytes = self._unasked_bytes = self._unstarted_bytes = 0

    def add(self, length: int, left: int) -> Due:
        """*length* bytes more wait, and *left* are still to come; return what is to be
        done now, and count from there."""
        self.unsynced_bytes += length
        self._unasked_bytes += length
        self._unstarted_bytes += length
        since_s = self._clock() - self._asked_at
        if self._unasked_bytes >= SYNC_BYTES or since_s >= SYNC_PERIOD_S:
            self.begin_sync()
            return Due.SYNC
        step = min(STEP_BYTES, max(left, LAST_STEP_BYTES))
        if left and self._unstarted_bytes >= step:
            self._unstarted_bytes = 0
            return Due.START
        return Due.NOTHING

    def begin_sync(self) -> int:
        """All of it is about to be synced; return how much that is."""
        self._unasked_bytes = self._unstarted_bytes = 0
        self._asked_at = self._clock()
        return self.unsynced_bytes

    def end_sync(self, length: int) -> None:
        """What `begin_sync` told is on the disk."""
        self.unsynced_bytes -= length


class Aside:
    """Calls that wait for the disk, one at a time, on a thread that ends with each: who
    empties a line meanwhile goes on, and waits only for the call before. Any thread.
    Guarded by the lock: the thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: StorageError | None = None  # of the thread, once it has ended

    def begin(self, call: Callable[[], None]) -> None:
        """Begin *call*. Waits for the one before, and raises what that raised."""
        with self._lock:
            self._end()
            name = "write-behind"
            thread = threading.Thread(target=self._run, args=(call,), name=name)
            thread.daemon = True
            try:
                thread.start()
            except RuntimeError:
                call()  # no memory for a thread now
            else:
                self._thread = thread

    def wait(self) -> None:
        """Wait for what has begun, and raise what it raised and nobody heard yet."""
        with self._lock:
            self._end()

    def stop(self) -> None:
        """Wait for what has begun, not for ever, whatever comes of it."""
        thread = self._thread
        if thread is not None:
            thread.join(STOP_S)

    def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, call: Callable[[], None]) -> None:
        # Who comes next hears of a bug too; what it is, the log says.
        self._error = StorageError("what was to be written out aside is not")
        try:
            call()
        except StorageError as error:
            self._error = error
        else:
            self._error = None
