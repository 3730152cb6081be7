"""Two browsers at once before one node: no click is lost and no page goes blank."""

import pytest

from browser import DESK, PHONE, visiting
from nodes import offer_film, running
from web_people import Person, serving_page
from web_server import add_web

pytestmark = pytest.mark.full

FILM = "film.mkv"
FILM_BYTES = 6 << 20
SLOW_KIB_S = 30  # two hundred seconds: it arrives all the while
LOST = "Failed to load resource"  # the browser's own note of a command that failed


@pytest.fixture
def nodes(make_node):
    limits = {"house": True, "download_kib_s": SLOW_KIB_S}
    source, node = make_node("alice"), make_node("bob", limits=limits)
    add_web(node.settings)
    with running(source, node):
        offer_film(source, node, size=FILM_BYTES)
        yield source, node


@pytest.fixture
def both(nodes, chromium):
    """Two people before the page of one node, signed in: a desk and a phone."""
    with (
        serving_page(nodes[1]) as address,
        visiting(chromium, address, viewport=DESK) as desk,
        visiting(chromium, address, viewport=PHONE) as phone,
    ):
        people = [
            Person(visit, "en", "two-browsers", name)
            for name, visit in (("desk", desk), ("phone", phone))
        ]
        for person in people:
            person.page.goto(address)
            person.sign_in()
        yield people
        for visit in (desk, phone):
            left = [text for text in visit.complaints if LOST not in text]
            visit.complaints[:] = left


def press_at_once(both, text, *values, place="body"):
    """Neither waits for what becomes of the other's click."""
    buttons = [
        person.button(text, *values, within=person.page.locator(place))
        for person in both
    ]
    for button in buttons:
        button.wait_for()
    for button in buttons:
        button.evaluate("button => button.click()")


def read_in_both(both, text):
    for person in both:
        person.read(text)


def test_two_browsers_change_the_same_things(both, nodes):
    desk, phone = both
    node = nodes[1]
    (job,) = node("get", node.find("film")[0]["id"])
    for person in both:
        person.go("Transfers")
    read_in_both(both, "Arriving")

    press_at_once(both, "Pause %s", FILM)
    read_in_both(both, "Paused")
    assert node.job(job["id"])["state"] == "paused"
    press_at_once(both, "Resume %s", FILM)
    read_in_both(both, "Arriving")
    desk.press("Pause %s", FILM)
    phone.press("Resume %s", FILM)  # offered once the phone has seen the pause
    desk.button("Pause %s", FILM).wait_for()
    assert node.job(job["id"])["state"] not in ("paused", "cancelled")

    for person in both:
        person.go("Groups")
        person.page.get_by_role("link", name="Famille").first.click()
    press_at_once(both, "Leave the group", place="[data-page]")
    press_at_once(both, "Leave the group", place="dialog")
    for person in both:
        person.page.locator("dialog").wait_for(state="detached")
        person.page.get_by_role("heading", level=1).wait_for()
        person.picture("left")
        person.go("Groups")
        person.button("New group").wait_for()
        assert person.page.get_by_role("link", name="Famille").count() == 0
    assert node("group", "ls") == []
