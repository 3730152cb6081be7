"""Handlers of `status`, `doctor`, `share …`, `disk …` and `limits`."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fonshare_agent.control import views
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.disk import Disk
from fonshare_agent.errors import NotFound, StorageError, UsageError
from fonshare_agent.model import JobState
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.protocol.keys import node_id_text
from fonshare_agent.settings import Settings, ShareSettings

if TYPE_CHECKING:
    from fonshare_agent.control.mirror_commands import MirrorCommands

Arguments = dict[str, JSON]


class NodeHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._doctor = OnDemand(parts.files, _load_doctor)
        self._mirrors = OnDemand(parts.files, self._load_mirrors)

    @property
    def _settings(self) -> Settings:
        return self._parts.published.settings

    async def status(self, arguments: Arguments) -> JSON:
        parts = self._parts
        (files, size), totals, changes = await parts.store.run(self._kept)
        groups: list[JSON] = []
        for label, group in parts.groups.labels().items():
            machine = parts.channel.find_machine(group)
            if machine is not None:
                members = views.members(
                    machine.roster,
                    machine.me,
                    machine.peers.online(),
                    partial(parts.seen.find, group),
                )
                brokers = views.brokers(machine.roster)
                groups.append({"name": label, "members": members, "brokers": brokers})
        return {
            "node": {
                "id": node_id_text(parts.keys.signer.node_id),
                "name": self._settings.node.name,
            },
            "disk": await self._disk(),
            "broker": {"connected": parts.links.any_connected()},
            "index": {"files": files, "bytes": size, **self._index()},
            "groups": groups,
            "jobs": views.job_totals(totals),
            # Who looks again and again reads anew only what these say has moved.
            "changes": changes,
        }

    def _kept(self) -> tuple[tuple[int, int], dict[JobState, int], JSON]:
        """Return what shares hold, how many jobs stand where, and what has moved."""
        index, state = self._parts.index, self._parts.state
        changes: JSON = {
            "index": index.changes(),
            "state": state.changes(),
            "ratings": state.rating_changes(),
        }
        return index.counts(), state.totals(), changes

    async def _disk(self) -> dict[str, JSON]:
        disk, files = self._parts.disk, self._parts.files
        try:
            await files.run(disk.check)
            space = await files.run(disk.space)
        except StorageError as error:
            return views.missing_disk(error)
        try:
            await files.run(disk.check_writable)
        except StorageError as error:
            return views.disk(space, error)
        return views.disk(space, None)

    def _index(self) -> dict[str, JSON]:
        parts, report = self._parts, self._parts.scanner.report()
        return {
            "scanning": report.is_scanning,
            "rebuilt": parts.index.rebuilt,
            "unwatched": parts.watcher.report().unwatched,
            "shares": [
                {**views.share_report(name, one), "mirror": self._mirror(name)}
                for name, one in report.shares.items()
            ],
        }

    def _load_mirrors(self) -> Callable[[], "MirrorCommands"]:
        from fonshare_agent.control.mirror_commands import MirrorCommands

        return lambda: MirrorCommands(self._parts)

    async def doctor(self, arguments: Arguments) -> JSON:
        doctor = await self._doctor.get()
        return await doctor(self._parts)

    # --- shares ---

    async def share_add(self, arguments: Arguments) -> JSON:
        groups = arguments["group"]
        assert isinstance(groups, list)
        named = tuple(str(one) for one in groups)
        path = str(arguments["path"])
        if "://" in path:
            return _share(await (await self._mirrors.get()).add(arguments))
        given = [name for name in ("to", "pin", "ca", "password") if arguments[name]]
        if given:
            raise UsageError("that is for a copy of a server", thing=f"--{given[0]}")
        share = ShareSettings(str(arguments["name"]), Path(path), named)
        return _share(await self._parts.published.add(share))

    async def share_ls(self, arguments: Arguments) -> JSON:
        rows: list[JSON] = []
        for share in self._parts.published.shares:
            files, size = await self._parts.store.run(
                self._parts.index.counts, share.name
            )
            row = {**_share(share), "files": files, "bytes": size}
            rows.append({**row, "mirror": self._mirror(share.name)})
        return rows

    async def share_rm(self, arguments: Arguments) -> JSON:
        name = str(arguments["name"])
        shares = self._parts.published.shares
        before = next((share for share in shares if share.name == name), None)
        await self._parts.published.remove(name)
        if before is None or not before.mirror_of:
            return {"name": name}
        await (await self._parts.mirrors.get()).forget(before)
        return {"name": name, "kept": str(before.path)}

    async def share_refresh(self, arguments: Arguments) -> JSON:
        name = str(arguments["name"])
        (await self._parts.mirrors.get()).refresh(name)
        return await self._share_row(name)

    async def share_password(self, arguments: Arguments) -> JSON:
        await (await self._mirrors.get()).set_password(arguments)
        return await self._share_row(str(arguments["name"]))

    async def _share_row(self, name: str) -> JSON:
        rows = await self.share_ls({})
        assert isinstance(rows, list)
        return [row for row in rows if isinstance(row, dict) and row["name"] == name]

    def _mirror(self, name: str) -> JSON:
        made = self._parts.mirrors.made
        return None if made is None else made.told(name)

    async def share_confirm(self, arguments: Arguments) -> JSON:
        name = str(arguments["name"])
        if name not in (share.name for share in self._parts.published.shares):
            raise NotFound(
                f"there is no share {name!r}",
                thing=name,
                next="See `fonshare share ls`.",
            )
        held = self._parts.scanner.confirm(name)
        missing = held.missing if held else 0
        if self._parts.mirrors.made is not None:
            missing += self._parts.mirrors.made.confirm(name)
        return {"name": name, "missing": missing}

    # --- disk and limits ---

    async def disk(self, arguments: Arguments) -> JSON:
        return {"path": str(self._settings.disk), **await self._disk()}

    async def disk_ls(self, arguments: Arguments) -> JSON:
        path = str(arguments["path"])
        found = await self._parts.files.run(_list_folders, self._parts.disk, path)
        shared = {str(share.path) for share in self._parts.published.shares}
        return [
            {
                "name": one.rpartition("/")[2],
                "path": one,
                "shared": str(self._settings.disk / one) in shared,
            }
            for one in found
        ]

    async def disk_adopt(self, arguments: Arguments) -> JSON:
        await self._parts.files.run(self._parts.disk.adopt)
        self._parts.scanner.rescan()
        return await self.disk(arguments)

    async def limits(self, arguments: Arguments) -> JSON:
        names = {
            "upload": "upload_kib_s",
            "download": "download_kib_s",
            "transfers": "transfers",
            "uploads": "uploads",
            "hours": "hours",
            "other_upload": "other_upload_kib_s",
            "other_download": "other_download_kib_s",
        }
        changes: dict[str, int | str] = {
            option: value
            for flag, option in names.items()
            if isinstance(value := arguments[flag], int | str)
        }
        for name in ("house", "give_way"):
            if arguments[name] is not None:
                changes[name] = arguments[name] == "on"
        if changes:
            settings = await self._parts.published.set_limits(changes)
            self._parts.downloads.set_limits(settings.limits)
        return views.limits(self._settings.limits, self._parts.manners)


def _load_doctor() -> Callable[[], Callable[[Parts], Awaitable[JSON]]]:
    from fonshare_agent.doctor import examine

    return lambda: examine


def _list_folders(disk: Disk, path: str) -> list[str]:
    # Loaded here: folders are chosen a few times in a node's life.
    from fonshare_agent.disk_folders import list_folders

    return list_folders(disk, path)


def _share(share: ShareSettings) -> dict[str, JSON]:
    groups: list[JSON] = list(share.groups)
    return {"name": share.name, "path": str(share.path), "groups": groups}
