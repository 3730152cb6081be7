"""Trouble in the middle of a transfer that no other story has; docs/robustness.md."""

import ast
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from fonshare_agent.errors import ContentChanged
from fonshare_agent.granting import Granting
from fonshare_agent.model import SharePath
from nodes import befriend, eventually, offer_film, running, share
from programs import time_of

MIB = 1 << 20
ROOT = Path(__file__).parent.parent


def fetch_part(node, entry):
    """Begin to fetch *entry*; return the job when some of it has come."""
    eventually(lambda: node.find(entry.rpartition("/")[2]), "it is listed")
    [job] = node("get", entry)
    eventually(lambda: node.job(job["id"])["done_bytes"] > 2 * MIB, "it has begun")
    return job["id"]


def why(node, job):
    return (node.job(job)["error"] or {}).get("code")


def test_a_file_that_is_not_what_the_index_says_is_refused_and_looked_at(tmp_path):
    """inotify says nothing of a truncation by name: who is asked for it notices."""
    film = tmp_path / "films" / "a" / "film.mkv"
    film.parent.mkdir(parents=True)
    film.write_bytes(b"0123456789")
    looked_at = []
    shares = [SimpleNamespace(name="Films", path=tmp_path / "films")]
    granting = Granting(
        *[None] * 3,
        SimpleNamespace(
            path=tmp_path, open_root=lambda: os.open(tmp_path, os.O_RDONLY)
        ),
        *[None] * 4,
        SimpleNamespace(shares=shares),
        *[None] * 6,
        looked_at.append,
    )
    open_file = granting.opener(
        SimpleNamespace(
            share="Films",
            path=SharePath.parse("a/film.mkv"),
            stamp=SimpleNamespace(fits=lambda status: status.st_size == 10),
        )
    )
    os.close(open_file())
    assert looked_at == []
    os.truncate(film, 5)
    with pytest.raises(ContentChanged):
        open_file()
    assert looked_at == [os.fsencode(film)]


@pytest.mark.full
def test_a_file_that_is_truncated_or_deleted_while_it_is_read_ends_right(make_node):
    alice = make_node("alice", limits={"upload_kib_s": 4096})
    bob = make_node("bob")
    content = os.urandom(24 * MIB)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "short.mkv").write_bytes(content)
        (films / "gone.mkv").write_bytes(content[::-1])

        job = fetch_part(bob, "Famille/alice/Films/short.mkv")
        os.truncate(films / "short.mkv", 5 * MIB)
        bob.wait_for_job(job, "done", within_s=90)
        assert bob.fetched() == {b"Famille/alice/short.mkv": content[: 5 * MIB]}

        job = fetch_part(bob, "Famille/alice/Films/gone.mkv")
        (films / "gone.mkv").unlink()
        # Who reads an open file reads it to its end; else the job says what happened.
        eventually(
            lambda: (
                bob.job(job)["state"] == "done" or why(bob, job) == "source.vanished"
            ),
            "it ends right or says why",
        )
        (films / "gone.mkv").write_bytes(content[::-1])
        bob.wait_for_job(job, "done", within_s=90)
        assert bob.fetched()[b"Famille/alice/gone.mkv"] == content[::-1]


@pytest.mark.full
def test_a_file_that_gets_another_name_at_its_source_is_read_on_there(make_node):
    alice = make_node("alice", limits={"upload_kib_s": 4096})
    bob = make_node("bob")
    with running(alice, bob):
        content = offer_film(alice, bob, size=8 * MIB)
        films = alice.disk / "films"
        job = fetch_part(bob, "Famille/alice/Films/film.mkv")
        bob("jobs", "pause", job)
        eventually(
            lambda: bob.job(job)["done_bytes"] > 2 * MIB, "what is here is shown"
        )
        (films / "seen").mkdir()
        (films / "film.mkv").rename(films / "seen" / "other.mkv")
        (films / "film.mkv").write_bytes(b"another film")
        eventually(lambda: bob.find("other"), "it is listed under its new name")
        eventually(lambda: bob.find("film")[0]["size"] == 12, "and so is the other")
        bob("jobs", "resume", job)
        bob.wait_for_job(job, "done")
        assert bob.fetched() == {b"Famille/alice/film.mkv": content}


@pytest.mark.full
def test_a_clock_that_falls_back_by_56_years_in_mid_transfer_stops_nothing(
    make_node, tmp_path
):
    stamp = tmp_path / "time"
    stamp.write_text("@2026-11-22 12:00:00")
    env = time_of(stamp)
    alice = make_node("alice", env=env, limits={"upload_kib_s": 4096})
    bob = make_node("bob", env=env)
    content = os.urandom(16 * MIB)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(content)
        job = fetch_part(bob, "Famille/alice/Films/film.mkv")
        stamp.write_text("@1970-01-02 00:00:00")
        bob.wait_for_job(job, "done")
        (films / "later.txt").write_bytes(b"written before the epoch was a day old")
        eventually(lambda: bob.find("later"), "what comes after it is listed")
        bob("get", "Famille/alice/Films/later.txt", "--wait")
        assert bob.fetched()[b"Famille/alice/film.mkv"] == content
        assert bob.members("Famille") == {"alice": True, "bob": True}
        # Nothing of the list goes by the clock; what was taken off can be had again.
        assert {row["id"] for row in bob("jobs", "rm", "all")} > {job}
        assert bob("jobs") == []
        [again] = bob("get", "Famille/alice/Films/later.txt", "--wait")
        assert again["state"] == "done"
        assert len(bob.fetched()) == 2, "the file was there already"
        for node in (alice, bob):
            assert "Traceback" not in node.tail()


def test_every_test_that_the_table_of_troubles_names_is_there():
    text = (ROOT / "docs" / "robustness.md").read_text()
    named = re.findall(r"`(test_\w+)\.(test_\w+)`", text)
    assert len(named) > 40
    there = {module: functions_of(module) for module in {one for one, _ in named}}
    for module, name in named:
        assert name in there[module], f"{module}.{name}"


def functions_of(module):
    tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text())
    return {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
