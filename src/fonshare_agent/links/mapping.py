"""Asks the router upstream to forward ports to this host: PCP, NAT-PMP, then UPnP.

`forward` tries them in that order and says what it got, or why nobody helps;
`withdraw` takes it back. An outside address that is not public (a router behind a
router, a provider's NAT) is no help and is told as what it is. Loaded by who needs it
alone. Blocks, some seconds where nobody answers: for a thread of its own.
"""

import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from fonshare_agent.links import port_control, upnp
from fonshare_agent.links.mapped import Mapped, Outcome, Unmapped, Wish
from fonshare_agent.links.netinfo import Kind, kind_of

_ROUTES: Final = Path("/proc/net/route")
_NOWHERE: Final = "0" * 8
_REASONS: Final = ("no_router", "silent", "refused", "double_nat")


def forward(wish: Wish) -> Outcome:
    """Have the ports forwarded, or go on having them so; return how it went.

    Of several reasons why it did not the one that says most.
    """
    router = find_router()
    if router is None:
        return Unmapped("no_router")
    said: list[Unmapped] = []
    for ask in (port_control.by_pcp, port_control.by_nat_pmp, upnp.by_upnp):
        outcome = ask(wish, router)
        if isinstance(outcome, Mapped):
            if kind_of(IPv4Address(outcome.address)) is Kind.PUBLIC:
                return outcome
            withdraw(wish, outcome)
            return Unmapped("double_nat", outcome.method, outcome.address)
        said.append(outcome)
    return max(said, key=lambda one: _REASONS.index(one.reason))


def withdraw(wish: Wish, mapped: Mapped) -> None:
    """Take back what was forwarded; what cannot be taken back lapses by itself."""
    if mapped.method == "UPnP":
        upnp.withdraw(wish, mapped)
    elif (router := find_router()) is not None:
        port_control.withdraw(wish, mapped, router)


def find_router(routes: Path = _ROUTES) -> str | None:
    """Return the address that the default route of IPv4 leads to."""
    try:
        lines = routes.read_text().splitlines()[1:]
    except OSError:
        return None  # a kernel without IPv4
    rows = [line.split() for line in lines]
    ways = sorted((int(row[6]), row[2]) for row in rows if row[1] == row[7] == _NOWHERE)
    hops = [hop for _, hop in ways if hop != _NOWHERE]
    if not hops:
        return None
    # The kernel writes the number that the address is in this machine's byte order.
    return str(IPv4Address(int(hops[0], 16).to_bytes(4, sys.byteorder)))
