"""Searching, browsing and saved searches of two nodes, by the command line alone."""

import shlex
import subprocess

import pytest

from nodes import CommandFailed, befriend, eventually, running, share
from programs import faketime_library


def more_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The words of the command that shows the next page."""
    [line] = [one for one in done.stderr.splitlines() if one.startswith("more: ")]
    return shlex.split(line)[4:]  # without `more: fonshare -c FILE`


def test_two_nodes_search_browse_and_hear_what_is_new(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        befriend("Club", bob, alice)
        bob("search", "save", "bz", "brehat", "--kind", "video")
        films = share(alice, "films", "Films", "Famille")
        club = share(alice, "club", "For the club", "Club")
        own = share(bob, "mine", "Mine", "Famille")
        (films / "Bréhat").mkdir()
        for number in range(7):
            (films / f"Bréhat/{number}.jpg").write_bytes(bytes(number + 1))
        (films / "île de bréhat.mkv").write_bytes(b"film" * 1000)
        (club / "brehat.mkv").write_bytes(b"film" * 1000)
        (own / "copie brehat.mkv").write_bytes(b"film" * 1000)
        eventually(lambda: len(bob.find("brehat")) == 8, "bob finds all, each once")
        eventually(lambda: len(find_film(bob)["sources"]) == 3, "all three hashed")

        film = find_film(bob)
        assert (film["own"], film["name"]) == (True, "copie brehat.mkv")
        assert film["sources"][0]["id"] == film["id"]
        assert {(s["group"], s["member"]) for s in film["sources"]} == {
            *(("Famille", "bob"), ("Famille", "alice"), ("Club", "alice"))
        }
        [only] = bob("find", "brehat", "--group", "Club", "--kind", "video")
        assert [source["group"] for source in only["sources"]] == ["Club"]
        assert only["member"] == "alice"

        check_filters_and_pages(bob)
        check_saved(bob, films)

        alice.stop()
        eventually(lambda: not bob.members("Famille")["alice"], "alice is away")
        [row] = bob("find", "brehat", "--online")
        assert row["own"]
        assert len(bob.find("brehat")) == 9


def find_film(node):
    return next(row for row in node.find("brehat") if row["name"].endswith(".mkv"))


def check_filters_and_pages(bob):
    rows = bob("find", "brehat", "--max-size", "3B", "--sort", "size")
    assert [row["size"] for row in rows] == [3, 2, 1]
    assert bob("find", "brehat", "--kind", "audio") == []
    assert bob("find", "brehat", "--older", "1d") == []
    assert len(bob("find", "brehat", "--newer", "1d")) == 8
    assert bob(
        "find", "brehat", "--sort", "newest", "--limit", "1", "--member", "alice"
    )

    whole = [row["id"] for row in bob("find", "brehat")]
    first = bob.run("find", "brehat", "--limit", "5")
    second = bob.run(*more_of(first))
    for row_id in whole[:5]:
        assert row_id in first.stdout
    for row_id in whole[5:]:
        assert row_id in second.stdout
    assert second.stderr == ""
    rows = bob("find", "brehat", "--limit", "5")
    assert ["cursor" in row for row in rows] == [0, 0, 0, 0, 1]
    assert bob("find", "brehat", "--after", rows[-1]["cursor"])[0]["id"] == whole[5]

    place = "Famille/alice/Films/Bréhat"
    page = bob.run("ls", place, "--limit", "4")
    rest = bob.run(*more_of(page))
    assert [name in page.stdout for name in ("0.jpg", "3.jpg", "4.jpg")] == [1, 1, 0]
    assert [name in rest.stdout for name in ("3.jpg", "4.jpg", "6.jpg")] == [0, 1, 1]
    assert rest.stderr == ""
    for top in ("", "Famille", "Famille/alice", "Famille/alice/Films"):
        rows = bob("ls", top)
        assert not any("cursor" in row for row in rows)
        parts = [*bob("ls", top, "--limit", "1")]
        while cursor := parts[-1].pop("cursor", None):
            parts += bob("ls", top, "--limit", "1", "--after", cursor)
        assert parts == rows
    with pytest.raises(CommandFailed) as refused:
        bob("find", "brehat", "--after", "nonsense")
    assert (refused.value.code, refused.value.status) == ("usage", 2)


def check_saved(bob, films):
    [row] = bob("search", "new", "--keep")
    assert (row["search"], row["name"]) == ("bz", "copie brehat.mkv")
    assert len(row["sources"]) == 3
    assert "copie brehat.mkv" in bob.run("search", "new", "bz").stdout
    assert bob("search", "new") == []
    (films / "brehat 2.MP4").write_bytes(b"more")
    (films / "other.mp4").write_bytes(b"nothing")
    rows = eventually(lambda: bob("search", "new"), "the new film is heard of")
    assert [row["name"] for row in rows] == ["brehat 2.MP4"]
    [saved] = bob("search", "ls")
    assert (saved["name"], saved["words"], saved["kind"]) == ("bz", ["brehat"], "video")
    with pytest.raises(CommandFailed) as refused:
        bob("search", "save", "bz", "x")
    assert refused.value.code == "exists"
    bob("search", "save", "big", "x", "--group", "Club", "--member", "alice")
    assert [one["member"] for one in bob("search", "ls")] == ["alice", None]
    bob("search", "rm", "bz")
    with pytest.raises(CommandFailed) as refused:
        bob("search", "new", "bz")
    assert refused.value.code == "not_found"
    bob("search", "rm", "big")
    assert bob("search", "ls") == []


def test_ages_are_refused_while_the_clock_is_unknown(make_node, tmp_path):
    env = {
        "LD_PRELOAD": faketime_library(),
        "FAKETIME": "@1970-01-01 00:10:00",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    alice = make_node("alice", env=env)
    with running(alice):
        assert alice.find("brehat") == []
        alice("search", "save", "plain", "brehat")
        for words in (("find",), ("search", "save", "aged")):
            for flag in ("--newer", "--older"):
                with pytest.raises(CommandFailed) as refused:
                    alice(*words, "brehat", flag, "7d")
                assert (refused.value.code, refused.value.status) == (
                    "clock_unknown",
                    1,
                )
        assert [one["name"] for one in alice("search", "ls")] == ["plain"]
