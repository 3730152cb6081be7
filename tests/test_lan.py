"""What the word `lan` means in the settings of a router."""

from ipaddress import ip_network

import pytest

from fonshare_agent.config_uci import parse_uci
from fonshare_agent.links.lan import house_networks, lan_devices, networks_of

FIREWALL = """\
config defaults
	option input 'REJECT'

config zone
	option name 'lan'
	list network 'lan'
	list network 'office'

config zone
	option name 'wan'
	list network 'wan'
	list network 'wan6'
"""
NETWORK = """\
config interface 'loopback'
	option device 'lo'

config device
	option name 'br-lan'
	option type 'bridge'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'

config interface 'office'
	option device '@lan'

config interface 'wan'
	option device 'eth1'
"""
ROUTE = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth1\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
br-lan\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
br-lan\t0002A8C0\t0901A8C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
br-lan\t0003A8C0\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0
br-lan\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
"""


def v6(address, prefix, flags, device):
    plain = ip_network(address).network_address.exploded.replace(":", "")
    zeros = "0" * 32
    return f"{plain} {prefix} {zeros} 00 {zeros} 00000100 1 0 {flags} {device}\n"


IPV6_ROUTE = (
    v6("fd12:3456::", "40", "00000001", "br-lan")
    + v6("fe80::", "40", "00000001", "br-lan")
    + v6("ff00::", "08", "00000001", "br-lan")
    + v6("::", "00", "00000001", "br-lan")
    + v6("fd77::", "40", "00000003", "br-lan")
    + v6("fd78::", "40", "00000201", "br-lan")
    + v6("fd12:3456::1", "80", "80200001", "br-lan")
    + v6("2001:db8::", "40", "00000001", "eth1")
)
LAN = [ip_network("192.168.1.0/24"), ip_network("fd12:3456::/64")]


@pytest.fixture
def router(tmp_path):
    """Return the folders of a router's settings and of its kernel's tables."""
    uci, proc = tmp_path / "config", tmp_path / "net"
    uci.mkdir()
    proc.mkdir()
    (uci / "firewall").write_text(FIREWALL)
    (uci / "network").write_text(NETWORK)
    (proc / "ipv6_route").write_text(IPV6_ROUTE)
    return {"uci": uci, "proc": proc}


def devices(firewall, network):
    return lan_devices(parse_uci(firewall), parse_uci(network))


def test_the_lan_is_what_is_joined_to_the_lan_zones_devices_directly():
    found = networks_of(
        {"br-lan"}, ROUTE.splitlines(), IPV6_ROUTE.splitlines(), order="little"
    )
    assert found == LAN


def test_a_big_endian_kernel_shows_the_same_network_the_other_way_round():
    line = "br-lan C0A80100 00000000 0001 0 0 0 FFFFFF00 0 0 0"
    assert networks_of({"br-lan"}, [line], [], order="big") == LAN[:1]


def test_the_wan_is_not_the_house(router):
    networks = house_networks([], True, **router)
    assert networks == (ip_network("fd12:3456::/64"),)


def test_networks_named_in_the_settings_come_first_and_once(router):
    named = [ip_network("10.0.0.0/8"), ip_network("fd12:3456::/64")]
    assert house_networks(named, True, **router) == tuple(named)
    assert house_networks(named, False, **router) == tuple(named)
    assert house_networks(named[:1], False, **router) == tuple(named[:1])


def test_the_devices_are_those_of_the_zones_interfaces():
    assert devices(FIREWALL, NETWORK) == {"br-lan"}
    assert devices("", NETWORK) == {"br-lan"}


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        ("option type bridge\noption ifname eth0", {"br-lan"}),
        ("option ifname 'eth0.1'", {"eth0.1"}),
        ("option proto wireguard", {"lan"}),
        ("list device eth0\nlist device eth2", {"eth0", "eth2"}),
        ("option device @lan", set()),
        ("option device @gone", set()),
    ],
)
def test_an_interface_has_its_device_in_each_of_openwrts_spellings(interface, expected):
    assert devices("", f"config interface lan\n{interface}\n") == expected


def test_a_zone_may_name_devices_and_its_interfaces_in_one_option():
    zone = "config zone\noption name lan\noption network 'lan office'\nlist device tun0"
    assert devices(zone, NETWORK) == {"br-lan", "tun0"}


def test_a_zone_without_interfaces_is_no_house():
    assert devices("config zone\noption name lan\n", NETWORK) == set()


def test_an_interface_called_lan_in_another_zone_is_no_house():
    zone = "config zone\noption name untrusted\nlist network lan"
    assert devices(zone, NETWORK) == set()


@pytest.mark.parametrize("name", ["firewall", "network"])
def test_a_broken_file_shuts_the_house_door(router, name, caplog):
    (router["uci"] / name).write_text("config 'open")

    assert house_networks([], True, **router) == ()
    assert "is not read" in caplog.text


def test_without_files_there_is_no_lan(tmp_path):
    assert house_networks([], True, uci=tmp_path, proc=tmp_path) == ()
