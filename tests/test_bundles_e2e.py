"""A folder of small files between real agents: few questions, and each file counts."""

import os

import pytest

from nodes import befriend, eventually, running, share

FILES = 120


@pytest.mark.full
def test_a_folder_of_small_files_needs_few_messages(make_node, broker):
    alice, bob = make_node("alice"), make_node("bob")
    contents = {b"f%d.txt" % n: os.urandom(n * 40) for n in range(FILES)}
    with running(alice, bob):
        befriend("Famille", alice, bob)
        folder = share(alice, "many", "Many", "Famille") / "deep"
        folder.mkdir()
        for name, content in contents.items():
            (folder / os.fsdecode(name)).write_bytes(content)

        def is_hashed():
            rows = bob("find", "txt", "--limit", str(2 * FILES))
            return len(rows) == FILES and all(row["root"] for row in rows)

        eventually(is_hashed, "bob sees all of them hashed")
        with broker.observe() as observed:
            eventually(lambda: observed.seen, "the observer sees what is retained")
            before = len(observed.seen)
            [job] = bob("get", "Famille/alice/Many/deep", "--wait")
            asked = len(observed.seen) - before
        assert job["state"] == "done"
        assert asked < FILES / 4
        got = {os.path.basename(path): data for path, data in bob.fetched().items()}
        assert got == contents


@pytest.mark.full
def test_a_file_that_is_gone_at_the_source_costs_itself_alone(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        for number in range(30):
            (films / f"f{number}.txt").write_bytes(b"%d" % number * 3000)
        eventually(lambda: len(bob("find", "txt", "--limit", "99")) == 30, "all seen")
        alice.stop()
        [job] = bob("get", "Famille/alice/Films")
        (films / "f7.txt").unlink()
        (films / "f8.txt").write_bytes(b"quite another content")
        alice.start()

        def have():
            return {os.path.basename(path) for path in bob.fetched()}

        names = {b"f%d.txt" % number for number in range(30) if number != 7}
        eventually(lambda: have() == names, "all but the one that is gone")
        assert bob.job(job["id"])["error"]["code"] == "source.vanished"
        got = {os.path.basename(path): data for path, data in bob.fetched().items()}
        assert got.pop(b"f8.txt") == b"quite another content"
        assert all(got[b"f%d.txt" % n] == b"%d" % n * 3000 for n in (0, 6, 9, 29))
