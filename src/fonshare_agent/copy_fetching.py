"""Fetches copies of members' catalogues and takes them page by page.

Asks a member for a copy (docs/protocol/catalogue.md), has its blocks brought into a
hidden partial, and hands each page of what is verified to whoever wants it, also when
the transfer broke off: what was taken is not needed again. One copy at a time; nobody
waits in line, since pages come over the control channel meanwhile, and no member keeps
the place for ever. Core thread; must not know what is done with a page.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Final

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.bringing import Bringer
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import BadContent, StorageError
from fonshare_agent.granting import Outside
from fonshare_agent.model import GroupId, IndexId, NodeId, Root, base32
from fonshare_agent.protocol.catalogue_copy import COPY_BYTES_MAX
from fonshare_agent.protocol.fields import BadMessage
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.messages import (
    CatalogueCopyAsk,
    CatalogueDelta,
    JobEnded,
    Message,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.receiving import Granted, shows_own_certificate
from fonshare_agent.transfer.copy_files import CopyReader
from fonshare_agent.transfer.disk_errors import demand_room
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.partial_files import (
    COPY_PREFIX,
    discard_partials,
    list_copies,
)
from fonshare_agent.transfer.worker import reason_of
from fonshare_agent.watch import Watch

log = logging.getLogger(__name__)

COPYING_RETRY_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
COPYING_TRIES: Final = 240  # an hour: a million entries on the slowest router
LOOK_S: Final = 60.0
BYTES_A_LOOK: Final = 64 * 1024  # slower than that, pages are no worse
TURN_LOOKS: Final = 30  # then others may have the place; what came stays
KEPT_S: Final = 2 * 3600.0  # of an unfinished copy; longer than any pause before more
STOP_S: Final = 8.0  # a disk that hangs is not waited for
PAGE_ROOM_BYTES: Final = 1024 * 1024  # what a page and its index may take of the disk
KEPT_AFTER: Final = frozenset({"source.lost", "source.silent"})  # it may go on soon
NOT_NOW: Final = frozenset({"copying", "busy", "disk", "disk.missing"})

Take = Callable[[CatalogueDelta], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class _Wish:
    group: GroupId
    member: NodeId
    index_id: IndexId
    after: int
    take: Take

    @property
    def id(self) -> str:
        """The name of its partial: the same after a restart."""
        return COPY_PREFIX + base32(sha256(self.group + self.member).digest()[:10])


class CopyFetcher:
    """See the module's text."""

    def __init__(
        self,
        core: Core,
        files: Worker,
        disk: Disk,
        bringer: Bringer,
        asking: Asking,
        machine: Callable[[GroupId], GroupMachine | None],
        send: Callable[[GroupId, NodeId | None, Message], bool],
        outside: Outside,
    ) -> None:
        self._core, self._files, self._disk = core, files, disk
        self._bringer, self._asking = bringer, asking
        self._machine, self._send, self._outside = machine, send, outside
        self._running: _Wish | None = None
        self._watch = Watch()
        self._used_at: dict[str, float] = {}  # when each partial was last needed
        self._is_stopped = False

    async def fetch(
        self, group: GroupId, member: NodeId, index_id: IndexId, after: int, take: Take
    ) -> str:
        """Give *take* the pages after *after*; return why that ended, "" at the end.

        *take* returns the number it has reached, or None if it wants no more.
        """
        wish = _Wish(group, member, index_id, after, take)
        for number in range(COPYING_TRIES):
            if self._running is not None or self._is_stopped:
                return "busy"
            self._running, self._watch = wish, Watch(self._on_begun)
            try:
                reason = await self._fetch(wish)
            finally:
                self._running = None
            if reason != "copying":
                return reason
            # The place is free meanwhile: who says so for ever holds nobody up.
            last = len(COPYING_RETRY_S) - 1
            await self._core.sleep(COPYING_RETRY_S[min(number, last)])
        return "copying"

    def can_ask(self, group: GroupId, member: NodeId) -> bool:
        """Tell whether *member* would hear us now."""
        machine = self._machine(group)
        return machine is not None and machine.peers.can_be_asked(member)

    def cancel(self, group: GroupId, member: NodeId) -> None:
        """Nobody wants that member's catalogue any more."""
        running = self._running
        if running is not None and (running.group, running.member) == (group, member):
            self._watch.is_cancelled = True

    async def stop(self) -> None:
        """Let go of the disk; what has come is used at the next start."""
        self._is_stopped = self._watch.is_cancelled = True
        until = self._core.clock() + STOP_S
        while self._running is not None and self._core.clock() < until:
            await self._core.sleep(0.02)

    async def keep_partials(self) -> None:
        """After a start: what is not asked for soon goes."""
        for one in await self._files.run(list_copies, self._disk):
            self._discard_later(one)

    # --- one copy ---

    async def _fetch(self, wish: _Wish) -> str:
        try:
            reason = await self._fetch_granted(wish)
        except NoAnswer:
            reason = "source.silent"
        except (BadContent, BadMessage) as error:
            log.warning("a member's copy is refused: %s", error)
            reason = "source.corrupt"
        except StorageError as error:
            reason = reason_of(error)
        if reason in KEPT_AFTER or self._is_stopped:
            self._discard_later(wish.id)
        elif reason not in NOT_NOW:
            await self._files.run(discard_partials, self._disk, wish.id)
        return reason

    async def _fetch_granted(self, wish: _Wish) -> str:
        machine = self._machine(wish.group)
        if machine is None:
            return "source.silent"
        grant = await self._ask(wish)
        if isinstance(grant, TicketRefuse):
            return grant.reason
        if not isinstance(grant, TicketGrant) or not 0 < grant.size <= COPY_BYTES_MAX:
            return "source.corrupt"
        if not shows_own_certificate(machine, wish.member, grant):
            return "source.corrupt"
        try:
            return await self._bring_and_take(wish, grant)
        finally:
            self._send(wish.group, wish.member, JobEnded(wish.id))

    async def _ask(self, wish: _Wish) -> Message:
        return await self._asking.ask(
            wish.group,
            wish.member,
            lambda request: CatalogueCopyAsk(
                request,
                wish.id,
                wish.index_id,
                wish.after,
                self._outside.certificate,
                self._outside.addresses(()),
            ),
        )

    async def _bring_and_take(self, wish: _Wish, grant: TicketGrant) -> str:
        granted = Granted(wish.group, wish.member, wish.id, wish.id, None, None, grant)
        size, root = grant.size, Root(grant.root)
        kept = await self._files.run(Partial.open, self._disk, wish.id, 0, size, root)
        try:
            reason = await self._bringer.bring(granted, kept, self._watch)
            if not kept.has_hashes:
                return reason
            # Also of what broke off: the next copy then begins later.
            return await self._take_pages(wish, kept) or reason
        finally:
            await self._files.run(kept.close)

    async def _take_pages(self, wish: _Wish, kept: Partial) -> str:
        descriptor, length = await self._files.run(kept.open_verified)
        is_whole = length == kept.size
        reader = CopyReader(self._disk, descriptor, length, is_whole=is_whole)
        number: int | None = wish.after
        try:
            while number is not None and not self._is_stopped:
                page = await self._files.run(reader.read_after, number)
                if page is None:
                    return ""
                if page.index_id != wish.index_id or page.after > number:
                    raise BadMessage("a copy's pages do not follow one another")
                await self._files.run(demand_room, self._disk, PAGE_ROOM_BYTES)
                number = await wish.take(replace(page, after=number))
            return "source.vanished"
        finally:
            await self._files.run(reader.close)

    # --- slow ones, and what is left over ---

    def _on_begun(self) -> None:
        """Bytes come: any thread."""
        watch = self._watch
        self._core.post(partial(self._look_later, watch, watch.done_bytes, TURN_LOOKS))

    def _look_later(self, watch: Watch, before: int, looks: int) -> None:
        self._core.call_later(LOOK_S, partial(self._look, watch, before, looks))

    def _look(self, watch: Watch, before: int, looks: int) -> None:
        if self._running is None or watch is not self._watch:
            return
        if watch.done_bytes - before < BYTES_A_LOOK or not looks:
            watch.is_cancelled = True
        else:
            self._look_later(watch, watch.done_bytes, looks - 1)

    def _discard_later(self, one: str) -> None:
        self._used_at[one] = self._core.clock()
        self._core.call_later(KEPT_S, partial(self._discard_old, one))

    def _discard_old(self, one: str) -> None:
        is_old = self._core.clock() - self._used_at.get(one, 0.0) >= KEPT_S
        is_running = self._running is not None and self._running.id == one
        if is_old and not is_running and not self._is_stopped:
            work = self._files.run(discard_partials, self._disk, one)
            self._core.spawn_service("old copy", _wait(work))


async def _wait(work: Awaitable[None]) -> None:
    await work
