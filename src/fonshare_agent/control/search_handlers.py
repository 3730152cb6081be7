"""Handlers of `find` and `search …`: searching once, and again and again."""

from collections.abc import Callable
from functools import cache

from fonshare_agent import clock
from fonshare_agent.control import views
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rated import add_ratings
from fonshare_agent.control.rows import JSON, ROWS_UNASKED, Page
from fonshare_agent.errors import NotFound
from fonshare_agent.index.finder import Search
from fonshare_agent.index.query import Hit, Order, Query, SearchResult, Wish
from fonshare_agent.index.saved import SavedSearches
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.keys import node_id_text

Arguments = dict[str, JSON]

SEARCH_S = 5.0  # then what was found so far is shown
SLICE_S = 0.25  # then others may use the index for a moment


class SearchHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._saved = SavedSearches(parts.state, parts.index)

    # --- find ---

    async def find(self, arguments: Arguments) -> JSON:
        query = self._query(self._wish(arguments))
        limit, after = arguments["limit"], arguments["after"]
        deadline = self._parts.core.clock() + SEARCH_S

        def begin() -> tuple[Search, SearchResult | None]:
            # Most searches end within their first slice: one hand-over is enough.
            search = self._parts.index.begin_search(
                query,
                Order(arguments["sort"]),
                limit if isinstance(limit, int) else ROWS_UNASKED,
                None if after is None else str(after),
            )
            return search, self._go_on(search, deadline)

        search, result = await self._parts.store.run(begin)
        while result is None:
            result = await self._parts.store.run(self._go_on, search, deadline)
        rows = self._rows(result, query)
        await add_ratings(self._parts, rows)
        return Page(
            views.with_cursor(rows, result.more), result.more, is_cut=result.is_cut
        )

    def _go_on(self, search: Search, deadline: float) -> SearchResult | None:
        """Run *search* for a slice; the store's thread."""
        until = self._parts.core.clock() + SLICE_S
        return self._parts.index.go_on_searching(search, deadline, until)

    def _wish(self, arguments: Arguments) -> Wish:
        words = arguments["words"]
        assert isinstance(words, list)
        group = member = None
        if arguments["group"] is not None:
            group = self._parts.groups.get(str(arguments["group"]))
        if arguments["member"] is not None:
            member = self._find_member(group, str(arguments["member"]))
        return Wish(
            tuple(str(word) for word in words),
            group,
            member,
            None if arguments["kind"] is None else str(arguments["kind"]),
            _integer(arguments["min_size"]),
            _integer(arguments["max_size"]),
            _integer(arguments["newer"]),
            _integer(arguments["older"]),
            arguments["online"] is True,
        )

    def _find_member(self, group: GroupId | None, text: str) -> NodeId:
        """Return the member called *text* in *group*, or in any one of them."""
        groups = self._parts.groups
        if group is not None:
            return groups.get_member(group, text)
        for one in groups.labels().values():
            try:
                return groups.get_member(one, text)
            except NotFound:
                continue
        raise NotFound(
            f"nobody in any group is called {text!r}",
            thing=text,
            next="See `fonshare group ls`.",
        )

    def _query(self, wish: Wish) -> Query:
        """Return what *wish* means now; ClockUnknown if it cannot be told."""
        groups = frozenset(self._parts.groups.labels().values())
        online = frozenset(
            (group, member)
            for group in groups
            if (machine := self._parts.channel.find_machine(group)) is not None
            for member in machine.peers.online()
        )
        now = clock.known_time() if wish.needs_clock else 0
        return wish.query(groups, online, now)

    def _rows(self, result: SearchResult, query: Query) -> list[dict[str, JSON]]:
        """Return a row for each hit, but for those whose groups were left meanwhile."""
        # A name takes the whole roster: it is asked for once, not for each row.
        name_of = cache(self._parts.groups.member_name)
        return [row for hit in result.hits for row in self._of_hit(hit, query, name_of)]

    def _of_hit(
        self, hit: Hit, query: Query, name_of: Callable[[GroupId, NodeId], str]
    ) -> list[dict[str, JSON]]:
        groups = self._parts.groups
        sources = [
            views.entry(
                found,
                groups.label(found.group),
                name_of(found.group, found.member),
                found.own or (found.group, found.member) in query.online,
            )
            for found in hit.sources
            if groups.find_label(found.group) is not None
            and self._parts.channel.find_machine(found.group) is not None
        ]
        return [{**sources[0], "sources": views.sources(sources)}] if sources else []

    # --- saved searches ---

    async def search_save(self, arguments: Arguments) -> JSON:
        name, wish = str(arguments["name"]), self._wish(arguments)
        deadline = self._parts.core.clock() + SEARCH_S
        await self._parts.store.run(
            self._saved.save, name, wish, self._query(wish), deadline
        )
        return self._saved_row(name, wish)

    async def search_ls(self, arguments: Arguments) -> JSON:
        saved = await self._parts.store.run(self._saved.all)
        return [self._saved_row(name, wish) for name, wish in saved.items()]

    async def search_rm(self, arguments: Arguments) -> JSON:
        name = str(arguments["name"])
        await self._parts.store.run(self._saved.remove, name)
        return {"name": name}

    async def search_new(self, arguments: Arguments) -> JSON:
        store, saved, name = self._parts.store, self._saved, arguments["name"]
        if name is None:
            wishes = await store.run(saved.all)
        else:
            wishes = {str(name): await store.run(saved.get, str(name))}
        queries = {one: self._query(wish) for one, wish in wishes.items()}
        page = Page()
        for one, query in queries.items():
            result = await store.run(
                saved.new,
                one,
                query,
                _integer(arguments["limit"]) or ROWS_UNASKED,
                is_kept=arguments["keep"] is True,
                deadline=self._parts.core.clock() + SEARCH_S,
            )
            rows = self._rows(result, query)
            await add_ratings(self._parts, rows)
            page += [{"search": one, **row} for row in rows]
            page.is_cut |= result.is_cut
            page.has_more |= not result.is_complete
        return page

    def _saved_row(self, name: str, wish: Wish) -> dict[str, JSON]:
        groups, member, shown = self._parts.groups, wish.member, None
        label = None if wish.group is None else groups.find_label(wish.group)
        if member is not None:
            homes = [wish.group] if wish.group else groups.labels().values()
            known = (
                groups.member_name(one, member)
                for one in homes
                if self._parts.channel.find_machine(one) is not None
                and member in groups.roster(one).members
            )
            shown = next(known, node_id_text(member)[:7])
        return {
            "name": name,
            "words": list(wish.words),
            "group": label,
            "member": shown,
            "member_id": None if member is None else node_id_text(member),
            "kind": wish.medium,
            "min_size": wish.size_min,
            "max_size": wish.size_max,
            "newer": wish.newer_s,
            "older": wish.older_s,
            "online": wish.is_online_only,
        }


def _integer(value: JSON) -> int | None:
    return value if isinstance(value, int) else None
