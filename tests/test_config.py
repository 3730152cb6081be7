"""Settings as a whole: the contract's file, the rules between options, and secrets."""

import ipaddress
from pathlib import Path

import pytest
import yaml

from fonshare_agent.config import (
    OPTIONS,
    SourceKind,
    find_settings_file,
    load_settings,
)
from fonshare_agent.config_check import COMPLAINTS_MAX
from fonshare_agent.config_table import LISTS, Unset
from fonshare_agent.errors import SettingsError
from fonshare_agent.passwords import verify_password
from settings_files import SETTINGS_FILE, check, complaints

CONTRACT = """\
node:   {name: alice}
disk:   ./disk                  # relative to this file
state:  ./state
ftp:    {address: 127.0.0.1, port: 2121, passive_ports: 30000-30009,
         friends_port: 2122, friends_passive_ports: 30010-30019,
         guest_folders: [films],
         users: [{name: owner, password: secret, access: write},
                 {name: guest, password: "", access: read}]}
mqtt:   {broker: "mqtt://127.0.0.1:1883"}
shares: [{name: Films, path: films, groups: [Famille]}]
downloads: downloads            # under disk
limits: {upload_kib_s: 0, download_kib_s: 0, transfers: 2}      # 0: no limit
web:    {address: 127.0.0.1, port: 8080}
"""


def test_the_contracts_file_is_read_as_it_says(tmp_path):
    path = tmp_path / "fonshare.yaml"
    path.write_text(CONTRACT)

    settings = load_settings(path)

    assert settings.disk == tmp_path / "disk"
    assert settings.keys == tmp_path / "state" / "keys"
    assert settings.state_file == tmp_path / "state" / "state.db"
    assert settings.index_file == tmp_path / "state" / "index.db"
    assert settings.control_socket == tmp_path / "state" / "control.sock"
    assert settings.downloads_folder == tmp_path / "disk" / "downloads"
    assert settings.ftp.passive_ports == (30000, 30009)
    assert settings.ftp.friends_passive_ports == (30010, 30019)
    assert settings.ftp.guest_folders == ("films",)
    assert settings.mqtt.broker == "mqtt://127.0.0.1:1883"
    (share,) = settings.shares
    assert (share.name, share.groups) == ("Films", ("Famille",))
    assert share.path == tmp_path / "disk" / "films"
    owner, guest = settings.ftp.users
    assert (owner.may_write, guest.may_write) == (True, False)
    assert verify_password(owner.password_hash, "secret")
    assert guest.password_hash == ""
    assert not settings.is_on_router
    assert settings.path == path


def test_the_defaults_are_those_of_the_table():
    settings = check()
    assert settings.ftp.friends_port == settings.ftp.port + 1 == 2122
    assert settings.node.enabled
    assert settings.node.port_mapping == "auto"
    assert not settings.node.allow_private_addresses
    assert settings.limits.transfers == 2
    assert settings.ftp.house_networks == (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    assert not settings.ftp.house_lan
    assert settings.warnings == ()


def test_every_default_of_the_table_is_a_value_of_its_type():
    for option in [*OPTIONS, *LISTS["ftp.users"], *LISTS["shares"]]:
        for default in (option.default, option.router):
            if default is not None and not isinstance(default, Unset):
                given = list(default) if isinstance(default, tuple) else default
                option.kind.read(given)


def test_all_complaints_come_at_once_each_with_its_option_and_what_is_allowed():
    text = complaints(
        node={"name": "a/b", "port_mapping": "upnp"},
        disk="",
        ftp={"port": 0, "passive_ports": "1-2", "prot": 1, "users": [{"name": "x y"}]},
        limits={"transfers": 99},
        shares=[{"name": "F"}],
    )
    lines = text.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "ftp.prot",
        "node.name",
        "node.port_mapping",
        "disk",
        "ftp.port",
        "ftp.passive_ports",
        "limits.transfers",
        "ftp.users[0].name",
        "ftp.users[0].password",
        "shares[0].path",
    ]
    assert all("; allowed: " in line for line in lines[1:])


def test_a_file_that_is_something_else_gives_a_bounded_error():
    text = complaints(**{f"option{number}": 1 for number in range(1000)})
    assert len(text.splitlines()) == COMPLAINTS_MAX + 1
    assert text.endswith("and 950 complaints more")


def test_a_name_that_is_one_line_of_the_error_cannot_make_two():
    text = complaints(**{"evil\noption: is fine": 1, "\x1b[31m": 2})
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text


