"""Answers members who ask for our files: tickets, block hashes, pushes.

A ticket is granted only for a file of a share that is published to the asker's group
now (DESIGN section 4, Content), for a copy of the catalogue of such shares, or for what
is held of a file that is fetched for a job of that group; every other case is answered
`not_here`, so that an answer tells nothing about other groups. A file without a root is
hashed first, ahead of all others. Core thread; the disk is touched by the store, the
scanner, the doors and whoever writes copies.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fonshare_agent.copies import Copies, Copy
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk, open_below
from fonshare_agent.errors import ContentChanged, StorageError, TicketRefused
from fonshare_agent.ftp.tickets import Ticket, TicketDesk, secret_hash
from fonshare_agent.holdings import Holdings
from fonshare_agent.index.records import OwnFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.links.netinfo import Address
from fonshare_agent.model import GroupId, IndexId, NodeId, Root, SharePath
from fonshare_agent.protocol.certificate import fingerprint
from fonshare_agent.protocol.content import block_size
from fonshare_agent.protocol.fields import NONCE_BYTES
from fonshare_agent.protocol.messages import (
    BlocksAsk,
    BlocksPage,
    CatalogueCopyAsk,
    JobEnded,
    Message,
    PushAsk,
    PushEnded,
    TicketAsk,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.protocol.roster import Roster
from fonshare_agent.published import Published
from fonshare_agent.transfer.worker import Push, TransferWorkers
from fonshare_agent.ways import Ways

if TYPE_CHECKING:
    from fonshare_agent.parts import Holding

log = logging.getLogger(__name__)

PAGE_HASHES = 512  # 16 KiB of hashes: the whole list of a file up to 64 MiB


@dataclass(frozen=True, slots=True)
class Outside:
    """How this node is reached: its certificate, and its friends' door's addresses as
    a peer with these addresses may use them; and which of a peer's it may dial."""

    certificate: bytes
    addresses: Callable[[tuple[Address, ...]], tuple[Address, ...]]
    dialable: Callable[[tuple[Address, ...]], tuple[Address, ...]]
    trust: Callable[[bytes], None]  # let the friends' door accept this certificate


@dataclass(frozen=True, slots=True)
class _Offered:
    """What a member may read now: a file of a share, a copy of the catalogue, or what
    is here of a file that is being fetched."""

    share: str | None  # None, as `path`: a copy, or *held*
    path: SharePath | None
    shares: frozenset[str]  # what must be published to the group for it
    root: Root
    size: int
    modified: int
    opener: Callable[[], int]
    held: "Holding | None" = None


