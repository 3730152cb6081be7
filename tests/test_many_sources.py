"""One file from several members, under several names: real agents, real doors."""

import os

import pytest

from nodes import befriend, eventually, running, share

MIB = 1 << 20


def offer(content, *nodes):
    """Let each of *nodes* offer the content, each under a name of its own."""
    for node in nodes:
        folder = share(node, "films", "Films", "Famille")
        (folder / f"film of {node.name}.mkv").write_bytes(content)


def sees_all(node, count):
    """The sources of the one content, once all of it is hashed."""
    rows = node("find", "film of")
    is_one = len(rows) == 1 and rows[0]["root"]
    sources = rows[0]["sources"] if is_one else []
    return sources if len(sources) == count else None


def begin(node, member, sources):
    [entry] = [one["id"] for one in sources if one["member"] == member]
    [job] = node("get", entry)
    return job["id"]


def damage(node, content):
    """Do what a failing disk does: other bytes, and nobody is told."""
    node.stop()
    film = node.disk / "films" / f"film of {node.name}.mkv"
    stamp = film.stat()
    with film.open("r+b") as file:
        file.write(content)
    os.utime(film, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    node.start()


def with_limit(kib_s):
    return {"limits": {"upload_kib_s": kib_s}}


def is_shared_out(node, job, count):
    row = node.job(job)
    assert row["state"] != "done", "it came before all were at it"
    return row["sources"] == count and row["done_bytes"] > MIB


@pytest.mark.full
def test_a_source_that_is_killed_in_mid_transfer_delays_nothing(make_node):
    content = os.urandom(16 * MIB)
    alice = make_node("alice")
    others = [make_node(name, **with_limit(700)) for name in ("bob", "carol", "dora")]
    bob = others[0]
    with running(alice, *others):
        befriend("Famille", alice, *others)
        offer(content, *others)
        sources = eventually(lambda: sees_all(alice, 3), "alice sees all three")
        job = begin(alice, "bob", sources)
        eventually(lambda: is_shared_out(alice, job, 3), "three serve it")
        bob.kill()
        alice.wait_for_job(job, "done")
    assert list(alice.fetched().values()) == [content]


@pytest.mark.full
def test_a_source_of_damaged_bytes_is_found_out_and_the_others_do(make_node):
    content = os.urandom(12 * MIB)
    alice = make_node("alice")
    others = [make_node(name, **with_limit(900)) for name in ("bob", "carol")]
    bob = others[0]
    with running(alice, *others):
        befriend("Famille", alice, *others)
        offer(content, *others)
        sources = eventually(lambda: sees_all(alice, 2), "alice sees both")
        damage(bob, os.urandom(len(content)))
        job = begin(alice, "bob", sources)
        alice.wait_for_job(job, "done")
        log = alice.log.read_text()
        assert f"job {job}: a source sent damaged data" in log
        assert "bob" not in log
    assert list(alice.fetched().values()) == [content]


@pytest.mark.full
def test_a_slow_source_does_not_delay_the_end(make_node):
    content = os.urandom(24 * MIB)
    alice = make_node("alice")
    slow, fast = make_node("slow", **with_limit(40)), make_node("fast")
    with running(alice, slow, fast):
        befriend("Famille", alice, slow, fast)
        offer(content, slow, fast)
        sources = eventually(lambda: sees_all(alice, 2), "alice sees both")
        # Half of it from the slow one alone would take five minutes.
        alice.wait_for_job(begin(alice, "slow", sources), "done")
    assert list(alice.fetched().values()) == [content]


@pytest.mark.full
def test_the_damaged_source_alone_is_named_to_the_owner_of_the_job(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        offer(os.urandom(MIB), bob)
        sources = eventually(lambda: sees_all(alice, 1), "alice sees it")
        damage(bob, b"damage")
        job = begin(alice, "bob", sources)
        error = eventually(lambda: alice.job(job)["error"], "it waits")
        assert error["code"] == "source.corrupt"
        assert error["message"] == "bob sent damaged data"