# --- other rules ---------------------------------------------------------------------


def test_a_certificate_comes_with_its_key():
    for name, other in (("certificate", "certificate_key"), ("certificate_key",) * 2):
        given = "certificate_key" if name == "certificate" else "certificate"
        text = complaints(ftp={given: "a.pem"})
        missing = name if given != name else other
        assert text.startswith(f"ftp.{missing}: is missing, and ftp.{given} needs it")
    both = check(ftp={"certificate": "a.pem", "certificate_key": "/b.pem"}).ftp
    assert both.certificate == SETTINGS_FILE.parent / "a.pem"
    assert both.certificate_key == Path("/b.pem")


def test_a_pin_or_authority_without_tls_is_refused():
    pin = "ab" * 32
    text = complaints(mqtt={"broker": "mqtt://h", "pin": pin, "ca": "ca.pem"})
    names = [line.partition(":")[0] for line in text.splitlines()]
    assert names == ["mqtt.ca", "mqtt.pin"]
    mqtt = check(mqtt={"broker": "mqtts://h", "pin": pin, "ca": "ca.pem"}).mqtt
    assert mqtt.pin == bytes.fromhex(pin)
    assert mqtt.ca == SETTINGS_FILE.parent / "ca.pem"


@pytest.mark.parametrize("pin", ["ab" * 31, "ab" * 33, "zz" * 32, "", "é" * 64])
def test_a_pin_is_a_whole_sha256(pin):
    assert complaints(mqtt={"broker": "mqtts://h", "pin": pin}).startswith("mqtt.pin: ")


def test_a_pin_may_have_colons_as_openssl_prints_it():
    pin = ":".join(["AB"] * 32)
    assert check(mqtt={"broker": "mqtts://h", "pin": pin}).mqtt.pin == b"\xab" * 32


def test_house_networks_are_networks_and_words():
    houses = ["192.168.1.0/24", "fd00::/64", "loopback", "lan", "10.0.0.1"]
    ftp = check(kind=SourceKind.UCI, ftp={"house_networks": houses}).ftp
    assert ftp.house_lan
    assert [str(network) for network in ftp.house_networks] == [
        "192.168.1.0/24",
        "fd00::/64",
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.1/32",
    ]
    for wrong in (["192.168.1.1/24"], ["home"], ["10.0.0.0/33"], "lan", ["lan"], [1]):
        text = complaints(ftp={"house_networks": wrong})
        assert text.startswith("ftp.house_networks: ")


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 65, "..", "a/b", "\ud800"])
def test_a_name_that_is_no_label_is_refused_everywhere(name):
    text = complaints(
        node={"name": name},
        shares=[
            {"name": name, "path": "a"},
            {"name": "b", "path": "b", "groups": [name]},
        ],
    )
    named = [line.partition(":")[0] for line in text.splitlines()]
    assert named == ["node.name", "shares[0].name", "shares[1].groups"]


@pytest.mark.parametrize("host", ["a.example.org", "192.0.2.1", "2001:db8::1", ""])
def test_a_public_name_is_a_host(host):
    assert check(node={"public_name": host}).node.public_name == host


@pytest.mark.parametrize("host", ["a b", "http://a", "a..b", "-a", "a" * 64, "a:1"])
def test_what_is_no_host_is_no_public_name(host):
    assert complaints(node={"public_name": host}).startswith("node.public_name: ")


# --- which file ----------------------------------------------------------------------


def test_the_file_is_looked_for_where_documented(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".config" / "fonshare").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("fonshare_agent.ROUTER_FILE", str(tmp_path / "router"))

    with pytest.raises(SettingsError, match="there is no settings file"):
        find_settings_file()
    places = [
        home / ".config" / "fonshare" / "fonshare.yaml",
        tmp_path / "fonshare.yaml",
        tmp_path / "router",
    ]
    for place in places:  # each one comes before those found until then
        place.write_text(yaml.safe_dump({}))
        assert find_settings_file() == place


def test_a_files_name_says_its_format(tmp_path):
    for name in ("a.yaml", "b.YML", "c.conf", "fonshare"):
        path = tmp_path / name
        is_yaml = name[-3:].lower() in ("yml", "aml")
        path.write_text(
            "node: {name: a}\ndisk: d\n"
            if is_yaml
            else "config node\noption name a\nconfig disk\noption path d\n"
        )
        assert load_settings(path).is_on_router is not is_yaml
