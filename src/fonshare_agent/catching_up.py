"""Keeps the replicas of what others offer up with them.

Owns the asking side of the exchange of catalogues (docs/protocol/catalogue.md): a
member's head comes with its presence or with a delta; where ours is behind we ask, page
by page, one request at a time for each member; a delta is applied only if it continues
our head, so losing, doubling or reordering costs a question and nothing else. What is
far behind is fetched as a copy, over the data channel, by the `Copier`; where none can
be had it comes in pages, slowly. Core thread; knows nothing of jobs, tickets or
sockets.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.errors import StorageError
from fonshare_agent.index.records import Applied, Delta, Gap
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, IndexId, NodeId
from fonshare_agent.protocol.fields import Change
from fonshare_agent.protocol.messages import (
    CatalogueAsk,
    CatalogueDelta,
    Message,
)

log = logging.getLogger(__name__)

ASK_TIMEOUT_S = 15.0  # then the question is asked again, with back-off
ASK_TIMEOUT_MAX_S = 300.0
COPY_FROM: Final = 2000  # numbers behind: more than a source sends to all unasked
COPY_PAUSE_S: Final = 5.0  # after a copy that failed; doubled each time
COPY_PAUSE_MAX_S: Final = 3600.0
COPY_REST_S: Final = 600.0  # after one that came; a source writes none sooner
PAGE_PAUSE_S: Final = 2.0  # between pages instead of a copy: a broker's bulk

Send = Callable[[GroupId, NodeId | None, Message], bool]
Head = tuple[IndexId, int]
Take = Callable[[CatalogueDelta], Awaitable[int | None]]


class Copier(Protocol):
    """What fetches copies: copy_fetching.CopyFetcher."""

    def can_ask(self, group: GroupId, member: NodeId) -> bool: ...

    async def fetch(
        self, group: GroupId, member: NodeId, index_id: IndexId, after: int, take: Take
    ) -> str: ...

    def cancel(self, group: GroupId, member: NodeId) -> None: ...


@dataclass(slots=True)
class _Follow:
    """What we know of one member's catalogue."""

    announced: Head | None = None  # the newest that we were told
    asking: Timer | None = None
    timeout_s: float = ASK_TIMEOUT_S
    page_due: float = 0.0  # not before, while far behind
    is_copying: bool = False
    copy_due: float = 0.0
    copy_pause_s: float = COPY_PAUSE_S
    has_taken: bool = False  # anything of the last copy

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked for."""
        return self.asking is None and not self.is_copying

    def learn(self, head: Head) -> None:
        """Its catalogue has come to *head*: a lower number of one index is old news."""
        known = self.announced
        if known is None or known[0] != head[0] or known[1] < head[1]:
            self.announced = head


class CatchingUp:
    """The decider of the receiver's side.

    *send* queues a message; *on_applied* hears what the index has taken in.
    """

    def __init__(
        self,
        core: Core,
        store: Worker,
        index: IndexStore,
        send: Send,
        on_applied: Callable[[GroupId, NodeId, Sequence[Change]], None],
    ) -> None:
        self._core, self._store, self._index = core, store, index
        self._send, self._on_applied = send, on_applied
        self._groups: dict[GroupId, dict[NodeId, _Follow]] = {}
        self._copier: Copier | None = None

    def wire(self, copier: Copier) -> None:
        """Connect who fetches copies; until then all comes in pages."""
        self._copier = copier

    # --- groups come and go ---

    def add_group(self, group: GroupId) -> None:
        self._groups.setdefault(group, {})

    async def drop_group(self, group: GroupId) -> None:
        """Forget every catalogue of *group*, the own one too."""
        for member, follow in self._groups.pop(group, {}).items():
            self._forget(group, member, follow)
        await self._store.run(self._index.drop_group, group)

    async def keep_members(
        self, group: GroupId, members: Callable[[], Collection[NodeId]]
    ) -> bool:
        """Forget the catalogues of those who left *group*; tell if there were any.

        *members* is asked after each wait: somebody may have come meanwhile.
        """
        follows = self._groups.get(group)
        if follows is None:
            return False
        shown = await self._store.run(self._index.browse, group=group)
        gone = ({found.member for found in shown} | follows.keys()).difference(
            members()
        )
        for member in gone:
            if member in members():
                continue
            follow = follows.pop(member, None)
            if follow is not None:
                self._forget(group, member, follow)
            await self._store.run(self._index.drop_member, group, member)
        return bool(gone)

    def _forget(self, group: GroupId, member: NodeId, follow: _Follow) -> None:
        _cancel(follow)
        if self._copier is not None:
            self._copier.cancel(group, member)

    def start_over(self) -> None:
        """The index is a new, empty one: ask everybody for everything."""
        for group, follows in self._groups.items():
            for member, follow in follows.items():
                self._forget(group, member, follow)
                self._catch_up_soon(group, member)

    # --- pages ---

    def note_head(self, group: GroupId, member: NodeId, head: Head) -> None:
        """*member*'s presence names *head*: ask if ours is behind."""
        follow = self._follow(group, member)
        if follow is not None:
            follow.learn(head)
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
        follows = self._groups.get(group)
        return None if follows is None else follows.setdefault(member, _Follow())

    def _is_followed(self, group: GroupId, member: NodeId, follow: _Follow) -> bool:
        return self._groups.get(group, {}).get(member) is follow

    def _catch_up_soon(self, group: GroupId, member: NodeId) -> None:
        self._core.spawn_service("catch up", self._catch_up(group, member))

    async def _catch_up(self, group: GroupId, member: NodeId) -> None:
        """Ask for the next page unless one is asked for, or nothing is missing."""
        follow = self._follow(group, member)
        if follow is None or not follow.is_idle:
            return
        try:
            ours = await self._store.run(self._index.replica_head, group, member)
        except StorageError:
            if follow.is_idle and self._is_followed(group, member, follow):
                self._wait(group, member, follow, follow.timeout_s)
            raise
        if follow.announced is None or not follow.is_idle:
            return
        index_id, sequence = follow.announced
        if ours == follow.announced or (ours[0] == index_id and ours[1] >= sequence):
            return
        after = ours[1] if ours[0] == index_id else 0
        is_far = sequence - after > COPY_FROM
        if is_far and self._copier is not None:
            now = self._core.clock()
            if not self._copier.can_ask(group, member):
                self._wait(group, member, follow, follow.timeout_s)  # or `note_ready`
                return
            if now >= follow.copy_due:
                work = self._copy(group, member, follow, (index_id, after))
                self._core.spawn_service("copy catalogue", work)
                return
            if now < follow.page_due:
                self._wait(group, member, follow, follow.page_due - now)
                return
            follow.page_due = now + PAGE_PAUSE_S
        self._send(group, member, CatalogueAsk(index_id, after))
        follow.asking = self._core.call_later(
            follow.timeout_s, lambda: self._ask_again(group, member)
        )

    def _wait(
        self, group: GroupId, member: NodeId, follow: _Follow, wait_s: float
    ) -> None:
        def go_on() -> None:
            follow.asking = None
            self._catch_up_soon(group, member)

        follow.asking = self._core.call_later(wait_s, go_on)

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
        outcome = await self._apply(group, member, message)
        if isinstance(outcome, Gap) and message.after < outcome.head < message.upto:
            # A broadcast was quicker than the answer; the rest of it is new.
            message = replace(message, after=outcome.head)
            outcome = await self._apply(group, member, message)
        if outcome is None:
            return
        if isinstance(outcome, Applied) or follow.announced is None:
            is_same = follow.announced and follow.announced[0] == message.index_id
            if is_same or not message.after:  # not late news of an index that is over
                follow.learn((IndexId(message.index_id), message.head))
            _cancel(follow)
            follow.timeout_s = ASK_TIMEOUT_S
        self._catch_up_soon(group, member)

    async def _apply(
        self, group: GroupId, member: NodeId, message: CatalogueDelta
    ) -> Applied | Gap | None:
        """Apply a page; None if the group was dropped meanwhile."""
        index_id = IndexId(message.index_id)
        delta = Delta(index_id, message.after, message.upto, list(message.changes))
        outcome = await self._store.run(
            self._index.apply_delta, group, member, delta, complete_at=message.head
        )
        if isinstance(outcome, Applied):
            self._on_applied(group, member, message.changes)
        if group in self._groups:
            return outcome
        await self._store.run(self._index.drop_group, group)
        return None

    # --- copies ---

    async def _copy(
        self, group: GroupId, member: NodeId, follow: _Follow, ours: Head
    ) -> None:
        """Fetch a copy of what comes after *ours*; pages bring what it does not."""
        assert self._copier is not None
        follow.is_copying, follow.has_taken = True, False
        begun, reason = self._core.clock(), "source.lost"
        try:
            reason = await self._copier.fetch(
                group, member, *ours, partial(self._take, group, member, follow)
            )
        finally:
            follow.is_copying = False
            self._note_copied(follow, begun, reason)
            if self._is_followed(group, member, follow):
                self._catch_up_soon(group, member)

    def _note_copied(self, follow: _Follow, begun: float, reason: str) -> None:
        """Settle when the next copy is due, and whether pages come until then."""
        now, pause_s = self._core.clock(), follow.copy_pause_s
        if not reason and follow.has_taken:
            follow.copy_pause_s = COPY_PAUSE_S
            follow.copy_due = now + max(COPY_REST_S, now - begun)
            return
        follow.copy_due = now + pause_s
        follow.copy_pause_s = min(pause_s * 2, COPY_PAUSE_MAX_S)
        if pause_s == COPY_PAUSE_S:
            follow.page_due = follow.copy_due  # a line may break off once
        log.info("a copy of a catalogue did not come: %s", reason or "nothing new")

    async def _take(
        self, group: GroupId, member: NodeId, follow: _Follow, page: CatalogueDelta
    ) -> int | None:
        """Apply a page of a copy; None if the copy is of no use any more."""
        while True:
            if not self._is_followed(group, member, follow):
                return None
            outcome = await self._apply(group, member, page)
            if isinstance(outcome, Applied):
                follow.has_taken = True
                return outcome.head
            # A broadcast may have been quicker; another index makes the copy worthless.
            if outcome is None or outcome.head <= page.after:
                return None
            if outcome.head >= page.upto:
                return outcome.head
            page = replace(page, after=outcome.head)


def _cancel(follow: _Follow) -> None:
    if follow.asking is not None:
        follow.asking.cancel()
        follow.asking = None
