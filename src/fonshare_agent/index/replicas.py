"""The copies of what other members offer, kept up by their deltas.

Owns the rows of `catalogue` that are not the node's own. Rules kept:

- A delta is applied only if it starts where the copy ends; otherwise it changes
  nothing and the answer says where the copy ends.
- When a member starts a new index, its old copy stays shown until the new one is
  complete; the two are then exchanged in one transaction. The next new one waits
  until what was dropped is removed.
- An entry that breaks the rules is left out and counted, the others are taken.

Runs on the store thread. What it is given was signed by the member; who is a member is
not its business.
"""

import sqlite3
from collections.abc import Iterable

from fonshare_agent.errors import BadPath
from fonshare_agent.index.database import transaction
from fonshare_agent.index.records import Applied, Delta, Gap
from fonshare_agent.index.tree import Metadata, Parts, Tree
from fonshare_agent.model import (
    DEPTH_MAX,
    PATH_BYTES_MAX,
    SIZE_MAX,
    GroupId,
    IndexId,
    NodeId,
    Root,
    SharePath,
    is_label,
)
from fonshare_agent.protocol.fields import HASH_BYTES, Change

# A member must not fill our disk: four times the million entries that we promise, and
# at the very worst 1.5 GB. What names cost, in the tree and in the search index, counts
# by `_weight`; else each entry could have 4 KiB of them and 64 folders of its own.
ENTRIES_MAX = 4_000_000
# Copies of a member's that are still to be removed: who begins a new index with each
# message fills the disk no faster than it is emptied.
DROPPED_MAX = 2
ENTRY_NAME_BYTES = 256
ENTRY_FOLDERS = 8
_WEIGHT_MAX = 1 + PATH_BYTES_MAX // ENTRY_NAME_BYTES + DEPTH_MAX // ENTRY_FOLDERS + 1
MODIFIED_MAX = 2**40  # seconds: the year 36,812


