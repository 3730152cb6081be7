"""The own catalogues: what this node offers to each group, as a numbered log.

Owns the tables `publication` and `tombstone` and the rows of `catalogue` that are the
node's own. Rules kept:

- A number leaves (`own_head`, `delta`) only once its transaction is on the disk.
  Commits are not synced one by one; a barrier before the answer syncs them all
  (docs/decisions/0010).
- Each group has its own entries and numbers, so that nothing about one group's share
  shows in another's numbering.
- Publishing and withdrawing goes on in batches, also after a restart; whether a share
  is published is decided at once.

Runs on the store thread. It must not know how changes are found or sent.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping

from fonshare_agent.index.database import transaction
from fonshare_agent.index.offering import Offering
from fonshare_agent.index.own_folders import FolderPaths
from fonshare_agent.index.records import Delta
from fonshare_agent.index.runs import entries_after
from fonshare_agent.model import GroupId, IndexId, NodeId, SharePath
from fonshare_agent.protocol.fields import Change

INDEX_ID_BYTES = 8
CHANGE_BYTES = 64  # what a change weighs on the wire beside its names, root included


class Offers:
    """All own catalogues. *me* is this node, *draw* gives random bytes."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        me: NodeId,
        draw: Callable[[int], bytes],
    ) -> None:
        self._connection = connection
        self._me = me
        self._draw = draw
        # What an agent killed before committed may still be unsynced.
        self._is_durable = False

    # --- publishing -----------------------------------------------------------------

    def publish(self, shares: Mapping[str, frozenset[GroupId]]) -> None:
        """Note what is published where; `publish_some` then does the work."""
        with transaction(self._connection):
            wanted = set()
            self._connection.execute("UPDATE share SET listed = 0")
            for name, groups in shares.items():
                (share,) = self._connection.execute(
                    "INSERT INTO share (name) VALUES (?)"
                    " ON CONFLICT DO UPDATE SET listed = 1 RETURNING id",
                    (name,),
                ).fetchone()
                wanted |= {(share, self._own_catalogue(group)) for group in groups}
            for share, catalogue, state in self._connection.execute(
                "SELECT share, catalogue, state FROM publication"
            ).fetchall():
                if (share, catalogue) not in wanted:
                    self._set_state(share, catalogue, "removing")
                elif state != "removing":
                    wanted.discard((share, catalogue))
            for share, catalogue in sorted(wanted):
                self._connection.execute(
                    "INSERT INTO publication (share, catalogue, state)"
                    " VALUES (?, ?, 'adding')"
                    " ON CONFLICT DO UPDATE SET state = 'adding', upto = 0",
                    (share, catalogue),
                )

    def publish_some(self, limit: int) -> GroupId | None:
        """Do one batch of what `publish` noted; None if all is done.

        Returns the group whose catalogue was worked on.
        """
        row = self._connection.execute(
            "SELECT p.share, s.name, p.catalogue, c.grp, p.state, p.upto"
            " FROM publication p JOIN share s ON s.id = p.share"
            " JOIN catalogue c ON c.id = p.catalogue"
            " WHERE p.state != 'published' ORDER BY p.state DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        share, name, catalogue, group, state, upto = row
        with transaction(self._connection):
            offering = self._offering(catalogue, group)
            if state == "adding":
                self._add_some(offering, share, name, catalogue, upto, limit)
            elif not offering.remove_some(name.encode(), limit):
                self._connection.execute(
                    "DELETE FROM publication WHERE share = ? AND catalogue = ?",
                    (share, catalogue),
                )
            self._close([offering])
        return GroupId(group)

    def offerings(self, share: int) -> list[Offering]:
        """Return the catalogues that have files of *share*, for one transaction."""
        rows = self._connection.execute(
            "SELECT c.id, c.grp, p.state = 'removing' FROM publication p"
            " JOIN catalogue c ON c.id = p.catalogue WHERE p.share = ?",
            (share,),
        ).fetchall()
        return [
            self._offering(catalogue, group, is_ending=bool(is_ending))
            for catalogue, group, is_ending in rows
        ]

    def close(self, offerings: list[Offering]) -> set[GroupId]:
        """End the use of *offerings*; return the groups whose catalogue moved."""
        return self._close(offerings)

    def is_published(self, group: GroupId, share: str) -> bool:
        return bool(
            self._connection.execute(
                "SELECT 1 FROM publication p JOIN share s ON s.id = p.share"
                " JOIN catalogue c ON c.id = p.catalogue WHERE s.name = ? AND s.listed"
                " AND c.grp = ? AND c.state = 'shown' AND p.state != 'removing'",
                (share, group),
            ).fetchone()
        )

    # --- the log --------------------------------------------------------------------

    def own_head(self, group: GroupId) -> tuple[IndexId, int]:
        """Return the index id and the last number given out to *group*."""
        row = self._own_row(group)
        if row is None:
            with transaction(self._connection):
                self._own_catalogue(group)
            row = self._own_row(group)
            assert row is not None
        self._make_durable()
        return IndexId(row[1]), row[2]

    def delta(
        self,
        group: GroupId,
        index_id: IndexId | None,
        after: int,
        max_entries: int,
        max_bytes: int,
    ) -> Delta:
        """Return the next changes after *after*, or from the start for another index.

        At least one change is returned if there is any, however small *max_bytes*.
        """
        own_id, head = self.own_head(group)
        row = self._own_row(group)
        assert row is not None
        start = after if index_id == own_id and after <= head else 0
        changes: list[Change] = []
        upto, used = start, 0
        for seq, change in self._changes(row[0], start, max_entries + 1):
            used += CHANGE_BYTES + change.names_bytes()
            if changes and (used > max_bytes or len(changes) == max_entries):
                return Delta(own_id, start, upto, tuple(changes))
            changes.append(change)
            upto = seq
        return Delta(own_id, start, head, tuple(changes))

    def reset_index_id(self, group: GroupId) -> IndexId:
        """Start *group*'s log anew: all members take a fresh copy.

        For a member whose head is beyond ours (our disk lost what it had confirmed),
        and to be rid of tombstones.
        """
        fresh = IndexId(self._draw(INDEX_ID_BYTES))
        with transaction(self._connection):
            catalogue = self._own_catalogue(group)
            self._connection.execute(
                "UPDATE catalogue SET index_id = ? WHERE id = ?", (fresh, catalogue)
            )
            self._connection.execute(
                "DELETE FROM tombstone WHERE catalogue = ?", (catalogue,)
            )
            self._is_durable = False
        return fresh

    # --- inside ---------------------------------------------------------------------

    def _offering(
        self, catalogue: int, group: GroupId, *, is_ending: bool = False
    ) -> Offering:
        return Offering(
            self._connection, catalogue, group, self._me, is_ending=is_ending
        )

    def _close(self, offerings: list[Offering]) -> set[GroupId]:
        moved = {offering.group for offering in offerings if offering.close()}
        if moved:
            self._is_durable = False
        return moved

    def _set_state(self, share: int, catalogue: int, state: str) -> None:
        self._connection.execute(
            "UPDATE publication SET state = ?, upto = 0"
            " WHERE share = ? AND catalogue = ?",
            (state, share, catalogue),
        )

    def _add_some(
        self,
        offering: Offering,
        share: int,
        name: str,
        catalogue: int,
        upto: int,
        limit: int,
    ) -> None:
        rows = self._connection.execute(
            "SELECT id, folder FROM own_file NOT INDEXED"
            " WHERE share = ? AND id > ? AND gone IS NULL ORDER BY id LIMIT ?",
            (share, upto, limit),
        ).fetchall()
        folders = FolderPaths(self._connection)
        for folder, first, last in _runs(rows):
            offering.put_files((name.encode(), *folders.parts(folder)), first, last)
        if rows:
            self._connection.execute(
                "UPDATE publication SET upto = ? WHERE share = ? AND catalogue = ?",
                (rows[-1][0], share, catalogue),
            )
        else:
            self._set_state(share, catalogue, "published")

    def _own_row(self, group: GroupId) -> tuple[int, bytes, int] | None:
        row: tuple[int, bytes, int] | None = self._connection.execute(
            "SELECT id, index_id, head FROM catalogue"
            " WHERE grp = ? AND member = ? AND state = 'shown' AND own",
            (group, self._me),
        ).fetchone()
        return row

    def _own_catalogue(self, group: GroupId) -> int:
        row = self._own_row(group)
        if row is not None:
            return row[0]
        self._is_durable = False
        cursor = self._connection.execute(
            "INSERT INTO catalogue (grp, member, own, index_id, state)"
            " VALUES (?, ?, 1, ?, 'shown')",
            (group, self._me, self._draw(INDEX_ID_BYTES)),
        )
        return cursor.lastrowid or 0

    def _make_durable(self) -> None:
        if self._is_durable:
            return
        # With FULL a commit syncs the whole log, earlier commits included; but only one
        # that changes something: SQLite writes no row that stays as it is. The setting
        # cannot change inside a transaction.
        self._connection.execute("PRAGMA synchronous = FULL")
        try:
            with transaction(self._connection):
                self._connection.execute("UPDATE catalogue SET own = 3 - own WHERE own")
        finally:
            self._connection.execute("PRAGMA synchronous = NORMAL")
        self._is_durable = True

    def _changes(
        self, catalogue: int, after: int, limit: int
    ) -> Iterator[tuple[int, Change]]:
        """Yield entries and tombstones with their numbers, in order.

        The first *limit* are without a gap; there may be more.
        """
        entries = entries_after(self._connection, catalogue, after, limit)
        buried = self._connection.execute(
            "SELECT seq, share, path FROM tombstone"
            " WHERE catalogue = ? AND seq > ? ORDER BY seq LIMIT ?",
            (catalogue, after, limit),
        ).fetchall()
        places = CataloguePaths(self._connection)
        numbered: list[tuple[int, Change]] = []
        for seq, folder, name, size, modified, root in entries:
            share, *parts = places.parts(folder)
            path = SharePath((*parts, name))
            change = Change(share.decode(), path, size, modified, root, False)
            numbered.append((seq, change))
        for seq, share_name, raw in buried:
            path = SharePath(tuple(raw.split(b"/")))
            numbered.append((seq, Change(share_name, path, 0, 0, None, True)))
        numbered.sort(key=lambda pair: pair[0])
        return iter(numbered)


def _runs(rows: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (folder, first, last) for ids in a row, without a gap, in one folder."""
    begun: tuple[int, int, int] | None = None
    for number, folder in rows:
        if begun and begun[0] == folder and begun[2] == number - 1:
            begun = (folder, begun[1], number)
            continue
        if begun:
            yield begun
        begun = (folder, number, number)
    if begun:
        yield begun


class CataloguePaths(FolderPaths):
    """Paths of a catalogue's folders, the share first."""

    QUERY = "SELECT parent, name FROM folder WHERE id = ?"
