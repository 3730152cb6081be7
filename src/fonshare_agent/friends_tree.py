"""What friends offer as folders, for the house door: GROUP/MEMBER/SHARE/PATH.

Read from the replicas, a page at a time, so it is there while friends are not; groups
and members have the names that `ls` shows, and this node itself is left out. Loaded
when the owner looks there first. Called on FTP workers: groups are asked for on the
core thread, entries on the store's. Must not know sessions or replies.
"""

import queue
from collections.abc import Callable, Generator
from dataclasses import dataclass
from os import stat_result
from typing import TypeVar

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import FonshareError, NotFound, Starting
from fonshare_agent.ftp.filesystem import Parts, is_listable
from fonshare_agent.ftp.house_files import friends_status
from fonshare_agent.ftp.listing import Named
from fonshare_agent.groups import Groups
from fonshare_agent.index.records import Found
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, NodeId, SharePath, printable

T = TypeVar("T")

PAGE = 500  # entries in one go on the store thread
CORE_S = 10.0  # the core answers within milliseconds, but for a node that ends


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads, as far as it goes."""

    group: GroupId | None = None
    member: NodeId | None = None
    share: str | None = None
    path: SharePath | None = None


class FriendsTree:
    """See the module's text."""

    def __init__(
        self, core: Core, store: Worker, index: IndexStore, groups: Groups, me: NodeId
    ) -> None:
        self._core, self._store, self._index = core, store, index
        self._groups, self._me = groups, me

    def stat(self, parts: Parts) -> stat_result:
        """Return the status of a file or folder; NotFound if there is none."""
        place = self._place(parts)
        if place.share is None:
            return friends_status()
        return _status(self.find(parts))

    def find(self, parts: Parts) -> Found:
        """Return the file, folder or share at *parts*."""
        place = self._place(parts)
        return self._store.run_and_wait(lambda: self.resolve(place, parts))

    def resolve(self, place: Place, parts: Parts) -> Found:
        """Return what is at *place*. On the store thread."""
        if place.group is None or place.member is None or place.share is None:
            raise NotFound("that is no entry, but a group or a member")
        group, member, share = place.group, place.member, place.share
        found = self._index.resolve(group, member, share, place.path)
        if found is None:
            raise _not_found(parts)
        return found

    def entries(self, parts: Parts) -> Generator[Named, None, None]:
        """Yield what is in a folder; at most a page of it is in memory."""
        place = self._place(parts)
        if place.member is None:
            for name in self._names(place.group):
                yield name.encode(), friends_status()
            return
        if place.share is not None and self.find(parts).kind == "file":
            raise NotFound("no such folder")
        after: Found | None = None
        while page := self._page(place, after):
            for found in page:
                if is_listable(found.name):
                    yield found.name, _status(found)
            after = page[-1]

    def _page(self, place: Place, after: Found | None) -> list[Found]:
        return self._store.run_and_wait(
            lambda: self._index.browse(
                group=place.group,
                member=place.member,
                share=place.share,
                folder=place.path,
                limit=PAGE,
                after=after,
            )
        )

    # --- names ---

    def _names(self, group: GroupId | None) -> list[str]:
        """Return the groups, or the other members of one."""

        def look() -> list[str]:
            if group is None:
                return list(self._groups.labels())
            members = self._groups.roster(group).members
            return [
                self._groups.member_name(group, member)
                for member in members
                if member != self._me
            ]

        return self._on_core(look)

    def _place(self, parts: Parts) -> Place:
        return self._on_core(lambda: self.look_up(parts))

    def look_up(self, parts: Parts) -> Place:
        """Return where *parts* lead; NotFound if no group or member is called so.

        On the core thread.
        """
        if not parts:
            return Place()
        try:
            names = [part.decode() for part in parts[:3]]
        except UnicodeDecodeError:
            raise _not_found(parts) from None
        group = self._groups.get(names[0])
        if len(names) == 1:
            return Place(group)
        member = self._groups.get_member(group, names[1])
        if member == self._me:
            raise _not_found(parts)
        if len(names) == 2:
            return Place(group, member)
        path = SharePath(parts[3:]) if len(parts) > 3 else None
        return Place(group, member, names[2], path)

    def _on_core(self, look: Callable[[], T]) -> T:
        """Return what *look* gives on the core thread, or raise what it raises."""
        answer: queue.SimpleQueue[tuple[T | None, FonshareError | None]]
        answer = queue.SimpleQueue()

        def call() -> None:
            try:
                answer.put((look(), None))
            except FonshareError as error:
                answer.put((None, error))

        self._core.post(call)
        try:
            value, error = answer.get(timeout=CORE_S)
        except queue.Empty:
            raise Starting("the node does not answer now") from None
        if error is not None:
            raise error
        return value  # type: ignore[return-value]


def _status(found: Found) -> stat_result:
    if found.kind != "file":
        return friends_status()
    number = int.from_bytes(found.id.encode()[:7], "big")
    return friends_status(found.size, found.modified, number)


def _not_found(parts: Parts) -> NotFound:
    return NotFound("no such file or folder", thing=printable(b"/".join(parts)))
