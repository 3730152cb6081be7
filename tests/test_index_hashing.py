"""Hashing goes on inside a file after a restart, and keeps to the owner's pace."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fonshare_agent.index import blocks, hash_progress, hashing
from fonshare_agent.index.pace import LOOK_S, Pace
from fonshare_agent.model import SharePath
from fonshare_agent.protocol.content import RootHasher
from index_nodes import FAMILLE, Node, count_reads

MIB = 1 << 20
LARGE = 48 * MIB  # 384 blocks: their hashes fill more than a page
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fonshare_agent.index import blocks, hashing
from index_nodes import FAMILLE, Node
blocks.STEP_BYTES = hashing.SAVE_BYTES = 4 << 20
node = Node(Path(sys.argv[1]))
node.index.publish({"Films": frozenset([FAMILLE])})
node.scanner.set_shares({"Films": node.share()})
while node.scanner.step():
    saved = node.index._connection.execute("SELECT count(*) FROM hashing_page")
    if saved.fetchone()[0] == 2:
        print("half", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def reads(monkeypatch):
    """What hashing reads, by small steps."""
    monkeypatch.setattr(blocks, "STEP_BYTES", 4 * MIB)
    monkeypatch.setattr(hashing, "SAVE_BYTES", 4 * MIB)
    return count_reads(monkeypatch)


def large(folder, size=LARGE):
    path = folder / "disk" / "Films" / "large"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = os.urandom(size)
    path.write_bytes(content)
    hasher = RootHasher(size)
    return path, hasher.update(content), hasher.finish()


def begin(node):
    node.index.publish({"Films": frozenset([FAMILLE])})
    node.scanner.set_shares({"Films": node.share()})


def hash_half(node, reads):
    begin(node)
    while sum(reads) < LARGE // 2:
        assert node.scanner.step()


def root_of_large(node):
    found = node.index.find_own("Films", SharePath.parse("large"))
    return found.root


def test_a_restart_goes_on_inside_the_file(tmp_path, reads):
    _, hashes, root = large(tmp_path)
    with contextlib.closing(Node(tmp_path)) as node:
        hash_half(node, reads)
    reads.clear()
    with contextlib.closing(Node(tmp_path)) as node:
        begin(node)
        node.settle()
        assert root_of_large(node) == root
        assert node.index.blocks(root, 0, 1000) == hashes
        assert sum(reads) <= LARGE // 2 + 4 * MIB
        kept = node.index._connection.execute(
            "SELECT (SELECT count(*) FROM hashing), (SELECT count(*) FROM hashing_page)"
        )
        assert kept.fetchone() == (0, 0)


def test_a_kill_in_the_middle_loses_seconds_only(tmp_path, reads):
    _, hashes, root = large(tmp_path)
    tests = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), tests],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as driver:
        assert driver.stdout.readline() == b"half\n"
        driver.send_signal(signal.SIGKILL)
    with contextlib.closing(Node(tmp_path)) as node:
        begin(node)
        node.settle()
        assert root_of_large(node) == root
        assert node.index.blocks(root, 0, 1000) == hashes
        assert 0 < sum(reads) < LARGE // 2


@pytest.mark.parametrize("grows", [False, True])
def test_a_file_that_changed_meanwhile_is_hashed_from_its_start(tmp_path, reads, grows):
    path, _, _ = large(tmp_path)
    with contextlib.closing(Node(tmp_path)) as node:
        hash_half(node, reads)
    _, hashes, root = large(tmp_path, LARGE + grows)
    os.utime(path, (5, 5))
    reads.clear()
    with contextlib.closing(Node(tmp_path)) as node:
        begin(node)
        node.rescan()
        assert root_of_large(node) == root
        assert node.index.blocks(root, 0, 1000) == hashes
        assert sum(reads) == LARGE + grows


def test_what_was_begun_and_left_does_not_pile_up(tmp_path, reads):
    with contextlib.closing(Node(tmp_path)) as node:
        begin(node)
        path, hashes, _ = large(tmp_path, 8 * MIB)
        node.rescan()
        own = node.index.find_own("Films", SharePath.parse("large"))
        for number in range(3 * hash_progress.FILES_KEPT):
            path.rename(path.with_name(str(number)))
            other = type(own)(
                "Films", SharePath.parse(str(number)), own.stamp, own.root
            )
            node.index.save_hashing(other, hashes[:9], 0)
            assert node.index.load_hashing(other) == hashes[:9]
            path = path.with_name(str(number))
        count = node.index._connection.execute("SELECT count(*) FROM hashing")
        assert count.fetchone() == (hash_progress.FILES_KEPT,)


def test_no_file_is_resumed_behind_its_end():
    hasher = RootHasher(3)
    with pytest.raises(ValueError, match="last block"):
        hasher.resume([b"h" * 32])


# --- the owner's pace ---------------------------------------------------------------


def test_the_rate_holds_over_any_length_and_a_request_does_not_wait(tmp_path, reads):
    _, _, root = large(tmp_path, 32 * MIB)
    with contextlib.closing(Node(tmp_path)) as node:
        node.scanner._hashing._pace.kib_s = 1024
        begin(node)
        node.settle()
        for _ in range(6):
            node.clock += 1.0
            node.settle()
        assert sum(reads) <= 4 * MIB + 6 * MIB, "a step ahead at most"
        assert sum(reads) >= 6 * MIB
        due = node.scanner._hashing.next_due()
        assert node.clock < due <= node.clock + 4, "it sleeps until then"
        node.scanner.hash_soon("Films", SharePath.parse("large"))
        node.settle()
        assert root_of_large(node) == root


@pytest.mark.parametrize(
    ("hours", "hour", "is_open"),
    [
        (None, 13, True),
        ((60, 360), 0, False),
        ((60, 360), 1, True),
        ((60, 360), 5, True),
        ((60, 360), 6, False),
        ((1320, 420), 23, True),
        ((1320, 420), 6, True),
        ((1320, 420), 7, False),
        ((1320, 1440), 23, True),
    ],
)
def test_the_hours_are_those_of_the_local_day(hours, hour, is_open):
    noon = time.mktime((2026, 7, 1, hour, 30, 0, 0, 0, -1))
    pace = Pace(lambda: 100.0, lambda: noon, hours=hours)
    assert (pace.free_at() <= 100.0) is is_open
    if not is_open:
        assert pace.free_at() == 100.0 + LOOK_S


def test_while_the_time_is_unknown_the_hours_are_closed_but_for_friends(tmp_path):
    _, _, root = large(tmp_path, MIB)
    with contextlib.closing(Node(tmp_path)) as node:
        pace = node.scanner._hashing._pace
        pace.hours, pace.is_time_known = (0, 720), lambda: False
        pace.now = lambda: time.mktime((2026, 7, 1, 3, 30, 0, 0, 0, -1))
        begin(node)
        node.settle()
        assert root_of_large(node) is None
        assert node.names("large") == ["Films/large"], "listing never waits"
        node.scanner.hash_soon("Films", SharePath.parse("large"))
        node.settle()
        assert root_of_large(node) == root
        (node.share() / "other").write_bytes(b"x")
        node.rescan()
        pace.is_time_known = lambda: True
        node.clock += LOOK_S + 1
        node.settle()
        found = node.index.find_own("Films", SharePath.parse("other"))
        assert found.root is not None
