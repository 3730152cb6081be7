"""Reads one file and computes its block hashes and root, a piece at a time.

Rules kept: the file is opened without following links; its stamp is compared before
and after, and a file that changed gives no result; memory is one buffer and the hashes
(64 KiB for anything under 32 GB). It must not know the index: the caller stores.
"""

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from fonshare_agent.disk import open_below
from fonshare_agent.errors import ContentChanged
from fonshare_agent.index.records import FileStamp
from fonshare_agent.model import Root, SharePath
from fonshare_agent.protocol.content import RootHasher

BUFFER_BYTES = 256 * 1024  # larger gains nothing, and memory is short
STEP_BYTES = 4 << 20  # read between two chances to do something more urgent


@dataclass(frozen=True, slots=True)
class Hashed:
    """The content of a file."""

    root: Root
    hashes: tuple[bytes, ...]


def hash_file(
    open_file: Callable[[], int],
    stamp: FileStamp,
    known: Sequence[bytes] = (),
    on_read: Callable[[int, list[bytes]], None] = lambda count, hashes: None,
) -> Generator[None, None, Hashed]:
    """Hash the file that *open_file* opens, if it is the one of *stamp*.

    *known* are hashes of its first blocks, computed before; *on_read* hears how many
    bytes were read since it heard last, and all hashes so far. Yields every few
    megabytes, so that the caller may pause or close it; returns the hashes. Raises
    ContentChanged if the file is not, or does not stay, what *stamp* says, and OSError
    as the system gives it.
    """
    descriptor = open_file()
    try:
        _check(descriptor, stamp)
        hasher = RootHasher(stamp.size)
        hashes = list(known)
        os.lseek(descriptor, hasher.resume(hashes), os.SEEK_SET)
        buffer = bytearray(min(BUFFER_BYTES, max(1, stamp.size)))
        view, since_yield = memoryview(buffer), 0
        while count := os.readv(descriptor, [buffer]):
            hashes += hasher.update(view[:count])
            since_yield += count
            if since_yield >= STEP_BYTES:
                on_read(since_yield, hashes)
                since_yield = 0
                yield
        on_read(since_yield, hashes)
        root = hasher.finish()
        _check(descriptor, stamp)
        return Hashed(root, tuple(hashes))
    finally:
        os.close(descriptor)


def open_in_share(root_fd: int, path: SharePath) -> int:
    """Open the file at *path* below a share's folder for reading."""
    return open_below(root_fd, path, os.O_RDONLY)


def _check(descriptor: int, stamp: FileStamp) -> None:
    if not stamp.fits(os.fstat(descriptor)):
        raise ContentChanged("the file changed while it was hashed")
