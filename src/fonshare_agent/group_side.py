"""Builds the half of a node that talks: groups, invites, catalogues, brokers.

Wiring only (see node.py). What the other half must hear or give comes as `Across`.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fonshare_agent import clock
from fonshare_agent.catching_up import CatchingUp
from fonshare_agent.channel import ControlChannel
from fonshare_agent.ground import Ground
from fonshare_agent.groups import Groups
from fonshare_agent.index.pace import Pace
from fonshare_agent.index.scanner import Scanner
from fonshare_agent.index.watcher import Watcher
from fonshare_agent.invites_on_demand import InvitesOnDemand
from fonshare_agent.last_seen import LastSeen
from fonshare_agent.leave_notices import LeaveNotices
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.link_events import LinkEvent
from fonshare_agent.links.links import Handlers, Links
from fonshare_agent.links.mqtt_link import MqttLink
from fonshare_agent.memberships import Memberships
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.nodekeys import GROUPS
from fonshare_agent.protocol.fields import Change
from fonshare_agent.published import Published
from fonshare_agent.sealing import Sealer
from fonshare_agent.settings import MqttSettings, ShareSettings
from fonshare_agent.settings_writer import open_settings_writer
from fonshare_agent.sharing import Sharing

if TYPE_CHECKING:
    from fonshare_agent.invites import Invites


@dataclass(frozen=True, slots=True)
class Across:
    """What the talking half needs of the moving half."""

    is_busy: Callable[[], bool]
    revoke_lost_rights: Callable[[], None]
    on_shares: Callable[[tuple[ShareSettings, ...]], None]
    on_changes: Callable[[GroupId, NodeId, Sequence[Change]], None]


class GroupSide:
    """The parts, by name; nothing runs yet."""

    def __init__(self, ground: Ground, across: Across) -> None:
        self._ground = ground
        self.home_broker = home_broker(ground.settings.mqtt)
        self._on_changes = across.on_changes
        self._build_groups()
        self._build_index(across)
        self._build_links()

    def _build_groups(self) -> None:
        ground, name = self._ground, self._ground.settings.node.name
        core, keys, draw = ground.core, ground.keys, ground.draw
        self.channel = ControlChannel(
            core, ground.crypto, ground.store, ground.state, keys, name, draw
        )
        self.leaving = LeaveNotices(
            core,
            ground.store,
            ground.state,
            lambda: Sealer(ground.crypto, ground.store, ground.state, keys, draw),
        )
        self.groups = Groups(
            core,
            ground.files,
            Memberships(keys.folder / GROUPS),
            self.channel,
            keys,
            name,
            draw,
            time.time,
            self.leaving,
        )
        self.seen = LastSeen(
            core, ground.store, ground.state, time.time, self.members_of
        )
        self.invites = InvitesOnDemand(
            ground.files, ground.store, ground.state, self._build_invites
        )
        self.catching_up = CatchingUp(
            core,
            ground.store,
            ground.index,
            self.channel.send,
            self._on_applied,
        )
        self.sharing = Sharing(
            core,
            ground.store,
            ground.index,
            self.channel.send,
            self.channel.announce,
            lambda: self.scanner.tidy(),
            self.catching_up,
        )

    def members_of(self, group: GroupId) -> Collection[NodeId]:
        """Return who is in *group* now; nobody if this node is not."""
        machine = self.channel.find_machine(group)
        return () if machine is None else machine.roster.members

    def _on_applied(
        self, group: GroupId, member: NodeId, changes: Sequence[Change]
    ) -> None:
        self.scanner.tidy()
        self._on_changes(group, member, changes)

    def _build_invites(self) -> "Invites":
        from fonshare_agent.invites import Invites  # only here: see InvitesOnDemand

        ground = self._ground
        return Invites(
            ground.core,
            ground.store,
            ground.state,
            ground.keys,
            ground.settings.node.name,
            self.groups,
            self.channel,
            ground.draw,
        )

    def _build_index(self, across: Across) -> None:
        self._on_shares = across.on_shares
        ground, core = self._ground, self._ground.core
        self.scanner = Scanner(
            ground.index,
            ground.store.run_and_wait,
            check_disk=ground.disk.check,
            on_catalogue_moved=lambda groups: core.post(
                lambda: self.sharing.note_moved(groups)
            ),
            on_hashed=lambda share, path, root: None,  # the catalogue tells everybody
            is_busy=across.is_busy,
            period_s=ground.settings.limits.scan_period_s,
            pace=Pace(
                time.monotonic,
                time.time,
                ground.settings.limits.hash_kib_s,
                ground.settings.limits.hash_hours,
                clock.is_known,
            ),
        )
        self.watcher = Watcher(self.scanner.on_change, self.scanner.rescan)
        settings = ground.settings
        self.published = Published(
            ground.store,
            ground.files,
            ground.index,
            self.groups,
            self.channel,
            settings,
            open_settings_writer(settings) if settings.path else None,
            self._set_shares,
            across.revoke_lost_rights,
        )

    def _set_shares(self, shares: tuple[ShareSettings, ...]) -> None:
        folders = {share.name: share.path for share in shares}
        self.scanner.set_shares(folders, is_watching=True)
        self.watcher.set_shares(folders)
        self._on_shares(shares)

    # --- brokers ---

    def _build_links(self) -> None:
        ground = self._ground
        self.links = Links(
            ground.core,
            ground.closer,
            self._make_link,
            ground.draw,
            ground.keys.tls_seed,
            Handlers(
                brokers=self._wanted_brokers,
                topics=self._wanted_topics,
                on_connected=self._on_connected,
                on_disconnected=self.channel.on_disconnected,
                on_received=self._on_received,
            ),
        )
        self.leaving.wire(self.links)

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
            draw=self._ground.draw,
            ca=self._ground.settings.mqtt.ca,
            clock_is_known=clock.is_known,
        )

    def _wanted_brokers(self) -> set[str]:
        home = {self.home_broker} if self.home_broker else set()
        groups = self.channel.brokers() | self.leaving.brokers()
        return home | groups | self.invites.brokers()

    def _wanted_topics(self, broker: str) -> set[str]:
        groups = self.channel.topics(broker) | self.leaving.topics(broker)
        return groups | self.invites.topics(broker)

    def _on_connected(self, broker: str) -> None:
        self.leaving.on_connected(broker)
        self.channel.on_connected(broker)
        self.invites.on_connected(broker)

    def _on_received(
        self, broker: str, topic: str, payload: bytes, done: Callable[[], None]
    ) -> None:
        work = self._receive(broker, topic, payload, done)
        self._ground.core.spawn_service("receive", work)

    async def _receive(
        self, broker: str, topic: str, payload: bytes, done: Callable[[], None]
    ) -> None:
        try:
            if not (
                self.leaving.receive(broker, topic, payload)
                or self.invites.receive(broker, topic, payload)
            ):
                await self.channel.receive(broker, topic, payload)
        finally:
            done()


def home_broker(mqtt: MqttSettings) -> str:
    """Return the URL of the broker where this node creates groups; empty: none."""
    if not mqtt.broker:
        return ""
    url = BrokerUrl.parse(mqtt.broker)
    return replace(url, ca=None, pin=mqtt.pin or url.pin).encode()
