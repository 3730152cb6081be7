"""Groups as their owners live with them: real agents, two brokers, the command line."""

import os
import re
import shutil

import pytest

from brokers import Mosquitto
from fonshare_agent.protocol.envelope import PAYLOAD_SIZES
from nodes import CommandFailed, befriend, eventually, running, share
from settings_files import take_ports

MIB = 1 << 20


@pytest.fixture
def second_broker(tmp_path):
    with Mosquitto(tmp_path / "second") as mosquitto:
        yield mosquitto


def admit(group, admin, joiner, *flags):
    """Let *joiner* into *group* through *admin*; return what the joiner calls it."""
    code = admin("group", "invite", group)["code"]
    label = joiner("group", "join", code, *flags)["group"]
    asking = eventually(
        lambda: [one["id"] for one in admin("group", "requests")],
        f"{joiner.name} asks to join",
    )
    admin("group", "accept", group, asking[0])
    eventually(lambda: joiner.members(label), f"{joiner.name} is a member")
    return label


def failure(node, *words):
    with pytest.raises(CommandFailed) as failed:
        node(*words)
    assert failed.value.status == 1, failed.value
    return failed.value


def is_envelope(payload):
    return len(payload) in PAYLOAD_SIZES


def sees(node, group, *names):
    """Wait until *node* knows just these members of *group*, all of them online."""
    wanted = dict.fromkeys(names, True)
    eventually(lambda: node.members(group) == wanted, f"{node.name} sees {names}")


@pytest.mark.full
def test_a_group_goes_on_over_its_second_broker_when_the_first_stops(
    make_node, broker, second_broker
):
    alice = make_node("alice")
    bob, carol = (make_node(one, url=second_broker.url) for one in ("bob", "carol"))
    with running(alice, bob, carol):
        befriend("Famille", alice, bob)  # on the first broker, alice's
        befriend("Amis", bob, carol)  # on the second, bob's
        films = share(alice, "films", "Films", "Famille")
        told = alice("group", "broker", "Famille", "add", second_broker.url)
        assert told["brokers"] == [broker.url, second_broker.url]
        (films / "before.txt").write_bytes(b"over both")
        eventually(lambda: bob.find("before.txt"), "bob finds the file once")
        assert len(bob.find("before.txt")) == 1

        broker.stop()
        (films / "after.txt").write_bytes(b"over the second")
        eventually(lambda: bob.find("after.txt"), "the catalogue goes on")
        sees(bob, "Famille", "alice", "bob")
        bob("get", "Famille/alice/Films/after.txt", "--wait")
        assert bob.fetched() == {b"Famille/alice/after.txt": b"over the second"}
        admit("Famille", alice, carol)
        eventually(lambda: carol.find("after.txt"), "the newcomer finds it")

        told = alice("group", "broker", "Famille", "remove", broker.url)
        assert told["brokers"] == [second_broker.url]
        assert failure(alice, "group", "broker", "Famille", "remove", broker.url)
        # Bob's own broker is the second: he has no business with the first any more.
        eventually(lambda: codes(bob) == set(), "the first broker is forgotten")
        assert failure(carol, "group", "broker", "Famille", "add", broker.url)


def codes(node):
    findings = node("doctor")["findings"]
    return {one["code"] for one in findings if one["code"].startswith("broker.")}


@pytest.mark.full
def test_two_groups_with_the_same_friend_never_mix(make_node):
    alice = make_node("alice", limits={"upload_kib_s": 2048})
    bob = make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        befriend("Amis", alice, bob)
        for folder, groups in (
            ("private", ["Famille"]),
            ("public", ["Amis"]),
            ("both", ["Famille", "Amis"]),
        ):
            place = share(alice, folder, folder.title(), *groups)
            (place / f"{folder}.txt").write_bytes(folder.encode())
        eventually(lambda: len(bob.find("txt")) == 4, "bob finds all of them")
        assert [row["group"] for row in bob.find("private.txt")] == ["Famille"]
        assert bob.find("private.txt", "--group", "Amis") == []
        shown = {row["name"] for row in bob("ls", "Amis/alice")}
        assert shown == {"Public", "Both"}
        assert failure(bob, "ls", "Amis/alice/Private").code == "not_found"
        wanted = "Amis/alice/Private/private.txt"
        assert failure(bob, "get", wanted).code == "not_found"
        one, other = bob.find("both.txt")
        assert one["id"] != other["id"]
        assert {one["group"], other["group"]} == {"Famille", "Amis"}
        [job] = bob("get", one["id"], "--wait")
        assert f"/downloads/{one['group']}/alice/both.txt" in job["path"]

        # Leaving one forgets its catalogues and jobs, and touches nothing of the other.
        (alice.disk / "public" / "long.bin").write_bytes(os.urandom(16 * MIB))
        eventually(lambda: bob.find("long.bin"), "bob finds the long file")
        [long] = bob("get", "Amis/alice/Public/long.bin")
        eventually(lambda: bob.job(long["id"])["done_bytes"] > 0, "it runs")
        bob("group", "leave", "Amis")
        assert {row["group"] for row in bob.find("txt")} == {"Famille"}
        assert long["id"] not in [one["id"] for one in bob("jobs")]
        assert list((bob.disk / ".fonshare").glob("partial/*")) == []
        assert failure(bob, "ls", "Amis").code == "not_found"
        eventually(lambda: list(alice.members("Amis")) == ["alice"], "alice knows")
        assert set(alice.members("Famille")) == {"alice", "bob"}
        wanted = "Famille/alice/Private/private.txt"
        assert bob("get", wanted, "--wait")[0]["state"] == "done"


