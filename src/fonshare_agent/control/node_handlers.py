"""Handlers of `status`, `doctor`, `share …`, `disk …` and `limits`."""

from pathlib import Path

from fonshare_agent.control import views
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.doctor import examine
from fonshare_agent.errors import StorageError
from fonshare_agent.protocol.keys import node_id_text
from fonshare_agent.settings import Settings, ShareSettings

Arguments = dict[str, JSON]


class NodeHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def _settings(self) -> Settings:
        return self._parts.published.settings

    async def status(self, arguments: Arguments) -> JSON:
        parts = self._parts
        files, size = await parts.store.run(parts.index.counts)
        groups: list[JSON] = []
        for label, group in parts.groups.labels().items():
            machine = parts.channel.find_machine(group)
            if machine is not None:
                members = views.members(
                    machine.roster, machine.me, machine.peers.online()
                )
                groups.append({"name": label, "members": members})
        return {
            "node": {
                "id": node_id_text(parts.keys.signer.node_id),
                "name": self._settings.node.name,
            },
            "disk": await self._disk(),
            "broker": {"connected": parts.links.any_connected()},
            "index": {
                "files": files,
                "bytes": size,
                "scanning": parts.scanner.report().is_scanning,
            },
            "groups": groups,
            "jobs": views.job_totals(await parts.store.run(parts.state.totals)),
        }

    async def _disk(self) -> dict[str, JSON]:
        try:
            await self._parts.files.run(self._parts.disk.check)
            space = await self._parts.files.run(self._parts.disk.space)
        except StorageError:
            return {"present": False, "total_bytes": 0, "free_bytes": 0}
        return {
            "present": True,
            "total_bytes": space.total_bytes,
            "free_bytes": space.free_bytes,
        }

    async def doctor(self, arguments: Arguments) -> JSON:
        return await examine(self._parts)

    # --- shares ---

    async def share_add(self, arguments: Arguments) -> JSON:
        groups = arguments["group"]
        assert isinstance(groups, list)
        named = tuple(str(one) for one in groups)
        share = ShareSettings(
            str(arguments["name"]), Path(str(arguments["path"])), named
        )
        return _share(await self._parts.published.add(share))

    async def share_ls(self, arguments: Arguments) -> JSON:
        rows: list[JSON] = []
        for share in self._parts.published.shares:
            files, size = await self._parts.store.run(
                self._parts.index.share_counts, share.name
            )
            rows.append({**_share(share), "files": files, "bytes": size})
        return rows

    async def share_rm(self, arguments: Arguments) -> JSON:
        await self._parts.published.remove(str(arguments["name"]))
        return {"name": arguments["name"]}

    # --- disk and limits ---

    async def disk(self, arguments: Arguments) -> JSON:
        return {"path": str(self._settings.disk), **await self._disk()}

    async def disk_adopt(self, arguments: Arguments) -> JSON:
        await self._parts.files.run(self._parts.disk.adopt)
        self._parts.scanner.rescan()
        return await self.disk(arguments)

    async def limits(self, arguments: Arguments) -> JSON:
        names = {
            "upload": "upload_kib_s",
            "download": "download_kib_s",
            "transfers": "transfers",
        }
        changes = {
            option: value
            for flag, option in names.items()
            if isinstance(value := arguments[flag], int)
        }
        if changes:
            settings = await self._parts.published.set_limits(changes)
            self._parts.downloads.set_limits(settings.limits)
        limits = self._settings.limits
        return {
            "upload_kib_s": limits.upload_kib_s,
            "download_kib_s": limits.download_kib_s,
            "transfers": limits.transfers,
        }


def _share(share: ShareSettings) -> dict[str, JSON]:
    groups: list[JSON] = list(share.groups)
    return {"name": share.name, "path": str(share.path), "groups": groups}
