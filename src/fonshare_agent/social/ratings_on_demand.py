"""Ratings, loaded with the first of them: a group that rates nothing does without.

Loaded at the start if there is one. Core thread; on_demand.py says how it is loaded.
"""

from typing import TYPE_CHECKING

from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.message import Message
from fonshare_agent.social.late import Late

if TYPE_CHECKING:
    from fonshare_agent.social.ratings import GroupRatings  # noqa: F401 (quoted in a base)


class RatingsOnDemand(Late["GroupRatings"]):
    """What a node tells its ratings while there may be none."""

    KINDS = ("ratings", "ratings_ask")  # the messages that are theirs

    @property
    def are_there(self) -> bool:
        """Whether anything may be rated."""
        return self._part.made is not None

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
