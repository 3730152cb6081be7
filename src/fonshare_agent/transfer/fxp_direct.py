"""One file's bytes from server to server: PASV on one, PORT on the other.

Nothing of the data passes here; two control connections are watched until both servers
have said how it ended. Rules kept: the address in PORT is always that of the other
server's control connection, so nobody can be made to connect to a third place; a
transfer counts only if both say it is complete; a server that hangs is aborted, and no
answer is left unread, or the next transfer would take it for its own.
"""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fonshare_agent.errors import FxpError, FxpForbidden, FxpLost
from fonshare_agent.transfer.fxp_replies import Reply
from fonshare_agent.transfer.fxp_server import Server

FIRST_S: Final = 5.0  # a server that says nothing until data comes is not waited for
BEGIN_S: Final = 30.0  # the servers reach each other by then, or something is between
REST_S: Final = 15.0  # when one has given up, the other notices soon
SYNC_S: Final = 300.0  # when the source has sent all: a large file reaches a slow disk
TICK_S: Final = 0.5
ABORTS: Final = (425, 426, 451)  # the data connection failed, not the command
# About the file, whichever way its bytes would go.
OF_THE_FILE: Final = (450, 452, 532, 550, 551, 552, 553)

Tick = Callable[[], None]  # called while data moves; may raise FxpLost to end it


class Way(Enum):
    """Which of the two listens. Some servers allow only one of these."""

    TARGET_LISTENS = "target listens"
    SOURCE_LISTENS = "source listens"


class Protection(Enum):
    """How the data between the servers is protected, and who begins TLS."""

    NONE = "none"
    SOURCE_SSCN = "source, by SSCN"
    TARGET_SSCN = "target, by SSCN"
    CPSV = "the listener, by CPSV"


@dataclass(frozen=True, slots=True)
class Route:
    """How the two servers are joined; tried as it stands, or not at all."""

    way: Way
    protection: Protection


@dataclass(slots=True)
class Leg:
    """One server's part in a transfer."""

    server: Server
    command: bytes
    path: bytes
    has_begun: bool = False
    end: Reply | None = None


def find_routes(source: Server, target: Server, *, plain_data: bool) -> list[Route]:
    """Return what may be tried between these two, best first; maybe nothing."""
    if source.family != target.family:
        return []  # one speaks IPv4, the other IPv6
    return [
        Route(way, protection)
        for protection in _protections(source, target, plain_data=plain_data)
        for way in Way
        if protection is not Protection.CPSV or _listener(way, source, target)
    ]


def _protections(
    source: Server, target: Server, *, plain_data: bool
) -> list[Protection]:
    if plain_data or not (source.has_tls or target.has_tls):
        return [Protection.NONE]
    if not (source.has_tls and target.has_tls):
        return []
    found = []
    if "SSCN" in target.features:
        found.append(Protection.TARGET_SSCN)
    if "SSCN" in source.features:
        found.append(Protection.SOURCE_SSCN)
    return [*found, Protection.CPSV]


def _listener(way: Way, source: Server, target: Server) -> bool:
    """Tell whether the one that listens can begin TLS by CPSV."""
    listener = target if way is Way.TARGET_LISTENS else source
    return "CPSV" in listener.features


def move(
    source: Server,
    target: Server,
    route: Route,
    paths: tuple[bytes, bytes],
    offset: int,
    tick: Tick,
) -> None:
    """Move the rest of a file from *offset* on.

    FxpForbidden if this route does not work; FxpLost if it broke off on the way;
    FxpRefused if a server does not want the file. The servers are ready for the next
    command afterwards, whatever happens.
    """
    legs = (
        Leg(source, b"RETR " + paths[0], paths[0]),
        Leg(target, b"STOR " + paths[1], paths[1]),
    )
    _join(legs, route)
    for leg in legs:
        leg.server.begin_at(offset)
    try:
        # The target first: some lose a short file that is all there before STOR is.
        for leg in reversed(legs):
            leg.server.send(leg.command)
            leg.server.owes_end = True
            if leg is legs[1] and route.way is Way.SOURCE_LISTENS:
                _await_begin(legs, leg)
            if leg.end is not None:
                break  # the target wants nothing: nothing is to be sent
        else:
            _watch(legs, tick)
    finally:
        # Also on Ctrl-C, which finds them in the middle of it.
        for leg in legs:
            leg.server.settle(aborts=True)
    for leg in legs:
        if not _is_over(leg):
            leg.server.reopen()
    _judge(legs)


