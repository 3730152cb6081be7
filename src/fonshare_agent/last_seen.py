"""When each member was last seen online, group by group; kept over restarts.

Presence tells who is online now and forgets the rest; this remembers when it ended. One
document, written when somebody has come or gone, at most every SAVE_S, and with what is
written hourly anyway: a power cut takes an hour of it at most. A time that the clock
has not reached, since it was set wrong then, counts as now. Core thread.
"""

from collections.abc import Callable, Collection
from typing import Final

from fonshare_agent import clock
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import StorageError
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import GroupId, NodeId

DOCUMENT: Final = "last_seen"
SAVE_S: Final = 600.0  # a disk that sleeps is not woken more often for this

Members = Callable[[GroupId], Collection[NodeId]]  # () for a group that was left


class LastSeen:
    """*now* is the time of day; *members* tells who is in a group."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        state: StateStore,
        now: Callable[[], float],
        members: Members,
    ) -> None:
        self._core, self._store, self._state = core, store, state
        self._now, self._members = now, members
        self._seen: dict[GroupId, dict[NodeId, int]] = {}
        self._online: set[tuple[GroupId, NodeId]] = set()
        self._is_saving = False

    async def load(self) -> None:
        """Recall what was seen before; what was seen since counts for more."""
        kept = await self._store.run(self._state.get_document, DOCUMENT)
        for group, members in (kept or {}).items():
            seen = self._seen.setdefault(GroupId(bytes.fromhex(group)), {})
            for member, at in members.items():
                seen.setdefault(NodeId(bytes.fromhex(member)), at)

    def note(self, group: GroupId, member: NodeId, is_online: bool) -> None:
        """*member* came online, or went."""
        who = (group, member)
        if is_online:
            self._online.add(who)
        elif who in self._online:
            self._touch(who)
            self._online.discard(who)
        else:
            return
        if not self._is_saving:
            self._is_saving = True
            self._core.call_later(SAVE_S, self._save_now)

    def find(self, group: GroupId, member: NodeId) -> int | None:
        """Return when *member* was last seen in *group*; None if never, or unknown."""
        if (group, member) in self._online:
            self._touch((group, member))
        seen = self._seen.get(group, {})
        at = seen.get(member)
        if at is not None and clock.is_known(self._now) and at > self._now():
            at = seen[member] = int(self._now())  # once: from now on it grows old
        return at

    def _touch(self, who: tuple[GroupId, NodeId]) -> None:
        if clock.is_known(self._now):
            group, member = who
            self._seen.setdefault(group, {})[member] = int(self._now())

    def _save_now(self) -> None:
        self._core.spawn_service("last seen", self.save())

    async def save(self) -> None:
        """Keep what is known now of those who are members still."""
        self._is_saving = False
        for who in self._online:
            self._touch(who)
        for group, seen in list(self._seen.items()):
            members = self._members(group)
            here = {one: at for one, at in seen.items() if one in members}
            if here:
                self._seen[group] = here
            else:
                del self._seen[group]
        kept = {
            group.hex(): {member.hex(): at for member, at in seen.items()}
            for group, seen in self._seen.items()
        }
        try:
            await self._store.run(self._state.put_document, DOCUMENT, kept or None)
        except StorageError:
            return  # the next time it is written again
