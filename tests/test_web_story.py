"""Two people, two nodes, two browsers: from an empty page to a film that has arrived.

Real agents, a real broker, `fonshare web` for each, Chromium; one reads French on a
phone, the other English before a large screen. What they see is kept as pictures.
"""

import os
from contextlib import ExitStack

import pytest

from brokers import free_port
from browser import DESK, PHONE, visiting
from nodes import running
from waiting import wait_until
from web_people import Person, serving_page

pytestmark = pytest.mark.full

GROUP = "Été <b>chez nous"
FILM = "Bréhat <img src=x> 2019.mkv"
FILM_BYTES = 6 << 20
SLOW_KIB_S = 60  # a hundred seconds: nobody has to hurry to press Pause
LOCALES = {"en": "en-GB", "fr": "fr-FR"}


@pytest.fixture
def people(request, make_node, chromium):
    """Alice and Bob before their pages, signed out; their nodes run."""
    with ExitStack() as stack:
        pages = []
        nodes = [
            make_node(name, web={"port": free_port()}, limits={"house": True})
            for name in ("alice", "bob")
        ]
        stack.enter_context(running(*nodes))
        for node, (language, size) in zip(nodes, request.param, strict=True):
            address = stack.enter_context(serving_page(node))
            options = {"viewport": size, "locale": LOCALES[language]}
            visit = stack.enter_context(visiting(chromium, address, **options))
            story = "-".join(f"{who}{box['width']}" for who, box in request.param)
            person = Person(visit, language, f"story-{story}", node.name)
            person.node = node
            visit.page.goto(address)
            pages.append(person)
        yield pages
        for person in pages:
            person.picture("end")


@pytest.mark.parametrize(
    "people",
    [[("en", DESK), ("fr", PHONE)], [("fr", DESK), ("en", PHONE)]],
    indirect=True,
    ids=["english-desk-french-phone", "french-desk-english-phone"],
)
def test_two_people_share_a_film(people):
    alice, bob = people
    folder = alice.node.disk / "films"
    folder.mkdir()
    content = os.urandom(FILM_BYTES)
    (folder / FILM).write_bytes(content)

    for person in people:
        person.picture("sign-in")
        person.sign_in()
        person.read("Welcome to FonShare")
        person.picture("empty")
    set_up(alice)
    link = invite(alice)
    join(bob, link)
    accept(alice, bob)
    limit(alice, SLOW_KIB_S)
    choose(bob, "alice")
    watch(bob)
    limit(alice, 0)
    see_it_done(bob)

    (arrived,) = bob.node.fetched().values()
    assert arrived == content


def set_up(alice):
    """The wizard: a group, and a folder for it."""
    alice.press("Set it up")
    alice.press("New group")
    alice.fill("Name", GROUP)
    alice.picture("new-group")
    alice.press("Make the group")
    alice.press("Share a folder")
    alice.fill("Folder of the disk", "films")
    alice.fill("Name", "Films")
    alice.picture("share")
    alice.press("Share")
    alice.read("Shared. Friends see it in a moment.")


def invite(alice):
    """Return the link of a fresh invite."""
    alice.press("Invite to %s", GROUP)
    link = alice.page.get_by_role("textbox", name=alice.say("Link"), exact=True)
    alice.page.get_by_role("img", name=alice.say("QR picture of the link")).wait_for()
    alice.picture("invite")
    text = link.input_value()
    alice.press("Close")
    return text


def join(bob, link):
    """Use the link, as far as the six words."""
    bob.press("I have an invite")
    bob.fill("Invite", link)
    bob.press("Go on")
    bob.read("Is this your friend?")
    bob.picture("six-words")


def six_words(person):
    return person.page.locator(".fs-words li").all_inner_texts()


def accept(alice, bob):
    """Both compare the words and say yes."""
    alice.go("Groups")
    alice.button("The words are the same: accept").wait_for()
    alice.picture("request")
    assert len(six_words(bob)) == 6
    assert six_words(alice) == six_words(bob)
    bob.press("Yes, the words are the same")
    alice.press("The words are the same: accept")
    bob.read("Welcome!")
    bob.picture("welcome")


def limit(alice, kib_s):
    alice.go("Settings")
    alice.fill("To friends, KiB a second", str(kib_s))
    alice.press("Save the limits")
    alice.read("Saved. The limits count from now on.")
    alice.picture(f"limit-{kib_s}")


def choose(bob, friend):
    """Browse to the film, then find it by searching, and get it."""
    bob.press("Browse its files")
    for name in (friend, "Films", FILM):
        row = bob.page.get_by_role("button", name=name, exact=True).first
        row.wait_for()
        bob.picture("browse")
        if name != FILM:
            row.click()
    bob.go("Files")
    bob.page.get_by_role("searchbox").fill("brehat 2019")
    bob.page.get_by_role("checkbox", name=bob.say("Choose %s", FILM)).check()
    bob.picture("search")
    bob.press("Get", within=bob.page.locator(".fs-chosen"))
    bob.press("See transfers")


def progress(bob):
    bar = bob.page.locator(".fs-job [role=progressbar]").first
    return int(bar.get_attribute("aria-valuenow") or 0)


def watch(bob):
    """The bar moves, rests while paused, and moves on."""
    wait_until(lambda: progress(bob) > 0, "the bar moves")
    bob.picture("arriving")
    bob.press("Pause %s", FILM)
    bob.read("Paused")
    bob.picture("paused")
    bob.press("Resume %s", FILM)
    bob.read("Arriving")


def see_it_done(bob):
    ended = bob.page.get_by_role("list", name=bob.say("Ended"))
    ended.get_by_text(bob.say("Done"), exact=True).wait_for()
    ended.get_by_text(FILM, exact=True).wait_for()
    bob.picture("done")
