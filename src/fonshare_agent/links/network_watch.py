"""Notices that this host's addresses or its way out have changed.

Owns one rtnetlink(7) socket on which the kernel tells of changes. It tells also of much
that changes nothing (renewed lifetimes, a neighbour's route), so after a word from it
the addresses and default routes are looked at and compared. Never blocks; decides
nothing about connections. Core thread.
"""

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fonshare_agent.links.netinfo import local_addresses

log = logging.getLogger(__name__)

# linux/rtnetlink.h: IPv4 addresses and routes, IPv6 addresses and routes
_GROUPS: Final = 0x10 | 0x40 | 0x100 | 0x400
_ROUTES: Final = Path("/proc/net/route")  # the second column is the destination
_ROUTES_6: Final = Path("/proc/net/ipv6_route")  # first: destination, second: prefix
_READ_BYTES: Final = 65536

Picture = tuple[frozenset[str], frozenset[str]]  # addresses, default routes


class NetworkWatch:
    """Ask `look` now and then; `close` in the end."""

    def __init__(self, picture: Callable[[], Picture] | None = None) -> None:
        self._take_picture = picture or take_picture
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._kernel = socket.socket(socket.AF_NETLINK, kind, 0)
        self._kernel.bind((0, _GROUPS))
        self._known = self._take_picture()

    def look(self) -> frozenset[str] | None:
        """Return the addresses from which connections may go on; None: no change.

        When the way out has changed none may: what comes back goes another way.
        """
        if not self._has_word():
            return None
        before, self._known = self._known, self._take_picture()
        if self._known == before:
            return None
        addresses, routes = self._known
        return addresses if routes == before[1] else frozenset()

    def close(self) -> None:
        self._kernel.close()

    def _has_word(self) -> bool:
        has_word = False
        while True:
            try:
                self._kernel.recv(_READ_BYTES)
            except BlockingIOError:
                return has_word
            except OSError as error:
                # ENOBUFS: more than the kernel kept for us, so something has changed.
                log.debug("the kernel's word was lost: %s", error.strerror)
            has_word = True


def take_picture() -> Picture:
    """Return this host's addresses and the lines of its default routes."""
    addresses = frozenset(str(one.ip) for one in local_addresses())
    return addresses, frozenset((*_defaults(_ROUTES), *_defaults_6(_ROUTES_6)))


def _defaults(path: Path) -> list[str]:
    rows = [line.split() for line in _lines(path)]
    return [" ".join(row[:3]) for row in rows if row[1:2] == ["00000000"]]


def _defaults_6(path: Path) -> list[str]:
    rows = [line.split() for line in _lines(path)]
    # The kernel keeps one of its own on `lo` that leads nowhere.
    ways = [row for row in rows if row[:2] == ["0" * 32, "00"] and row[-1] != "lo"]
    return [f"{row[4]} {row[-1]}" for row in ways]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []  # a kernel without that family
