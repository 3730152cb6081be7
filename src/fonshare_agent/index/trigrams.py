"""The trigrams of the entries' names, written some time after the entries themselves.

Owns the tables `search` and `search_state`. An entry costs microseconds, its trigrams
ten times that: so entries are written at once, and their trigrams in large batches when
there is nothing more urgent. Rules kept:

- Every entry whose id is not beyond the frontier (`search_state.upto`) has its
  trigrams, no other has any. Batch and frontier are committed together.
- Ids of entries are never given twice, so none falls behind the frontier unnoticed.
- FTS5 keeps what was written in segments, and every search asks each of them. They are
  made one, in small steps, whenever the entries have become a quarter more
  (docs/decisions/0027).

A search goes through the entries beyond the frontier one by one (index/search.py).
Runs on the store thread. It must not know whose entries they are.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from fonshare_agent.index.database import transaction
from fonshare_agent.index.places import Places
from fonshare_agent.index.text import fold_name, index_text

TERMS_KEPT = 2  # with fewer all are asked: three letters alone tell little
SAMPLES, SAMPLED = 8, 8  # places all over the index, and entries looked at in each
COMMON = SAMPLES * SAMPLED * 3 // 4  # of those: most entries have it
MERGE_PAGES = 64  # of 4 KB, written in one step: some 10 ms natively
MERGED_ANEW = 4  # when a quarter is new; fewer than MERGED_LEAST need no merging
MERGED_LEAST = 4000


class Trigrams:
    """The text index and how far it has come."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sample: list[str] = []
        self._sampled_at = 0

    def add_some(self, limit: int) -> bool:
        """Index up to *limit* entries beyond the frontier; False if none is left."""
        with transaction(self._connection):
            rows = self._beyond(self.frontier(), limit)
            if not rows:
                return False
            self._connection.executemany(
                "INSERT INTO search (rowid, text) VALUES (?, ?)", self._texts(rows)
            )
            self._connection.execute("UPDATE search_state SET upto = ?", (rows[-1][0],))
        return True

    def merge_some(self) -> bool:
        """Take one step towards a single segment; False if there is none to take."""
        upto, merged, is_merging = self._connection.execute(
            "SELECT upto, merged, is_merging FROM search_state"
        ).fetchone()
        if not is_merging and upto - merged < max(MERGED_LEAST, merged // MERGED_ANEW):
            return False
        with transaction(self._connection):
            before = self._connection.total_changes
            # A negative number puts all segments together, then steps are positive.
            self._connection.execute(
                "INSERT INTO search (search, rank) VALUES ('merge', ?)",
                (MERGE_PAGES if is_merging else -MERGE_PAGES,),
            )
            # fts5.html section 6.9: less than two changes mean that nothing was done.
            is_over = self._connection.total_changes - before < 2
            self._connection.execute(
                "UPDATE search_state SET is_merging = ?, merged = ?",
                (not is_over, merged if is_merging else upto),
            )
        return True

    def narrowed(self, expression: str) -> str:
        """Return *expression* (text.match_expression) without what does not narrow it.

        A trigram that nearly every name has, as of a word in all folders, costs a step
        for each entry and refuses none. The others propose nearly the same.
        """
        terms = expression.split(" AND ")
        if len(terms) <= TERMS_KEPT:
            return expression
        texts = self._sampled()
        telling = [term for term in terms if not _is_common(term, texts)]
        return " AND ".join(telling) if len(telling) >= TERMS_KEPT else expression

    def _sampled(self) -> list[str]:
        """Return what is indexed of a few entries, from the first to the last."""
        upto = self.frontier()
        if not self._sampled_at <= upto <= self._sampled_at * 5 // 4:
            (first,) = self._connection.execute("SELECT min(id) FROM entry").fetchone()
            first = first or 0
            self._sample = [
                text
                for part in range(SAMPLES)
                for _, text in self._texts(
                    self._beyond(first - 1 + (upto - first) * part // SAMPLES, SAMPLED)
                )
            ]
            self._sampled_at = upto
        return self._sample

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

    def _beyond(self, number: int, limit: int) -> list[tuple[int, int, bytes]]:
        return self._connection.execute(
            "SELECT id, folder, name FROM entry WHERE id > ? ORDER BY id LIMIT ?",
            (number, limit),
        ).fetchall()

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


def _is_common(term: str, texts: Sequence[str]) -> bool:
    gram = term[1:-1].replace('""', '"')
    return sum([gram in text for text in texts]) >= COMMON
