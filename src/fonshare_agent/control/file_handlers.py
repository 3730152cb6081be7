"""Handlers of `ls`, `get` and `jobs`: browsing and fetching."""

from fonshare_agent.control import views
from fonshare_agent.control.entries import find_entry, resolve
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rated import add_ratings
from fonshare_agent.control.rows import JSON, ROWS_UNASKED, Page
from fonshare_agent.errors import NotFound
from fonshare_agent.index import cursors
from fonshare_agent.index.records import Found, Kind, Mark
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.protocol.keys import node_id_text

Arguments = dict[str, JSON]

ALL = "all"  # instead of a job's id, which is longer
BROWSE_PAGE = 500  # rows in one go on the store thread


class FileHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # --- ls ---

    async def ls(self, arguments: Arguments) -> JSON:
        limit, after = arguments["limit"], arguments["after"]
        page = _Paging(
            limit if isinstance(limit, int) else ROWS_UNASKED,
            None if after is None else str(after),
        )
        parts = str(arguments["path"]).strip("/").split("/", 3)
        match parts:
            case [""]:
                return page.cut(self._group_rows())
            case [group]:
                return page.cut(self._member_rows(self._parts.groups.get(group)))
            case [group, member]:
                found = self._parts.groups.get(group)
                return await self._below(found, member, None, None, page)
            case [group, member, share, *rest]:
                found = self._parts.groups.get(group)
                path = SharePath.parse(rest[0]) if rest and rest[0] else None
                return await self._below(found, member, share, path, page)
        raise NotFound(
            "there is no such place",
            thing=str(arguments["path"]),
            next="See `fonshare ls`; a path is GROUP/MEMBER/SHARE/PATH.",
        )

    def _group_rows(self) -> list[dict[str, JSON]]:
        return [
            views.place(
                "group", views.group_row_id(group), label, label, online=True, own=True
            )
            for label, group in self._parts.groups.labels().items()
        ]

    def _member_rows(self, group: GroupId) -> list[dict[str, JSON]]:
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
        self,
        group: GroupId,
        who: str,
        share: str | None,
        path: SharePath | None,
        page: "_Paging",
    ) -> JSON:
        member = self._parts.groups.get_member(group, who)
        if share is not None:
            top = await resolve(self._parts, group, member, share, path)
            if top.kind == "file":
                row = self._row(top)
                await add_ratings(self._parts, [row])
                return page.cut([row])
        after: Found | Mark | None = page.mark(group, member)
        found: list[Found] = []
        while len(found) < page.wanted:
            limit = min(BROWSE_PAGE, page.wanted - len(found))
            some = await self._parts.store.run(
                self._parts.index.browse,
                group=group,
                member=member,
                share=share,
                folder=path,
                limit=limit,
                after=after,
            )
            found += some
            if len(some) < limit:
                break
            after = some[-1]
        rows = [self._row(one) for one in found]
        await add_ratings(self._parts, rows)
        return page.of([(row, one.name) for row, one in zip(rows, found, strict=True)])

    def _row(self, found: Found) -> dict[str, JSON]:
        machine = self._parts.channel.find_machine(found.group)
        online = found.own or (
            machine is not None and found.member in machine.peers.online()
        )
        label = self._parts.groups.label(found.group)
        member = self._parts.groups.member_name(found.group, found.member)
        return views.entry(found, label, member, online)

    # --- get and jobs ---

    async def get(self, arguments: Arguments) -> JSON:
        entries = arguments["entries"]
        assert isinstance(entries, list)
        # All are looked up before the first job is made: a typing error in the third
        # must not leave two jobs behind an error message.
        wanted = [await find_entry(self._parts, str(one)) for one in entries]
        to = None if arguments["to"] is None else str(arguments["to"])
        mark = True if arguments["stream"] else None
        jobs = [await self._parts.downloads.add(one, to, mark) for one in wanted]
        return [await self._parts.downloads.view(job) for job in jobs]

    async def jobs(self, arguments: Arguments) -> JSON:
        return await self._parts.downloads.views()

    async def jobs_pause(self, arguments: Arguments) -> JSON:
        if arguments["id"] == ALL:
            return [*await self._parts.downloads.pause_all()]
        return [await self._parts.downloads.pause(str(arguments["id"]))]

    async def jobs_first(self, arguments: Arguments) -> JSON:
        return [await self._move(arguments, to_front=True)]

    async def jobs_last(self, arguments: Arguments) -> JSON:
        return [await self._move(arguments, to_front=False)]

    async def _move(self, arguments: Arguments, *, to_front: bool) -> JSON:
        job_id = str(arguments["id"])
        return await self._parts.downloads.move(job_id, to_front=to_front)

    async def jobs_resume(self, arguments: Arguments) -> JSON:
        if arguments["id"] == ALL:
            return [*await self._parts.downloads.resume_all()]
        return [await self._parts.downloads.resume(str(arguments["id"]))]

    async def jobs_cancel(self, arguments: Arguments) -> JSON:
        return [await self._parts.downloads.cancel(str(arguments["id"]))]

    async def jobs_rm(self, arguments: Arguments) -> JSON:
        history = self._parts.downloads.history
        if arguments["id"] == ALL:
            return [*await history.remove_over()]
        return [await history.remove(str(arguments["id"]))]


class _Paging:
    """Which rows of a listing are asked for. A cursor is the kind and name of a row."""

    def __init__(self, limit: int, after: str | None) -> None:
        self.wanted = limit + 1  # one more tells whether there is more
        self._limit = limit
        self._after = None if after is None else _read_mark(after)

    def mark(self, group: GroupId, member: NodeId) -> Mark | None:
        if self._after is None:
            return None
        return Mark(*self._after, group, member)

    def of(self, rows: list[tuple[dict[str, JSON], bytes]]) -> Page:
        """Return the page of *rows*, which begin after the cursor."""
        shown, more = rows[: self._limit], None
        if len(rows) > self._limit:
            row, name = shown[-1]
            text = name.decode("utf-8", "surrogateescape")
            more = cursors.write("ls", str(row["kind"]), text)
        return Page(views.with_cursor([row for row, _ in shown], more), more)

    def cut(self, rows: list[dict[str, JSON]]) -> Page:
        """Return the page of all *rows*, by their names; for the few at the top."""
        named = [(row, str(row["name"]).encode()) for row in rows]
        named.sort(key=lambda one: one[1])
        last = None if self._after is None else self._after[1]
        return self.of([one for one in named if last is None or one[1] > last])


def _read_mark(cursor: str) -> tuple[Kind, bytes]:
    kind, name = cursors.read(cursor, "ls", str, str)
    try:
        raw = str(name).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise cursors.refused(cursor) from None
    return ("folder" if kind == "folder" else "file"), raw
