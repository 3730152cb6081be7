"""The main job, through real agents, a real broker and the command line alone."""

import hashlib
import os
import time

import pytest

from brokers import Mosquitto
from nodes import CommandFailed, befriend, eventually, running, share

MIB = 1 << 20


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker", persistence=True) as mosquitto:
        yield mosquitto


def test_three_nodes_one_group_one_file(make_node, broker):
    # Names of five letters and more: "bob" comes up in a megabyte of sealed bytes.
    alice, bob, carol = (make_node(name) for name in ("alice", "robert", "carol"))
    content = os.urandom(40 * MIB)
    with running(alice, bob, carol), broker.observe() as observed:
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "Île de Bréhat.mkv").write_bytes(content)

        def whole():
            return [row for row in bob.find("brehat") if row["size"] == len(content)]

        entry = eventually(whole, "he finds the file")[0]
        [shared] = alice("share", "ls")
        assert (shared["files"], shared["bytes"]) == (1, len(content))
        index = alice("status")["index"]
        assert (index["files"], index["bytes"]) == (1, len(content))
        assert entry["name"] == "Île de Bréhat.mkv"
        assert (entry["member"], entry["size"]) == ("alice", len(content))

        [job] = bob("get", entry["id"], "--wait")
        assert (job["state"], job["done_bytes"]) == ("done", len(content))
        assert bob.fetched() == {"Famille/alice/Île de Bréhat.mkv".encode(): content}

        # Carol is in no group: she can neither find nor fetch, not even by the id.
        assert carol.find("brehat") == []
        for name in (entry["id"], "Famille/alice/Films/Île de Bréhat.mkv"):
            with pytest.raises(CommandFailed) as refused:
                carol("get", name)
            assert (refused.value.code, refused.value.status) == ("not_found", 1)

        # The broker saw it all, and nothing in clear.
        assert len(observed.seen) > 20
        carried = b"".join(one.topic.encode() + one.payload for one in observed.seen)
    broker.stop()
    logs = b"".join(node.log.read_bytes() for node in (alice, bob, carol))
    for word in ("Famille", "Films", "hat.mkv", "alice", "robert", "127.0.0.1"):
        assert word.encode() not in carried
        assert word.encode() not in broker.store
        assert word.encode() not in logs


def test_the_same_entry_again_is_the_same_job_and_a_taken_name_gets_a_number(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "a.txt").write_bytes(b"of alice")
        taken = bob.disk / "downloads/Famille/alice/a.txt"
        taken.parent.mkdir(parents=True)
        taken.write_bytes(b"of bob")
        eventually(lambda: bob.find("a.txt"), "bob finds it")
        [job] = bob("get", "Famille/alice/Films/a.txt", "--wait")
        assert job["path"].endswith("/a (2).txt")
        assert taken.read_bytes() == b"of bob"
        assert (taken.parent / "a (2).txt").read_bytes() == b"of alice"
        [again] = bob("get", "Famille/alice/Films/a.txt")
        assert again["id"] == job["id"]


AWKWARD = [
    "accent é è ü ß.txt".encode(),
    b"#%\"'&;$(ls).txt",
    b" leading and trailing ",
    b"new\nline.txt",
    b"not-utf8-\xff\xe9.bin",
    b"n" * 251 + b".txt",
    b"empty",
    b"-rf",
    b"*?[a]{b}",
    "emoji \N{CAT FACE}.txt".encode(),
]


