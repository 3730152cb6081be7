"""What the disk says to a transfer: no room, no disk, too large, read only.

Owns the reserve that transfers leave free and the translation of OSErrors below the
disk. Must not know what is written.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    DiskFull,
    DiskReadOnly,
    FileTooLarge,
    StorageError,
    TargetBarred,
)

# state.db, its backups and the file system's own journal must still find room; on
# small disks a hundredth is enough.
RESERVE_BYTES: Final = 64 * 1024 * 1024
RESERVE_PART: Final = 100
# What the owner has put there, or may not be written to: it is not the disk's fault.
_OF_THE_PLACE: Final = (
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
    errno.ENAMETOOLONG,
)


@contextmanager
def translated(disk: Disk) -> Iterator[None]:
    """Turn OSErrors of the block into StorageErrors; a lost disk is told first."""
    try:
        yield
    except OSError as error:
        raise translation(disk, error) from error


def translation(disk: Disk, error: OSError) -> StorageError:
    """Return what *error* below the disk means; raises if the disk is lost."""
    disk.check()
    thing = str(disk.path)
    reason = f"disk {thing}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(reason, thing=thing)
    if error.errno == errno.EFBIG:
        return FileTooLarge(reason, thing=thing)
    if error.errno == errno.EROFS:
        return DiskReadOnly(reason, thing=thing)
    if error.errno in _OF_THE_PLACE:
        return TargetBarred(reason, thing=thing)
    return StorageError(reason, thing=thing)


def is_ours(reason: str) -> bool:
    """Tell whether the code *reason* is of this node's own disk: no source can help."""
    return reason.startswith(("disk.", "target."))


def demand_room(disk: Disk, wanted_bytes: int) -> None:
    """Raise DiskFull unless *wanted_bytes* fit and the reserve stays free."""
    space = disk.space()
    reserve = min(RESERVE_BYTES, space.total_bytes // RESERVE_PART)
    if space.free_bytes - wanted_bytes < reserve:
        raise DiskFull(
            f"disk {disk.path}: {wanted_bytes} bytes more do not fit,"
            f" {max(0, space.free_bytes - reserve)} are free",
            thing=str(disk.path),
        )


def demand_possible(disk: Disk, size: int) -> None:
    """Raise FileTooLarge if no room will ever do: a peer may name any size."""
    if size > disk.space().total_bytes:
        raise FileTooLarge(
            f"disk {disk.path} is smaller than {size} bytes", thing=str(disk.path)
        )


def demand_size(disk: Disk, descriptor: int, size: int) -> None:
    """Raise FileTooLarge if the file system has no files of *size* bytes (FAT)."""
    try:
        # Asks for the limit only: truncate would write all those zeros on FAT.
        os.lseek(descriptor, size, os.SEEK_SET)
    except OSError:
        raise FileTooLarge(
            f"disk {disk.path} holds no file of {size} bytes", thing=str(disk.path)
        ) from None
