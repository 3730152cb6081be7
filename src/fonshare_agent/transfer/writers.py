"""Who writes into a file by a way of his own, and the end that waits for him.

A push writes through a descriptor that it keeps, so bytes may be under way while the
file is read back for its name: then what was read is not what will be there. Any
thread may call. Must not know of files.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fonshare_agent.errors import StorageError

WRITE_S: Final = 5.0  # a stretch takes longer only on a disk that hangs


class Writers:
    """Guarded by the condition: all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writing = 0
        self._is_ending = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While one writes; StorageError while the end is near."""
        with self._changed:
            if self._is_ending:
                raise StorageError("the file is about to get its name")
            self._writing += 1
        try:
            yield
        finally:
            with self._changed:
                self._writing -= 1
                self._changed.notify_all()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """While nobody writes; StorageError if somebody does not come to an end."""
        with self._changed:
            self._is_ending = True
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: not self._writing, WRITE_S):
                    raise StorageError("a push does not end its writing")
            yield
        finally:
            with self._changed:
                self._is_ending = False
