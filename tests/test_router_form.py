"""A router's first use by a form: the terminal's rules, with answers from a file."""

import json
import os
import socket
import stat

import pytest

from fonshare_agent import router_access
from fonshare_agent.cli import main
from fonshare_agent.config import load_settings
from fonshare_agent.passwords import verify_password
from router_box import RouterBox
from router_program import be_root_of, search_path

PIN = "ab" * 32


@pytest.fixture
def router(tmp_path, monkeypatch) -> RouterBox:
    """A router as it comes, with this process as its root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    box = RouterBox(tmp_path, disk)
    be_root_of(tmp_path, monkeypatch.setattr)
    monkeypatch.setenv("PATH", search_path(tmp_path))
    monkeypatch.setattr(router_access, "USER_ID", os.getuid())
    return box


@pytest.fixture
def setup(router, capsys):
    """A function that runs `fonshare setup --json` and gives its status and answer."""

    def run(*words: str):
        status = main(["--json", "setup", *words])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def answer(router, setup):
    """A function that answers as alice does, but for what it is given."""

    def run(**changed):
        given = {
            "name": "alice",
            "disk": str(router.disk),
            "password": "s3cret",
            "port": router.ports.port,
            **changed,
        }
        file = router.folder / "answers"
        file.touch(mode=0o600)
        file.write_text(json.dumps(given))
        return setup("--answers", str(file))

    return run


def test_a_look_says_what_may_be_answered_and_changes_nothing(router, setup):
    before = router.settings.read_bytes()
    status, offer = setup("--look")
    assert (status, offer["is_set_up"], offer["port"]) == (0, False, 2121)
    assert offer["name"] == socket.gethostname().split(".")[0]
    assert offer["broker_hindrance"] == "missing"
    disk, broken = offer["disks"]  # not the router's own, by whatever mount
    assert (disk["path"], disk["problem"]) == (str(router.disk), "")
    assert disk["free_bytes"] <= disk["total_bytes"]
    assert disk["refusals"] == []
    assert broken["path"] == "/mnt/broken"
    assert broken["problem"]
    assert router.settings.read_bytes() == before


def test_what_the_service_may_not_use_is_looked_for_on_each_disk(
    router, setup, monkeypatch
):
    closed = router.disk / "films"
    closed.mkdir()
    closed.chmod(0o000)
    _, offer = setup("--look")
    (refusal,) = offer["disks"][0]["refusals"]
    assert (refusal["folder"], refusal["allowed"]) == (str(closed), "nothing")
    assert refusal["remedy"].startswith("chgrp")
    closed.chmod(0o700)


def test_a_disk_that_is_gone_is_no_reason_to_offer_none(router, setup):
    router.disk.rmdir()
    status, offer = setup("--look")
    assert status == 0
    assert [bool(disk["problem"]) for disk in offer["disks"]] == [True, True]


def test_the_answers_make_a_router_that_runs_once(router, setup, answer):
    status, done = answer(guest_folders=["films", " ", "été"], port_mapping=False)

    assert status == 0
    assert done == {
        "settings": str(router.settings),
        "refusals": [],
        "is_whole": True,
        "broker": None,
        "is_started": True,
    }
    text = router.settings.read_text()
    assert "s3cret" not in text
    settings = load_settings(router.settings)
    assert settings.node.enabled
    assert (settings.node.name, settings.disk) == ("alice", router.disk)
    assert (settings.ftp.port, settings.node.port_mapping) == (
        router.ports.port,
        "off",
    )
    assert settings.ftp.guest_folders == ("films", "été")
    owner, guest = settings.ftp.users
    assert (owner.name, owner.access, guest.access) == ("owner", "write", "read")
    assert verify_password(owner.password_hash, "s3cret")
    assert router.asked.read_text() == "restart\n"
    assert setup("--look")[1]["is_set_up"]

    status, said = answer(name="bob")
    assert (status, said["error"]["code"]) == (1, "exists")
    assert router.settings.read_text() == text


def test_a_broker_of_ones_own_is_told_apart_from_how_it_is_known(router, answer):
    authority = router.folder / "ca.pem"
    authority.touch()
    broker = {
        "kind": "own",
        "url": f"mqtts://old:x@b.example:8884?pin={PIN}",
        "user": "al",
        "password": "it's 50%",
        "ca": str(authority),
    }
    status, done = answer(broker=broker)
    assert status == 0, done
    mqtt = load_settings(router.settings, needs_hashes=False).mqtt
    assert mqtt.broker == "mqtts://al:it%27s%2050%25@b.example:8884"
    assert (mqtt.ca, mqtt.pin) == (authority, bytes.fromhex(PIN))


def test_what_could_not_be_done_is_told_and_keeps_no_answer_from_being_stored(
    router, answer
):
    """Neither that there is no Mosquitto, nor that the service does not start."""
    (router.folder / "bin" / "service").write_text("#!/bin/sh\nexit 1\n")
    broker = {"kind": "here", "group": "Famille", "address": "box.example.org"}
    status, done = answer(broker=broker)
    assert (status, done["is_started"]) == (0, False)
    assert done["broker"]["code"] == "not_found"
    assert "mosquitto-ssl" in done["broker"]["next"]
    settings = load_settings(router.settings, needs_hashes=False)
    assert (settings.node.name, settings.mqtt.broker) == ("alice", "")


WRONG = [
    ({"name": "a/b"}, "usage", "name"),
    ({"name": None}, "usage", "name"),
    ({"password": ""}, "usage", "password"),
    ({"disk": "/mnt/root"}, "disk.missing", "/mnt/root"),  # the extroot's other mount
    ({"disk": "/"}, "disk.missing", "/"),
    ({"disk": "/mnt/broken"}, "disk.readonly", "/mnt/broken"),
    ({"guest_folders": [1]}, "usage", "guest_folders"),
    ({"guest_folders": ["films", "/mnt/films"]}, "usage", "guest_folders"),
    ({"guest_folders": ["../films"]}, "usage", "guest_folders"),
    ({"port": 80}, "usage", "port"),
    ({"port": "2121"}, "usage", "port"),
    ({"port": True}, "usage", "port"),
    ({"port_mapping": "off"}, "usage", "port_mapping"),
    ({"colour": "red"}, "usage", "colour"),
    ({"broker": {"kind": "cloud"}}, "usage", "broker"),
    ({"broker": {"kind": ["own"]}}, "usage", "broker"),
    ({"broker": {"kind": "own"}}, "usage", "broker.url"),
    ({"broker": {"kind": "own", "url": "http://no.broker"}}, "broker.url", ""),
    ({"broker": {"kind": "invite", "url": "mqtt://b"}}, "usage", "broker.url"),
    ({"broker": {"kind": "own", "url": 1}}, "usage", "broker.url"),
    (
        {"broker": {"kind": "own", "url": "mqtts://b", "ca": "/no"}},
        "not_found",
        "/no",
    ),
    ({"broker": {"kind": "here", "group": "a"}}, "usage", "broker.address"),
    ({"broker": {"kind": "here", "group": "é", "address": "b"}}, "usage", "é"),
]


@pytest.mark.parametrize(("changed", "code", "thing"), WRONG)
def test_a_wrong_answer_leaves_all_as_it_was(router, answer, changed, code, thing):
    before = router.settings.read_bytes()
    status, said = answer(**changed)
    assert status != 0
    assert (said["error"]["code"], said["error"]["thing"]) == (code, thing)
    assert router.settings.read_bytes() == before
    assert not router.asked.exists()


SAID_IN_FRENCH = [
    ({"name": "a/b"}, "un nom est une ligne d’au plus 64 octets, sans `/`"),
    ({"guest_folders": ["/films"]}, "'/films' n’est pas relatif au disque"),
    ({"disk": "/"}, "aucun disque n’y est monté hors ceux qui portent le système"),
    (
        {"broker": {"kind": "own", "url": "mqtt://b:0"}},
        "le port de l’URL d’un broker est un nombre de 1 à 65535",
    ),
]


@pytest.mark.parametrize(("changed", "message"), SAID_IN_FRENCH)
def test_what_is_wrong_is_said_in_the_language_of_the_form(answer, changed, message):
    _, said = answer(**changed, language="fr")
    assert said["error"]["message"] == message
    assert "fonshare --help" not in said["error"]["next"]
    assert answer(**changed)[1]["error"]["message"] != message


def test_a_broker_that_could_not_be_set_up_is_told_in_the_language_of_the_form(answer):
    broker = {"kind": "here", "group": "Famille", "address": "box.example.org"}
    _, done = answer(broker=broker, language="fr")
    assert done["broker"]["message"] == "Mosquitto n’est pas installé"


def test_a_look_that_had_to_end_early_says_so(router, setup, answer, monkeypatch):
    assert setup("--look")[1]["disks"][0]["is_whole"]
    (router.disk / "films").mkdir()
    monkeypatch.setattr(router_access, "ENTRIES_MAX", 0)
    assert setup("--look")[1]["disks"][0]["is_whole"] is False
    assert answer()[1]["is_whole"] is False


def test_a_port_of_another_program_is_no_answer(router, answer):
    friends = router.ports.friends_port
    with socket.socket() as other:
        other.bind(("", friends))
        other.listen()
        status, said = answer()
    assert status == 1
    assert said["error"]["code"] == "port.taken"
    assert said["error"]["thing"] == str(friends)


def test_answers_that_others_may_read_are_refused(router, setup):
    file = router.folder / "answers"
    file.write_text("{}")
    file.chmod(0o644)
    status, said = setup("--answers", str(file))
    assert status == 2
    assert said["error"]["thing"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_what_is_no_answer_at_all_is_refused(router, setup, monkeypatch, tmp_path):
    for text in ("", "[]", "{"):
        file = tmp_path / "answers"
        file.touch(mode=0o600)
        file.write_text(text)
        assert setup("--answers", str(file))[1]["error"]["thing"] == "answers"


def test_off_a_router_nobody_is_set_up_by_a_file(router, setup, monkeypatch):
    monkeypatch.setattr("fonshare_agent.ROUTER_FILE", f"{router.folder}/nowhere")
    for words in (["--look"], ["--answers", "-"]):
        status, said = setup(*words)
        assert (status, said["error"]["code"]) == (2, "usage")
