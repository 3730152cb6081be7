"""What searches and browses the index, loaded when somebody first looks for something.

Scanning, replicas and the catalogue need none of it. Belongs to the store thread, which
may wait for the disk; each property raises DiskMissing if its module cannot be read.
"""

import sqlite3
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from fonshare_agent.index.trigrams import Trigrams
from fonshare_agent.loading import loading

if TYPE_CHECKING:
    from fonshare_agent.index.browse import Browser
    from fonshare_agent.index.finder import Finder
    from fonshare_agent.index.news import News


class Lookups:
    """The readers of one open database. *clock* is monotonic seconds."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        trigrams: Trigrams,
    ) -> None:
        self._connection, self._clock = connection, clock
        self._trigrams = trigrams

    @cached_property
    def browser(self) -> "Browser":
        with loading():
            from fonshare_agent.index.browse import Browser
        return Browser(self._connection)

    @cached_property
    def finder(self) -> "Finder":
        with loading():
            from fonshare_agent.index.finder import Finder
        return Finder(self._connection, self._clock, trigrams=self._trigrams)

    @cached_property
    def news(self) -> "News":
        with loading():
            from fonshare_agent.index.news import News
        return News(self._connection, self._clock, trigrams=self._trigrams)
