"""A long catalogue reaches a member that is new: over the data channel, resumably.

Real agents and a real broker; what passes the broker is counted.
"""

import pytest

from long_catalogues import GROUP, add_entries, assert_equal_catalogues, found_group
from nodes import befriend, eventually, running

ENTRIES = 20_000
FEWER = 4_000  # and still too many for pages alone
LITTLE = 1_000_000  # bytes: all pages together are five times as much
LONG_S = 100.0

pytestmark = pytest.mark.timeout(400)


def has(node, number):
    return len(node.find(f"{number:07}")) == 1


def carried(observed):
    observed.catch_up()
    return sum(len(one.payload) for one in observed.seen)


def leftovers(node):
    private = node.disk / ".fonshare"
    return sorted(
        str(path.relative_to(private))
        for part in ("partial", "copies")
        for path in (private / part).rglob("*")
    )


@pytest.fixture
def alice(make_node):
    """A node that offers a long catalogue; it does not run yet."""
    alice = make_node("alice")
    found_group(alice)
    add_entries(alice, 0, ENTRIES)
    return alice


@pytest.mark.full
def test_a_new_member_gets_a_long_catalogue_and_the_broker_sees_none_of_it(
    alice, make_node, broker
):
    bob = make_node("bob")
    with running(alice, bob), broker.observe() as observed:
        befriend(GROUP, alice, bob)
        eventually(lambda: has(bob, ENTRIES - 1), "bob has the last", LONG_S)
        assert carried(observed) < LITTLE
        eventually(lambda: leftovers(bob) == [], "nothing is left over")
        assert len(leftovers(alice)) == 1, "kept for the next one"
        assert bob.find("copies") == bob.find("partial") == []
    assert assert_equal_catalogues(alice, bob) == ENTRIES


@pytest.mark.full
@pytest.mark.parametrize("killed", ["alice", "bob"])
def test_a_power_cut_amid_a_copy_costs_little(alice, make_node, broker, killed):
    """On a slow line; what has come of it is used afterwards."""
    slowly = {"upload_kib_s": 100, "download_kib_s": 100}
    bob = make_node("bob", limits=slowly)
    with running(alice, bob), broker.observe() as observed:
        befriend(GROUP, alice, bob)
        eventually(lambda: partial_bytes(bob) > 300_000, "it has begun", LONG_S)
        node = {"alice": alice, "bob": bob}[killed]
        node.kill()
        node.start()
        eventually(lambda: has(bob, ENTRIES - 1), "bob has the last", LONG_S)
        assert carried(observed) < LITTLE
        eventually(lambda: leftovers(bob) == [], "nothing is left over")
    assert assert_equal_catalogues(alice, bob) == ENTRIES


def partial_bytes(node):
    found = (node.disk / ".fonshare" / "partial").glob("0*/data")
    return sum(path.stat().st_blocks * 512 for path in found)


@pytest.mark.full
def test_without_a_data_channel_it_comes_in_pages(make_node):
    """No address of either may be tried by the other: slowly, but it comes."""
    alice, bob = make_node("alice", address="0.0.0.0"), make_node("bob")
    found_group(alice)
    add_entries(alice, 0, FEWER)
    with running(alice, bob):
        befriend(GROUP, alice, bob)
        eventually(lambda: has(bob, FEWER - 1), "bob has the last", LONG_S)
        assert "a copy of a catalogue did not come: unreachable" in bob.log.read_text()
        eventually(lambda: leftovers(bob) == [], "nothing is left over", LONG_S)
    assert assert_equal_catalogues(alice, bob) == FEWER


@pytest.mark.full
def test_a_member_far_behind_gets_what_is_new_and_the_others_are_not_asked(
    alice, make_node, broker
):
    """Two members missed a long stretch: one copy serves both."""
    bob, carol = make_node("bob"), make_node("carol")
    with running(alice, bob, carol):
        befriend(GROUP, alice, bob, carol)
        for node in (bob, carol):
            eventually(lambda n=node: has(n, ENTRIES - 1), "all is there", LONG_S)
    add_entries(alice, ENTRIES, ENTRIES + FEWER)
    with running(alice, bob, carol), broker.observe() as observed:
        last = ENTRIES + FEWER - 1
        for node in (bob, carol):
            eventually(lambda n=node: has(n, last), "what is new is there", LONG_S)
        assert carried(observed) < LITTLE
    for node in (bob, carol):
        assert assert_equal_catalogues(alice, node) == ENTRIES + FEWER
