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
        with pytest.raises(CommandFailed) as failed:
            bob("follow", "Famille/alice/Films", "--budget", "20")  # its unit forgotten
        assert failed.value.code == "usage"
        assert bob("follow", "ls")[0]["budget"] == follow["budget"]

        bob("unfollow", "Famille/alice/Films")
        assert bob("follow", "ls") == []
        assert bob.fetched() == wanted
        with pytest.raises(CommandFailed) as failed:
            bob("unfollow", follow["id"])
        assert failed.value.code == "not_found"


@pytest.mark.full
def test_what_is_kept_is_there_for_the_group_when_its_owner_is_away(make_node):
    alice, bob, carol = make_node("alice"), make_node("bob"), make_node("carol")
    with running(alice, bob, carol):
        befriend("Famille", alice, bob, carol)
        films = share(alice, "films", "Films", "Famille")
        (films / "2020").mkdir()
        (films / "2020" / "old.mkv").write_bytes(b"old")
        eventually(
            lambda: [row["root"] for row in bob.find("old")] not in ([], [None]),
            "bob sees the old one",
        )
        place = bob.disk / "kept" / "Famille" / "Films (alice)"
        place.mkdir(parents=True)
        (place / "diary.txt").write_bytes(b"nobody's business")
        for words, code in (
            ((), "folder.in_use"),
            (("--name", "../films"), "usage"),
            (("--name", "a/b"), "usage"),
        ):
            with pytest.raises(CommandFailed) as failed:
                bob("keep", "Famille/alice/Films", *words)
            assert failed.value.code == code
        assert bob("share", "ls") == bob("follow", "ls") == []

        [kept] = bob("keep", "Famille/alice/Films", "--name", "Copies")
        assert (kept["kept"], kept["all"]) == ("Copies", True)
        bob("follow", "Famille/alice/Films/2020")
        with pytest.raises(CommandFailed) as failed:
            bob("keep", "Famille/alice/Films/2020")
        assert failed.value.code == "followed"
        bob("unfollow", "Famille/alice/Films/2020")
        [again] = bob("keep", "Famille/alice/Films", "--budget", "1M")
        assert (again["id"], again["budget"]) == (kept["id"], 1 << 20)
        copies = bob.disk / "kept" / "Famille" / "Copies"
        (films / "new.mkv").write_bytes(b"new")
        for file, content in (("2020/old.mkv", b"old"), ("new.mkv", b"new")):
            eventually(
                lambda: (copies / file).exists(),  # noqa: B023
                f"{file} is kept",
            )
            assert (copies / file).read_bytes() == content
        eventually(
            lambda: (
                [
                    sorted(one["member"] for one in row["sources"])
                    for row in carol.find("mkv")
                ]
                == [["alice", "bob"]] * 2
            ),
            "carol sees two sources of each",
        )
        (films / "new.mkv").unlink()
        eventually(
            lambda: {row["member"] for row in carol.find("new")} == {"bob"},
            "alice has withdrawn the new one",
        )
        assert (copies / "new.mkv").read_bytes() == b"new"
        alice.stop()
        for name in ("old", "new"):
            [job] = carol("get", carol.find(name)[0]["id"])
            carol.wait_for_job(job["id"], "done")
        assert set(carol.fetched().values()) == {b"old", b"new"}

        bob("unfollow", "Famille/alice/Films")
        assert bob("share", "ls") == bob("follow", "ls") == []
        eventually(
            lambda: {row["member"] for row in carol.find("mkv")} == {"alice"},
            "it is offered no more",
        )
        assert (copies / "new.mkv").read_bytes() == b"new"
        assert (copies / "2020" / "old.mkv").read_bytes() == b"old"
        assert (place / "diary.txt").read_bytes() == b"nobody's business"
