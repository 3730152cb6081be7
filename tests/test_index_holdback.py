"""Most of a share missing at once: nothing is called deleted before it is certain."""

import contextlib
import os
import shutil

import pytest

from fonshare_agent.index import holdback, missing
from index_nodes import ALICE, BOB, FAMILLE, Node

FILES = 24


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path / "alice")
    with contextlib.closing(node):
        for number in range(FILES):
            folder = node.share() / f"{number % 4}" / "deep"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.txt").write_bytes(b"%d" % number)
        node.publish(Films=[FAMILLE])
        assert len(view(node)) == FILES
        yield node


def view(node):
    return {entry[0] for entry in node.listed(FAMILLE, ALICE)}


def held(node):
    return node.scanner.report().shares["Films"].held


def lose(node, count):
    """Take *count* files away, some with their folders; return how they come back."""
    away = node.folder / "away"
    shutil.copytree(node.share(), away)
    for number in range(count):
        (node.share() / f"{number % 4}" / "deep" / f"{number}.txt").unlink()
    for folder in node.share().iterdir():
        if not os.listdir(folder / "deep"):
            shutil.rmtree(folder)
    return lambda: shutil.copytree(away, node.share(), dirs_exist_ok=True)


def test_half_of_a_share_may_go_at_once_and_more_is_held_back(node):
    lose(node, FILES // 2)
    node.rescan()
    assert held(node) is None
    assert len(view(node)) == FILES // 2


@pytest.mark.parametrize("count", [FILES // 2 + 1, FILES])
def test_what_is_missing_is_kept_until_a_later_scan_agrees(node, count, monkeypatch):
    monkeypatch.setattr(missing, "FILES", 3)
    monkeypatch.setattr(missing, "FOLDERS", 2)
    before, head = view(node), node.index.own_head(FAMILLE)
    lose(node, count)

    node.rescan()
    node.rescan()  # agrees, but too soon

    assert (held(node).missing, held(node).known) == (count, FILES)
    assert view(node) == before
    assert node.index.own_head(FAMILLE) == head, "friends hear nothing"
    node.clock += holdback.HOLD_S - 1
    node.settle()
    assert view(node) == before
    node.clock += 2
    node.settle()
    assert len(view(node)) == FILES - count
    assert held(node) is None
    assert node.index.counts()[0] == FILES - count


def test_files_that_come_back_were_never_away_and_keep_their_roots(node):
    before, head = node.listed(FAMILLE, ALICE), node.index.own_head(FAMILLE)
    node.hashed.clear()
    away = node.folder / "away"
    node.share().rename(away)
    node.share()
    node.rescan()
    assert held(node).missing == FILES
    node.share().rmdir()
    away.rename(node.share())
    node.rescan()
    assert held(node) is None
    assert node.listed(FAMILLE, ALICE) == before
    assert node.index.own_head(FAMILLE) == head
    assert node.hashed == []
    node.clock += holdback.HOLD_S + 1
    node.rescan()
    assert node.listed(FAMILLE, ALICE) == before


def test_a_folder_deleted_with_a_hint_is_held_back_too(node):
    before = view(node)
    lose(node, FILES)
    for number in range(4):
        node.scanner.on_change(node.share() / str(number))
    node.settle()
    assert held(node).missing == FILES
    assert view(node) == before
    node.scanner.on_change(node.share() / "0")
    node.clock += holdback.HOLD_S + 1
    node.settle()
    assert view(node) == set()


def test_a_restart_begins_the_wait_anew(node, tmp_path):
    before = view(node)
    lose(node, FILES)
    node.rescan()
    node.close()
    again = Node(tmp_path / "alice")
    with contextlib.closing(again):
        again.clock = node.clock + holdback.HOLD_S + 1
        # What was marked before the restart is not dropped by the way of a hint.
        again.index.publish({"Films": frozenset([FAMILLE])})
        again.scanner.set_shares({"Films": again.share()})
        again.scanner.on_change(again.share() / "new.txt")
        again.settle()
        assert view(again) == before
        assert held(again).missing == FILES
        again.clock += holdback.HOLD_S + 1
        again.settle()
        assert view(again) == set()


def test_the_owner_confirms_and_the_next_scan_drops(node):
    lose(node, FILES)
    node.rescan()
    assert node.scanner.confirm("Films").missing == FILES
    node.settle()
    assert view(node) == set()
    assert held(node) is None
    (node.share() / "new").mkdir()
    for number in range(FILES):
        (node.share() / "new" / str(number)).touch()
    node.rescan()
    shutil.rmtree(node.share() / "new")
    node.rescan()
    assert held(node).missing == FILES, "a confirmation is good once"


def test_a_scan_that_could_not_read_all_agrees_to_nothing(node, monkeypatch):
    before = view(node)
    lose(node, FILES - 2)
    node.rescan()
    really_open = os.open

    def refuse(path, flags, *rest, **options):
        if path == b"deep":
            raise PermissionError(13, "Permission denied")
        return really_open(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root
    node.clock += holdback.HOLD_S + 1
    node.settle()
    assert view(node) == before
    monkeypatch.undo()
    node.clock += holdback.HOLD_S + 1
    node.settle()
    assert len(view(node)) == 2


def test_a_renamed_tree_is_not_missing(node, tmp_path):
    (node.share() / "all").mkdir()
    for number in range(4):
        (node.share() / str(number)).rename(node.share() / "all" / str(number))
    (node.share() / "all" / "0" / "deep" / "0.txt").unlink()
    node.hashed.clear()
    node.rescan()
    assert held(node) is None
    assert len(view(node)) == FILES - 1
    assert node.hashed == []


def test_a_handful_of_files_may_go_at_once(node):
    small = node.share("Small")
    for number in range(holdback.FEW_FILES):
        (small / str(number)).touch()
    node.publish(Films=[FAMILLE], Small=[FAMILLE])
    shutil.rmtree(small)
    small.mkdir()
    node.rescan()
    assert node.index.counts("Small") == (0, 0)


def test_a_member_sees_no_change_meanwhile(node, tmp_path):
    bob = Node(tmp_path / "bob", BOB)
    with contextlib.closing(bob):
        node.deltas(FAMILLE, bob)
        before = bob.listed(FAMILLE, ALICE)
        lose(node, FILES)
        node.rescan()
        node.deltas(FAMILLE, bob)
        assert bob.listed(FAMILLE, ALICE) == before
        node.scanner.confirm("Films")
        node.settle()
        node.deltas(FAMILLE, bob)
        assert bob.listed(FAMILLE, ALICE) == set()
