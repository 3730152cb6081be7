"""Brings all that a file system still has in memory to its disk, by one call.

The call is not in Python's library; where the C library has none either the whole
system is synced. Must not know what was written.
"""

import functools
import os
from collections.abc import Callable


def sync_file_system(descriptor: int) -> None:
    """Sync the file system that *descriptor* is open on; blocks, raises OSError."""
    call = _find_syncfs()
    if call is None:
        os.sync()
        return
    error = call(descriptor)
    if error:
        raise OSError(error, os.strerror(error))


@functools.cache
def _find_syncfs() -> Callable[[int], int] | None:
    """Return what calls syncfs(2) and returns errno; None without one."""
    # Imported here: ctypes takes memory where nothing else has loaded it.
    import ctypes

    found = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if found is None:
        return None
    found.argtypes = (ctypes.c_int,)
    return lambda descriptor: ctypes.get_errno() if found(descriptor) else 0
