"""Builds the half of a node that moves files: FTP doors, tickets, jobs, transfers.

Wiring only (see node.py); it stands on the talking half. What moves files (moving.py)
is loaded when there is something to move; the two classes at the end stand for parts of
it until then.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fonshare_agent.asking import Asking
from fonshare_agent.catching_up import Take
from fonshare_agent.clock import is_known
from fonshare_agent.disk import Disk
from fonshare_agent.door_options import ftp_options, house_now
from fonshare_agent.downloads import Downloads
from fonshare_agent.errors import DiskMissing
from fonshare_agent.ftp.server import FtpService
from fonshare_agent.ftp.tickets import Ticket, TicketDesk
from fonshare_agent.ground import Ground
from fonshare_agent.group_side import GroupSide
from fonshare_agent.index.state_records import Job
from fonshare_agent.links.mapped import Mapped
from fonshare_agent.loading import loading
from fonshare_agent.manners import LateTraffic, Manners
from fonshare_agent.model import GroupId, IndexId, NodeId
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.passwords import verify_password
from fonshare_agent.port_mapping import PortMapping
from fonshare_agent.reach import Reach
from fonshare_agent.reasons import Postponed
from fonshare_agent.settings import LimitSettings
from fonshare_agent.transfer.leftovers import has_leftovers
from fonshare_agent.transfer.limits import Traffic
from fonshare_agent.watch import Watch
from fonshare_agent.ways import Ways

if TYPE_CHECKING:
    from fonshare_agent.friends_reading import FriendsReading
    from fonshare_agent.household import Household
    from fonshare_agent.moving import Moving
    from fonshare_agent.spare_memory import SpareMemory


@dataclass(frozen=True, slots=True)
class Doors:
    """What serves others' clients, and how fast."""

    manners: Manners
    desk: TicketDesk
    ftp: FtpService
    reach: Reach
    ways: Ways


