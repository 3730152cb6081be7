"""Broker addresses: what is understood, what is refused, what is never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.errors import BadBrokerUrl
from fonshare_agent.links.broker_url import BrokerUrl, parse_pin

PIN = "ab" * 32


def test_the_parts_of_a_full_url_are_found() -> None:
    url = BrokerUrl.parse(f"mqtts://an%40na:p%3Aw%25@broker.example:444?pin={PIN}")

    assert url == BrokerUrl(
        True, "broker.example", 444, "an@na", "p:w%", None, bytes.fromhex(PIN)
    )


@pytest.mark.parametrize(
    ("text", "tls", "host", "port"),
    [
        ("mqtt://broker", False, "broker", 1883),
        ("mqtts://broker/", True, "broker", 8883),
        ("mqtt://[::1]", False, "::1", 1883),
        ("mqtts://[2001:db8::2]:99", True, "2001:db8::2", 99),
        ("mqtt://[fe80::1%br-lan]", False, "fe80::1%br-lan", 1883),
        ("mqtt://10.0.0.1:1", False, "10.0.0.1", 1),
    ],
)
def test_hosts_and_default_ports(text: str, tls: bool, host: str, port: int) -> None:
    url = BrokerUrl.parse(text)

    assert (url.tls, url.host, url.port) == (tls, host, port)
    assert BrokerUrl.parse(url.encode()) == url


def test_an_empty_password_is_not_a_missing_one() -> None:
    assert BrokerUrl.parse("mqtt://u:@h").password == ""
    assert BrokerUrl.parse("mqtt://u@h").password is None


def test_a_ca_is_a_file_of_this_node_and_can_be_dropped() -> None:
    url = BrokerUrl.parse("mqtts://h?ca=/etc/my%20ca.pem")

    assert url.ca == "/etc/my ca.pem"
    assert BrokerUrl.parse(url.encode()) == url
    assert url.without_ca().ca is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("http://h", "begins with mqtt"),
        ("broker:1883", "begins with mqtt"),
        ("", "begins with mqtt"),
        ("mqtt://", "names a host"),
        ("mqtt://u:p@", "names a host"),
        ("mqtt://::1", "names a host|the port"),
        ("mqtt://h:", "the port"),
        ("mqtt://h:0", "the port"),
        ("mqtt://h:65536", "the port"),
        ("mqtt://h:x", "the port"),
        ("mqtt://h/topic", "nothing after"),
        ("mqtt://h#x", "nothing after"),
        ("mqtt://[::1", "malformed"),
        ("mqtt://h a", "no spaces"),
        ("mqtt://h\n", "no spaces or control"),
        ("mqtt://:p@h", "no user"),
        ("mqtt://a@b:p@h", "written %40"),
        ("mqtt://u:50%@h", "written %25"),
        ("mqtt://u:%ff@h", "not UTF-8"),
        ("mqtt://u:%00@h", "no NUL"),
        ("mqtt://u:" + "x" * 256 + "@h", "255 bytes"),
        ("mqtt://h" + "x" * 1024, "1024 characters"),
        ("mqtt://h?pin=" + PIN, "mqtt:// is not encrypted"),
        ("mqtts://h?pin=12", "64 hex digits"),
        ("mqtts://h?ca=", "names a file"),
        ("mqtts://h?verify=no", "options"),
        (f"mqtts://h?pin={PIN}&pin={PIN}", "once"),
        ("mqtts://h?ca=%ff", "options"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str) -> None:
    with pytest.raises(BadBrokerUrl, match=complaint):
        BrokerUrl.parse(text)


def test_neither_texts_nor_complaints_show_the_password() -> None:
    url = BrokerUrl.parse("mqtt://anna:hunter2@h:99")

    assert str(url) == "mqtt://…@h:99"
    assert "hunter2" not in repr(url) + str(url) + f"{[url]}"
    with pytest.raises(BadBrokerUrl) as caught:
        BrokerUrl.parse("mqtt://anna:hunter2@h:port")
    assert "hunter2" not in str(caught.value.as_dict())


def test_a_pin_may_have_the_colons_that_openssl_prints() -> None:
    assert parse_pin(":".join(["AB"] * 32)) == bytes.fromhex(PIN)


logins = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=60)


@given(
    tls=st.booleans(),
    host=st.sampled_from(["h", "a.example", "::1", "10.0.0.1"]),
    port=st.integers(1, 65535),
    user=logins.filter(bool),
    password=st.none() | logins,
    pin=st.none() | st.binary(min_size=32, max_size=32),
)
def test_every_address_makes_the_round_trip(
    tls: bool, host: str, port: int, user: str, password: str | None, pin: bytes | None
) -> None:
    url = BrokerUrl(tls, host, port, user, password, None, pin if tls else None)

    text = url.encode()

    if len(text) <= 1024:
        assert BrokerUrl.parse(text) == url


@given(st.text() | st.text().map("mqtts://".__add__))
def test_any_text_is_an_address_or_a_complaint(text: str) -> None:
    try:
        url = BrokerUrl.parse(text)
    except BadBrokerUrl:
        return
    assert BrokerUrl.parse(url.encode()) == url
