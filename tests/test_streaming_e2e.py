"""Files that are read while they arrive: real agents, real doors."""

import os
from pathlib import Path

import pytest

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
def test_a_streamed_file_can_be_read_while_it_arrives(make_node):
    content = os.urandom(5 * MIB)
    alice = make_node("alice", limits={"upload_kib_s": 1500})
    bob = make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        offer(alice, content)
        entry = sees(bob, "brehat")
        [job] = bob("get", entry["id"], "--stream")
        path, final = Path(job["stream"]["path"]), Path(job["path"])

        def has_begun():
            row = bob.job(job["id"])
            return row if row["stream"]["ready_bytes"] >= MIB else None

        row = eventually(has_begun, "the beginning is here")
        ready = row["stream"]["ready_bytes"]
        assert row["state"] == "running"
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
def test_a_job_under_way_turns_to_its_beginning_when_it_is_to_be_streamed(make_node):
    content = os.urandom(5 * MIB)
    alice = make_node("alice", limits={"upload_kib_s": 1500})
    bob = make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        offer(alice, content)
        entry = sees(bob, "brehat")
        [job] = bob("get", entry["id"])
        assert "stream" not in job
        eventually(lambda: bob.job(job["id"])["done_bytes"] > MIB, "it runs")
        [again] = bob("get", entry["id"], "--stream")
        assert again["id"] == job["id"]

        def is_read():
            row = bob.job(job["id"])
            assert row["state"] != "done", "it came before it was streamed"
            return row["stream"]["ready_bytes"] > MIB

        eventually(is_read, "its beginning can be read")
        bob.wait_for_job(job["id"], "done")
    assert list(bob.fetched().values()) == [content]
