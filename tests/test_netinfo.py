"""Which addresses stand in tickets, and which may be dialled."""

import errno
import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.links.netinfo import (
    ADDRESSES_MAX,
    Kind,
    _read_page,
    dialable,
    kind_of,
    local_addresses,
    resolve,
    ticket_addresses,
)
from fonshare_agent.links.netinfo import look_up as netinfo_look_up

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
    shown = offered(PUBLIC, PRIVATE, theirs=["8.8.4.4"])
    assert shown == ["192.168.1.2", "8.8.4.4"]
    assert offered(PRIVATE) == []
    assert offered(PRIVATE, allows_private=True) == ["192.168.1.2"]


def test_loopback_is_offered_only_between_two_nodes_on_loopback():
    assert offered(LOOPBACK, theirs=["127.0.0.1"]) == ["127.0.0.1"]
    assert offered(PUBLIC, LOOPBACK, theirs=["9.9.9.9"]) == ["8.8.4.4"]


NEVER = ["169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::"]
NEVER += ["255.255.255.255", "::ffff:169.254.1.1"]
NEVER += ["fe80::1%eth0", "240.0.0.1", "0.0.0.1", "::7f00:1", "64:ff9b::c0a8:101"]
NEVER += ["64:ff9b:1::7f00:1", "2002:c0a8:101::1", "2001::1"]
NO_NAMES = ["localhost", "router", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", ""]
NO_NAMES += [
    "1.2.3.4.5",
    "a..b",
    "-a.example",
    "a b.example",
    ".",
    "a.example\n",
    "é.fr",
]
NO_NAMES += ["a" * 64 + ".example", "a." * 126 + "toolong", "[::1]", "127.0.0.1."]
NO_NAMES += ["a.b/c.example"]


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_are_never_offered_nor_dialled(text):
    assert kind_of(ip_address(text)) is Kind.NEVER
    assert offered(ip_address(text), allows_private=True) == []
    assert dialable([(text, 1)], [PUBLIC], allows_private=True) == ()


def test_a_host_that_has_a_network_does_not_show_its_loopback():
    assert offered(LOOPBACK, PUBLIC) == ["8.8.4.4"]
    assert offered(LOOPBACK, PRIVATE) == []
    assert offered(LOOPBACK, ip_address("fe80::1")) == ["127.0.0.1"]
    assert offered(LOOPBACK, theirs=["127.0.0.1", "9.9.9.9"]) == []
    assert offered(LOOPBACK, theirs=["9.9.9.9"]) == []


def test_a_friend_cannot_make_this_node_knock_at_its_own_services():
    theirs = [("127.0.0.1", 22), ("::1", 22), ("::ffff:127.0.0.1", 22)]
    own = [one.ip for one in local_addresses()]
    assert dialable(theirs, [*own, PUBLIC]) == ()
    assert dialable(theirs, [*own, PUBLIC], allows_private=True) == ()
    assert dialable(theirs, [LOOPBACK]) == tuple(theirs)
    assert dialable([*theirs, ("9.9.9.9", 1)], [LOOPBACK]) == (("9.9.9.9", 1),)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_the_resolver_takes_for_an_address_is_no_name(name):
    assert dialable([(name, 2122)], [PUBLIC], allows_private=True) == ()


def test_a_public_name_may_be_dialled_but_only_at_a_port():
    assert dialable([("box.example.org", 2122)], [PUBLIC]) == (
        ("box.example.org", 2122),
    )
    for port in (0, -1, 65536):
        assert dialable([("box.example.org", port), ("9.9.9.9", port)], [PUBLIC]) == ()


NAMES = {
    "box.example": ["8.8.8.8", "2a00:1450::1"],
    "rebound.example": ["192.168.1.1", "127.0.0.1", "::ffff:10.0.0.1", "169.254.1.1"],
    "mixed.example": ["192.168.1.1", "9.9.9.9"],
}


def look_up(name):
    if name not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return NAMES[name]


def test_a_name_is_dialled_at_the_public_addresses_that_it_stands_for():
    asked = [("box.example", 1), ("rebound.example", 2), ("mixed.example", 3)]
    asked += [("gone.example", 4), ("8.8.4.4", 5)]

    assert resolve(asked, look_up=look_up) == (
        ("8.8.8.8", 1),
        ("2a00:1450::1", 1),
        ("9.9.9.9", 3),
        ("8.8.4.4", 5),
    )


def test_a_name_stands_for_a_private_address_only_where_the_owner_allows_it():
    assert resolve([("mixed.example", 3)], allows_private=True, look_up=look_up) == (
        ("192.168.1.1", 3),
        ("9.9.9.9", 3),
    )
    rebound = resolve([("rebound.example", 2)], allows_private=True, look_up=look_up)
    assert rebound == (("192.168.1.1", 2), ("::ffff:10.0.0.1", 2))


def test_a_name_with_a_hundred_addresses_gives_eight():
    many = [f"8.8.8.{n}" for n in range(100)]
    assert len(resolve([("a.example", 1)], look_up=lambda name: many)) == ADDRESSES_MAX


def test_the_real_resolver_answers_in_the_same_shape():
    # A literal needs no network; what it gives is held to the rules all the same.
    assert netinfo_look_up("127.0.0.1") == ["127.0.0.1"]
    assert resolve([("localhost", 1)]) == ()


def test_a_friend_cannot_make_this_node_knock_at_its_own_house():
    theirs = [("192.168.1.1", 80), ("127.0.0.1", 22), ("::ffff:10.0.0.1", 80)]
    theirs += [("9.9.9.9", 2122)]
    assert dialable(theirs, [PUBLIC, PRIVATE]) == (("9.9.9.9", 2122),)


def test_what_is_routed_in_a_site_only_is_private():
    for text in ("fec0::1", "fd00::1", "100.64.0.1", "172.16.0.1", "::ffff:10.0.0.1"):
        assert kind_of(ip_address(text)) is Kind.PRIVATE


def test_no_more_than_eight_addresses_are_offered_or_dialled():
    many = [ip_address(f"8.8.8.{n}") for n in range(20)]
    assert len(ticket_addresses(many, 1)) == ADDRESSES_MAX
    assert len(dialable([(str(one), 1) for one in many], [PUBLIC])) == ADDRESSES_MAX


IPS = st.lists(st.ip_addresses(), max_size=12)


@given(own=IPS, theirs=IPS, allows_private=st.booleans())
def test_whatever_is_offered_or_dialled_keeps_the_rules(own, theirs, allows_private):
    shown = [(str(one), 1) for one in theirs]
    found = [
        *ticket_addresses(own, 1, theirs=shown, allows_private=allows_private),
        *dialable(shown, own, allows_private=allows_private),
    ]
    for host in hosts(found):
        kind = kind_of(ip_address(host))
        assert kind is not Kind.NEVER
        if kind is Kind.PRIVATE and not allows_private:
            assert any(kind_of(one) is Kind.PUBLIC for one in set(own) & set(theirs))
        if kind is Kind.LOOPBACK:
            assert not any(kind_of(one) is Kind.PUBLIC for one in own)


def test_a_refusal_by_the_kernel_is_an_error_and_no_empty_list():
    error = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -errno.EPERM)
    with pytest.raises(PermissionError):
        _read_page(error)


def test_the_kernel_knows_loopback_with_its_prefix():
    found = {str(one) for one in local_addresses()}
    assert "127.0.0.1/8" in found
    if socket.has_ipv6 and any(":" in one for one in found):
        assert all("/" in one for one in found)


# --- behind a router that forwards


def test_what_a_router_forwards_is_offered_under_its_port_and_ours_is_not():
    found = ticket_addresses([PRIVATE], 2122, outside=("8.8.4.4", 41000))
    assert found == (("8.8.4.4", 41000),)


def test_two_behind_one_router_meet_inside_and_try_that_first():
    outside = ("8.8.4.4", 41000)
    theirs = [("8.8.4.4", 2122)]
    found = ticket_addresses([PRIVATE], 2122, outside=outside, theirs=theirs)
    assert found == ((str(PRIVATE), 2122), outside)
    other = ip_address("192.168.1.3")
    assert dialable(found, [other], outside=theirs[0]) == found
    assert dialable(found, [other]) == (outside,), "elsewhere it is a stranger's host"
