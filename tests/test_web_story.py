"""Two people, two nodes, two browsers: from an empty page to a film that has arrived.

One owns a router and has the page within LuCI, where its form sets up the node first;
the other has `fonshare web` before a node that runs. Real agents, a real broker,
Chromium; one reads French on a phone, the other English before a large screen. What
they see is kept as pictures. LuCI is a stand-in, or the router at LUCI_URL
(docs/luci.md).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import luci_browser
from brokers import Mosquitto, free_port
from browser import DESK, PHONE, visiting
from luci_browser import HERE
from luci_people import LuciPerson, luci_home
from nodes import running
from waiting import wait_until
from web_people import Person, serving_page

pytestmark = pytest.mark.full

GROUP = "Été <b>chez nous"
FILM = "Bréhat <img src=x> 2019.mkv"
FILM_BYTES = 6 << 20
SLOW_KIB_S = 60  # a hundred seconds: nobody has to hurry to press Pause
LOCALES = {"en": "en-GB", "fr": "fr-FR"}
# Else a limit does not hold at home, and friends at home do not reach each other.
AT_HOME = """
config limits limits
	option house '1'

config node node
	option allow_private_addresses '1'
"""


@dataclass(frozen=True)
class World:
    """What all people of a story have in common."""

    chromium: Any
    folder: Path
    broker: str
    make_node: Callable[..., Any]


@contextmanager
def at_web(name, language, size, story, world) -> Iterator[Person]:
    """Somebody before `fonshare web`, signed in; the node runs."""
    web = {"port": free_port()}
    node = world.make_node(
        name,
        web=web,
        address=HERE,
        limits={"house": True},
        node={"allow_private_addresses": True},
    )
    options = {"viewport": size, "locale": LOCALES[language]}
    with (
        running(node),
        serving_page(node) as address,
        visiting(world.chromium, address, **options) as visit,
    ):
        person = Person(visit, language, story, name)
        person.node = node
        person.arrive(address)
        yield person


@contextmanager
def at_luci(name, language, size, story, world) -> Iterator[Person]:
    """Somebody within LuCI, who has set up the router there."""
    with (
        luci_home(world.folder / name, AT_HOME) as home,
        luci_browser.visiting(
            world.chromium, home.address, LOCALES[language], size
        ) as visit,
    ):
        person = LuciPerson(visit, language, story, name)
        person.node = home.node
        person.set_up(name, world.broker, home.port)
        yield person


@pytest.fixture
def broker(tmp_path):
    """A Mosquitto that both reach."""
    with Mosquitto(tmp_path / "broker", address=HERE) as mosquitto:
        yield mosquitto


HOSTS = {"web": at_web, "luci": at_luci}


@pytest.fixture
def people(request, make_node, chromium, broker, tmp_path):
    """Alice and Bob before their pages, their nodes new and running."""
    world = World(chromium, tmp_path, broker.url, make_node)
    story = "story-" + "-".join(
        f"{host}-{language}{size['width']}" for host, language, size in request.param
    )
    with ExitStack() as stack:
        pages = []
        for name, (host, *how) in zip(("alice", "bob"), request.param, strict=True):
            pages.append(stack.enter_context(HOSTS[host](name, *how, story, world)))
        yield pages
        for person in pages:
            person.picture("end")


@pytest.mark.parametrize(
    "people",
    [
        [("web", "en", DESK), ("luci", "fr", PHONE)],
        [("luci", "fr", DESK), ("web", "en", PHONE)],
    ],
    indirect=True,
    ids=["english-desk-french-phone", "french-desk-english-phone"],
)
def test_two_people_share_a_film(people):
    alice, bob = people
    content = os.urandom(FILM_BYTES)
    alice.node.put("films", FILM, content)

    for person in people:
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
