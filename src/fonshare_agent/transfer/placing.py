"""Puts a complete file under its final name, and never over another one.

Owns the choice of the name (`name (2).ext` when it is taken by other content) and the
three ways to move without overwriting: link and unlink; renameat2 where there are no
links (FAT); and with neither an empty placeholder. Folders are descriptors, names raw
bytes. Must not know jobs or blocks.
"""

import errno
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from fonshare_agent.errors import TargetElsewhere
from fonshare_agent.libc import INT, MASK, TEXT, MissingCall, libc_call
from fonshare_agent.model import NAME_BYTES_MAX, printable
from fonshare_agent.storable import shorten

RENAME_NOREPLACE: Final = 1  # linux/fs.h, the same on every architecture
EXTENSION_BYTES_MAX: Final = 16  # a longer "extension" is part of the name

_NO_SUCH_WAY: Final = frozenset(
    (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)
)
_BAD_NAME: Final = (errno.EINVAL, errno.EILSEQ)


class NameTaken(Exception):
    """Something has the name already; the caller decides what that means."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A name in an open folder."""

    folder: int
    name: bytes


def move_without_overwriting(
    source: Spot, target: Spot, announce_placeholder: Callable[[], None]
) -> None:
    """Rename *source* to *target*, or raise NameTaken; OSError as the system says.

    *announce_placeholder* is called before an empty file takes the name for a moment,
    so that after a crash the caller knows it for its own.
    """
    if move_by_link_or_call(source, target):
        return
    announce_placeholder()
    _claim(target)
    os.rename(
        source.name,
        target.name,
        src_dir_fd=source.folder,
        dst_dir_fd=target.folder,
    )


def move_by_link_or_call(source: Spot, target: Spot) -> bool:
    """As `move_without_overwriting`; False where only a placeholder would do."""
    return _link_and_unlink(source, target) or _rename_no_replace(source, target)


def _claim(target: Spot) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(target.name, flags, dir_fd=target.folder))
    except FileExistsError:
        raise NameTaken from None


def _rename_no_replace(source: Spot, target: Spot) -> bool:
    """Tell whether it was done; False if this system has no such call."""
    call = _find_renameat2()
    if call is None:
        return False
    try:
        call(source.folder, source.name, target.folder, target.name, RENAME_NOREPLACE)
    except OSError as error:
        return _explain(error.errno or 0, target)
    return True


def _link_and_unlink(source: Spot, target: Spot) -> bool:
    try:
        os.link(
            source.name,
            target.name,
            src_dir_fd=source.folder,
            dst_dir_fd=target.folder,
            follow_symlinks=False,
        )
    except OSError as error:
        return _explain(error.errno or 0, target)
    os.unlink(source.name, dir_fd=source.folder)
    return True


def _explain(number: int, target: Spot) -> bool:
    """Return False if another way may do; raise if none can."""
    if number == errno.EEXIST:
        raise NameTaken
    if number == errno.EXDEV:
        raise TargetElsewhere(
            f"{printable(target.name)} would go to another file system",
            thing=printable(target.name),
        )
    if number in _NO_SUCH_WAY:
        return False
    raise OSError(number, os.strerror(number))


@functools.cache
def _find_renameat2() -> Callable[..., int] | None:
    """Return what calls renameat2; None if this libc has it not."""
    try:
        return libc_call("renameat2", INT, TEXT, INT, TEXT, MASK)
    except MissingCall:  # musl of OpenWrt 24.10
        return None


# --- names ----------------------------------------------------------------------


def candidate_names(name: bytes) -> Iterator[bytes]:
    """Yield `name.ext`, `name (2).ext`, `name (3).ext`, …, each fitting 255 bytes."""
    yield name
    stem, extension = _split_extension(name)
    for number in count(2):
        suffix = b" (%d)" % number + extension
        yield shorten(stem, NAME_BYTES_MAX - len(suffix)) + suffix


def is_bad_name(error: OSError) -> bool:
    """Tell whether the file system refused the name itself."""
    return error.errno in _BAD_NAME


def _split_extension(name: bytes) -> tuple[bytes, bytes]:
    stem, dot, extension = name.rpartition(b".")
    if not stem or not extension or len(extension) > EXTENSION_BYTES_MAX:
        return name, b""
    return stem, dot + extension
