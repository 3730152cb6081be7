"""What the handlers of the control socket work with; agent.py fills it in."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fonshare_agent.channel import ControlChannel
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.downloads import Downloads
from fonshare_agent.groups import Groups
from fonshare_agent.index.scanner import Scanner
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.store import IndexStore
from fonshare_agent.index.watcher import Watcher
from fonshare_agent.invites_on_demand import InvitesOnDemand
from fonshare_agent.last_seen import LastSeen
from fonshare_agent.links.links import Links
from fonshare_agent.manners import Manners
from fonshare_agent.mirror.on_demand import MirrorsOnDemand
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.port_mapping import PortMapping
from fonshare_agent.published import Published
from fonshare_agent.reach import Reach
from fonshare_agent.social.follows import Follows
from fonshare_agent.social.ratings_on_demand import RatingsOnDemand
from fonshare_agent.ways import Ways


@dataclass(slots=True)
class Parts:
    """The running node. The handlers use it on the core thread only."""

    core: Core
    store: Worker
    files: Worker
    keys: NodeKeys
    disk: Disk
    index: IndexStore
    state: StateStore
    scanner: Scanner
    watcher: Watcher
    links: Links
    channel: ControlChannel
    groups: Groups
    seen: LastSeen
    invites: InvitesOnDemand
    published: Published
    downloads: Downloads
    follows: Follows
    ratings: RatingsOnDemand
    manners: Manners
    reach: Reach
    mapping: PortMapping
    ways: Ways
    mirrors: MirrorsOnDemand
    try_back: Callable[[GroupId, NodeId], Coroutine[Any, Any, str]]  # "" is success
