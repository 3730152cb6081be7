"""Places said to have changed: soon, but not thirty times a minute."""

import os

from fonshare_agent.index import hints
from fonshare_agent.index.hints import Hints
from fonshare_agent.model import SharePath
from index_nodes import FAMILLE, Node

PATH = SharePath.parse("slow.bin")


def looks(period_s, duration_s):
    """Return when a file that changes every *period_s* is looked at."""
    places, seen, now = Hints(), [], 0.0
    while now < duration_s + 2 * hints.PAUSE_MAX_S:
        if now < duration_s and now % period_s == 0:
            assert places.add("Films", PATH)
        seen += [now for _ in places.take_due(now)]
        now += 0.5
    assert places.next_due() is None
    return seen


def test_a_change_is_looked_at_at_once_and_the_last_one_too():
    assert looks(1000, 10) == [0.0]
    assert looks(5, 6)[0] == 0.0
    assert looks(2, 3)[-1] >= 2


def test_a_file_written_for_long_is_looked_at_a_few_times():
    minute = looks(2, 60)
    assert len(minute) <= 8
    assert minute[-1] > 58, "what was written last is seen"
    assert len(looks(2, 3600)) < 70


def test_a_file_that_has_rested_is_looked_at_at_once_again():
    places = Hints()
    for now in (0.0, 1.0, 3.0):
        places.add("Films", PATH)
        places.take_due(now)
    places.add("Films", PATH)
    places.take_due(7.0)
    places.add("Films", PATH)
    assert places.take_due(100.0)
    places.add("Films", PATH)
    assert places.take_due(100.0 + hints.PAUSE_S)


def test_a_slow_upload_moves_the_catalogue_a_few_times_and_is_hashed_once(tmp_path):
    node = Node(tmp_path / "alice")
    try:
        node.publish(Films=[FAMILLE])
        node.moved.clear()
        file = node.share() / "slow.bin"
        start = node.now = 2e9
        for second in range(0, 60, 2):
            with file.open("ab") as growing:
                growing.write(b"x")
            os.utime(file, (start + second, start + second))
            node.now = start + second + 1
            node.scanner.on_change(file)
            node.settle()
            node.clock += 2
        assert len(node.moved) <= 8
        assert node.hashed == []
        node.clock += 2 * hints.PAUSE_MAX_S
        node.now += 200
        node.settle()
        ((_, path, _),) = node.hashed
        assert path.wire() == "slow.bin"
        assert node.index.counts() == (1, 30)
    finally:
        node.close()
