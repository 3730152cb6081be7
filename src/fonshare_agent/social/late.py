"""What follows and ratings have in common while a node may have none of them.

Each is loaded with the first of them, or at the start if there is one. Core thread;
on_demand.py says how.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from fonshare_agent.core import Core, Worker
from fonshare_agent.model import GroupId
from fonshare_agent.on_demand import OnDemand

if TYPE_CHECKING:
    from typing import Protocol

    class Kept(Protocol):
        """What is loaded: something of each group, kept in state.db."""

        async def load(self) -> None: ...

        def drop_group(self, group: GroupId) -> None: ...

        def stop(self) -> None: ...


K = TypeVar("K", bound="Kept")


class Late(Generic[K]):
    """*has_any* asks state.db, on the store thread. *load* imports the part."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        files: Worker,
        has_any: Callable[[], bool],
        load: Callable[[], Callable[[], K]],
    ) -> None:
        self._core, self._store, self._has_any = core, store, has_any
        self._part = OnDemand(files, load)

    async def get(self) -> K:
        """Return the part; raises DiskMissing if it cannot be loaded now."""
        return await self._part.get()

    async def load(self) -> None:
        """Go on with what there is; call once, when the node is up."""
        if await self._store.run(self._has_any):
            await (await self.get()).load()

    def drop_group(self, group: GroupId) -> None:
        if self._part.made is not None:
            self._part.made.drop_group(group)

    def stop(self) -> None:
        if self._part.made is not None:
            self._part.made.stop()
