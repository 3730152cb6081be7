"""Which addresses this host has, and which of them may stand in a ticket.

Asks the kernel by rtnetlink(7), IPv4 and IPv6 alike. The rules are DESIGN section 4,
Ticket addresses: at most eight, never link-local, multicast, broadcast or unspecified
ones; loopback only between two nodes on loopback; private ones only where both show the
same public address or the owner allows them. They hold for what we offer and for what
we dial: a friend must not be able to make this node knock at its own house's machines.
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Final

Address = tuple[str, int]  # host (an address or a name) and port
IP = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface

ADDRESSES_MAX: Final = 8

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
    if (
        ip.is_link_local
        or ip.is_multicast
        or ip.is_unspecified
        or ip == IPv4Address("255.255.255.255")
    ):
        return Kind.NEVER
    return Kind.PUBLIC if ip.is_global else Kind.PRIVATE


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
        return _has_loopback(self.own) and (
            not self.theirs or _has_loopback(self.theirs)
        )

    @property
    def _share_a_public_address(self) -> bool:
        return any(kind_of(ip) is Kind.PUBLIC and ip in self.theirs for ip in self.own)

    def allow(self, ip: IP) -> bool:
        """Tell whether *ip* may be offered, or dialled."""
        match kind_of(ip):
            case Kind.PUBLIC:
                return True
            case Kind.PRIVATE:
                return self.allows_private or self._share_a_public_address
            case Kind.LOOPBACK:
                return self._meet_on_loopback
            case Kind.NEVER:
                return False


def _has_loopback(addresses: Iterable[IP]) -> bool:
    return any(kind_of(ip) is Kind.LOOPBACK for ip in addresses)


def ips_of(addresses: Iterable[Address]) -> tuple[IP, ...]:
    """Return the addresses among *addresses*; names are left out."""
    return tuple(ip for host, _ in addresses if (ip := parse_ip(host)) is not None)


_ORDER: Final = (Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK)


def ticket_addresses(
    own: Iterable[IP],
    port: int,
    *,
    public_name: str = "",
    theirs: Iterable[Address] = (),
    allows_private: bool = False,
) -> tuple[Address, ...]:
    """Return what to offer: the configured name, then public before private ones."""
    rules = Rules(tuple(own), ips_of(theirs), allows_private)
    hosts = [public_name] if public_name else []
    for kind in _ORDER:
        found = (ip for ip in rules.own if kind_of(ip) is kind and rules.allow(ip))
        hosts += [str(ip) for ip in sorted(found, key=lambda ip: ip.version)]
    return tuple((host, port) for host in dict.fromkeys(hosts))[:ADDRESSES_MAX]


def dialable(
    theirs: Iterable[Address], own: Iterable[IP], *, allows_private: bool = False
) -> tuple[Address, ...]:
    """Return those of *theirs* that this node may connect to."""
    offered = tuple(theirs)[:ADDRESSES_MAX]
    rules = Rules(tuple(own), ips_of(offered), allows_private)
    return tuple(
        (host, port)
        for host, port in offered
        if (ip := parse_ip(host)) is None or rules.allow(ip)
    )


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
        if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < _HEADER.size:
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
