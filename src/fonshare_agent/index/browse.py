"""Browses what all members offer, this node included: by place, by id, by content.

Owns no table: it reads `catalogue`, `folder` and `entry`, of the catalogues shown only.
At most one page is in memory.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from fonshare_agent.index.places import (
    FILE,
    SHOWN,
    Places,
    found_file,
    found_folder,
)
from fonshare_agent.index.records import (
    PAGE,
    Found,
    Mark,
    file_digests,
    home_tags,
    id_tag,
    parse_id,
)
from fonshare_agent.model import EntryId, GroupId, NodeId, Root, SharePath


class Browser:
    """Read-only questions about all catalogues."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def browse(
        self,
        *,
        group: GroupId | None = None,
        member: NodeId | None = None,
        share: str | None = None,
        folder: SharePath | None = None,
        limit: int = PAGE,
        after: Found | Mark | None = None,
    ) -> list[Found]:
        """Return one level of the tree: the shares, or what is in one folder.

        Folders come first, then files, each in the order of their bytes. The next page
        begins after the last line of this one, given as *after*. Inside a share, group
        and member must both be given.
        """
        if share is None:
            return self._shares(group, member, limit, after)
        assert group is not None
        assert member is not None
        place = (share.encode(), *(folder.parts if folder else ()))
        number = self._locate(group, member, place)
        if number is None:
            return []
        found: list[Found] = []
        if after is None or after.kind == "folder":
            names = self._child_folders(number, after.name if after else b"", limit)
            found = [
                found_folder(group, member, (*place, name), own)
                for _, name, own in names
            ]
        name = after.name if after is not None and after.kind == "file" else b""
        files = self._files_in(number, name, limit - len(found))
        return found + [found_file(row, place) for row in files]

    def get(self, entry: EntryId) -> Found | None:
        """Return what the public id *entry* names, if it is shown now."""
        digest = parse_id(entry)
        if digest is None:
            return None
        places = Places(self._connection)
        tag = id_tag(digest)
        for number, group, member, own in self._tagged(tag, tag):
            found = found_folder(group, member, places.place(number), own)
            if found.id == entry.lower():
                return found
        for number, group, member, _ in self._tagged(*home_tags(digest)):
            share, *folders = place = places.place(number)
            digest_of = file_digests(group, member, share, b"/".join(folders))
            for (name,) in self._connection.execute(
                "SELECT name FROM entry WHERE folder = ?", (number,)
            ):
                if digest_of(name) == digest:
                    (row,) = self._connection.execute(
                        FILE + " WHERE e.folder = ? AND e.name = ?", (number, name)
                    )
                    return found_file(row, place)
        return None

    def resolve(
        self, group: GroupId, member: NodeId, share: str, path: SharePath | None
    ) -> Found | None:
        """Return the file, folder or share at that place, if it is shown now."""
        place = (share.encode(), *(path.parts if path else ()))
        if path is not None:
            parent = self._locate(group, member, place[:-1])
            row = (
                parent
                and self._connection.execute(
                    FILE + " WHERE e.folder = ? AND e.name = ?", (parent, path.name)
                ).fetchone()
            )
            if row:
                return found_file(row, place[:-1])
        number = self._locate(group, member, place)
        if number is None:
            return None
        (own,) = self._connection.execute(
            "SELECT c.own FROM folder f JOIN catalogue c ON c.id = f.catalogue"
            " WHERE f.id = ?",
            (number,),
        ).fetchone()
        return found_folder(group, member, place, own)

    def walk(
        self, top: Found, after: SharePath | None = None, limit: int = PAGE
    ) -> list[Found]:
        """Return the next files below the folder or share *top*.

        *after* is the path of the last file of the page before; an empty page is the
        end. The order is fixed by the names alone, so pages fit together even if the
        catalogue changes in between.
        """
        place = (top.share.encode(), *(top.path.parts if top.path else ()))
        number = self._locate(top.group, top.member, place)
        if number is None:
            return []
        rest = after.parts[len(place) - 1 :] if after else ()
        return list(islice(self._walk(number, place, rest), limit))

    def sources(
        self, group: GroupId, root: Root, exclude: frozenset[NodeId] = frozenset()
    ) -> list[NodeId]:
        """Return the members of *group* that offer content of *root*."""
        rows = self._connection.execute(
            "SELECT DISTINCT c.member FROM entry e JOIN catalogue c"
            " ON c.id = e.catalogue WHERE substr(e.root, 1, 4) = substr(?1, 1, 4)"
            " AND e.root = ?1 AND c.grp = ?2 AND c.state = 'shown' ORDER BY c.id",
            (root, group),
        )
        return [NodeId(member) for (member,) in rows if member not in exclude]

    def find_offer(self, group: GroupId, member: NodeId, root: Root) -> Found | None:
        """Return a file by which *member* offers content of *root* to *group*."""
        paths = Places(self._connection)
        for row in self._connection.execute(
            FILE + " WHERE substr(e.root, 1, 4) = substr(?1, 1, 4) AND e.root = ?1"
            " AND c.grp = ?2 AND c.member = ?3 AND c.state = 'shown' LIMIT 1",
            (root, group, member),
        ):
            return found_file(row, paths.place(row[0]))
        return None

    # --- inside ---------------------------------------------------------------------

    def _tagged(self, first: int, last: int) -> list[tuple[int, GroupId, NodeId, int]]:
        """Return the shown folders whose tag is in that range."""
        return self._connection.execute(
            "SELECT f.id, c.grp, c.member, c.own FROM folder f"
            " JOIN catalogue c ON c.id = f.catalogue"
            " WHERE f.tag BETWEEN ? AND ? AND c.state = 'shown'",
            (first, last),
        ).fetchall()

    def _shares(
        self,
        group: GroupId | None,
        member: NodeId | None,
        limit: int,
        after: Found | Mark | None,
    ) -> list[Found]:
        key = (after.group, after.member, after.name) if after else (b"", b"", b"")
        rows = self._connection.execute(
            "SELECT c.grp, c.member, f.name, c.own FROM catalogue c"
            " JOIN folder f ON f.catalogue = c.id AND f.parent = 0"
            f" WHERE {SHOWN} AND (c.grp, c.member, f.name) > (?3, ?4, ?5)"
            " ORDER BY c.grp, c.member, f.name LIMIT ?6",
            (group, member, *key, limit),
        )
        return [found_folder(grp, node, (name,), own) for grp, node, name, own in rows]

    def _locate(
        self, group: GroupId, member: NodeId, place: Sequence[bytes]
    ) -> int | None:
        row = self._connection.execute(
            "SELECT id FROM catalogue WHERE grp = ? AND member = ? AND state = 'shown'",
            (group, member),
        ).fetchone()
        if row is None:
            return None
        catalogue, number = row[0], 0
        for name in place:
            row = self._connection.execute(
                "SELECT id FROM folder WHERE catalogue = ? AND parent = ? AND name = ?",
                (catalogue, number, name),
            ).fetchone()
            if row is None:
                return None
            number = row[0]
        return int(number)

    def _child_folders(
        self, number: int, after: bytes, limit: int
    ) -> list[tuple[int, bytes, int]]:
        return self._connection.execute(
            "SELECT f.id, f.name, c.own FROM folder f"
            " JOIN catalogue c ON c.id = f.catalogue WHERE f.parent = ?1"
            " AND f.catalogue = (SELECT catalogue FROM folder WHERE id = ?1)"
            " AND f.name > ?2 ORDER BY f.name LIMIT ?3",
            (number, after, limit),
        ).fetchall()

    def _files_in(self, number: int, after: bytes, limit: int) -> list[Any]:
        return self._connection.execute(
            FILE + " WHERE e.folder = ? AND e.name > ? ORDER BY e.name LIMIT ?",
            (number, after, limit),
        ).fetchall()

    def _walk(
        self, number: int, place: tuple[bytes, ...], after: Sequence[bytes]
    ) -> Iterator[Found]:
        """Yield a folder's files, then what its folders hold, from *after* on."""
        name = b""
        if len(after) <= 1:
            name = after[0] if after else b""
            while rows := self._files_in(number, name, PAGE):
                for row in rows:
                    yield found_file(row, place)
                name = rows[-1][1]
            name = b""
        else:
            name = after[0]
            child = self._child_folders_named(number, name)
            if child is not None:
                yield from self._walk(child, (*place, name), after[1:])
        while children := self._child_folders(number, name, PAGE):
            for child, name, _ in children:
                yield from self._walk(child, (*place, name), ())

    def _child_folders_named(self, number: int, name: bytes) -> int | None:
        row = self._connection.execute(
            "SELECT id FROM folder WHERE parent = ?1 AND name = ?2"
            " AND catalogue = (SELECT catalogue FROM folder WHERE id = ?1)",
            (number, name),
        ).fetchone()
        return None if row is None else int(row[0])
