"""Which addresses this host has, and which of them may stand in a ticket.

Asks the kernel by rtnetlink(7), IPv4 and IPv6 alike. The rules are DESIGN section 4,
Ticket addresses: at most eight, never link-local, multicast, broadcast or unspecified
ones; loopback only between two nodes that have nothing else; private ones only where
both show the same public address or the owner allows them. They hold for what we offer
and for what we dial: a friend must not be able to make this node knock at its own
house's machines. Names are looked up by `resolve` on a transfer worker, and what they
stand for is held to the same rules: a friend's name may well mean 192.168.1.1.
"""

import os
import re
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Final

Address = tuple[str, int]  # host (an address or a name) and port
IP = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface

ADDRESSES_MAX: Final = 8
PORT_MAX: Final = 65535
NAME_BYTES_MAX: Final = 253  # RFC 1035, as text

# Python calls these global, or private; a gateway nearby may turn the first five into
# any IPv4 address, also one of the house. Nobody's own address is among them.
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "::/96",  # IPv4-compatible, RFC 4291
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # NAT64 of a site, RFC 8215
        "2002::/16",  # 6to4, RFC 3056
        "2001::/32",  # Teredo, RFC 4380
        "240.0.0.0/4",  # reserved, and broadcast
        "0.0.0.0/8",  # this network: Linux connects it to this host
    )
)
_SITE_LOCAL: Final = ip_network("fec0::/10")  # RFC 3879; Python calls it global
# A name of the public DNS: two labels at least, the last no number. The resolver takes
# 127.1, 0x7f.1 and 2130706433 for addresses, and a bare name for a machine nearby.
_NAME: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z", re.I
)

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_TENTATIVE, _IFA_F_DEPRECATED, _IFA_F_DADFAILED = 0x40, 0x20, 0x08
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length, type


class Kind(Enum):
    """What an address is good for."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    NEVER = "never"


def kind_of(ip: IP) -> Kind:
    """Tell what *ip* is good for in a ticket."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return kind_of(ip.ipv4_mapped)
    if ip.is_loopback:
        return Kind.LOOPBACK
    if ip.is_link_local or ip.is_multicast or any(ip in net for net in _NEVER):
        return Kind.NEVER
    is_public = ip.is_global and ip not in _SITE_LOCAL
    return Kind.PUBLIC if is_public else Kind.PRIVATE


def parse_ip(text: str) -> IP | None:
    """Return the address that *text* is; None for a name."""
    try:
        return ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the two ends show each other, and what the owner allows."""

    own: tuple[IP, ...]
    theirs: tuple[IP, ...]
    allows_private: bool

    @property
    def _meet_on_loopback(self) -> bool:
        # Every host has a loopback address; only one bound to nothing else shows it.
        return _is_on_loopback(self.own) and (
            not self.theirs or _is_on_loopback(self.theirs)
        )

    @property
    def share_a_public_address(self) -> bool:
        return any(kind_of(ip) is Kind.PUBLIC and ip in self.theirs for ip in self.own)

    def allow(self, ip: IP) -> bool:
        """Tell whether *ip* may be offered, or dialled."""
        match kind_of(ip):
            case Kind.PUBLIC:
                return True
            case Kind.PRIVATE:
                return self.allows_private or self.share_a_public_address
            case Kind.LOOPBACK:
                return self._meet_on_loopback
            case Kind.NEVER:
                return False


def _is_on_loopback(addresses: Iterable[IP]) -> bool:
    kinds = {kind_of(ip) for ip in addresses} - {Kind.NEVER}
    return kinds == {Kind.LOOPBACK}


def is_public_name(text: str) -> bool:
    """Tell whether *text* can be a name of the public DNS, and nothing else."""
    return len(text) <= NAME_BYTES_MAX and _NAME.match(text) is not None


def ips_of(addresses: Iterable[Address]) -> tuple[IP, ...]:
    """Return the addresses among *addresses*; names are left out."""
    return tuple(ip for host, _ in addresses if (ip := parse_ip(host)) is not None)


_ORDER: Final = (Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK)


def ticket_addresses(
    own: Iterable[IP],
    port: int,
    *,
    public_name: str = "",
    outside: Address | None = None,
    theirs: Iterable[Address] = (),
    allows_private: bool = False,
) -> tuple[Address, ...]:
    """Return what to offer: the configured name, then public before private ones.

    *outside* is where a router upstream forwards the port. In one house with the peer
    private addresses come first: few routers let their own inside in by the outside.
    """
    ours = tuple(own)
    rules = Rules(_shown(ours, outside), ips_of(theirs), allows_private)
    found = [(public_name, port)] if public_name else []
    found += [outside] if outside is not None else []
    for kind in _ORDER:
        ips = (ip for ip in ours if kind_of(ip) is kind and rules.allow(ip))
        found += [(str(ip), port) for ip in sorted(ips, key=lambda ip: ip.version)]
    if rules.share_a_public_address:
        found.sort(key=lambda one: not _is_private(one[0]))
    return tuple(dict.fromkeys(found))[:ADDRESSES_MAX]


def _shown(own: Iterable[IP], outside: Address | None) -> tuple[IP, ...]:
    return (*own, *ips_of([outside] if outside is not None else []))


def _is_private(host: str) -> bool:
    ip = parse_ip(host)
    return ip is not None and kind_of(ip) is Kind.PRIVATE


def dialable(
    theirs: Iterable[Address],
    own: Iterable[IP],
    *,
    outside: Address | None = None,
    allows_private: bool = False,
) -> tuple[Address, ...]:
    """Return those of *theirs* that this node may connect to.

    Names pass if they can be public ones: `resolve` them before connecting.
    """
    offered = tuple(theirs)[:ADDRESSES_MAX]
    rules = Rules(_shown(own, outside), ips_of(offered), allows_private)
    return tuple(
        (host, port)
        for host, port in offered
        if 0 < port <= PORT_MAX and _may_dial(host, rules)
    )


def _may_dial(host: str, rules: Rules) -> bool:
    ip = parse_ip(host)
    return is_public_name(host) if ip is None else rules.allow(ip)


Lookup = Callable[[str], Iterable[str]]  # a name's addresses; raises OSError if none


def look_up(name: str) -> list[str]:
    """Return the addresses that *name* has now. Blocks; raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


