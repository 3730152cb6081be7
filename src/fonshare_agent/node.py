"""WIRING: builds every part of the running node from the settings and connects them.

Nothing else constructs its own collaborators, so this page tells who talks to whom.
Threads: core (here), store (all SQL), crypto, files (memberships, partials), closer
(what may block while it ends), the scanner, the FTP loop, a link for each broker, the
transfer workers. Parts start in the order in which they need each other and stop in the
reverse.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from fonshare_agent import clock
from fonshare_agent.asking import Asking
from fonshare_agent.channel import ControlChannel, Listener
from fonshare_agent.control.handlers import Handlers
from fonshare_agent.control.parts import Parts
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.downloads import Downloads
from fonshare_agent.errors import PortTaken, StorageError
from fonshare_agent.fetching import Fetcher
from fonshare_agent.ftp.accounts import Account
from fonshare_agent.ftp.server import (
    BUFFER_BYTES,
    SMALL_BUFFER_BYTES,
    FtpOptions,
    FtpService,
)
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.granting import Granting, Outside
from fonshare_agent.groups import Followers, Groups
from fonshare_agent.index.scanner import Scanner
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.store import IndexStore
from fonshare_agent.index.watcher import Watcher
from fonshare_agent.invites import Invites
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.link_events import LinkEvent
from fonshare_agent.links.links import Handlers as LinkHandlers
from fonshare_agent.links.links import Links
from fonshare_agent.links.mqtt_link import MqttLink
from fonshare_agent.memberships import Memberships
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.nodekeys import GROUPS, NodeKeys, settle_incarnation
from fonshare_agent.passwords import verify_password
from fonshare_agent.published import Published
from fonshare_agent.reach import Reach
from fonshare_agent.routing import Routing
from fonshare_agent.settings import LimitSettings, Settings, ShareSettings
from fonshare_agent.settings_writer import open_settings_writer
from fonshare_agent.sharing import Sharing
from fonshare_agent.transfer.limits import TokenBucket
from fonshare_agent.transfer.wire import client_context, lacks_aes
from fonshare_agent.transfer.worker import TransferWorkers

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
        self.home_broker = ""
        if settings.mqtt.broker:
            url = BrokerUrl.parse(settings.mqtt.broker)
            pin = settings.mqtt.pin or url.pin
            self.home_broker = replace(url, ca=None, pin=pin).encode()

    # --- building, from the ground up ---

    async def start(self) -> Handlers:
        """Build and start everything; StorageError leaves nothing running."""
        for worker in (self._store, self._files, self._crypto, self._closer):
            worker.start()
        await self._open_stores()
        self._build_groups()
        self._build_transfers()
        self._build_outside()
        self._wire()
        await self._start_services()
        return Handlers(self._parts(), self.home_broker)

    async def _open_stores(self) -> None:
        settings, core = self._settings, self._core
        disk_id = await self._files.run(self._disk.open)
        settings.index.mkdir(parents=True, exist_ok=True)
        self._state: StateStore = await self._store.run(
            StateStore, settings.state_file, disk_id, core.clock
        )
        self._ends_with(self._store, self._state.close)
        self._index: IndexStore = await self._store.run(
            IndexStore, settings.index_file, self._keys.signer.node_id, self._draw
        )
        self._ends_with(self._store, self._index.close)
        await self._store.run(settle_incarnation, self._keys, self._state, self._draw)

    def _ends_with(self, worker: Worker, close: Callable[[], None]) -> None:
        """When the node stops, run *close* on *worker*: last started, first ended."""

        async def end() -> None:
            await worker.run(close)

        self._started.append(end)

    def _build_groups(self) -> None:
        core, keys, name = self._core, self._keys, self._settings.node.name
        self._channel = ControlChannel(
            core, self._crypto, self._store, self._state, keys, name, self._draw
        )
        memberships = Memberships(keys.folder / GROUPS)
        self._groups = Groups(
            core,
            self._files,
            memberships,
            self._channel,
            keys,
            name,
            self._draw,
            time.time,
        )
        self._invites = Invites(
            core,
            self._store,
            self._state,
            keys,
            name,
            self._groups,
            self._channel,
            self._draw,
        )
        self._sharing = Sharing(
            core,
            self._store,
            self._index,
            self._channel.send,
            self._channel.announce,
            lambda: self._scanner.tidy(),
        )
        self._scanner = Scanner(
            self._index,
            self._store.run_and_wait,
            check_disk=self._disk.check,
            on_catalogue_moved=lambda groups: core.post(
                lambda: self._sharing.note_moved(groups)
            ),
            on_hashed=lambda share, path, root: None,  # the catalogue tells everybody
            is_busy=lambda: self._downloads.is_busy,
            period_s=self._settings.limits.scan_period_s,
        )
        self._watcher = Watcher(self._scanner.on_change, self._scanner.rescan)
        self._published = Published(
            self._store,
            self._files,
            self._index,
            self._groups,
            self._channel,
            self._settings,
            open_settings_writer(self._settings) if self._settings.path else None,
            self._set_shares,
            lambda: self._granting.revoke_lost_rights(),
        )

    def _build_transfers(self) -> None:
        settings, core = self._settings, self._core
        limits = settings.limits
        self._upload = TokenBucket(limits.upload_kib_s, core.clock)
        self._download = TokenBucket(limits.download_kib_s, core.clock)
        self._desk = TicketDesk(core.clock, lambda t: self._granting.is_allowed(t))
        self._workers = TransferWorkers(
            core,
            client_context(
                self._keys.certificate_path,
                self._keys.private_key_path,
                prefers_chacha=_is_slow_at_aes(),
            ),
            self._upload,
            self._download,
            max(1, limits.transfers),
        )
        self._asking = Asking(core, self._channel.send, self._draw)
        self._ftp = FtpService(
            _ftp_options(settings, self._keys),
            verify=verify_password,
            disk_check=self._disk.check,
            desk=self._desk,
            on_change=self._on_owner_change,
            throttle=self._upload.take,
        )
        outside = Outside(
            self._keys.tls_certificate_der,
            lambda theirs: self._reach.addresses(theirs),
            lambda theirs: self._reach.dialable(theirs),
            self._ftp.trust_peer,
        )
        self._granting = Granting(
            core,
            self._store,
            self._index,
            self._disk,
            self._desk,
            self._workers,
            self._published,
            lambda group: self._channel.machine(group).roster,
            self._scanner.hash_soon,
            self._channel.send,
            outside,
            self._draw,
        )
        fetcher = Fetcher(
            core,
            self._store,
            self._files,
            self._index,
            self._state,
            self._disk,
            self._desk,
            self._workers,
            self._asking,
            self._channel.find_machine,
            self._channel.send,
            outside,
            self._draw,
        )
        self._downloads = Downloads(
            core,
            self._store,
            self._files,
            self._index,
            self._state,
            fetcher,
            settings,
            self._folder_names,
            self._on_arrived,
            self._draw,
        )
        self._downloads.wire_limits(self._set_limits)

    def _build_outside(self) -> None:
        self._reach = Reach(self._settings, lambda: self._ftp.friends_port)
        self._links = Links(
            self._core,
            self._closer,
            self._make_link,
            self._draw,
            self._keys.tls_seed,
            LinkHandlers(
                brokers=self._wanted_brokers,
                topics=lambda url: (
                    self._channel.topics(url) | self._invites.topics(url)
                ),
                on_connected=self._on_connected,
                on_disconnected=self._channel.on_disconnected,
                on_received=self._on_received,
            ),
        )

    def _make_link(
        self,
        url: BrokerUrl,
        new_will: Callable[[], tuple[str, bytes]],
        on_event: Callable[[LinkEvent], None],
    ) -> MqttLink:
        return MqttLink(
            url,
            new_will=new_will,
            on_event=on_event,
            draw=self._draw,
            ca=self._settings.mqtt.ca,
            clock_is_known=clock.is_known,
        )

    def _wire(self) -> None:
        routing = Routing(
            self._core,
            self._channel,
            self._groups,
            self._sharing,
            self._published,
            self._granting,
            self._downloads,
            self._asking,
        )
        self._channel.wire(
            Listener(
                self._groups.save,
                routing.on_event,
                routing.on_command,
                self._sharing.own_head,
            ),
            self._links,
        )
        self._groups.wire(
            Followers(self._sharing.add_group, self._on_joined, self._on_dropped)
        )
        self._invites.wire(self._links)

    async def _start_services(self) -> None:
        try:
            self._ftp.start()
        except OSError as error:
            where = f"{self._settings.ftp.address}:{self._settings.ftp.port}"
            raise PortTaken(
                f"the FTP server cannot listen on {where}: {error.strerror}",
                thing="ftp.port",
            ) from None
        self._ends_with(self._closer, self._ftp.stop)
        self._ends_with(self._closer, self._workers.stop)
        await self._groups.load()
        await self._published.refresh()
        self._scanner.start()
        self._ends_with(self._closer, self._scanner.stop)
        self._watcher.start()
        self._ends_with(self._closer, self._watcher.stop)
        self._started += [self._downloads.stop, self._links.stop]
        await self._invites.load()
        self._links.refresh()
        self._core.spawn_service("old partials", self._downloads.drop_orphans())
        self._downloads.wake()
        self._core.call_later(TEND_S, self._tend_soon)

    def _parts(self) -> Parts:
        return Parts(
            core=self._core,
            store=self._store,
            files=self._files,
            keys=self._keys,
            disk=self._disk,
            index=self._index,
            state=self._state,
            scanner=self._scanner,
            links=self._links,
            channel=self._channel,
            groups=self._groups,
            invites=self._invites,
            published=self._published,
            downloads=self._downloads,
        )

    # --- who hears of what ---

    def _wanted_brokers(self) -> set[str]:
        home = {self.home_broker} if self.home_broker else set()
        return home | self._channel.brokers() | self._invites.brokers()

    def _on_connected(self, broker: str) -> None:
        self._channel.on_connected(broker)
        self._invites.on_connected(broker)

    def _on_received(
        self, broker: str, topic: str, payload: bytes, done: Callable[[], None]
    ) -> None:
        self._core.spawn_service("receive", self._receive(broker, topic, payload, done))

    async def _receive(
        self, broker: str, topic: str, payload: bytes, done: Callable[[], None]
    ) -> None:
        try:
            if not self._invites.receive(broker, topic, payload):
                await self._channel.receive(broker, topic, payload)
        finally:
            done()

    def _on_joined(self, group: GroupId) -> None:
        del group  # its members have rights now
        self._core.spawn_service("publish", self._published.refresh())

    async def _on_dropped(self, group: GroupId) -> None:
        await self._invites.drop_group(group)
        await self._downloads.drop_group(group)
        await self._store.run(self._state.forget_group, group)
        await self._sharing.drop_group(group)
        await self._published.refresh()

    def _set_shares(self, shares: tuple[ShareSettings, ...]) -> None:
        folders = {share.name: share.path for share in shares}
        self._scanner.set_shares(folders)
        self._watcher.set_shares(folders)

    def _set_limits(self, limits: LimitSettings) -> None:
        self._upload.set_rate(limits.upload_kib_s)
        self._download.set_rate(limits.download_kib_s)

    def _on_owner_change(self, path: bytes, kind: str) -> None:
        """The owner changed something by FTP; any thread."""
        self._scanner.on_change(self._settings.disk / os.fsdecode(path))

    def _on_arrived(self, path: Path) -> None:
        self._scanner.on_change(path)

    def _folder_names(self, group: GroupId, member: NodeId) -> tuple[str, str]:
        """The folders of downloads/GROUP/MEMBER/ for a job."""
        return self._groups.label(group), self._groups.member_name(group, member)

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
        await self._workers.tend()
        await self._store.run(self._state.back_up_if_due)
        await self._store.run(self._state.prune_ended)
        if clock.is_known():
            await self._closer.run(self._ftp.purge_uploads, UPLOADS_KEPT_S)

    # --- the end ---

    async def stop(self) -> None:
        """End what was started, in order; bounded, whatever disk and net do."""
        self._is_stopping = True
        for end in reversed(self._started):
            await end()
        for worker in (self._store, self._files, self._crypto):
            await self._closer.run(worker.stop)
        self._closer.dismiss()


def _ftp_options(settings: Settings, keys: NodeKeys) -> FtpOptions:
    ftp = settings.ftp
    own = (keys.certificate_path, keys.private_key_path)
    house = own
    if ftp.certificate is not None and ftp.certificate_key is not None:
        house = (ftp.certificate, ftp.certificate_key)
    everywhere = ftp.address in ("0.0.0.0", "::")
    return FtpOptions(
        disk=settings.disk,
        address="" if everywhere else ftp.address,
        port=ftp.port,
        passive_ports=_range(ftp.passive_ports),
        friends_port=ftp.friends_port,
        friends_passive_ports=_range(ftp.friends_passive_ports),
        users=tuple(
            Account(
                user.name, user.password_hash, "write" if user.may_write else "read"
            )
            for user in ftp.users
        ),
        guest_folders=tuple(_folder(one) for one in ftp.guest_folders),
        house_networks=tuple(str(one) for one in ftp.house_networks),
        owner_from_wan=ftp.owner_from_wan,
        house_certificate=house,
        friends_certificate=own,
        buffer_size=SMALL_BUFFER_BYTES if settings.is_on_router else BUFFER_BYTES,
    )


def _is_slow_at_aes() -> bool:
    try:
        return lacks_aes(Path("/proc/cpuinfo").read_text())
    except OSError:
        return False


def _range(ports: tuple[int, int]) -> range:
    return range(ports[0], ports[1] + 1)


def _folder(text: str) -> tuple[bytes, ...]:
    """Return the components of a guest folder; none stand for the whole disk."""
    if text in ("", "."):
        return ()
    return SharePath.parse(text).parts
