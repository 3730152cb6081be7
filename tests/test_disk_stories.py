"""A real disk is pulled, exchanged and sealed under real agents: nobody is misled."""

import os
import threading

import pytest
import yaml

from disks import MIB, make_disks
from fonshare_agent.disk import Disk
from nodes import befriend, eventually, running, share


@pytest.fixture
def disks(tmp_path):
    yield from make_disks(tmp_path)


def codes(node):
    return {finding["code"] for finding in node("doctor")["findings"]}


def problem(node):
    return (node("status")["disk"]["problem"] or {}).get("code")


def why(node, job):
    return (node.job(job["id"])["error"] or {}).get("code")


def fill(folder, count=30):
    for number in range(count):
        inside = folder / f"d{number % 3}"
        inside.mkdir(exist_ok=True)
        (inside / f"film{number}.mkv").write_bytes(b"%d" % number * 1000)


class Lookout:
    """Looks all the time at what a friend sees; it must never be less."""

    def __init__(self, node, count):
        self._node, self._count = node, count
        self._end, self.seen = threading.Event(), []
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._end.wait(0.2):
            ended = self._node.run("find", "film", "--limit", "1000", "--json")
            self.seen.append(ended.stdout.count('"kind"'))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._end.set()
        self._thread.join()
        assert self.seen
        if exc[0] is None:
            assert min(self.seen) >= self._count, self.seen


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("lies_on_disk", [False, True], ids=["state-off", "state-on"])
def test_a_pulled_disk_and_a_strangers_change_nothing_and_the_right_one_goes_on(
    make_node, disks, lies_on_disk, tmp_path
):
    alice, bob = make_node("alice"), make_node("bob")
    if lies_on_disk:  # as on the router
        settings = yaml.safe_load(alice.settings.read_text())
        settings |= {"state": "./disk/.fonshare", "keys": "./keys", "run": "./run"}
        alice.settings.write_text(yaml.safe_dump(settings))
        (tmp_path / "alice" / "run").mkdir()
    loop, other = disks("alice"), disks("other", size=8 * MIB)
    other.mount(alice.disk)
    Disk(alice.disk, tmp_path / "other-id", os.urandom).open()
    (alice.disk / "films").mkdir()
    other.pull(alice.disk)
    loop.mount(alice.disk)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        fill(films)
        eventually(lambda: len(bob.find("film")) == 30, "bob sees all")
        with Lookout(bob, 30):
            loop.pull(alice.disk)
            eventually(lambda: problem(alice) == "disk.missing", "it is noticed")
            assert "disk.missing" in codes(alice)
            assert os.listdir(alice.disk) == []
            other.mount(alice.disk)
            eventually(lambda: problem(alice) == "disk.wrong", "it is a stranger's")
            before = sorted(alice.disk.rglob("*"))
            [job] = bob("get", "Famille/alice/Films/d0/film0.mkv")
            # With its state there the node ends, which it may do a moment later.
            reasons = {"source.disk"} | ({"source.offline"} if lies_on_disk else set())
            eventually(lambda: why(bob, job) in reasons, "the job says why it waits")
            assert sorted(alice.disk.rglob("*")) == before
            other.pull(alice.disk)
            assert os.listdir(alice.disk) == []
            loop.mount(alice.disk)
            eventually(lambda: alice("status")["disk"]["writable"], "it is back")
            eventually(lambda: len(alice.find("film")) == 30, "the node is")
            bob.wait_for_job(job["id"], "done", within_s=90)
        (films / "d1" / "film new.mkv").write_bytes(b"new")
        eventually(lambda: len(bob.find("film")) == 31, "watched again")
        for log in (alice.tail(), bob.tail()):
            assert "Traceback" not in log


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("side", ["alice", "bob"])
def test_a_disk_pulled_during_a_transfer_loses_nothing(make_node, disks, side):
    alice = make_node("alice", limits={"upload_kib_s": 4096})
    bob = make_node("bob")
    loops = {}
    for node in (alice, bob):
        loops[node.name] = disks(node.name)
        loops[node.name].mount(node.disk)
    victim = {"alice": alice, "bob": bob}[side]
    content = os.urandom(24 * MIB)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(content)
        eventually(lambda: bob.find("film"), "bob finds it")
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        eventually(lambda: bob.job(job["id"])["done_bytes"] > 4 * MIB, "it has begun")
        loops[side].pull(victim.disk)
        eventually(lambda: problem(victim) == "disk.missing", "it is noticed")
        expected = {"alice": "source.disk", "bob": "disk.missing"}[side]
        eventually(lambda: why(bob, job) == expected, "the job waits")
        assert os.listdir(victim.disk) == []
        assert bob.find("film")
        loops[side].mount(victim.disk)
        eventually(lambda: victim("status")["disk"]["writable"], "it is back")
        bob.wait_for_job(job["id"], "done", within_s=90)
        assert bob.fetched() == {b"Famille/alice/film.mkv": content}


@pytest.mark.full
def test_a_sealed_disk_is_named_read_and_used_again_when_mended(make_node, disks):
    alice, bob = make_node("alice"), make_node("bob")
    loop = disks("alice")
    loop.mount(alice.disk)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        fill(films)
        eventually(lambda: len(bob.find("film")) == 30, "bob sees all")
        bobs = share(bob, "films", "Films", "Famille")
        (bobs / "wanted.mkv").write_bytes(b"wanted")
        eventually(lambda: alice.find("wanted"), "alice sees bob's")

        loop.remount(alice.disk, "abort")

        eventually(lambda: problem(alice) == "disk.readonly", "it is named")
        disk = alice("status")["disk"]
        assert (disk["present"], disk["writable"]) == (True, False)
        assert "disk.readonly" in codes(alice)
        [job] = alice("get", "Famille/bob/Films/wanted.mkv")
        eventually(lambda: why(alice, job) == "disk.readonly", "the job waits")
        bob("get", "Famille/alice/Films/d0/film0.mkv", "--wait")
        assert len(bob.find("film", "mkv")) == 31, "her 30 and his own"
        loop.pull(alice.disk)
        loop.mount(alice.disk)
        eventually(lambda: alice("status")["disk"]["writable"], "it is mended")
        alice.wait_for_job(job["id"], "done")
