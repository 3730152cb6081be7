"""How the doors are told to hold bytes back; transfer/limits.py does it."""

import socket
from collections.abc import Callable
from typing import Protocol


class Flow(Protocol):
    """How much of a limit of bandwidth one connection may use.

    `left` bytes may move now; `wait_s` lines up for more when there are none, and says
    after how long to ask again.
    """

    left: int

    def watch(self, find: Callable[[], socket.socket]) -> None: ...
    def wait_s(self, wanted: int) -> float: ...
    def spend(self, count: int) -> None: ...
    def close(self) -> None: ...


# "up" or "down", the peer's address, which friend (None: at the house door) -> how its
# bytes are held back; None: they are not.
Throttle = Callable[[str, str, bytes | None], Flow | None]
