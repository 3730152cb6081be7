"""Which sources a fetch uses, and for how long: the reading itself is the test's."""

import os
import time

import pytest

from fonshare_agent import gathering
from fonshare_agent.asking import NoAnswer
from fonshare_agent.core import Core
from fonshare_agent.gathering import READ_LANES_MAX, Gathering, Ways
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN
from fonshare_agent.protocol.parts import gather, pack
from fonshare_agent.protocol.plan import LANES_MAX, SHARED_LANES_MAX
from fonshare_agent.receiving import Granted
from fonshare_agent.transfer.stream import Stream
from fonshare_agent.watch import Watch
from transfer_world import begin_partial
from waiting import PATIENCE_S

BLOCKS = 40
GROUP = GroupId(bytes(32))


def member(letter: str) -> NodeId:
    return NodeId(letter.encode() * 32)


class Play:
    """A partial of BLOCKS blocks, and sources that do as their script says.

    A script's words: a number of blocks to deliver, then the reason to end with.
    """

    def __init__(self, path) -> None:
        self.core = Core(time.monotonic)
        self.data = os.urandom(BLOCKS * BLOCK_SIZE_MIN)
        self.kept = begin_partial(path, self.data)
        self.online: list[str] = []
        self.scripts: dict[str, list[tuple[int, str]]] = {}
        self.refusals: dict[str, str] = {}
        self.pulls: list[str] = []
        self.most = self.now_pulling = 0
        self.distrusted: list[str] = []
        self.watch, self.hands = Watch(), True
        self.holding = None

    async def others(self):
        return [member(letter) for letter in self.online]

    async def ask(self, source):
        letter = chr(source[0])
        if self.refusals.get(letter) == "silence":
            raise NoAnswer("nothing")
        return self.refusals.get(letter) or self.granted(letter)

    def granted(self, letter):
        is_partner = (
            self.holding is not None and member(letter) in self.holding.partners
        )
        share = None if is_partner else "Films"
        return Granted(
            GROUP, member(letter), "job", "job.0", share, None, None, is_partner
        )

    async def pull(self, granted, lane):
        letter = chr(granted.source[0])
        self.pulls.append(letter)
        self.now_pulling += 1
        self.most = max(self.most, self.now_pulling)
        try:
            script = self.scripts.get(letter)
            count, reason = script.pop(0) if script else (BLOCKS, "")
            return await self.deliver(letter, lane, count, reason)
        finally:
            self.now_pulling -= 1

    async def deliver(self, letter, lane, count, reason):
        def give_way():
            raise BlockingIOError

        while True:
            if self.watch.is_cancelled or not count:
                return reason or "source.lost"
            await self.core.sleep(0.01)
            if lane.is_partner:
                have = self.holding.partners[member(letter)]
                lane.note_maps(have, bytes(len(have)))
            try:
                index = lane.begin(give_way)
            except BlockingIOError:
                continue
            if index is None:
                return ""
            while True:
                offset, length = self.kept.content.range(index)
                with self.kept.write_block(index) as writer:
                    writer.write(self.data[offset : offset + length])
                    assert writer.finish()
                lane.note_bytes(length)
                assert lane.note_block(is_right=True)
                count -= 1
                if not count:
                    return reason
                if not lane.has_more():
                    break
                await self.core.sleep(0.01)
                index = lane.block

    def run(self, first="a"):
        ways = Ways(
            self.others,
            self.ask,
            self.pull,
            lambda: self.hands,
            lambda source: self.distrusted.append(chr(source[0])),
            self.ask,
            member("m"),
            self.holding,
        )
        made = Gathering(self.core, ways, self.kept, self.watch)
        done = self.core.spawn(made.run(first and self.granted(first)))
        until = time.monotonic() + PATIENCE_S
        while not done.is_settled:
            assert time.monotonic() < until
            self.core.call_later(0.01, lambda: None)
            self.core.run_once()
        return done.result()


class Holding:
    """What is known of partners: each has the blocks it is said to have."""

    def __init__(self, **partners):
        self.partners = {
            member(letter): pack(gather([run]), BLOCKS)
            for letter, run in partners.items()
        }
        self.on_news = None
        self.is_paused = False

    def arrive(self, lanes, on_news):
        self.on_news = on_news
        for partner, have in list(self.partners.items()):
            on_news(partner, have)

    def pause(self):
        self.is_paused = True

    def forget(self, partner):
        del self.partners[partner]
        self.on_news(partner, None)


@pytest.fixture
def play(tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "PAUSE_S", 0.05)
    monkeypatch.setattr("fonshare_agent.transfer.lanes.LOOK_S", 0.0)
    made = Play(tmp_path)
    yield made
    made.kept.close()


def test_all_who_offer_it_take_part_but_never_more_than_four(play):
    play.online = list("abcdef")
    assert play.run() == ""
    assert play.kept.is_complete
    assert play.most == LANES_MAX
    assert play.pulls[0] == "a"
    assert play.watch.sources == 0, "nobody is at it any more"


