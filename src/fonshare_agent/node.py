"""WIRING: builds the running node from the settings, starts and stops it.

Nothing constructs its own collaborators: this page, group_side.py (what talks) and
transfer_side.py (what moves files) tell who talks to whom. Parts start in the order in
which they need each other and stop in the reverse. Threads: core (here), store, files,
crypto, closer, the scanner and the watcher, the FTP loop, a link for each broker, the
transfer workers.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fonshare_agent.channel import Listener
from fonshare_agent.config import load_settings
from fonshare_agent.control.handlers import Handlers
from fonshare_agent.control.parts import Parts
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    DiskReadOnly,
    FonshareError,
    PortTaken,
    SettingsError,
    StorageError,
)
from fonshare_agent.ground import Ground
from fonshare_agent.group_side import Across, GroupSide
from fonshare_agent.groups import Followers
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.store import IndexStore
from fonshare_agent.links.network_watch import NetworkWatch
from fonshare_agent.manners import DOWN
from fonshare_agent.mirror.on_demand import MirrorsOnDemand
from fonshare_agent.model import GroupId
from fonshare_agent.nodekeys import NodeKeys, settle_incarnation
from fonshare_agent.room_watch import RoomWatch
from fonshare_agent.routing import Routing
from fonshare_agent.settings import Settings
from fonshare_agent.social_side import SocialSide
from fonshare_agent.transfer_side import TransferSide
from fonshare_agent.upkeep import Upkeep

if TYPE_CHECKING:
    from fonshare_agent.mirror.mirrors import Mirrors

log = logging.getLogger(__name__)

MIRROR = b"mirror"  # among those that share the limit: all mirrors together are one
TEND_S = 30.0  # idle sessions between friends are kept open by a word twice a minute
NETWORK_S = 2.0  # how soon another address is noticed; a look is one system call
WORKER_STOP_S = 10.0  # what is queued is small; a disk that hangs is not waited for

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
        self._is_stopping = self._is_up = self._is_disk_away = self._is_sealed = False
        self._room = RoomWatch()

    # --- building, from the ground up ---

    async def start(self) -> Handlers:
        """Build and start everything; StorageError leaves nothing running."""
        for worker in (self._store, self._files, self._crypto, self._closer):
            worker.start()
        self._ground = await self._open_ground()
        across = Across(
            is_busy=lambda: self._moving.downloads.is_busy,
            revoke_lost_rights=lambda: self._moving.revoke_lost_rights(),
            on_shares=lambda shares: self._mirrors.follow(shares),
            on_changes=lambda *told: self._social.follows.note_changes(*told),
        )
        self._talking = GroupSide(self._ground, across)
        self._moving = TransferSide(self._ground, self._talking)
        self._mirrors = MirrorsOnDemand(self._core, self._files, self._load_mirrors)
        self._social = SocialSide(self._ground, self._talking, self._moving.downloads)
        self._wire()
        await self._start_services()
        self._is_up = True
        return Handlers(self._parts(), self._talking.home_broker)

    async def _open_ground(self) -> Ground:
        core, keys = self._core, self._keys
        disk_id = await self._files.run(self._disk.open)
        self._settings = await self._files.run(_with_changes, self._settings)
        settings = self._settings
        await self._files.run(_make_folder, settings.index)
        # Made here, on a thread that may write: from now on it is at hand.
        await self._files.run(keys.statement, settings.node.name)
        state = await self._store.run(
            StateStore, settings.state_file, disk_id, core.clock
        )
        self._ends_with(self._store, state.close)
        index = await self._store.run(
            partial(
                IndexStore,
                settings.index_file,
                keys.signer.node_id,
                self._draw,
                on_rebuilt=lambda: core.post(self._on_index_rebuilt),
            )
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

    def _load_mirrors(self) -> Callable[[], "Mirrors"]:
        from fonshare_agent.mirror.mirrors import Mirrors

        ground, talking, manners = self._ground, self._talking, self._moving.manners
        return lambda: Mirrors(
            ground.core,
            ground.files,
            ground.settings,
            lambda address: manners.flow(DOWN, address, MIRROR),
            lambda: manners.may_fetch,
            lambda share: talking.scanner.on_change(share.path),
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
            talking.catching_up,
            talking.published,
            moving.moving,
            moving.downloads,
            moving.asking,
            talking.seen,
            self._social.ratings,
            self._settings.node.relay,
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
        talking.catching_up.wire(moving.copier)

    async def _start_services(self) -> None:
        talking, moving = self._talking, self._moving
        self._open_doors()
        self._ends_with(self._closer, moving.ftp.stop)
        self._ends_with(self._closer, moving.stop_workers)
        await talking.groups.load()
        await talking.published.hash_away_passwords()
        await talking.published.refresh()
        talking.scanner.start()
        self._ends_with(self._closer, talking.scanner.stop)
        talking.watcher.start()
        self._ends_with(self._closer, talking.watcher.stop)
        self._started += [talking.links.stop, moving.downloads.stop, moving.stop]
        self._started.append(self._mirrors.stop)
        self._started.append(self._end_questions)
        await talking.invites.load()
        await talking.seen.load()
        self._started.append(talking.seen.save)
        talking.links.refresh()
        self._core.spawn_service("leftovers", moving.clear_leftovers())
        moving.manners.start()
        self._started.append(moving.end_manners)
        moving.downloads.wake()
        self._upkeep = Upkeep(
            *(self._ground, talking.channel, moving.tend, moving.ftp),
            *(talking.seen.save, talking.leaving),
        )
        self._core.call_later(TEND_S, self._tend_soon)
        self._network = NetworkWatch()
        self._ends_with(self._closer, self._network.close)
        self._core.call_later(NETWORK_S, self._look_at_network)
        self._started.append(moving.mapping.stop)
        moving.mapping.consider()
        await moving.ways.load()
        self._started.append(self._social.stop)
        self._social.load()

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
            watcher=talking.watcher,
            links=talking.links,
            channel=talking.channel,
            groups=talking.groups,
            seen=talking.seen,
            invites=talking.invites,
            published=talking.published,
            downloads=self._moving.downloads,
            follows=self._social.follows,
            ratings=self._social.ratings,
            manners=self._moving.manners,
            reach=self._moving.reach,
            mapping=self._moving.mapping,
            ways=self._moving.ways,
            mirrors=self._mirrors,
            try_back=self._moving.try_back,
        )

    async def _end_questions(self) -> None:
        self._moving.asking.stop()

    # --- who hears of what ---

    def _on_joined(self, group: GroupId) -> None:
        """Its members have rights now; who left before a crash has no catalogue."""
        talking = self._talking
        self._core.spawn_service("publish", talking.published.refresh())
        machine = talking.channel.machine(group)
        work = talking.sharing.keep_members(group, lambda: machine.roster.members)
        self._core.spawn_service("forget members", work)

    async def _on_dropped(self, group: GroupId) -> None:
        self._talking.published.refresh_rights()  # first: the rest may wait for a disk
        await self._talking.invites.drop_group(group)
        self._social.drop_group(group)
        await self._moving.downloads.history.drop_group(group)
        await self._store.run(self._ground.state.forget_group, group)
        await self._talking.sharing.drop_group(group)
        await self._talking.published.refresh()

    def _on_index_rebuilt(self) -> None:
        """It is empty: say again what is published, scan, ask the members."""
        if self._is_up and not self._is_stopping:
            self._core.spawn_service("fill the index", self._fill_index())

    async def _fill_index(self) -> None:
        await self._talking.published.refresh()
        await self._talking.sharing.start_over()
        self._talking.scanner.rescan()

    async def find_disk_error(self) -> StorageError | None:
        """Look whether the disk is there, and go on with it when it is back."""
        try:
            is_other = await self._files.run(self._disk.check_again)
            if is_other or self._is_disk_away:
                self._on_disk_back()
            self._is_disk_away = False
            self._note_room(await self._files.run(self._disk.room_seen))
            await self._files.run(self._disk.check_writable)
        except DiskReadOnly as error:
            self._note_writable(False)
            return error
        except StorageError as error:
            if not self._is_disk_away:
                self._on_disk_lost()
            self._is_disk_away = True
            return error
        self._note_writable(True)
        return None

    def _on_disk_lost(self) -> None:
        """End what still reads it: an unmounted disk is kept by each open file."""
        if self._is_up:
            self._moving.desk.revoke(lambda ticket: True)

    def _on_disk_back(self) -> None:
        """What was watched is gone with the mount; much may have changed elsewhere."""
        if self._is_up:
            self._talking.watcher.watch_anew()  # and has all scanned
            self._moving.disk_is_back()

    def _note_room(self, seen: tuple[int, int]) -> None:
        """Somebody has deleted something: a job may have waited for that."""
        grown = [self._room.has_grown(one, self._core.clock()) for one in seen]
        if any(grown) and self._is_up:
            self._moving.downloads.wake("disk.full")

    def _note_writable(self, is_writable: bool) -> None:
        """Mended without having been away: nobody else tells the jobs."""
        if self._is_up and is_writable and self._is_sealed:
            self._moving.downloads.wake("disk.readonly")
        self._is_sealed = not is_writable

    # --- what is done now and then ---

    def _tend_soon(self) -> None:
        if not self._is_stopping:
            self._core.spawn_service("housekeeping", self._upkeep.tend())
            if self._settings.is_on_router:
                self._closer.run(self._moving.follow_lan)
            self._core.call_later(TEND_S, self._tend_soon)

    def _look_at_network(self) -> None:
        """Connect again at once when the address has changed: nobody else tells."""
        if self._is_stopping:
            return
        addresses = self._network.look()
        if addresses is not None:
            log.info("this host's addresses or its way out have changed")
            self._talking.links.network_changed(addresses)
            self._moving.network_changed()
            self._core.spawn_service("sessions", self._begin_sessions_anew())
        self._core.call_later(NETWORK_S, self._look_at_network)

    async def _begin_sessions_anew(self) -> None:
        await self._moving.forget_sessions()
        self._moving.downloads.wake()

    # --- the end ---

    async def stop(self) -> None:
        """End what was started, in order; bounded, whatever disk and net do."""
        self._is_stopping = True
        for end in reversed(self._started):
            try:
                await end()
            except FonshareError as error:  # a lost disk must not keep ports open
                log.warning("a part of the node did not end well: %s", error.code)
        for worker in (self._store, self._files, self._crypto):
            if not await self._closer.run(worker.stop, WORKER_STOP_S):
                log.warning("a thread hangs in the disk and is left behind")
        self._closer.dismiss()


def _with_changes(settings: Settings) -> Settings:
    """Return *settings* with what commands have changed since they were read.

    The node may start anew in the same process, and the changes may lie on a disk that
    was not there yet: a share that is unknown would be withdrawn from its friends.
    """
    if settings.path is None:
        return settings
    try:
        now = load_settings(settings.path)
    except SettingsError as error:
        log.warning("the settings stay as they were read first: %s", error.code)
        return settings
    return replace(settings, shares=now.shares, limits=now.limits)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", thing=str(path)) from None
