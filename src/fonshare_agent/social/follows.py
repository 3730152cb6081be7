"""Follows, loaded with the first of them: a node that follows nothing does without.

Loaded at the start if there is one, so what it needs is at hand when news come. Core
thread; on_demand.py says how it is loaded.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fonshare_agent.core import Core, Worker
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.protocol.fields import Change

if TYPE_CHECKING:
    from fonshare_agent.social.follow import Following


class Follows:
    """What a node tells its follows while there may be none. *load* imports them."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        files: Worker,
        state: StateStore,
        load: Callable[[], Callable[[], "Following"]],
    ) -> None:
        self._core, self._store, self._state = core, store, state
        self._part = OnDemand(files, load)

    async def get(self) -> "Following":
        """Return them; raises DiskMissing if they cannot be loaded now."""
        return await self._part.get()

    async def load(self) -> None:
        """Go on with what is followed; call once, when the node is up."""
        if await self._store.run(self._state.has_follows):
            await (await self.get()).load()

    def note_changes(
        self, group: GroupId, member: NodeId, changes: Sequence[Change]
    ) -> None:
        """A member's catalogue has moved."""
        if self._part.made is not None:
            self._part.made.note_changes(group, member, changes)

    def note_job(self, job_id: str) -> None:
        """An attempt at a job of a follow has ended, or the job has."""
        if self._part.made is not None:
            self._part.made.note_job(job_id)

    def drop_group(self, group: GroupId) -> None:
        if self._part.made is not None:
            self._part.made.drop_group(group)

    def stop(self) -> None:
        if self._part.made is not None:
            self._part.made.stop()
