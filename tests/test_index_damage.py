"""An index.db of no use: made anew and filled again while the rest goes on."""

import contextlib
import ftplib
import io
import os
import sqlite3

import pytest

from nodes import befriend, eventually, running, share

COUNT = 60


def spoil(path, how):
    size = path.stat().st_size
    with path.open("r+b") as file:
        if how == "half":
            file.truncate(size // 2)
        elif how == "empty":
            file.truncate(0)
        elif how == "noise":
            file.write(os.urandom(size))
        elif how == "noisy header":  # still SQLite's, but of no known program
            file.seek(28)
            file.write(os.urandom(72))
    if how == "newer":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")


def has_index_finding(node):
    return "index.rebuilt" in {one["code"] for one in node("doctor")["findings"]}


def read_by_ftp(node, path):
    port = int(
        next(
            line.split(":")[1]
            for line in node.settings.read_text().splitlines()
            if line.strip().startswith("port:")
        )
    )
    with ftplib.FTP() as ftp:
        ftp.connect("127.0.0.1", port, 10)
        ftp.login("owner", "secret")
        content = io.BytesIO()
        ftp.retrbinary(f"RETR {path}", content.write)
        return content.getvalue()


def fill(folder, count=COUNT, more=""):
    for number in range(count):
        inside = folder / f"d{number % 7}"
        inside.mkdir(exist_ok=True)
        (inside / f"film{number}{more}.mkv").write_bytes(b"%d" % number)


@pytest.mark.full
@pytest.mark.parametrize("how", ["half", "empty", "noise", "noisy header", "newer"])
def test_an_index_unusable_after_a_stop_is_filled_again_and_said(make_node, how):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        fill(share(alice, "films", "Films", "Famille"))
        share(bob, "films", "Films", "Famille").joinpath("bobs film").write_bytes(b"x")
        eventually(lambda: len(bob.find("film")) == COUNT + 1, "bob sees all")
        eventually(lambda: alice.find("bobs film"), "alice sees bob's")
        state = alice.folder / "state"
        before = (state / "state.db").stat().st_ino
        assert alice.stop() == 0
        spoil(state / "index.db", how)

        alice.start()

        assert read_by_ftp(alice, "films/d0/film0.mkv") == b"0"
        assert has_index_finding(alice)
        assert alice("status")["index"]["rebuilt"]
        assert "the index is made anew" in alice.log.read_text()
        eventually(lambda: len(alice.find("film")) == COUNT + 1, "all is found again")
        eventually(lambda: len(bob.find("film")) == COUNT + 1, "and bob sees it")
        assert (state / "state.db").stat().st_ino == before, "state.db is left alone"
        bob("get", "Famille/alice/Films/d1/film1.mkv", "--wait")
        assert "Traceback" not in alice.log.read_text()


@pytest.mark.full
@pytest.mark.timeout(300)
def test_an_index_damaged_while_it_runs_is_filled_again_beside_ftp(make_node):
    """Its pages are overwritten on the disk under the running agent."""
    count = 3000  # more than the database keeps in memory
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        fill(share(alice, "films", "Films", "Famille"), count, "-" * 200)
        share(bob, "films", "Films", "Famille").joinpath("bobs film").write_bytes(b"x")
        every = ("film", "--limit", "5000")
        eventually(lambda: len(bob.find(*every)) == count + 1, "bob sees all", 90)
        eventually(lambda: alice.find("bobs film"), "alice sees bob's")
        assert alice.stop() == 0  # what was in the log is in the file then
        alice.start()
        index = alice.folder / "state" / "index.db"
        assert index.stat().st_size > 2 << 20
        with index.open("r+b") as file:
            file.seek(64 << 10)
            file.write(bytes(index.stat().st_size - (64 << 10)))

        def has_noticed():
            ended = alice.run("find", "film", "--limit", "5000", "--json")
            assert "Traceback" not in ended.stderr
            return alice("status")["index"]["rebuilt"]

        eventually(has_noticed, "a look at the files meets the damage")
        assert has_index_finding(alice)
        assert read_by_ftp(alice, f"films/d0/film0{'-' * 200}.mkv") == b"0"
        eventually(lambda: len(alice.find(*every)) == count + 1, "found again", 90)
        eventually(lambda: len(bob.find(*every)) == count + 1, "and by bob", 90)
        bob("get", f"Famille/alice/Films/d1/film1{'-' * 200}.mkv", "--wait")
        assert "Traceback" not in alice.log.read_text()
