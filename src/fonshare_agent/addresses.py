"""Addresses as sockets and headers write them. Pure; must not know who is meant."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


@lru_cache(maxsize=8)  # for each file that a session moves its own are asked for again
def plain_address(text: str) -> Address:
    """Return an address without scope, and IPv4 written in IPv6 as IPv4.

    ValueError if it is none.
    """
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
