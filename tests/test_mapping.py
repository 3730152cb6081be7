"""Ports forwarded by a router upstream: asked for by each protocol, of a real one."""

import socket
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.core import Core, Worker
from fonshare_agent.ftp.passive import PassivePorts
from fonshare_agent.links import mapping, port_control, upnp
from fonshare_agent.links.child import KILLED, Ended, run_child
from fonshare_agent.links.mapped import Mapped, Unmapped, Wish
from fonshare_agent.links.mapping import find_router
from fonshare_agent.port_mapping import STOP_S, PortMapping
from fonshare_agent.protocol import pcp
from networks import PUBLIC_GATEWAYS, Network
from programs import require_program
from provider_box import Box, switched_on
from waiting import PATIENCE_S, wait_until

ADDRESS, HOME, OTHER = "9.9.1.20", "10.1.0.2", "10.1.0.3"
DOOR, DATA = 2122, (30010, 30011)
WISH = Wish((DOOR, *DATA), b"k" * 32)
SAME = {port: port for port in WISH.ports}
NO_UPNP, NO_UDP = {"enable_upnp": "no"}, {"enable_natpmp": "no"}

ASK = """
import sys
from fonshare_agent.core import Core, Worker
from fonshare_agent.ftp.passive import PassivePorts
from fonshare_agent.links import mapping, port_control, upnp
from fonshare_agent.links.mapped import Wish
wish = Wish((2122, 30010, 30011), sys.argv[2].encode() * 32)
if sys.argv[1] == "withdraw":
    mapping.withdraw(wish, mapping.forward(wish))
elif sys.argv[1] == "forward":
    print(mapping.forward(wish))
elif sys.argv[1] == "NAT-PMP":
    print(port_control.by_nat_pmp(wish, mapping.find_router()))
"""


