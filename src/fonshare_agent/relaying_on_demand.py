"""Relaying, loaded when a relay is asked for: most nodes never need one.

Where the files are gone (a disk that was pulled) there is no relay, and it is tried
again. Core thread; reading the modules from the disk is the files thread's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.core import Worker
from fonshare_agent.errors import DiskMissing
from fonshare_agent.links.netinfo import Address
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.protocol.reach_messages import RelayAsk, RelayJoin

if TYPE_CHECKING:
    from fonshare_agent.relaying import Relaying
    from fonshare_agent.transfer.relayed import RelayWay


class RelayingOnDemand:
    """What a node asks of its relaying while there may be none."""

    def __init__(
        self, files: Worker, load: Callable[[], Callable[[], "Relaying"]]
    ) -> None:
        self._relaying = OnDemand(files, load)
        self._is_stopped = False

    async def _get(self) -> "Relaying | None":
        if self._is_stopped:
            return None
        try:
            relaying = await self._relaying.get()
        except DiskMissing:
            return None
        return None if self._is_stopped else relaying

    async def on_ask(self, group: GroupId, member: NodeId, ask: RelayAsk) -> None:
        if (relaying := await self._get()) is not None:
            relaying.on_ask(group, member, ask)

    async def on_join(self, group: GroupId, member: NodeId, ask: RelayJoin) -> None:
        if (relaying := await self._get()) is not None:
            await relaying.on_join(group, member, ask)

    async def find(
        self, group: GroupId, source: NodeId, owner: str
    ) -> "RelayWay | None":
        """Return a relay by which *source* can be read from."""
        relaying = await self._get()
        return None if relaying is None else await relaying.find(group, source, owner)

    async def call(
        self, group: GroupId, source: NodeId, addresses: tuple[Address, ...], owner: str
    ) -> "RelayWay | str":
        """Return the way by what *source* connects to our own door, or why there is
        none."""
        relaying = await self._get()
        if relaying is None:
            return "disk"
        return await relaying.call(group, source, addresses, owner)

    def forget(self, source: NodeId) -> None:
        if self._relaying.made is not None:
            self._relaying.made.forget(source)

    def note_seen(self, member: NodeId) -> None:
        """*member* has come online, or has started anew."""
        if self._relaying.made is not None:
            self._relaying.made.note_seen(member)

    def revoke_lost_rights(self) -> None:
        if self._relaying.made is not None:
            self._relaying.made.revoke_lost_rights()

    def tend(self) -> None:
        if self._relaying.made is not None:
            self._relaying.made.tend()

    def stop(self) -> None:
        """Waits: not on the core thread."""
        self._is_stopped = True
        if self._relaying.made is not None:
            self._relaying.made.stop()