@pytest.mark.full
def test_a_leave_while_the_broker_is_away_is_heard_when_it_is_back(make_node, broker):
    """The one who left was killed, and the one who stays was off, in between."""
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        sees(alice, "Famille", "alice", "bob")
        assert bob.stop() == 0
        broker.stop()
        alice("group", "leave", "Famille")
        assert alice("group", "ls") == []
        alice.kill()
        broker.start()
        alice.start()
        eventually(lambda: any(map(is_envelope, broker.retained().values())), "told")
        assert alice.stop() == 0
        bob.start()
        eventually(lambda: list(bob.members("Famille")) == ["bob"], "bob knows")


@pytest.mark.full
def test_rights_taken_away_end_a_running_transfer(make_node, broker):
    alice = make_node("alice", limits={"upload_kib_s": 1024})
    bob = make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        (films / "film.mkv").write_bytes(os.urandom(96 * MIB))
        eventually(lambda: bob.find("film"), "bob finds it")
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        eventually(lambda: bob.job(job["id"])["done_bytes"] > MIB, "it runs")
        alice("share", "rm", "Films")
        stopped(bob, job["id"])
        eventually(lambda: not bob.find("film"), "bob does not see it any more")
        assert bob("ls", "Famille/alice") == []
        eventually(lambda: error_of(bob, job["id"]) == "source.vanished", "it is told")

        share(alice, "films", "Films", "Famille")
        goes_on(bob, job["id"])
        broker.stop()  # so that bob cannot hear what only alice knows
        eventually(lambda: not bob("status")["broker"]["connected"], "no broker")
        goes_on(bob, job["id"])
        alice("group", "remove", "Famille", "bob")
        stopped(bob, job["id"])
        broker.start()
        eventually(lambda: bob("jobs") == [], "a member no more, bob forgets the job")
        assert bob("group", "ls") == []
        assert bob.fetched() == {}
        assert list((bob.disk / ".fonshare").glob("partial/*")) == []


def goes_on(node, job):
    before = node.job(job)["done_bytes"]
    eventually(lambda: node.job(job)["done_bytes"] > before, "it goes on")


def stopped(node, job):
    """The transfer ends, and stays so."""
    seen = [-1, -1, -1]

    def stands_still():
        seen.append(node.job(job)["done_bytes"])
        return seen[-1] == seen[-2] == seen[-3] == seen[-4]

    eventually(stands_still, "nothing more comes")
    assert seen[-1] < node.job(job)["size"]


def error_of(node, job):
    error = node.job(job)["error"]
    return error and error["code"]


@pytest.mark.full
def test_admins_named_may_accept_and_remove_and_the_founder_may_leave(make_node):
    alice, bob, dave = (make_node(name) for name in ("alice", "bob", "dave"))
    twin = make_node("twin", "dave")
    with running(alice, bob, dave, twin):
        befriend("Famille", alice, bob)
        for words in (
            ("group", "invite", "Famille"),
            ("group", "remove", "Famille", "alice"),
            ("group", "admin", "Famille", "bob"),
        ):
            assert failure(bob, *words).code == "not_allowed"
        alice("group", "admin", "Famille", "bob")
        eventually(lambda: role(bob, "Famille") == "admin", "bob is an admin")
        admit("Famille", bob, dave)
        admit("Famille", bob, twin)
        eventually(lambda: len(ids(alice, "Famille")) == 4, "alice knows all")

        ambiguous = failure(bob, "group", "remove", "Famille", "dave")
        assert ambiguous.code == "ambiguous"
        for node in (dave, twin):
            assert node.id[:6] in ambiguous.error["message"]
        bob("group", "remove", "Famille", twin.id[:9])
        eventually(lambda: twin("group", "ls") == [], "the twin is out")
        sees(alice, "Famille", "alice", "bob", "dave")

        admit("Famille", alice, twin)  # whoever was removed may be admitted again
        eventually(lambda: twin.id in ids(dave, "Famille"), "all know the twin again")
        films = share(twin, "films", "Films", "Famille")
        (films / "back.txt").write_bytes(b"again")
        [found] = eventually(lambda: dave.find("back.txt"), "it offers files again")
        assert dave("get", found["id"], "--wait")[0]["state"] == "done"

        alice("group", "leave", "Famille")
        for node in (bob, dave, twin):
            eventually(
                lambda node=node: alice.id not in ids(node, "Famille"), "alice left"
            )
        bob("group", "leave", "Famille")
        # No admin is left: who was admitted first stands in.
        eventually(lambda: role(dave, "Famille") == "admin", "dave stands in")
        assert failure(twin, "group", "invite", "Famille").code == "not_allowed"
        (films / "later.txt").write_bytes(b"still here")
        eventually(lambda: dave.find("later.txt"), "the two who are left go on")
        admit("Famille", dave, bob)
        eventually(lambda: bob.find("later.txt"), "bob is back and finds it")


