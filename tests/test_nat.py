"""Nodes behind NAT, on broken lines and changing addresses: one way must suffice.

Real agents, each in a network namespace of its own (networks.py).
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from long_catalogues import add_entries, assert_equal_catalogues, found_group
from networks import InternetBroker, Network, connections
from nodes import (
    CommandFailed,
    NodeProcess,
    befriend,
    eventually,
    last_word,
    offer_film,
    running,
    share,
)
from waiting import PATIENCE_S

MIB = 1 << 20
FILM = "Famille/alice/Films/film.mkv"
ARRIVED = b"Famille/alice/film.mkv"
HOME = "10.1.0.2"  # behind a router; every house uses the same, as houses do
ALICE, BOB, CAROL = "198.51.100.20", "203.0.113.10", "203.0.113.30"
SLOWLY = {"upload_kib_s": 3 * 1024}
LONG_S = 240.0  # a dead connection to the broker is noticed after a minute and more
STRANGER = Path(__file__).parent / "port_stranger.py"


@pytest.fixture
def network(request):
    is_silent = request.node.get_closest_marker("full") is not None
    with Network(is_silent=is_silent) as network:
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
def hide(network):
    """Return the maker of a house and a host in it."""

    def make(name, address):
        house = network.house(f"{name}-router", address)
        return house, network.inside(house, name, HOME)

    return make


def begin(bob, least=2 * MIB):
    """Ask for the film; return the job once some of it has come, but not all."""
    [job] = bob("get", FILM)
    eventually(lambda: bob.job(job["id"])["done_bytes"] > least, "it has begun")
    assert bob.job(job["id"])["state"] == "running"
    assert bob.fetched() == {}
    return job


def hashed_photos(node):
    """Return how many of alice's photos can be fetched at once."""
    try:
        rows = node("ls", "Famille/alice/Photos")
    except CommandFailed:  # nothing is known of the share yet
        return 0
    return sum(row["root"] is not None for row in rows)


def error_of(node, job):
    error = node.job(job["id"])["error"]
    return error and error["code"]


@pytest.mark.full
def test_a_long_catalogue_is_pushed_where_only_that_way_is_open(
    network, hide, make_node
):
    alice = make_node(hide("alice", ALICE)[1], "alice")
    bob = make_node(network.host("bob", BOB), "bob", address=BOB)
    found_group(alice)
    add_entries(alice, 0, 4000)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        eventually(lambda: bob.find("0003999"), "bob has the last")
        assert "a copy of a catalogue did not come" not in bob.log.read_text()
    assert assert_equal_catalogues(alice, bob) == 4000


@pytest.mark.full
def test_one_reachable_side_is_enough_for_both_directions(network, hide, make_node):
    """The hidden source pushes, also after its friend was killed; and it can pull."""
    alice = make_node(hide("alice", ALICE)[1], "alice", limits=SLOWLY)
    bob = make_node(network.host("bob", BOB), "bob", address=BOB)
    with running(alice, bob):
        content = offer_film(alice, bob, size=12 * MIB)
        job = begin(bob)
        bob.kill()
        assert bob.fetched() == {}
        bob.start()
        kept = eventually(lambda: bob.job(job["id"])["done_bytes"], "it goes on")
        assert kept < len(content), "it goes on from where it was"
        bob.wait_for_job(job["id"], "done")
        assert bob.fetched() == {ARRIVED: content}

        back = os.urandom(3 * MIB)
        (share(bob, "music", "Music", "Famille") / "song.ogg").write_bytes(back)
        eventually(lambda: alice.find("song"), "alice finds it")
        alice("get", "Famille/bob/Music/song.ogg", "--wait")
        assert alice.fetched() == {b"Famille/bob/song.ogg": back}


def test_two_hidden_nodes_keep_the_job_waiting_and_say_why(hide, make_node):
    alice = make_node(hide("alice", ALICE)[1], "alice", address=HOME)
    bob = make_node(hide("bob", BOB)[1], "bob")
    with running(alice, bob):
        offer_film(alice, bob, size=MIB)
        [job] = bob("get", FILM)
        eventually(lambda: error_of(bob, job) == "unreachable", "it says why")
        # Something new at alice's is a reason to try again: nothing else is told then.
        (alice.disk / "films" / "more.mkv").write_bytes(b"more")
        eventually(lambda: bob.find("more"), "bob sees what is new")
        for _ in range(6):
            assert bob.job(job["id"])["state"] == "locating"
            assert error_of(bob, job) == "unreachable"
        assert bob.fetched() == {}
        assert alice.members("Famille") == bob.members("Famille")


