"""Tries, when a member asks, whether that member's friends' door is reached from here.

And asks others to try this node's. The try is a connection with TLS and the pinned
certificate; no ticket is used and nothing is read. Then, if the member listens at a
data port meanwhile, that one is tried, at the same host. Dialled are only addresses
that a ticket could name, one try a member at a time, and not more often than every few
seconds. Core thread; the connections belong to a transfer worker, the data port that
is listened at to a thread of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.granting import Outside
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.messages import Message
from fonshare_agent.protocol.reach_messages import ReachAnswer, ReachAsk
from fonshare_agent.protocol.roster import Roster
from fonshare_agent.transfer.data_try import DataListener
from fonshare_agent.transfer.wire import Address
from fonshare_agent.transfer.worker import Knock, TransferWorkers
from fonshare_agent.ways import Ways

PAUSE_S: Final = 5.0  # between two tries for one member
ANSWER_S: Final = 12.0  # a try may take six seconds, of a data port six more
UNTRIED: Final = "door"  # the door is reached; no data port was tried
WAY_KNOWN: Final = ("", UNTRIED, "unreachable", "data")  # what tells of the way here


@dataclass(frozen=True, slots=True)
class DataPorts:
    """Which data ports of ours transfers use, and where a peer finds one of them."""

    bound: str  # the one address of our doors; "" if they listen on all
    ports: Callable[[], Sequence[int]]
    addresses: Callable[[int], tuple[Address, ...]]


class _Tried:
    """A data port of ours while a friend is asked to try it."""

    def __init__(self, core: Core, listener: DataListener) -> None:
        self._core, self._listener = core, listener
        self._worker = Worker("data-try", core)
        self._served: Promise[None] | None = None
        self._worker.start()

    def begin(self, request: bytes) -> None:
        clock = self._core.clock
        self._served = self._worker.run(
            self._listener.serve, request, clock, clock() + ANSWER_S
        )

    async def end(self) -> bool:
        """Close the port; tell whether the friend was there."""
        self._listener.close()
        self._worker.dismiss()
        if self._served is None:
            self._listener.discard()
        else:
            await self._served
        return self._listener.was_tried


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
        data: DataPorts,
    ) -> None:
        self._core, self._workers, self._asking = core, workers, asking
        self._roster, self._send = roster, send
        self._outside, self._ways, self._data = outside, ways, data
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
                self._outside.dialable(ask.data),
                ask.request,
            )
        )
        self._ways.note_outward(member, not reason)
        self._send(group, member, ReachAnswer(ask.request, reason))

    async def ask(self, group: GroupId, member: NodeId) -> str:
        """Have *member* try this node; return "", why not, or "peer.silent".

        "door" if the door is reached and no data port was tried, as by older nodes.
        """
        addresses = self._outside.addresses(())
        if not addresses:
            return "unreachable"
        reason = await self._ask(group, member, addresses)
        if reason in WAY_KNOWN:
            self._ways.note_inward(member, reason in ("", UNTRIED))
        return reason

    async def _ask(
        self, group: GroupId, member: NodeId, addresses: tuple[Address, ...]
    ) -> str:
        listener = DataListener.open(self._data.bound, self._data.ports())
        tried = _Tried(self._core, listener) if listener is not None else None
        data = self._data.addresses(listener.port) if listener is not None else ()

        def question(request: bytes) -> ReachAsk:
            if tried is not None:
                tried.begin(request)
            return ReachAsk(request, addresses, data)

        is_tried = False
        try:
            answer = await self._asking.ask(group, member, question, timeout_s=ANSWER_S)
        except NoAnswer:
            return NoAnswer.code
        finally:
            if tried is not None:
                is_tried = await tried.end()
        if not isinstance(answer, ReachAnswer):
            return NoAnswer.code
        return answer.reason or ("" if is_tried else UNTRIED)
