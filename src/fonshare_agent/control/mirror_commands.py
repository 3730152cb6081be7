"""What `share add ftp://…` and `share password` do: mirrors of others' servers.

Loaded by who needs it alone. The server is tried before anything is changed, so that a
wrong password or path is told at once. Core thread.
"""

import os
from pathlib import Path

from fonshare_agent.config_check import absolute, is_within
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.disk import make_folders_below
from fonshare_agent.errors import (
    AlreadyExists,
    FonshareError,
    NotFound,
    StorageError,
    UsageError,
)
from fonshare_agent.mirror import kept, logins
from fonshare_agent.model import SharePath
from fonshare_agent.settings import Settings, ShareSettings
from fonshare_agent.transfer.fxp_tls import read_pin
from fonshare_agent.transfer.fxp_url import ServerUrl

Arguments = dict[str, JSON]


class MirrorCommands:
    """One method a command."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def _settings(self) -> Settings:
        return self._parts.published.settings

    async def add(self, arguments: Arguments) -> ShareSettings:
        """Make a share that is a copy of a server's folder."""
        share, password = self._new_share(arguments), str(arguments["password"] or "")
        for label in share.groups:
            self._parts.groups.get(label)
        mirrors = await self._parts.mirrors.get()
        await mirrors.look(share, password)
        files, keys = self._parts.files, self._settings.keys
        await files.run(self._make_folder, share.path)
        await files.run(
            logins.keep_password, keys, share.name, share.mirror_of, password
        )
        try:
            added = await self._parts.published.add(share)
        except FonshareError:
            await files.run(logins.forget_password, keys, share.name)
            raise
        await mirrors.follow([*mirrors.shares(), added])
        mirrors.refresh(added.name)
        return added

    def _new_share(self, arguments: Arguments) -> ShareSettings:
        name, groups = str(arguments["name"]), arguments["group"]
        assert isinstance(groups, list)
        if name in (share.name for share in self._parts.published.shares):
            raise AlreadyExists(f"there is a share {name!r} already", thing=name)
        url = ServerUrl.parse(str(arguments["path"]))
        pin, ca = arguments["pin"], arguments["ca"]
        if pin is not None and ca is not None:
            raise UsageError("a pin counts instead of authorities", thing="--ca")
        return ShareSettings(
            name,
            self._folder(str(arguments["to"] or kept.default_folder(name))),
            tuple(str(one) for one in groups),
            str(url),
            None if pin is None else read_pin(str(pin)),
            None if ca is None else absolute(self._settings.disk, str(ca)),
        )

    def _folder(self, text: str) -> Path:
        disk = self._settings.disk
        path = absolute(disk, text)
        if not is_within(path, disk) or path == disk:
            raise UsageError("the copy lies below the disk", thing=text)
        return path

    def _make_folder(self, path: Path) -> None:
        disk = self._parts.disk
        disk.check_writable()
        root = disk.open_root()
        try:
            below = SharePath.parse(str(path.relative_to(disk.path)))
            os.close(make_folders_below(root, below))
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}", thing=str(path)) from None
        finally:
            os.close(root)

    async def set_password(self, arguments: Arguments) -> None:
        """Try another password, and keep it if the server takes it."""
        name, password = str(arguments["name"]), str(arguments["password"] or "")
        shares = self._parts.published.shares
        share = next((s for s in shares if s.name == name and s.mirror_of), None)
        if share is None:
            raise NotFound(
                f"share {name!r} is no mirror of a server",
                thing=name,
                next="See `fonshare share ls`.",
            )
        mirrors = await self._parts.mirrors.get()
        await mirrors.look(share, password)
        keys = self._settings.keys
        await self._parts.files.run(
            logins.keep_password, keys, name, share.mirror_of, password
        )
        mirrors.refresh(name)