def test_of_what_is_only_read_two_take_part(play):
    play.watch.stream = Stream(is_all=False)
    play.watch.stream.attach(play.kept)
    play.watch.stream.begin(0)
    play.online = list("abcdef")
    assert play.run() == ""
    assert play.kept.is_complete
    assert play.most == READ_LANES_MAX


@pytest.mark.parametrize(("is_all", "most"), [(True, 6), (False, READ_LANES_MAX)])
def test_a_reader_has_the_help_of_partners_as_far_as_there_are_places(
    play, is_all, most
):
    play.watch.stream = Stream(is_all=is_all)
    play.watch.stream.attach(play.kept)
    play.watch.stream.begin(0)
    play.holding = Holding(**dict.fromkeys("bcdef", (0, BLOCKS)))
    assert play.run() == ""
    assert play.kept.is_complete
    assert play.most == most


def test_without_a_free_hand_the_first_reads_alone(play):
    play.online, play.hands = list("abc"), False
    assert play.run() == ""
    assert play.pulls == ["a"]


def test_a_source_that_failed_is_asked_again_after_a_pause(play):
    play.online = ["b"]
    play.scripts = {"a": [(3, "source.lost"), (2, "source.lost")]}
    assert play.run() == ""
    assert play.pulls.count("a") >= 2


def test_a_source_that_sent_damage_is_not_asked_again(play):
    play.online = ["a", "b"]
    play.scripts = {"a": [(1, "source.corrupt")]}
    assert play.run() == ""
    assert play.pulls.count("a") == 1
    assert play.distrusted == ["a"]


@pytest.mark.parametrize("refusal", ["silence", "source.vanished", "source.changed"])
def test_one_that_has_nothing_for_us_stops_nobody(play, refusal):
    play.online, play.refusals = ["b"], {"b": refusal}
    assert play.run() == ""
    assert set(play.pulls) == {"a"}


def test_the_first_may_fail_while_others_are_asked_still(play):
    play.online, play.scripts = ["b"], {"a": [(0, "unreachable")]}
    assert play.run() == ""
    assert play.pulls.count("a") == 1


def test_when_nobody_is_left_it_ends_and_says_why(play):
    play.scripts = {"a": [(5, "source.lost")]}
    assert play.run() == "source.lost"
    assert len(play.kept.gaps()) == 1, "what has come stays"


def test_our_own_disk_ends_it_for_all(play):
    play.online = ["b"]
    play.scripts = {"b": [(2, "disk.full")]}
    assert play.run() == "disk.full"
    assert not play.kept.is_complete


def test_a_liar_is_what_the_owner_is_told_of_rather_than_of_a_line(play):
    play.online = ["b"]
    play.scripts = {"b": [(1, "source.corrupt")], "a": [(9, "source.lost")]}
    assert play.run() == "source.corrupt"


def test_one_that_cannot_be_reached_may_push_though_another_has_nothing(play):
    play.online, play.scripts = ["b"], {"a": [(0, "unreachable")]}
    play.refusals = {"b": "source.vanished"}
    assert play.run() == "unreachable"


# --- partners -----------------------------------------------------------------------


def test_partners_bring_what_they_have_and_the_source_the_rest(play):
    play.holding = Holding(b=(0, 20), c=(10, 30))
    assert play.run() == ""
    assert set(play.pulls) == {"a", "b", "c"}
    assert play.holding.is_paused


def test_with_partners_there_are_more_places_but_no_more_than_eight(play):
    play.holding = Holding(**dict.fromkeys("bcdefghij", (0, BLOCKS)))
    assert play.run() == ""
    assert play.most == SHARED_LANES_MAX


def test_partners_alone_may_have_all_of_it_together(play):
    play.holding = Holding(b=(0, 25), c=(20, BLOCKS))
    assert play.run(first=None) == ""
    assert set(play.pulls) == {"b", "c"}


def test_what_partners_lack_too_ends_the_fetch_when_nothing_comes(play, monkeypatch):
    monkeypatch.setattr("fonshare_agent.protocol.plan.IDLE_S", 0.2)
    monkeypatch.setattr(gathering, "PARTNERS_S", 0.1)
    play.holding = Holding(b=(0, 25), c=(20, BLOCKS - 1))
    assert play.run(first=None) == "source.lost"
    assert play.kept.gaps() == [(BLOCKS - 1, BLOCKS)]


def test_a_partner_that_fails_is_read_again_and_holds_up_nobody(play):
    play.holding = Holding(b=(0, BLOCKS), c=(0, 20))
    play.scripts = {"b": [(1, "source.lost"), (0, "source.silent")]}
    assert play.run(first=None) == ""
    assert play.pulls.count("b") == 3


def test_a_partner_that_sent_damage_is_not_read_again(play):
    play.holding = Holding(b=(0, BLOCKS))
    play.scripts = {"b": [(1, "source.corrupt")]}
    assert play.run() == ""
    assert play.pulls.count("b") == 1
    assert play.distrusted == ["b"]


def test_a_partner_that_has_nothing_any_more_is_no_failure(play):
    play.holding, play.refusals = Holding(b=(0, 9)), {"b": "source.vanished"}
    assert play.run() == ""
    assert not play.holding.partners
