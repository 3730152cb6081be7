"""Which blocks of one file have arrived, and reading them back.

`BlockMap` is a bitmap with a form on the disk; `Content` is what a file shall be. Pure
but for what reads a descriptor. Must not know of partial files.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from fonshare_agent.model import Root
from fonshare_agent.protocol.content import (
    HASH_BYTES,
    block_count,
    block_range,
    block_size,
    verify_blocks,
)

READ_BYTES: Final = 64 * 1024  # buffers stay small: the router has 64 MB


@dataclass(frozen=True, slots=True)
class Content:
    """What the file shall be: its size, its root, and the block hashes behind it."""

    size: int
    root: Root
    hashes: bytes  # joined: a tuple of them would take four times the room

    @classmethod
    def verified(cls, size: int, root: Root, hashes: Iterable[bytes]) -> Self:
        """Return the content; BadContent unless *hashes* give *root*."""
        listed = list(hashes)
        verify_blocks(root, size, listed)
        return cls(size, root, b"".join(listed))

    @classmethod
    def decode(cls, size: int, root: Root, raw: bytes) -> Self:
        """As `verified`, from the joined hashes."""
        ends = range(HASH_BYTES, len(raw) + HASH_BYTES, HASH_BYTES)
        return cls.verified(size, root, (raw[end - HASH_BYTES : end] for end in ends))

    @property
    def count(self) -> int:
        return block_count(self.size)

    @property
    def block_size(self) -> int:
        return block_size(self.size)

    def range(self, index: int) -> tuple[int, int]:
        """Return offset and length of block *index*."""
        return block_range(self.size, index)

    def bytes_of(self, blocks: "BlockMap") -> int:
        """Return how many bytes *blocks* are together."""
        count, last = len(blocks), self.count - 1
        if not count or last not in blocks:
            return count * self.block_size
        return (count - 1) * self.block_size + self.range(last)[1]

    def hash(self, index: int) -> bytes:
        return self.hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]

    def __repr__(self) -> str:
        return f"<Content {self.root.hex()[:8]} of {self.size} bytes>"


class BlockMap:
    """A set of block numbers, one bit each."""

    __slots__ = ("_bits", "_count")

    def __init__(self, count: int, bits: bytes | bytearray = b"") -> None:
        self._count = count
        self._bits = bytearray(bits) or bytearray(-(-count // 8))

    @classmethod
    def decode(cls, count: int, raw: bytes) -> "BlockMap | None":
        """Return the map in *raw*; None if it is not one of *count* blocks."""
        if len(raw) != -(-count // 8):
            return None
        spare = -count % 8
        if spare and raw[-1] >> (8 - spare):
            return None
        return cls(count, raw)

    def encode(self) -> bytes:
        return bytes(self._bits)

    def copy(self) -> "BlockMap":
        return BlockMap(self._count, self._bits)

    def add(self, index: int) -> None:
        self._bits[index >> 3] |= 1 << (index & 7)

    def drop(self, index: int) -> None:
        self._bits[index >> 3] &= ~(1 << (index & 7))

    def __contains__(self, index: int) -> bool:
        return bool(self._bits[index >> 3] >> (index & 7) & 1)

    def __iter__(self) -> Iterator[int]:
        return (index for index in range(self._count) if index in self)

    def __len__(self) -> int:
        return int.from_bytes(self._bits, "little").bit_count()

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Yield the runs (first, end) of blocks that are not in the set."""
        first: int | None = None
        for index in range(self._count):
            if index in self:
                if first is not None:
                    yield first, index
                first = None
            elif first is None:
                first = index
        if first is not None:
            yield first, self._count


def new_buffer() -> memoryview:
    """Return what `is_right` reads by; one serves for many blocks."""
    return memoryview(bytearray(READ_BYTES))


def is_right(descriptor: int, content: Content, index: int, buffer: memoryview) -> bool:
    """Tell whether the file holds block *index* where it belongs."""
    offset, length = content.range(index)
    digest = hashlib.sha256()
    while length:
        count = os.preadv(descriptor, [buffer[:length]], offset)
        if not count:
            break  # a file cut short has another hash
        digest.update(buffer[:count])
        offset, length = offset + count, length - count
    return digest.digest() == content.hash(index)


def unwatched(_: int) -> None:
    """For who reads back and need not be told how far it is."""


def find_bad_blocks(
    descriptor: int,
    content: Content,
    on_checked: Callable[[int], None] = unwatched,
    indexes: Iterable[int] | None = None,
) -> Iterator[int]:
    """Read the file back, or the blocks *indexes* of it; yield those that are wrong.

    *on_checked* is told the bytes of each block read; what it raises ends the reading.
    """
    # From the disk, not from memory: what was synced is what counts.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    buffer = new_buffer()
    for index in range(content.count) if indexes is None else indexes:
        offset, length = content.range(index)
        if not is_right(descriptor, content, index, buffer):
            yield index
        # Not to be needed again soon, and the router has better uses for its memory.
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        on_checked(length)
