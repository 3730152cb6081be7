"""Two hidden nodes and a third one who carries what they send each other.

Real agents in network namespaces: alice and bob behind NAT that nobody opens, carol
with a public address.
"""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from networks import PUBLIC_GATEWAYS, InternetBroker, Network, connections
from nodes import NodeProcess, befriend, eventually, running, share
from waiting import PATIENCE_S

MIB = 1 << 20
FILM = "Famille/alice/Films/film.mkv"
ARRIVED = b"Famille/alice/film.mkv"
HOME = "10.1.0.2"
ALICE, BOB, CAROL = "9.9.1.20", "8.8.4.10", "9.9.1.30"
FEW = 40
MARK = b"nobody but bob reads this line. "


@pytest.fixture
def network():
    with Network(gateways=PUBLIC_GATEWAYS, is_silent=False) as network:
        yield network


@pytest.fixture
def make_nodes(tmp_path, network):
    with InternetBroker(tmp_path / "broker", network) as broker:

        def make(name, host, **settings):
            return NodeProcess(
                tmp_path / name,
                name,
                broker.url,
                wrapper=host.wrapper,
                address="0.0.0.0",
                **settings,
            )

        def make_all(**carol):
            hidden = [
                make(name, network.inside(network.house(f"{name}-r", at), name, HOME))
                for name, at in (("alice", ALICE), ("bob", BOB))
            ]
            host = network.host("carol", CAROL)
            return *hidden, make("carol", host, **carol), host

        yield make_all


def offer(alice, *others, content):
    befriend("Famille", alice, *others)
    (share(alice, "films", "Films", "Famille") / "film.mkv").write_bytes(content)
    for other in others:
        eventually(lambda other=other: other.find("film"), "it is found")


def error_of(node, job):
    error = node.job(job["id"])["error"]
    return error and error["code"]


LISTEN = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: miss little
print("listening", flush=True)
mark, seen, bytes_seen = sys.argv[1].encode(), False, 0
while True:
    packet = wire.recv(70000)
    if b"the end of listening" in packet:
        break
    bytes_seen += len(packet)
    seen = seen or mark in packet
print(int(seen), bytes_seen, flush=True)
"""
SAY_LAST = """
import socket
said = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
said.sendto(b"the end of listening", ("9.9.1.1", 9))
"""


@contextmanager
def listening(host, mark):
    """Hear all that goes by *host*; yield the answer: was the mark in it, how much."""
    heard = []
    process = subprocess.Popen(
        [*host.wrapper, sys.executable, "-c", LISTEN, mark],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "listening\n"
        yield heard
        host.run(sys.executable, "-c", SAY_LAST)
        heard += map(int, process.communicate(timeout=PATIENCE_S)[0].split())
    finally:
        process.kill()
        process.wait()


@pytest.mark.full
def test_a_third_member_carries_what_it_cannot_read(make_nodes):
    alice, bob, carol, host = make_nodes(
        node={"relay": True}, limits={"relay_kib_s": 0}
    )
    content = MARK * (5 * MIB // len(MARK)) + os.urandom(MIB)
    with running(alice, bob, carol):
        offer(alice, bob, content=content)
        befriend("Famille", alice, carol)
        opened = connections(host)
        for number in range(FEW):
            note = alice.disk / "films" / "notes" / f"{number}.txt"
            note.parent.mkdir(exist_ok=True)
            note.write_bytes(b"%d" % number * 5000)

        def are_hashed():
            rows = bob.find("txt", "--limit", str(2 * FEW))
            return len(rows) == FEW and all(row["root"] for row in rows)

        eventually(are_hashed, "bob sees the notes hashed")
        bob("get", "Famille/alice/Films/notes", "--wait")
        assert len(bob.fetched()) == FEW
        assert connections(host) - opened < FEW, (
            "in bundles, though nobody knew the way"
        )
        with listening(host, MARK.decode()) as heard:
            [job] = bob("get", FILM)
            bob.wait_for_job(job["id"], "done", 110)
        is_read, count = heard
        assert not is_read
        assert count > len(content), "it came by carol"
        assert bob.fetched()[ARRIVED] == content
        assert "two members meet at this relay" in carol.log.read_text()
        for log in (alice.log, bob.log, carol.log):
            assert "Traceback" not in log.read_text()


@pytest.mark.full
def test_nobody_is_a_relay_unasked_and_a_removal_ends_one(make_nodes):
    alice, bob, carol, host = make_nodes(limits={"relay_kib_s": 256})
    content = os.urandom(40 * MIB)
    with running(alice, bob, carol):
        offer(alice, bob, content=content)
        befriend("Famille", alice, carol)
        [job] = bob("get", FILM)
        eventually(lambda: error_of(bob, job) == "unreachable", "it says why")
        for node in (carol, bob):  # bob has noted that carol would not
            node.stop()
        text = carol.settings.read_text()
        carol.settings.write_text(text.replace("node:", "node:\n  relay: true", 1))
        for node in (carol, bob):
            node.start()
        eventually(lambda: bob.job(job["id"])["done_bytes"], "it comes", 90)
        assert streams(host) >= 2
        alice("group", "remove", "Famille", "bob")
        eventually(lambda: not streams(host), "carol carries nothing more")
        assert bob.fetched() == {}


def streams(host):
    """Return how many connections there are at a host, but for that to the broker."""
    rows = host.run("ss", "-tnH", "state", "established").splitlines()
    return sum(":1883" not in row for row in rows)
