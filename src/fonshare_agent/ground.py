"""What every part of a node stands on; node.py makes it first."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.store import IndexStore
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.settings import Settings


@dataclass(frozen=True, slots=True)
class Ground:
    """Settings, threads, keys, disk and stores of one running node."""

    settings: Settings
    core: Core
    keys: NodeKeys
    disk: Disk
    draw: Callable[[int], bytes] = field(repr=False)  # random bytes
    store: Worker  # all SQL
    files: Worker  # memberships, partials, settings
    crypto: Worker
    closer: Worker  # what may block while it ends
    index: IndexStore
    state: StateStore
