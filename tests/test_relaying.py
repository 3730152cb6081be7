"""Looking for a relay: who is asked, how often, and what of it is remembered."""

from types import SimpleNamespace

import pytest

from fonshare_agent.core import Core, Promise
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.messages import TicketRefuse
from fonshare_agent.protocol.reach_messages import RelayAsk, RelayGrant, RelayJoined
from fonshare_agent.relaying import FULL_S, Relaying, RelayWorld

GROUP = GroupId(bytes(32))
ME, SOURCE, OTHER, THIRD = (NodeId(letter * 32) for letter in (b"m", b"s", b"o", b"t"))


class World:
    """A group of three: who is asked answers when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.core = Core(lambda: self.now)
        self.refuses = ""
        self.asked: list[NodeId] = []
        self.open: list[tuple[Promise, object]] = []
        machine = SimpleNamespace(
            me=ME,
            roster=SimpleNamespace(members={ME: None, SOURCE: None, THIRD: None}),
            peers=SimpleNamespace(can_be_asked=lambda member: True),
        )
        outside = SimpleNamespace(
            addresses=lambda theirs: (), dialable=lambda shown: shown
        )
        self.relaying = Relaying(
            RelayWorld(
                core=self.core,
                asking=self,
                machine=lambda group: machine,
                send=lambda *words: True,
                outside=outside,
                draw=bytes,
                is_willing=False,
                open_desk=lambda splicer: None,
                door=lambda: ("127.0.0.1", 1),
                data_ports=range(0),
            )
        )

    def ask(self, group, member, make, owner=""):
        question, answer = make(bytes(16)), Promise()
        if isinstance(question, RelayAsk):
            self.asked.append(member)
            if self.refuses:
                said = TicketRefuse(bytes(16), self.refuses, 0)
            else:
                said = RelayGrant(bytes(16), b"r" * 16, b"s" * 16, ())
        else:
            said = RelayJoined(bytes(16), "")
        self.open.append((answer, said))
        return answer

    def find(self, source=SOURCE):
        return self.core.spawn(self.relaying.find(GROUP, source, "job"))

    def run(self, *searches):
        while not all(one.is_settled for one in searches):
            for answer, said in [self.open.pop(0) for _ in list(self.open)]:
                answer.resolve(said)
            self.core.post(lambda: None)
            self.core.run_once()
        return [one.result() for one in searches]


@pytest.fixture
def world():
    return World()


def test_two_who_look_for_a_relay_at_once_ask_once_and_share_it(world):
    first, second = world.run(world.find(), world.find())
    assert first is not None
    assert second is first
    assert world.asked == [THIRD]


def test_a_search_does_not_wait_for_one_for_somebody_else(world):
    world.find()
    world.find(OTHER)
    assert world.asked == [THIRD, SOURCE]


def test_a_relay_that_is_full_is_asked_again_soon_one_that_is_none_is_not(world):
    world.refuses = "busy"
    assert world.run(world.find()) == [None]
    assert world.run(world.find()) == [None]
    assert world.asked == [THIRD]
    world.now += FULL_S
    world.refuses = "not_here"
    assert world.run(world.find()) == [None]
    world.now += FULL_S
    assert world.run(world.find()) == [None]
    assert world.asked == [THIRD, THIRD]
    # Its owner has allowed it, for which it starts anew.
    world.relaying.note_seen(THIRD)
    world.refuses = ""
    assert world.run(world.find()) != [None]
