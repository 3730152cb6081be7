"""Handlers of `rate` and `rate ls`."""

from fonshare_agent.control import views
from fonshare_agent.control.entries import find_entry
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rated import add_ratings
from fonshare_agent.control.rows import JSON, ROWS_UNASKED
from fonshare_agent.errors import NotFound, UsageError
from fonshare_agent.index.records import Found
from fonshare_agent.model import GroupId, Root, printable

Arguments = dict[str, JSON]

# Looked at for a listing: what nobody offers any more is rated still.
BEST_MAX = 5000


class RatingHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def rate(self, arguments: Arguments) -> JSON:
        found = await find_entry(self._parts, str(arguments["entry"]))
        name, stars = printable(found.name), arguments["stars"]
        assert isinstance(stars, int)
        if found.kind != "file":
            raise UsageError("only a file can be rated", thing=name)
        if found.root is None:
            raise NotFound(
                f"the content of {name!r} is not known yet",
                thing=name,
                next="Its owner is still reading it: try again later.",
            )
        ratings = await self._parts.ratings.get()
        await ratings.rate(found.group, found.root, stars)
        rows: list[JSON] = [self._row(found)]
        await add_ratings(self._parts, rows)
        return rows

    async def rate_ls(self, arguments: Arguments) -> JSON:
        groups = self._parts.groups
        wanted = list(groups.labels().values())
        if arguments["group"] is not None:
            wanted = [groups.get(str(arguments["group"]))]
        if not self._parts.ratings.are_there:
            return []  # nothing is loaded for who only looks
        limit = arguments["limit"]
        found = await self._parts.store.run(
            self._best, wanted, limit if isinstance(limit, int) else ROWS_UNASKED
        )
        rows: list[JSON] = [
            self._row(one) for one in found if groups.find_label(one.group) is not None
        ]
        await add_ratings(self._parts, rows)
        return rows

    def _best(self, groups: list[GroupId], limit: int) -> list[Found]:
        """Return the best rated files that are offered; the store's thread."""
        me, found = self._parts.keys.signer.node_id, []
        for group, root, _ in self._parts.state.ratings.best(groups, me, BEST_MAX):
            one = self._offered(group, root)
            if one is not None:
                found.append(one)
            if len(found) == limit:
                break
        return found

    def _offered(self, group: GroupId, root: Root) -> Found | None:
        """Return a file of that content: an own one, else of who is online."""
        index, me = self._parts.index, self._parts.keys.signer.node_id
        machine = self._parts.channel.find_machine(group)
        online = frozenset() if machine is None else machine.peers.online()
        members = index.sources(group, root)
        if not members:
            return None
        best = max(members, key=lambda one: (one == me, one in online))
        return index.find_offer(group, best, root)

    def _row(self, found: Found) -> dict[str, JSON]:
        groups = self._parts.groups
        machine = self._parts.channel.find_machine(found.group)
        is_online = machine is not None and found.member in machine.peers.online()
        return views.entry(
            found,
            groups.label(found.group),
            groups.member_name(found.group, found.member),
            found.own or is_online,
        )
