"""The tables of saved searches in state.db: what is sought, and what of it was seen.

Part of StateStore, under its rules: each method is one transaction, durable when it
returns. Must not know how anything is found.
"""

import json
from dataclasses import astuple
from typing import Any, Final

from fonshare_agent.errors import AlreadyExists, NotFound, UsageError
from fonshare_agent.index.news import Record, Seen
from fonshare_agent.index.query import Wish
from fonshare_agent.index.state_tables import Tables
from fonshare_agent.model import GroupId, NodeId

SAVED_MAX: Final = 50  # searches; each has a record of some 20 KB
_COLUMNS: Final = (
    "words, grp, member, medium, size_min, size_max, newer_s, older_s, online"
)


class SearchTables(Tables):
    """Saved searches, and what each has found."""

    def add(self, name: str, wish: Wish, record: Record) -> None:
        """Keep a new search; AlreadyExists if there is one of that name."""
        with self._transaction():
            if self._rows("SELECT 1 FROM saved_search WHERE name = ?", (name,)):
                raise AlreadyExists(
                    f"there is a saved search {name!r} already",
                    thing=name,
                    next=f"Remove it with `fonshare search rm {name}` first.",
                )
            ((count,),) = self._rows("SELECT count(*) FROM saved_search")
            if count >= SAVED_MAX:
                raise UsageError(
                    f"{SAVED_MAX} searches are saved, which is the most",
                    thing=name,
                    next="Remove one with `fonshare search rm`.",
                )
            self._write(
                f"INSERT INTO saved_search (name, {_COLUMNS})"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, json.dumps(wish.words), *astuple(wish)[1:]),
            )
            self._write_record(name, record)

    def all(self) -> dict[str, Wish]:
        """Return all saved searches by their names, sorted; at most SAVED_MAX."""
        rows = self._rows(f"SELECT name, {_COLUMNS} FROM saved_search ORDER BY name")
        return {name: _wish(values) for name, *values in rows}

    def get(self, name: str) -> Wish:
        """Return one; NotFound if there is none of that name."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM saved_search WHERE name = ?", (name,)
        )
        if not rows:
            raise NotFound(
                f"there is no saved search {name!r}",
                thing=name,
                next="See `fonshare search ls`.",
            )
        return _wish(rows[0])

    def remove(self, name: str) -> None:
        """Forget one; NotFound if there is none of that name."""
        with self._transaction():
            self.get(name)
            self._write("DELETE FROM saved_search WHERE name = ?", (name,))

    def record(self, name: str) -> Record:
        """Return what was seen of it; NotFound if there is none of that name."""
        self.get(name)
        ((number, floor),) = self._rows(
            "SELECT number, floor FROM saved_search WHERE name = ?", (name,)
        )
        rows = self._rows(
            "SELECT tag, entry, root FROM seen_hit WHERE search = ?"
            " ORDER BY entry DESC, tag",
            (number,),
        )
        return Record(floor, tuple(Seen(*row) for row in rows))

    def set_record(self, name: str, record: Record) -> None:
        """Note what was seen; nothing is written if that is known."""
        if self.record(name) != record:
            with self._transaction():
                self._write_record(name, record)

    def _write_record(self, name: str, record: Record) -> None:
        self._write(
            "UPDATE saved_search SET floor = ? WHERE name = ?", (record.floor, name)
        )
        ((number,),) = self._rows(
            "SELECT number FROM saved_search WHERE name = ?", (name,)
        )
        self._write("DELETE FROM seen_hit WHERE search = ?", (number,))
        for one in record.seen:
            self._write(
                "INSERT INTO seen_hit (search, tag, entry, root) VALUES (?, ?, ?, ?)",
                (number, one.tag, one.entry, one.root),
            )


def _wish(values: Any) -> Wish:
    words, group, member, medium, size_min, size_max, newer_s, older_s, online = values
    return Wish(
        tuple(json.loads(words)),
        None if group is None else GroupId(group),
        None if member is None else NodeId(member),
        medium,
        size_min,
        size_max,
        newer_s,
        older_s,
        bool(online),
    )
