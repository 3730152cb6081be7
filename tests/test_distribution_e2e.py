"""One file to several members at once: real agents, real doors, a real broker."""

import os

import pytest

from nodes import befriend, eventually, running, share

MIB, BLOCK = 1 << 20, 128 * 1024


def offer(node, content):
    folder = share(node, "films", "Films", "Famille")
    (folder / "film.mkv").write_bytes(content)


def sees_it(node):
    rows = node("find", "film")
    return len(rows) == 1 and rows[0]["root"] and rows[0]["id"]


def begin(nodes):
    """Let all of them ask for the film at about the same time; return their jobs."""
    entries = [eventually(lambda n=n: sees_it(n), "it is offered") for n in nodes]
    return [
        node("get", entry)[0]["id"] for node, entry in zip(nodes, entries, strict=True)
    ]


def blocks_at(node, content):
    """The numbers of the blocks that lie on the node's disk, right to the last byte."""
    folder = node.disk / ".fonshare" / "partial"
    found = list(folder.glob("*/data"))
    data = found[0].read_bytes() if found else b""
    return {
        at // BLOCK
        for at in range(0, len(content), BLOCK)
        if data[at : at + BLOCK] == content[at : at + BLOCK]
    }


@pytest.mark.full
def test_when_each_block_was_sent_once_the_origin_may_go(make_node):
    content = os.urandom(6 * MIB)
    alice = make_node("alice", limits={"upload_kib_s": 1200})
    others = [
        make_node(name, limits={"upload_kib_s": 200})
        for name in ("bob", "carol", "dora")
    ]
    dora = others[-1]
    with running(alice, *others):
        befriend("Famille", alice, *others)
        offer(alice, content)
        jobs = begin(others)

        def is_out() -> bool:
            return len(set().union(*(blocks_at(n, content) for n in others))) == 48

        eventually(is_out, "each block is at one of them")
        alice.kill()
        states = [n.job(j)["state"] for n, j in zip(others, jobs, strict=True)]
        assert "done" not in states, "they lack what the others have"
        # Nobody who offers it is there: who begins anew asks those who fetch it.
        dora.stop()
        dora.start()
        for node, job in zip(others, jobs, strict=True):
            node.wait_for_job(job, "done")
    for node in others:
        assert list(node.fetched().values()) == [content]
