"""Nodes behind routers that forward ports for them, and routers that do not help.

Real agents and miniupnpd, in network namespaces (networks.py, provider_box.py).
"""

import os

import pytest

from networks import PUBLIC_GATEWAYS, InternetBroker, Network
from nodes import NodeProcess, befriend, eventually, running, share
from provider_box import Box, switched_on

MIB = 1 << 20
FILM = "Famille/alice/Films/film.mkv"
ARRIVED = b"Famille/alice/film.mkv"
HOME, BESIDE = "10.1.0.2", "10.1.0.3"
ALICE, BOB, CARRIER = "9.9.1.20", "8.8.4.10", "9.9.1.50"
ONLY_PCP = {"enable_upnp": "no"}


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


def offer(alice, *others, size=3 * MIB):
    """Let alice offer a film; return its content."""
    befriend("Famille", alice, *others)
    content = os.urandom(size)
    (share(alice, "films", "Films", "Famille") / "film.mkv").write_bytes(content)
    for other in others:
        eventually(lambda other=other: other.find("film"), "it is found")
    return content


def fetch(node, content):
    [job] = node("get", FILM)
    node.wait_for_job(job["id"], "done", 120)
    assert node.fetched() == {ARRIVED: content}


def test_a_hidden_node_whose_router_forwards_is_reached_and_leaves_nothing_behind(
    tmp_path, network, make_node
):
    house = network.house("a-router", ALICE)
    alice = make_node(network.inside(house, "alice", HOME), "alice")
    away = network.house("b-router", BOB)
    bob = make_node(network.inside(away, "bob", HOME), "bob")
    with switched_on(Box(tmp_path / "box", house, ONLY_PCP)) as box:
        with running(alice, bob):
            eventually(box.forwarded, "the router forwards")
            fetch(bob, offer(alice, bob))
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
        eventually(lambda: len(box.forwarded()) > 3, "alice's are forwarded")
        with running(bob):
            eventually(lambda: len(box.forwarded()) == 20, "all are forwarded")
            content = offer(alice, bob, carol)
            fetch(bob, content)
            fetch(carol, content)
            song = os.urandom(2 * MIB)
            (share(bob, "music", "Music", "Famille") / "song.ogg").write_bytes(song)
            eventually(lambda: carol.find("song"), "carol finds it")
            [job] = carol("get", "Famille/bob/Music/song.ogg")
            carol.wait_for_job(job["id"], "done", 120)
            assert carol.fetched()[b"Famille/bob/song.ogg"] == song


def _ftp(node):
    import yaml

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
        fetch(bob, offer(alice, bob))


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
        switched_on(Box(tmp_path / "other", away, ONLY_PCP)) as box,
        running(alice, bob),
    ):
        eventually(box.forwarded, "bob's router forwards")
        fetch(bob, offer(alice, bob))
        assert not useless.forwarded()
