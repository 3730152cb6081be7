"""Which blocks of a file the bytes of a push complete.

Pure. Must not know whether they are right, or where they are.
"""

from collections.abc import Iterator

from fonshare_agent.transfer.blocks import Content


class Arrivals:
    """Guarded by whoever owns it."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._arrived: dict[int, int] = {}  # block -> bytes from its start

    def note(self, offset: int, end: int) -> Iterator[tuple[int, bool]]:
        """Yield each block that these bytes are of, and whether it is complete now.

        It is if each of its bytes came in order.
        """
        end = min(end, self._content.size)
        while offset < end:
            index = offset // self._content.block_size
            start, size = self._content.range(index)
            is_complete = False
            if offset - start <= self._arrived.get(index, 0):
                self._arrived[index] = min(end - start, size)
                is_complete = self._arrived[index] == size
                if is_complete:
                    del self._arrived[index]
            yield index, is_complete
            offset = start + size
