"""Ratings, loaded with the first of them: a group that rates nothing does without.

Loaded at the start if there is one. Core thread; on_demand.py says how it is loaded.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.core import Core, Worker
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.protocol.message import Message

if TYPE_CHECKING:
    from fonshare_agent.social.ratings import GroupRatings


class RatingsOnDemand:
    """What a node tells its ratings while there may be none. *load* imports them."""

    KINDS = ("ratings", "ratings_ask")  # the messages that are theirs

    def __init__(
        self,
        core: Core,
        store: Worker,
        files: Worker,
        state: StateStore,
        load: Callable[[], Callable[[], "GroupRatings"]],
    ) -> None:
        self._core, self._store, self._state = core, store, state
        self._part = OnDemand(files, load)

    @property
    def are_there(self) -> bool:
        """Whether anything may be rated."""
        return self._part.made is not None

    async def get(self) -> "GroupRatings":
        """Return them; raises DiskMissing if they cannot be loaded now."""
        return await self._part.get()

    async def load(self) -> None:
        """Go on with what is rated; call once, when the node is up."""
        if await self._store.run(self._state.has_ratings):
            await (await self.get()).load()

    async def on_message(
        self, group: GroupId, member: NodeId, message: Message
    ) -> None:
        """Take in, or answer, one of KINDS."""
        if message.KIND == "ratings_ask" and not self.are_there:
            return  # nothing of ours is rated, and nothing is loaded for it
        await (await self.get()).on_message(group, member, message)

    def note_ready(self, group: GroupId, member: NodeId) -> None:
        """*member* was met anew."""
        if self._part.made is not None:
            self._part.made.note_ready(group, member)

    def note_members(self, group: GroupId) -> None:
        """Who is in *group* may have changed."""
        if self._part.made is not None:
            work = self._part.made.keep_members(group)
            self._core.spawn_service("forget ratings", work)

    def drop_group(self, group: GroupId) -> None:
        if self._part.made is not None:
            self._part.made.drop_group(group)

    def stop(self) -> None:
        if self._part.made is not None:
            self._part.made.stop()
