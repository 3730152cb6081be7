"""The agent's side of one reading: starts the child, lets it move bytes, hears its end.

What the child receives passes the owner's limits: it asks for leave, which comes when
the bucket of all downloads gives it. Runs on a thread of its own, as long as the
reading.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Final

from fonshare_agent.mirror.line import (
    PACKET_BYTES_MAX,
    Message,
    decode,
    encode,
)
from fonshare_agent.processes import reap
from fonshare_agent.spawning import spawn
from fonshare_agent.transfer.limits import Flow

LOOK_S: Final = 0.5  # how soon a wish to stop is noticed
STOP_S: Final = 20.0  # then the child, which waits for a server, is ended

# Returns how the bytes from an address are held back; None if they are not.
FindFlow = Callable[[str], Flow | None]


class Conversation:
    """See the module's text. `hold` it once; `stop` may be called from any thread."""

    def __init__(self, find_flow: FindFlow, on_told: Callable[[Message], None]) -> None:
        self._find_flow, self._on_told = find_flow, on_told
        self._stop_why, self._grace_s = "", STOP_S
        self._stopped_at: float | None = None
        self._flow: Flow | None = None
        self._data: socket.socket | None = None
        self._wanted = 0
        self._report: Message | None = None

    def stop(self, why: str, grace_s: float = STOP_S) -> None:
        """End the reading soon; what has come is kept. The child has *grace_s*."""
        self._grace_s = grace_s
        self._stop_why = why

    def hold(self, task: Message) -> Message | None:
        """Have *task* done; return the report, None if the child died without one."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            try:
                child = _spawn(theirs)
            finally:
                theirs.close()
            try:
                _send(ours, task)
                self._serve(ours)
            finally:
                self._end_data()
                ours.close()  # a child that still lives hears that it is over
                reap(child, time.monotonic() + self._grace_s)
        return self._report

    def _serve(self, ours: socket.socket) -> None:
        while self._report is None:
            wait_s = self._give_leave(ours)
            if not self._is_in_time(ours):
                return
            if not select.select([ours], [], [], min(wait_s, LOOK_S))[0]:
                continue
            try:
                packet, descriptors, _, _ = socket.recv_fds(ours, PACKET_BYTES_MAX, 1)
            except OSError:
                return  # it died with our words unread
            if not packet:
                return
            self._hear(decode(packet), descriptors)

    def _is_in_time(self, ours: socket.socket) -> bool:
        """Pass a wish to stop on; False if it was not followed."""
        if not self._stop_why:
            return True
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            _send(ours, {"stop": self._stop_why})
        return time.monotonic() - self._stopped_at < self._grace_s

    def _hear(self, message: Message, descriptors: list[int]) -> None:
        if "begin" in message:
            self._end_data()
            self._begin_data(str(message["begin"]), descriptors)
        elif "end" in message:
            self._end_data()
        elif "want" in message:
            self._wanted = int(message["want"])
        elif "report" in message:
            self._report = message["report"]
        else:
            self._on_told(message)

    # --- leave to move bytes ---------------------------------------------------------

    def _give_leave(self, ours: socket.socket) -> float:
        """Give what may be given now; return after how long to ask again."""
        if not self._wanted:
            return LOOK_S
        count, flow = self._wanted, self._flow
        if flow is not None:
            wait_s = flow.wait_s(count)
            if wait_s:
                return wait_s
            count = min(count, flow.left)
            flow.spend(count)
        self._wanted = 0
        _send(ours, {"go": count})
        return LOOK_S

    def _begin_data(self, address: str, descriptors: list[int]) -> None:
        """Bytes come by a connection of the child's, of which we hold a copy.

        By it the household's watch counts them as ours.
        """
        self._data = socket.socket(fileno=descriptors[0])
        self._flow = self._find_flow(address)
        if self._flow is not None:
            self._flow.watch(self._get_data)

    def _get_data(self) -> socket.socket:
        assert self._data is not None
        return self._data

    def _end_data(self) -> None:
        if self._flow is not None:
            self._flow.close()
        if self._data is not None:
            self._data.close()
        self._flow = self._data = None
        self._wanted = 0


def _send(ours: socket.socket, message: Message) -> None:
    try:
        ours.send(encode(message))
    except OSError:
        return  # the child has ended: the next read says so


def _spawn(theirs: socket.socket) -> int:
    """Start the child with *theirs* as its standard input."""
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
    return spawn("fonshare_agent.mirror.child", actions)
