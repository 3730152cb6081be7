"""The page before a real agent: what its stand-in only makes up, and two at once.

One pair of friends serves all tests of this module; the page is Alice's.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from brokers import Mosquitto, free_port
from browser import DESK, PHONE, visiting
from nodes import NodeProcess, befriend, eventually, running, share
from web_people import Person, serving_page

pytestmark = pytest.mark.full

GROUP = "Famille"


@pytest.fixture(scope="module")
def friends(tmp_path_factory) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """Alice, who founded the group, and Bob, who offers films to it."""
    folder = tmp_path_factory.mktemp("friends")
    with Mosquitto(folder / "broker") as broker:
        alice = NodeProcess(
            folder / "alice", "alice", broker.url, web={"port": free_port()}
        )
        bob = NodeProcess(folder / "bob", "bob", broker.url)
        with running(alice, bob):
            befriend(GROUP, alice, bob)
            films = share(bob, "films", "Films", GROUP)
            (films / "film.mkv").write_bytes(os.urandom(1000))
            share(alice, "photos", "Photos", GROUP)
            eventually(lambda: alice.find("film"), "alice finds the film")
            yield alice, bob


@pytest.fixture
def people(friends, chromium) -> Iterator[list[Person]]:
    """Alice twice: before a large screen, and on her phone. One server for both."""
    node = friends[0]
    with ExitStack() as stack:
        address = stack.enter_context(serving_page(node))
        people = []
        for name, size in (("desk", DESK), ("phone", PHONE)):
            visit = stack.enter_context(visiting(chromium, address, viewport=size))
            person = Person(visit, "en", "two-browsers", name)
            visit.page.goto(address)
            person.sign_in()
            person.go("Groups")
            visit.page.get_by_role("link", name=GROUP).first.click()
            people.append(person)
        yield people


def row_of(person: Person, name: str) -> Any:
    return person.page.locator(".fs-member", has_text=name)


def test_both_browsers_show_who_is_what_and_offer_what_fits(people, friends):
    desk, phone = people
    bob = friends[1]
    for one in people:
        row_of(one, "alice").get_by_text("creator", exact=True).wait_for()
        assert row_of(one, "bob").get_by_text("admin", exact=True).count() == 0
        row_of(one, "bob").get_by_text("More", exact=True).click()

    name, unname = "Make admin: bob", "Take admin back: bob"
    assert not desk.button(unname).is_visible()
    desk.press(name)
    desk.press("Make admin", within=desk.page.get_by_role("dialog"))
    for one in people:
        row_of(one, "bob").get_by_text("admin", exact=True).wait_for()
        one.button(unname).wait_for()
        assert not one.button(name).is_visible()
        one.picture("admin")
    eventually(lambda: role_of_bob(bob) == "admin", "bob hears it")

    phone.press(unname)
    for one in people:
        one.button(name).wait_for()
        assert not one.button(unname).is_visible()
    eventually(lambda: role_of_bob(bob) == "member", "bob hears that, too")


def role_of_bob(bob: NodeProcess) -> str:
    [group] = bob("group", "ls")
    roles = {row["name"]: row["role"] for row in group["members"]}
    assert roles["alice"] == "creator"
    assert group["role"] == roles["bob"]
    return str(roles["bob"])


def test_what_both_press_at_once_is_done_for_both(people, friends):
    """Two shares are added at one time; each browser then shows both."""
    for person, name in zip(people, ("Music", "Books"), strict=True):
        (friends[0].disk / name).mkdir()
        person.press("Share a folder")
        person.fill("Folder of the disk", name)
        person.fill("Name", name)
    for person in people:  # neither click waits for what came of the other
        share_it = person.page.get_by_role("dialog").get_by_role("button", name="Share")
        share_it.last.evaluate("button => button.click()")
    for person in people:
        for name in ("Music", "Books"):
            person.button("Stop sharing %s", name).wait_for()
    names = {row["name"] for row in friends[0]("share", "ls")}
    assert names == {"Photos", "Music", "Books"}