def test_awkward_names_travel_as_a_folder_byte_for_byte(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        folder = share(alice, "odd", "Odd", "Famille") / "deep" / "down"
        folder.mkdir(parents=True)
        for number, name in enumerate(AWKWARD):
            content = b"" if name == b"empty" else b"%d" % number * 100_000
            (folder / os.fsdecode(name)).write_bytes(content)

        def sees_all():
            rows = bob.find("deep")  # the name of a folder on their way
            return len(rows) == len(AWKWARD) and all(row["root"] for row in rows)

        eventually(sees_all, "bob sees them all")
        assert len(bob("ls", "Famille/alice/Odd/deep/down")) == len(AWKWARD)
        [job] = bob("get", "Famille/alice/Odd/deep", "--wait")
        assert job["state"] == "done"
        got = bob.fetched()
        assert {os.path.basename(path) for path in got} == set(AWKWARD)
        for path, content in got.items():
            assert path.startswith(b"Famille/alice/deep/down/")
            assert (
                content == (folder / os.fsdecode(os.path.basename(path))).read_bytes()
            )


@pytest.mark.full
def test_a_sparse_file_of_five_gib_arrives(make_node):
    size = 5 << 30
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        path = share(alice, "big", "Big", "Famille") / "sparse.img"
        with path.open("wb") as file:
            file.truncate(size)
            file.seek(size - 5)
            file.write(b"tail!")
        eventually(lambda: bob.find("sparse"), "bob finds it")
        [job] = bob("get", "Famille/alice/Big/sparse.img")
        bob.wait_for_job(job["id"], "done", within_s=400)
        with open(job["path"], "rb") as file:
            file.seek(size - 5)
            assert file.read() == b"tail!"
        assert digest_of(job["path"]) == digest_of(path)


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.full
def test_the_destination_killed_three_times_finishes_the_job(make_node):
    alice = make_node("alice")
    bob = make_node("bob", limits={"download_kib_s": 6 * 1024})
    content = os.urandom(40 * MIB)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(content)
        eventually(lambda: bob.find("film"), "bob finds it")
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        reached = 0
        for _ in range(3):
            eventually(
                lambda least=reached: (
                    bob.job(job["id"])["done_bytes"] > least + 3 * MIB
                ),
                "some of it has come",
            )
            reached = bob.job(job["id"])["done_bytes"]
            assert reached < len(content)
            bob.kill()
            assert bob.fetched() == {}, "a partial file under its final name"
            bob.start()
        bob.wait_for_job(job["id"], "done")
        assert bob.fetched() == {b"Famille/alice/film.mkv": content}


@pytest.mark.full
def test_the_source_killed_and_the_broker_gone_cost_only_time(make_node, broker):
    alice = make_node("alice", limits={"upload_kib_s": 8 * 1024})
    bob = make_node("bob")
    content = os.urandom(24 * MIB)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(content)
        eventually(lambda: bob.find("film"), "bob finds it")
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        eventually(lambda: bob.job(job["id"])["done_bytes"] > 2 * MIB, "it has begun")
        alice.kill()
        eventually(lambda: not bob.members("Famille")["alice"], "bob sees alice gone")
        assert bob.find("film"), "what was offered stays visible"
        broker.stop()
        eventually(lambda: not bob("status")["broker"]["connected"], "no broker")
        broker.start()
        alice.start()
        bob.wait_for_job(job["id"], "done", within_s=90)
        assert bob.fetched() == {b"Famille/alice/film.mkv": content}


def test_a_removed_member_loses_sight_and_a_file_is_shared_on_to_another_group(
    make_node,
):
    alice, bob, carol = (make_node(name) for name in ("alice", "bob", "carol"))
    with running(alice, bob, carol):
        befriend("Famille", alice, bob)
        befriend("Amis", bob, carol)
        films = share(alice, "films", "Films", "Famille")
        (films / "a.txt").write_bytes(b"passed on")
        eventually(lambda: bob.find("a.txt"), "bob finds it")
        bob("get", "Famille/alice/Films/a.txt", "--wait")
        bob(
            "share",
            "add",
            "downloads/Famille/alice",
            "--name",
            "Recu",
            "--group",
            "Amis",
        )
        [found] = eventually(lambda: carol.find("a.txt"), "carol finds it")
        assert (found["group"], found["member"]) == ("Amis", "bob")
        carol("get", found["id"], "--wait")
        assert carol.fetched() == {b"Amis/bob/a.txt": b"passed on"}

        alice("group", "remove", "Famille", "bob")
        eventually(lambda: bob("group", "ls")[0]["name"] == "Amis", "bob is out")
        assert bob.find("a.txt", "--group", "Amis")
        assert [row["group"] for row in bob.find("a.txt")] == ["Amis"]
        assert list(alice.members("Famille")) == ["alice"]


def test_everything_is_browsable_while_friends_are_offline_and_after_a_restart(
    make_node,
):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        began = int(time.time())
        (films / "2019").mkdir()
        (films / "2019" / "Bre\N{COMBINING ACUTE ACCENT}hat.txt").write_bytes(b"x")
        before = eventually(lambda: bob.find("bréhat"), "bob finds it")
        assert bob.find("brehat") == before
        assert bob.find("2019 BREHAT") == before
        alice.stop()
        bob.stop()
        bob.start()
        [entry] = bob.find("brehat")
        assert (entry["id"], entry["online"]) == (before[0]["id"], False)
        [group] = bob("group", "ls")
        seen = {one["name"]: one["last_seen"] for one in group["members"]}
        assert seen["bob"] is None
        roles = {one["name"]: one["role"] for one in group["members"]}
        assert roles == {"alice": "creator", "bob": "member"}
        assert began <= seen["alice"] <= time.time()
        assert bob("status")["groups"][0]["members"] == group["members"]
        assert [row["kind"] for row in bob("ls")] == ["group"]
        assert {row["name"] for row in bob("ls", "Famille")} == {"alice", "bob"}
        assert [row["name"] for row in bob("ls", "Famille/alice")] == ["Films"]
        assert [row["kind"] for row in bob("ls", "Famille/alice/Films")] == ["folder"]
