"""The two bounded stores between a broker link and the rest: what may wait, and count.

Each holds at most 256 messages or 1 MiB (DESIGN, Limits): a burst from a full group
fits, a router's memory is safe. Both are used from any thread.
"""

import threading
from collections import deque
from typing import NamedTuple

MESSAGES_MAX = 256
BYTES_MAX = 1024 * 1024


class Outgoing(NamedTuple):
    """A message on its way to the broker."""

    topic: str
    payload: bytes
    retain: bool

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload)


class Outbox:
    """Messages handed over for sending; each counts until the broker confirmed it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Outgoing] = deque()
        self._is_open = False
        self._messages = self._bytes = 0

    @property
    def is_open(self) -> bool:
        return self._is_open

    def open(self) -> None:
        """A connection is there: take messages from now on."""
        with self._lock:
            self._is_open = True

    def close(self) -> None:
        """The connection is gone, and with it all that was not confirmed."""
        with self._lock:
            self._is_open = False
            self._waiting.clear()
            self._messages = self._bytes = 0

    def offer(self, message: Outgoing) -> bool:
        """Take *message* and return True, or False when closed or full."""
        with self._lock:
            if not self._is_open or self._messages >= MESSAGES_MAX:
                return False
            if self._messages and self._bytes + message.size > BYTES_MAX:
                return False
            self._messages += 1
            self._bytes += message.size
            self._waiting.append(message)
            return True

    def take(self) -> list[Outgoing]:
        """Return what waits, in order; it goes on counting until confirmed."""
        with self._lock:
            messages, self._waiting = list(self._waiting), deque()
            return messages

    def confirm(self, size: int) -> None:
        """The broker has one message of *size* that `take` returned."""
        with self._lock:
            self._messages -= 1
            self._bytes -= size


class Pending:
    """Messages given to the owner and not handled yet. Full means: stop reading."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages = self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self._messages >= MESSAGES_MAX or self._bytes >= BYTES_MAX

    def add(self, size: int) -> None:
        with self._lock:
            self._messages += 1
            self._bytes += size

    def remove(self, size: int) -> bool:
        """One of *size* is done; return True if this made room."""
        with self._lock:
            was_full = self.is_full
            self._messages -= 1
            self._bytes -= size
            return was_full and not self.is_full
