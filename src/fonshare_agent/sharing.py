"""Decides what of the index goes to which group, and what of a group into the index.

Owns the exchange of catalogues (docs/protocol/catalogue.md): a member's head comes with
its presence or with a delta; where ours is behind we ask, page by page, one request at
a time for each member; a delta is applied only if it continues our head, so losing,
doubling or reordering costs a question and nothing else. Core thread; knows nothing of
jobs, tickets or sockets.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.index.records import Applied, Delta
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, IndexId, NodeId
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    CatalogueAsk,
    CatalogueDelta,
    Message,
)

log = logging.getLogger(__name__)

ASK_TIMEOUT_S = 15.0  # then the question is asked again, with back-off
ASK_TIMEOUT_MAX_S = 300.0
RENEW_PERIOD_S = 3600.0  # between two new index ids of one group
ANNOUNCE_AFTER_S = 0.3  # a burst of changes becomes one delta
PAGE_ENTRIES = 500

Send = Callable[[GroupId, NodeId | None, Message], bool]
Head = tuple[IndexId, int]


@dataclass(slots=True)
class _Follow:
    """What we know of one member's catalogue."""

    announced: Head | None = None
    asking: Timer | None = None
    timeout_s: float = ASK_TIMEOUT_S


@dataclass(slots=True)
class _Group:
    follows: dict[NodeId, _Follow] = field(default_factory=dict)
    announced: Head | None = None  # our own head, as the group last heard it
    announcing: Timer | None = None
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
    ) -> None:
        self._core, self._store, self._index = core, store, index
        self._send, self._announce = send, announce
        self._on_dropped = on_dropped
        self._groups: dict[GroupId, _Group] = {}

    # --- groups come and go ---

    async def add_group(self, group: GroupId) -> None:
        """Begin to exchange catalogues with *group*."""
        head = await self._store.run(self._index.own_head, group)
        self._groups.setdefault(group, _Group()).announced = head

    async def drop_group(self, group: GroupId) -> None:
        """Forget every catalogue of *group*."""
        state = self._groups.pop(group, None)
        if state is not None:
            for follow in state.follows.values():
                _cancel(follow)
        await self._store.run(self._index.drop_group, group)
        self._on_dropped()

    async def keep_members(self, group: GroupId, members: Iterable[NodeId]) -> None:
        """Forget the catalogues of those who left *group*."""
        state = self._groups.get(group)
        if state is None:
            return
        kept = set(members)
        shown = await self._store.run(self._index.browse, group=group)
        gone = ({found.member for found in shown} | state.follows.keys()) - kept
        for member in gone:
            follow = state.follows.pop(member, None)
            if follow is not None:
                _cancel(follow)
            await self._store.run(self._index.drop_member, group, member)
        if gone:
            self._on_dropped()

    async def start_over(self) -> None:
        """The index is a new, empty one: number ours anew and ask for theirs."""
        for group, state in list(self._groups.items()):
            state.announced = await self._store.run(self._index.own_head, group)
            self._announce(group)
            for member, follow in list(state.follows.items()):
                _cancel(follow)
                self._catch_up_soon(group, member)

    def own_head(self, group: GroupId) -> Head | None:
        """The head of our catalogue as the group may know it (already durable)."""
        state = self._groups.get(group)
        return None if state is None else state.announced

    # --- our catalogue ---

    def note_moved(self, groups: Iterable[GroupId]) -> None:
        """Our catalogues of *groups* have moved: announce them soon, once."""
        for group in groups:
            state = self._groups.get(group)
            if state is not None and state.announcing is None:
                state.announcing = self._core.call_later(
                    ANNOUNCE_AFTER_S, partial(self._announce_soon, group)
                )

    def _announce_soon(self, group: GroupId) -> None:
        state = self._groups.get(group)
        if state is not None:
            state.announcing = None
            self._core.spawn_service("announce catalogue", self._broadcast(group))

    async def _broadcast(self, group: GroupId) -> None:
        """Send what is new once for all; who misses it sees the head and asks."""
        state = self._groups[group]
        head = await self._store.run(self._index.own_head, group)
        before, state.announced = state.announced, head
        if before == head:
            return
        if before is not None and before[0] == head[0]:
            delta = await self._page(group, before)
            if delta.upto == head[1]:
                self._send(group, None, _message(delta, head))
        self._announce(group)

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
        """Answer with the page that follows what *member* has."""
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
        delta = await self._page(group, (IndexId(ask.index_id), ask.after))
        head = await self._store.run(self._index.own_head, group)
        self._send(group, member, _message(delta, head))

    # --- theirs ---

    def note_head(self, group: GroupId, member: NodeId, head: Head) -> None:
        """*member*'s presence names *head*: ask if ours is behind."""
        follow = self._follow(group, member)
        if follow is not None:
            follow.announced = head
            follow.timeout_s = ASK_TIMEOUT_S
            self._catch_up_soon(group, member)

    def note_ready(self, group: GroupId, member: NodeId) -> None:
        """Commands pass between us and *member* from now on."""
        follow = self._follow(group, member)
        if follow is not None:
            _cancel(follow)
            follow.timeout_s = ASK_TIMEOUT_S
            self._catch_up_soon(group, member)

    def _follow(self, group: GroupId, member: NodeId) -> _Follow | None:
        state = self._groups.get(group)
        return None if state is None else state.follows.setdefault(member, _Follow())

    def _catch_up_soon(self, group: GroupId, member: NodeId) -> None:
        self._core.spawn_service("catch up", self._catch_up(group, member))

    async def _catch_up(self, group: GroupId, member: NodeId) -> None:
        """Ask for the next page unless one is asked for, or nothing is missing."""
        follow = self._follow(group, member)
        if follow is None or follow.announced is None or follow.asking is not None:
            return
        ours = await self._store.run(self._index.replica_head, group, member)
        if follow.announced is None or follow.asking is not None:
            return
        index_id, sequence = follow.announced
        if ours == follow.announced or (ours[0] == index_id and ours[1] >= sequence):
            return
        after = ours[1] if ours[0] == index_id else 0
        self._send(group, member, CatalogueAsk(index_id, after))
        follow.asking = self._core.call_later(
            follow.timeout_s, lambda: self._ask_again(group, member)
        )

    def _ask_again(self, group: GroupId, member: NodeId) -> None:
        follow = self._follow(group, member)
        if follow is not None:
            follow.asking = None
            follow.timeout_s = min(follow.timeout_s * 2, ASK_TIMEOUT_MAX_S)
            self._catch_up_soon(group, member)

    async def on_delta(
        self, group: GroupId, member: NodeId, message: CatalogueDelta
    ) -> None:
        """Apply a delta if it continues what we have; else ask for what is missing."""
        follow = self._follow(group, member)
        if follow is None:
            return
        index_id = IndexId(message.index_id)
        delta = Delta(index_id, message.after, message.upto, list(message.changes))
        outcome = await self._store.run(
            self._index.apply_delta, group, member, delta, complete_at=message.head
        )
        if group not in self._groups:  # dropped while the store worked
            await self._store.run(self._index.drop_group, group)
            return
        if isinstance(outcome, Applied):
            self._on_dropped()
        if isinstance(outcome, Applied) or follow.announced is None:
            follow.announced = (index_id, message.head)
            _cancel(follow)
            follow.timeout_s = ASK_TIMEOUT_S
        self._catch_up_soon(group, member)


def _message(delta: Delta, head: Head) -> CatalogueDelta:
    return CatalogueDelta(
        delta.index_id, delta.after, delta.upto, head[1], tuple(delta.changes)
    )


def _cancel(follow: _Follow) -> None:
    if follow.asking is not None:
        follow.asking.cancel()
        follow.asking = None
