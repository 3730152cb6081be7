"""Builds the social part of a node. Wiring only (see node.py); loaded late: social/."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.downloads import Downloads
from fonshare_agent.ground import Ground
from fonshare_agent.group_side import GroupSide
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.social.follows import Follows
from fonshare_agent.social.ratings_on_demand import RatingsOnDemand

if TYPE_CHECKING:
    from fonshare_agent.social.follow import Following
    from fonshare_agent.social.ratings import GroupRatings


class SocialSide:
    """What stands for the follows and for the ratings."""

    def __init__(
        self, ground: Ground, talking: GroupSide, downloads: Downloads
    ) -> None:
        self._ground, self._talking, self._downloads = ground, talking, downloads
        core, store, files = ground.core, ground.store, ground.files
        self.follows = Follows(
            core, store, files, ground.state.has_follows, self._load_follows
        )
        self.ratings = RatingsOnDemand(
            core, store, files, ground.state.has_ratings, self._load_ratings
        )
        downloads.on_followed = self.follows.note_job

    def load(self) -> None:
        """Go on with what there is; call once, when the node is up."""
        self._ground.core.spawn_service("follows", self.follows.load())
        self._ground.core.spawn_service("ratings", self.ratings.load())

    def drop_group(self, group: GroupId) -> None:
        self.follows.drop_group(group)
        self.ratings.drop_group(group)

    async def stop(self) -> None:
        self.follows.stop()
        self.ratings.stop()

    def _folder(self, group: GroupId, member: NodeId) -> str:
        """Where what a member offers goes by itself."""
        groups, top = self._talking.groups, self._ground.settings.downloads_folder
        return str(top / groups.label(group) / groups.member_name(group, member))

    def _load_follows(self) -> Callable[[], "Following"]:
        from fonshare_agent.social.follow import Following
        from fonshare_agent.social.holding import Holding

        ground = self._ground
        return lambda: Following(
            ground.core,
            ground.store,
            ground.index,
            ground.state,
            self._downloads,
            Holding(ground.store, ground.files, ground.state, ground.disk),
            self._folder,
            ground.keys.signer.node_id,
        )

    def _load_ratings(self) -> Callable[[], "GroupRatings"]:
        from fonshare_agent.social.ratings import GroupRatings

        ground = self._ground
        return lambda: GroupRatings(
            ground.core,
            ground.store,
            ground.state.ratings,
            self._talking.channel.send,
            self._talking.members_of,
            ground.keys.signer.node_id,
        )
