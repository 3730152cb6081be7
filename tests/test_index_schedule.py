"""When shares are scanned: no wish for a scan is lost, whenever it comes."""

from pathlib import Path

from fonshare_agent.index.schedule import AT_ONCE, Schedule
from index_nodes import FAMILLE, Node

FILMS = {"Films": Path("/disk/films")}


def test_a_wish_that_comes_while_a_scan_runs_is_one_for_another_scan():
    schedule = Schedule()
    schedule.set_shares(FILMS, AT_ONCE)
    assert schedule.take_due(5.0, 100.0) == ("Films", FILMS["Films"])
    assert schedule.take_due(6.0, 100.0) is None
    schedule.want("Films")
    schedule.postpone("Films", 50.0)  # most of the share was missing: look again then
    assert schedule.take_due(7.0, 100.0) is not None
    schedule.postpone("Films", 50.0)
    assert schedule.next_due() == 50.0


def test_shares_said_again_keep_what_is_due_and_only_new_ones_are_new():
    schedule = Schedule()
    schedule.set_shares(FILMS, AT_ONCE)
    schedule.take_due(1.0, 100.0)
    schedule.set_shares(FILMS | {"Music": Path("/disk/music")}, 60.0)
    assert schedule.next_due() == 60.0
    assert schedule.take_due(60.0, 200.0) == ("Music", Path("/disk/music"))
    schedule.set_shares({"Films": Path("/disk/elsewhere")}, AT_ONCE)
    assert schedule.take_due(61.0, 200.0) == ("Films", Path("/disk/elsewhere"))
    assert schedule.is_behind()  # until that scan has an outcome


def test_a_share_that_comes_in_the_midst_of_a_step_is_scanned_and_kills_nobody(
    tmp_path, monkeypatch
):
    node = Node(tmp_path / "alice")
    (node.share() / "a.mkv").write_bytes(b"x")

    def another_thread_is_quick(shares):
        if not shares:
            node.index.publish({"Films": frozenset([FAMILLE])})
            node.scanner.set_shares({"Films": node.share()})
            node.scanner._is_tidy = True  # as if that step were done
        return False

    monkeypatch.setattr(
        node.scanner._hashing, "step_requested", another_thread_is_quick
    )
    node.settle()
    node.settle()
    assert node.names("mkv") == ["Films/a.mkv"]
    node.close()
