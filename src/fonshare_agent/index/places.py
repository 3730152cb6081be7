"""What a row of the index is to its users: an entry with its place and its public id.

Owns the way from rows to `Found`. A place is the share's name and the folders' names
down from it, as raw bytes.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fonshare_agent.index.records import (
    Found,
    Kind,
    file_digests,
    id_digest,
    id_text,
)
from fonshare_agent.index.text import fold_name
from fonshare_agent.model import GroupId, NodeId, SharePath

FOLDERS_KEPT = 512  # paths remembered during one call
FOLDERS_READ = 32  # by one statement

FILE = (
    "SELECT e.folder, e.name, e.size, e.modified, e.root, c.grp, c.member, c.own"
    " FROM entry e JOIN catalogue c ON c.id = e.catalogue"
)

# Parameters 1 and 2: a group and a member, or NULL for any.
SHOWN = (
    "c.state = 'shown' AND (?1 IS NULL OR c.grp = ?1) AND (?2 IS NULL OR c.member = ?2)"
)

_SOME_FOLDERS = (
    f"SELECT id, parent, name FROM folder WHERE id IN ({', '.join('?' * FOLDERS_READ)})"
)


class Places:
    """Places and folded texts of folders, a bounded number remembered."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[int, tuple[tuple[bytes, ...], str]] = {}
        self._rows: dict[int, tuple[int, bytes]] = {}
        self._digests: dict[int, Callable[[bytes], bytes]] = {}

    def load(self, folders: Iterable[int]) -> None:
        """Read *folders* and those above them, many by one statement."""
        if len(self._known) + len(self._rows) >= FOLDERS_KEPT:
            self._rows.clear()
        unread = {one for one in folders if one not in self._known}
        while unread := {one for one in unread if one and one not in self._rows}:
            some = list(unread)[:FOLDERS_READ]
            rows = self._connection.execute(
                _SOME_FOLDERS, some + [0] * (FOLDERS_READ - len(some))
            ).fetchall()
            self._rows |= {number: (parent, name) for number, parent, name in rows}
            unread.difference_update(some)
            unread.update([parent for _, parent, _ in rows])

    def place(self, folder: int) -> tuple[bytes, ...]:
        return self._look_up(folder)[0]

    def text(self, folder: int) -> str:
        return self._look_up(folder)[1]

    def digest(self, folder: int, group: GroupId, member: NodeId, name: bytes) -> bytes:
        """Return `id_digest` of the file *name* in *folder*, which is theirs."""
        digest_of = self._digests.get(folder)
        if digest_of is None:
            if len(self._digests) >= FOLDERS_KEPT:
                self._digests.clear()
            share, *above = self.place(folder)
            digest_of = file_digests(group, member, share, b"/".join(above))
            self._digests[folder] = digest_of
        return digest_of(name)

    def _look_up(self, folder: int) -> tuple[tuple[bytes, ...], str]:
        known = self._known.get(folder)
        if known is None:
            row = (
                self._rows.get(folder)
                or self._connection.execute(
                    "SELECT parent, name FROM folder WHERE id = ?", (folder,)
                ).fetchone()
            )
            parent, name = row
            above, text = self._look_up(parent) if parent else ((), "")
            if len(self._known) >= FOLDERS_KEPT:
                self._known.clear()
            known = ((*above, name), f"{text}{fold_name(name)}/")
            self._known[folder] = known
        return known


def found_file(row: Any, place: Sequence[bytes], digest: bytes | None = None) -> Found:
    """Return the file of *row* (the columns of FILE) in the folder at *place*.

    *digest*: its `id_digest`, if it is known.
    """
    _, name, size, modified, root, group, member, own = row
    path = SharePath((*place[1:], name))
    if digest is None:
        digest = id_digest("file", group, member, place[0], path.raw)
    share = place[0].decode()
    return Found(
        id_text(digest),
        "file",
        group,
        member,
        share,
        path,
        size,
        modified,
        root,
        bool(own),
    )


def file_tag(row: Any, place: Sequence[bytes]) -> int:
    """Return 64 bits of the file's public id, signed as SQLite has numbers.

    The same for ever, also in an index that was made anew, where ids of rows begin
    again.
    """
    _, name, _, _, _, group, member, _ = row
    path = b"/".join((*place[1:], name))
    digest = id_digest("file", group, member, place[0], path)
    return int.from_bytes(digest[-8:], "big", signed=True)


def found_folder(
    group: GroupId, member: NodeId, place: Sequence[bytes], own: int
) -> Found:
    """Return the folder, or the share, at *place*."""
    kind: Kind = "folder" if len(place) > 1 else "share"
    path = SharePath(tuple(place[1:])) if len(place) > 1 else None
    raw = path.raw if path else b""
    return Found(
        id=id_text(id_digest(kind, group, member, place[0], raw)),
        kind=kind,
        group=group,
        member=member,
        share=place[0].decode(),
        path=path,
        size=0,
        modified=0,
        root=None,
        own=bool(own),
    )
