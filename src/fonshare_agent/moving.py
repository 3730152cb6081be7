"""Builds what moves files: grants, tickets' other end, attempts, copies, workers.

Wiring only (see node.py). Loaded with the first job, question for a ticket or copy of a
catalogue (transfer_side.py): a resting node does without all of it.
"""

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.asking import Asking
from fonshare_agent.attempts import Attempts
from fonshare_agent.bringing import Bringer
from fonshare_agent.copies import Copies
from fonshare_agent.copy_fetching import CopyFetcher
from fonshare_agent.fetching import Fetcher
from fonshare_agent.granting import Granting, Outside
from fonshare_agent.granting_bundles import BundleGranting
from fonshare_agent.ground import Ground
from fonshare_agent.group_side import GroupSide
from fonshare_agent.holdings import Holdings
from fonshare_agent.model import Root
from fonshare_agent.relaying_on_demand import RelayingOnDemand
from fonshare_agent.serving import Serving
from fonshare_agent.sources import Sources
from fonshare_agent.transfer.worker import TransferWorkers
from fonshare_agent.transfer_side import Doors
from fonshare_agent.trying_back import DataPorts, TryingBack

if TYPE_CHECKING:
    from fonshare_agent.bundles import Bundles
    from fonshare_agent.relaying import Relaying
    from fonshare_agent.transfer.relay_desk import RelayDesk
    from fonshare_agent.transfer.splicing import Splicer

# Fetches beside the first of each job, for all jobs together: each costs memory.
LANES_SPARE = 6


class Moving:
    """The parts, by name."""

    def __init__(
        self,
        ground: Ground,
        talking: GroupSide,
        doors: Doors,
        asking: Asking,
        context: ssl.SSLContext,
    ) -> None:
        self._ground, self._talking = ground, talking
        self._desk, self._asking = doors.desk, asking
        self._manners, self._ways = doors.manners, doors.ways
        self._ftp, self._reach = doors.ftp, doors.reach
        self._outside = Outside(
            ground.keys.tls_certificate_der,
            doors.reach.addresses,
            doors.reach.dialable,
            doors.ftp.trust_peer,
        )
        self.workers = TransferWorkers(
            ground.core,
            context,
            doors.manners.upload,
            doors.manners.download,
            max(1, ground.settings.limits.transfers) + LANES_SPARE,
            resolve=doors.reach.resolve,
            is_free=doors.manners.is_free,
            traffic=doors.manners.traffic,
            opened=doors.manners.for_opened,
        )
        self._build_source()
        self._build_destination()

    async def stop(self) -> None:
        """Let go of the disk."""
        self.serving.stop()
        await self.copies.stop()
        await self.copy_fetcher.stop()

    def stop_threads(self) -> None:
        """End relays and workers. Waits for them: not on the core thread."""
        self.relaying.stop()
        self.workers.stop()

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
        # First of all on the files thread: whatever writes copies comes after it.
        ground.core.spawn_service("old copies", self.copies.wipe())
        self.holdings = Holdings(
            ground.core, ground.files, ground.disk, self._desk, talking.channel.send
        )
        self._build_granting()

    def _build_granting(self) -> None:
        ground, talking = self._ground, self._talking
        self.granting = Granting(
            ground.core,
            ground.store,
            ground.index,
            ground.disk,
            self.copies,
            self.holdings,
            self._desk,
            self.workers,
            talking.published,
            lambda group: talking.channel.machine(group).roster,
            talking.scanner.hash_soon,
            talking.channel.send,
            self._outside,
            self._ways,
            ground.draw,
            talking.scanner.on_change,
        )
        self.granting_bundles = BundleGranting(
            self.granting,
            ground.store,
            ground.index,
            self._desk,
            talking.published,
            talking.scanner.hash_soon,
            talking.channel.send,
            self._outside,
            ground.draw,
        )
        self.serving = Serving(
            ground.core,
            self._desk,
            self.granting,
            self.granting_bundles,
            talking.channel.send,
            lambda: self._manners.may_send,
            ground.settings.limits.uploads,
        )

    def _build_destination(self) -> None:
        ground, channel = self._ground, self._talking.channel
        self.relaying = RelayingOnDemand(ground.files, self._load_relaying)
        bringer = Bringer(
            ground.core,
            ground.files,
            self._desk,
            self.workers,
            self._asking,
            channel.find_machine,
            self._outside,
            self._ways,
            self.relaying,
            ground.draw,
        )
        self.trying_back = TryingBack(
            ground.core,
            self.workers,
            self._asking,
            lambda group: channel.machine(group).roster,
            channel.send,
            self._outside,
            self._ways,
            DataPorts(
                self._reach.bound, self._reach.data_ports, self._reach.data_addresses
            ),
        )
        self.copy_fetcher = CopyFetcher(
            ground.core,
            ground.files,
            ground.disk,
            bringer,
            self._asking,
            channel.find_machine,
            channel.send,
            self._outside,
        )
        ground.core.spawn_service("old copies", self.copy_fetcher.keep_partials())
        self.attempts = self._build_attempts(bringer)

    def _build_attempts(self, bringer: Bringer) -> Attempts:
        ground, channel = self._ground, self._talking.channel
        sources = Sources(
            ground.store,
            ground.index,
            self._asking,
            channel.find_machine,
            channel.send,
            self._outside,
            self.holdings,
            ground.keys.signer.node_id,
            ground.core.sleep,
            self._ways,
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
            self._asking,
            self._talking.channel.find_machine,
            self._outside,
            sources,
            bringer,
        )

    # --- relays, on demand (docs/decisions/0068) ---

    def _load_relaying(self) -> Callable[[], "Relaying"]:
        from fonshare_agent.relaying import Relaying, RelayWorld

        ground, channel = self._ground, self._talking.channel
        first, last = ground.settings.ftp.friends_passive_ports
        world = RelayWorld(
            ground.core,
            self._asking,
            channel.find_machine,
            channel.send,
            self._outside,
            ground.draw,
            ground.settings.node.relay,
            self._load_relay_desk(),
            self._reach.door,
            range(first, last + 1),
        )
        return lambda: Relaying(world)

    def _load_relay_desk(self) -> Callable[["Splicer"], "RelayDesk"]:
        from fonshare_agent.protocol.relay import read_opening
        from fonshare_agent.transfer.relay_desk import RelayDesk

        clock, manners = self._ground.core.clock, self._manners

        def open_desk(splicer: "Splicer") -> RelayDesk:
            desk = RelayDesk(clock, splicer, manners.relay, manners.traffic)
            self._ftp.open_relays(lambda line: desk.enter(read_opening(line)))
            return desk

        return open_desk

    def _is_read(self, root: Root) -> bool:
        """Whether a member holds a ticket for reading the copy of that content."""
        return any(
            t.share is None and t.held is None and t.root == root
            for t in self._desk.live()
        )
