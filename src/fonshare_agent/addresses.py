"""Addresses as sockets and headers write them. Pure; must not know who is meant."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

NETWORK_BITS = 64  # whoever has one address of an IPv6 network has all of them


@lru_cache(maxsize=8)  # for each file that a session moves its own are asked for again
def plain_address(text: str) -> Address:
    """Return an address without scope, and IPv4 written in IPv6 as IPv4.

    ValueError if it is none.
    """
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def network_of(address: Address) -> str:
    """Return whose addresses *address* is one of, as far as that shows."""
    if address.version == 6:
        return str(ip_network((address, NETWORK_BITS), strict=False))
    return str(address)
