"""Trouble of every kind, met by real agents: a stable code, and nothing lost."""

import contextlib
import os
import subprocess

import pytest

from brokers import Login, Mosquitto, free_port
from nodes import CommandFailed, NodeProcess, befriend, eventually, running, share
from programs import time_of

MIB = 1 << 20


def codes(node):
    return {finding["code"] for finding in node("doctor")["findings"]}


def test_wrong_settings_end_in_every_complaint_at_once(tmp_path):
    node = NodeProcess(
        tmp_path / "n", "alice", "ftp://nonsense", ftp={"port": 70000, "prot": 1}
    )
    ended = node.run("agent")
    assert ended.returncode == 2
    for option in ("ftp.port", "ftp.prot", "mqtt.broker"):
        assert option in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_an_agent_a_command_ends_with_status_three(tmp_path):
    with pytest.raises(CommandFailed) as failed:
        NodeProcess(tmp_path / "n", "alice", "mqtt://127.0.0.1:1")("status")
    assert (failed.value.code, failed.value.status) == ("no_agent", 3)


def test_an_unreachable_broker_and_a_wrong_password_are_named_and_cured(tmp_path):
    login = Login("family", "secret")
    broker = Mosquitto(tmp_path / "broker", login)
    right = f"mqtt://family:secret@127.0.0.1:{broker.port}"
    alice = NodeProcess(tmp_path / "alice", "alice", right)
    bob = NodeProcess(tmp_path / "bob", "bob", right.replace("secret", "wrong"))
    with running(alice, bob):
        assert alice("status")["broker"] == {"connected": False}
        eventually(lambda: "broker.unreachable" in codes(alice), "it is named")
        with broker:
            eventually(lambda: alice("status")["broker"]["connected"], "it is back")
            eventually(lambda: "broker.refused" in codes(bob), "the refusal is named")
            for node in (alice, bob):
                assert "secret" not in node.tail()
                assert "wrong" not in node.tail()


def test_unknown_things_are_named_with_a_stable_code(make_node):
    alice = make_node("alice")
    with running(alice):
        alice("group", "create", "Famille")
        for words in (
            ("get", "aaaaaaaaaaaaaaaa"),
            ("get", "Famille/nobody/Films/a"),
            ("ls", "Nowhere"),
            ("group", "invite", "Nowhere"),
            ("group", "remove", "Famille", "nobody"),
            ("jobs", "pause", "none"),
            ("share", "rm", "none"),
            ("find", "a", "--group", "Nowhere"),
        ):
            with pytest.raises(CommandFailed) as failed:
                alice(*words)
            assert (failed.value.code, failed.value.status) == ("not_found", 1), words
        with pytest.raises(CommandFailed) as failed:
            alice("group", "create", "Famille")
        assert failed.value.code == "exists"
        for path in ("../outside", "/", "not-there", ".fonshare"):
            with pytest.raises(CommandFailed) as failed:
                alice("share", "add", path, "--name", "X", "--group", "Famille")
            assert failed.value.status in (1, 2), path


def test_a_code_is_good_once_and_a_typing_error_is_found(make_node):
    alice, bob, carol = (make_node(name) for name in ("alice", "bob", "carol"))
    with running(alice, bob, carol):
        alice("group", "create", "Famille")
        code = alice("group", "invite", "Famille", "--accept-first")["code"]
        groups = code.split("-")
        wrong = "b" if groups[3][2].lower() != "b" else "c"
        groups[3] = groups[3][:2] + wrong + groups[3][3:]
        with pytest.raises(CommandFailed) as failed:
            bob("group", "join", "-".join(groups))
        assert failed.value.code.startswith("code")
        assert "4" in failed.value.error["message"]
        bob("group", "join", code, "--wait")
        assert set(bob.members("Famille")) == {"alice", "bob"}
        with pytest.raises(CommandFailed) as failed:
            carol("group", "join", code, "--wait")
        assert "Famille" in failed.value.error["thing"]
        assert set(alice.members("Famille")) == {"alice", "bob"}
        assert "code.second_joiner" in codes(alice)
        with pytest.raises(CommandFailed):
            carol("ls", "Famille")


@pytest.mark.full
def test_a_file_that_changed_is_fetched_anew_and_one_that_vanished_waits(make_node):
    alice = make_node("alice", limits={"upload_kib_s": 4096})
    bob = make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(os.urandom(16 * MIB))
        eventually(lambda: bob.find("film"), "bob finds it")
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        eventually(lambda: bob.job(job["id"])["done_bytes"] > 2 * MIB, "it has begun")
        content = os.urandom(8 * MIB)
        (films / "film.mkv").write_bytes(content)  # in place: the very file being read
        bob.wait_for_job(job["id"], "done", within_s=90)
        assert bob.fetched() == {b"Famille/alice/film.mkv": content}

        (films / "gone.mkv").write_bytes(os.urandom(16 * MIB))
        eventually(lambda: bob.find("gone"), "bob finds the other")
        [job] = bob("get", "Famille/alice/Films/gone.mkv")
        eventually(lambda: bob.job(job["id"])["done_bytes"] > MIB, "it has begun")
        bob("jobs", "pause", job["id"])
        (films / "gone.mkv").unlink()
        eventually(lambda: not bob.find("gone"), "bob sees that it is gone")
        bob("jobs", "resume", job["id"])

        def says_so():
            error = bob.job(job["id"])["error"]
            return error and error["code"] == "source.vanished"

        eventually(says_so, "the job says that it vanished")
        [ended] = bob("jobs", "cancel", job["id"])
        assert ended["state"] == "cancelled"
        assert list(bob.fetched()) == [b"Famille/alice/film.mkv"]


