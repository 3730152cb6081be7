"""The index on a disk that is pulled while a scan commits.

What had reached the disk is there when it comes back, up to a whole transaction:
nothing is called damaged, nothing is hashed twice, and no number that a friend was told
is given out again.
"""

import contextlib
import os
import random

import pytest

from disks import MIB, make_disks
from fonshare_agent.index import store
from fonshare_agent.model import SharePath
from index_nodes import ALICE, BOB, FAMILLE, Node, count_reads

FILES, STATEMENTS = 15, 250
LARGE = 2 * MIB


@pytest.fixture
def loop(tmp_path):
    for make in make_disks(tmp_path):
        # Room for a log that was never copied back: each end is a bad one.
        yield make("disk", size=64 * MIB, has_journal=True)


@pytest.fixture
def reads(monkeypatch):
    return count_reads(monkeypatch)


class Pulled:
    """Has the disk pulled before one of the index's next statements, drawn at random.

    Until then the kernel writes back now and then what is there. Afterwards nothing
    that is written reaches the disk, and friends are told nothing more.
    """

    def __init__(self, node, loop, drawn):
        self._log, self._loop, self._drawn = node.folder / "index.db-wal", loop, drawn
        self._left, self.is_out = drawn.randrange(1, STATEMENTS), False
        self._is_scanning = False
        node.index._connection.set_trace_callback(self._on_statement)

    def step(self, node):
        self._is_scanning = True
        is_at_it = node.scanner.step()
        self._is_scanning = False
        return is_at_it

    def _on_statement(self, _sql):
        if not self._is_scanning or self.is_out:
            return
        self._left -= 1
        if self._left == 0:
            self.pull()
        elif self._drawn.random() < 0.02:
            descriptor = os.open(self._log, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def pull(self):
        if not self.is_out:
            self.is_out = True
            self._loop.keep_what_it_has()


def write(folder):
    folder.mkdir()
    for name in range(FILES):
        (folder / str(name)).write_bytes(folder.name.encode())


def tree(folder):
    files = (one for one in folder.rglob("*") if one.is_file())
    return {f"{folder.name}/{one.relative_to(folder)}" for one in files}


def scan_until(pulled, node, bob, drawn):
    """Scan, and tell bob now and then, until the disk is out; then to the end."""
    node.scanner.rescan()
    while pulled.step(node):
        if drawn.random() < 0.1 and not pulled.is_out:
            node.deltas(FAMILLE, bob)
    pulled.pull()


def check(node, bob, root):
    """Hold what the disk has kept against what bob was told; let him have the rest."""
    assert node.index.rebuilt is None
    assert node.index.find_own("Films", SharePath.parse("large")).root == root
    index_id, told = bob.index.replica_head(FAMILLE, ALICE)
    own_id, head = node.index.own_head(FAMILLE)
    assert own_id == index_id
    assert head >= told
    node.publish(Films=[FAMILLE])
    node.deltas(FAMILLE, bob)
    shown = node.listed(FAMILLE, ALICE)
    assert shown == bob.listed(FAMILLE, ALICE)
    assert {entry[0] for entry in shown} == tree(node.share())


def test_a_friend_is_told_a_number_only_behind_a_commit_that_syncs(tmp_path):
    with contextlib.closing(Node(tmp_path)) as node:
        node.publish(Films=[FAMILLE])
        node.index.own_head(FAMILLE)
        (node.share() / "new").write_bytes(b"new")
        node.rescan()
        log = tmp_path / "index.db-wal"
        before = log.stat().st_size
        node.index.own_head(FAMILLE)
        behind = log.stat().st_size
        assert behind > before, "a commit that changes nothing is not even written"
        node.index.own_head(FAMILLE)
        assert log.stat().st_size == behind


@pytest.mark.parametrize("rounds", [4, pytest.param(20, marks=pytest.mark.full)])
def test_a_disk_pulled_before_any_statement_costs_no_hash_and_no_number(
    tmp_path, loop, reads, monkeypatch, rounds
):
    monkeypatch.setattr(store, "BATCH", 7)
    drawn = random.Random(rounds)
    place = tmp_path / "alice"
    loop.mount(place)
    (tmp_path / "shares").mkdir()
    (place / "disk").symlink_to(tmp_path / "shares")  # the index alone is on the disk
    with contextlib.closing(Node(tmp_path / "bob", BOB)) as bob:
        with contextlib.closing(Node(place)) as node:
            (node.share() / "large").write_bytes(bytes(LARGE))
            node.publish(Films=[FAMILLE])
            node.deltas(FAMILLE, bob)
            root = node.index.find_own("Films", SharePath.parse("large")).root
        for number in range(rounds):
            with contextlib.closing(Node(place)) as node:
                check(node, bob, root)
                write(node.share() / str(number))
                scan_until(Pulled(node, loop, drawn), node, bob, drawn)
            loop.pull(place)
            loop.lose_the_rest()
            loop.mount(place)
        with contextlib.closing(Node(place)) as node:
            check(node, bob, root)
    assert sum(reads) < 2 * LARGE
