"""The page outlives its session, its agent and its server, in a real browser."""

from contextlib import ExitStack

import pytest

from browser import visiting
from nodes import running
from web_people import Person, serving_page
from web_server import add_web

pytestmark = pytest.mark.full

LOST = "Failed to load resource"  # the browser's own note of a refusal or a lost server


@pytest.fixture
def node(make_node):
    node = make_node("alice")
    add_web(node.settings)
    return node


def begin(visit, address):
    person = Person(visit, "en", "lasting", "alice")
    visit.page.goto(address)
    person.sign_in()
    person.read("Welcome to FonShare")
    return person


def end(visit):
    """Nothing but lost requests was complained of."""
    assert all(LOST in text for text in visit.complaints), visit.complaints
    visit.complaints.clear()


def test_a_click_is_not_lost_when_the_session_has_ended(node, chromium):
    with running(node), ExitStack() as stack:
        with serving_page(node) as address:
            visit = stack.enter_context(visiting(chromium, address))
            alice = begin(visit, address)
            alice.go("Groups")
            alice.press("New group")
            alice.fill("Name", "Famille")
        with serving_page(node):  # which knows no session
            alice.press("Make the group")
            alice.read("Your session is over. Sign in to go on.")
            alice.picture("session-over")
            alice.sign_in()
            visit.page.get_by_role("heading", name="Famille").wait_for()
            assert [row["name"] for row in node("group", "ls")] == ["Famille"]
            end(visit)
            visit.page.close()


def test_the_page_says_that_the_agent_is_gone_and_goes_on_when_it_is_back(
    node, chromium
):
    with (
        running(node),
        serving_page(node) as address,
        visiting(chromium, address) as visit,
    ):
        alice = begin(visit, address)
        trouble = visit.page.locator(".fs-trouble")
        node.stop()
        trouble.get_by_text("FonShare is not running").wait_for()
        alice.picture("no-agent")
        node.start()
        is_over = "() => !document.querySelector('.fs-trouble').innerText"
        visit.page.wait_for_function(is_over)
        end(visit)


def test_a_language_is_chosen_and_kept_and_one_signs_out(node, chromium):
    with (
        running(node),
        serving_page(node) as address,
        visiting(chromium, address) as visit,
    ):
        begin(visit, address)
        visit.page.get_by_label("Language").select_option("fr")
        visit.page.get_by_role("button", name="Se déconnecter").click()
        enter = visit.page.get_by_role("button", name="Se connecter")
        enter.wait_for()
        visit.page.reload()
        enter.wait_for()
        assert visit.page.evaluate("() => document.documentElement.lang") == "fr"
        end(visit)  # what was asked when the session ended
