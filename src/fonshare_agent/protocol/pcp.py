"""PCP (RFC 6887) and its forerunner NAT-PMP (RFC 6886): the datagrams, both ways.

Both are spoken to UDP port 5351 of the router upstream, which answers a version that it
does not speak with one that it does. Only what forwards a TCP port is here. A reader
returns what a datagram says if it answers the question, and None for anything else: it
may come from anybody on the lan.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

PORT: Final = 5351
NONCE_BYTES: Final = 12
DATAGRAM_MAX: Final = 1100  # RFC 6887 section 7
TCP: Final = 6

_PCP, _NAT_PMP = 2, 0  # versions
_ANSWER: Final = 0x80  # the bit that an answer adds to the operation
_PCP_MAP: Final = 1
_NAT_PMP_ADDRESS, _NAT_PMP_MAP_TCP = 0, 2
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # an IPv4 address in IPv6

_PCP_ASK: Final = struct.Struct("!BBHI16s")
_PCP_TOLD: Final = struct.Struct("!BBBBII12x")
_PCP_BODY: Final = struct.Struct("!12sB3xHH16s")
_MAP_ASK: Final = struct.Struct("!BBHHHI")
_TOLD: Final = struct.Struct("!BBHI")  # how every answer of NAT-PMP begins
_MAP_TOLD: Final = struct.Struct("!BBHIHHI")

# What the numbers of refusals mean, RFC 6887 section 7.4; those of NAT-PMP follow.
PCP_RESULTS: Final = {
    1: "unsupported version",
    2: "not authorized",
    3: "malformed request",
    4: "unsupported operation",
    7: "network failure",
    8: "no resources",
    9: "unsupported protocol",
    10: "user exceeded quota",
    11: "cannot provide external port",
    12: "address mismatch",
}
NAT_PMP_RESULTS: Final = {
    1: "unsupported version",
    2: "not authorized",
    3: "network failure",
    4: "out of resources",
    5: "unsupported operation",
}


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A port of the router that it forwards to ours for `lifetime_s`."""

    internal: int
    external: int
    lifetime_s: int
    address: IPv4Address | None  # the router's own outside; NAT-PMP tells it apart


@dataclass(frozen=True, slots=True)
class Refused:
    """The router's no, in its protocol's words."""

    reason: str


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """The router does not speak this version."""


Answer = Forwarded | Refused | OtherVersion


def pcp_map(
    client: IPv4Address, nonce: bytes, internal: int, external: int, lifetime_s: int
) -> bytes:
    """Ask for *external* to be forwarded to *internal* of *client*; 0 s: no more."""
    head = _PCP_ASK.pack(_PCP, _PCP_MAP, 0, lifetime_s, _MAPPED + client.packed)
    anywhere = _MAPPED + bytes(4)
    return head + _PCP_BODY.pack(nonce, TCP, internal, external, anywhere)


def read_pcp(data: bytes, nonce: bytes, internal: int) -> Answer | None:
    """Return what *data* answers to the `pcp_map` with *nonce* for *internal*."""
    if len(data) >= _TOLD.size and data[0] == _NAT_PMP and data[1] & _ANSWER:
        return OtherVersion()
    if len(data) < _PCP_TOLD.size or data[0] != _PCP:
        return None
    _, operation, _, result, lifetime_s, _ = _PCP_TOLD.unpack_from(data)
    if operation != _ANSWER | _PCP_MAP:
        return None
    if len(data) < _PCP_TOLD.size + _PCP_BODY.size:
        return None
    body = _PCP_BODY.unpack_from(data, _PCP_TOLD.size)
    shown, protocol, theirs, external, outside = body
    if (shown, protocol, theirs) != (nonce, TCP, internal):
        return None
    if result == 1:
        return OtherVersion()
    if result:
        return Refused(PCP_RESULTS.get(result, f"result {result}"))
    if not outside.startswith(_MAPPED) or not external:
        return Refused("no IPv4 address")
    return Forwarded(internal, external, lifetime_s, IPv4Address(outside[12:]))


def nat_pmp_address() -> bytes:
    """Ask for the router's own outside address."""
    return bytes((_NAT_PMP, _NAT_PMP_ADDRESS))


def read_nat_pmp_address(data: bytes) -> IPv4Address | Refused | OtherVersion | None:
    """Return the address in an answer to `nat_pmp_address`."""
    head = _nat_pmp_head(data, _NAT_PMP_ADDRESS)
    if not isinstance(head, int):
        return head
    if head:
        return Refused(NAT_PMP_RESULTS.get(head, f"result {head}"))
    if len(data) != _TOLD.size + 4:
        return None
    return IPv4Address(data[_TOLD.size :])


def nat_pmp_map(internal: int, external: int, lifetime_s: int) -> bytes:
    """Ask as `pcp_map` does; to end it, *external* must be 0 as well."""
    return _MAP_ASK.pack(_NAT_PMP, _NAT_PMP_MAP_TCP, 0, internal, external, lifetime_s)


def read_nat_pmp_map(data: bytes, internal: int) -> Answer | None:
    """Return what *data* answers to the `nat_pmp_map` for *internal*."""
    head = _nat_pmp_head(data, _NAT_PMP_MAP_TCP)
    if not isinstance(head, int):
        return head
    if head:
        return Refused(NAT_PMP_RESULTS.get(head, f"result {head}"))
    if len(data) != _MAP_TOLD.size:
        return None
    _, _, _, _, theirs, external, lifetime_s = _MAP_TOLD.unpack(data)
    if theirs != internal:
        return None
    if not external:
        return Refused("no port")
    return Forwarded(internal, external, lifetime_s, None)


def _nat_pmp_head(data: bytes, operation: int) -> int | OtherVersion | None:
    """Return an answer's result, if it answers *operation*."""
    if len(data) < _TOLD.size:
        return None
    version, told, result, _ = _TOLD.unpack_from(data)
    if version != _NAT_PMP:
        return OtherVersion() if told & _ANSWER else None
    if told != _ANSWER | operation:
        return None
    return OtherVersion() if result == 1 else int(result)
