"""Questions: paced so that nobody has to drop them, answered by the one asked."""

import pytest

from fonshare_agent.asking import QUESTIONS_BURST, QUESTIONS_PER_S, Asking, NoAnswer
from fonshare_agent.core import Core
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.messages import PushEnded

GROUP, ANNA, BEN = GroupId(b"g" * 32), NodeId(b"a" * 32), NodeId(b"b" * 32)


class World:
    """An asking on a clock that stands still unless told."""

    def __init__(self):
        self.now, self.drawn, self.sent = 0.0, 0, []
        self.core = Core(lambda: self.now)
        self.asking = Asking(self.core, self.send, self.draw)

    def draw(self, size):
        self.drawn += 1
        return self.drawn.to_bytes(size, "big")

    def send(self, group, member, message):
        self.sent.append((self.now, member, message))
        return True

    def ask(self, member=ANNA):
        return self.asking.ask(GROUP, member, lambda request: PushEnded(request, ""))

    def pass_until(self, now):
        """Let every timer up to *now* have its turn."""
        while self.core._timers and self.core._timers[0][0] <= now:
            self.now = max(self.now, self.core._timers[0][0])
            self.core.run_once()
        self.now = now


def test_questions_beyond_the_burst_are_paced_for_each_member():
    world = World()
    for _ in range(int(QUESTIONS_BURST) + 8):
        world.ask()
    assert len(world.sent) == QUESTIONS_BURST
    world.ask(BEN)
    assert world.sent[-1][1] == BEN
    world.pass_until(8 / QUESTIONS_PER_S)
    assert len(world.sent) == QUESTIONS_BURST + 8 + 1
    gaps = [at for at, member, _ in world.sent if member == ANNA][-8:]
    assert gaps == pytest.approx([(n + 1) / QUESTIONS_PER_S for n in range(8)])


def test_only_the_member_that_was_asked_can_answer():
    world = World()
    promise = world.ask()
    request = world.sent[0][2].request
    answer = PushEnded(request, "done")
    world.asking.answer(BEN, request, answer)
    assert not promise.is_settled
    world.asking.answer(ANNA, request, answer)
    assert promise.result() == answer


def test_a_question_nobody_answers_ends_in_time():
    world = World()
    promise = world.ask()
    world.pass_until(60.0)
    with pytest.raises(NoAnswer):
        promise.result()


def test_who_does_not_wait_any_more_gives_up_all_that_it_asked_and_no_more():
    world = World()
    asked = [
        world.asking.ask(GROUP, ANNA, lambda r: PushEnded(r, ""), owner=owner)
        for owner in ("one", "other", "one")
    ]
    world.asking.give_up("one")
    assert [one.is_settled for one in asked] == [True, False, True]
    with pytest.raises(NoAnswer):
        asked[0].result()
