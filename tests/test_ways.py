"""Which way connections come about: remembered, and tried when a member asks."""

import json
import socket
import threading
import time
from contextlib import closing

import pytest

from fonshare_agent.asking import NoAnswer
from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.errors import PeerUnreachable, StorageError
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.granting import Outside
from fonshare_agent.model import NodeId
from fonshare_agent.protocol import data_try
from fonshare_agent.protocol.messages import PushEnded, decode, encode
from fonshare_agent.protocol.reach_messages import ReachAnswer, ReachAsk
from fonshare_agent.transfer.data_try import DataListener, at_host, knock_at_data
from fonshare_agent.transfer.wire import Patience
from fonshare_agent.trying_back import PAUSE_S, DataPorts, TryingBack
from fonshare_agent.ways import DOCUMENT, FRESH_S, SAVE_S, Ways
from test_ftp_tickets import some_ticket
from waiting import PATIENCE_S, wait_until

ANNA, BEN = NodeId(b"a" * 32), NodeId(b"b" * 32)
HERE, THERE = (("8.8.4.4", 2122),), (("9.9.9.9", 2122),)
NONCE = bytes(16)


class Documents:
    """The store's documents, as far as they are needed here."""

    def __init__(self):
        self.kept, self.is_broken, self.writes = {}, False, 0

    def get_document(self, name):
        return self.kept.get(name)

    def put_document(self, name, value):
        self.writes += 1
        if self.is_broken:
            raise StorageError("the disk is gone")
        self.kept[name] = value


class World:
    def __init__(self):
        self.now = 1000.0
        self.core = Core(lambda: self.now)
        self.store = Worker("store", self.core)
        self.store.start()
        self.documents = Documents()
        self.ways = Ways(self.core, self.store, self.documents)

    def run(self, promise):
        self.run_until(lambda: promise.is_settled)
        return promise.result()

    def run_until(self, condition):
        def look():
            self.core.post(lambda: None)
            self.core.run_once()
            return condition()

        wait_until(look)

    def again(self):
        """Return what is known after a restart."""
        ways = Ways(self.core, self.store, self.documents)
        self.run(self.core.spawn(ways.load()))
        return ways


@pytest.fixture
def world():
    world = World()
    yield world
    world.store.stop()


def test_who_was_knocked_at_in_vain_pushes_first_for_a_while(world):
    ways = world.ways
    assert not ways.is_pusher(ANNA)
    ways.note_outward(ANNA, False)
    assert ways.is_pusher(ANNA)
    assert not ways.is_pusher(BEN)
    world.now += FRESH_S - 1
    assert ways.is_pusher(ANNA)
    world.now += 2
    assert not ways.is_pusher(ANNA)
    ways.note_outward(ANNA, False)
    ways.note_outward(ANNA, True)
    assert not ways.is_pusher(ANNA)


def test_who_cannot_come_here_either_is_knocked_at_and_is_the_last_to_be_asked(world):
    ways = world.ways
    ways.note_outward(ANNA, False)
    assert not ways.is_cut_off(ANNA)
    ways.note_inward(ANNA, False)
    assert not ways.is_pusher(ANNA)
    assert ways.is_cut_off(ANNA)
    assert sorted([ANNA, BEN], key=ways.is_cut_off) == [BEN, ANNA]


def test_with_another_address_all_is_tried_as_if_nothing_were_known(world):
    world.ways.note_outward(ANNA, False)
    world.ways.note_inward(BEN, True)
    world.ways.network_changed()
    assert not world.ways.is_pusher(ANNA)
    assert not world.ways.was_reached()


def test_it_is_known_after_a_restart_and_written_once_for_all_that_is_new(world):
    world.ways.note_outward(ANNA, False)
    world.ways.note_inward(BEN, True)
    world.now += SAVE_S + 1
    world.run_until(lambda: DOCUMENT in world.documents.kept)
    for _ in range(5):
        world.ways.note_outward(ANNA, False)  # nothing new
    world.now += SAVE_S + 1
    again = world.again()
    assert again.is_pusher(ANNA)
    assert again.was_reached()
    assert again.find(BEN).outward is None
    assert world.documents.writes == 1


