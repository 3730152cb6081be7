"""How two members come to the union of what they know of their group. Pure.

Owns the comparison of roster heads (docs/protocol/membership.md): who lacks operations
asks for them, who has more sends them, with the grants that the other may lack. Rules:
an answer is one page and the asker goes on from it; each member has an allowance of
answers, so that nobody can have a whole log sent over and over. Decides nothing about
what counts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from fonshare_agent.model import NodeId
from fonshare_agent.protocol.allowance import Allowance
from fonshare_agent.protocol.epoch_duty import EpochDuty
from fonshare_agent.protocol.epochs import EpochId
from fonshare_agent.protocol.fields import HEADS_MAX
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    Grants,
    Message,
    Operations,
    RosterAsk,
)
from fonshare_agent.protocol.roster import OperationLog

ROSTER_ASK_PERIOD_S = 10.0  # what is not answered is asked for again, so often
ASK_GAP_S = 1.0  # one member is not asked more often, whatever heads it tells
ASKS_MAX = 6  # in a row that bring nothing: then only new heads make us ask again
ANSWERS_BURST, ANSWERS_PER_SECOND = 16.0, 0.5  # pages; a log of hundreds is one

Send = Callable[[EpochId, NodeId | None, Message], None]


@dataclass(slots=True)
class _Want:
    """What a member has and we lack."""

    epoch: EpochId  # that it speaks under
    heads: tuple[bytes, ...]
    due: float  # when it is to be asked (again)
    asks: int = 0  # since something came
    seen: set[bytes] = field(default_factory=set)  # what it has sent and is here


class RosterExchange:
    """One node's side of it. *send* queues a message."""

    def __init__(self, log: OperationLog, duty: EpochDuty, send: Send) -> None:
        self._log, self._duty, self._send = log, duty, send
        self._wants: dict[NodeId, _Want] = {}
        self._answers: dict[NodeId, Allowance] = {}
        self._told: dict[EpochId, tuple[float, int]] = {}  # removals: when, which page

    def compare(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> None:
        """*member*, who speaks under *epoch*, has these heads: ask, or answer."""
        if set(heads) == set(self._log.heads()):
            self._send_grants(member, epoch, now)
        elif self._lacks(heads):
            self._want(member, epoch, heads, now)
            self._send_grants(member, epoch, now)
        elif self.send_missing(member, epoch, heads, now):
            # There is more than it got: it learns from our heads that it has to ask.
            self._send(epoch, member, RosterAsk(self._log.heads()))

    def answer(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> None:
        """*member* asks for what comes after these operations."""
        if self._lacks(heads):
            self._want(member, epoch, heads, now)
        self.send_missing(member, epoch, heads, now)

    def send_missing(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> bool:
        """Send one page of what comes after *heads*, as far as they are known here.

        Tell whether there is more.
        """
        known = [head for head in heads if head in self._log]
        pages = _pages([one.raw for one in self._log.after(known)])
        if pages and self._may_answer(member, now):
            self._send(epoch, member, Operations(pages[0]))
        self._send_grants(member, epoch, now)
        return len(pages) > 1

    def note_page(self, member: NodeId, hashes: Iterable[bytes], now: float) -> None:
        """*member* has sent these operations: go on asking, if more is wanted."""
        want = self._wants.get(member)
        if want is None:
            return
        before = len(want.seen)
        want.seen.update(one for one in hashes if one in self._log)
        if not self._lacks(want.heads):
            del self._wants[member]
        elif len(want.seen) > before:
            want.asks = 0
            self._ask(member, want, now)

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
        told, page = self._told.get(epoch, (None, 0))
        if node in self._log.fold().removed and (
            told is None or now - told >= ROSTER_ASK_PERIOD_S
        ):
            pages = _pages([one.raw for one in self._log.endings_of(node)])
            self._told[epoch] = now, page + 1
            self._send(epoch, None, Operations(pages[page % len(pages)]))

    # --- asking ---

    def _lacks(self, heads: Iterable[bytes]) -> bool:
        return any(head not in self._log for head in heads)

    def _want(
        self, member: NodeId, epoch: EpochId, heads: tuple[bytes, ...], now: float
    ) -> None:
        want = self._wants.get(member)
        if want is None:
            want = self._wants[member] = _Want(epoch, heads, now)
            self._ask(member, want, now)
        elif want.heads != heads:
            want.epoch, want.heads, want.asks = epoch, heads, 0
            want.due = min(want.due, now + ASK_GAP_S)

    def _ask(self, member: NodeId, want: _Want, now: float) -> None:
        """Ask for what comes after our heads, and after what it has sent already."""
        want.due, want.asks = now + ROSTER_ASK_PERIOD_S, want.asks + 1
        own = self._log.heads()[: HEADS_MAX // 2]
        sent = self._log.heads_among(want.seen)[: HEADS_MAX // 2]
        self._send(want.epoch, member, RosterAsk(tuple(sorted({*own, *sent}))))

    def next_deadline(self) -> float | None:
        return min((one.due for one in self._wants.values()), default=None)

    def handle_timer(self, now: float) -> None:
        members = self._log.fold().members
        for member, want in list(self._wants.items()):
            is_over = member not in members or want.asks >= ASKS_MAX
            if want.due <= now and (is_over or not self._lacks(want.heads)):
                del self._wants[member]
            elif want.due <= now:
                self._ask(member, want, now)

    # --- answering ---

    def _may_answer(self, member: NodeId, now: float) -> bool:
        allowance = self._answers.get(member)
        if allowance is None:
            allowance = Allowance(now, ANSWERS_BURST, ANSWERS_PER_SECOND)
            self._answers[member] = allowance
        return allowance.take(now)

    def _send_grants(self, member: NodeId, epoch: EpochId, now: float) -> None:
        """Give *member*, who speaks under *epoch*, the keys of the epochs since."""
        if member in self._log.fold().members and epoch != self._duty.sending:
            for page in _pages(self._duty.grants_since(epoch, member)):
                if self._may_answer(member, now):
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