def ids(node, group):
    for row in node("group", "ls"):
        if row["name"] == group:
            return {one["id"] for one in row["members"]}
    return set()


def role(node, group):
    return next(row["role"] for row in node("group", "ls") if row["name"] == group)


def test_a_joiner_may_be_refused_and_labels_never_collide(make_node):
    alice, bob = make_node("alice"), make_node("bob")
    with running(alice, bob):
        alice("group", "create", "Famille")
        bob("group", "create", "Famille")
        code = alice("group", "invite", "Famille")["code"]
        assert bob("group", "join", code)["group"] == "Famille (2)"
        [asking] = eventually(lambda: alice("group", "requests"), "bob asks")
        assert (asking["group"], asking["name"]) == ("Famille", "bob")
        assert len(asking["words"]) == 6
        assert failure(alice, "group", "accept", "Famille", "eve").code == "not_found"
        alice("group", "refuse", "Famille", "bob")
        assert alice("group", "requests") == []

        def state():
            return bob("group", "joining", "Famille (2)")["state"]

        eventually(lambda: state() == "refused", "bob hears it")
        assert list(alice.members("Famille")) == ["alice"]
        assert [row["name"] for row in bob("group", "ls")] == ["Famille"]
        assert failure(bob, "group", "join", code, "--wait")  # a code is used up

        code = alice("group", "invite", "Famille")["code"]
        taken = failure(bob, "group", "join", code, "--as", "Famille")
        assert taken.code == "exists"
        assert admit("Famille", alice, bob) == "Famille (2)"
        alice("group", "create", "Amis")
        code = alice("group", "invite", "Amis", "--accept-first")["code"]
        bob("group", "join", code, "--as", "Copains", "--wait")
        labels = {row["name"] for row in bob("group", "ls")}
        assert labels == {"Famille", "Famille (2)", "Copains"}
        # Each calls a group what he likes; it is one group all the same.
        films = share(bob, "films", "Films", "Copains")
        (films / "a.txt").write_bytes(b"x")
        [found] = eventually(lambda: alice.find("a.txt"), "alice finds it")
        assert (found["group"], found["member"]) == ("Amis", "bob")


@pytest.mark.full
def test_a_node_brought_back_from_its_backup_is_itself_and_its_old_life_is_not(
    make_node, tmp_path
):
    alice, old = make_node("alice"), make_node("old", "bob")
    passphrase, file = tmp_path / "passphrase", tmp_path / "bob.fonshare"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    secret = ("--passphrase-file", str(passphrase))
    with running(alice, old):
        befriend("Famille", alice, old)
        (share(old, "films", "Films", "Famille") / "old.txt").write_bytes(b"o")
        eventually(lambda: alice.find("old.txt"), "alice finds what bob offers")
        identity = old.id
        old("backup", str(file), *secret)
        old.stop()
        new = make_node("new", "bob")
        new("restore", str(file), *secret)
        with running(new):
            assert new.id == identity
            sees(alice, "Famille", "alice", "bob")
            sees(new, "Famille", "alice", "bob")
            films = new.disk / "films"
            films.mkdir()
            (films / "new.txt").write_bytes(b"n")
            eventually(lambda: alice.find("new.txt"), "alice finds what is new")
            eventually(lambda: not alice.find("old.txt"), "and not what is not there")

            # The lost router turns up again and speaks as if nothing had happened.
            move_ports(old)
            old.start()
            (old.disk / "films" / "older.txt").write_bytes(b"o")
            sees(old, "Famille", "alice", "bob")
            eventually(lambda: old.find("older.txt"), "it has indexed its file")
            (films / "newer.txt").write_bytes(b"n")
            eventually(lambda: alice.find("newer.txt"), "the new life is believed")
            offered = {row["name"] for row in alice("ls", "Famille/bob/Films")}
            assert offered == {"new.txt", "newer.txt"}
            got = alice("get", "Famille/bob/Films/newer.txt", "--wait")
            assert got[0]["state"] == "done"


def move_ports(node):
    """Give a node other ports, as a box on another line has."""
    ports = take_ports()
    text = node.settings.read_text()
    for option, value in (
        ("port", ports.port),
        ("friends_port", ports.friends_port),
        ("passive_ports", "{}-{}".format(*ports.passive)),
        ("friends_passive_ports", "{}-{}".format(*ports.friends_passive)),
    ):
        text = re.sub(rf"(?m)^  {option}: .*$", f"  {option}: {value}", text)
    shutil.copy(node.settings, node.settings.with_suffix(".before"))
    node.settings.write_text(text)
