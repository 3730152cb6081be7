"""What content is: its blocks, their hashes, and the root that names it.

Owns the block size of a file and the root over its block hashes
(docs/protocol/content.md). Rules: the block size depends on the size alone, so that
equal files have equal roots everywhere; a hash list counts only if it is exactly as
long as the size demands. Pure: reading the file is the caller's work.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from fonshare_agent.errors import BadContent, ContentChanged
from fonshare_agent.model import SIZE_MAX, Root

ROOT_LABEL: Final = b"fonshare-root-1"
BLOCK_SIZE_MIN: Final = 128 * 1024  # below it the list of hashes outgrows its use
BLOCK_SIZE_MAX: Final = 16 * 1024 * 1024  # what is lost at most to one bad block
BLOCKS_WANTED: Final = 2000  # fewer than this, so that a list of hashes is < 64 KiB
HASH_BYTES: Final = 32
# A bundle carries small files: what a file in it costs more than its bytes is nothing
# then, and all of it passes in seconds or, on a slow line, is cut at a file's end.
BUNDLED_BYTES_MAX: Final = 1024 * 1024  # one file
BUNDLE_BYTES_MAX: Final = 16 * 1024 * 1024  # all of them
SHARED_BYTES_MIN: Final = 4 * 1024 * 1024  # less comes as fast from one source alone


def block_size(size: int) -> int:
    """Return how a file of *size* bytes is cut: a power of two, 128 KiB to 16 MiB."""
    if not 0 <= size <= SIZE_MAX:
        raise ValueError(f"no file has {size} bytes")
    block = BLOCK_SIZE_MIN
    while block < BLOCK_SIZE_MAX and -(-size // block) >= BLOCKS_WANTED:
        block *= 2
    return block


def block_count(size: int) -> int:
    """Return how many blocks a file of *size* bytes has; an empty file has none."""
    return -(-size // block_size(size))


def block_range(size: int, index: int) -> tuple[int, int]:
    """Return offset and length of block *index*; only the last may be shorter."""
    if not 0 <= index < block_count(size):
        raise ValueError(f"a file of {size} bytes has no block {index}")
    offset = index * block_size(size)
    return offset, min(block_size(size), size - offset)


def content_root(size: int, hashes: Iterable[bytes]) -> Root:
    """Return the root over *hashes*; BadContent if they cannot be of *size* bytes.

    Takes no more than one hash too many, so an endless list does no harm.
    """
    wanted = block_count(size)
    root = _begin_root(size)
    count = 0
    for block_hash in islice(hashes, wanted + 1):
        if len(block_hash) != HASH_BYTES:
            raise BadContent(f"a block hash has {len(block_hash)} bytes")
        root.update(block_hash)
        count += 1
    if count != wanted:
        raise BadContent(f"{size} bytes have {wanted} block hashes, not {count}")
    return Root(root.digest())


def verify_blocks(root: Root, size: int, hashes: Iterable[bytes]) -> None:
    """Raise BadContent unless *hashes* are the block hashes behind *root*."""
    if content_root(size, hashes) != root:
        raise BadContent("the block hashes do not belong to the content root")


class RootHasher:
    """Hashes a file of a size known beforehand, piece by piece, in constant memory.

    Feed it with `update`, keep the block hashes it returns, then call `finish` once.
    """

    __slots__ = ("_block", "_block_size", "_left", "_room", "_root")

    def __init__(self, size: int) -> None:
        self._block_size = block_size(size)
        self._left = size  # bytes that must still come
        self._room = self._block_size  # bytes until the open block is full
        self._block = hashlib.sha256()
        self._root = _begin_root(size)

    def resume(self, hashes: Iterable[bytes]) -> int:
        """Take the first blocks as hashed before; return where to read on.

        Before any `update`; the last block must not be among them.
        """
        count = 0
        for block_hash in hashes:
            self._root.update(block_hash)
            count += 1
        offset = count * self._block_size
        if offset >= self._left and count:
            raise ValueError("the last block is hashed with its file")
        self._left -= offset
        return offset

    def update(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take the next bytes; return the hashes of the blocks they complete."""
        view = memoryview(data).cast("B")
        if len(view) > self._left:
            raise ContentChanged("the file grew while it was hashed")
        self._left -= len(view)
        return list(self._complete(view))

    def finish(self) -> Root:
        """Return the root; ContentChanged if fewer bytes came than announced."""
        if self._left:
            raise ContentChanged("the file shrank while it was hashed")
        return Root(self._root.digest())

    def _complete(self, view: memoryview) -> Iterator[bytes]:
        while view:
            piece, view = view[: self._room], view[self._room :]
            self._block.update(piece)
            self._room -= len(piece)
            # The last block ends with the file, full or not.
            if self._room == 0 or (not self._left and not view):
                yield self._close_block()

    def _close_block(self) -> bytes:
        block_hash = self._block.digest()
        self._root.update(block_hash)
        self._block, self._room = hashlib.sha256(), self._block_size
        return block_hash


def _begin_root(size: int) -> "hashlib._Hash":
    return hashlib.sha256(ROOT_LABEL + struct.pack(">QI", size, block_size(size)))
