"""Mirrors, loaded with the first share that is one: most nodes have none.

Where the files are gone (a disk that was pulled) it is tried again with the next
change. Core thread; reading the modules from the disk is the files thread's.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fonshare_agent.core import Core, Worker
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.settings import ShareSettings

if TYPE_CHECKING:
    from fonshare_agent.mirror.mirrors import Mirrors


class MirrorsOnDemand:
    """What a node asks of its mirrors while there may be none."""

    def __init__(
        self, core: Core, files: Worker, load: Callable[[], Callable[[], "Mirrors"]]
    ) -> None:
        self._core, self._mirrors = core, OnDemand(files, load)
        self._is_stopped = False

    def follow(self, shares: Iterable[ShareSettings]) -> None:
        """These are the shares now."""
        mirrors = [share for share in shares if share.mirror_of]
        if (mirrors or self._mirrors.made is not None) and not self._is_stopped:
            self._core.spawn_service("mirrors", self._follow(mirrors))

    async def _follow(self, mirrors: list[ShareSettings]) -> None:
        await (await self.get()).follow(mirrors)

    async def get(self) -> "Mirrors":
        return await self._mirrors.get()

    @property
    def made(self) -> "Mirrors | None":
        """The mirrors, if this node has had any since it began."""
        return self._mirrors.made

    async def stop(self) -> None:
        self._is_stopped = True
        if self._mirrors.made is not None:
            await self._mirrors.made.stop()
