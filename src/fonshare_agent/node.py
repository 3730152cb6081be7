"""WIRING: builds the running node from the settings, starts and stops it.

Nothing constructs its own collaborators: this page, group_side.py (what talks) and
transfer_side.py (what moves files) tell who talks to whom. Parts start in the order in
which they need each other and stop in the reverse. Threads: core (here), store, files,
crypto, closer, the scanner and the watcher, the FTP loop, a link for each broker, the
transfer workers.
"""

import logging
from collections.abc import Awaitable, Callable

from fonshare_agent import clock
from fonshare_agent.channel import Listener
from fonshare_agent.control.handlers import Handlers
from fonshare_agent.control.parts import Parts
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import PortTaken, StorageError
from fonshare_agent.ground import Ground
from fonshare_agent.group_side import Across, GroupSide
from fonshare_agent.groups import Followers
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId
from fonshare_agent.nodekeys import NodeKeys, settle_incarnation
from fonshare_agent.routing import Routing
from fonshare_agent.settings import Settings
from fonshare_agent.transfer_side import TransferSide

log = logging.getLogger(__name__)

TEND_S = 30.0  # idle sessions between friends are kept open by a word twice a minute
UPLOADS_KEPT_S = 7 * 24 * 3600.0  # an interrupted upload nobody goes on with

Draw = Callable[[int], bytes]


class Node:
    """One running node: `start` it on the core thread, and `stop` it there."""

    def __init__(
        self, settings: Settings, core: Core, keys: NodeKeys, disk: Disk, draw: Draw
    ) -> None:
        self._settings, self._core, self._draw = settings, core, draw
        self._keys, self._disk = keys, disk
        self._store, self._files = Worker("store", core), Worker("files", core)
        self._crypto, self._closer = Worker("crypto", core), Worker("closer", core)
        self._started: list[Callable[[], Awaitable[None]]] = []
        self._is_stopping = False

    # --- building, from the ground up ---

    async def start(self) -> Handlers:
        """Build and start everything; StorageError leaves nothing running."""
        for worker in (self._store, self._files, self._crypto, self._closer):
            worker.start()
        self._ground = await self._open_ground()
        across = Across(
            is_busy=lambda: self._moving.downloads.is_busy,
            revoke_lost_rights=lambda: self._moving.granting.revoke_lost_rights(),
        )
        self._talking = GroupSide(self._ground, across)
        self._moving = TransferSide(self._ground, self._talking)
        self._wire()
        await self._start_services()
        return Handlers(self._parts(), self._talking.home_broker)

    async def _open_ground(self) -> Ground:
        settings, core, keys = self._settings, self._core, self._keys
        disk_id = await self._files.run(self._disk.open)
        settings.index.mkdir(parents=True, exist_ok=True)
        state = await self._store.run(
            StateStore, settings.state_file, disk_id, core.clock
        )
        self._ends_with(self._store, state.close)
        index = await self._store.run(
            IndexStore, settings.index_file, keys.signer.node_id, self._draw
        )
        self._ends_with(self._store, index.close)
        await self._store.run(settle_incarnation, keys, state, self._draw)
        return Ground(
            settings,
            core,
            keys,
            self._disk,
            self._draw,
            self._store,
            self._files,
            self._crypto,
            self._closer,
            index,
            state,
        )

    def _ends_with(self, worker: Worker, close: Callable[[], None]) -> None:
        """When the node stops, run *close* on *worker*: last started, first ended."""

        async def end() -> None:
            await worker.run(close)

        self._started.append(end)

    def _wire(self) -> None:
        talking, moving = self._talking, self._moving
        routing = Routing(
            self._core,
            talking.channel,
            talking.groups,
            talking.sharing,
            talking.published,
            moving.granting,
            moving.downloads,
            moving.asking,
        )
        talking.channel.wire(
            Listener(
                talking.groups.save,
                routing.on_event,
                routing.on_command,
                talking.sharing.own_head,
            ),
            talking.links,
        )
        talking.groups.wire(
            Followers(talking.sharing.add_group, self._on_joined, self._on_dropped)
        )
        talking.invites.wire(talking.links)

    async def _start_services(self) -> None:
        talking, moving = self._talking, self._moving
        self._open_doors()
        self._ends_with(self._closer, moving.ftp.stop)
        self._ends_with(self._closer, moving.workers.stop)
        await talking.groups.load()
        await talking.published.refresh()
        talking.scanner.start()
        self._ends_with(self._closer, talking.scanner.stop)
        talking.watcher.start()
        self._ends_with(self._closer, talking.watcher.stop)
        self._started += [moving.downloads.stop, talking.links.stop]
        await talking.invites.load()
        talking.links.refresh()
        self._core.spawn_service("old partials", moving.downloads.drop_orphans())
        moving.downloads.wake()
        self._core.call_later(TEND_S, self._tend_soon)

    def _open_doors(self) -> None:
        try:
            self._moving.ftp.start()
        except OSError as error:
            where = f"{self._settings.ftp.address}:{self._settings.ftp.port}"
            raise PortTaken(
                f"the FTP server cannot listen on {where}: {error.strerror}",
                thing="ftp.port",
            ) from None

    def _parts(self) -> Parts:
        ground, talking = self._ground, self._talking
        return Parts(
            core=ground.core,
            store=ground.store,
            files=ground.files,
            keys=ground.keys,
            disk=ground.disk,
            index=ground.index,
            state=ground.state,
            scanner=talking.scanner,
            links=talking.links,
            channel=talking.channel,
            groups=talking.groups,
            invites=talking.invites,
            published=talking.published,
            downloads=self._moving.downloads,
        )

    # --- who hears of what ---

    def _on_joined(self, group: GroupId) -> None:
        del group  # its members have rights now
        self._core.spawn_service("publish", self._talking.published.refresh())

    async def _on_dropped(self, group: GroupId) -> None:
        await self._talking.invites.drop_group(group)
        await self._moving.downloads.drop_group(group)
        await self._store.run(self._ground.state.forget_group, group)
        await self._talking.sharing.drop_group(group)
        await self._talking.published.refresh()

    async def find_disk_error(self) -> StorageError | None:
        """Look whether the disk is still there."""
        try:
            await self._files.run(self._disk.check)
        except StorageError as error:
            return error
        return None

    # --- what is done now and then ---

    def _tend_soon(self) -> None:
        if not self._is_stopping:
            self._core.spawn_service("housekeeping", self._tend())
            self._core.call_later(TEND_S, self._tend_soon)

    async def _tend(self) -> None:
        """Keep idle sessions alive, back the state up, forget old jobs."""
        await self._moving.workers.tend()
        await self._store.run(self._ground.state.back_up_if_due)
        await self._store.run(self._ground.state.prune_ended)
        if clock.is_known():
            await self._closer.run(self._moving.ftp.purge_uploads, UPLOADS_KEPT_S)

    # --- the end ---

    async def stop(self) -> None:
        """End what was started, in order; bounded, whatever disk and net do."""
        self._is_stopping = True
        for end in reversed(self._started):
            await end()
        for worker in (self._store, self._files, self._crypto):
            await self._closer.run(worker.stop)
        self._closer.dismiss()
