"""A line with delay between two network namespaces, for where the kernel has no netem.

    python bench/line.py DELAY_MS NAMESPACE ADDRESS NAMESPACE ADDRESS

Two TUN devices, one in each namespace; this process carries packets from one to the
other and holds each back for half of DELAY_MS, so that a round trip takes all of it.
Says `up` when it carries, ends with its standard input. Needs root.
"""

import fcntl
import os
import selectors
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 9000  # fewer packets: what is measured here is the delay, not this program
QUEUED_MAX = 4000


class End:
    """One device, and what is on its way to it."""

    def __init__(self, namespace: str, address: str, peer: str) -> None:
        name = f"line{os.getpid() % 100000}{namespace[-1]}"
        self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(self.device, TUNSETIFF, request)
        _ip("link", "set", name, "netns", namespace)
        inside = ("-n", namespace)
        _ip(*inside, "addr", "add", address, "peer", peer, "dev", name)
        _ip(*inside, "link", "set", name, "mtu", str(MTU), "up")
        _ip(*inside, "link", "set", "lo", "up")
        self.coming: deque[tuple[float, bytes]] = deque()

    def deliver(self, now: float) -> None:
        while self.coming and self.coming[0][0] <= now:
            try:
                os.write(self.device, self.coming[0][1])
            except BlockingIOError:
                return
            self.coming.popleft()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def carry(ends: tuple[End, End], delay_s: float) -> None:
    """Carry packets both ways until standard input ends."""
    with selectors.DefaultSelector() as selector:
        for end, other in (ends, ends[::-1]):
            selector.register(end.device, selectors.EVENT_READ, other)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            due = [end.coming[0][0] - now for end in ends if end.coming]
            for key, _ in selector.select(max(0.0, min(due)) if due else None):
                if key.data is None:
                    return
                _take(key.fd, key.data, time.monotonic() + delay_s)
            for end in ends:
                end.deliver(time.monotonic())


def _take(device: int, other: End, due: float) -> None:
    while True:
        try:
            packet = os.read(device, MTU + 100)
        except BlockingIOError:
            return
        if len(other.coming) < QUEUED_MAX:
            other.coming.append((due, packet))


def main() -> None:
    delay_ms, first, here, second, there = sys.argv[1:]
    ends = End(first, here, there), End(second, there, here)
    print("up", flush=True)
    carry(ends, float(delay_ms) / 2000.0)


if __name__ == "__main__":
    main()