class TransferSide:
    """The parts, by name; nothing runs yet."""

    def __init__(self, ground: Ground, talking: GroupSide) -> None:
        self._ground, self._talking = ground, talking
        self._household: Household | None = None
        self._friends: FriendsReading | None = None
        self._spare: SpareMemory | None = None
        self._doors = self._build_doors()
        self.manners = self._doors.manners
        self.desk, self.ftp = self._doors.desk, self._doors.ftp
        self.reach, self.ways = self._doors.reach, self._doors.ways
        self.mapping = PortMapping(
            ground.core,
            ground.closer,
            lambda: self.reach.wish(ground.keys.tls_seed),
            self._on_mapped,
        )
        self.asking = Asking(ground.core, talking.channel.send, ground.draw)
        self.moving = OnDemand(ground.files, self._load_moving)
        self.copier = Copier(self.moving, self._can_ask)
        self.downloads = self._build_downloads()
        self._places = ground.settings.limits.uploads
        self._is_stopped = False

    def _build_doors(self) -> Doors:
        ground, settings = self._ground, self._ground.settings
        core = ground.core
        ways = Ways(core, ground.store, ground.state)
        desk = TicketDesk(core.clock, self._is_allowed)
        desk.on_redeemed = lambda peer: core.post(lambda: ways.note_inward(peer, True))
        manners = Manners(core, settings.limits, house_now(settings.ftp))
        manners.traffic = LateTraffic(
            self._watch_household, is_wanted=settings.limits.give_way
        )
        ftp = FtpService(
            ftp_options(settings, ground.keys),
            verify=self._verify_password,
            disk_check=ground.disk.check,
            desk=desk,
            on_change=self._on_owner_change,
            throttle=manners.flow,
            friends=self._get_friends,
        )
        return Doors(
            manners,
            desk,
            ftp,
            Reach(settings, lambda: ftp.friends_port),
            ways,
        )

    def _verify_password(self, stored: str, password: str) -> bool:
        """On the one thread for it; MemoryShort where that would end the agent."""
        from fonshare_agent.spare_memory import LOGIN_KIB, SpareMemory

        if self._spare is None:
            self._spare = SpareMemory()
        self._spare.require(LOGIN_KIB, "a login")
        return verify_password(stored, password)

    def _watch_household(self) -> Traffic:
        """With the first transfer; any thread, which may wait for the disk."""
        from fonshare_agent.household import Household

        self._household = Household(self._ground.core, self.manners.set_ceilings)
        return self._household.traffic

    def _build_downloads(self) -> Downloads:
        ground = self._ground
        downloads = Downloads(
            ground.core,
            ground.store,
            ground.files,
            ground.index,
            ground.state,
            Attempter(self.moving, ground.disk),
            ground.settings,
            self._folder_names,
            ground.draw,
        )
        downloads.wire_limits(self._set_limits, self._why_closed)
        self.manners.wire(self._on_hours)
        return downloads

    # --- what moves files, on demand ---

    def _load_moving(self) -> Callable[[], "Moving"]:
        from fonshare_agent.moving import Moving
        from fonshare_agent.transfer.wire import client_context

        ground, keys = self._ground, self._ground.keys
        context = client_context(keys.certificate_path, keys.private_key_path)
        if self.manners.traffic is not None:
            self.manners.traffic.load()  # before the door's thread does

        def make() -> Moving:
            moving = Moving(ground, self._talking, self._doors, self.asking, context)
            moving.serving.set_places(self._places)
            moving.holdings.wire(self.downloads.wake)
            if self._is_stopped:  # the node ends just now
                moving.stop_threads()
            return moving

        return make

    async def clear_leftovers(self) -> None:
        """Go on with, or remove, what an earlier run has left on the disk."""
        files, disk = self._ground.files, self._ground.disk
        if await files.run(has_leftovers, disk):
            await self.moving.get()
            await self.downloads.history.drop_orphans()

    async def tend(self) -> None:
        """Keep sessions, relays and the list of jobs in order; call twice a minute."""
        await self.downloads.history.drop_old()
        if self.moving.made is not None:
            self.moving.made.relaying.tend()
            await self.moving.made.workers.tend()

    async def forget_sessions(self) -> None:
        """End idle sessions: this host has another address, or another way out."""
        if self.moving.made is not None:
            await self.moving.made.workers.forget_sessions()

    async def stop(self) -> None:
        """Let go of the disk."""
        if self.moving.made is not None:
            await self.moving.made.stop()

    def stop_workers(self) -> None:
        """End their threads; waits for them."""
        self._is_stopped = True
        if self.moving.made is not None:
            self.moving.made.stop_threads()

    def _is_allowed(self, ticket: Ticket) -> bool:
        """Tell whether *ticket* may be used now: any thread."""
        moving = self.moving.made  # without it there are no tickets
        return moving is not None and moving.granting.is_allowed(ticket)

    def _can_ask(self, group: GroupId, member: NodeId) -> bool:
        machine = self._talking.channel.find_machine(group)
        return machine is not None and machine.peers.can_be_asked(member)

    async def end_manners(self) -> None:
        if self._household is not None:
            self._household.stop()
        self.manners.stop()

    def _get_friends(self) -> "FriendsReading":
        """On a thread that may wait for the disk: few look at friends by FTP."""
        if self._friends is None:
            with loading():
                from fonshare_agent.friends_reading import FriendsReading

            ground = self._ground
            friends = FriendsReading(
                ground.core,
                ground.store,
                ground.index,
                self._talking.groups,
                ground.keys.signer.node_id,
            )
            keep = ground.settings.ftp.keep_opened
            friends.wire(ground.disk, self.downloads, keep)
            self._friends = friends
        return self._friends

    # --- who hears of what ---

    def revoke_lost_rights(self) -> None:
        """Rosters or shares changed: who has lost a right loses it within a second."""
        if self.moving.made is not None:
            self.moving.made.granting.revoke_lost_rights()
            self.moving.made.relaying.revoke_lost_rights()
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

    def _on_mapped(self, mapped: Mapped | None) -> None:
        """The router upstream forwards other ports than before: all is tried again."""
        self.reach.mapped = mapped
        self.ftp.set_forwarded(mapped.ports if mapped is not None else {})
        self.downloads.wake()

    async def try_back(self, group: GroupId, member: NodeId) -> str:
        """Have *member* try this node's door; return as `TryingBack.ask`."""
        return await (await self.moving.get()).trying_back.ask(group, member)

    def network_changed(self) -> None:
        """This host's addresses or its way out are others."""
        self.ways.network_changed()
        self.mapping.consider()

    def disk_is_back(self) -> None:
        if self.moving.made is not None:
            self.moving.made.serving.call_refused()
        self.downloads.wake()

    def _set_limits(self, limits: LimitSettings) -> None:
        self._places = limits.uploads
        if self.manners.traffic is not None:
            # Loaded where waiting for a disk is no harm.
            self._ground.files.run(self.manners.traffic.want, limits.give_way)
        if self.moving.made is not None:
            self.moving.made.serving.set_places(limits.uploads)
        self.manners.set_limits(limits)

    def _on_hours(self) -> None:
        """The hours have begun or ended."""
        if self.moving.made is not None:
            self.moving.made.serving.end_if_closed()
        self.downloads.look_at_hours()

    def _why_closed(self) -> str:
        """Why nothing may be fetched now, "" if it may."""
        if self.manners.may_fetch:
            return ""
        if not is_known():
            return "waits until the time is known, for the hours"
        return f"waits for the hours {self.manners.hours}"

    def follow_lan(self) -> None:
        """The lan may have other networks than before; blocks a little."""
        networks = house_now(self._ground.settings.ftp)
        self.ftp.set_house_networks(map(str, networks))
        self.manners.set_house(networks)

    def _on_owner_change(self, path: bytes, kind: str) -> None:
        """The owner changed something by FTP; any thread."""
        changed = self._ground.settings.disk / os.fsdecode(path)
        self._talking.scanner.on_change(changed)

    def _folder_names(self, group: GroupId, member: NodeId) -> tuple[str, str]:
        """The folders of downloads/GROUP/MEMBER/ for a job."""
        groups = self._talking.groups
        return groups.label(group), groups.member_name(group, member)


