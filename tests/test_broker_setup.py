"""`fonshare broker`: Mosquitto's files as the router's service reads them, and used."""

import getpass
import json
import os
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from brokers import SEARCH_PATH, free_port
from fonshare_agent import broker_setup
from fonshare_agent.cli import main
from fonshare_agent.config import load_settings
from fonshare_agent.errors import AlreadyExists, NotFound, UsageError
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.mqtt_link import Connected, Disconnected, MqttLink, Received
from programs import require_program
from waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parent.parent
UCI = ROOT / "tests/rootfs/stand_in/usr/sbin/uci"
THEIRS = "config owrt owrt\n\toption use_uci 0\n\nconfig mosquitto mosquitto\n"
TOPIC = "fonshare/" + "a" * 32


@pytest.fixture
def router(tmp_path, monkeypatch) -> Path:
    """A router with a disk, Mosquitto's package and uci, all in one folder."""
    for name in ("config", "disk", "bin"):
        (tmp_path / name).mkdir()
    shipped = (ROOT / "files/etc/config/fonshare").read_text()
    text = shipped.replace("#option path '/mnt/sda1'", f"option path '{tmp_path}/disk'")
    text = text.replace("#option name 'alice'", "option name 'alice'", 1)
    (tmp_path / "config/fonshare").write_text(text)
    (tmp_path / "config/mosquitto").write_text(THEIRS)
    (tmp_path / "config/firewall").touch()
    (tmp_path / "mosquitto.conf").write_text("# nothing\n\n# port 1883\n")
    busybox = require_program("busybox")
    places = f"-c {tmp_path}/config -t {tmp_path}/staged"
    # What is given twice is taken as given last: links/uci.py names its own folders.
    programs = {
        "uci": f'exec {busybox} ash {UCI} {places} "$@"',
        "service": f'echo "$(basename $0) $*" >> {tmp_path}/calls',
    }
    for name, line in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("mosquitto-service", "firewall"):
        (tmp_path / "bin" / name).symlink_to("service")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{SEARCH_PATH}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("fonshare_agent.ROUTER_FILE", f"{tmp_path}/config/fonshare")
    for name, value in {
        "FOLDER": tmp_path / "etc" / "fonshare",
        "THEIR_FILE": tmp_path / "mosquitto.conf",
        "SERVICE": str(tmp_path / "bin/mosquitto-service"),
        "FIREWALL": str(tmp_path / "bin/firewall"),
        "OUR_SERVICE": tmp_path / "nowhere",
        "USER": getpass.getuser(),
    }.items():
        monkeypatch.setattr(broker_setup, name, value)
    return tmp_path


def add(router: Path, name: str, port: int | None = None) -> BrokerUrl:
    require_program("mosquitto")
    file = router / "config/fonshare"
    answer = broker_setup.add_login(file, name, "127.0.0.1", port)
    assert isinstance(answer, dict)
    return BrokerUrl.parse(str(answer["url"]))


def uci(router: Path, option: str) -> str:
    command = [router / "bin/uci", "-q", "get", option]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


