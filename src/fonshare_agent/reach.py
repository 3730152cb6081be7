"""How this node's friends' door is reached, and whom it may dial.

The rules are in links/netinfo.py; here they get this node's settings, its present
interfaces and what a router upstream forwards (port_mapping.py). An address that the
owner bound the FTP server to is one that the owner allows to be given away, also a
private one.
"""

import logging
from collections.abc import Callable, Sequence

from fonshare_agent.links.mapped import Mapped, Wish
from fonshare_agent.links.netinfo import (
    IP,
    Address,
    Kind,
    dialable,
    kind_of,
    local_addresses,
    parse_ip,
    resolve,
    ticket_addresses,
)
from fonshare_agent.settings import Settings

log = logging.getLogger(__name__)

DATA_PORTS_MAX = 16  # forwarded at most: each is a question, and a place at the router


class Reach:
    """Asks the kernel anew each time: routers change addresses."""

    def __init__(self, settings: Settings, friends_port: Callable[[], int]) -> None:
        self._find_port, self._settings = friends_port, settings
        self.mapped: Mapped | None = None
        self._public_name = settings.node.public_name
        bound = parse_ip(settings.ftp.address)
        self._bound = None if bound is None or bound.is_unspecified else bound
        self._allows_private = settings.node.allow_private_addresses or (
            self._bound is not None and kind_of(self._bound) is Kind.PRIVATE
        )

    def addresses(self, theirs: tuple[Address, ...]) -> tuple[Address, ...]:
        """Return where a peer that shows *theirs* may try to reach us."""
        return self._addresses(self.friends_port, theirs)

    def data_ports(self) -> Sequence[int]:
        """Return those of ours that transfers with peers from outside use."""
        first, last = self._settings.ftp.friends_passive_ports
        ports, mapped = range(first, last + 1), self.mapped
        forwarded = [p for p in ports if mapped is not None and p in mapped.ports]
        return forwarded or ports

    def data_addresses(self, port: int) -> tuple[Address, ...]:
        """Return where any peer may try to reach that data port of ours."""
        return self._addresses(port, ())

    def _addresses(self, port: int, theirs: tuple[Address, ...]) -> tuple[Address, ...]:
        return ticket_addresses(
            self.own_addresses(),
            port,
            public_name=self._public_name,
            outside=self._outside(port),
            theirs=theirs,
            allows_private=self._allows_private,
        )

    def dialable(self, theirs: tuple[Address, ...]) -> tuple[Address, ...]:
        """Return which of *theirs* we may try."""
        return dialable(
            theirs,
            self.own_addresses(),
            outside=self._outside(self.friends_port),
            allows_private=self._allows_private,
        )

    def resolve(self, addresses: Sequence[Address]) -> Sequence[Address]:
        """Look up the names among *addresses*; on a thread that may block.

        A name may lead anywhere, also to this house's machines: what it gives is judged
        like an address.
        """
        return resolve(addresses, allows_private=self._allows_private)

    @property
    def friends_port(self) -> int:
        """Ours; the router upstream may show another one."""
        return self._find_port()

    @property
    def bound(self) -> str:
        """The one address of our doors; "" if they listen on all."""
        return str(self._bound or "")

    def door(self) -> Address:
        """Return where this host itself finds the friends' door."""
        return str(self._bound or "127.0.0.1"), self.friends_port

    def wish(self, key: bytes) -> Wish | None:
        """Return what a router upstream is to forward; None: nothing needs it."""
        port, data = self.friends_port, self._settings.ftp.friends_passive_ports
        if self._settings.node.port_mapping == "off" or not port:
            return None
        kinds = {kind_of(ip) for ip in self.own_addresses() if ip.version == 4}
        if Kind.PUBLIC in kinds or Kind.PRIVATE not in kinds:
            return None
        passive = range(data[0], min(data[1] + 1, data[0] + DATA_PORTS_MAX))
        return Wish((port, *passive), key, self.bound)

    def _outside(self, port: int) -> Address | None:
        mapped = self.mapped
        shown = mapped and mapped.ports.get(port)
        return (mapped.address, shown) if mapped and shown else None

    def own_addresses(self) -> list[IP]:
        """Return those on which the doors listen."""
        if self._bound is not None:
            return [self._bound]
        try:
            return [one.ip for one in local_addresses()]
        except OSError as error:
            log.warning("this host's addresses are not known: %s", error.strerror)
            return []
