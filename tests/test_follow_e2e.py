"""Two real nodes: what comes new to a followed share arrives by itself, once."""

import pytest

from nodes import CommandFailed, befriend, eventually, running, share

FILE = 4096  # bytes that a file counts at least


@pytest.mark.full
def test_what_is_new_in_a_followed_share_arrives_and_outlives_restarts(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "old.mkv").write_bytes(b"old")
        eventually(
            lambda: [row["root"] for row in bob.find("old")] not in ([], [None]),
            "bob sees the old one",
        )
        [follow] = bob("follow", "Famille/alice/Films", "--budget", "1M")
        assert (follow["budget"], follow["error"]) == (1 << 20, None)
        eventually(
            lambda: bob("follow", "ls")[0]["state"] == "following", "bob has looked"
        )
        (films / "2020").mkdir()
        (films / "2020" / "new.mkv").write_bytes(b"new")
        place = b"Famille/alice/Films/2020/new.mkv"
        eventually(lambda: bob.fetched() == {place: b"new"}, "the new one arrives")
        [job] = bob("jobs")
        assert job["follow"] == follow["id"]

        bob.stop()
        (films / "newer.mkv").write_bytes(b"newer")
        bob.start()
        newer = b"Famille/alice/Films/newer.mkv"
        wanted = {place: b"new", newer: b"newer"}
        eventually(lambda: bob.fetched() == wanted, "what bob missed arrives")
        eventually(
            lambda: bob("follow")[0]["used_bytes"] == 2 * FILE,
            "both are on record",
        )

        # What its owner gets is its owner's.
        [again] = bob("get", "Famille/alice/Films/newer.mkv")
        assert (again["state"], again["follow"]) == ("done", None)
        assert bob("follow", "ls")[0]["used_bytes"] == FILE
        with pytest.raises(CommandFailed) as failed:
            bob("follow", "Famille/alice/Films/newer.mkv")
        assert failed.value.code == "usage"

        bob("unfollow", "Famille/alice/Films")
        assert bob("follow", "ls") == []
        assert bob.fetched() == wanted
        with pytest.raises(CommandFailed) as failed:
            bob("unfollow", follow["id"])
        assert failed.value.code == "not_found"