def resolve(
    addresses: Iterable[Address],
    *,
    allows_private: bool = False,
    look_up: Lookup = look_up,
) -> tuple[Address, ...]:
    """Return *addresses*, which are dialable, with the names' addresses for the names.

    Of a name only public addresses are taken, and private ones where the owner allows
    them. Blocks: for transfer workers. A name that is not known now gives none.
    """
    found: list[Address] = []
    for host, port in addresses:
        if parse_ip(host) is not None:
            found.append((host, port))
            continue
        try:
            named = list(look_up(host))
        except (OSError, UnicodeError):  # UnicodeError: no name that IDNA can write
            continue
        found += [(text, port) for text in named if _may_mean(text, allows_private)]
    return tuple(dict.fromkeys(found))[:ADDRESSES_MAX]


def _may_mean(text: str, allows_private: bool) -> bool:
    ip = parse_ip(text)
    kind = Kind.NEVER if ip is None else kind_of(ip)
    return kind is Kind.PUBLIC or (allows_private and kind is Kind.PRIVATE)


# --- what the kernel says ---


def local_addresses() -> list[Interface]:
    """Return this host's usable addresses with their prefixes. Raises OSError."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    with kernel:
        kernel.settimeout(1.0)
        message = _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        length = _HEADER.size + len(message)
        head = _HEADER.pack(length, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0)
        kernel.send(head + message)
        found: list[Interface] = []
        while True:
            is_over, page = _read_page(kernel.recv(65536))
            found += page
            if is_over:
                return found


def _read_page(data: bytes) -> tuple[bool, list[Interface]]:
    found: list[Interface] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if kind == _NLMSG_ERROR:
            (number,) = struct.unpack_from("=i", data, at + _HEADER.size)
            raise OSError(-number, os.strerror(-number))
        if kind == _NLMSG_DONE or length < _HEADER.size:
            return True, found
        if kind == _RTM_NEWADDR:
            address = _read_address(data[at + _HEADER.size : at + length])
            if address is not None:
                found.append(address)
        at += (length + 3) & ~3
    return False, found


def _read_address(body: bytes) -> Interface | None:
    family, prefix, flags, _, _ = _IFADDRMSG.unpack_from(body)
    if flags & (_IFA_F_TENTATIVE | _IFA_F_DEPRECATED | _IFA_F_DADFAILED):
        return None
    values = dict(_attributes(body[_IFADDRMSG.size :]))
    # On a point-to-point line IFA_ADDRESS is the other end and IFA_LOCAL is ours.
    raw = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
    if raw is None or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return ip_interface((raw, prefix))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
