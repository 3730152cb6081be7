"""How often passwords may be tried: by each address, and by all together.

An attempt is counted before the password is looked at, so that many at once gain
nothing. An address gets a few for nothing; from then on each costs twice the pause of
the one before. All addresses that never signed in share one allowance: who has many of
them gains little, and whoever signed in before is not shut out by that. A stranger's
IPv6 network counts as one address; who signed in is known by the whole of it, since a
house is one network, and others in it would shut the owner out. Memory is bounded.
Pure but for its lock: the clock is an argument.
"""

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fonshare_agent.addresses import network_of

FREE: Final = 5  # attempts of an address without a pause: a few typing errors
PAUSE_S: Final = 2.0  # after these, doubled by each further one
PAUSE_MAX_S: Final = 900.0
FORGET_S: Final = 3600.0  # without an attempt
STRANGERS_MAX: Final = 1024  # the one longest without an attempt is forgotten
KNOWN_MAX: Final = 64  # addresses from which somebody signed in, likewise
ALL_BURST: Final = 30.0  # attempts of all strangers at once
ALL_EVERY_S: Final = 6.0  # from then on: 14,400 a day, of passwords of any length


@dataclass(slots=True)
class _Address:
    attempts: int = 0
    free_at: float = 0.0
    tried_at: float = 0.0


class Throttle:
    """Counts attempts to sign in. Any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._strangers: OrderedDict[str, _Address] = OrderedDict()  # by last attempt
        self._known: OrderedDict[str, _Address] = OrderedDict()
        self._left, self._filled_at = ALL_BURST, clock()

    def take(self, address: str) -> float:
        """Count an attempt from *address*; return 0, or after how long to try again."""
        with self._lock:
            now = self._clock()
            one = self._find(address, now)
            wait = one.free_at - now
            if wait <= 0 and address not in self._known:
                wait = self._take_of_all(now)
            if wait > 0:
                return wait
            one.attempts += 1
            one.tried_at = now
            over = one.attempts - FREE
            if over >= 0:
                one.free_at = now + min(PAUSE_S * 2.0 ** min(over, 20), PAUSE_MAX_S)
            return 0.0

    def note_success(self, address: str) -> None:
        """The attempt just taken was right: forgive those before."""
        with self._lock:
            self._strangers.pop(counted_as(address), None)
            self._known[address] = _Address(tried_at=self._clock())
            _bound(self._known, address, KNOWN_MAX)

    def _find(self, address: str, now: float) -> _Address:
        if address in self._known:
            one = self._known[address]
        else:
            key = counted_as(address)
            one = self._strangers.setdefault(key, _Address(tried_at=now))
            _bound(self._strangers, key, STRANGERS_MAX)
        if now - one.tried_at > FORGET_S:
            one.attempts, one.free_at = 0, 0.0
        return one

    def _take_of_all(self, now: float) -> float:
        gained = (now - self._filled_at) / ALL_EVERY_S
        self._left = min(ALL_BURST, self._left + gained)
        self._filled_at = now
        if self._left < 1.0:
            return (1.0 - self._left) * ALL_EVERY_S
        self._left -= 1.0
        return 0.0

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)


def _bound(addresses: OrderedDict[str, _Address], key: str, most: int) -> None:
    """*key* was tried last; the first of more than *most* go."""
    addresses.move_to_end(key)
    while len(addresses) > most:
        addresses.popitem(last=False)


def counted_as(address: str) -> str:
    """Return what *address*, in its one spelling, is counted under as a stranger's."""
    try:
        return network_of(ipaddress.ip_address(address))
    except ValueError:
        return address[:64]
