"""The trigrams of the entries' names, written some time after the entries themselves.

Owns the tables `search` and `search_state`. An entry costs microseconds, its trigrams
ten times that: so entries are written at once, and their trigrams in large batches when
there is nothing more urgent. Rules kept:

- Every entry whose id is not beyond the frontier (`search_state.upto`) has its
  trigrams, no other has any. Batch and frontier are committed together.
- Ids of entries are never given twice, so none falls behind the frontier unnoticed.

A search goes through the entries beyond the frontier one by one (index/search.py).
Runs on the store thread. It must not know whose entries they are.
"""

import sqlite3
from collections.abc import Iterable, Iterator

from fonshare_agent.index.database import transaction
from fonshare_agent.index.places import Places
from fonshare_agent.index.text import fold_name, index_text

PROBED = 64  # hits looked at to tell a common trigram
TERMS_KEPT = 2  # with fewer all are asked: three letters alone tell little


class Trigrams:
    """The text index and how far it has come."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_some(self, limit: int) -> bool:
        """Index up to *limit* entries beyond the frontier; False if none is left."""
        with transaction(self._connection):
            rows = self._connection.execute(
                "SELECT id, folder, name FROM entry"
                " WHERE id > (SELECT upto FROM search_state) ORDER BY id LIMIT ?",
                (limit,),
            ).fetchall()
            if not rows:
                return False
            self._connection.executemany(
                "INSERT INTO search (rowid, text) VALUES (?, ?)", self._texts(rows)
            )
            self._connection.execute("UPDATE search_state SET upto = ?", (rows[-1][0],))
        return True

    def narrowed(self, expression: str) -> str:
        """Return *expression* (text.match_expression) without what does not narrow it.

        A trigram that nearly every name has, as of a word in all folders, costs a step
        for each entry and refuses none. The others propose nearly the same.
        """
        terms = expression.split(" AND ")
        if len(terms) <= TERMS_KEPT:
            return expression
        telling = [term for term in terms if not self._is_common(term)]
        return " AND ".join(telling) if len(telling) >= TERMS_KEPT else expression

    def _is_common(self, term: str) -> bool:
        """Tell whether most of the first and of the last entries have it.

        Of both, since all that came lately may have a name that nothing else has.
        """
        (first,) = self._connection.execute("SELECT min(id) FROM entry").fetchone()
        last, reach = self.frontier(), 2 * PROBED
        newest = self._probe(term, "DESC")
        if newest is None or newest < last - reach:
            return False
        oldest = self._probe(term, "ASC")
        return oldest is not None and oldest < (first or 0) + reach

    def _probe(self, term: str, order: str) -> int | None:
        """Return the id of the entry that is number PROBED of those that have it."""
        row = self._connection.execute(
            "SELECT rowid FROM search WHERE search MATCH ?"
            f" ORDER BY rowid {order} LIMIT 1 OFFSET ?",
            (term, PROBED - 1),
        ).fetchone()
        return None if row is None else int(row[0])

    def frontier(self) -> int:
        """Return the id of the last entry that has its trigrams."""
        (upto,) = self._connection.execute("SELECT upto FROM search_state").fetchone()
        return int(upto)

    def remove(self, entry: int, folders: str, name: bytes) -> None:
        """Remove what `add_some` wrote for an entry that is not beyond the frontier.

        *folders*: its share's and folders' names folded, as `Places.text` gives them.
        """
        self._connection.execute(
            "INSERT INTO search (search, rowid, text) VALUES ('delete', ?, ?)",
            (entry, index_text(folders) + index_text(fold_name(name))),
        )

    def _texts(
        self, rows: Iterable[tuple[int, int, bytes]]
    ) -> Iterator[tuple[int, str]]:
        places = Places(self._connection)
        # New entries come folder by folder: its own text is made once.
        present, above = 0, ""
        for number, folder, name in rows:
            if folder != present:
                present, above = folder, index_text(places.text(folder))
            yield number, above + index_text(fold_name(name))
