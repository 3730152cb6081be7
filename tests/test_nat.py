"""Nodes behind NAT, on broken lines and changing addresses: one way must suffice.

Real agents, each in a network namespace of its own (networks.py).
"""

import os
import time

import pytest

from networks import InternetBroker, Network
from nodes import NodeProcess, befriend, eventually, running, share

MIB = 1 << 20
FILM = "Famille/alice/Films/film.mkv"
ARRIVED = b"Famille/alice/film.mkv"
HOME = "10.1.0.2"  # behind a router; every house uses the same, as houses do


@pytest.fixture
def network():
    with Network() as network:
        yield network


@pytest.fixture
def broker(tmp_path, network):
    with InternetBroker(tmp_path / "broker", network) as broker:
        yield broker


@pytest.fixture
def make_node(tmp_path, broker):
    def make(host, name, *, address="0.0.0.0", node=(), **settings):
        return NodeProcess(
            tmp_path / name,
            name,
            broker.url,
            wrapper=host.wrapper,
            address=address,
            # The test networks are not global: to the agents they are private ones.
            node={"allow_private_addresses": True, **dict(node)},
            **settings,
        )

    return make


@pytest.fixture
def hidden(network):
    """Return the maker of a host behind a router of its own."""

    def make(name, address):
        house = network.house(f"{name}-router", address)
        return network.inside(house, name, HOME)

    return make


def offer(alice, bob, size):
    """Let alice offer a film to bob; return its content."""
    befriend("Famille", alice, bob)
    content = os.urandom(size)
    (share(alice, "films", "Films", "Famille") / "film.mkv").write_bytes(content)
    eventually(lambda: bob.find("film"), "bob finds it")
    return content


def begin(bob, least=2 * MIB):
    """Ask for the film; return the job once some of it has come."""
    [job] = bob("get", FILM)
    eventually(lambda: bob.job(job["id"])["done_bytes"] > least, "it has begun")
    assert bob.job(job["id"])["state"] == "running"
    return job


def error_of(node, job):
    error = node.job(job["id"])["error"]
    return error["code"] if error else None


def test_one_reachable_side_is_enough_for_both_directions(network, hidden, make_node):
    """The hidden source pushes, also after its friend was killed; and it can pull."""
    limits = {"upload_kib_s": 3 * 1024}
    alice = make_node(hidden("alice", "198.51.100.20"), "alice", limits=limits)
    bob = make_node(network.host("bob", "203.0.113.10"), "bob", address="203.0.113.10")
    with running(alice, bob):
        content = offer(alice, bob, 12 * MIB)
        job = begin(bob)
        reached = bob.job(job["id"])["done_bytes"]
        assert reached < len(content)
        bob.kill()
        assert bob.fetched() == {}
        bob.start()
        bob.wait_for_job(job["id"], "done")
        assert bob.fetched() == {ARRIVED: content}

        back = os.urandom(3 * MIB)
        (share(bob, "music", "Music", "Famille") / "song.ogg").write_bytes(back)
        eventually(lambda: alice.find("song"), "alice finds it")
        alice("get", "Famille/bob/Music/song.ogg", "--wait")
        assert alice.fetched() == {b"Famille/bob/song.ogg": back}
