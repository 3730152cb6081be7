"""`fonshare settings`: every option with what holds, and no secret."""

import json
import time
from types import SimpleNamespace

import pytest

from fonshare_agent.config import OPTIONS, SourceKind
from fonshare_agent.config_docs import ROUTER_OPTIONS
from fonshare_agent.config_shown import rows
from fonshare_agent.control.settings_handlers import SettingsHandlers
from fonshare_agent.core import Core
from fonshare_agent.render import render
from settings_files import check

GIVEN = check(
    node={"name": "é<b>"},
    ftp={
        "house_networks": ["loopback", "192.168.1.0/24"],
        "guest_folders": ["films"],
        "users": [{"name": "owner", "password": "geheim", "access": "write"}],
    },
    mqtt={"broker": "mqtts://me:geheim@broker.example", "pin": "ab" * 32},
    limits={"hours": "23-7", "upload_kib_s": 100},
    shares=[{"name": "Films", "path": "films", "groups": ["Famille"]}],
    web={"proxy": "127.0.0.1", "names": ["cloud.example"]},
)


def value_of(name, settings=GIVEN):
    return next(row["value"] for row in rows(settings) if row["name"] == name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("node.name", "é<b>"),
        ("node.relay", False),
        ("disk", "/mnt/disk"),
        ("keys", "/var/state/keys"),
        ("ftp.friends_port", 2122),
        ("ftp.passive_ports", "30000-30009"),
        ("ftp.house_networks", ["127.0.0.0/8", "::1/128", "192.168.1.0/24"]),
        ("ftp.guest_folders", ["films"]),
        ("ftp.certificate", None),
        ("mqtt.broker", "mqtts://me:***@broker.example"),
        ("mqtt.pin", "ab" * 32),
        ("limits.hours", "23:00-07:00"),
        ("limits.hash_hours", "0-24"),
        ("limits.upload_kib_s", 100),
        ("web.names", ["cloud.example"]),
        ("web.proxy", "127.0.0.1"),
        ("ftp.users", ["owner (write)"]),
        ("shares", ["Films: /mnt/disk/films"]),
    ],
)
def test_a_value_is_told_as_the_file_has_it(name, value):
    assert value_of(name) == value


def test_every_option_is_told_and_no_secret():
    told = rows(GIVEN)
    assert [row["name"] for row in told[:-2]] == [option.name for option in OPTIONS]
    assert all(row["help"] for row in told)
    assert "geheim" not in json.dumps(told)
    assert "scrypt" not in json.dumps(told)


def test_a_router_has_its_own_defaults_and_no_web():
    router = check(
        kind=SourceKind.UCI,
        ftp={"house_networks": ["loopback", "lan"]},
    )
    told = {row["name"]: row for row in rows(router)}
    assert told.keys() == {o.name for o in ROUTER_OPTIONS} | {"ftp.users", "shares"}
    assert told["ftp.house_networks"]["value"][-1] == "lan"
    assert told["run"]["default"] == "/var/run/fonshare"
    assert told["state"]["is_unset"]


def test_the_command_answers_for_the_running_node():
    core = Core(time.monotonic)
    parts = SimpleNamespace(published=SimpleNamespace(settings=GIVEN))
    answer = core.spawn(SettingsHandlers(parts).settings({})).result()
    assert answer == rows(GIVEN)
    text = render("settings", answer)
    assert "limits.hours" in text
    assert "mqtts://me:***@broker.example" in text