@contextmanager
def mosquitto(router: Path, port: int):
    """The broker, as the feed's service starts it: its file names our folder."""
    program = require_program("mosquitto")
    (router / "generated.conf").write_text(f"include_dir {broker_setup.FOLDER}\n")
    with (router / "log").open("w") as log:
        child = subprocess.Popen(
            [program, "-c", router / "generated.conf"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: is_open(port), "the broker accepts connections")
            yield
        finally:
            child.terminate()
            child.wait(PATIENCE_S)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def member(url: BrokerUrl):
    """A node's link to the broker; what happens on it."""
    events: list[object] = []
    link = MqttLink(
        url,
        new_will=lambda: (TOPIC, b"gone"),
        on_event=events.append,
        draw=os.urandom,
        clock_is_known=lambda: False,  # a router that has just booted
    )
    link.start()
    try:
        yield link, events
    finally:
        link.stop()


def happened(events: list[object], kind: type) -> bool:
    return any(isinstance(event, kind) for event in events)


def test_a_group_talks_over_the_router_and_knows_it_by_its_certificate(router):
    port = free_port()
    url = add(router, "Famille", port)

    assert (url.tls, url.port, url.user) == (True, port, "Famille")
    with mosquitto(router, port), member(url) as (one, heard):
        one.set_subscriptions({TOPIC})
        with member(url) as (other, _):
            wait_until(lambda: happened(heard, Connected), "the node is connected")
            wait_until(lambda: other.is_connected, "the other node is connected")
            other.publish(TOPIC, b"hello", retain=True)
            wait_until(lambda: happened(heard, Received), "the message has come")


def test_the_broker_holds_no_message_back_until_the_one_before_is_acknowledged(router):
    add(router, "famille", 8883)
    lines = (broker_setup.FOLDER / broker_setup.CONF).read_text().splitlines()
    assert "set_tcp_nodelay true" in lines


def test_other_logins_and_other_topics_are_refused(router):
    port = free_port()
    url = add(router, "Famille", port)
    wrong = BrokerUrl.parse(url.encode().replace(str(url.password), "guess"))
    with mosquitto(router, port):
        with member(wrong) as (_, events):
            wait_until(lambda: happened(events, Disconnected), "it is refused")
            assert not happened(events, Connected)
        with member(url) as (link, events):
            link.set_subscriptions({"house/lamp", TOPIC})
            wait_until(lambda: link.is_connected, "the node is connected")
            link.publish("house/lamp", b"on", retain=True)
            link.publish(TOPIC, b"hello", retain=True)
            wait_until(lambda: happened(events, Received), "ours has come")
            got = [one.topic for one in events if isinstance(one, Received)]
            assert got == [TOPIC]


def test_the_service_and_the_firewall_are_told(router):
    add(router, "Famille")

    assert uci(router, "mosquitto.owrt.use_uci") == "1"
    folder = str(broker_setup.FOLDER)
    assert uci(router, "mosquitto.mosquitto.include_dir") == folder
    assert uci(router, "firewall.fonshare_broker.dest_port") == "8883"
    assert uci(router, "firewall.fonshare_broker.src") == "wan"
    assert (router / "calls").read_text().splitlines() == [
        "mosquitto-service enable",
        "mosquitto-service restart",
        "firewall reload",
    ]


def test_its_secrets_are_the_brokers_alone(router):
    url = add(router, "Famille")

    folder = broker_setup.FOLDER
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert str(url.password) not in "".join(f.read_text() for f in folder.iterdir())


def test_the_first_login_is_the_nodes_own_broker_and_others_have_their_own(router):
    first, second = add(router, "Famille"), add(router, "Friends")

    settings = load_settings(router / "config/fonshare")
    assert settings.mqtt.broker == first.encode().split("?")[0]
    assert settings.mqtt.pin == first.pin
    assert first.password != second.password
    assert first.pin == second.pin, "one certificate, which friends know already"
    names = broker_setup.list_logins()
    assert names == [{"name": "Famille"}, {"name": "Friends"}]
    with pytest.raises(AlreadyExists):
        add(router, "Friends")


def test_the_last_login_takes_the_whole_set_up_with_it(router):
    add(router, "Famille")
    add(router, "Friends")
    file = router / "config/fonshare"

    broker_setup.remove_login(file, "Famille")
    assert load_settings(file).mqtt.broker == ""
    assert broker_setup.FOLDER.exists()

    broker_setup.remove_login(file, "Friends")
    assert not broker_setup.FOLDER.exists()
    assert uci(router, "mosquitto.owrt.use_uci") == "0"
    assert uci(router, "firewall.fonshare_broker") == ""
    assert "mosquitto-service disable" in (router / "calls").read_text()
    with pytest.raises(NotFound):
        broker_setup.remove_login(file, "Friends")


@pytest.mark.parametrize("theirs", ["uci", "file"])
def test_a_mosquitto_that_serves_something_else_is_left_alone(router, theirs):
    if theirs == "uci":
        (router / "config/mosquitto").write_text(THEIRS.replace("uci 0", "uci 1"))
    else:
        (router / "mosquitto.conf").write_text("listener 1883\n")

    with pytest.raises(AlreadyExists, match="settings of its own"):
        add(router, "Famille")

    assert not broker_setup.FOLDER.exists()
    assert not (router / "calls").exists()


def test_what_is_missing_is_said_before_anything_is_changed(router, monkeypatch):
    require_program("mosquitto")
    file = router / "config/fonshare"
    with pytest.raises(UsageError, match="host name or address"):
        broker_setup.add_login(file, "Famille")
    with pytest.raises(UsageError, match="letters"):
        broker_setup.add_login(file, "a:b", "127.0.0.1")
    monkeypatch.setenv("PATH", str(router / "bin"))
    with pytest.raises(NotFound, match="Mosquitto is not installed"):
        broker_setup.add_login(file, "Famille", "127.0.0.1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="root"):
        broker_setup.add_login(file, "Famille", "127.0.0.1")
    assert not broker_setup.FOLDER.exists()


def test_on_the_command_line(router, capsys):
    require_program("mosquitto")
    assert main(["broker", "add", "Famille", "--address", "router.example"]) == 0
    assert "mqtts://Famille:" in capsys.readouterr().out
    assert main(["broker", "ls", "--json"]) == 0
    assert capsys.readouterr().out == '[{"name": "Famille"}]\n'
    assert main(["broker", "rm", "Famille"]) == 0


def test_elsewhere_it_says_that_it_is_for_routers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fonshare_agent.ROUTER_FILE", f"{tmp_path}/nowhere")
    assert main(["broker", "ls"]) == 2
    assert "only a router" in capsys.readouterr().err


def test_the_disk_keeps_what_the_broker_holds_back(router, monkeypatch):
    conf = broker_setup.FOLDER / "fonshare.conf"
    add(router, "Famille")
    assert "persistence false" in conf.read_text(), "nothing is mounted there"

    monkeypatch.setattr(os.path, "ismount", lambda path: path == router / "disk")
    add(router, "Friends")
    store = router / "disk" / ".fonshare-broker"
    assert f"persistence true\npersistence_location {store}/\n" in conf.read_text()
    assert store.stat().st_mode & 0o777 == 0o700


def test_root_gives_away_nothing_that_a_link_leads_to(router, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path == router / "disk")
    (router / "others").mkdir()
    (router / "disk" / ".fonshare-broker").symlink_to(router / "others")
    add(router, "Famille")
    assert "persistence false" in (broker_setup.FOLDER / "fonshare.conf").read_text()

    def write_and_lose(folder, name, *rest):
        write_durably(folder, name, *rest)
        os.unlink(name, dir_fd=folder)
        os.symlink(router / "mosquitto.conf", name, dir_fd=folder)

    write_durably = broker_setup.write_durably
    monkeypatch.setattr(broker_setup, "write_durably", write_and_lose)
    with pytest.raises(OSError, match="symbolic links"):
        add(router, "Friends")


def test_the_disks_name_adds_no_line_to_the_brokers_settings(router, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda _: True)
    disk = router / "disk\nuser root\n"
    disk.mkdir()
    file = router / "config/fonshare"
    file.write_text(file.read_text().replace(f"{router}/disk", str(disk)))
    add(router, "Famille")
    conf = (broker_setup.FOLDER / "fonshare.conf").read_text()
    assert "user root\n/" not in conf
    assert "persistence false" in conf


def test_a_form_gives_what_it_wants_by_a_file_of_its_own(router, tmp_path, capsys):
    """LuCI's rights name whole command lines: no name can stand in one."""
    file = tmp_path / "answers"
    file.touch(0o600)
    for answers, code, thing in (
        ('{"name": "Friends"}', "not_found", "Friends"),
        ('{"names": "Friends"}', "usage", "'names'"),
        ("[]", "usage", "answers"),
        ("{}", "usage", "broker rm"),
    ):
        file.write_text(answers)
        assert main(["broker", "rm", "--answers", str(file), "--json"])
        error = json.loads(capsys.readouterr().out)["error"]
        assert (error["code"], error["thing"]) == (code, thing)
    assert main(["broker", "rm", "--json"]) == 2