def ask(host, what="forward", key="k"):
    """Ask from *host*; return what was got."""
    source = str(Path(__file__).parent.parent / "src")
    words = [sys.executable, "-c", ASK, what, key]
    done = subprocess.run(
        [*host.wrapper, "env", f"PYTHONPATH={source}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return eval(done.stdout or "None")


@pytest.fixture
def network():
    with Network(gateways=PUBLIC_GATEWAYS) as network:
        yield network


@pytest.fixture
def home(network):
    house = network.house("router", ADDRESS)
    return house, network.inside(house, "alice", HOME)


@pytest.mark.parametrize(
    ("options", "method"),
    [(NO_UPNP, "PCP"), pytest.param(NO_UDP, "UPnP", marks=pytest.mark.full)],
    ids=["PCP", "UPnP"],
)
def test_a_real_router_forwards_the_ports_and_takes_them_back(
    tmp_path, home, options, method
):
    require_program("upnpc")
    house, host = home
    with switched_on(Box(tmp_path, house, options)) as box:
        got = ask(host)
        assert (got.method, got.address, got.ports) == (method, ADDRESS, SAME)
        assert 0 < got.lifetime_s <= 3600
        assert box.forwarded() == {port: f"{HOME}:{port}" for port in SAME}
        again = ask(host)
        assert again.ports == SAME, "the same after a restart"
        ask(host, "withdraw")
        wait_until(lambda: box.forwarded() == {}, "it forwards nothing any more")


@pytest.mark.full
def test_where_the_port_is_another_hosts_another_one_is_got(tmp_path, network, home):
    """By PCP, by NAT-PMP and by UPnP: the second node of a house."""
    require_program("upnpc")
    house, host = home
    other = network.inside(house, "bob", OTHER)
    with switched_on(Box(tmp_path, house)) as box:
        assert ask(host).ports == SAME
        for what in ("forward", "NAT-PMP"):
            got = ask(other, what, "o")
            assert set(got.ports) == set(SAME)
            assert not set(got.ports.values()) & set(SAME)
            for port, outside in got.ports.items():
                assert box.forwarded()[outside] == f"{OTHER}:{port}"
    with switched_on(Box(tmp_path, house, NO_UDP)) as box:
        assert ask(host).ports == SAME
        got = ask(other)
        assert got.method == "UPnP"
        assert got.ports[DOOR] not in SAME
        assert box.forwarded()[got.ports[DOOR]] == f"{OTHER}:{DOOR}"


@pytest.mark.full
def test_a_router_that_forbids_it_says_so(tmp_path, home):
    require_program("upnpc")
    house, host = home
    deny = ["deny 0-65535 0.0.0.0/0 0-65535"]
    with switched_on(Box(tmp_path, house, NO_UDP, deny)) as box:
        assert ask(host) == Unmapped("refused", "Action not authorized")
        assert box.forwarded() == {}


@pytest.mark.full
def test_a_real_router_behind_another_one_is_of_no_help(tmp_path, network):
    carrier = network.house("carrier", ADDRESS)
    house = network.house("router", "100.64.0.7", behind=carrier)
    host = network.inside(house, "alice", HOME)
    with switched_on(Box(tmp_path, house)) as box:
        assert ask(host).reason == "double_nat"
        assert box.forwarded() == {}


# --- routers that no Debian package is


class Router:
    """Answers each datagram on loopback by what *answer* makes of it."""

    def __init__(self, monkeypatch, answer):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        monkeypatch.setattr(pcp, "PORT", self._socket.getsockname()[1])
        # However late it answers, it is not asked again meanwhile.
        monkeypatch.setattr(port_control, "TRIES_S", (PATIENCE_S,))
        self.asked, self._answer = [], answer
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while True:
            data, sender = self._socket.recvfrom(2000)
            if not data:
                return
            self.asked.append(data)
            for one in self._answer(data):
                self._socket.sendto(one, sender)


def pcp_answer(ask, address="9.9.1.20", result=0, external=None, lifetime=600):
    """Return what a router says to a `pcp_map`."""
    body = bytearray(ask[24:60])
    if external is not None:
        body[18:20] = external.to_bytes(2, "big")
    body[20:] = b"\0" * 10 + b"\xff\xff" + IPv4Address(address).packed
    head = struct.pack("!BBBBII12x", 2, 0x81, 0, result, lifetime, 77)
    return head + bytes(body)


def test_what_pcp_forwards_is_what_the_router_says(monkeypatch):
    def answer(ask):
        port = int.from_bytes(ask[40:42], "big")
        yield pcp_answer(ask, external=port + 5, lifetime=900 if port == DOOR else 300)

    with Router(monkeypatch, answer):
        got = port_control.by_pcp(WISH, "127.0.0.1")
    assert got == Mapped("PCP", ADDRESS, {port: port + 5 for port in SAME}, 300)


def test_a_data_port_that_is_refused_is_missing_and_without_the_door_there_is_nothing(
    monkeypatch,
):
    def refusing(port):
        return lambda ask: [
            pcp_answer(ask, result=8 * (ask[40:42] == port.to_bytes(2, "big")))
        ]

    with Router(monkeypatch, refusing(DATA[0])):
        assert set(port_control.by_pcp(WISH, "127.0.0.1").ports) == {DOOR, DATA[1]}
    with Router(monkeypatch, refusing(DOOR)):
        got = port_control.by_pcp(WISH, "127.0.0.1")
    assert got == Unmapped("refused", "no resources")


def test_what_nobody_asked_for_is_no_answer(monkeypatch):
    def answer(ask):
        right = pcp_answer(ask)
        yield right[:-1]  # cut short
        yield right[:24] + bytes(12) + right[36:]  # another's nonce
        yield right[:36] + b"\x11" + right[37:]  # no port of ours
        yield right[:1] + b"\x01" + right[2:]  # a question, not an answer
        yield b"\x07" * 60

    router = Router(monkeypatch, answer)
    monkeypatch.setattr(port_control, "TRIES_S", (0.05, 0.05))
    with router:
        assert port_control.by_pcp(WISH, "127.0.0.1") == Unmapped("silent")
    assert len(router.asked) == 2, "it is asked again"


def test_a_router_that_knows_only_nat_pmp_says_so_at_once(monkeypatch):
    def answer(ask):
        if ask[0] == 2:
            yield struct.pack("!BBHI", 0, 128 + ask[1], 1, 77)
        elif ask == b"\0\0":
            yield struct.pack("!BBHI4s", 0, 128, 0, 77, IPv4Address(ADDRESS).packed)
        else:
            _, _, _, port, external, lifetime = struct.unpack("!BBHHHI", ask)
            yield struct.pack("!BBHIHHI", 0, 130, 0, 77, port, external or 9, lifetime)

    with Router(monkeypatch, answer) as router:
        assert port_control.by_pcp(WISH, "127.0.0.1") == Unmapped("silent")
        assert len(router.asked) == 1
        got = port_control.by_nat_pmp(WISH, "127.0.0.1")
        assert got == Mapped("NAT-PMP", ADDRESS, SAME, 3600)
        port_control.withdraw(WISH, got, "127.0.0.1")
        wait_until(
            lambda: router.asked[-3:] == [pcp.nat_pmp_map(p, 0, 0) for p in SAME],
            "they are taken back",
        )


def test_a_router_that_forwards_port_0_forwards_nothing():
    """Friends would refuse every ticket with such an address."""
    told = struct.pack("!BBHIHHI", 0, 130, 0, 77, 2122, 0, 3600)
    assert pcp.read_nat_pmp_map(told, 2122) == pcp.Refused("no port")


@pytest.mark.parametrize("address", ["100.64.0.7", "10.0.0.7"])
def test_a_router_that_forwards_on_an_inside_address_is_of_no_help(
    monkeypatch, address
):
    monkeypatch.setattr(mapping, "find_router", lambda: "127.0.0.1")
    with Router(monkeypatch, lambda ask: [pcp_answer(ask, address)]) as router:
        got = mapping.forward(WISH)
        assert got == Unmapped("double_nat", "PCP", address)
        assert got.is_shared == address.startswith("100.")
        ended = [
            pcp.pcp_map(IPv4Address("127.0.0.1"), ask[24:36], 0, 0, 0)[:8]
            for ask in router.asked[:1]
        ]
        wait_until(lambda: router.asked[-1][:8] == ended[0], "it is taken back")


def test_the_same_key_has_the_same_nonces_and_another_key_has_others(monkeypatch):
    """So that a router knows a node again which has lost its counters in a crash."""
    with Router(monkeypatch, lambda ask: [pcp_answer(ask)]) as router:
        for key in (b"k" * 32, b"k" * 32, b"o" * 32):
            port_control.by_pcp(replace(WISH, key=key), "127.0.0.1")
    nonces = [ask[24:36] for ask in router.asked]
    first, second, other = (set(nonces[n : n + 3]) for n in (0, 3, 6))
    assert first == second
    assert not first & other
    assert len(first) == 3


@given(data=st.binary(max_size=100))
def test_strangers_datagrams_are_nothing_or_a_refusal(data):
    port, nonce = 2122, b"n" * 12
    for got in (
        pcp.read_pcp(data, nonce, port),
        pcp.read_nat_pmp_map(data, port),
        pcp.read_nat_pmp_address(data),
    ):
        assert not isinstance(got, pcp.Forwarded) or data[0] in (0, 2)


# --- upnpc, read strictly

SEEN = """upnpc : miniupnpc library test client, version 2.2.4.
List of UPNP devices found on the network :
 desc: http://10.1.0.1:5000/rootDesc.xml
 st: urn:schemas-upnp-org:device:InternetGatewayDevice:1

Found valid IGD : http://10.1.0.1:5000/ctl/IPConn
Local LAN ip address : 10.1.0.2
ExternalIPAddress = 9.9.1.20
"""


def upnpc(answer):
    """Return a stand-in that records what it is asked."""
    asked = []

    def run(words, timeout_s):
        asked.append(words[1:])
        if "-s" in words:
            return Ended(0, SEEN)
        return answer(words)

    return run, asked


def done(words):
    internal, external, _, lease = words[-4:]
    return Ended(
        0,
        f"{SEEN}external 9.9.1.20:{external} TCP is redirected to internal "
        f"10.1.0.2:{internal} (duration={lease})\n",
    )


def failed(words, code, text):
    return Ended(2, f"AddPortMapping({words[-3]}) failed with code {code} ({text})\n")


def test_a_router_that_forwards_only_for_ever_is_asked_for_that():
    def answer(words):
        is_lasting = words[-1] == "0"
        return done(words) if is_lasting else failed(words, 725, "OnlyPermanentLeases")

    run, asked = upnpc(answer)
    got = upnp.by_upnp(WISH, run=run)
    assert got == Mapped("UPnP", ADDRESS, SAME, 0, "http://10.1.0.1:5000/rootDesc.xml")
    assert [words[-1] for words in asked[1:]] == ["3600", "0", "0", "0"]
    upnp.withdraw(WISH, got, run)
    assert asked[-1] == [
        "-u",
        "http://10.1.0.1:5000/rootDesc.xml",
        "-d",
        "30011",
        "tcp",
    ]


FORWARDS = "external 9.9.1.20:2122 TCP is redirected to internal 10.1.0.2:{}\n"


@pytest.mark.parametrize(
    "said",
    [
        Ended(0, FORWARDS.format("99 (duration=1)")),
        Ended(1, FORWARDS.format("2122 (duration=1)")),
        Ended(0, FORWARDS.format("2122")),
        Ended(0, FORWARDS.format("2122 (duration=1)").replace("TCP", "UDP")),
        Ended(KILLED, ""),
        Ended(0, ""),
    ],
)
def test_upnpc_is_believed_only_word_for_word(said):
    run, _ = upnpc(lambda words: said)
    assert upnp.by_upnp(WISH, run=run).reason == "refused"


def test_without_upnpc_nothing_is_wrong():
    def absent(words, timeout_s):
        raise FileNotFoundError(words[0])

    assert upnp.by_upnp(WISH, run=absent).reason == "silent"


# --- children


def test_a_child_that_takes_too_long_is_killed():
    assert run_child(["sh", "-c", "echo begun; exec sleep 600"], 0.3) == (
        KILLED,
        "begun\n",
    )
    assert run_child(["sh", "-c", "exec >&- 2>&-; exec sleep 600"], 0.3)[0] == KILLED


def test_a_childs_outputs_and_status_are_told_and_it_dies_first_for_want_of_memory():
    said = run_child(["sh", "-c", "echo one; echo two >&2; exit 3"], 60)
    assert said == (3, "one\ntwo\n")
    assert run_child(["sh", "-c", "yes | head -c 200000"], 60).output.__len__() == 65536
    with pytest.raises(FileNotFoundError):
        run_child(["fonshare-no-such-program"], 60)


def test_the_router_is_where_the_best_default_route_leads(tmp_path):
    table = tmp_path / "route"
    table.write_text(
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "wan2 00000000 0100020A 0003 0 0 200 00000000 0 0 0\n"
        "wan 00000000 0100010A 0003 0 0 100 00000000 0 0 0\n"
        "lan 0000010A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
    )
    assert find_router(table) == "10.1.0.1"
    table.write_text("Iface Destination Gateway Flags RefCnt Use Metric Mask\n")
    assert find_router(table) is None
    assert find_router(tmp_path / "absent") is None


# --- what follows from it


def test_who_comes_through_the_router_gets_only_ports_that_it_forwards():
    """Under its numbers; who is at home, or comes by IPv6, needs none of that."""
    ports = PassivePorts(range(30010, 30020), 0)
    ports.forwarded = {30012: 41000}
    outside, *inside = map(ip_address, ("8.8.4.4", "192.168.1.9", "2a00:1450::1"))
    with socket.socket() as first, socket.socket() as second:
        assert ports.listen(first, ("127.0.0.1", 0), outside, False)
        assert first.getsockname()[1] == 30012
        assert ports.shown(30012, outside) == 41000
        assert not ports.listen(second, ("127.0.0.1", 0), outside, False)
        for peer in inside:
            with socket.socket() as near:
                assert ports.listen(near, ("127.0.0.1", 0), peer, False)
                port = near.getsockname()[1]
                assert ports.shown(port, peer) == port


class World:
    """The decider on a core of its own, and what asking comes to."""

    def __init__(self, monkeypatch):
        self.wish, self.outcome = WISH, Unmapped("silent")
        self.asked, self.withdrawn, self.told = 0, [], []
        self.may_answer = threading.Event()
        self.may_answer.set()
        monkeypatch.setattr(mapping, "forward", self._forward)
        monkeypatch.setattr(
            mapping, "withdraw", lambda wish, mapped: self.withdrawn.append(mapped)
        )
        self.now = 0.0
        self.core = Core(lambda: self.now)
        self.closer = Worker("closer", self.core)
        self.closer.start()
        self.mapping = PortMapping(
            self.core, self.closer, lambda: self.wish, self.told.append
        )

    def _forward(self, wish):
        self.asked += 1
        assert self.may_answer.wait(PATIENCE_S)
        return self.outcome

    def run_until(self, condition):
        def look():
            self.core.post(lambda: None)  # so that it does not wait for a timer
            self.core.run_once()
            return condition()

        wait_until(look)

    def stop_while_asking(self):
        """Return what is settled once it has stopped; the router has not answered."""
        self.may_answer.clear()
        self.outcome = GOT
        self.mapping.consider()
        self.run_until(lambda: self.asked == 1)
        return self.core.spawn(self.mapping.stop())

    def settle(self, asked):
        self.run_until(lambda: self.asked == asked and not self.mapping._is_asking)

    def end(self):
        done = self.core.spawn(self.mapping.stop())
        self.run_until(lambda: done.is_settled)
        self.closer.stop()


@pytest.fixture
def world(monkeypatch):
    world = World(monkeypatch)
    yield world
    world.end()


GOT = Mapped("PCP", ADDRESS, SAME, 600)


def test_a_lease_is_renewed_at_half_its_time_and_taken_back_at_the_end(world):
    world.outcome = GOT
    world.mapping.consider()
    world.settle(1)
    assert world.told == [GOT]
    world.now += 299
    world.settle(1)
    world.now += 2
    world.settle(2)
    assert world.told == [GOT], "nothing new is told"
    world.end()
    assert world.withdrawn == [GOT]


def test_what_is_got_while_the_node_stops_is_taken_back(world):
    stopped = world.stop_while_asking()
    world.run_until(lambda: world.mapping._is_stopped)
    assert not stopped.is_settled
    world.may_answer.set()
    world.run_until(lambda: stopped.is_settled)
    assert world.withdrawn == [GOT]
    assert world.told == []


def test_a_router_that_is_silent_holds_up_no_stop_for_long(world):
    stopped = world.stop_while_asking()
    world.now += STOP_S
    world.run_until(lambda: stopped.is_settled)
    assert world.withdrawn == []
    world.may_answer.set()
    world.run_until(lambda: world.withdrawn == [GOT])


def test_who_is_refused_asks_more_and_more_seldom(world):
    world.mapping.consider()
    for count, pause_s in enumerate((60, 120, 240, 480, 960, 1920, 3600, 3600), 1):
        world.settle(count)
        world.now += pause_s - 1
        world.settle(count)
        world.now += 2
    assert world.told == []


def test_what_is_not_forwarded_any_more_is_not_announced_any_more(world):
    world.outcome = GOT
    world.mapping.consider()
    world.settle(1)
    world.outcome = Unmapped("silent")
    world.now += 400
    world.settle(2)
    assert world.told == [GOT, None]


def test_a_node_that_has_got_a_public_address_takes_back_what_it_needs_no_more(world):
    world.outcome = GOT
    world.mapping.consider()
    world.settle(1)
    world.wish = None
    world.mapping.consider()
    world.run_until(lambda: world.told == [GOT, None])
    assert world.withdrawn == [GOT]
    assert world.mapping.outcome is None
