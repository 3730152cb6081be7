"""Nodes behind routers that forward ports for them, and routers that do not help.

Real agents and miniupnpd, in network namespaces (networks.py, provider_box.py).
"""

import os

import pytest
import yaml

from networks import PUBLIC_GATEWAYS, InternetBroker, Network
from nodes import (
    NodeProcess,
    befriend,
    eventually,
    last_word,
    offer_film,
    running,
    share,
)
from provider_box import Box, switched_on

MIB = 1 << 20
FILM = "Famille/alice/Films/film.mkv"
ARRIVED = b"Famille/alice/film.mkv"
HOME, BESIDE = "10.1.0.2", "10.1.0.3"
ALICE, BOB, CARRIER = "9.9.1.20", "8.8.4.10", "9.9.1.50"
ONLY_PCP = {"enable_upnp": "no"}

SHUT = """
table ip shut {{
  chain in {{
    type filter hook input priority filter
    tcp dport {} drop
  }}
}}
"""


@pytest.fixture
def network():
    with Network(gateways=PUBLIC_GATEWAYS) as network:
        yield network


@pytest.fixture
def make_node(tmp_path, network):
    with InternetBroker(tmp_path / "broker", network) as broker:

        def make(host, name, **settings):
            return NodeProcess(
                tmp_path / name,
                name,
                broker.url,
                wrapper=host.wrapper,
                address="0.0.0.0",
                node={"port_mapping": "auto"},
                **settings,
            )

        yield make


def wait_mapped(*nodes):
    """Wait until the nodes know that their routers forward their ports."""
    word = "friends' ports are forwarded"
    for node in nodes:
        eventually(lambda node=node: word in node.log.read_text(), node.name)


def fetch(node, content):
    [job] = node("get", FILM)
    node.wait_for_job(job["id"], "done", 120)
    assert node.fetched() == {ARRIVED: content}


@pytest.mark.full
def test_a_hidden_node_whose_router_forwards_is_reached_and_leaves_nothing_behind(
    tmp_path, network, make_node
):
    house = network.house("a-router", ALICE)
    alice = make_node(network.inside(house, "alice", HOME), "alice")
    away = network.house("b-router", BOB)
    bob = make_node(network.inside(away, "bob", HOME), "bob")
    with switched_on(Box(tmp_path / "box", house, ONLY_PCP)) as box:
        with running(alice, bob):
            wait_mapped(alice)
            fetch(bob, offer_film(alice, bob, size=3 * MIB))
            found, verdict = last_word(alice, "reach.mapped")
            assert verdict == f"mapped: {found['message']}"
            assert found["message"].startswith("friends reach this node: the router")
            assert found["thing"].startswith(f"{ALICE}:")
            assert "asked by PCP" in found["message"]
            found, verdict = last_word(bob, "reach.forward")
            ports = _ftp(bob)
            assert f"forward ports {ports['friends_port']} and" in found["message"]
            assert found["message"].endswith(f"to {HOME}")
            assert verdict == f"forward: {found['message']}"
        eventually(lambda: not box.forwarded(), "all is taken back")


@pytest.mark.full
def test_two_nodes_of_one_house_share_its_address_and_meet_inside(
    tmp_path, network, make_node
):
    """The second gets other ports outside; carol, far away, reaches both."""
    house = network.house("router", ALICE)
    carol = make_node(
        network.inside(network.house("c-router", BOB), "carol", HOME), "carol"
    )
    alice = make_node(network.inside(house, "alice", HOME), "alice")
    ports = {"ftp": dict(_ftp(alice))}
    bob = make_node(network.inside(house, "bob", BESIDE), "bob", **ports)
    with switched_on(Box(tmp_path / "box", house)) as box, running(alice, carol):
        wait_mapped(alice)
        with running(bob):
            wait_mapped(bob)
            assert len(box.forwarded()) == 20
            content = offer_film(alice, bob, carol, size=3 * MIB)
            fetch(bob, content)
            fetch(carol, content)
            song = os.urandom(2 * MIB)
            (share(bob, "music", "Music", "Famille") / "song.ogg").write_bytes(song)
            eventually(lambda: carol.find("song"), "carol finds it")
            [job] = carol("get", "Famille/bob/Music/song.ogg")
            carol.wait_for_job(job["id"], "done", 120)
            assert carol.fetched()[b"Famille/bob/song.ogg"] == song


def _ftp(node):
    return yaml.safe_load(node.settings.read_text())["ftp"]


@pytest.mark.full
def test_a_router_that_was_switched_off_is_asked_again(tmp_path, network, make_node):
    house = network.house("a-router", ALICE)
    alice = make_node(network.inside(house, "alice", HOME), "alice")
    away = network.house("b-router", BOB)
    bob = make_node(network.inside(away, "bob", HOME), "bob")
    box = Box(tmp_path / "box", house, {**ONLY_PCP, "max_lifetime": "4"})
    with switched_on(box), running(alice, bob):
        eventually(box.forwarded, "the router forwards")
        box.stop()
        box.start()
        assert not box.forwarded()
        eventually(box.forwarded, "it forwards again")
        fetch(bob, offer_film(alice, bob, size=3 * MIB))


@pytest.mark.full
def test_behind_a_providers_nat_a_node_pushes_to_who_is_reachable(
    tmp_path, network, make_node
):
    carrier = network.house("carrier", CARRIER)
    house = network.house("a-router", "100.64.0.7", behind=carrier)
    alice = make_node(network.inside(house, "alice", HOME), "alice")
    away = network.house("b-router", BOB)
    bob = make_node(network.inside(away, "bob", HOME), "bob")
    with (
        switched_on(Box(tmp_path / "box", house, ONLY_PCP)) as useless,
        switched_on(Box(tmp_path / "other", away, ONLY_PCP)),
        running(alice, bob),
    ):
        wait_mapped(bob)
        fetch(bob, offer_film(alice, bob, size=3 * MIB))
        assert not useless.forwarded()
        found, _ = last_word(alice, "reach.cgnat")
        assert "you can fetch from and push to reachable friends" in found["message"]
        last_word(bob, "reach.mapped")


@pytest.mark.full
def test_a_node_with_an_address_of_its_own_is_tried_by_friends(network, make_node):
    alice = make_node(network.host("alice", ALICE), "alice")
    at_bob = network.host("bob", BOB)
    bob = make_node(at_bob, "bob")
    with running(alice, bob):
        found, _ = last_word(alice, "reach.open")
        assert "none is online to try" in found["message"]
        befriend("Famille", alice, bob)
        for node in (alice, bob):
            found, _ = last_word(node, "reach.open")
            assert found["message"] == "friends reach this node"
        # The door stays, and the world is shut out.
        shut = SHUT.format(_ftp(bob)["friends_port"])
        at_bob.run("nft", "-f", "-", stdin=shut)
        found, _ = last_word(bob, "reach.forward")
        assert f"to {BOB} in the firewall" in found["next"]
