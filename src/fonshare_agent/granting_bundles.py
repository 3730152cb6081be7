"""Answers members who ask for many small files at once, by one ticket for all of them.

Each file is judged as for a ticket of its own (granting.py), and what cannot be had is
said file by file: it costs the others nothing. Core thread; the store is asked for a
few files at a time, so that others have their turn in between.
"""

import logging
from collections.abc import Callable, Sequence

from fonshare_agent.core import Worker
from fonshare_agent.errors import StorageError, TicketRefused
from fonshare_agent.ftp.tickets import Bundle, Ticket, TicketDesk, secret_hash
from fonshare_agent.granting import Granting, Outside
from fonshare_agent.index.records import OwnFile
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.protocol.certificate import fingerprint
from fonshare_agent.protocol.content import BUNDLE_BYTES_MAX, BUNDLED_BYTES_MAX
from fonshare_agent.protocol.fields import NONCE_BYTES
from fonshare_agent.protocol.messages import (
    BundleAsk,
    BundleGrant,
    BundlePart,
    BundleWish,
    Message,
    TicketRefuse,
)
from fonshare_agent.published import Published

log = logging.getLogger(__name__)

AT_ONCE = 32  # files looked up by one visit to the store


class BundleGranting:
    """The decider of the source's side for bundles."""

    def __init__(
        self,
        granting: Granting,
        store: Worker,
        index: IndexStore,
        desk: TicketDesk,
        published: Published,
        hash_soon: Callable[[str, SharePath], None],
        send: Callable[[GroupId, NodeId | None, Message], bool],
        outside: Outside,
        draw: Callable[[int], bytes],
    ) -> None:
        self._granting, self._store, self._index = granting, store, index
        self._desk, self._published = desk, published
        self._hash_soon, self._send = hash_soon, send
        self._outside, self._draw = outside, draw

    async def on_bundle_ask(
        self, group: GroupId, member: NodeId, ask: BundleAsk
    ) -> None:
        try:
            answer = await self._answer(group, member, ask)
        except StorageError as error:
            log.warning("a bundle could not be granted: %s", error.code)
            answer = TicketRefuse(ask.request, "disk")
        except TicketRefused:
            answer = TicketRefuse(ask.request, "busy")
        self._send(group, member, answer)

    async def _answer(
        self, group: GroupId, member: NodeId, ask: BundleAsk
    ) -> BundleGrant | TicketRefuse:
        is_own = self._granting.is_own_certificate(group, member, ask.certificate)
        if not is_own or not self._published.snapshot.allows(group, member, ask.share):
            return TicketRefuse(ask.request, "not_here")
        parts, granted = await self._judge(group, ask)
        if granted:
            await self._granting.demand_disk()
        if not self._published.snapshot.allows(group, member, ask.share):
            # Asked again: the lookups took a while.
            return TicketRefuse(ask.request, "not_here")
        secret, ticket_id = self._draw(NONCE_BYTES), self._draw(NONCE_BYTES)
        self._granting.retire(group, member, ask.job)
        if granted:
            self._outside.trust(ask.certificate)
            bundle = self._bundle(granted)
            self._desk.grant(_ticket(group, member, ask, bundle, ticket_id, secret))
        return BundleGrant(
            ask.request,
            ticket_id,
            secret,
            self._outside.certificate,
            self._outside.addresses(ask.addresses),
            tuple(parts),
        )

    async def _judge(
        self, group: GroupId, ask: BundleAsk
    ) -> tuple[list[BundlePart], list[OwnFile]]:
        """Return the answer for each wish, and the files of those that are granted."""
        parts: list[BundlePart] = []
        granted: list[OwnFile] = []
        room = BUNDLE_BYTES_MAX
        for first in range(0, len(ask.files), AT_ONCE):
            wishes = ask.files[first : first + AT_ONCE]
            found = await self._store.run(self._look_up, group, ask.share, wishes)
            for wish, own in zip(wishes, found, strict=True):
                part = self._judge_one(ask.share, wish, own, room)
                parts.append(part)
                if own is not None and not part.reason:
                    granted.append(own)
                    room -= part.size
        return parts, granted

    def _look_up(
        self, group: GroupId, share: str, wishes: Sequence[BundleWish]
    ) -> list[OwnFile | None]:
        """On the store thread."""
        return [self._index.own_file(group, share, wish.path) for wish in wishes]

    def _judge_one(
        self, share: str, wish: BundleWish, own: OwnFile | None, room: int
    ) -> BundlePart:
        if own is None:
            return BundlePart("not_here")
        if own.root is None:
            self._hash_soon(share, wish.path)
            return BundlePart("hashing")
        if wish.root not in (None, own.root):
            return BundlePart("changed")
        if own.stamp.size > min(BUNDLED_BYTES_MAX, room):
            return BundlePart("alone")
        return BundlePart(
            "", own.stamp.size, own.stamp.mtime_ns // 1_000_000_000, own.root
        )

    def _bundle(self, files: list[OwnFile]) -> Bundle:
        openers = [self._granting.opener(one) for one in files]
        sizes = tuple(one.stamp.size for one in files)
        return Bundle(sizes, lambda index: openers[index]())


def _ticket(
    group: GroupId,
    member: NodeId,
    ask: BundleAsk,
    bundle: Bundle,
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
        share=ask.share,
        path=ask.files[0].path,
        direction="read",
        size=sum(bundle.sizes),
        root=None,
        block_size=0,
        opener=lambda: bundle.open_part(0),
        bundle=bundle,
    )
