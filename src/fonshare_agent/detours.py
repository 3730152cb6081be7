"""How a member is read from to whom no connection from here comes about.

By connections that it makes itself, to our own friends' door (a *call*), if it can make
any; else by a relay, if some third member is one. Either way the session is the
ordinary one, and so is all that can be read by it. Core thread; connections belong to
threads that may wait.
"""

from typing import TYPE_CHECKING

from fonshare_agent.links.netinfo import Address
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.relaying_on_demand import RelayingOnDemand
from fonshare_agent.ways import Ways

if TYPE_CHECKING:
    from fonshare_agent.transfer.relayed import RelayWay


class Detours:
    """See the module's text."""

    def __init__(self, ways: Ways, relaying: RelayingOnDemand) -> None:
        self._ways, self._relaying = ways, relaying

    def is_pusher(self, source: NodeId) -> bool:
        """Tell whether only *source* itself can make the connection, it seems."""
        return self._ways.is_pusher(source)

    def is_cut_off(self, source: NodeId) -> bool:
        """Tell whether only a relay leads to *source*, it seems."""
        return self._ways.is_cut_off(source)

    def is_needed(self, source: NodeId) -> bool:
        """Tell whether no connection from here to *source* comes about, it seems."""
        return self.is_pusher(source) or self.is_cut_off(source)

    async def find(
        self,
        group: GroupId,
        source: NodeId,
        addresses: tuple[Address, ...],
        owner: str,
        *,
        may_relay: bool = True,
    ) -> "RelayWay | None":
        """Return a way by which *source*, which has shown *addresses*, can be read
        from; *owner* asks. None if there is none, or none is needed."""
        if self.is_pusher(source):
            way = await self._relaying.call(group, source, addresses, owner)
            if not isinstance(way, str):
                return way
            if way == "unreachable":
                self.note_no_push(source)
        if may_relay and self.is_cut_off(source):
            return await self._relaying.find(group, source, owner)
        return None

    def forget(self, source: NodeId) -> None:
        """What was found for *source* is of no use any more."""
        self._relaying.forget(source)

    def note_knock(self, source: NodeId, reason: str) -> None:
        """Remember whether *source* was reached by an attempt that ended so."""
        if reason in ("", "unreachable"):
            self._ways.note_outward(source, not reason)

    def note_no_push(self, source: NodeId) -> None:
        """*source* could not connect to this node, either."""
        self._ways.note_inward(source, False)
