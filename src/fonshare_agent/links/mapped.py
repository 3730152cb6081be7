"""What asking the router upstream to forward ports can come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

LEASE_S: Final = 3600  # asked for: what is not renewed is gone an hour after us
SHARED: Final = IPv4Network("100.64.0.0/10")  # of providers' NAT, RFC 6598


@dataclass(frozen=True, slots=True)
class Wish:
    """Which ports are wanted: the friends' door first, without which the others, its
    data ports, are worth nothing. *key* makes PCP's nonces: the same after a restart,
    so that the router knows whose the old mappings are."""

    ports: tuple[int, ...]
    key: bytes
    address: str = ""  # ours, where the owner has bound one


@dataclass(frozen=True, slots=True)
class Mapped:
    """The router forwards: asked by which protocol, at which address, which ports."""

    method: str  # "PCP", "NAT-PMP" or "UPnP"
    address: str
    ports: Mapping[int, int]  # ours -> the router's; what it refused is not there
    lifetime_s: int  # 0: it lasts until it is taken back
    place: str = ""  # of the router's description, by UPnP


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Nothing is forwarded. *reason*: "no_router" to ask, "silent" (it speaks none of
    the protocols), "refused", or "double_nat": its own *address* is not public, or it
    does not even tell it, since it knows that it is not."""

    reason: str
    detail: str = ""
    address: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether that address is one of those that providers' NAT uses."""
        return bool(self.address) and IPv4Address(self.address) in SHARED


Outcome = Mapped | Unmapped
