"""The two doors: who may come in, and how many at once.

What both sessions share (workers, buffers, time-outs) they take from their door.
"""

import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any, ClassVar

from fonshare_agent.addresses import Address, network_of, plain_address
from fonshare_agent.ftp.accounts import Accounts
from fonshare_agent.ftp.filesystem import OnChange, Parts
from fonshare_agent.ftp.flow import Throttle
from fonshare_agent.ftp.friends import FriendSession
from fonshare_agent.ftp.house import HouseSession
from fonshare_agent.ftp.house_files import HouseFiles
from fonshare_agent.ftp.loop import READ, Acceptor
from fonshare_agent.ftp.passive import PassivePorts
from fonshare_agent.ftp.session import ControlSession
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.ftp.tls import FriendsContext
from fonshare_agent.ftp.uploads import UploadStore
from fonshare_agent.ftp.workers import Elsewhere, WorkerPool

if TYPE_CHECKING:
    from fonshare_agent.ftp.server import FtpOptions

BACKLOG = 32
STRANGERS_PER_ADDRESS_MAX = 4  # connections that have not logged in (DESIGN, limits)
STRANGERS_PER_NETWORK_MAX = 8  # of one IPv6 network, whose addresses cost nothing
STRANGERS_MAX = 16
STRANGERS_OUTSIDE_MAX = 8  # from then on only those at home are let in
SESSIONS_MAX = 48  # a session is about 20 KB, a transfer two buffers more
OWNER_SESSIONS = 8  # of these, kept for the owner
OWNER_PORTS = 2  # of the passive range, kept for the owner

Network = IPv4Network | IPv6Network
# What follows the word RELAY -> what takes the connection; raises FonshareError.
AdmitRelay = Callable[[str], Callable[[socket.socket], None]]
log = logging.getLogger(__name__)


class Strangers:
    """Counts the connections that have not logged in yet, by address however written:
    one door for IPv4 and IPv6 calls 192.0.2.1 also ::ffff:192.0.2.1."""

    def __init__(self) -> None:
        self._by_address: Counter[Address] = Counter()
        self._by_network: Counter[str] = Counter()

    def enter(self, address: str, most: int = STRANGERS_MAX) -> bool:
        """Count one more; False (and not counted) if there are too many: *most* of all,
        or of such an address."""
        plain = plain_address(address)
        network = network_of(plain)
        if (
            self._by_address[plain] >= STRANGERS_PER_ADDRESS_MAX
            or self._by_network[network] >= STRANGERS_PER_NETWORK_MAX
            or self._by_network.total() >= most
        ):
            return False
        self._by_address[plain] += 1
        self._by_network[network] += 1
        return True

    def leave(self, address: str) -> None:
        plain = plain_address(address)
        self._by_address -= Counter([plain])  # what comes to nothing goes
        self._by_network -= Counter([network_of(plain)])


class Door(Acceptor):  # type: ignore[misc]
    """A listening socket and the sessions that came in by it."""

    session_class: ClassVar[type[ControlSession]]

    def __init__(
        self,
        sock: socket.socket,
        io: Any,
        options: "FtpOptions",
        files: WorkerPool,
        throttle: Throttle | None,
    ) -> None:
        self.files = files
        self.buffer_size = options.buffer_size
        self.upload_buffer_size = options.upload_buffer_size
        self.login_timeout_s = options.login_timeout_s
        self.failed_login_delay_s = options.failed_login_delay_s
        self.throttle = throttle
        self.ports = PassivePorts(None, 0)
        self.strangers = Strangers()
        self.sessions: set[ControlSession] = set()
        self.refused_ports = 0  # how often no passive port was left
        self.ip_map: list[str] = []  # pyftpdlib's; we count by ourselves
        super().__init__(sock=sock, ioloop=io)
        self.listen(BACKLOG)
        self.modify_ioloop_events(READ)
        self.port = int(sock.getsockname()[1])

    def admits(self, address: str) -> bool:
        """Tell whether this address may speak here at all."""
        return True

    def take_in(self, address: str) -> bool:
        """Count a stranger at this door; False if there are too many."""
        return self.strangers.enter(address)

    def handle_accepted(self, sock: socket.socket, addr: tuple[Any, ...]) -> None:
        address = str(plain_address(addr[0]))
        if (
            not self.admits(address)
            or len(self.sessions) >= SESSIONS_MAX
            or not self.take_in(address)
        ):
            sock.close()
        else:
            session = self.session_class(sock, self, self.ioloop)
            if not session._closed:
                self.sessions.add(session)
                session.handle()

    def forget(self, session: ControlSession) -> None:
        self.sessions.discard(session)

    def readable(self) -> bool:
        return bool(self.accepting)

    def handle_error(self) -> None:
        log.exception("accepting a connection failed")

    def close_sessions(self, only_idle: bool) -> None:
        """Take leave of the sessions; those in a transfer only if not *only_idle*."""
        for session in list(self.sessions):
            if not only_idle:
                session.close()
            elif not session.is_busy:
                session.respond("421 The server stops")
                session.close_when_done()


