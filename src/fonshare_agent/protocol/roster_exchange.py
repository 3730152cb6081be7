"""How two members come to the union of what they know of their group. Pure.

Owns the comparison of roster heads (docs/protocol/membership.md): who lacks operations
asks for them, who has more sends them, with the grants that the other may lack. Decides
nothing about what counts.
"""

from collections.abc import Callable, Sequence

from fonshare_agent.model import NodeId
from fonshare_agent.protocol.epoch_duty import EpochDuty
from fonshare_agent.protocol.epochs import EpochId
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    Grants,
    Message,
    Operations,
    RosterAsk,
)
from fonshare_agent.protocol.roster import OperationLog

ROSTER_ASK_PERIOD_S = 10.0  # the same heads are not asked for more often

Send = Callable[[EpochId, NodeId | None, Message], None]


class RosterExchange:
    """One node's side of it. *send* queues a message."""

    def __init__(self, log: OperationLog, duty: EpochDuty, send: Send) -> None:
        self._log, self._duty, self._send = log, duty, send
        self._asked: dict[tuple[bytes, ...], float] = {}
        self._told: dict[EpochId, float] = {}  # when removals were told there

    def compare(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> None:
        """*member*, who speaks under *epoch*, has these heads: ask, or answer."""
        if set(heads) == set(self._log.heads()):
            self._send_grants(member, epoch)
            return
        if any(head not in self._log for head in heads):
            self._ask(member, epoch, heads, now)
        self.send_missing(member, epoch, heads)

    def send_missing(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...]
    ) -> None:
        """Send what comes after *heads*, as far as they are known here."""
        known = [head for head in heads if head in self._log]
        missing = [one.raw for one in self._log.after(known)]
        for page in _pages(missing):
            self._send(epoch, member, Operations(page))
        self._send_grants(member, epoch)

    def tell_all(self, epoch: EpochId | None) -> None:
        """Tell the group the newest operations; comparing heads repairs the rest."""
        if epoch is None:
            return
        newest = self._log.heads()
        heads = [one.raw for one in self._log.operations() if one.hash in newest]
        for page in _pages(heads):
            self._send(epoch, None, Operations(page))

    def tell_removed(self, node: NodeId, epoch: EpochId, now: float) -> None:
        """*node* speaks under *epoch* as if it still were a member: show its removal.

        It may be anybody with that epoch's key, so nothing else is said, and seldom.
        """
        told = self._told.get(epoch)
        if node in self._log.fold().removed and (
            told is None or now - told >= ROSTER_ASK_PERIOD_S
        ):
            self._told[epoch] = now
            for page in _pages([one.raw for one in self._log.endings_of(node)]):
                self._send(epoch, None, Operations(page))

    def _ask(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> None:
        asked = self._asked.get(heads)
        if asked is not None and now - asked < ROSTER_ASK_PERIOD_S:
            return
        self._asked = {heads: now}
        self._send(epoch, member, RosterAsk(self._log.heads()))

    def _send_grants(self, member: NodeId, epoch: EpochId) -> None:
        """Give *member*, who speaks under *epoch*, the keys of the epochs since."""
        if member in self._log.fold().members and epoch != self._duty.sending:
            for page in _pages(self._duty.grants_since(epoch, member)):
                self._send(epoch, member, Grants(page))


def _pages(raws: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Cut *raws* into pages that one message carries."""
    pages: list[tuple[bytes, ...]] = []
    page: list[bytes] = []
    size = 0
    for raw in raws:
        if page and size + len(raw) * 4 // 3 > PAGE_BYTES:
            pages.append(tuple(page))
            page, size = [], 0
        page.append(raw)
        size += len(raw) * 4 // 3 + 3
    if page:
        pages.append(tuple(page))
    return pages
