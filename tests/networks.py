"""A small internet in network namespaces: a broker, public hosts, houses behind NAT.

Each node's host is a namespace of its own. The `internet` is a bridge with two public
networks, which routes between them and carries no inside addresses: it says so, or it
swallows them in silence; providers do either. A house is a router with masquerading NAT
by nftables, which drops whatever nobody inside has asked for. Names carry this
process's id; all is deleted at the end, also what a killed run has left, and the host's
own network is never touched.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import pytest

from brokers import Mosquitto
from programs import require_program
from waiting import wait_until

PREFIX: Final = "fonshare"
GATEWAYS: Final = ("198.51.100.1", "203.0.113.1")  # of RFC 5737's "public" networks
# To programs those are private ones. These are really public, and lead nowhere.
PUBLIC_GATEWAYS: Final = ("9.9.1.1", "8.8.4.1")

NAT: Final = """
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
  chain in { type nat hook prerouting priority dstnat; }
  chain through {
    type filter hook forward priority filter
    iifname "wan" ct state new ct status & dnat == 0 drop
  }
}
"""


def run(*words: str | Path, stdin: str = "") -> str:
    """Run a command that must succeed; return what it printed."""
    ended = subprocess.run(words, input=stdin, capture_output=True, text=True)
    assert ended.returncode == 0, f"{words}: {ended.stderr}"
    return ended.stdout


class Host:
    """A namespace, and what is done in it."""

    def __init__(self, namespace: str, line: str = "") -> None:
        self.namespace, self.line = namespace, line
        run("ip", "netns", "add", namespace)
        self.ip("link", "set", "lo", "up")

    @property
    def wrapper(self) -> Sequence[str]:
        """What to put before a command so that it runs here."""
        return ("ip", "netns", "exec", self.namespace)

    def ip(self, *words: str) -> str:
        return run("ip", "-n", self.namespace, *words)

    def run(self, *words: str, stdin: str = "") -> str:
        return run(*self.wrapper, *words, stdin=stdin)

    def route_onward(self) -> None:
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def take_address(self, address: str, device: str = "wan") -> None:
        """Have *address*, and the gateway that belongs to it, and no other."""
        self.ip("addr", "flush", "dev", device, "scope", "global")
        self.ip("addr", "add", f"{address}/24", "dev", device)
        gateway = address.rpartition(".")[0] + ".1"
        self.ip("route", "replace", "default", "via", gateway)


def connections(host):
    """Return how many connections a host has taken so far."""
    return int(host.run("nstat", "-az", "TcpPassiveOpens").split()[-2])


class House(Host):
    """A router with NAT; its machines are hosts behind it."""

    def forward(self, ports: range, to: str) -> None:
        """Forward a range of ports of the public address, as its owner may do."""
        span = f"{ports[0]}-{ports[-1]}"
        rule = f'add rule ip nat in iifname "wan" tcp dport {span} dnat to {to}'
        self.run("nft", "-f", "-", stdin=rule)


class Network:
    """The internet and all that hangs on it. Delete it by `close`."""

    def __init__(
        self, *, is_silent: bool = True, gateways: Sequence[str] = GATEWAYS
    ) -> None:
        _demand_namespaces()
        self._hosts: list[Host] = []
        self.gateways = gateways
        self.internet = self._add(Host(self._name("internet")))
        self.internet.ip("link", "add", "br0", "type", "bridge")
        self.internet.ip("link", "set", "br0", "up")
        for gateway in gateways:
            self.internet.ip("addr", "add", f"{gateway}/24", "dev", "br0")
        nowhere = "blackhole" if is_silent else "unreachable"
        for inside in ("10.0.0.0/8", "100.64.0.0/10"):
            self.internet.ip("route", "add", nowhere, inside)
        self.internet.route_onward()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the namespaces, and with them every device in them."""
        while self._hosts:
            _delete(self._hosts.pop().namespace)

    def host(self, name: str, address: str) -> Host:
        """Return a host with a public address."""
        return self._connect(Host(self._name(name), f"to-{name}"), address)

    def house(self, name: str, address: str, behind: House | None = None) -> House:
        """Return a router with a public address, and nobody behind it yet.

        *behind* another one its address is of that one's inside.
        """
        house = House(self._name(name), f"to-{name}")
        if behind is None:
            self._connect(house, address)
        else:
            self._add(house)
            self._move_in(house, behind, address)
        house.route_onward()
        house.run("nft", "-f", "-", stdin=NAT)
        house.ip("link", "add", "lan", "type", "bridge")
        house.ip("link", "set", "lan", "up")
        return house

    def inside(self, house: House, name: str, address: str) -> Host:
        """Return a host behind *house*; the first one makes its network."""
        host = self._add(Host(self._name(name), f"to-{name}"))
        self._move_in(host, house, address)
        return host

    def cut(self, host: Host) -> None:
        """Pull the plug of a host's line at its far end: no error, only silence."""
        self.internet.ip("link", "set", host.line, "down")

    def mend(self, host: Host) -> None:
        self.internet.ip("link", "set", host.line, "up")

    def _move_in(self, host: Host, house: House, address: str) -> None:
        gateway = address.rpartition(".")[0] + ".1"
        if gateway not in house.ip("addr", "show", "dev", "lan"):
            house.ip("addr", "add", f"{gateway}/24", "dev", "lan")
        _plug_in(host, "wan", house, host.line, "lan")
        host.take_address(address)

    def _connect(self, host: Host, address: str) -> Host:
        self._add(host)
        _plug_in(host, "wan", self.internet, host.line, "br0")
        host.take_address(address)
        return host

    def _name(self, name: str) -> str:
        return f"{PREFIX}-{os.getpid()}-{name}"

    def _add(self, host: Host) -> Host:
        self._hosts.append(host)
        return host


