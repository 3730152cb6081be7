"""Builds the follows of a node. Wiring only (see node.py); loaded late: social/."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.downloads import Downloads
from fonshare_agent.ground import Ground
from fonshare_agent.group_side import GroupSide
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.social.follows import Follows

if TYPE_CHECKING:
    from fonshare_agent.social.follow import Following


def build_follows(ground: Ground, talking: GroupSide, downloads: Downloads) -> Follows:
    """Return what stands for the follows, and let *downloads* tell it of its jobs."""

    def folder(group: GroupId, member: NodeId) -> str:
        """Where what a member offers goes by itself."""
        groups, top = talking.groups, ground.settings.downloads_folder
        return str(top / groups.label(group) / groups.member_name(group, member))

    def load() -> Callable[[], "Following"]:
        from fonshare_agent.social.follow import Following
        from fonshare_agent.social.holding import Holding

        return lambda: Following(
            ground.core,
            ground.store,
            ground.index,
            ground.state,
            downloads,
            Holding(ground.store, ground.files, ground.state, ground.disk),
            folder,
            ground.keys.signer.node_id,
        )

    follows = Follows(ground.core, ground.store, ground.files, ground.state, load)
    downloads.on_followed = follows.note_job
    return follows
