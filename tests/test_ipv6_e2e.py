"""Nodes that reach each other by IPv6 alone, and whose addresses change meanwhile.

Real agents in network namespaces: IPv4 leads to the broker and to nobody's ports.
"""

import pytest

from networks import PUBLIC_GATEWAYS, InternetBroker, Network
from nodes import NodeProcess, eventually, offer_film, running

MIB = 1 << 20
FILM = "Famille/alice/Films/film.mkv"
ARRIVED = b"Famille/alice/film.mkv"
ALICE, BOB = ("9.9.1.20", "2a00:1450:1::20"), ("9.9.1.30", "2a00:1450:1::30")
OTHER_PREFIX = "2a00:1450:1::7777"
NO_IPV4_IN = """
table ip shut {
  chain in {
    type filter hook input priority filter
    iifname "wan" ct state new drop
  }
}
"""


@pytest.fixture
def network():
    with Network(gateways=PUBLIC_GATEWAYS) as network:
        yield network


@pytest.fixture
def make_node(tmp_path, network):
    with InternetBroker(tmp_path / "broker", network) as broker:

        def make(name, addresses, **settings):
            host = network.host(name, addresses[0])
            host.run("nft", "-f", "-", stdin=NO_IPV4_IN)
            take_ipv6(host, addresses[1])
            node = NodeProcess(
                tmp_path / name,
                name,
                broker.url,
                wrapper=host.wrapper,
                address="::",
                **settings,
            )
            return host, node

        yield make


def take_ipv6(host, address):
    """Have this global address, and no other."""
    host.ip("-6", "addr", "flush", "dev", "wan", "scope", "global")
    host.ip("-6", "addr", "add", f"{address}/64", "dev", "wan", "nodad")


@pytest.mark.full
def test_a_file_comes_by_ipv6_also_when_the_source_gets_another_address(make_node):
    at_alice, alice = make_node("alice", ALICE, limits={"upload_kib_s": 2048})
    _, bob = make_node("bob", BOB)
    with running(alice, bob):
        content = offer_film(alice, bob, size=12 * MIB)
        [job] = bob("get", FILM)
        eventually(lambda: bob.job(job["id"])["done_bytes"] > MIB, "it has begun")
        sockets = at_alice.run("ss", "-tn6")
        assert f"[{ALICE[1]}]" in sockets or ALICE[1] in sockets
        take_ipv6(at_alice, OTHER_PREFIX)
        bob.wait_for_job(job["id"], "done", 110)
        assert bob.fetched() == {ARRIVED: content}
        found = alice("doctor")["findings"][-1]
        assert found["code"] == "reach.open", found
