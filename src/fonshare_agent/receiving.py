"""Lets a source push what this node cannot pull (docs/protocol/transfer.md, Push).

Grants a write ticket for the missing stretch, asks the source to use it, and follows
what arrives. Nothing that is written counts before the partial has verified it. Core
thread, but for `_Arrivals.note`. Must not know jobs.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from fonshare_agent.asking import Asking
from fonshare_agent.ftp.tickets import Ticket, TicketDesk, secret_hash
from fonshare_agent.granting import Outside
from fonshare_agent.model import GroupId, NodeId, Root, SharePath
from fonshare_agent.protocol.certificate import fingerprint
from fonshare_agent.protocol.content import block_size
from fonshare_agent.protocol.fields import NONCE_BYTES
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import PushAsk, PushEnded, TicketGrant
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.watch import Watch

log = logging.getLogger(__name__)

PUSH_TIMEOUT_S = 30.0  # without a byte: the other side cannot reach us either
ENDED_S = 5.0  # after its session has ended a push tells why, if its node still can
LOOK_S = 0.5  # how soon a cancelled push lets go


@dataclass(frozen=True, slots=True)
class Granted:
    """Content at a source, as the source has granted it to be read.

    Share and path are the source's own; without them it is a copy of its catalogue, or
    (*is_held*) what it holds of content that it fetches itself.
    """

    group: GroupId
    source: NodeId
    owner: str  # the job, as this node has it
    job: str  # as the source is told
    share: str | None
    path: SharePath | None
    grant: TicketGrant
    is_held: bool = False

    @property
    def root(self) -> Root:
        return Root(self.grant.root)

    @property
    def is_copy(self) -> bool:
        return self.share is None and not self.is_held


def shows_own_certificate(
    machine: GroupMachine, source: NodeId, grant: TicketGrant
) -> bool:
    """Tell whether the certificate is *source*'s: it may get a ticket for writing."""
    member = machine.roster.members.get(source)
    return member is not None and (
        fingerprint(grant.certificate) == member.statement.tls_fingerprint
    )


def has_all(kept: Partial, first: int, end: int) -> bool:
    """Tell whether all bytes from *first* to *end* are verified."""
    size = kept.content.block_size
    return all(map(kept.has, range(first // size, -(-end // size))))


def missing_range(kept: Partial) -> tuple[int, int]:
    """Return the bytes (first, end) from the first missing one to the last."""
    gaps = kept.gaps()
    if not gaps:
        return 0, 0
    offset, length = kept.content.range(gaps[-1][1] - 1)
    return kept.content.range(gaps[0][0])[0], offset + length


class Receiver:
    """One push a call of `receive`; several run side by side."""

    def __init__(
        self,
        desk: TicketDesk,
        asking: Asking,
        outside: Outside,
        clock: Callable[[], float],
        draw: Callable[[int], bytes],
    ) -> None:
        self._desk, self._asking, self._outside = desk, asking, outside
        self._clock, self._draw = clock, draw

    async def receive(
        self, wanted: Granted, kept: Partial, watch: Watch, span: tuple[int, int]
    ) -> str:
        """Have the bytes of *span* pushed, which begins and ends with blocks.

        Returns why it ended, "" if all were sent.
        """
        if not self._outside.addresses(wanted.grant.addresses):
            return "unreachable"
        self._outside.trust(wanted.grant.certificate)
        ticket_id, secret = self._draw(NONCE_BYTES), self._draw(NONCE_BYTES)
        arrivals = _Arrivals(kept, watch, self._clock, lambda: self._is_live(ticket_id))
        self._desk.grant(_write_ticket(wanted, ticket_id, secret, arrivals))
        try:
            answer = await self._asking.ask(
                wanted.group,
                wanted.source,
                self._question(wanted, span, ticket_id, secret),
                timeout_s=LOOK_S,
                is_alive=arrivals.may_go_on,
                owner=wanted.owner,
            )
        finally:
            self._desk.retire(lambda ticket: ticket.id == ticket_id)
        if has_all(kept, *span):
            return ""
        return answer.reason if isinstance(answer, PushEnded) else "source.lost"

    def _is_live(self, ticket_id: bytes) -> bool:
        return any(ticket.id == ticket_id for ticket in self._desk.live())

    def _question(
        self, wanted: Granted, span: tuple[int, int], ticket_id: bytes, secret: bytes
    ) -> Callable[[bytes], PushAsk]:
        return lambda request: PushAsk(
            request,
            wanted.job,
            wanted.share,
            wanted.path,
            wanted.root,
            ticket_id,
            secret,
            self._outside.addresses(wanted.grant.addresses),
            *span,
        )


def _write_ticket(
    wanted: Granted, ticket_id: bytes, secret: bytes, arrivals: "_Arrivals"
) -> Ticket:
    return Ticket(
        id=ticket_id,
        secret_hash=secret_hash(secret),
        peer=wanted.source,
        peer_fingerprint=fingerprint(wanted.grant.certificate),
        group=wanted.group,
        job=wanted.job,
        share=wanted.share,
        path=wanted.path,
        direction="write",
        size=wanted.grant.size,
        root=wanted.root,
        block_size=block_size(wanted.grant.size),
        opener=arrivals.kept.open_for_writing,
        writing=arrivals.kept.writing,
        on_written=arrivals.note,
    )


class _Arrivals:
    """What a push has brought so far, and since when nothing came."""

    def __init__(
        self,
        kept: Partial,
        watch: Watch,
        clock: Callable[[], float],
        is_live: Callable[[], bool],
    ) -> None:
        self.kept, self._is_live = kept, is_live
        self._watch, self._clock = watch, clock
        self._moved_at = clock()

    def note(self, offset: int, length: int) -> None:
        """Verify what a stretch completes. On a worker of the FTP server's."""
        # A block may take minutes on a slow line: bytes count as life, not blocks.
        self._moved_at = self._clock()
        for index in self.kept.verify_written(offset, length):
            log.warning("a pushed block came wrong: %d", index)
        self._watch.done_bytes = self.kept.done_bytes

    def may_go_on(self) -> bool:
        """Tell whether to wait on: nobody has cancelled, and something comes."""
        silent_s = self._clock() - self._moved_at
        limit_s = PUSH_TIMEOUT_S if self._is_live() else ENDED_S
        return not self._watch.is_cancelled and silent_s < limit_s
