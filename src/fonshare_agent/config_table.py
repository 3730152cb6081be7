"""THE TABLE of settings: every option once, with type, defaults and one line of help.

From it come the checks (config_check.py), docs/settings.md, the commented UCI file and
the init script's `uci_load_validate` lines (config_docs.py), and LuCI's form is tested
against it.
Rules between options (ports that must not overlap, folders that must not hold each
other) are config_check.py's. This module knows of no file format but its option names.
"""

from dataclasses import dataclass
from typing import Final

from fonshare_agent.config_servers import SERVER
from fonshare_agent.config_values import (
    ADDRESS,
    BOOL,
    BROKER,
    FOLDERS,
    HOST,
    HOSTS,
    HOURS,
    HOUSES,
    LABEL,
    LABELS,
    LOGIN,
    PASSWORD,
    PATH,
    PIN,
    PORT,
    PORT_RANGE,
    Kind,
    choice,
    number,
)

RATE_KIB_S_MAX = 10_000_000  # about 80 Gbit/s: above any disk, still 32 bits in bytes/s
TRANSFERS_MAX = 8  # each worker holds a 64 KiB buffer and a TLS session
UPLOADS_MAX = 16  # of the 48 sessions of the friends' door
PERIOD_S_MAX = 7 * 86400  # a disk without inotify is looked at weekly at least
PERIOD_S = 3600  # one walk of 100,000 files costs the box about two minutes
SHARES_MAX = 64  # each is watched and catalogued on its own
USERS_MAX = 32  # a household


class Unset(str):
    """Stands for "no value"; its text says in the docs what happens then."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. A default of None means that the owner must give it."""

    name: str  # dotted, as complaints name it
    kind: Kind
    default: object  # off the router
    router: object  # on the router
    help: str


def _same(name: str, kind: Kind, default: object, help: str) -> Option:
    return Option(name, kind, default, default, help)