def test_a_disk_that_is_gone_costs_the_memory_and_nothing_else(world):
    world.documents.is_broken = True
    world.ways.note_outward(ANNA, False)
    world.now += SAVE_S + 1
    world.run_until(lambda: world.documents.writes == 1)
    assert world.ways.is_pusher(ANNA)


# --- trying back


class Member:
    def __init__(self):
        self.statement = self
        self.tls_fingerprint = b"f" * 32


class Friends:
    """A member's side of trying back, and what it does."""

    def __init__(self, world, finds="", answer=None, comes_to_data=None):
        self.sent, self.knocked, self.finds, self.answer = [], [], finds, answer
        self.comes_to_data = comes_to_data
        self.asked = []
        self.members = {ANNA: Member()}
        outside = Outside(
            b"cert", lambda theirs: HERE, lambda theirs: theirs[:1], lambda der: None
        )
        self.trying = TryingBack(
            world.core,
            self,
            self,
            lambda group: self,
            self._send,
            outside,
            world.ways,
            DataPorts(
                "127.0.0.1",
                lambda: [0] if comes_to_data is not None else [],
                lambda port: (("127.0.0.1", port),),
            ),
        )

    def _send(self, group, member, message):
        self.sent.append((member, message))
        return True

    def knock(self, task):
        self.knocked.append(task)
        promise = Promise()
        promise.resolve(self.finds)
        return promise

    def ask(self, group, member, make, timeout_s):
        self.asked.append(make(NONCE))
        promise = Promise()
        if self.comes_to_data:
            knock_at_data(self.asked[-1].data, NONCE, patience())
        if self.answer is None:
            promise.reject(NoAnswer("nothing came"))
        else:
            promise.resolve(self.answer)
        return promise


def patience():
    return Patience(time.monotonic, lambda: False, PATIENCE_S)


def ask_back(world, friends, member=ANNA, data=()):
    ask = ReachAsk(NONCE, (*THERE, *HERE), data)
    work = friends.trying.on_ask(b"g", member, ask)
    world.run(world.core.spawn(work))
    return friends.sent[-1][1]


@pytest.mark.parametrize("finds", ["", "unreachable"])
def test_a_member_is_tried_at_what_may_be_dialled_and_told_how_it_went(world, finds):
    friends = Friends(world, finds)
    assert ask_back(world, friends) == ReachAnswer(NONCE, finds)
    [task] = friends.knocked
    assert (task.addresses, task.peer_fingerprint) == (THERE, b"f" * 32)
    assert world.ways.find(ANNA).outward is (not finds)


def test_who_asks_too_often_or_is_no_member_is_not_dialled(world):
    friends = Friends(world)
    assert ask_back(world, friends, BEN) == ReachAnswer(NONCE, "busy")
    ask_back(world, friends)
    assert ask_back(world, friends) == ReachAnswer(NONCE, "busy")
    assert len(friends.knocked) == 1
    world.now += PAUSE_S
    assert ask_back(world, friends) == ReachAnswer(NONCE, "")


@pytest.mark.parametrize(
    ("answer", "reason", "inward"),
    [
        (ReachAnswer(NONCE, ""), "door", True),
        (ReachAnswer(NONCE, "unreachable"), "unreachable", False),
        (ReachAnswer(NONCE, "busy"), "busy", None),
        (PushEnded(NONCE, ""), "peer.silent", None),
        (None, "peer.silent", None),
    ],
)
def test_what_a_friend_found_is_remembered(world, answer, reason, inward):
    friends = Friends(world, answer=answer)
    assert world.run(world.core.spawn(friends.trying.ask(b"g", ANNA))) == reason
    assert friends.asked == [ReachAsk(NONCE, HERE)]
    way = world.ways.find(ANNA)
    assert (way and way.inward) is inward


# --- a data port


def test_a_data_port_is_tried_where_a_ticket_could_name_it(world):
    friends = Friends(world, "data")
    data = (("9.9.9.9", 30010), ("8.8.4.4", 30010))
    assert ask_back(world, friends, data=data) == ReachAnswer(NONCE, "data")
    [task] = friends.knocked
    assert (task.data, task.request) == (data[:1], NONCE)
    assert world.ways.find(ANNA).outward is False