@pytest.mark.full
def test_two_hidden_nodes_get_together_once_one_has_its_ports_forwarded(
    hide, make_node
):
    house, home = hide("alice", ALICE)
    alice = make_node(home, "alice", node={"public_name": ALICE})
    bob = make_node(hide("bob", BOB)[1], "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=5 * MIB)
        [job] = bob("get", FILM)
        eventually(lambda: error_of(bob, job) == "unreachable", "it says why")
        for ports in friends_ports(alice):
            house.forward(ports, HOME)
        bob.wait_for_job(job["id"], "done", 120)
        assert bob.fetched() == {ARRIVED: content}


def friends_ports(node):
    """Return the ranges of ports that a node's friends need."""
    ftp = yaml.safe_load(node.settings.read_text())["ftp"]
    door, passive = ftp["friends_port"], ftp["friends_passive_ports"]
    first, last = map(int, passive.split("-"))
    return range(door, door + 1), range(first, last + 1)


@pytest.mark.full
def test_a_door_without_its_data_ports_is_told_by_doctor(network, hide, make_node):
    """Half of a forwarding looks well from outside, and moves nothing."""
    house, home = hide("alice", ALICE)
    alice = make_node(home, "alice", node={"public_name": ALICE})
    bob = make_node(network.host("bob", BOB), "bob", address=BOB)
    door, data = friends_ports(alice)
    house.forward(door, HOME)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        found, _ = last_word(alice, "reach.data")
        assert f"data ports {data[0]}-{data[-1]}" in found["message"]
        assert f"TCP ports {data[0]}-{data[-1]} to {HOME}" in found["next"]
        house.forward(data, HOME)
        last_word(alice, "reach.open")


@pytest.mark.full
def test_the_hidden_source_is_killed_and_pushes_on(network, hide, make_node):
    alice = make_node(hide("alice", ALICE)[1], "alice", limits=SLOWLY)
    bob = make_node(network.host("bob", BOB), "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=16 * MIB)
        job = begin(bob)
        alice.kill()
        reached = bob.job(job["id"])["done_bytes"]
        alice.start()
        bob.wait_for_job(job["id"], "done", 120)
        assert bob.fetched() == {ARRIVED: content}
        assert reached >= 2 * MIB


@pytest.mark.full
def test_a_push_heeds_pause_and_the_end_of_the_agent_at_once(network, hide, make_node):
    alice = make_node(hide("alice", ALICE)[1], "alice", limits={"upload_kib_s": 1024})
    bob = make_node(network.host("bob", BOB), "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=24 * MIB)
        job = begin(bob)
        bob("jobs", "pause", job["id"])
        time.sleep(2)  # from here on nothing may come, however long one looks
        reached = on_disk(bob)
        time.sleep(2)
        assert on_disk(bob) == reached
        assert bob.job(job["id"])["state"] == "paused"

        bob("jobs", "resume", job["id"])
        eventually(lambda: on_disk(bob) > reached + MIB, "it goes on")
        assert bob.stop() == 0
        bob.start()
        bob.wait_for_job(job["id"], "done", 90)
        assert bob.fetched() == {ARRIVED: content}


def on_disk(node):
    """Return how many bytes of a job's partial file are there, verified or not."""
    kept = (node.disk / ".fonshare").rglob("data")
    return sum(path.stat().st_blocks for path in kept) * 512


@pytest.mark.full
def test_a_folder_of_a_hidden_source_comes_without_knocking_for_each_file(
    network, hide, make_node
):
    alice = make_node(hide("alice", ALICE)[1], "alice")
    host = network.host("bob", BOB)
    bob = make_node(host, "bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        folder = share(alice, "photos", "Photos", "Famille")
        photos = {f"{n}.jpg": os.urandom(100_000 + n) for n in range(20)}
        for name, content in photos.items():
            (folder / name).write_bytes(content)

        eventually(lambda: hashed_photos(bob) == len(photos), "bob sees them all")
        opened = connections(host)
        [job] = bob("get", "Famille/alice/Photos")
        bob.wait_for_job(job["id"], "done", 40)  # six seconds each would be 120
        assert connections(host) - opened < len(photos), "in bundles"
        got = {os.path.basename(path).decode(): c for path, c in bob.fetched().items()}
        assert got == photos


@pytest.mark.full
def test_a_hidden_source_serves_several_friends_in_turn(network, hide, make_node):
    """More want a push than it has hands for: those who wait are told so."""
    alice = make_node(hide("alice", ALICE)[1], "alice", limits=SLOWLY)
    friends = [
        make_node(network.host(name, f"203.0.113.{n}"), name, limits={"transfers": 1})
        for n, name in enumerate(("bob", "carol", "dave"), 40)
    ]
    with running(alice, *friends):
        befriend("Famille", alice, *friends)
        content = os.urandom(20 * MIB)
        (share(alice, "films", "Films", "Famille") / "film.mkv").write_bytes(content)
        for friend in friends:
            eventually(lambda friend=friend: friend.find("film"), "it is found")
        jobs = [friend("get", FILM)[0] for friend in friends]
        for friend, job in zip(friends, jobs, strict=True):
            friend.wait_for_job(job["id"], "done", 150)
            assert friend.fetched() == {ARRIVED: content}


# --- strangers and bad lines


@contextmanager
def port_stranger(host, target, ports, said):
    """Let somebody on *host* rush to these ports; *said* gets what is told there."""
    words = [sys.executable, STRANGER, target, str(ports[0]), str(ports[-1])]
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*host.wrapper, *words], stdin=subprocess.PIPE, stdout=out, stderr=out
        )
    try:
        yield
        assert process.poll() is None, said.read_text()
    finally:
        process.communicate(timeout=PATIENCE_S)


@pytest.mark.full
def test_a_stranger_at_the_same_address_who_takes_every_passive_port_gets_nothing(
    network, hide, make_node, tmp_path
):
    """Bob and a stranger share one public address: only TLS tells them apart."""
    alice = make_node(network.host("alice", ALICE), "alice", address=ALICE)
    house, home = hide("bob", BOB)
    bob = make_node(home, "bob")
    stranger = network.inside(house, "stranger", "10.1.0.66")
    said = tmp_path / "said"
    with running(alice, bob):
        befriend("Famille", alice, bob)
        photos = share(alice, "photos", "Photos", "Famille")
        passive = friends_ports(alice)[1]
        sent: dict[bytes, bytes] = {}

        def fetch_a_photo() -> bool:
            """Tell whether the stranger was first at a port, as it is now and then."""
            path = f"{len(sent)}.jpg"
            content = os.urandom(1_000_000)
            (photos / path).write_bytes(content)
            eventually(lambda: hashed_photos(bob) == len(sent) + 1, "bob sees it")
            [job] = bob("get", f"Famille/alice/Photos/{path}")
            bob.wait_for_job(job["id"], "done", 90)
            sent[path.encode()] = content
            return "connected" in said.read_text()

        with port_stranger(stranger, ALICE, passive, said):
            eventually(fetch_a_photo, "the stranger is first at a port", 300)
        assert sorted(bob.fetched().values()) == sorted(sent.values())
    bytes_got = int(said.read_text().split()[-1])
    assert bytes_got == 0


@pytest.mark.full
def test_a_source_whose_address_changes_in_mid_transfer_is_found_again(
    network, make_node
):
    host = network.host("alice", ALICE)
    alice = make_node(host, "alice", limits=SLOWLY)
    bob = make_node(network.host("bob", BOB), "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=24 * MIB)
        job = begin(bob)
        host.take_address("203.0.113.77")
        bob.wait_for_job(job["id"], "done", LONG_S)
        assert bob.fetched() == {ARRIVED: content}


@pytest.mark.full
def test_a_destination_whose_address_changes_in_mid_push_is_found_again(
    network, hide, make_node
):
    alice = make_node(hide("alice", ALICE)[1], "alice", limits=SLOWLY)
    host = network.host("bob", BOB)
    bob = make_node(host, "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=24 * MIB)
        job = begin(bob)
        host.take_address("198.51.100.77")
        bob.wait_for_job(job["id"], "done", LONG_S)
        assert bob.fetched() == {ARRIVED: content}


@pytest.mark.full
@pytest.mark.parametrize("seconds", [5, 45])
def test_a_line_cut_in_mid_transfer_costs_only_time(network, make_node, seconds):
    alice_host, bob_host = network.host("alice", ALICE), network.host("bob", BOB)
    alice = make_node(alice_host, "alice", limits=SLOWLY)
    bob = make_node(bob_host, "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=24 * MIB)
        job = begin(bob)
        network.cut(bob_host)
        time.sleep(seconds)  # so long it is cut: nothing is waited for
        network.mend(bob_host)
        bob.wait_for_job(job["id"], "done", LONG_S)
        assert bob.fetched() == {ARRIVED: content}


@pytest.mark.full
def test_a_line_cut_in_mid_push_costs_only_time(network, hide, make_node):
    house, home = hide("alice", ALICE)
    alice = make_node(home, "alice", limits=SLOWLY)
    bob = make_node(network.host("bob", BOB), "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=24 * MIB)
        job = begin(bob)
        network.cut(house)
        time.sleep(45)  # so long it is cut: nothing is waited for
        network.mend(house)
        bob.wait_for_job(job["id"], "done", LONG_S)
        assert bob.fetched() == {ARRIVED: content}


@pytest.mark.full
def test_what_is_read_of_a_hidden_friends_film_is_pushed_first(
    network, hide, make_node
):
    alice = make_node(hide("alice", ALICE)[1], "alice", limits=SLOWLY)
    host = network.host("bob", BOB)
    bob = make_node(host, "bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=40 * MIB)
        eventually(
            lambda: (
                [(len(content), True)]
                == [(row["size"], bool(row["root"])) for row in bob.find("film")]
            ),
            "bob sees all of it",
        )
        port = yaml.safe_load(bob.settings.read_text())["ftp"]["port"]
        tail = len(content) - 5000
        url = f"ftp://owner:secret@127.0.0.1:{port}/friends/{FILM}"
        got = subprocess.run(
            [*host.wrapper, "curl", "-sS", "-C", str(tail), "-o", "-", url],
            capture_output=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )
        assert (got.stdout, got.stderr) == (content[tail:], b"")
        [job] = bob("jobs")
        assert job["done_bytes"] < len(content) / 2
        assert bob.fetched() == {}
