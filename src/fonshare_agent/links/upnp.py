"""UPnP with the router upstream, by `upnpc` of miniupnpc where that is installed.

UPnP needs multicast, HTTP and XML, of which nothing is to stay in the agent's memory:
each question is a short-lived child. Its output is read line by line in exactly the
form of its versions 2.1 to 2.3; anything else counts as a refusal. Blocks.
"""

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from fonshare_agent.links.child import KILLED, Ended, run_child
from fonshare_agent.links.mapped import LEASE_S, Mapped, Outcome, Unmapped, Wish

WITHDRAW_S: Final = 3.0  # a node that stops does not wait for a router that is gone
CHILD_S: Final = 15.0  # it waits two seconds for answers on the lan, then for HTTP
UPNPC: Final = "upnpc"
DESCRIPTION: Final = "fonshare"
PORTS_TRIED: Final = 8  # where the one wanted is another host's

_CONFLICTS: Final = (718, 729)  # another host's, or another protocol's
_PERMANENT_ONLY: Final = 725
_DESCRIBED: Final = re.compile(r"^ desc: (http://[!-~]{1,200})$", re.M)
_OURS: Final = re.compile(r"^Local LAN ip address : ([\d.]{7,15})$", re.M)
_OUTSIDE: Final = re.compile(r"^ExternalIPAddress = ([\d.]{7,15})$", re.M)
_FORWARDS: Final = re.compile(
    r"^external [\d.]{7,15}:(\d{1,5}) TCP is redirected to internal "
    r"[\d.]{7,15}:(\d{1,5}) \(duration=(\d{1,10})\)$",
    re.M,
)
_FAILED: Final = re.compile(r"failed with code (\d{1,5}) \(([\w ]{1,60})\)")

Run = Callable[[list[str], float], Ended]


def by_upnp(wish: Wish, router: str = "", run: Run = run_child) -> Outcome:
    """Ask by UPnP; renew what was asked for before. It finds the router by itself."""
    try:
        seen = run(_words(wish, "-s"), CHILD_S).output
    except OSError:
        return Unmapped("silent", f"{UPNPC} is not installed")
    box, ours = _DESCRIBED.search(seen), _OURS.search(seen)
    if box is None or ours is None:
        return Unmapped("silent")
    outside = _OUTSIDE.search(seen)
    address = _address(outside[1]) if outside is not None else None
    if address is None:
        return Unmapped("refused", "it names no outside address")
    asked = _Upnp(run, wish, box[1], wish.address or ours[1])
    return asked.forward(address)


def withdraw(wish: Wish, mapped: Mapped, run: Run = run_child) -> None:
    """Take back what was forwarded."""
    for port in mapped.ports.values():
        words = _words(wish, "-u", mapped.place, "-d", str(port), "tcp")
        try:
            status = run(words, WITHDRAW_S).status
        except OSError:
            return  # upnpc was removed meanwhile: what is forwarded lapses by itself
        if status == KILLED:
            return


def _words(wish: Wish, *words: str) -> list[str]:
    from_here = ["-m", wish.address] if wish.address else []
    return [UPNPC, *from_here, *words]


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


class _Upnp:
    """One round with one router, known by the place of its description."""

    def __init__(self, run: Run, wish: Wish, place: str, ours: str) -> None:
        self._run, self._wish, self._place, self._ours = run, wish, place, ours
        self._lease_s = LEASE_S
        self._refusal = ""

    def forward(self, address: IPv4Address) -> Outcome:
        got: dict[int, int] = {}
        lifetimes: list[int] = []
        for port in self._wish.ports:
            external = self._forward_one(port, lifetimes)
            if external is not None:
                got[port] = external
            elif not got:
                return Unmapped("refused", self._refusal)  # the door, or nothing
        lifetime_s = min(filter(None, lifetimes), default=0)
        return Mapped("UPnP", str(address), got, lifetime_s, self._place)

    def _forward_one(self, port: int, lifetimes: list[int]) -> int | None:
        for external in range(port, min(port + PORTS_TRIED, 65536)):
            error = self._ask(port, external, lifetimes)
            if error == _PERMANENT_ONLY and self._lease_s:
                self._lease_s = 0
                error = self._ask(port, external, lifetimes)
            if error == 0:
                return external
            if error not in _CONFLICTS:
                return None
        return None

    def _ask(self, port: int, external: int, lifetimes: list[int]) -> int:
        """Ask for one port; return 0, or the number of the router's error."""
        what = [self._ours, str(port), str(external), "tcp", str(self._lease_s)]
        words = ["-u", self._place, "-e", DESCRIPTION, "-a", *what]
        ended = self._run(_words(self._wish, *words), CHILD_S)
        if (failed := _FAILED.search(ended.output)) is not None:
            self._refusal = failed[2]
            return int(failed[1])
        for found in _FORWARDS.finditer(ended.output):
            if ended.status == 0 and (int(found[1]), int(found[2])) == (external, port):
                lifetimes.append(int(found[3]))
                return 0
        is_late = ended.status == KILLED
        self._refusal = "no answer in time" if is_late else "no answer"
        return -1
