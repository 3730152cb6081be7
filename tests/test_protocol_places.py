"""A source's places, shared out between friends; played with a clock of the test's."""

import random
from collections import Counter

import pytest

from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.places import (
    FORGOTTEN_S,
    RESERVED_S,
    TURN_S,
    Places,
    Wish,
)

GROUP = GroupId(bytes(32))


def wish(friend: str, job: int = 0) -> Wish:
    return Wish(GROUP, NodeId(friend.encode().ljust(32)), f"job{job}")


def ask_all(places, wishes, held=frozenset(), now=0.0):
    return [places.ask(one, held, now) for one in wishes]


def test_while_there_are_places_nobody_waits():
    places = Places(2)
    assert ask_all(places, [wish("anna"), wish("bob")]) == [0, 0]
    assert not places.has_waiting


def test_who_is_served_may_ask_again_for_the_next_file():
    places = Places(1)
    assert places.ask(wish("anna"), set(), 0.0) == 0
    assert places.ask(wish("anna"), {wish("anna")}, 5.0) == 0
    assert places.ask(wish("bob"), {wish("anna")}, 6.0) == 1
    assert places.ask(wish("anna"), {wish("anna")}, 7.0) == 0


def test_friends_take_turns_however_many_jobs_one_has():
    places = Places(1)
    assert places.ask(wish("carl"), set(), 0.0) == 0
    held = {wish("carl")}
    asked = [wish("anna", 1), wish("anna", 2), wish("anna", 3), wish("bob", 1)]
    ask_all(places, asked, held, 1.0)
    assert ask_all(places, asked, held, 2.0) == [1, 3, 4, 2]
    order = []
    places.release(wish("carl"))
    for now in range(3, 7):
        [called] = places.call(set(), float(now))
        order.append(called)
        places.release(called)
        places.call({called}, float(now))
    assert order == [asked[0], asked[3], asked[1], asked[2]]


def test_one_who_has_fewer_places_comes_first():
    places = Places(2)
    held = {wish("anna", 1), wish("anna", 2)}
    ask_all(places, held, set(), 0.0)
    assert ask_all(places, [wish("anna", 3), wish("bob")], held, 1.0) == [1, 1]
    assert places.ask(wish("anna", 3), held, 2.0) == 2


def test_a_free_place_is_kept_for_the_first_and_passed_on_if_it_does_not_come():
    places = Places(1)
    places.ask(wish("anna"), set(), 0.0)
    held = {wish("anna")}
    ask_all(places, [wish("bob"), wish("carl")], held, 1.0)
    places.release(wish("anna"))
    assert places.call(set(), 2.0) == [wish("bob")]
    assert places.call(set(), 3.0) == []
    assert places.ask(wish("carl"), set(), 4.0) == 1
    assert places.ask(wish("dora"), set(), 4.0) == 2
    assert places.call(set(), 2.0 + RESERVED_S) == [wish("carl")]
    assert places.ask(wish("carl"), set(), 20.0) == 0


def test_who_does_not_ask_any_more_is_forgotten():
    places = Places(1)
    places.ask(wish("anna"), set(), 0.0)
    held = {wish("anna")}
    ask_all(places, [wish("bob"), wish("carl")], held, 1.0)
    assert places.ask(wish("carl"), held, FORGOTTEN_S) == 2
    assert places.ask(wish("carl"), held, FORGOTTEN_S + 1.5) == 1


def test_a_long_turn_ends_only_for_a_friend_with_fewer_places():
    places = Places(2)
    held = {wish("anna", 1), wish("bob", 1)}
    ask_all(places, [wish("anna", 1)], set(), 0.0)
    ask_all(places, [wish("bob", 1)], {wish("anna", 1)}, 10.0)
    late = TURN_S + 50
    assert places.due(held, late) is None
    places.ask(wish("bob", 2), held, late)
    assert places.due(held, late) is None, "not for another job of the same friend's"
    places.ask(wish("carl"), held, late)
    assert places.due(held, TURN_S - 1) is None
    assert places.due(held, late) == wish("anna", 1)


def test_more_places_are_given_at_once_when_the_owner_adds_some():
    places = Places(1)
    held = {wish("anna")}
    ask_all(places, held, set(), 0.0)
    ask_all(places, [wish("bob"), wish("carl"), wish("dora")], held, 1.0)
    places.count = 3
    assert places.call(held, 2.0) == [wish("bob"), wish("carl")]


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.full) for n in range(2, 8))]
)
def test_in_the_long_run_every_friend_is_served_equally_long(seed):
    """Friends with one to six endless jobs, who ask every 15 s, more or less."""
    lots = random.Random(seed)
    places = Places(lots.randint(1, 4))
    friends = {name: lots.randint(1, 4) for name in "abcde"}
    wishes = [wish(name, n) for name, jobs in friends.items() for n in range(jobs)]
    asks_at = {one: lots.random() * 15 for one in wishes}
    held: set[Wish] = set()
    served: Counter[NodeId] = Counter()
    for now in range(0, 12_000, 4):
        if held and lots.random() < 0.001:  # a node dies and comes back
            lost = lots.choice(sorted(held))
            held.discard(lost)
            asks_at[lost] = now + 3
        over = places.due(held, float(now))
        if over is not None:
            held.discard(over)
            places.release(over)
            asks_at[over] = now + 3
        for one in places.call(held, float(now)):
            asks_at[one] = now
        for one in wishes:
            if one not in held and asks_at[one] <= now:
                if places.ask(one, held, float(now)):
                    asks_at[one] = now + 12 + lots.random() * 6
                else:
                    held.add(one)
        assert len(held) <= places.count
        served.update(one.friend for one in held)
    mean = sum(served.values()) / len(friends)
    assert mean * len(friends) >= 3_000 * places.count * 0.95, "no place lies idle"
    near = pytest.approx(mean, rel=0.1, abs=1.5 * TURN_S / 4)
    for name in friends:
        assert served[wish(name).friend] == near