class Attempter:
    """Attempts at jobs: what `Downloads` asks of attempts.Attempts."""

    def __init__(self, moving: OnDemand["Moving"], disk: Disk) -> None:
        self._moving, self.disk = moving, disk

    async def bring(self, job: Job, watch: Watch) -> bool:
        try:
            moving = await self._moving.get()
        except DiskMissing as error:
            raise Postponed("disk.missing", str(error)) from error
        return await moving.attempts.bring(job, watch)

    def expect(self, group: GroupId, source: NodeId) -> None:
        if self._moving.made is not None:
            self._moving.made.attempts.expect(group, source)

    def give_up(self, job_id: str) -> None:
        if self._moving.made is not None:
            self._moving.made.attempts.give_up(job_id)

    def place(self, job_id: str) -> int | None:
        made = self._moving.made
        return None if made is None else made.attempts.place(job_id)

    def is_queued_at(self, job_id: str, source: NodeId) -> bool:
        made = self._moving.made
        return made is not None and made.attempts.is_queued_at(job_id, source)

    def end(self, job: Job) -> None:
        if self._moving.made is not None:
            self._moving.made.attempts.end(job)


class Copier:
    """Copies of catalogues: what `CatchingUp` asks of copy_fetching.CopyFetcher."""

    def __init__(
        self,
        moving: OnDemand["Moving"],
        can_ask: Callable[[GroupId, NodeId], bool],
    ) -> None:
        self._moving, self.can_ask = moving, can_ask

    async def fetch(
        self, group: GroupId, member: NodeId, index_id: IndexId, after: int, take: Take
    ) -> str:
        try:
            moving = await self._moving.get()
        except DiskMissing as error:
            return error.code
        return await moving.copy_fetcher.fetch(group, member, index_id, after, take)

    def cancel(self, group: GroupId, member: NodeId) -> None:
        if self._moving.made is not None:
            self._moving.made.copy_fetcher.cancel(group, member)
