"""Builds the half of a node that moves files: FTP doors, tickets, jobs, transfers.

Wiring only (see node.py); it stands on the talking half.
"""

import os
from typing import TYPE_CHECKING

from fonshare_agent.asking import Asking
from fonshare_agent.attempts import Attempts
from fonshare_agent.bringing import Bringer
from fonshare_agent.copies import Copies
from fonshare_agent.copy_fetching import CopyFetcher
from fonshare_agent.downloads import Downloads
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
from fonshare_agent.granting_bundles import BundleGranting
from fonshare_agent.ground import Ground
from fonshare_agent.group_side import GroupSide
from fonshare_agent.links.lan import house_networks
from fonshare_agent.model import GroupId, NodeId, Root, SharePath
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.passwords import verify_password
from fonshare_agent.reach import Reach
from fonshare_agent.settings import FtpSettings, LimitSettings, Settings
from fonshare_agent.sources import Sources
from fonshare_agent.transfer.limits import TokenBucket
from fonshare_agent.transfer.wire import client_context
from fonshare_agent.transfer.worker import TransferWorkers

if TYPE_CHECKING:
    from fonshare_agent.bundles import Bundles

# Fetches beside the first of each job, for all jobs together: each costs memory.
LANES_SPARE = 6


class TransferSide:
    """The parts, by name; nothing runs yet."""

    def __init__(self, ground: Ground, talking: GroupSide) -> None:
        self._ground, self._talking = ground, talking
        self._build_doors()
        self._build_source()
        self._build_destination()

    def _build_doors(self) -> None:
        ground, settings = self._ground, self._ground.settings
        core, limits = ground.core, settings.limits
        self._upload = TokenBucket(limits.upload_kib_s, core.clock)
        self._download = TokenBucket(limits.download_kib_s, core.clock)
        self.desk = TicketDesk(core.clock, lambda t: self.granting.is_allowed(t))
        self.ftp = FtpService(
            _ftp_options(settings, ground.keys),
            verify=verify_password,
            disk_check=ground.disk.check,
            desk=self.desk,
            on_change=self._on_owner_change,
            throttle=self._upload.take,
        )
        reach = Reach(settings, lambda: self.ftp.friends_port)
        self._outside = Outside(
            ground.keys.tls_certificate_der,
            reach.addresses,
            reach.dialable,
            self.ftp.trust_peer,
        )
        self.workers = TransferWorkers(
            core,
            client_context(
                ground.keys.certificate_path,
                ground.keys.private_key_path,
            ),
            self._upload,
            self._download,
            max(1, limits.transfers) + LANES_SPARE,
            resolve=reach.resolve,
        )

    def _build_source(self) -> None:
        ground, talking = self._ground, self._talking
        self.copies = Copies(
            ground.core,
            ground.store,
            ground.files,
            ground.index,
            ground.disk,
            lambda group: talking.channel.find_machine(group) is not None,
            self._is_read,
        )
        self.granting = Granting(
            ground.core,
            ground.store,
            ground.index,
            ground.disk,
            self.copies,
            self.desk,
            self.workers,
            talking.published,
            lambda group: talking.channel.machine(group).roster,
            talking.scanner.hash_soon,
            talking.channel.send,
            self._outside,
            ground.draw,
        )
        self.granting_bundles = BundleGranting(
            self.granting,
            ground.store,
            ground.index,
            self.desk,
            talking.published,
            talking.scanner.hash_soon,
            talking.channel.send,
            self._outside,
            ground.draw,
        )

    def _build_destination(self) -> None:
        ground, channel = self._ground, self._talking.channel
        self.asking = Asking(ground.core, channel.send, ground.draw)
        bringer = Bringer(
            ground.core,
            ground.files,
            self.desk,
            self.workers,
            self.asking,
            channel.find_machine,
            self._outside,
            ground.draw,
        )
        self.copy_fetcher = CopyFetcher(
            ground.core,
            ground.files,
            ground.disk,
            bringer,
            self.asking,
            channel.find_machine,
            channel.send,
            self._outside,
        )
        self.downloads = Downloads(
            ground.core,
            ground.store,
            ground.files,
            ground.index,
            ground.state,
            self._attempts(bringer),
            ground.settings,
            self._folder_names,
            ground.draw,
        )
        self.downloads.wire_limits(self._set_limits)

    def _attempts(self, bringer: Bringer) -> Attempts:
        ground, channel = self._ground, self._talking.channel
        sources = Sources(
            ground.store,
            ground.index,
            self.asking,
            channel.find_machine,
            channel.send,
            self._outside,
        )
        fetcher = Fetcher(
            ground.store,
            ground.files,
            ground.state,
            ground.disk,
            bringer,
            sources,
        )
        return Attempts(
            ground.store,
            ground.files,
            ground.state,
            sources,
            fetcher,
            lambda: self._bundles(sources, bringer),
            self._talking.scanner.on_change,
        )

    def _bundles(self, sources: Sources, bringer: Bringer) -> "Bundles":
        from fonshare_agent.bundles import Bundles  # in memory once a folder was wanted

        ground = self._ground
        return Bundles(
            ground.store,
            ground.files,
            ground.index,
            ground.state,
            ground.disk,
            self.workers,
            self.asking,
            self._talking.channel.find_machine,
            self._outside,
            sources,
            bringer,
        )

    # --- who hears of what ---

    def revoke_lost_rights(self) -> None:
        """Rosters or shares changed: who has lost a right loses it within a second."""
        self.granting.revoke_lost_rights()
        groups, channel = self._talking.groups, self._talking.channel
        machines = map(channel.find_machine, groups.labels().values())
        self.ftp.trust_only(
            {
                member.statement.tls_fingerprint
                for machine in machines
                if machine is not None
                for member in machine.roster.members.values()
            }
        )

    def _set_limits(self, limits: LimitSettings) -> None:
        self._upload.set_rate(limits.upload_kib_s)
        self._download.set_rate(limits.download_kib_s)

    def _is_read(self, root: Root) -> bool:
        """Whether a member holds a ticket for reading the copy of that content."""
        return any(t.share is None and t.root == root for t in self.desk.live())

    def follow_lan(self) -> None:
        """The lan may have other networks than before; blocks a little."""
        self.ftp.set_house_networks(_house_networks(self._ground.settings.ftp))

    def _on_owner_change(self, path: bytes, kind: str) -> None:
        """The owner changed something by FTP; any thread."""
        changed = self._ground.settings.disk / os.fsdecode(path)
        self._talking.scanner.on_change(changed)

    def _folder_names(self, group: GroupId, member: NodeId) -> tuple[str, str]:
        """The folders of downloads/GROUP/MEMBER/ for a job."""
        groups = self._talking.groups
        return groups.label(group), groups.member_name(group, member)


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
        house_networks=_house_networks(ftp),
        owner_from_wan=ftp.owner_from_wan,
        house_certificate=house,
        friends_certificate=own,
        buffer_size=SMALL_BUFFER_BYTES if settings.is_on_router else BUFFER_BYTES,
    )


def _house_networks(ftp: FtpSettings) -> tuple[str, ...]:
    """Return what counts as the house now, the lan zone's networks if named."""
    return tuple(str(one) for one in house_networks(ftp.house_networks, ftp.house_lan))


def _range(ports: tuple[int, int]) -> range:
    return range(ports[0], ports[1] + 1)


def _folder(text: str) -> tuple[bytes, ...]:
    """Return the components of a guest folder; none stand for the whole disk."""
    if text in ("", "."):
        return ()
    return SharePath.parse(text).parts
