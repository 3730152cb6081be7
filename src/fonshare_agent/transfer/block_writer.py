"""Writes one block to its place as it arrives, and tells whether it was right.

Belongs to one transfer worker. Must not know where the bytes come from.
"""

import hashlib
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fonshare_agent.transfer.disk_errors import translation
from fonshare_agent.transfer.disk_guard import DiskGuard


class BlockWriter:
    """Takes a block's bytes in order; only `finish` makes them count.

    Leaving the `with` block before that leaves the block missing. *on_end* is told once
    whether what was written is right.
    """

    def __init__(
        self,
        guard: DiskGuard,
        descriptor: int,
        offset: int,
        length: int,
        expected: bytes,
        on_end: Callable[[bool], None],
    ) -> None:
        self._guard, self._descriptor = guard, descriptor
        self._offset, self._left = offset, length
        self._expected, self._on_end = expected, on_end
        self._is_right = False
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
        self._guard.count(len(view))
        self._digest.update(view)
        try:
            while view:
                count = os.pwrite(self._descriptor, view, self._offset)
                self._offset += count
                self._left -= count
                view = view[count:]
        except OSError as error:
            raise translation(self._guard.disk, error) from error

    def finish(self) -> bool:
        """Count the block if it is right; tell whether it was."""
        if self._digest.digest() != self._expected:  # a cut block's differs, too
            return False
        self._is_right = True
        self._on_end(True)
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
        if not self._is_right:
            self._on_end(False)