def _is_over(leg: Leg) -> bool:
    """Tell whether the server will not come back to this transfer.

    One that refuses a stranger's data connection says so, and some then go on waiting
    for the right one: they would take the next transfer's for it.
    """
    return leg.end is not None and (leg.end.is_good or leg.end.code in OF_THE_FILE)


def _join(legs: tuple[Leg, Leg], route: Route) -> None:
    """Tell one to listen and the other where."""
    source, target = legs[0].server, legs[1].server
    is_protected = route.protection is not Protection.NONE
    for server, own in (
        (source, Protection.SOURCE_SSCN),
        (target, Protection.TARGET_SSCN),
    ):
        server.protect(is_protected=is_protected, is_client=route.protection is own)
    listening, connecting = legs if route.way is Way.SOURCE_LISTENS else legs[::-1]
    is_client = route.protection is Protection.CPSV
    address = listening.server.listen(listening.command, is_client=is_client)
    connecting.server.connect_to(address)


def _await_begin(legs: tuple[Leg, Leg], leg: Leg) -> None:
    """Wait for the first answer of *leg*, which connects: nothing keeps it from it."""
    until = time.monotonic() + FIRST_S
    while not leg.has_begun and leg.end is None and time.monotonic() < until:
        if reply := leg.server.find_reply():
            _note(legs, leg, reply)
        else:
            select.select([leg.server], [], [], TICK_S)


def _watch(legs: tuple[Leg, Leg], tick: Tick) -> None:
    """Read what both say until both have ended, or one hangs."""
    until = time.monotonic() + BEGIN_S
    while any(leg.end is None for leg in legs):
        for leg in legs:
            if leg.end is None and (reply := leg.server.find_reply()):
                until = _note(legs, leg, reply)
        waiting = [leg.server for leg in legs if leg.end is None]
        if time.monotonic() > until:
            return  # `move` aborts those
        select.select(waiting, [], [], TICK_S)
        tick()


def _note(legs: tuple[Leg, Leg], leg: Leg, reply: Reply) -> float:
    """Take a reply; return until when the next one must have come."""
    if reply.code < 200:
        leg.has_begun = True
    else:
        leg.end = reply
        leg.server.owes_end = False
    now = time.monotonic()
    if leg.end is not None:
        return now + (SYNC_S if leg.end.is_good else REST_S)
    if all(one.has_begun for one in legs):
        return float("inf")  # as long as data moves: *tick* notices when it does not
    return now + BEGIN_S


def _judge(legs: tuple[Leg, Leg]) -> None:
    """Return if both say that all is done; else raise what it means."""
    for leg in legs:
        if leg.end is not None and leg.end.code in OF_THE_FILE:
            raise leg.server.refused(leg.end, leg.path)
    if all(leg.end is not None and leg.end.is_good for leg in legs):
        return
    # A server that is aborted, or sees the other hang up, is not the one to blame.
    blamed = next(
        (leg for leg in legs if leg.end is not None and not leg.end.is_good),
        next(leg for leg in legs if leg.end is None or not leg.end.is_good),
    )
    raise _failure(legs, blamed)


def _failure(legs: tuple[Leg, Leg], blamed: Leg) -> FxpError:
    said = str(blamed.end) if blamed.end is not None else "it did not answer"
    if all(leg.has_begun for leg in legs):
        return FxpLost(
            f"the transfer between the servers broke off: {said}",
            thing=blamed.server.name,
        )
    return FxpForbidden(
        f"no data came from server to server: {said}", thing=blamed.server.name
    )
