"""Tries, when a member asks, whether that member's friends' door is reached from here.

And asks others to try this node's. The try is a connection with TLS and the pinned
certificate; no ticket is used and nothing is read. Dialled are only addresses that a
ticket could name, one try a member at a time, and not more often than every few
seconds. Core thread; the connection belongs to a transfer worker.
"""

from collections.abc import Callable
from typing import Final

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.core import Core
from fonshare_agent.granting import Outside
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.messages import Message
from fonshare_agent.protocol.reach_messages import ReachAnswer, ReachAsk
from fonshare_agent.protocol.roster import Roster
from fonshare_agent.transfer.worker import Knock, TransferWorkers
from fonshare_agent.ways import Ways

PAUSE_S: Final = 5.0  # between two tries for one member
ANSWER_S: Final = 12.0  # a try may take six seconds


class TryingBack:
    """Both sides of `reach_ask` (docs/protocol/transfer.md, Trying back)."""

    def __init__(
        self,
        core: Core,
        workers: TransferWorkers,
        asking: Asking,
        roster: Callable[[GroupId], Roster],
        send: Callable[[GroupId, NodeId | None, Message], bool],
        outside: Outside,
        ways: Ways,
    ) -> None:
        self._core, self._workers, self._asking = core, workers, asking
        self._roster, self._send = roster, send
        self._outside, self._ways = outside, ways
        self._tried_at: dict[NodeId, float] = {}

    async def on_ask(self, group: GroupId, member: NodeId, ask: ReachAsk) -> None:
        """Try the addresses that *member* names, and say how it went."""
        now, known = self._core.clock(), self._roster(group).members.get(member)
        if known is None or now - self._tried_at.get(member, -PAUSE_S) < PAUSE_S:
            self._send(group, member, ReachAnswer(ask.request, "busy"))
            return
        self._tried_at[member] = now
        reason = await self._workers.knock(
            Knock(
                self._outside.dialable(ask.addresses),
                known.statement.tls_fingerprint,
            )
        )
        self._ways.note_outward(member, not reason)
        self._send(group, member, ReachAnswer(ask.request, reason))

    async def ask(self, group: GroupId, member: NodeId) -> str:
        """Have *member* try this node; return "", why not, or "peer.silent"."""
        addresses = self._outside.addresses(())
        if not addresses:
            return "unreachable"
        try:
            answer = await self._asking.ask(
                group,
                member,
                lambda request: ReachAsk(request, addresses),
                timeout_s=ANSWER_S,
            )
        except NoAnswer:
            return NoAnswer.code
        if not isinstance(answer, ReachAnswer):
            return NoAnswer.code
        if answer.reason in ("", "unreachable"):
            self._ways.note_inward(member, not answer.reason)
        return answer.reason
