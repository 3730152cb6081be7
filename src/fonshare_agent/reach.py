"""How this node's friends' door is reached: the addresses that go into tickets.

The rules of DESIGN section 4, Ticket addresses, are in links/netinfo.py; here they get
this node's settings and its present interfaces.
"""

from collections.abc import Callable

from fonshare_agent.settings import Settings
from fonshare_agent.transfer.wire import Address


class Reach:
    """Asks the kernel anew each time: routers change addresses."""

    def __init__(self, settings: Settings, friends_port: Callable[[], int]) -> None:
        self._settings, self._friends_port = settings, friends_port

    def addresses(self, theirs: tuple[Address, ...]) -> tuple[Address, ...]:
        """Return where a peer that shows *theirs* may try to reach us."""
        return ((self._settings.ftp.address, self._friends_port()),)