class Granting:
    """The decider of the source's side."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        index: IndexStore,
        disk: Disk,
        copies: Copies,
        holdings: Holdings,
        desk: TicketDesk,
        workers: TransferWorkers,
        published: Published,
        roster: Callable[[GroupId], Roster],
        hash_soon: Callable[[str, SharePath], None],
        send: Callable[[GroupId, NodeId | None, Message], bool],
        outside: Outside,
        ways: Ways,
        draw: Callable[[int], bytes],
        on_changed: Callable[[bytes], None],
    ) -> None:
        self._on_changed = on_changed
        self._core, self._store, self._index = core, store, index
        self._disk, self._desk, self._workers = disk, desk, workers
        self._copies, self._holdings = copies, holdings
        self._published, self._roster = published, roster
        self._hash_soon, self._send = hash_soon, send
        self._outside, self._ways, self._draw = outside, ways, draw

    def is_allowed(self, ticket: Ticket) -> bool:
        """Tell whether *ticket* may be used now: any thread, at every RETR and STOR."""
        snapshot = self._published.snapshot
        if ticket.direction == "write":
            return snapshot.is_member(ticket.group, ticket.peer)
        shares = ticket.copy_of if ticket.share is None else (ticket.share,)
        return snapshot.allows(ticket.group, ticket.peer, *shares)

    def revoke_lost_rights(self) -> None:
        """End what rosters and shares no longer allow; within a second of a change."""
        self._desk.revoke(lambda ticket: not self.is_allowed(ticket))

    # --- tickets ---

    async def on_ticket_ask(
        self, group: GroupId, member: NodeId, ask: TicketAsk
    ) -> None:
        try:
            answer = await self._answer(group, member, ask)
        except StorageError as error:
            log.warning("a ticket could not be granted: %s", error.code)
            answer = TicketRefuse(ask.request, "disk")
        except TicketRefused:
            answer = TicketRefuse(ask.request, "busy")
        self._send(group, member, answer)

    async def _answer(
        self, group: GroupId, member: NodeId, ask: TicketAsk
    ) -> TicketGrant | TicketRefuse:
        if ask.share is None or ask.path is None:
            return await self._answer_held(group, member, ask)
        own = await self._store.run(self._index.own_file, group, ask.share, ask.path)
        if own is None or not self._published.snapshot.allows(group, member, ask.share):
            return TicketRefuse(ask.request, "not_here")
        await self.demand_disk()
        if own.root is None:
            self._hash_soon(ask.share, ask.path)
            return TicketRefuse(ask.request, "hashing")
        if ask.root is not None and ask.root != own.root:
            return TicketRefuse(ask.request, "changed")
        if not self.is_own_certificate(group, member, ask.certificate):
            return TicketRefuse(ask.request, "not_here")
        hashes = await self._store.run(self._index.blocks, own.root, 0, PAGE_HASHES)
        return self._grant(group, member, ask, self._offer(own, own.root), hashes)

    async def _answer_held(
        self, group: GroupId, member: NodeId, ask: TicketAsk
    ) -> TicketGrant | TicketRefuse:
        """Grant what is here of content that is being fetched for that very group."""
        is_own = self.is_own_certificate(group, member, ask.certificate)
        holding = self._holdings.find(group, Root(ask.root)) if ask.root else None
        if holding is None or not holding.is_serving or not is_own:
            return TicketRefuse(ask.request, "not_here")
        await self.demand_disk()
        hashes = holding.hashes(0, PAGE_HASHES)
        return self._grant(group, member, ask, _offer_held(holding), hashes)

    async def demand_disk(self) -> None:
        """Raise StorageError without a disk: else the ticket would be for nothing."""
        await self._store.run(self._disk.check)

    async def on_copy_ask(
        self, group: GroupId, member: NodeId, ask: CatalogueCopyAsk
    ) -> None:
        """Grant a copy of our catalogue for *group*, once it is written."""
        self._send(group, member, await self._answer_copy(group, member, ask))

    async def _answer_copy(
        self, group: GroupId, member: NodeId, ask: CatalogueCopyAsk
    ) -> TicketGrant | TicketRefuse:
        if not self.is_own_certificate(group, member, ask.certificate):
            return TicketRefuse(ask.request, "not_here")
        try:
            copy = await self._copies.get(
                group,
                IndexId(ask.index_id),
                ask.after,
                lambda copy: self._allows(group, member, copy.shares),
            )
            if isinstance(copy, str):
                return TicketRefuse(ask.request, copy)
            hashes = copy.file.hashes[:PAGE_HASHES]
            return self._grant(group, member, ask, self._offer_copy(copy), hashes)
        except StorageError as error:
            log.warning("a copy could not be granted: %s", error.code)
            return TicketRefuse(ask.request, "disk")
        except TicketRefused:
            return TicketRefuse(ask.request, "busy")

    def _allows(self, group: GroupId, member: NodeId, shares: Iterable[str]) -> bool:
        return self._published.snapshot.allows(group, member, *shares)

    def _offer(self, own: OwnFile, root: Root) -> _Offered:
        return _Offered(
            own.share,
            own.path,
            frozenset([own.share]),
            root,
            own.stamp.size,
            own.stamp.mtime_ns // 1_000_000_000,
            self.opener(own),
        )

    def _offer_copy(self, copy: Copy) -> _Offered:
        return _Offered(
            None,
            None,
            copy.shares,
            copy.file.root,
            copy.file.size,
            0,
            lambda: self._copies.open_file(copy),
        )

    def _grant(
        self,
        group: GroupId,
        member: NodeId,
        ask: TicketAsk | CatalogueCopyAsk,
        offered: _Offered,
        hashes: Iterable[bytes],
    ) -> TicketGrant | TicketRefuse:
        if not self._allows(group, member, offered.shares):
            return TicketRefuse(ask.request, "not_here")  # since a moment ago
        self._outside.trust(ask.certificate)
        secret, ticket_id = self._draw(NONCE_BYTES), self._draw(NONCE_BYTES)
        # A job reads one file after another: its ticket before this one is done with.
        self.retire(group, member, ask.job)
        self._desk.grant(_ticket(group, member, ask, offered, ticket_id, secret))
        return TicketGrant(
            ask.request,
            ticket_id,
            secret,
            self._outside.certificate,
            self._outside.addresses(ask.addresses),
            offered.root,
            offered.size,
            offered.modified,
            tuple(hashes),
        )

    def is_own_certificate(
        self, group: GroupId, member: NodeId, certificate: bytes
    ) -> bool:
        """Tell whether *certificate* is the one that the member's statement names."""
        known = self._roster(group).members.get(member)
        return known is not None and (
            fingerprint(certificate) == known.statement.tls_fingerprint
        )

    def opener(self, own: OwnFile) -> Callable[[], int]:
        """Return what opens the file below the disk without following a link.

        ContentChanged if it is not the file any more whose root was granted: it is
        looked at soon, since the index does not know (inotify tells no truncation).
        """
        shares = self._published.shares
        folder = next(one for one in shares if one.name == own.share).path
        below = os.fsencode(folder.relative_to(self._disk.path))
        parts = tuple(part for part in below.split(b"/") if part not in (b"", b"."))
        whole = SharePath((*parts, *own.path.parts))

        def open_file() -> int:
            root = self._disk.open_root()
            try:
                opened = open_below(root, whole, os.O_RDONLY)
            finally:
                os.close(root)
            if not own.stamp.fits(os.fstat(opened)):
                os.close(opened)
                self._on_changed(os.path.join(os.fsencode(folder), *own.path.parts))
                raise ContentChanged("the file is not the one that was granted")
            return opened

        return open_file

    async def on_blocks_ask(
        self, group: GroupId, member: NodeId, ask: BlocksAsk
    ) -> None:
        offered = await self._find(group, member, ask)
        if offered is None:
            self._send(group, member, TicketRefuse(ask.request, "not_here"))
            return
        page = await self._hashes(group, offered, ask.first)
        answer = BlocksPage(ask.request, offered.root, ask.first, tuple(page))
        self._send(group, member, answer)

    async def _find(
        self, group: GroupId, member: NodeId, ask: BlocksAsk | PushAsk
    ) -> _Offered | None:
        """Return what *ask* means if *member* may have it and it is still that."""
        if ask.share is None or ask.path is None:
            copy = self._copies.find(group, ask.root)
            holding = self._holdings.find(group, Root(ask.root))
            offered = self._offer_copy(copy) if copy is not None else None
            if offered is None and holding is not None and holding.is_serving:
                offered = _offer_held(holding)
        else:
            own = await self._store.run(
                self._index.own_file, group, ask.share, ask.path
            )
            is_same = own is not None and own.root == ask.root
            offered = self._offer(own, Root(ask.root)) if own and is_same else None
        if offered is None or not self._allows(group, member, offered.shares):
            return None
        return offered

    async def _hashes(
        self, group: GroupId, offered: _Offered, first: int
    ) -> Sequence[bytes]:
        if offered.held is not None:
            return offered.held.hashes(first, PAGE_HASHES)
        if offered.share is None:
            copy = self._copies.find(group, offered.root)
            return copy.file.hashes[first : first + PAGE_HASHES] if copy else ()
        return await self._store.run(
            self._index.blocks, offered.root, first, PAGE_HASHES
        )

    def on_job_ended(self, group: GroupId, member: NodeId, ended: JobEnded) -> None:
        """The asker needs that job's tickets no more."""
        self.retire(group, member, ended.job)

    def retire(self, group: GroupId, member: NodeId, job: str) -> None:
        """End the tickets by which *member* reads for that job of its own."""
        wish = (group, member, job)
        self._desk.retire(
            lambda t: (t.group, t.peer, t.job) == wish and t.direction == "read"
        )

    # --- pushes ---

    async def on_push_ask(self, group: GroupId, member: NodeId, ask: PushAsk) -> None:
        """Write the bytes asked for to the asker's friends' door."""
        offered = await self._find(group, member, ask)
        known = self._roster(group).members.get(member)
        held = offered.held if offered is not None else None
        is_here = held is None or held.may_push(ask.first, min(ask.end, held.size))
        if offered is None or known is None or not is_here:
            self._send(group, member, PushEnded(ask.request, "not_here"))
            return
        reason = await self._workers.push(
            Push(
                ticket=ask.ticket,
                secret=ask.secret,
                addresses=self._outside.dialable(ask.addresses),
                peer_fingerprint=known.statement.tls_fingerprint,
                opener=offered.opener,
                first=ask.first,
                end=min(ask.end, offered.size),
                is_allowed=lambda: self._allows(group, member, offered.shares),
            )
        )
        if reason in ("", "unreachable"):
            self._ways.note_outward(member, not reason)
        self._send(group, member, PushEnded(ask.request, reason))


def _ticket(
    group: GroupId,
    member: NodeId,
    ask: TicketAsk | CatalogueCopyAsk,
    offered: _Offered,
    ticket_id: bytes,
    secret: bytes,
) -> Ticket:
    return Ticket(
        id=ticket_id,
        secret_hash=secret_hash(secret),
        peer=member,
        peer_fingerprint=fingerprint(ask.certificate),
        group=group,
        job=ask.job,
        share=offered.share,
        path=offered.path,
        direction="read",
        size=offered.size,
        root=offered.root,
        block_size=block_size(offered.size),
        opener=offered.opener,
        copy_of=offered.shares if offered.share is None else frozenset(),
        held=offered.held,
    )


def _offer_held(holding: "Holding") -> _Offered:
    root, size = holding.root, holding.size
    return _Offered(None, None, frozenset(), root, size, 0, holding.open_file, holding)
