"""One own catalogue while it changes: what is put in or removed gets its number here.

Runs on the store thread, within one transaction. It must not know how changes are found
or sent, nor what is published where.
"""

import sqlite3

from fonshare_agent.index.runs import RUN_LEAST, Runs
from fonshare_agent.index.tree import OFFERED, Metadata, Parts, Tree
from fonshare_agent.model import GroupId, NodeId


class Offering:
    """One own catalogue within one transaction: numbers what changes in it.

    *is_ending*: the share is being withdrawn from it. What goes on the disk must then
    go here, too, since the owner may publish the share again; nothing is added.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalogue: int,
        group: GroupId,
        me: NodeId,
        *,
        is_ending: bool = False,
    ) -> None:
        self.group = group
        self._is_ending = is_ending
        self._connection = connection
        self._catalogue = catalogue
        self._tree = Tree(connection, catalogue, group, me)
        self._runs = Runs(connection, catalogue)
        head: int = connection.execute(
            "SELECT head FROM catalogue WHERE id = ?", (catalogue,)
        ).fetchone()[0]
        self._head = self._before = head

    def put(self, place: Parts, data: Metadata) -> None:
        if self._is_ending:
            return
        if self._tree.put(place, data, self._head + 1):
            self._head += 1

    def put_files(self, place: Parts, first: int, last: int) -> None:
        """Offer the own files *first* to *last*, which are all in the folder *place*.

        Every number between must be such a file, so that the catalogue's have no gaps.
        """
        if self._is_ending:
            return
        count = last - first + 1
        is_run = count >= RUN_LEAST
        entry = self._tree.put_own(
            place, first, last, None if is_run else self._head + 1
        )
        if entry is None:
            # Some are there already, of a share that was published before.
            self._put_each(place, first, last)
            return
        if is_run:
            self._runs.add(self._head + 1, entry, count)
        self._head += count

    def _put_each(self, place: Parts, first: int, last: int) -> None:
        for name, *values in self._connection.execute(
            f"SELECT {OFFERED} FROM own_file WHERE id BETWEEN ? AND ?", (first, last)
        ).fetchall():
            self.put((*place, name), Metadata(*values))

    def remove(self, place: Parts) -> None:
        if self._tree.remove(place):
            self._bury(place)

    def remove_some(self, share: bytes, limit: int) -> bool:
        """Withdraw up to *limit* files of *share*; False if there were none."""
        places = self._tree.remove_some((share,), limit)
        for place in places:
            self._bury(place)
        return bool(places)

    def close(self) -> bool:
        """Write the head if it moved; tell whether it did."""
        self._tree.close()
        self._runs.close()
        if self._head == self._before:
            return False
        self._connection.execute(
            "UPDATE catalogue SET head = ? WHERE id = ?", (self._head, self._catalogue)
        )
        return True

    def _bury(self, place: Parts) -> None:
        self._head += 1
        self._connection.execute(
            "INSERT INTO tombstone (catalogue, seq, share, path) VALUES (?, ?, ?, ?)",
            (self._catalogue, self._head, place[0].decode(), b"/".join(place[1:])),
        )
