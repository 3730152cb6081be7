"""Writes one block to its place as it arrives, and tells whether it was right.

Belongs to one transfer worker. Must not know where the bytes come from.
"""

import hashlib
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from fonshare_agent.disk import Disk
from fonshare_agent.transfer.disk_errors import translated

CHECK_BYTES: Final = 1024 * 1024  # a pulled disk takes no more than this unnoticed


class BlockWriter:
    """Takes a block's bytes in order; only `finish` makes them count.

    Leaving the `with` block before that leaves the block missing.
    """

    def __init__(
        self,
        disk: Disk,
        descriptor: int,
        offset: int,
        length: int,
        expected: bytes,
        on_verified: Callable[[], None],
    ) -> None:
        self._disk, self._descriptor = disk, descriptor
        self._offset, self._left = offset, length
        self._unchecked = 0
        self._expected, self._on_verified = expected, on_verified
        self._digest = hashlib.sha256()

    @property
    def left(self) -> int:
        """How many bytes the block still wants."""
        return self._left

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Write the next bytes; never more than are `left`."""
        view = memoryview(chunk).cast("B")
        if len(view) > self._left:
            raise ValueError("more bytes than the block has")
        self._unchecked += len(view)
        if self._unchecked >= CHECK_BYTES:
            self._disk.check_writable()
            self._unchecked = 0
        self._digest.update(view)
        with translated(self._disk):
            while view:
                count = os.pwrite(self._descriptor, view, self._offset)
                self._offset += count
                self._left -= count
                view = view[count:]

    def finish(self) -> bool:
        """Count the block if it is right; tell whether it was."""
        if self._digest.digest() != self._expected:  # a cut block's differs, too
            return False
        self._on_verified()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