class InternetBroker(Mosquitto):
    """A broker at the first gateway's address."""

    def __init__(self, folder: Path, network: Network) -> None:
        self._wrapper, self._address = network.internet.wrapper, network.gateways[0]
        super().__init__(folder, extra=f"listener 1883 {self._address}")

    @property
    def url(self) -> str:
        return f"mqtt://{self._address}:1883"

    def start(self) -> Self:
        super().start()
        wait_until(lambda: "1883." in self.log, "the broker listens to the internet")
        return self

    def _command(self) -> list[str | Path]:
        return [*self._wrapper, *super()._command()]

    def _accepts(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, f"the broker ended: {self.log}"
        return " running" in self.log


def _plug_in(near: Host, device: str, far: Host, port: str, bridge: str) -> None:
    """Join two hosts by a line: *device* here, *port* of the bridge there."""
    ends = ("name", device, "netns", near.namespace)
    other = ("name", port, "netns", far.namespace)
    run("ip", "link", "add", *ends, "type", "veth", "peer", *other)
    far.ip("link", "set", port, "master", bridge)
    far.ip("link", "set", port, "up")
    near.ip("link", "set", device, "up")


def _demand_namespaces() -> None:
    """Skip the test where namespaces or NAT cannot be had."""
    require_program("ip")
    require_program("nft")
    if os.geteuid():
        pytest.skip("network namespaces need root")
    _sweep()
    probe = f"{PREFIX}-{os.getpid()}-probe"
    added = subprocess.run(["ip", "netns", "add", probe], capture_output=True)
    if added.returncode:
        pytest.skip(f"no network namespaces here: {added.stderr.decode().strip()}")
    try:
        words = ["ip", "netns", "exec", probe, "nft", "-f", "-"]
        loaded = subprocess.run(words, input=NAT.encode(), capture_output=True)
    finally:
        _delete(probe)
    if loaded.returncode:
        pytest.skip(f"no NAT in this kernel: {loaded.stderr.decode().strip()}")


def _sweep() -> None:
    """Delete what runs that were killed have left."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        prefix, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if prefix == PREFIX and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _delete(name)


def _delete(namespace: str) -> None:
    subprocess.run(["ip", "netns", "del", namespace], check=False)
