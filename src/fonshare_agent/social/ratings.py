"""Ratings: what members think of what a group offers, told to the group.

Theory of operation (docs/protocol/ratings.md). Each member's ratings are a log that it
alone numbers. What is new in ours is sent to the group, a moment later, so that several
are one message; to each member that is met anew our head is told, and whoever lacks
something asks for what comes after what it has. Nothing depends on any one message.
What comes of one member is bounded: in number by the tables, in work by allowances.
Everything durable is in state.db. Core thread.
"""

from collections.abc import Callable, Collection
from typing import Final

from fonshare_agent.core import Core, Worker
from fonshare_agent.index.state_ratings import Head, RatingTables
from fonshare_agent.model import GroupId, NodeId, Root
from fonshare_agent.protocol.allowance import Allowance
from fonshare_agent.protocol.message import Message
from fonshare_agent.protocol.rating_messages import (
    PAGE_RATINGS,
    Ratings,
    RatingsAsk,
)

TELL_S: Final = 0.5  # ratings come in company
# A member that rates much is heard in a burst, then as fast as one writes state.db
# without harm; what is left out is a gap, which is asked for at the next word.
TAKE_BURST, TAKE_PER_S = 30, 0.2
ANSWER_BURST, ANSWER_PER_S = 8, 0.1  # pages of up to 32 KiB

NOTHING: Final = Head(b"", 0)  # has been told

Send = Callable[[GroupId, NodeId | None, Message], bool]
Members = Callable[[GroupId], Collection[NodeId]]  # none once it was left


class GroupRatings:
    """All ratings of this node's groups."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        tables: RatingTables,
        send: Send,
        members: Members,
        me: NodeId,
    ) -> None:
        self._core, self._store, self._tables = core, store, tables
        self._send, self._members, self._me = send, members, me
        self._told: dict[GroupId, Head] = {}  # of ours, by what the group has heard
        self._is_telling: set[GroupId] = set()
        self._taking: dict[tuple[GroupId, NodeId], Allowance] = {}
        self._answering: dict[tuple[GroupId, NodeId], Allowance] = {}
        self._is_stopped = False

    async def load(self) -> None:
        """Take up what is rated: who was met before this was loaded hears of it."""
        for group in await self._store.run(self._tables.groups):
            await self.keep_members(group)
            head = await self._own_head(group)
            if head is not None:
                self._told[group] = head
                self._send(group, None, _told(head))

    def stop(self) -> None:
        self._is_stopped = True

    # --- the owner's ---

    async def rate(self, group: GroupId, root: Root, stars: int) -> None:
        """Rate a content of *group*, and tell its members; 0 takes the rating back."""
        before = await self._own_head(group)
        self._told.setdefault(group, before or NOTHING)
        await self._store.run(self._tables.rate, group, self._me, root, stars)
        if group not in self._is_telling:
            self._is_telling.add(group)
            self._core.call_later(TELL_S, lambda: self._tell_now(group))

    def _tell_now(self, group: GroupId) -> None:
        if not self._is_stopped:
            self._core.spawn_service("ratings", self._tell(group))

    async def _tell(self, group: GroupId) -> None:
        """Send what is new since the group last heard of it; who wants more asks."""
        self._is_telling.discard(group)
        told = self._told.get(group, NOTHING)
        page = await self._page(group, told)
        if page is not None and (page.log, page.head) != (told.log, told.number):
            self._told[group] = Head(page.log, page.head)
            self._send(group, None, page)

    # --- the members' ---

    def note_ready(self, group: GroupId, member: NodeId) -> None:
        """*member* was met anew: it may have missed something of ours."""
        if not self._is_stopped:
            self._core.spawn_service("ratings", self._greet(group, member))

    async def _greet(self, group: GroupId, member: NodeId) -> None:
        head = await self._own_head(group)
        if head is not None:
            self._send(group, member, _told(head))

    async def on_message(
        self, group: GroupId, member: NodeId, message: Message
    ) -> None:
        """Take in, or answer, what *member* says."""
        who = group, member
        if isinstance(message, RatingsAsk):
            if self._may(self._answering, who, ANSWER_BURST, ANSWER_PER_S):
                page = await self._page(group, Head(message.log, message.after))
                if page is not None:
                    self._send(group, member, page)
        elif isinstance(message, Ratings) and self._may(
            self._taking, who, TAKE_BURST, TAKE_PER_S
        ):
            after = await self._store.run(self._take, group, member, message)
            if after < message.head:
                self._send(group, member, RatingsAsk(message.log, after))

    def _may(
        self,
        allowances: dict[tuple[GroupId, NodeId], Allowance],
        who: tuple[GroupId, NodeId],
        burst: float,
        per_s: float,
    ) -> bool:
        now = self._core.clock()
        allowance = allowances.setdefault(who, Allowance(now, burst, per_s))
        return allowance.take(now)

    async def keep_members(self, group: GroupId) -> None:
        """Who is in *group* may have changed: forget what others have said."""
        members = self._members(group)
        if members:
            kept = frozenset(members)
            self._forget(group, kept)
            await self._store.run(self._tables.keep_members, group, kept)

    def drop_group(self, group: GroupId) -> None:
        """The group was left: state.db forgets its ratings by itself."""
        self._told.pop(group, None)
        self._forget(group, frozenset())

    def _forget(self, group: GroupId, members: Collection[NodeId]) -> None:
        """Forget the allowances of who is not among *members*."""
        for known in (self._taking, self._answering):
            for who in [one for one in known if one[0] == group]:
                if who[1] not in members:
                    del known[who]

    # --- on the store thread, or by it ---

    async def _own_head(self, group: GroupId) -> Head | None:
        return await self._store.run(self._tables.own_head, group, self._me)

    async def _page(self, group: GroupId, after: Head) -> Ratings | None:
        return await self._store.run(self._make_page, group, after)

    def _make_page(self, group: GroupId, after: Head) -> Ratings | None:
        page = self._tables.page(group, self._me, after, PAGE_RATINGS)
        head = self._tables.own_head(group, self._me)
        if page is None or head is None:
            return None
        begin, rated, upto = page
        return Ratings(
            begin.log,
            begin.number,
            upto.number,
            head.number,
            tuple(root for root, _ in rated),
            bytes(stars for _, stars in rated),
        )

    def _take(self, group: GroupId, member: NodeId, said: Ratings) -> int:
        """Take in what was said; return after which number the next is wanted."""
        rated = zip(said.roots, said.stars, strict=True)
        begin = Head(said.log, said.after)
        upto = self._tables.take(group, member, begin, rated, said.upto)
        if upto is None:
            return self._tables.known(group, member, said.log)
        return upto


def _told(head: Head) -> Ratings:
    """Return the message that says no more than how far the log goes."""
    return Ratings(head.log, head.number, head.number, head.number, (), b"")
