"""Two real nodes: a rating reaches the group, and is kept."""

import pytest

from nodes import CommandFailed, befriend, eventually, running, share


def rating(node, words="film"):
    return node.find(words)[0]["rating"]


@pytest.mark.full
def test_a_rating_is_seen_by_the_group_and_outlives_restarts(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(b"a film")
        eventually(
            lambda: [row["root"] for row in bob.find("film")] not in ([], [None]),
            "bob sees the film and its root",
        )
        assert bob("rate", "ls") == []
        [row] = bob("rate", "Famille/alice/Films/film.mkv", "4")
        assert row["rating"] == {"average": 4.0, "count": 1, "own": 4}
        eventually(
            lambda: rating(alice) == {"average": 4.0, "count": 1, "own": None},
            "alice hears of it",
        )
        alice.stop()
        bob("rate", row["id"], "2")
        alice.start()
        eventually(lambda: rating(alice)["average"] == 2.0, "what alice has missed")
        alice("rate", "Famille/alice/Films/film.mkv", "5")
        both = {"average": 3.5, "count": 2, "own": 2}
        eventually(lambda: rating(bob) == both, "bob sees both")
        [listed] = bob("ls", "Famille/alice/Films")
        [best] = bob("rate", "ls", "Famille")
        assert listed["rating"] == best["rating"] == both
        assert best["id"] == row["id"]
        assert "3.5 (2), yours 2" in bob.run("ls", "Famille/alice/Films").stdout

        # A renamed file is the same content; a folder is none.
        (films / "film.mkv").rename(films / "renamed.mkv")
        eventually(
            lambda: bob.find("renamed") and rating(bob, "renamed") == both,
            "the renamed film keeps its stars",
        )
        with pytest.raises(CommandFailed) as failed:
            bob("rate", "Famille/alice/Films", "5")
        assert failed.value.code == "usage"
        with pytest.raises(CommandFailed) as failed:
            bob("rate", row["id"], "6")
        assert failed.value.status == 2
        bob("rate", "Famille/alice/Films/renamed.mkv", "0")
        eventually(
            lambda: rating(alice, "renamed")["count"] == 1, "bob has taken it back"
        )
        bob("group", "leave", "Famille")
        eventually(lambda: alice.members("Famille").keys() == {"alice"}, "bob is gone")
        assert rating(alice, "renamed") == {"average": 5.0, "count": 1, "own": 5}
