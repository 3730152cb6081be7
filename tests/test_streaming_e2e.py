"""Files that are read while they arrive: real agents, real doors."""

import os
from pathlib import Path

import pytest

import test_many_sources as many_sources
from nodes import befriend, eventually, running, share

MIB = 1 << 20


def sees(node, name):
    """The entry of that name, once its content is hashed."""

    def look():
        rows = [row for row in node.find(name) if row["root"]]
        return rows[0] if rows else None

    return eventually(look, f"{node.name} sees {name}")


def offer(node, content):
    (node.disk / "films").mkdir()
    (node.disk / "films" / "brehat.mkv").write_bytes(content)
    share(node, "films", "Films", "Famille")


@pytest.mark.full
def test_a_job_that_is_to_be_streamed_can_be_read_while_it_arrives(make_node):
    content = os.urandom(6 * MIB)
    alice = make_node("alice", limits={"upload_kib_s": 1500})
    bob = make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        offer(alice, content)
        entry = sees(bob, "brehat")
        [job] = bob("get", entry["id"])
        assert "stream" not in job
        eventually(lambda: bob.job(job["id"])["done_bytes"], "it has begun")
        [again] = bob("get", entry["id"], "--stream")
        assert again["id"] == job["id"]
        path, final = Path(again["stream"]["path"]), Path(job["path"])

        def can_be_read():
            row = bob.job(job["id"])
            assert row["state"] != "done", "it came before it could be read"
            return row if row["stream"]["ready_bytes"] >= MIB else None

        row = eventually(can_be_read, "the beginning is here")
        ready = row["stream"]["ready_bytes"]
        assert ready < len(content)
        assert row["stream"]["path"] == str(path), "a player finds it where it was"
        with path.open("rb") as player:
            assert player.read(ready) == content[:ready]
            assert not final.exists(), "nothing partial under the final name"
            done = bob.wait_for_job(job["id"], "done")
            assert player.read() == content[ready:], "who has it open reads on"
        at_the_end = {"path": str(final), "ready_bytes": len(content), "kept": True}
        assert done["stream"] == at_the_end
        assert final.read_bytes() == content


@pytest.mark.full
def test_several_sources_bring_the_beginning_first_and_one_may_die(make_node):
    content = os.urandom(16 * MIB)
    alice = make_node("alice")
    others = [
        make_node(name, limits={"upload_kib_s": 700})
        for name in ("bob", "carol", "dora")
    ]
    with running(alice, *others):
        befriend("Famille", alice, *others)
        many_sources.offer(content, *others)
        sources = eventually(
            lambda: many_sources.sees_all(alice, 3), "alice sees all three"
        )
        [entry] = [one["id"] for one in sources if one["member"] == "bob"]
        [job] = alice("get", entry, "--stream")

        def is_shared_out():
            row = alice.job(job["id"])
            assert row["state"] != "done", "it came before all were at it"
            return row["sources"] == 3 and row["stream"]["ready_bytes"] > 2 * MIB

        eventually(is_shared_out, "three bring the beginning")
        row = alice.job(job["id"])
        # What has come lies at the beginning, but for what is on its way.
        ahead = row["done_bytes"] - row["stream"]["ready_bytes"]
        assert ahead < len(content) / 2
        with open(row["stream"]["path"], "rb") as player:
            ready = row["stream"]["ready_bytes"]
            assert player.read(ready) == content[:ready]
        others[1].kill()
        alice.wait_for_job(job["id"], "done")
    assert list(alice.fetched().values()) == [content]
