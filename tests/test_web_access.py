"""Who gets in, by the test's own clock: sessions, throttle, guard; and the words."""

import io
import random

import pytest

from fonshare_agent import words
from fonshare_agent.errors import SettingsError
from fonshare_agent.web.command import announcement, demand_owner
from fonshare_agent.web.exchange import Request
from fonshare_agent.web.guard import Guard
from fonshare_agent.web.refusals import OutsideHouse, WebRefused, WrongHost
from fonshare_agent.web.sessions import AGE_MAX_S, IDLE_S, SESSIONS_MAX, Sessions
from fonshare_agent.web.throttle import (
    ALL_BURST,
    ALL_EVERY_S,
    FORGET_S,
    FREE,
    KNOWN_MAX,
    PAUSE_MAX_S,
    STRANGERS_MAX,
    Throttle,
)
from fonshare_agent.web.words import load_words, parse_po
from settings_files import check, complaints


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


# --- sessions ---


@pytest.fixture
def sessions(clock):
    return Sessions(clock, random.Random(7).randbytes)


def test_a_token_has_256_bits_and_is_not_kept(sessions):
    token = sessions.open("owner")
    assert len(bytes.fromhex(token)) == 32
    assert token not in repr(vars(sessions))
    assert sessions.find(token).user == "owner"


def test_a_session_ends_when_nobody_uses_it(sessions, clock):
    token = sessions.open("owner")
    for _ in range(3):
        clock.now += IDLE_S
        assert sessions.find(token)
    clock.now += IDLE_S + 1
    assert sessions.find(token) is None
    clock.now -= IDLE_S
    assert sessions.find(token) is None, "for good"


def test_no_use_makes_a_session_last_for_ever(sessions, clock):
    token = sessions.open("owner")
    end = clock.now + AGE_MAX_S
    while clock.now < end:
        assert sessions.find(token)
        clock.now += IDLE_S / 2
    clock.now = end + 1
    assert sessions.find(token) is None


def test_sessions_are_bounded_and_the_longest_unused_goes(sessions):
    first, second = sessions.open("owner"), sessions.open("owner")
    for _ in range(SESSIONS_MAX - 2):
        sessions.open("owner")
    assert sessions.find(first)
    sessions.open("owner")
    assert len(sessions) == SESSIONS_MAX
    assert sessions.find(first)
    assert sessions.find(second) is None


def test_signing_out_ends_one_session_or_all(sessions):
    first, second = sessions.open("owner"), sessions.open("owner")
    sessions.end(first)
    sessions.end("no token")
    assert sessions.find(first) is None
    assert sessions.find(second)
    sessions.end_all()
    assert sessions.find(second) is None


# --- the throttle ---


@pytest.fixture
def throttle(clock):
    return Throttle(clock)


def test_each_attempt_after_the_first_few_costs_twice_the_pause(throttle, clock):
    for _ in range(FREE):
        assert throttle.take("10.0.0.1") == 0
    waits = []
    for _ in range(12):
        wait = throttle.take("10.0.0.1")
        waits.append(wait)
        clock.now += wait
        assert throttle.take("10.0.0.1") == 0
    assert waits[0] > 0
    assert waits == sorted(waits)
    assert waits[-1] == PAUSE_MAX_S
    assert throttle.take("10.0.0.2") == 0, "others are not held back"


def test_the_right_password_forgives_the_wrong_ones(throttle):
    for _ in range(FREE):
        throttle.take("10.0.0.1")
    throttle.note_success("10.0.0.1")
    for _ in range(FREE):
        assert throttle.take("10.0.0.1") == 0


def test_an_hour_without_an_attempt_is_forgiven(throttle, clock):
    for _ in range(FREE):
        throttle.take("10.0.0.1")
    assert throttle.take("10.0.0.1") > 0
    clock.now += FORGET_S + 1
    assert throttle.take("10.0.0.1") == 0


def test_many_addresses_share_one_allowance_and_do_not_shut_the_owner_out(
    throttle, clock
):
    throttle.take("192.168.1.2")
    throttle.note_success("192.168.1.2")
    taken = sum(throttle.take(f"10.0.{n >> 8}.{n & 255}") == 0 for n in range(5000))
    assert taken <= ALL_BURST
    assert throttle.take("192.168.1.2") == 0
    clock.now += 100 * ALL_EVERY_S
    later = sum(throttle.take(f"10.1.{n >> 8}.{n & 255}") == 0 for n in range(5000))
    assert later <= ALL_BURST
    assert len(throttle) <= STRANGERS_MAX + KNOWN_MAX


def test_whoever_has_an_ipv6_network_has_one_allowance(throttle):
    taken = [throttle.take(f"2001:db8::{n:x}") for n in range(FREE + 1)]
    assert taken[:FREE] == [0] * FREE
    assert taken[FREE] > 0
    assert throttle.take("2001:db8:0:1::1") == 0
    assert len(throttle) == 2


def test_others_in_the_house_do_not_shut_the_owner_out_over_ipv6(throttle):
    throttle.take("fd00::2")
    throttle.note_success("fd00::2")
    while throttle.take("fd00::3") == 0:
        pass
    assert throttle.take("fd00::2") == 0


# --- the guard ---


def request(
    method="GET", host="localhost:8080", address="127.0.0.1", proxy=None, **headers
):
    environ = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    environ |= {"REQUEST_METHOD": method, "HTTP_HOST": host, "REMOTE_ADDR": address}
    return Request.of({**environ, "wsgi.input": io.BytesIO()}, proxy)


def ours(**more):
    return request("POST", x_fonshare="1", **more)


def guard(**web):
    houses = web.pop("houses", ["loopback"])
    return Guard(check(web=web, ftp={"house_networks": houses}))


