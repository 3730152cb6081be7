"""Which networks the router's lan zone has now: what the word `lan` means in settings.

The zone `lan` of /etc/config/firewall names interfaces, /etc/config/network their
devices, and the kernel's routing tables the networks joined to these devices directly.
Read as text, since starting `ubus` for it would cost more memory than the answer is
worth. A network reached through a gateway is not the house, nor is link-local IPv6: a
neighbour on the WAN has the same prefix. When in doubt a network is left out, so that a
mistake shuts the house door instead of opening it.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final, Literal

from fonshare_agent.config_uci import Section, parse_uci
from fonshare_agent.errors import SettingsError
from fonshare_agent.settings import Network

log = logging.getLogger(__name__)

ZONE: Final = "lan"
UCI_FOLDER: Final = Path("/etc/config")
PROC_FOLDER: Final = Path("/proc/net")

# linux/route.h: reached through a gateway; not reached at all; an address of our own
_GATEWAY, _REJECT, _LOCAL = 0x2, 0x200, 0x80000000


def house_networks(
    named: Iterable[Network],
    has_lan: bool,
    *,
    uci: Path = UCI_FOLDER,
    proc: Path = PROC_FOLDER,
) -> tuple[Network, ...]:
    """Return the networks *named* in the settings, and with *has_lan* the lan's now.

    Reads a few small files; ask again when interfaces change.
    """
    networks = tuple(named)
    if not has_lan:
        return networks
    firewall, network = _sections(uci / "firewall"), _sections(uci / "network")
    if firewall is None or network is None:
        return networks
    devices = lan_devices(firewall, network)
    tables = (_lines(proc / "route"), _lines(proc / "ipv6_route"))
    return tuple(dict.fromkeys((*networks, *networks_of(devices, *tables))))


# --- which devices ---


def lan_devices(firewall: Iterable[Section], network: Iterable[Section]) -> set[str]:
    """Return the kernel's names of the devices in the zone `lan`."""
    interfaces = {
        section.name: section
        for section in network
        if section.type == "interface" and section.name
    }
    names: list[str] = []
    devices: set[str] = set()
    zones = [section for section in firewall if section.type == "zone"]
    for zone in zones:
        if zone.options.get("name") == ZONE:
            names += _words(zone, "network")
            devices.update(_words(zone, "device"))
    if not zones:
        names = [ZONE]  # no firewall here: the interface of that name
    for name in names:
        devices.update(_devices_of(name, interfaces))
    return devices


def _devices_of(
    name: str, interfaces: dict[str, Section], depth: int = 0
) -> Iterator[str]:
    section = interfaces.get(name)
    if section is None or depth > len(interfaces):
        return
    if section.options.get("type") == "bridge":  # before OpenWrt 21.02
        yield f"br-{name}"
        return
    # Without a device the interface makes one of its own name, as WireGuard's do.
    for device in _words(section, "device") or _words(section, "ifname") or [name]:
        if device.startswith("@"):
            yield from _devices_of(device[1:], interfaces, depth + 1)
        else:
            yield device


def _words(section: Section, option: str) -> list[str]:
    value = section.options.get(option, [])
    return value.split() if isinstance(value, str) else list(value)


# --- which networks ---


def networks_of(
    devices: set[str],
    route: Iterable[str],
    ipv6_route: Iterable[str],
    *,
    order: Literal["little", "big"] = sys.byteorder,
) -> list[Network]:
    """Return what the kernel's two tables say is joined directly to *devices*.

    /proc/net/route shows addresses as numbers of the machine's own byte *order*.
    """
    found: list[Network] = []
    for line in route:
        words = line.split()
        if len(words) >= 8 and words[0] in devices:
            found += _network4(words[1], words[7], int(words[3], 16), order)
    for line in ipv6_route:
        words = line.split()
        if len(words) >= 10 and words[9] in devices:
            found += _network6(words[0], words[1], int(words[8], 16))
    return found


def _network4(
    address: str, mask: str, flags: int, order: Literal["little", "big"]
) -> Iterator[Network]:
    prefix = int(mask, 16).bit_count()
    if flags & (_GATEWAY | _REJECT) or not prefix:
        return
    yield IPv4Network((int(address, 16).to_bytes(4, order), prefix))


def _network6(address: str, prefix: str, flags: int) -> Iterator[Network]:
    if flags & (_GATEWAY | _REJECT | _LOCAL) or not int(prefix, 16):
        return
    network = IPv6Network((bytes.fromhex(address), int(prefix, 16)))
    if not network.is_link_local and not network.is_multicast:
        yield network


# --- files ---


def _sections(path: Path) -> list[Section] | None:
    try:
        return parse_uci("\n".join(_lines(path)))
    except SettingsError as error:
        log.warning("%s is not read, the house has no lan: %s", path, error)
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        return []  # no firewall, or no IPv6
    except OSError as error:
        log.warning("%s is not read: %s", path, error.strerror)
        return []
