"""Keeps what waits in memory for the disk small, without a sync.

The kernel gathers written pages for half a minute, or until a fifth of the memory is
full of them; on 64 MB everything else then waits for a USB disk. Here each step of a
file is started on its way as it is written, and the step after it waits for that. Wears
nothing: no journal is committed, no cache of the disk's is emptied. Blocks on the disk.
"""

import errno
import os
from typing import Final

from fonshare_agent.libc import INT, LONG, MASK, MissingCall, libc_call

STEP_BYTES: Final = 4 * 1024 * 1024  # so much is dirty, and as much on its way
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
