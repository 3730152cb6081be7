"""Decides what of the index goes to which group, once for all its members.

Owns our side of the exchange of catalogues (docs/protocol/catalogue.md): what is new is
sent to the whole group in a few pages; who misses it sees our head and asks, and what
several ask for goes to all of them, once. A group is told one thing after another, and
what the store could not give is told later: else nobody would ask for it. What others
offer is catching_up.py's. Core thread; knows nothing of jobs, tickets or sockets.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fonshare_agent.catching_up import CatchingUp, Head, Send
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import StorageError
from fonshare_agent.index.records import Delta
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    PAGE_ENTRIES,
    CatalogueAsk,
    CatalogueDelta,
)

RENEW_PERIOD_S = 3600.0  # between two new index ids of one group
ANNOUNCE_AFTER_S = 0.3  # a burst of changes becomes one delta
BROADCAST_PAGES: Final = 4  # more is left to who asks: most may want a copy
BROADCAST_PAGE_S: Final = 0.5  # twice as slow as the members' allowance for us
STORE_RETRY_S: Final = 10.0  # after the store could not tell what is new
GATHER_S: Final = 0.2  # who asks the same within it is answered at once


@dataclass(slots=True)
class _Group:
    announced: Head | None = None  # our own head, as the group last heard it
    has_moved: bool = False  # since it was last begun to tell the group
    is_announcing: bool = False  # or is about to
    quiet_until: float = 0.0  # the members have enough to take in
    asked: dict[Head, set[NodeId]] = field(default_factory=dict)
    renewable_at: float = 0.0  # when our index may be numbered anew


class Sharing:
    """The decider between index and groups.

    *send* queues a message; *announce* has the group's presence published anew;
    *on_dropped* hears that the index has something left to do: to purge, to index.
    """

    def __init__(
        self,
        core: Core,
        store: Worker,
        index: IndexStore,
        send: Send,
        announce: Callable[[GroupId], None],
        on_dropped: Callable[[], None],
        catching_up: CatchingUp,
    ) -> None:
        self._core, self._store, self._index = core, store, index
        self._send, self._announce = send, announce
        self._on_dropped = on_dropped
        self._groups: dict[GroupId, _Group] = {}
        self._catching_up = catching_up

    # --- groups come and go ---

    async def add_group(self, group: GroupId) -> None:
        """Begin to exchange catalogues with *group*."""
        self._catching_up.add_group(group)
        head = await self._store.run(self._index.own_head, group)
        self._groups.setdefault(group, _Group()).announced = head

    async def drop_group(self, group: GroupId) -> None:
        """Forget every catalogue of *group*."""
        self._groups.pop(group, None)
        await self._catching_up.drop_group(group)
        self._on_dropped()

    async def keep_members(
        self, group: GroupId, members: Callable[[], Collection[NodeId]]
    ) -> None:
        """Forget the catalogues of those who left *group*; *members* are in it now."""
        if await self._catching_up.keep_members(group, members):
            self._on_dropped()

    async def start_over(self) -> None:
        """The index is a new, empty one: number ours anew and ask for theirs."""
        for group, state in list(self._groups.items()):
            state.announced = await self._store.run(self._index.own_head, group)
            self._announce(group)
        self._catching_up.start_over()

    def own_head(self, group: GroupId) -> Head | None:
        """The head of our catalogue as the group may know it (already durable)."""
        state = self._groups.get(group)
        return None if state is None else state.announced

    # --- our catalogue ---

    def note_moved(self, groups: Iterable[GroupId]) -> None:
        """Our catalogues of *groups* have moved: announce them soon, once."""
        for group in groups:
            state = self._groups.get(group)
            if state is not None:
                state.has_moved = True
                self._announce_later(group, state, ANNOUNCE_AFTER_S)

    def _announce_later(self, group: GroupId, state: _Group, wait_s: float) -> None:
        if state.is_announcing or self._groups.get(group) is not state:
            return
        state.is_announcing = True

        def begin() -> None:
            work = self._announce_moved(group, state)
            self._core.spawn_service("announce catalogue", work)

        wait_s = max(wait_s, state.quiet_until - self._core.clock())
        self._core.call_later(wait_s, begin)

    async def _announce_moved(self, group: GroupId, state: _Group) -> None:
        state.has_moved, wait_s = False, ANNOUNCE_AFTER_S
        try:
            if self._groups.get(group) is state:
                await self._broadcast(group, state)
        except StorageError:
            state.has_moved, wait_s = True, STORE_RETRY_S
            raise
        finally:
            state.is_announcing = False
            if state.has_moved:
                self._announce_later(group, state, wait_s)

    async def _broadcast(self, group: GroupId, state: _Group) -> None:
        """Send what is new once for all; who misses it sees the head and asks."""
        head = await self._store.run(self._index.own_head, group)
        before = state.announced
        if before == head:
            return
        if before is not None and before[0] == head[0]:
            pages, head = await self._send_new(group, state, head)
            quiet_s = BROADCAST_PAGE_S * (pages or BROADCAST_PAGES)
            state.quiet_until = self._core.clock() + quiet_s
        state.announced = head
        self._announce(group)

    async def _send_new(
        self, group: GroupId, state: _Group, head: Head
    ) -> tuple[int, Head]:
        """Send what comes after the announced head if it is a few pages; return how
        many, and the head then. StorageError: what was sent until then counts.

        None is made in vain, and one at a time: while a scan goes on, there is memory
        for little else.
        """
        assert state.announced is not None
        pages, after = 0, state.announced
        if head[1] - after[1] > BROADCAST_PAGES * PAGE_ENTRIES:
            return pages, head
        while pages < BROADCAST_PAGES and after[1] < head[1]:
            page = await self._page(group, after)
            is_there = self._groups.get(group) is state
            if not is_there or (page.index_id, page.after) != (head[0], after[1]):
                break  # it was left, or numbered anew
            pages, after = pages + 1, (page.index_id, page.upto)
            # Changes may have come meanwhile: they are sent now.
            head = (head[0], max(head[1], page.upto))
            state.announced = after
            self._send(group, None, _message(page, head))
        return pages, head

    async def _page(self, group: GroupId, after: Head) -> Delta:
        return await self._store.run(
            self._index.delta,
            group,
            after[0],
            after[1],
            max_entries=PAGE_ENTRIES,
            max_bytes=PAGE_BYTES,
        )

    async def on_ask(self, group: GroupId, member: NodeId, ask: CatalogueAsk) -> None:
        """Answer soon with the page that follows what *member* has."""
        if group not in self._groups:
            return
        head = await self._store.run(self._index.own_head, group)
        if group not in self._groups:
            return
        if ask.index_id == head[0] and ask.after > head[1]:
            # It knows more of us than we do: our database is an older one. A new index
            # makes everybody take the whole catalogue again: no member may have that
            # done as often as it likes.
            state, now = self._groups[group], self._core.clock()
            if now < state.renewable_at:
                return
            state.renewable_at = now + RENEW_PERIOD_S
            await self._store.run(self._index.reset_index_id, group)
            self._on_dropped()
            self.note_moved([group])
            return
        asked = self._groups[group].asked
        if not asked:
            work = partial(self._answer_soon, group)
            self._core.call_later(GATHER_S, work)
        after = (head[0], ask.after if ask.index_id == head[0] else 0)
        asked.setdefault(after, set()).add(member)

    def _answer_soon(self, group: GroupId) -> None:
        self._core.spawn_service("catalogue", self._answer(group))

    async def _answer(self, group: GroupId) -> None:
        """Send each page asked for: to who asked, to all if several did."""
        state = self._groups.get(group)
        if state is None:
            return
        asked, state.asked = state.asked, {}
        for after, members in asked.items():
            if group not in self._groups:  # asking the store would begin it anew
                return
            page = await self._page(group, after)
            head = await self._store.run(self._index.own_head, group)
            to = None if len(members) > 1 else next(iter(members))
            self._send(group, to, _message(page, head))


def _message(delta: Delta, head: Head) -> CatalogueDelta:
    return CatalogueDelta(
        delta.index_id, delta.after, delta.upto, head[1], tuple(delta.changes)
    )
