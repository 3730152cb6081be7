"""The FTP service: one thread, one loop, two doors. This is what the agent wires.

`start` binds (so that a taken port is told at once) and starts the thread; `stop` is
graceful and bounded. Everything else on `FtpService` may be called from any thread.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fonshare_agent.ftp.accounts import Account, Accounts, Verify
from fonshare_agent.ftp.doors import (
    AdmitRelay,
    FriendsDoor,
    HouseDoor,
    listening_socket,
)
from fonshare_agent.ftp.filesystem import OnChange, Parts
from fonshare_agent.ftp.flow import Throttle
from fonshare_agent.ftp.house_files import FriendsFiles, HouseFiles
from fonshare_agent.ftp.loop import FtpLoop
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.ftp.tls import FriendsContext, house_context
from fonshare_agent.ftp.uploads import UploadStore
from fonshare_agent.ftp.workers import Elsewhere, WorkerPool

BUFFER_BYTES = 256 << 10
UPLOAD_BUFFER_BYTES = 2 << 20  # two of these for an upload longer than the other
SMALL_BUFFER_BYTES = 64 << 10  # for the router, uploads too: two of these each
STOP_GRACE_S = 2.0  # running transfers may end by themselves for so long
SETTLE_S = 3.0  # and the workers may finish what was cut for so long

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FtpOptions:
    """What the settings say. Port 0: any; passive range None: any ports.

    Without a certificate a door has no TLS; the friends' door is then not opened.
    """

    disk: Path
    address: str = ""
    port: int = 0
    passive_ports: range | None = None
    friends_port: int = 0
    friends_passive_ports: range | None = None
    users: tuple[Account, ...] = ()
    guest_folders: tuple[Parts, ...] = ()
    house_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    owner_from_wan: bool = False
    house_certificate: tuple[Path, Path] | None = field(default=None, repr=False)
    friends_certificate: tuple[Path, Path] | None = field(default=None, repr=False)
    buffer_size: int = BUFFER_BYTES
    upload_buffer_size: int = UPLOAD_BUFFER_BYTES
    file_workers: int = 3
    login_timeout_s: float = 10.0
    failed_login_delay_s: float = 3.0


class FtpService:
    """See the module's text."""

    def __init__(
        self,
        options: FtpOptions,
        *,
        verify: Verify,
        disk_check: Callable[[], None],
        desk: TicketDesk,
        on_change: OnChange,
        throttle: Throttle | None = None,
        friends: Callable[[], FriendsFiles] | None = None,
    ) -> None:
        """*friends* gives what friends offer as a tree, when it is looked at first."""
        self._options, self._desk, self._throttle = options, desk, throttle
        self._on_change = on_change
        self._loop = FtpLoop()
        self._files = WorkerPool("ftp-file", options.file_workers, self._loop.post)
        # One slot: scrypt takes its megabytes once, and guessing gets no faster.
        self._passwords = WorkerPool("ftp-password", 1, self._loop.post)
        self._accounts = Accounts(options.users, verify)
        self._disk = HouseFiles(options.disk, disk_check, friends)
        self._uploads = UploadStore(self._disk, on_change)
        self._thread = threading.Thread(target=self._loop.run, name="ftp", daemon=True)
        self._house: HouseDoor | None = None
        self._friends: FriendsDoor | None = None
        self._friends_context: FriendsContext | None = None
        if options.friends_certificate is not None:
            self._friends_context = FriendsContext(*options.friends_certificate)
        desk.on_revoked(self._on_revoked)

    # --- life

    def start(self) -> None:
        """Bind both doors and serve. Raises OSError if a port is taken."""
        try:
            self._open_house()
            self._open_friends()
        except OSError:
            self._loop.close()
            raise
        self._thread.start()

    def _open_house(self) -> None:
        options = self._options
        pair = options.house_certificate
        self._house = HouseDoor(
            listening_socket(options.address, options.port),
            self._loop.io,
            options,
            self._files,
            passwords=self._passwords,
            elsewhere=Elsewhere(self._loop.post),
            accounts=self._accounts,
            disk=self._disk,
            uploads=self._uploads,
            context=house_context(*pair) if pair else None,
            on_change=self._on_change,
            throttle=self._throttle,
        )

    def _open_friends(self) -> None:
        if self._friends_context is None:
            return
        self._friends = FriendsDoor(
            listening_socket(self._options.address, self._options.friends_port),
            self._loop.io,
            self._options,
            self._files,
            desk=self._desk,
            context=self._friends_context,
            throttle=self._throttle,
        )

    def stop(self) -> None:
        """Close the doors, let transfers end for a moment, then close everything.

        Returns within STOP_GRACE_S + SETTLE_S + 3 s or so, whatever the disk does.
        """
        if not self._thread.is_alive():
            return
        self._loop.post(self._close_doors)
        deadline = time.monotonic() + STOP_GRACE_S
        while self.open_connections() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._loop.post(self._end)
        self._thread.join(SETTLE_S + 1.0)
        if not (self._passwords.stop(1.0) and self._files.stop(1.0)):
            log.warning("the disk does not answer; its FTP workers are left behind")

    def _close_doors(self) -> None:
        for door in self._doors():
            door.close()
            door.close_sessions(only_idle=True)

    def _end(self) -> None:
        for door in self._doors():
            door.close_sessions(only_idle=False)
        self._stop_when_settled(time.monotonic() + SETTLE_S)

    def _stop_when_settled(self, deadline: float) -> None:
        """Stop the loop once the workers have closed what the transfers had open."""
        if self._files.is_settled or time.monotonic() > deadline:
            self._loop.stop()
        else:
            self._loop.call_later(0.02, lambda: self._stop_when_settled(deadline))

    def _doors(self) -> list[HouseDoor | FriendsDoor]:
        return [door for door in (self._house, self._friends) if door is not None]

    # --- what is where

    @property
    def house_port(self) -> int:
        """The bound port; 0 before `start`."""
        return self._house.port if self._house else 0

    @property
    def friends_port(self) -> int:
        """The bound port; 0 if that door is not open."""
        return self._friends.port if self._friends else 0

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Return the doors that are open, and where."""
        ports = {"house": self.house_port, "friends": self.friends_port}
        return {
            name: (self._options.address, port) for name, port in ports.items() if port
        }

    def open_connections(self) -> int:
        """Return how many sessions are open at both doors."""
        return sum(len(door.sessions) for door in self._doors())

    def refused_ports(self) -> int:
        """Return how often a client was told 425 for want of a passive port."""
        return sum(door.refused_ports for door in self._doors())

    # --- changes at run time

    def trust_peer(self, certificate_der: bytes) -> None:
        """Let a member's certificate through the friends' handshake. Idempotent.

        Must be called before that member is told of a ticket.
        """
        if self._friends_context is not None:
            self._friends_context.trust(certificate_der)

    def trust_only(self, fingerprints: Collection[bytes]) -> None:
        """Distrust all others; open sessions go on until their tickets are revoked."""
        if self._friends_context is not None:
            self._friends_context.trust_only(fingerprints)

    def set_house_networks(self, networks: Iterable[str]) -> None:
        """The lan's addresses changed."""
        wanted = tuple(networks)

        def change() -> None:
            if self._house is not None:
                self._house.set_house_networks(wanted)

        self._loop.post(change)

    def set_forwarded(self, ports: Mapping[int, int]) -> None:
        """A router upstream forwards these of the friends' ports, from those."""

        def change() -> None:
            if self._friends is not None:
                self._friends.set_forwarded(ports)

        self._loop.post(change)

    def open_relays(self, admit: AdmitRelay) -> None:
        """Let members meet at the friends' door, as *admit* says."""

        def change() -> None:
            if self._friends is not None:
                self._friends.admit_relay = admit

        self._loop.post(change)

    def purge_uploads(self, older_than_s: float) -> int:
        """Drop interrupted uploads nobody continued. Blocks: not on the core thread."""
        return self._uploads.purge(older_than_s)

    def _on_revoked(self, dead: frozenset[bytes], ends_sessions: bool) -> None:
        def end() -> None:
            if self._friends is not None:
                self._friends.on_revoked(dead, ends_sessions)

        self._loop.post(end)