class HouseDoor(Door):
    """For the owner and the house's guests."""

    session_class = HouseSession

    def __init__(
        self,
        sock: socket.socket,
        io: Any,
        options: "FtpOptions",
        files: WorkerPool,
        *,
        passwords: WorkerPool,
        elsewhere: Elsewhere,
        accounts: Accounts,
        disk: HouseFiles,
        uploads: UploadStore,
        context: ssl.SSLContext | None,
        on_change: OnChange,
        throttle: Throttle | None,
    ) -> None:
        self.passwords, self.accounts = passwords, accounts
        self.elsewhere = elsewhere
        self.disk, self.uploads, self.on_change = disk, uploads, on_change
        self.context = context
        self.guest_folders: tuple[Parts, ...] = options.guest_folders
        self._admits_outside = options.owner_from_wan and context is not None
        self._networks: tuple[Network, ...] = ()
        self.set_house_networks(options.house_networks)
        super().__init__(sock, io, options, files, throttle)
        self.ports = PassivePorts(options.passive_ports, OWNER_PORTS)

    def set_house_networks(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ip_network(text, strict=False) for text in networks)

    def is_house(self, address: str) -> bool:
        """Tell whether the address is at home; IPv6 only on a listed prefix."""
        plain = plain_address(address)
        return any(plain in network for network in self._networks)

    def admits(self, address: str) -> bool:
        return self._admits_outside or self.is_house(address)

    def take_in(self, address: str) -> bool:
        most = STRANGERS_MAX if self.is_house(address) else STRANGERS_OUTSIDE_MAX
        return self.strangers.enter(address, most)

    def has_room_for_guest(self) -> bool:
        logged_in = sum(session.authenticated for session in self.sessions)
        return logged_in < SESSIONS_MAX - OWNER_SESSIONS - STRANGERS_MAX


class FriendsDoor(Door):
    """For other nodes with tickets."""

    session_class = FriendSession

    def __init__(
        self,
        sock: socket.socket,
        io: Any,
        options: "FtpOptions",
        files: WorkerPool,
        *,
        desk: TicketDesk,
        context: FriendsContext,
        throttle: Throttle | None,
    ) -> None:
        self.desk, self.context = desk, context
        self.admit_relay: AdmitRelay | None = None  # while nobody meets here
        super().__init__(sock, io, options, files, throttle)
        self.ports = PassivePorts(options.friends_passive_ports, 0)

    def set_forwarded(self, ports: Mapping[int, int]) -> None:
        """A router upstream forwards these of our ports, from those of its own."""
        data = self.ports.range or ()
        self.ports.forwarded = {
            ours: its for ours, its in ports.items() if ours in data
        }

    def on_revoked(self, dead: frozenset[bytes], ends_sessions: bool) -> None:
        for session in list(self.sessions):
            assert isinstance(session, FriendSession)
            session.on_revoked(dead, ends_sessions)


def listening_socket(address: str, port: int) -> socket.socket:
    """Return a bound socket; all addresses, IPv6 too, if *address* is empty."""
    if address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
    else:
        sock, address = _every_address()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _every_address() -> tuple[socket.socket, str]:
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM), "0.0.0.0"
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return sock, "::"