class Replicas:
    """The copies of other members' catalogues."""

    def __init__(
        self, connection: sqlite3.Connection, entries_max: int = ENTRIES_MAX
    ) -> None:
        self._connection = connection
        self._entries_max = entries_max

    def head(self, group: GroupId, member: NodeId) -> tuple[IndexId | None, int]:
        """Return the index being copied and how far: ask for what comes after."""
        row = self._find(group, member, "coming") or self._find(group, member, "shown")
        return (IndexId(row[1]), row[2]) if row else (None, 0)

    def apply(
        self, group: GroupId, member: NodeId, delta: Delta, complete_at: int
    ) -> Applied | Gap:
        """Take in *delta*; a new index is shown once it reaches *complete_at*."""
        with transaction(self._connection):
            target = self._target(group, member, delta)
            if target is None:
                return Gap(0)
            catalogue, head = target
            if delta.after != head or delta.upto < head:
                return Gap(head)
            tree = Tree(self._connection, catalogue, group, member, _weight)
            refused = self._take(tree, catalogue, delta.changes)
            tree.close()
            self._connection.execute(
                "UPDATE catalogue SET head = ? WHERE id = ?", (delta.upto, catalogue)
            )
            if delta.upto >= complete_at:
                self._show(group, member, catalogue)
        return Applied(delta.upto, refused)

    def drop(self, group: GroupId, member: NodeId | None) -> None:
        """Forget what *member* offers, or everything in *group*; rows go later."""
        with transaction(self._connection):
            self._connection.execute(
                "DELETE FROM publication WHERE catalogue IN (SELECT id FROM catalogue"
                " WHERE grp = ?1 AND (?2 IS NULL OR member = ?2))",
                (group, member),
            )
            self._connection.execute(
                "UPDATE catalogue SET state = 'dropped'"
                " WHERE grp = ?1 AND (?2 IS NULL OR member = ?2)",
                (group, member),
            )

    def purge_some(self, limit: int) -> bool:
        """Remove up to *limit* entries of dropped catalogues; False if none is left."""
        row = self._connection.execute(
            "SELECT id, grp, member FROM catalogue WHERE state = 'dropped' LIMIT 1"
        ).fetchone()
        if row is None:
            return False
        catalogue, group, member = row
        with transaction(self._connection):
            tree = Tree(self._connection, catalogue, group, member, _weight)
            if not tree.remove_some((), limit):
                for query in (
                    "DELETE FROM tombstone WHERE catalogue = ?",
                    "DELETE FROM entry_run WHERE catalogue = ?",
                    "DELETE FROM catalogue WHERE id = ?",
                ):
                    self._connection.execute(query, (catalogue,))
        return True

    # --- inside ---------------------------------------------------------------------

    def _find(
        self, group: GroupId, member: NodeId, state: str
    ) -> tuple[int, bytes, int] | None:
        row: tuple[int, bytes, int] | None = self._connection.execute(
            "SELECT id, index_id, head FROM catalogue"
            " WHERE grp = ? AND member = ? AND state = ? AND NOT own",
            (group, member, state),
        ).fetchone()
        return row

    def _target(
        self, group: GroupId, member: NodeId, delta: Delta
    ) -> tuple[int, int] | None:
        """Return the catalogue that *delta* continues, and its head."""
        shown = self._find(group, member, "shown")
        coming = self._find(group, member, "coming")
        for row in (coming, shown):
            if row is not None and row[1] == delta.index_id:
                return row[0], row[2]
        if delta.after != 0 or self._count_dropped(group, member) >= DROPPED_MAX:
            return None
        if coming is not None:
            self._drop_one(coming[0])
        # The first copy is shown while it grows; a later one must not hide the old.
        state = "shown" if shown is None else "coming"
        cursor = self._connection.execute(
            "INSERT INTO catalogue (grp, member, own, index_id, state)"
            " VALUES (?, ?, 0, ?, ?)",
            (group, member, delta.index_id, state),
        )
        return cursor.lastrowid or 0, 0

    def _count_dropped(self, group: GroupId, member: NodeId) -> int:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM catalogue"
            " WHERE grp = ? AND member = ? AND state = 'dropped'",
            (group, member),
        ).fetchone()
        return int(count)

    def _drop_one(self, catalogue: int) -> None:
        self._connection.execute(
            "UPDATE catalogue SET state = 'dropped' WHERE id = ?", (catalogue,)
        )

    def _show(self, group: GroupId, member: NodeId, catalogue: int) -> None:
        shown = self._find(group, member, "shown")
        if shown is not None and shown[0] != catalogue:
            self._drop_one(shown[0])
        self._connection.execute(
            "UPDATE catalogue SET state = 'shown' WHERE id = ?", (catalogue,)
        )

    def _take(self, tree: Tree, catalogue: int, changes: Iterable[Change]) -> int:
        """Take *changes* in, folder by folder; return how many were refused.

        Of two for one place the later counts, whatever stands between them.
        """
        (entries,) = self._connection.execute(
            "SELECT entries FROM catalogue WHERE id = ?", (catalogue,)
        ).fetchone()
        folders, refused = _by_folder(changes)
        for folder, files in folders.items():
            gone = [name for name, data in files.items() if data is None]
            for name in gone:
                tree.remove((*folder, name))
        for folder, files in folders.items():
            here = {name: data for name, data in files.items() if data is not None}
            if not here:
                continue  # no folder is made for nothing
            # The catalogue's row counts weights, as the tree does.
            room = self._entries_max - entries - tree.added
            if len(here) * _WEIGHT_MAX <= room:
                tree.put_all(folder, here)
                continue
            for name, data in here.items():
                place = (*folder, name)
                room = self._entries_max - entries - tree.added
                if _weight(place) <= room or tree.find(place):
                    tree.put(place, data, None)
                else:
                    refused += 1
        return refused


def _by_folder(
    changes: Iterable[Change],
) -> tuple[dict[Parts, dict[bytes, Metadata | None]], int]:
    """Return for each folder what becomes of its files (None: gone).

    The second value is how many changes break the rules.
    """
    folders: dict[Parts, dict[bytes, Metadata | None]] = {}
    refused = 0
    for change in changes:
        place = _place(change)
        if place is None:
            refused += 1
            continue
        data = None
        if not change.deleted:
            root = None if change.root is None else Root(change.root)
            data = Metadata(change.size, change.modified, root)
        folders.setdefault(place[:-1], {})[place[-1]] = data
    return folders, refused


def _weight(place: Parts) -> int:
    """Return as how many entries of ordinary names the one at *place* counts."""
    name_bytes = sum(map(len, place)) + len(place) - 1
    return 1 + name_bytes // ENTRY_NAME_BYTES + len(place) // ENTRY_FOLDERS


def _place(change: Change) -> Parts | None:
    """Return where *change* belongs, or None if it breaks the rules."""
    if not is_label(change.share):
        return None
    try:
        path = SharePath.parse(change.path.raw)
    except BadPath:
        return None
    if not change.deleted and not (
        0 <= change.size <= SIZE_MAX
        and 0 <= change.modified <= MODIFIED_MAX
        and (change.root is None or len(change.root) == HASH_BYTES)
    ):
        return None
    return (change.share.encode(), *path.parts)
