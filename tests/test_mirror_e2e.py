"""A mirror of another's server as its owner and friends meet it: real agents."""

import json
import os

import pytest

from fxp_small import PASSWORD, small_server
from nodes import befriend, eventually, running

ADDRESS = "127.0.0.71"


def mirror_of(node):
    (row,) = node("share", "ls")
    return row["mirror"]


def add(node, url, *flags, password=PASSWORD):
    words = ("share", "add", url, "--name", "Old", "--json", *flags)
    done = node.run(*words, "--password-file", "-", stdin=password + "\n")
    return json.loads(done.stdout)


def read_again(node):
    """Have the server read once more; return what is told then."""
    before = mirror_of(node)["readings"]
    node("share", "refresh", "Old")
    eventually(
        lambda: (
            mirror_of(node)["readings"] > before
            and mirror_of(node)["state"] == "waiting"
        ),
        "the server is read again",
    )
    return mirror_of(node)


def codes(node):
    return [one["code"] for one in node("doctor")["findings"]]


@pytest.mark.full
def test_a_folder_of_another_server_is_a_share(make_node, tmp_path):
    alice = make_node("alice")
    with small_server(tmp_path / "old", ADDRESS) as old, running(alice):
        film = os.urandom(300_000)
        old.put("films/a b.mkv", film)
        old.put("films/sub/Café", b"x")
        assert add(alice, old.url("films"))["path"].endswith("/mirrors/Old")
        eventually(lambda: mirror_of(alice)["read_at"], "it is read to its end")
        copy = alice.disk / "mirrors" / "Old"
        assert (copy / "a b.mkv").read_bytes() == film
        told = mirror_of(alice)
        assert (told["error"], told["failed"], told["files"]) == (None, 0, 2)
        assert "mirror.read" in codes(alice)


@pytest.mark.full
def test_friends_fetch_what_a_mirror_brought_and_its_troubles_are_told(
    make_node, tmp_path
):
    alice, bob = make_node("alice"), make_node("bob")
    with small_server(tmp_path / "old", ADDRESS) as old, running(alice, bob):
        befriend("Famille", alice, bob)
        film = os.urandom(3_000_000)
        old.put("films/film.mkv", film)
        refused = add(alice, old.url("films"), password="wrong")
        assert refused["error"]["code"] == "fxp.login"
        assert not alice("share", "ls")
        assert not (alice.disk / "mirrors").exists()

        add(alice, old.url("films"), "--group", "Famille")
        eventually(lambda: bob.find("film"), "bob finds it")
        (job,) = bob("get", "Famille/alice/Old/film.mkv", "--wait")
        assert job["state"] == "done"
        assert film in bob.fetched().values()

        secrets = alice.settings.parent / "state" / "keys" / "servers.json"
        assert secrets.stat().st_mode & 0o777 == 0o600
        settings = alice.settings.parent / "state" / "shares.yaml"
        for file in (settings, alice.log):
            assert PASSWORD not in file.read_text()

        # What the owner has put there stays, and is told.
        copy = alice.disk / "mirrors" / "Old"
        (copy / "own").write_bytes(b"mine")
        old.put("films/own", b"theirs")
        told = read_again(alice)
        assert told["failures"][0]["path"] == "own"
        assert "exists" in codes(alice)
        assert (copy / "own").read_bytes() == b"mine"
        assert "could not be copied" in alice.run("share", "ls").stdout

        alice.stop()
        alice.start()
        told = mirror_of(alice)
        assert told["read_at"], "the last reading is still known"

        assert alice("share", "rm", "Old")["kept"] == str(copy)
        assert PASSWORD not in secrets.read_text()
        assert (copy / "film.mkv").read_bytes() == film
        assert not list((alice.settings.parent / "state" / "mirrors").iterdir())


@pytest.mark.full
def test_a_server_that_is_away_is_tried_again_and_another_password_is_taken(
    make_node, tmp_path
):
    alice = make_node("alice")
    with running(alice):
        with small_server(tmp_path / "old", ADDRESS) as old:
            old.put("films/film.mkv", b"1")
            add(alice, old.url("films"))
            eventually(lambda: mirror_of(alice)["read_at"], "it is read")
            wrong = alice.run(
                "share", "password", "Old", "--password-file", "-", stdin="no\n"
            )
            assert wrong.returncode != 0
        told = read_again(alice)
        assert told["error"]["code"] in ("fxp.unreachable", "fxp.lost")
        assert told["read_at"], "when it was read before is told still"
        assert 0 < told["next_s"] <= 120
        assert "tried again by itself" in alice.run("doctor").stdout
