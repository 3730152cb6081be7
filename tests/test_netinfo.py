"""Which addresses stand in tickets, and which may be dialled."""

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.links.netinfo import (
    ADDRESSES_MAX,
    Kind,
    dialable,
    kind_of,
    local_addresses,
    ticket_addresses,
)

PUBLIC, OTHER_PUBLIC = ip_address("8.8.4.4"), ip_address("9.9.9.9")
PRIVATE, LOOPBACK = ip_address("192.168.1.2"), ip_address("127.0.0.1")
V6 = ip_address("2a00:1450::1")


def hosts(addresses):
    return [host for host, _ in addresses]


def offered(*own, theirs=(), **options):
    return hosts(
        ticket_addresses(own, 2122, theirs=[(one, 1) for one in theirs], **options)
    )


def test_the_configured_name_comes_first_then_public_addresses_of_both_families():
    assert offered(V6, PRIVATE, PUBLIC, public_name="box.example") == [
        "box.example",
        "8.8.4.4",
        "2a00:1450::1",
    ]


def test_private_addresses_are_offered_only_behind_the_same_public_address():
    assert offered(PUBLIC, PRIVATE, theirs=["9.9.9.9"]) == ["8.8.4.4"]
    assert offered(PUBLIC, PRIVATE, theirs=["8.8.4.4"]) == ["8.8.4.4", "192.168.1.2"]
    assert offered(PRIVATE) == []
    assert offered(PRIVATE, allows_private=True) == ["192.168.1.2"]


def test_loopback_is_offered_only_between_two_nodes_on_loopback():
    assert offered(LOOPBACK, theirs=["127.0.0.1"]) == ["127.0.0.1"]
    assert offered(PUBLIC, LOOPBACK, theirs=["9.9.9.9"]) == ["8.8.4.4"]


NEVER = ["169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::"]
NEVER += ["255.255.255.255", "::ffff:169.254.1.1"]


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_are_never_offered_nor_dialled(text):
    assert kind_of(ip_address(text)) is Kind.NEVER
    assert offered(ip_address(text), allows_private=True) == []
    assert dialable([(text, 1)], [PUBLIC], allows_private=True) == ()


def test_a_friend_cannot_make_this_node_knock_at_its_own_house():
    theirs = [("192.168.1.1", 80), ("127.0.0.1", 22), ("::ffff:10.0.0.1", 80)]
    theirs += [("9.9.9.9", 2122)]
    assert dialable(theirs, [PUBLIC, PRIVATE]) == (("9.9.9.9", 2122),)


def test_no_more_than_eight_addresses_are_offered_or_dialled():
    many = [ip_address(f"8.8.8.{n}") for n in range(20)]
    assert len(ticket_addresses(many, 1)) == ADDRESSES_MAX
    assert len(dialable([(str(one), 1) for one in many], [PUBLIC])) == ADDRESSES_MAX


@given(st.ip_addresses())
def test_every_address_has_a_kind(address):
    assert isinstance(kind_of(address), Kind)


def test_the_kernel_knows_loopback_with_its_prefix():
    found = {str(one) for one in local_addresses()}
    assert "127.0.0.1/8" in found
    if socket.has_ipv6 and any(":" in one for one in found):
        assert all("/" in one for one in found)