OPTIONS: Final = (
    # node
    _same("node.name", LABEL, None, "The name that friends see."),
    Option(
        "node.enabled",
        BOOL,
        True,
        False,
        "Whether the agent starts at all.",
    ),
    _same(
        "node.public_name",
        HOST,
        "",
        "A host name or address by which friends reach this node from outside.",
    ),
    _same(
        "node.port_mapping",
        choice("auto", "off"),
        "auto",
        "Ask the router upstream to forward the friends' ports when that is needed.",
    ),
    _same(
        "node.relay",
        BOOL,
        False,
        "Carry what two members send each other, encrypted, when neither reaches the "
        "other but both reach this node.",
    ),
    _same(
        "node.allow_private_addresses",
        BOOL,
        False,
        "Tell friends private addresses too, when all are joined by a VPN.",
    ),
    # places
    _same("disk", PATH, None, "The mount point of the disk."),
    Option(
        "state",
        PATH,
        "state",
        Unset("DISK/.fonshare"),
        "The folder of the agent's databases, mode 700.",
    ),
    Option(
        "keys",
        PATH,
        Unset("STATE/keys"),
        "/etc/fonshare",
        "The folder of the node's keys and memberships, mode 700.",
    ),
    _same("index", PATH, Unset("STATE"), "The folder of index.db, the search index."),
    Option(
        "run",
        PATH,
        Unset("STATE"),
        "/var/run/fonshare",
        "The folder of the control socket.",
    ),
    # ftp
    Option(
        "ftp.address",
        ADDRESS,
        "127.0.0.1",
        "::",
        "The address on which both doors listen; `::` is all, IPv4 too.",
    ),
    _same("ftp.port", PORT, 2121, "The house door: FTP and FTPS for owner and guests."),
    _same(
        "ftp.passive_ports",
        PORT_RANGE,
        "30000-30009",
        "The house door's ports for data connections.",
    ),
    _same(
        "ftp.friends_port",
        PORT,
        Unset("ftp.port + 1"),
        "The friends' door: FTPS by ticket only, the one port to open to the internet.",
    ),
    _same(
        "ftp.friends_passive_ports",
        PORT_RANGE,
        "30010-30019",
        "The friends' door's ports for data connections.",
    ),
    _same(
        "ftp.guest_folders",
        FOLDERS,
        (),
        "Folders of the disk that users with read access see; none by default.",
    ),
    Option(
        "ftp.house_networks",
        HOUSES,
        ("loopback",),
        ("loopback", "lan"),
        "Where the house door accepts connections from.",
    ),
    _same(
        "ftp.owner_from_wan",
        BOOL,
        False,
        "Let users with write access in from anywhere, over TLS only.",
    ),
    _same(
        "ftp.keep_opened",
        BOOL,
        False,
        "Fetch whole, and keep, what the owner opens below /friends by FTP.",
    ),
    _same(
        "ftp.certificate",
        PATH,
        Unset("the router's own, or a self-signed one"),
        "The house door's certificate, a PEM file.",
    ),
    _same(
        "ftp.certificate_key",
        PATH,
        Unset("with ftp.certificate"),
        "The key of ftp.certificate, a PEM file.",
    ),
    # mqtt
    _same("mqtt.broker", BROKER, "", "The broker on which this node creates groups."),
    _same(
        "mqtt.ca",
        PATH,
        Unset("the system's authorities"),
        "A PEM file of the authority that signs the broker's certificate (mqtts://).",
    ),
    _same(
        "mqtt.pin",
        PIN,
        Unset("no pin"),
        "The only certificate accepted from the broker; needs no clock (mqtts://).",
    ),
    # downloads, limits, web
    _same("downloads", PATH, "downloads", "Where fetched files go, below the disk."),
    _same(
        "limits.upload_kib_s",
        number(0, RATE_KIB_S_MAX, "0: no limit"),
        0,
        "KiB a second to all friends together.",
    ),
    _same(
        "limits.download_kib_s",
        number(0, RATE_KIB_S_MAX, "0: no limit"),
        0,
        "KiB a second from all friends together.",
    ),
    _same(
        "limits.house",
        BOOL,
        False,
        "Let the two hold within the house too: for its own FTP clients, and for a "
        "friend's node on the same network.",
    ),
    _same(
        "limits.hours",
        HOURS,
        "0-24",
        "Hours of the day, local time, in which files move; 0-24 is always. At other "
        "times, and while the time is unknown, the next two hold.",
    ),
    _same(
        "limits.other_upload_kib_s",
        number(0, RATE_KIB_S_MAX, "0: nothing"),
        0,
        "KiB a second to all friends together outside of these hours; 0: nothing is "
        "sent then.",
    ),
    _same(
        "limits.other_download_kib_s",
        number(0, RATE_KIB_S_MAX, "0: nothing"),
        0,
        "KiB a second from all friends together outside of these hours; 0: nothing is "
        "fetched then.",
    ),
    _same(
        "limits.relay_kib_s",
        number(0, RATE_KIB_S_MAX, "0: no limit"),
        512,
        "KiB a second carried for others, all together (node.relay).",
    ),
    _same(
        "limits.transfers",
        number(1, TRANSFERS_MAX),
        2,
        "Jobs that fetch at the same time.",
    ),
    _same(
        "limits.uploads",
        number(1, UPLOADS_MAX),
        8,
        "Jobs of friends that are served at the same time; the others are told their "
        "place in the queue, in which friends take turns.",
    ),
    Option(
        "limits.give_way",
        BOOL,
        False,
        True,
        "Slow down within a second while the household uses the line. Only where its "
        "traffic passes, on the router, can that be seen.",
    ),
    _same(
        "limits.hash_kib_s",
        number(0, RATE_KIB_S_MAX, "0: no limit"),
        0,
        "KiB a second read from the disk to compute content roots; what a friend asks "
        "for is read at full speed.",
    ),
    _same(
        "limits.hash_hours",
        HOURS,
        "0-24",
        "Hours of the day, local time, in which content roots are computed; 0-24 is "
        "always. What a friend asks for does not wait.",
    ),
    _same(
        "limits.scan_period_s",
        number(1, PERIOD_S_MAX),
        PERIOD_S,
        "Seconds between two scans of the shares where inotify does not tell.",
    ),
    _same("web.address", ADDRESS, "127.0.0.1", "Where `fonshare web` listens."),
    _same("web.port", PORT, 8080, "The port of `fonshare web`."),
    _same(
        "web.names",
        HOSTS,
        (),
        "Names by which browsers call `fonshare web`, besides addresses and localhost.",
    ),
    _same(
        "web.proxy",
        ADDRESS,
        Unset("no proxy"),
        "The address from which a reverse proxy with TLS comes to `fonshare web`; then "
        "the page is for browsers with TLS only, from everywhere.",
    ),
)

USER_OPTIONS: Final = (
    _same("name", LOGIN, None, "The login's name."),
    _same(
        "password",
        PASSWORD,
        None,
        "Plain text, hashed when it is read, or its hash; empty only for reading.",
    ),
    _same("access", choice("read", "write"), "read", "What the login may do."),
)

SHARE_OPTIONS: Final = (
    _same("name", LABEL, None, "The name that friends see."),
    _same("path", PATH, None, "The folder, absolute or relative to the disk."),
    _same("groups", LABELS, (), "The groups that it is published to."),
    _same(
        "mirror_of",
        SERVER,
        "",
        "A folder of an FTP server of others, of which this one is a copy that the "
        "agent makes and keeps; `fonshare share password` takes the password.",
    ),
    _same(
        "mirror_pin",
        PIN,
        Unset("the system's authorities"),
        "The only certificate accepted from that server (ftps://).",
    ),
    _same(
        "mirror_ca",
        PATH,
        Unset("the system's authorities"),
        "A PEM file of the authority that signs that server's certificate (ftps://), "
        "absolute or relative to the disk; of no use with mirror_pin.",
    ),
)

LISTS: Final = {"ftp.users": USER_OPTIONS, "shares": SHARE_OPTIONS}
LIST_MAX: Final = {"ftp.users": USERS_MAX, "shares": SHARES_MAX}
LIST_HELP: Final = {
    "ftp.users": "The logins of the house door.",
    "shares": "The folders published to groups; `fonshare share add` adds one too.",
}
