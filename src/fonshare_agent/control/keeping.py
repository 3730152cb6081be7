"""What `keep` does besides following: a folder for what comes, offered on to the group.

The folder is keep's alone, so that nothing else that lies on the disk is offered by it.
Nothing here removes a file (docs/decisions/0102). Core thread.
"""

import os
from pathlib import Path
from typing import Final

from fonshare_agent.control.parts import Parts
from fonshare_agent.disk import make_folders_below
from fonshare_agent.errors import AlreadyExists, FolderInUse, StorageError, UsageError
from fonshare_agent.index.records import Found
from fonshare_agent.index.state_follows import Follow
from fonshare_agent.model import LABEL_BYTES_MAX, SharePath, is_label, printable
from fonshare_agent.settings import ShareSettings

KEPT: Final = "kept"  # below the disk


class Keeping:
    """*parts* of the running node."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def name_for(self, found: Found) -> str:
        """Return what the share is called if nobody says: the place, and whose."""
        member = self._parts.groups.member_name(found.group, found.member)
        rest = f" ({member})"
        room = LABEL_BYTES_MAX - len(rest.encode())
        name = printable(found.name).encode()[:room].decode("utf-8", "ignore").strip()
        return name + rest

    async def offer(self, found: Found, name: str) -> SharePath:
        """Publish a new folder as *name* to the group; return it, below the disk."""
        parts, label = self._parts, self._parts.groups.label(found.group)
        if not is_label(name):
            raise UsageError(f"{name!r} cannot be the name of a share", thing=name)
        if any(share.name == name for share in parts.published.shares):
            raise AlreadyExists(
                f"there is a share called {name!r} already",
                thing=name,
                next="Choose another name with --name.",
            )
        below = SharePath.parse("/".join((KEPT, label, name)))
        await parts.files.run(self._make_folder, below)
        await parts.published.add(ShareSettings(name, Path(str(below)), (label,)))
        return below

    def _make_folder(self, below: SharePath) -> None:
        """On the files thread; FolderInUse if anything lies there."""
        disk, place = self._parts.disk, str(below)
        root = disk.open_root()
        try:
            folder = make_folders_below(root, below)
            try:
                taken = os.listdir(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StorageError(f"{place}: {error.strerror}", thing=place) from None
        finally:
            os.close(root)
        if taken:
            raise FolderInUse(
                f"{place!r} is not empty: all in it would be offered", thing=place
            )

    def share_of(self, follow: Follow) -> str | None:
        """Return the name of the share that offers a kept place on, if it is there."""
        if follow.folder is None:
            return None
        disk = self._parts.published.settings.disk
        folder = disk / os.fsdecode(follow.folder)
        shares = self._parts.published.shares
        return next((one.name for one in shares if disk / one.path == folder), None)

    async def withdraw(self, follow: Follow) -> None:
        """Offer a kept place no more; its files stay."""
        name = self.share_of(follow)
        if name is not None:
            await self._parts.published.remove(name)
