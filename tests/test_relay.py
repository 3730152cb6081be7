"""A relay: who may meet there, how much is carried, and what ends it."""

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import PeerError, TicketRefused
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.reach_messages import RelayAsk, RelayJoin
from fonshare_agent.protocol.relay import ASKER, OTHER, opening_line, read_opening
from fonshare_agent.relaying import Relaying
from fonshare_agent.relaying_on_demand import RelayingOnDemand
from fonshare_agent.transfer import relay_desk
from fonshare_agent.transfer.limits import TokenBucket
from fonshare_agent.transfer.relay_desk import RelayDesk
from fonshare_agent.transfer.splicing import Account, Splicer
from waiting import PATIENCE_S, wait_until

ANNA, BEN, CARL, DORA = (NodeId(bytes([n]) * 32) for n in range(1, 5))
GROUP = GroupId(b"g" * 32)
ID, SECRET = b"i" * 16, b"s" * 16
VECTORS = json.loads((Path(__file__).parent / "vectors" / "relay.json").read_text())


def opening(end, number, secret=SECRET, relay=ID):
    line = opening_line(relay, secret, end, number).decode()
    return read_opening(line.removeprefix("RELAY "))


def connected():
    """Return the two ends of a connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname(), PATIENCE_S)
        far, _ = server.accept()
    far.settimeout(PATIENCE_S)
    return near, far


def read_all(sock):
    got = bytearray()
    while piece := sock.recv(65536):
        got += piece
    return bytes(got)


@pytest.fixture
def now():
    return [0.0]  # beside the real clock


@pytest.fixture
def splicer():
    splicer = Splicer()
    yield splicer
    splicer.stop()


@pytest.fixture
def desk(now, splicer):
    splicer.clock = lambda: time.monotonic() + now[0]
    return RelayDesk(splicer.clock, splicer, TokenBucket(0, time.monotonic))


@pytest.fixture
def ends(splicer):
    """Two connections whose far ends the splicer may join."""
    pairs = connected(), connected()
    yield pairs
    for near, far in pairs:
        near.close()
        far.close()


# --- the line


def test_the_lines_of_the_vectors_are_made_and_read():
    for one in VECTORS["openings"]:
        relay, secret = bytes.fromhex(one["relay"]), bytes.fromhex(one["secret"])
        line = opening_line(relay, secret, one["end"], one["number"])
        assert line.decode() == one["line"]
        got = read_opening(one["line"].removeprefix("RELAY "))
        assert (got.relay, got.end, got.number) == (relay, one["end"], one["number"])
        assert got.proof.hex() == one["proof"]
    for line in VECTORS["malformed"]:
        with pytest.raises(PeerError):
            read_opening(line)


@given(st.text(max_size=120) | st.text("ABRELY 0123456789=", max_size=90))
def test_a_strangers_line_is_nothing_but_a_peer_error(line):
    with pytest.raises(PeerError):
        read_opening(line)


# --- who may meet


def test_what_one_end_sends_the_other_gets_and_back(desk, ends):
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    (anna, one), (ben, other) = ends
    desk.enter(opening(ASKER, 0))(one)
    anna.sendall(b"before he came, ")
    desk.enter(opening(OTHER, 0))(other)
    anna.sendall(b"and after")
    anna.shutdown(socket.SHUT_WR)
    assert read_all(ben) == b"before he came, and after"
    ben.sendall(b"he answers still")
    ben.shutdown(socket.SHUT_WR)
    assert read_all(anna) == b"he answers still"


def test_a_stream_is_opened_once_and_only_by_who_has_the_secret(desk):
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    desk.enter(opening(ASKER, 0))
    with pytest.raises(TicketRefused):
        desk.enter(opening(ASKER, 0))
    with pytest.raises(TicketRefused):
        desk.enter(opening(ASKER, 1, secret=b"x" * 16))
    with pytest.raises(TicketRefused):
        desk.enter(opening(OTHER, 0, relay=b"x" * 16))
    with pytest.raises(TicketRefused):
        desk.enter(opening(OTHER, 4096))
    desk.enter(opening(OTHER, 0))


def test_there_are_few_relays_at_once_and_one_for_each_who_asks(desk, monkeypatch):
    monkeypatch.setattr(relay_desk, "RELAYS_MAX", 2)
    desk.grant(b"1" * 16, SECRET, GROUP, ANNA, BEN)
    with pytest.raises(TicketRefused):
        desk.grant(b"2" * 16, SECRET, GROUP, ANNA, CARL)
    desk.grant(b"3" * 16, SECRET, GROUP, BEN, CARL)
    with pytest.raises(TicketRefused):
        desk.grant(b"4" * 16, SECRET, GROUP, DORA, CARL)
    desk.revoke(lambda relay: relay.asker == ANNA)
    desk.grant(b"2" * 16, SECRET, GROUP, ANNA, CARL)


def test_who_asks_again_for_the_same_member_has_lost_its_relay_and_gets_another(
    desk, ends
):
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    (anna, one), (ben, other) = ends
    desk.enter(opening(ASKER, 0))(one)
    desk.enter(opening(OTHER, 0))(other)
    desk.grant(b"2" * 16, SECRET, GROUP, ANNA, BEN)
    assert [relay.id for relay in desk.live()] == [b"2" * 16]
    assert read_all(anna) == read_all(ben) == b""


def test_who_is_not_met_is_let_go(desk, ends, now):
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    (anna, one), _ = ends
    desk.enter(opening(ASKER, 0))(one)
    now[0] += relay_desk.MEET_S
    desk.tend()
    assert read_all(anna) == b""
    assert desk.live() == []
    with pytest.raises(TicketRefused):
        desk.enter(opening(OTHER, 0))


def test_at_hours_when_nothing_moves_nobody_meets_here(splicer):
    bucket = TokenBucket(512, time.monotonic)
    desk = RelayDesk(time.monotonic, splicer, bucket)
    bucket.close()
    with pytest.raises(TicketRefused):
        desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    bucket.set_rate(0)
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)


class CountedTraffic:
    def __init__(self):
        self.counted = {}

    def add(self, whose, find):
        self.counted[whose] = find()

    def drop(self, whose):
        self.counted.pop(whose, None)


def test_what_a_relay_carries_counts_as_ours_while_it_lasts(splicer, ends):
    (anna, one), (ben, other) = ends
    bucket, traffic = TokenBucket(0, time.monotonic), CountedTraffic()
    account = Account(1 << 30, time.monotonic() + 1000, bucket, ID, traffic)
    splicer.join(one, other, account)
    assert set(traffic.counted.values()) == {one, other}
    anna.close()
    ben.close()
    wait_until(lambda: not traffic.counted, "it is over")


def test_connections_that_wait_are_few(desk):
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    pairs = [connected() for _ in range(relay_desk.WAITING_MAX + 1)]
    for number, (_, far) in enumerate(pairs):
        desk.enter(opening(ASKER, number))(far)
    assert read_all(pairs[-1][0]) == b""
    desk.revoke(lambda relay: True)
    for near, far in pairs:
        near.close()
        far.close()


def test_who_is_called_comes_to_us_without_taking_a_relays_place(desk, monkeypatch):
    monkeypatch.setattr(relay_desk, "RELAYS_MAX", 1)
    monkeypatch.setattr(relay_desk, "CALLS_MAX", 2)
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    desk.grant_call(b"1" * 16, SECRET, GROUP, DORA, BEN)
    desk.grant_call(b"2" * 16, SECRET, GROUP, DORA, CARL)
    with pytest.raises(TicketRefused):
        desk.grant_call(b"3" * 16, SECRET, GROUP, DORA, ANNA)
    desk.enter(opening(OTHER, 0, relay=b"1" * 16))


def test_at_hours_when_nothing_is_relayed_who_is_called_comes(splicer):
    bucket = TokenBucket(512, time.monotonic)
    desk = RelayDesk(time.monotonic, splicer, bucket)
    bucket.close()
    desk.grant_call(ID, SECRET, GROUP, DORA, BEN)


def test_a_relay_that_nobody_uses_any_more_makes_room(desk, ends, now, splicer):
    """Else who was there once would be refused another one for an hour."""
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    (anna, one), (ben, other) = ends
    desk.enter(opening(ASKER, 0))(one)
    desk.enter(opening(OTHER, 0))(other)
    now[0] += relay_desk.LEFT_S
    assert len(desk.live()) == 1, "while a stream is open"
    anna.close()
    ben.close()
    wait_until(lambda: splicer._thread is None, "the stream has ended")
    assert len(desk.live()) == 1
    now[0] += relay_desk.LEFT_S
    desk.grant(b"2" * 16, SECRET, GROUP, ANNA, BEN)


# --- how much, how long, how fast


def test_a_removed_members_relay_is_cut_at_once(desk, ends):
    desk.grant(ID, SECRET, GROUP, ANNA, BEN)
    (anna, one), (ben, other) = ends
    desk.enter(opening(ASKER, 0))(one)
    desk.enter(opening(OTHER, 0))(other)
    anna.sendall(b"hello")
    assert ben.recv(5) == b"hello"
    desk.revoke(lambda relay: BEN in (relay.asker, relay.other))
    assert ben.recv(5) == b""
    assert read_all(anna) == b""


def test_no_more_is_carried_than_the_account_holds(splicer, ends):
    (anna, one), (ben, other) = ends
    account = Account(100_000, time.monotonic() + 1000)
    splicer.join(one, other, account)
    anna.sendall(bytes(200_000))
    got = 0
    try:
        while piece := ben.recv(65536):
            got += len(piece)
    except ConnectionResetError:  # what was not read any more
        pass
    assert got <= 100_000
    assert account.bytes_moved == 100_000


def test_a_relay_ends_with_its_time(splicer, ends):
    (anna, one), (ben, other) = ends
    now = [0.0]
    splicer.clock = lambda: now[0]
    splicer.join(one, other, Account(1 << 30, 60.0))
    anna.sendall(b"in time")
    assert ben.recv(7) == b"in time"
    now[0] = 61.0
    assert ben.recv(7) == b""


def test_an_end_that_is_silent_for_long_is_let_go(splicer, ends):
    (anna, one), (ben, other) = ends
    now = [0.0]
    splicer.clock = lambda: now[0]
    splicer.join(one, other, Account(1 << 30, 1e9))
    anna.sendall(b"hello")
    assert ben.recv(5) == b"hello"

    def is_let_go():
        now[0] += 91.0
        return splicer._thread is None

    wait_until(is_let_go, "it is let go")
    assert ben.recv(5) == b""


def test_the_owners_limit_holds_for_all_together(splicer):
    """Two streams of 96 KiB at 256 KiB a second take three quarters less the burst."""
    bucket = TokenBucket(256, time.monotonic)
    pairs = [(connected(), connected()) for _ in range(2)]
    since = time.monotonic()
    for (near, one), (_, other) in pairs:
        splicer.join(one, other, Account(1 << 30, since + 1000, bucket))
        near.sendall(bytes(96 * 1024))
        near.shutdown(socket.SHUT_WR)
    for _, (ben, _) in pairs:
        assert len(read_all(ben)) == 96 * 1024
    assert time.monotonic() - since > 0.2
    for pair in pairs:
        for near, far in pair:
            near.close()
            far.close()


def test_a_slow_reader_holds_up_nobody_else_and_is_not_read_ahead_for(splicer, ends):
    (anna, one), (ben, other) = ends
    account = Account(1 << 40, time.monotonic() + 1000)
    splicer.join(one, other, account)
    anna.settimeout(0.5)
    with pytest.raises(TimeoutError):  # ben reads nothing: it stops somewhere
        anna.sendall(bytes(64 << 20))
    (carl, three), (dora, four) = connected(), connected()
    splicer.join(three, four, account)
    carl.sendall(b"hello")
    assert dora.recv(5) == b"hello"
    assert ben.recv(65536)
    for sock in (carl, dora):  # the others are the splicer's
        sock.close()


def test_when_one_end_breaks_off_the_other_is_told(splicer, ends):
    (anna, one), (ben, other) = ends
    splicer.join(one, other, Account(1 << 30, time.monotonic() + 1000))
    anna.close()
    assert ben.recv(1) == b""


def test_the_thread_ends_with_the_last_pair(splicer, ends):
    (anna, one), (ben, other) = ends
    splicer.join(one, other, Account(1 << 30, time.monotonic() + 1000))
    anna.close()
    ben.close()
    wait_until(lambda: splicer._thread is None, "it ends")


# --- loaded when it is asked for


class Loaded:
    """Stands for `Relaying`."""

    def __init__(self):
        self.asked, self.stops = [], 0

    def on_ask(self, group, member, ask):
        self.asked.append(ask)

    def stop(self):
        self.stops += 1


def test_relaying_is_loaded_with_the_first_ask_and_never_once_the_node_stops():
    core, loaded, is_there = Core(time.monotonic), Loaded(), [False]
    files = Worker("files", core)
    files.start()

    def load():
        if not is_there[0]:
            raise OSError("the disk is gone")
        return lambda: loaded

    def wait_for(work):
        done = core.spawn(work)
        while not done.is_settled:
            core.run_once()
        return done.result()

    ask = RelayAsk(bytes(16), BEN, ())
    relaying = RelayingOnDemand(files, load)
    wait_for(relaying.on_ask(GROUP, ANNA, ask))
    assert wait_for(relaying.find(GROUP, BEN, "job")) is None
    is_there[0] = True
    wait_for(relaying.on_ask(GROUP, ANNA, ask))
    assert loaded.asked == [ask], "with the disk it is there"
    relaying.stop()
    wait_for(relaying.on_ask(GROUP, ANNA, ask))
    assert (len(loaded.asked), loaded.stops) == (1, 1)
    files.stop()


def test_one_member_does_not_take_the_places_of_all_who_may_call_us():
    core = Core(time.monotonic)
    roster = SimpleNamespace(members={ANNA, BEN, CARL})
    world: Any = SimpleNamespace(
        core=core,
        machine=lambda group: SimpleNamespace(roster=roster),
        outside=SimpleNamespace(dialable=lambda addresses: ()),
        door=lambda: ("127.0.0.1", 9),
        data_ports=range(0),
    )
    relaying = Relaying(world)
    try:
        for number, member in enumerate([ANNA, ANNA, BEN, ANNA, ANNA, CARL]):
            ask = RelayJoin(bytes(16), member, bytes([number]) * 16, SECRET, ())
            # No further than to the worker that dials; nobody has answered it yet.
            relaying._join(GROUP, member, ask).send(None)
        waiting = [relay[0] for relay in relaying._guests]
        assert waiting == [2, 3, 4, 5], "the newest of hers, and everybody else's"
    finally:
        relaying.stop()
