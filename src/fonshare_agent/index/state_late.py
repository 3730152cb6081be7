"""What state.db has tables for that most nodes leave empty: loaded on first use.

Part of StateStore, which says how SQL is run. Belongs to the store thread, which may
wait for the disk; each property raises DiskMissing if its module cannot be read.
"""

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fonshare_agent.loading import loading

if TYPE_CHECKING:
    from fonshare_agent.index.state_ended import EndedJobs
    from fonshare_agent.index.state_follows import FollowTables
    from fonshare_agent.index.state_ratings import RatingTables
    from fonshare_agent.index.state_searches import SearchTables


class LateTables:
    """The tables by theme."""

    @cached_property
    def searches(self) -> "SearchTables":
        """The saved searches."""
        with loading():
            from fonshare_agent.index.state_searches import SearchTables
        return SearchTables(self._rows, self._write, self.transaction)

    @cached_property
    def ended(self) -> "EndedJobs":
        """The jobs that have ended."""
        with loading():
            from fonshare_agent.index.state_ended import EndedJobs
        return EndedJobs(self._rows, self._write)

    @cached_property
    def follows(self) -> "FollowTables":
        """The follows."""
        with loading():
            from fonshare_agent.index.state_follows import FollowTables
        return FollowTables(self._rows, self._write, self.transaction)

    def has_follows(self) -> bool:
        return bool(self._rows("SELECT 1 FROM follow LIMIT 1"))

    @cached_property
    def ratings(self) -> "RatingTables":
        """The ratings."""
        with loading():
            from fonshare_agent.index.state_ratings import RatingTables
        return RatingTables(self._rows, self._write, self.transaction)

    def has_ratings(self) -> bool:
        return bool(self._rows("SELECT 1 FROM rater LIMIT 1"))

    def rating_changes(self) -> int:
        """Return a number that is another after each rating."""
        # Of each its end: what members say of theirs may be too much to be added up.
        sql = "SELECT coalesce(sum(head & 0xFFFFFFFF), 0) FROM rater"
        return int(self._rows(sql)[0][0])

    # --- how StateStore runs SQL ---

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        raise NotImplementedError

    def _write(self, sql: str, values: tuple[Any, ...]) -> None:
        raise NotImplementedError