@pytest.mark.parametrize(
    ("comes", "answered", "reason", "inward"),
    [
        (True, "", "", True),
        (False, "", "door", True),  # an older node knows no data ports
        (False, "data", "data", False),
        (True, "data", "data", False),
        (False, "unreachable", "unreachable", False),
        (False, "busy", "busy", None),
    ],
)
def test_a_friend_who_was_at_the_data_port_tells_more(
    world, comes, answered, reason, inward
):
    friends = Friends(world, "", ReachAnswer(NONCE, answered), comes)
    assert world.run(world.core.spawn(friends.trying.ask(b"g", ANNA))) == reason
    way = world.ways.find(ANNA)
    assert (way and way.inward) is inward
    [asked] = friends.asked
    with pytest.raises(PeerUnreachable):  # it was open for that question alone
        knock_at_data(asked.data, NONCE, patience())


def test_older_nodes_neither_send_nor_see_the_data_port():
    ask = ReachAsk(NONCE, THERE, (("9.9.9.9", 30010),))
    assert decode("reach_ask", encode(ask)) == ask
    body = json.loads(encode(ask))
    del body["data"]
    assert decode("reach_ask", json.dumps(body).encode()) == ReachAsk(NONCE, THERE)


def test_the_proofs_are_those_of_the_document():
    """As docs/protocol/transfer.md has them, made by another program."""
    asked = "151761a31eb41c55d0b1ae20d83e662a45027c4c2fbfa03a023cf882730e122e"
    here = "6eafc23fe6cbc029ccbe0208fdba0167262b5cd8845df2a0a14b6f1d184a03e0"
    assert data_try.prove(bytes(range(16)), data_try.ASKED).hex() == asked
    assert data_try.prove(bytes(range(16)), data_try.HERE).hex() == here


@pytest.fixture
def port():
    """A data port that is listened at, on a thread."""
    listener = DataListener.open("127.0.0.1", [0])
    until = time.monotonic() + PATIENCE_S
    serving = threading.Thread(
        target=listener.serve, args=(NONCE, time.monotonic, until)
    )
    serving.start()
    yield listener
    listener.close()
    serving.join()


def call(port, said):
    """Return what is answered at the data port to a caller who says *said*."""
    with socket.create_connection(("127.0.0.1", port.port), PATIENCE_S) as caller:
        caller.sendall(said)
        return caller.recv(64)


def test_a_stranger_at_the_data_port_gets_nothing_and_keeps_nobody_out(
    port, monkeypatch
):
    monkeypatch.setattr("fonshare_agent.transfer.data_try.SPEAK_S", 0.1)
    with closing(socket.create_connection(("127.0.0.1", port.port), PATIENCE_S)):
        assert call(port, bytes(32)) == b""  # behind the silent one
        assert not port.was_tried
        knock_at_data([("127.0.0.1", port.port)], NONCE, patience())
    assert port.was_tried


def test_somebody_else_at_the_data_port_is_not_the_friend():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            came, _ = server.accept()
            with came:
                came.sendall(came.recv(32))

        stranger = threading.Thread(target=answer)
        stranger.start()
        with pytest.raises(PeerUnreachable, match="somebody else"):
            knock_at_data([server.getsockname()], NONCE, patience())
        stranger.join()


def test_a_port_where_another_listens_is_not_taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert DataListener.open("127.0.0.1", [taken]) is None
        listener = DataListener.open("127.0.0.1", [taken, 0])
        listener.discard()
        assert listener.port != taken


def test_only_the_host_of_the_door_is_tried():
    data = [("9.9.9.9", 1), ("2001:DB8::1", 2), ("8.8.8.8", 3)]
    assert at_host(data, "2001:db8:0::1") == data[1:2]
    assert at_host(data, "::ffff:8.8.8.8") == data[2:]


def test_a_redeemed_ticket_is_told_without_the_desks_lock_held():
    """What hears of it may ask the desk, on another thread."""
    desk = TicketDesk(lambda: 0.0, lambda ticket: True)
    heard = []

    def hear(peer):
        other = threading.Thread(target=lambda: heard.append((peer, desk.live())))
        other.start()
        other.join(60)

    desk.on_redeemed = hear
    ticket = some_ticket(1)
    desk.grant(ticket)
    desk.redeem(ticket.id, b"s" * 16, ticket.peer_fingerprint, object())
    assert heard == [(ticket.peer, [ticket])]