def test_names_of_the_settings_are_served():
    found = guard(names=["nas.local", "Cloud.Example."])
    found.check(request(host="nas.local:8080"))
    found.check(request(host="cloud.example"))
    with pytest.raises(WrongHost):
        found.check(request(host="nas.local.evil.example"))


def test_on_a_network_any_literal_address_is_served():
    found = guard(address="0.0.0.0", houses=["192.168.1.0/24"])
    found.check(request(host="192.168.1.9:8080", address="192.168.1.20"))
    with pytest.raises(WrongHost):
        found.check(request(host="router.example", address="192.168.1.20"))


@pytest.mark.parametrize("address", ["192.168.2.1", "203.0.113.5", "fe80::1", "", "x"])
def test_in_clear_it_is_for_the_house_only(address):
    found = guard(address="::", houses=["192.168.1.0/24", "fd00::/64"])
    for inside in ("127.0.0.1", "::1", "::ffff:192.168.1.7", "fd00::7"):
        found.check(request(host="[fd00::1]:8080", address=inside))
    with pytest.raises(OutsideHouse):
        found.check(request(host="[fd00::1]:8080", address=address))


def test_behind_a_proxy_it_is_for_everybody_with_tls():
    found = guard(address="0.0.0.0", proxy="192.168.1.3", names=["cloud.example"])
    where = {
        "host": "cloud.example",
        "address": "192.168.1.3",
        "proxy": "192.168.1.3",
        "x_forwarded_for": "127.0.0.1, 203.0.113.5",
    }
    assert request(**where).address == "203.0.113.5"
    found.check(request(**where))
    found.check(ours(origin="https://cloud.example", **where))
    with pytest.raises(WebRefused, match="another site"):
        found.check(ours(origin="http://cloud.example", **where))


def test_who_does_not_come_through_the_proxy_is_not_believed():
    found = guard(address="0.0.0.0", proxy="192.168.1.3", names=["cloud.example"])
    forged = request(
        host="cloud.example",
        address="192.168.1.66",
        proxy="192.168.1.3",
        x_forwarded_for="127.0.0.1",
    )
    assert (forged.address, forged.is_tls) == ("192.168.1.66", False)
    with pytest.raises(OutsideHouse):
        found.check(forged)
    assert request(address="::ffff:10.0.0.1").address == "10.0.0.1"
    assert request(proxy="127.0.0.1").address == "127.0.0.1", "a proxy that is silent"


def test_a_post_needs_our_header_and_our_origin():
    found = guard()
    found.check(ours())
    found.check(ours(origin="http://localhost:8080", sec_fetch_site="same-origin"))
    for wrong in (
        request("POST"),
        ours(origin="http://localhost"),
        ours(origin="http://localhost:8080.evil.example"),
        ours(sec_fetch_site="cross-site"),
    ):
        with pytest.raises(WebRefused):
            found.check(wrong)


# --- settings ---


def test_the_settings_of_the_page_are_checked():
    said = complaints(
        web={"address": "here", "port": 0, "names": ["a b"], "proxy": "localhost"}
    )
    for name in ("web.address", "web.port", "web.names", "web.proxy"):
        assert f"{name}: " in said
    assert "web.port: is 2121, as ftp.port is" in complaints(web={"port": 2121})


def test_without_a_login_that_may_write_it_does_not_start():
    with pytest.raises(SettingsError, match=r"ftp\.users"):
        demand_owner(check())


def test_it_says_where_it_is_and_warns_of_what_is_in_clear():
    assert announcement(check(), 8080) == [
        "fonshare: the page is at http://127.0.0.1:8080/"
    ]
    assert "[::1]:80/" in announcement(check(web={"address": "::1"}), 80)[0]
    lan = announcement(check(web={"address": "0.0.0.0"}), 8080)
    assert "WITHOUT ENCRYPTION" in lan[1]
    assert "127.0.0.0/8" in lan[2]
    proxied = {"proxy": "127.0.0.1", "names": ["cloud.example"]}
    assert announcement(check(web=proxied), 8080) == [
        "fonshare: the page is at https://cloud.example/"
    ]
    assert "web.names" in announcement(check(web={"proxy": "::1"}), 8080)[1]


def test_it_says_so_in_french_too(monkeypatch):
    monkeypatch.setattr(words, "_chosen", "fr")
    proxied = {"proxy": "127.0.0.1", "names": ["a.example", "b.example"]}
    assert announcement(check(web=proxied), 8080) == [
        "fonshare: la page est à l’adresse https://a.example/, https://b.example/"
    ]
    lan = announcement(check(web={"address": "0.0.0.0"}), 8080)
    assert "CETTE-MACHINE:8080" in lan[0]
    assert "SANS CHIFFREMENT" in lan[1]


# --- words ---

PO = r"""# French.
msgid ""
msgstr ""
"Language: fr\n"

#: fonshare/app.js
msgid "Files"
msgstr "Fichiers"

msgid ""
"a \"long\" "
"text\n"
msgstr ""
"un « long » "
"texte\n"

#, fuzzy
msgid "Guess"
msgstr "Devine"

msgid "Untold"
msgstr ""
"""


def test_words_are_read_as_gettext_does(tmp_path):
    assert parse_po(PO) == {
        "Files": "Fichiers",
        'a "long" text\n': "un « long » texte\n",
    }
    (tmp_path / "fr").mkdir()
    (tmp_path / "fr" / "fonshare.po").write_text(PO)
    assert load_words(tmp_path, "fr")["Files"] == "Fichiers"
    assert load_words(tmp_path, "../fr") == {}
    assert load_words(tmp_path, "en") == {}
