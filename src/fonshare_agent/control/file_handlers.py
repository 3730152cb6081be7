"""Handlers of `ls`, `find`, `get` and `jobs`: browsing, searching, fetching."""

from fonshare_agent.control import views
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import NotFound
from fonshare_agent.index.records import Found
from fonshare_agent.model import EntryId, GroupId, NodeId, SharePath
from fonshare_agent.protocol.keys import node_id_text

Arguments = dict[str, JSON]

SEARCH_SECONDS = 5.0  # then what was found so far is shown
BROWSE_PAGE = 500


class FileHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # --- ls ---

    async def ls(self, arguments: Arguments) -> JSON:
        parts = str(arguments["path"]).strip("/").split("/", 3)
        match parts:
            case [""]:
                return self._group_rows()
            case [group]:
                return self._member_rows(self._parts.groups.get(group))
            case [group, member]:
                found = self._parts.groups.get(group)
                return await self._below(found, member, None, None)
            case [group, member, share, *rest]:
                found = self._parts.groups.get(group)
                path = SharePath.parse(rest[0]) if rest and rest[0] else None
                return await self._below(found, member, share, path)
        raise NotFound("there is no such place", thing=str(arguments["path"]))

    def _group_rows(self) -> JSON:
        return [
            views.place(
                "group", views.group_row_id(group), label, label, online=True, own=True
            )
            for label, group in self._parts.groups.labels().items()
        ]

    def _member_rows(self, group: GroupId) -> JSON:
        machine = self._parts.channel.machine(group)
        online = machine.peers.online()
        return [
            views.place(
                "member",
                row["id"],
                row["name"],
                self._parts.groups.label(group),
                row["name"],
                node,
                online=node == machine.me or node in online,
                own=node == machine.me,
            )
            for node in machine.roster.members
            for row in [self._member(group, node)]
        ]

    def _member(self, group: GroupId, node: NodeId) -> dict[str, str]:
        name = self._parts.groups.member_name(group, node)
        return {"id": node_id_text(node), "name": name}

    async def _below(
        self, group: GroupId, who: str, share: str | None, path: SharePath | None
    ) -> JSON:
        member = self._parts.groups.get_member(group, who)
        top = None
        if share is not None:
            top = await self._resolve(group, member, share, path)
            if top.kind == "file":
                return [self._row(top)]
        rows: list[JSON] = []
        after: Found | None = None
        while True:
            page = await self._parts.store.run(
                self._parts.index.browse,
                group=group,
                member=member,
                share=share,
                folder=path,
                limit=BROWSE_PAGE,
                after=after,
            )
            rows += [self._row(found) for found in page]
            if len(page) < BROWSE_PAGE:
                return rows
            after = page[-1]

    async def _resolve(
        self, group: GroupId, member: NodeId, share: str, path: SharePath | None
    ) -> Found:
        found = await self._parts.store.run(
            self._parts.index.resolve, group, member, share, path
        )
        if found is None:
            name = self._parts.groups.member_name(group, member)
            shown = "/".join([share] if path is None else [share, str(path)])
            raise NotFound(f"{name} offers no {shown!r}", thing=shown)
        return found

    def _row(self, found: Found) -> dict[str, JSON]:
        machine = self._parts.channel.find_machine(found.group)
        online = found.own or (
            machine is not None and found.member in machine.peers.online()
        )
        label = self._parts.groups.label(found.group)
        member = self._parts.groups.member_name(found.group, found.member)
        return views.entry(found, label, member, online)

    # --- find ---

    async def find(self, arguments: Arguments) -> JSON:
        words = arguments["words"]
        assert isinstance(words, list)
        group = member = None
        if arguments["group"] is not None:
            group = self._parts.groups.get(str(arguments["group"]))
        if arguments["member"] is not None:
            member = self._find_member(group, str(arguments["member"]))
        limit = arguments["limit"]
        result = await self._parts.store.run(
            self._parts.index.search,
            " ".join(str(word) for word in words),
            group=group,
            member=member,
            limit=limit if isinstance(limit, int) else 100,
            deadline=self._parts.core.clock() + SEARCH_SECONDS,
        )
        known = set(self._parts.groups.labels().values())
        return [self._row(found) for found in result.found if found.group in known]

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
        raise NotFound(f"nobody in any group is called {text!r}", thing=text)

    # --- get and jobs ---

    async def get(self, arguments: Arguments) -> JSON:
        entries = arguments["entries"]
        assert isinstance(entries, list)
        # All are looked up before the first job is made: a typing error in the third
        # must not leave two jobs behind an error message.
        wanted = [await self._entry(str(one)) for one in entries]
        to = arguments["to"]
        jobs = [
            await self._parts.downloads.add(found, None if to is None else str(to))
            for found in wanted
        ]
        return [await self._parts.downloads.view(job) for job in jobs]

    async def _entry(self, text: str) -> Found:
        found = await self._parts.store.run(self._parts.index.get, EntryId(text))
        if found is not None:
            return found
        parts = text.strip("/").split("/", 3)
        if len(parts) < 3:
            raise NotFound(f"there is no entry {text!r}", thing=text)
        group = self._parts.groups.get(parts[0])
        member = self._parts.groups.get_member(group, parts[1])
        path = SharePath.parse(parts[3]) if len(parts) == 4 else None
        return await self._resolve(group, member, parts[2], path)

    async def jobs(self, arguments: Arguments) -> JSON:
        return await self._parts.downloads.views()

    async def jobs_pause(self, arguments: Arguments) -> JSON:
        return [await self._parts.downloads.pause(str(arguments["id"]))]

    async def jobs_resume(self, arguments: Arguments) -> JSON:
        return [await self._parts.downloads.resume(str(arguments["id"]))]

    async def jobs_cancel(self, arguments: Arguments) -> JSON:
        return [await self._parts.downloads.cancel(str(arguments["id"]))]
