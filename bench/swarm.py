"""A house of network namespaces: each node has a line of its own to one switch.

    with lines(count, up_mbit, down_mbit) as net: net.inside(0), net.address(0)

Namespaces joined by veth pairs to a bridge; each line is shaped by two token buckets,
one for each direction, as a provider's box would. Node 0 is the source. The hub, where
the bridge is, has an address too and is not shaped. Needs root.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

NETWORK = "10.78.0.0/16"
HUB = "10.78.0.1"
MTU = 1500
# As long as a cheap router's queue: more delays what others ask, less wastes the line.
QUEUE_MS = 50
BURST_KB = 16


@dataclass(frozen=True, slots=True)
class Net:
    prefix: str
    count: int

    @property
    def hub(self) -> str:
        return f"{self.prefix}-hub"

    def space(self, number: int) -> str:
        return f"{self.prefix}-{number}"

    def address(self, number: int) -> str:
        return f"10.78.1.{number + 1}"

    def inside(self, number: int) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.space(number))

    @property
    def inside_hub(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.hub)

    @property
    def hub_address(self) -> str:
        return HUB


@contextmanager
def lines(count: int, up_mbit: float, down_mbit: float) -> Iterator[Net]:
    """*count* nodes besides the source, all with the same lines."""
    net = Net(f"fonshare-swarm-{os.getpid()}", count + 1)
    spaces = [net.hub, *(net.space(number) for number in range(net.count))]
    try:
        for space in spaces:
            _run("ip", "netns", "add", space)
        _in(net.hub, "ip", "link", "add", "hub", "type", "bridge")
        _in(net.hub, "ip", "addr", "add", f"{HUB}/16", "dev", "hub")
        for device in ("lo", "hub"):
            _in(net.hub, "ip", "link", "set", device, "up")
        for number in range(net.count):
            _plug_in(net, number, up_mbit, down_mbit)
        yield net
    finally:
        for space in spaces:
            subprocess.run(
                ["ip", "netns", "del", space], check=False, capture_output=True
            )


def _plug_in(net: Net, number: int, up_mbit: float, down_mbit: float) -> None:
    space, port = net.space(number), f"port{number}"
    _in(
        net.hub,
        *("ip", "link", "add", port, "type", "veth"),
        *("peer", "name", "wan", "netns", space),
    )
    _in(net.hub, "ip", "link", "set", port, "master", "hub", "up")
    _in(space, "ip", "addr", "add", f"{net.address(number)}/16", "dev", "wan")
    for device in ("lo", "wan"):
        _in(space, "ip", "link", "set", device, "up")
    for where, device, mbit in ((space, "wan", up_mbit), (net.hub, port, down_mbit)):
        _in(
            where,
            *("tc", "qdisc", "add", "dev", device, "root", "tbf"),
            *("rate", f"{int(mbit * 1000)}kbit", "burst", f"{BURST_KB}kb"),
            *("latency", f"{QUEUE_MS}ms"),
        )


def _in(space: str, *words: str) -> None:
    _run("ip", "netns", "exec", space, *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