@pytest.mark.full
def test_a_message_of_200_megabytes_is_not_read_and_costs_nothing(make_node, broker):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        share(alice, "films", "Films", "Famille")
        topic = max(broker.retained(), key=lambda one: len(broker.retained()[one]))
        client = broker.connect()
        client.publish_stream(topic, 200 * MIB, retain=True)
        client.close()
        eventually(
            lambda: "broker.oversized" in codes(alice) | codes(bob), "it is named", 60
        )
        (alice.disk / "films" / "a.txt").write_bytes(b"after the flood")
        eventually(lambda: bob.find("a.txt"), "the group still works", 90)
        bob("get", "Famille/alice/Films/a.txt", "--wait")
        for node in (alice, bob):
            assert node.process is not None
            assert peak_mib(node.process.pid) < 120


def peak_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(one for one in status if one.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def test_a_missing_disk_deletes_nothing_and_comes_back(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "a.txt").write_bytes(b"x")
        eventually(lambda: bob.find("a.txt"), "bob finds it")
        away = alice.disk.with_name("unplugged")
        alice.disk.rename(away)
        alice.disk.mkdir()  # an empty mount point
        eventually(lambda: not alice("status")["disk"]["present"], "it is noticed")
        assert codes(alice) & {"disk.missing", "disk.wrong"}
        [job] = bob("get", "Famille/alice/Films/a.txt")

        def says_so():
            error = bob.job(job["id"])["error"]
            return error and error["code"].startswith("source.")

        eventually(says_so, "the job says why it waits")
        assert bob.find("a.txt"), "nothing is called deleted"
        assert list(alice.disk.iterdir()) == [], "nothing is written to the mount point"
        alice.disk.rmdir()
        away.rename(alice.disk)
        eventually(lambda: alice("status")["disk"]["present"], "it is back")
        bob.wait_for_job(job["id"], "done", within_s=90)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 MiB to fill."""
    mount = tmp_path / "bob" / "disk"
    mount.mkdir(parents=True)
    ended = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", mount], check=False
    )
    if ended.returncode:
        pytest.skip("mounting a small disk to fill needs root")
    assert os.path.ismount(mount)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def test_a_full_disk_makes_the_job_wait_and_go_on(make_node, small_disk):
    """Full to its last byte, with the agent's own databases on it, as on a router."""
    alice = make_node("alice", limits={"upload_kib_s": 2048})
    bob = make_node("bob", state="disk/.fonshare", run="run")
    content = os.urandom(4 * MIB)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(content)
        eventually(lambda: bob.find("film"), "bob finds it")
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        eventually(lambda: bob.job(job["id"])["done_bytes"] > MIB, "it has begun")
        process, filler = bob.process, small_disk / "filler"
        fill_up(filler)

        def says_so():
            error = bob.job(job["id"])["error"]
            return error and error["code"] == "disk.full"

        eventually(says_so, "the job says that the disk is full")
        # What friends say meanwhile cannot be noted, and is asked for again.
        (films / "later.mkv").write_bytes(b"later")
        with pytest.raises(CommandFailed) as failed:
            bob("group", "create", "Another")
        assert failed.value.code == "disk.full"
        fill_up(filler)
        filler.unlink()
        eventually(lambda: bob.find("later"), "what was said meanwhile is known")
        bob.wait_for_job(job["id"], "done")
        assert bob.fetched() == {b"Famille/alice/film.mkv": content}
        assert bob.process is process
        assert process.poll() is None
        assert "Traceback" not in bob.log.read_text()


def fill_up(file):
    """Write until nothing fits any more, not a byte."""
    with file.open("ab", buffering=0) as filler:
        for piece in (MIB, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(piece))
    assert os.statvfs(file.parent).f_bavail == 0


@pytest.mark.full
def test_the_main_job_in_1970_and_a_jump_of_56_years_in_its_middle(make_node, tmp_path):
    stamp = tmp_path / "time"
    stamp.write_text("@1970-01-01 00:10:00")
    env = time_of(stamp)
    alice = make_node("alice", env=env, limits={"upload_kib_s": 4096})
    bob = make_node("bob", env=env)
    content = os.urandom(16 * MIB)
    with running(alice, bob):
        assert alice.log.read_text().startswith("1970")
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(content)
        eventually(lambda: bob.find("film"), "bob finds it")
        assert "clock_unknown" in codes(bob)
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        eventually(lambda: bob.job(job["id"])["done_bytes"] > 2 * MIB, "it has begun")
        stamp.write_text("@2026-11-22 12:00:00")
        eventually(lambda: "clock_unknown" not in codes(bob), "the time is known")
        bob.wait_for_job(job["id"], "done")
        assert bob.fetched() == {b"Famille/alice/film.mkv": content}
        assert bob.members("Famille") == {"alice": True, "bob": True}


def test_a_port_that_is_taken_ends_the_agent_with_a_reason(make_node):
    alice = make_node("alice")
    taken = make_node("taken", ftp={"port": free_port()})
    with running(alice):
        text = alice.settings.read_text()
        taken.settings.write_text(text.replace("name: alice", "name: taken"))
        ended = taken.run("agent")
    assert ended.returncode == 1
    assert "ftp.port" in ended.stderr + ended.stdout
