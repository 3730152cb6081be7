"""Secrets in settings: kept as hashes, checked, and repeated nowhere."""

import re

import pytest

from fonshare_agent.config_check import NO_HASH
from fonshare_agent.config_values import Refused, parse_broker, redact_url
from fonshare_agent.errors import SettingsError
from fonshare_agent.passwords import hash_password, verify_password
from settings_files import check, complaints

SECRET = "s3cret!word"


def test_only_who_may_only_read_needs_no_password():
    user = {"name": "owner", "password": "", "access": "write"}
    text = complaints(ftp={"users": [user]})
    assert text.startswith("ftp.users[0].password: is empty, which only access: read")


def test_a_hash_is_kept_and_a_plain_password_is_not():
    stored = hash_password(SECRET, b"0123456789abcdef")
    users = [
        {"name": "a", "password": stored, "access": "write"},
        {"name": "b", "password": SECRET, "access": "write"},
    ]
    settings = check(ftp={"users": users})
    assert settings.ftp.users[0].password_hash == stored
    assert settings.plain_users == ("b",)
    assert SECRET not in settings.ftp.users[1].password_hash
    assert verify_password(settings.ftp.users[1].password_hash, SECRET)
    assert "the password of b stands in the settings in clear" in settings.warnings[0]
    # What it advises can be done: setup makes a new file, and leaves one that is there.
    (command,) = re.findall("`fonshare (.*)`", settings.warnings[0])
    assert command == "setup -c NEW.yaml"


def test_each_plain_password_gets_a_salt_of_its_own():
    users = [{"name": name, "password": SECRET} for name in "ab"]
    first, second = check(ftp={"users": users}).ftp.users
    assert first.password_hash != second.password_hash


@pytest.mark.parametrize("stored", ["$scrypt$ln=20,r=8,p=1$c2FsdA$aGFzaA", "$6$a$b"])
def test_a_hash_that_cannot_be_used_is_no_password(stored):
    text = complaints(ftp={"users": [{"name": "a", "password": stored}]})
    assert text.startswith("ftp.users[0].password: ")
    assert stored not in text


BROKER = f"mqtts://alice:{SECRET}@broker.example.org"


@pytest.mark.parametrize(
    "sections",
    [
        {"mqtt": {"broker": f"http://a:{SECRET}@h"}},
        {"mqtt": {"broker": f"mqtt://a:{SECRET}@h:99999"}},
        {"mqtt": {"broker": f"mqtt://a:{SECRET}@"}},
        {"mqtt": {"broker": f"mqtt://a:{SECRET}@h/path"}},
        {"mqtt": {"broker": f"mqtt://a:{SECRET} @h"}},
        {"mqtt": {"broker": f"mqtt://a:%ff{SECRET}@h"}},
        {"mqtt": {"broker": [BROKER]}},
        {"mqtt": BROKER},
        {"mqtt": [BROKER]},
        {"ftp": {"users": [{"name": "a b", "password": SECRET, "access": "all"}]}},
        {"ftp": {"users": [{"name": "a", "password": [SECRET]}]}},
        {"ftp": {"users": [f"owner:{SECRET}"]}},
        {"ftp": {"users": f"owner:{SECRET}"}},
        {"ftp": f"owner:{SECRET}"},
    ],
    ids=range(14),
)
def test_no_complaint_repeats_a_secret(sections):
    assert SECRET not in complaints(**sections)


def test_a_number_as_password_is_not_repeated_either():
    text = complaints(ftp={"users": [{"name": "a", "password": 40721339}]})
    assert "put it in quotes" in text
    assert "40721339" not in text


def test_no_repr_shows_a_secret():
    users = [{"name": "a", "password": SECRET}]
    settings = check(mqtt={"broker": BROKER}, ftp={"users": users})
    shown = repr(settings) + repr(parse_broker(BROKER))
    assert SECRET not in shown
    assert settings.ftp.users[0].password_hash not in shown
    assert "mqtts://alice:***@broker.example.org" in shown


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("mqtt://h", "mqtt://h"),
        ("mqtt://u:p@h:1", "mqtt://u:***@h:1"),
        ("mqtt://u:p@q@h", "mqtt://u:***@h"),
        ("mqtt://:p@h", "mqtt://:***@h"),
    ],
)
def test_a_redacted_url_keeps_what_helps(url, redacted):
    assert redact_url(url) == redacted


def test_a_brokers_user_and_password_are_percent_decoded():
    broker = parse_broker("mqtts://al%40ice:p%3Aw%2F%c3%a9@[fd00::1]:8884")
    assert (broker.host, broker.port, broker.tls) == ("fd00::1", 8884, True)
    assert (broker.user, broker.password) == ("al@ice", "p:w/é")
    plain = parse_broker("mqtt://broker.example.org")
    assert (plain.port, plain.user, plain.password) == (1883, None, None)
    assert parse_broker("mqtts://h").port == 8883


@pytest.mark.parametrize(
    "url",
    [
        "mqtt:h",
        "mqtt://",
        "mqtt://h:0",
        "mqtt://h:x",
        "mqtt://h/x",
        "mqtt://h?x=1",
        "h",
        "mqtt://-h",
        "mqtt://a b",
        "mqtt://h\n",
        "tcp://h",
        "mqtt://[::1",
        "é://h",
    ],
)
def test_what_is_no_broker_is_refused(url):
    with pytest.raises(Refused):
        parse_broker(url)
    assert complaints(mqtt={"broker": url}).startswith("mqtt.broker: ")


@pytest.mark.parametrize(
    ("broker", "warned"),
    [
        ("mqtt://u:p@broker.example.org", True),
        ("mqtt://u:p@192.168.1.5", True),
        ("mqtt://u:p@127.0.0.1", False),
        ("mqtt://u:p@localhost", False),
        ("mqtts://u:p@broker.example.org", False),
        ("mqtt://broker.example.org", False),
    ],
)
def test_a_password_that_crosses_the_network_in_clear_is_warned_of(broker, warned):
    warnings = check(mqtt={"broker": broker}).warnings
    assert [text.startswith("mqtt.broker: ") for text in warnings] == [True] * warned


def test_who_lets_nobody_in_waits_for_no_hash(monkeypatch):
    monkeypatch.setattr("fonshare_agent.config_check.hash_password", None)
    user = {"name": "anna", "password": SECRET}
    guest = {"name": "ben", "password": "", "access": "read"}
    settings = check(ftp={"users": [user, guest]}, needs_hashes=False)
    assert [one.password_hash for one in settings.ftp.users] == [NO_HASH, ""]
    with pytest.raises(SettingsError):
        verify_password(NO_HASH, SECRET)
