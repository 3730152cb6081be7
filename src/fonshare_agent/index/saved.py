"""Saved searches: what they are in state.db, what they find in the index.

The only place that knows both stores; runs on the store thread, where both live. A part
that tells the owner of new hits asks `new` with *is_kept* after entries came, as
`fonshare search new --keep` does.
"""

from fonshare_agent.errors import UsageError
from fonshare_agent.index.query import Query, SearchResult, Wish
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import LABEL_BYTES_MAX, is_label


class SavedSearches:
    """What the owner looks for again and again."""

    def __init__(self, state: StateStore, index: IndexStore) -> None:
        self._state, self._index = state, index

    def save(
        self, name: str, wish: Wish, query: Query, deadline: float | None = None
    ) -> None:
        """Keep *wish* as *name*; what *query* finds now counts as seen."""
        if not is_label(name):
            raise UsageError(
                f"{name!r} cannot name a search: 1 to {LABEL_BYTES_MAX} bytes of"
                " printable text without '/'",
                thing=name,
            )
        self._state.searches.add(
            name, wish, self._index.everything_seen(query, deadline)
        )

    def all(self) -> dict[str, Wish]:
        """Return every saved search by its name."""
        return self._state.searches.all()

    def get(self, name: str) -> Wish:
        """Return one; NotFound if there is none of that name."""
        return self._state.searches.get(name)

    def remove(self, name: str) -> None:
        """Forget one; NotFound if there is none of that name."""
        self._state.searches.remove(name)

    def new(
        self,
        name: str,
        query: Query,
        limit: int,
        *,
        is_kept: bool = False,
        deadline: float | None = None,
    ) -> SearchResult:
        """Return what *query* finds that *name* has not shown; shown from now on.

        With *is_kept* it stays new.
        """
        record = self._state.searches.record(name)
        result, after = self._index.news(query, record, limit, deadline)
        if not is_kept:
            self._state.searches.set_record(name, after)
        return result
