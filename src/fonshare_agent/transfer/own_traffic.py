"""What of a line's traffic is ours: the kernel's own count of our connections.

Counted by TCP_INFO as packets go and come, headers included, since what we hand to a
socket may leave seconds later. It also knows how long round trips take. Any thread.
"""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

# linux/tcp.h, struct tcp_info: offsets of what is read here
_INFO_BYTES: Final = 232
_MSS_AND_UNACKED: Final = struct.Struct("=16xI4xI")
_RTT: Final = struct.Struct("=68xI")
_COUNTS: Final = struct.Struct("=120xQQIIII")  # acked, received, segments, unsent, rtt
_SENT: Final = struct.Struct("=200xQ")  # since Linux 4.19, repeated bytes included
_HEADER_BYTES: Final = 66  # Ethernet, IPv4, TCP with time stamps
# A peer that is hung up on has still so much on its way to us.
_COMING_BYTES: Final = 128 * 1024


class Totals(NamedTuple):
    """Of one connection since its beginning."""

    sent: int
    received: int
    unsent: int  # handed over, or not acknowledged yet
    queue_s: float  # how much longer than the least a round trip takes


@dataclass(frozen=True, slots=True)
class Taken:
    """Since the last time. The *late* bytes of closed connections may still come."""

    sent: int
    received: int
    late_sent: int
    late_received: int
    queue_s: float | None  # None: nothing was sent
    connections: int


class OwnTraffic:
    """Immutable: *on_begun*, called when the first connection is there. Guarded by the
    lock: all else."""

    def __init__(self, on_begun: Callable[[], None]) -> None:
        self._on_begun = on_begun
        self._lock = threading.Lock()
        self._sockets: dict[object, Callable[[], socket.socket]] = {}
        self._seen: dict[object, Totals] = {}
        self._sent = self._received = 0
        self._late_sent = self._late_received = 0

    def add(self, whose: object, find: Callable[[], socket.socket]) -> None:
        """Count the connection of *find* from its beginning until `drop(whose)`."""
        with self._lock:
            is_first = not self._sockets
            self._sockets[whose] = find
            # What has come before this call was ours as well, and just now.
            self._seen[whose] = Totals(0, 0, 0, 0.0)
        if is_first:
            self._on_begun()

    def drop(self, whose: object) -> None:
        """The connection is closed after this. A second call does nothing."""
        with self._lock:
            if whose in self._sockets:
                totals = self._count(whose)
                del self._sockets[whose], self._seen[whose]
                self._late_sent += totals.unsent
                self._late_received += _COMING_BYTES

    def take(self) -> Taken:
        """Return what was counted since the last call."""
        with self._lock:
            queues = []
            for whose, before in list(self._seen.items()):
                totals = self._count(whose)
                if totals.sent - before.sent > _COMING_BYTES // 64:
                    queues.append(totals.queue_s)
            taken = Taken(
                self._sent,
                self._received,
                self._late_sent,
                self._late_received,
                # Of several the least: the others' ends may have queues of their own.
                min(queues, default=None),
                len(self._sockets),
            )
            self._sent = self._received = 0
            self._late_sent = self._late_received = 0
            return taken

    def _count(self, whose: object) -> Totals:
        before = self._seen[whose]
        totals = _read(self._sockets[whose]()) or before
        self._sent += max(0, totals.sent - before.sent)
        self._received += max(0, totals.received - before.received)
        self._seen[whose] = totals
        return totals


def _read(connection: socket.socket) -> Totals | None:
    """None of one that is closed already."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except OSError:
        return None
    info = info.ljust(_INFO_BYTES, b"\0")
    mss, unacked = _MSS_AND_UNACKED.unpack_from(info)
    (rtt_us,) = _RTT.unpack_from(info)
    acked, received, out, come, unsent, least_us = _COUNTS.unpack_from(info)
    (sent,) = _SENT.unpack_from(info)
    queue_us = rtt_us - least_us if 0 < least_us < rtt_us else 0
    return Totals(
        (sent or acked) + out * _HEADER_BYTES,
        received + come * _HEADER_BYTES,
        unsent + unacked * mss,
        queue_us / 1e6,
    )
