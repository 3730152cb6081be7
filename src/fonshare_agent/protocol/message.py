"""What every message is."""

from typing import ClassVar


class Message:
    """One message; `KIND` is its name on the wire."""

    __slots__ = ()
    KIND: ClassVar[str]
