"""Settings: what the owner decided, typed, checked and frozen.

Values only: this module reads no file and checks nothing (config_check.py does).
Whoever holds a Settings holds no plain password: users carry scrypt hashes, and the
one secret left, the broker's password inside `mqtt.broker`, is hidden in every repr.
"""

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from fonshare_agent.clock import Hours
from fonshare_agent.config_values import redact_url

PortRange = tuple[int, int]  # both ends belong to it
Network = IPv4Network | IPv6Network
USER_ID = 427  # on a router: of the package's user and group


class SourceKind(Enum):
    """Where settings come from; it also decides which column of defaults holds."""

    YAML = "yaml"  # off the router
    UCI = "uci"  # on the router


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The node itself. `public_name` is empty when none is known."""

    name: str
    enabled: bool
    public_name: str
    port_mapping: str  # "auto" or "off"
    relay: bool  # for members who do not reach each other
    allow_private_addresses: bool


@dataclass(frozen=True, slots=True)
class UserSettings:
    """A login of the house door. An empty hash asks for no password (read only)."""

    name: str
    password_hash: str = field(repr=False)
    access: str  # "read" or "write"

    @property
    def may_write(self) -> bool:
        return self.access == "write"


@dataclass(frozen=True, slots=True)
class FtpSettings:
    """Both doors. Guest folders are relative to the disk; "." is the whole disk."""

    address: str  # an IP address; "::" and "0.0.0.0" are all of them
    port: int
    passive_ports: PortRange
    friends_port: int
    friends_passive_ports: PortRange
    guest_folders: tuple[str, ...]
    users: tuple[UserSettings, ...]
    house_networks: tuple[Network, ...]
    house_lan: bool  # also the networks that the router's lan zone has now
    owner_from_wan: bool
    keep_opened: bool  # what the owner opens of friends' files becomes a download
    certificate: Path | None  # of the house door; None: the agent's own choice
    certificate_key: Path | None


@dataclass(frozen=True, slots=True, repr=False)
class MqttSettings:
    """Where this node creates its own groups. `broker` is empty when there is none."""

    broker: str  # mqtt:// or mqtts://, with user and password as given
    ca: Path | None
    pin: bytes | None  # SHA-256 of the broker's certificate

    def __repr__(self) -> str:
        shown = redact_url(self.broker)
        pin = self.pin.hex() if self.pin else None
        return f"MqttSettings(broker={shown!r}, ca={self.ca!r}, pin={pin!r})"


@dataclass(frozen=True, slots=True)
class ShareSettings:
    """A folder of the disk, published read-only to the groups named."""

    name: str
    path: Path  # absolute, normalised, below the disk
    groups: tuple[str, ...]
    mirror_of: str = ""  # the URL of another's server whose copy the folder is
    mirror_pin: bytes | None = None  # SHA-256 of that server's certificate
    mirror_ca: Path | None = None  # absolute: the authority that signed it


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Ceilings; 0 means none."""

    upload_kib_s: int
    download_kib_s: int
    house: bool  # whether the first two hold within the house, too
    hours: Hours | None  # when they hold; None: always
    other_upload_kib_s: int  # at other times; 0: nothing moves then
    other_download_kib_s: int
    relay_kib_s: int
    transfers: int
    uploads: int
    give_way: bool
    hash_kib_s: int
    hash_hours: Hours | None  # None: always
    scan_period_s: int


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Where `fonshare web` listens, off the router."""

    address: str
    port: int
    names: tuple[str, ...]  # by which browsers call it
    proxy: str | None  # the address of a reverse proxy that speaks TLS


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the owner decided; all paths are absolute."""

    node: NodeSettings
    disk: Path
    state: Path
    keys: Path
    index: Path  # the folder that holds index.db
    run: Path  # the folder that holds control.sock
    ftp: FtpSettings
    mqtt: MqttSettings
    shares: tuple[ShareSettings, ...]
    downloads: str  # relative to the disk
    limits: LimitSettings
    web: WebSettings
    kind: SourceKind
    path: Path | None  # the file they came from
    plain_users: tuple[str, ...] = ()  # whose password stood in the file in clear
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()  # of the file, what this version does not know

    @property
    def is_on_router(self) -> bool:
        return self.kind is SourceKind.UCI

    @property
    def state_file(self) -> Path:
        return self.state / "state.db"

    @property
    def index_file(self) -> Path:
        return self.index / "index.db"

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def downloads_folder(self) -> Path:
        return self.disk / self.downloads

    def find_user(self, name: str) -> UserSettings | None:
        """Return the login called *name*, if there is one."""
        return next((user for user in self.ftp.users if user.name == name), None)
