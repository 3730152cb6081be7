"""The page outlives its session, its agent and its server, in a real browser."""

from contextlib import ExitStack

import pytest

from axe import SCRIPT
from browser import visiting
from nodes import running
from programs import refuse
from test_page_accessibility import complaints
from web_people import Person, serving_page
from web_server import add_web

pytestmark = pytest.mark.full

LOST = "Failed to load resource"  # the browser's own note of a refusal or a lost server


@pytest.fixture
def node(make_node):
    node = make_node("alice")
    add_web(node.settings)
    return node


def test_the_page_outlives_all_that_it_depends_on(node, chromium):
    with running(node), ExitStack() as stack:
        with serving_page(node) as address:
            visit = stack.enter_context(visiting(chromium, address))
            visit.page.goto(address)
            alice = Person(visit, "en", "lasting", "alice")
            keeps_nobody_out(visit)
            alice.sign_in()
            lose_the_agent(alice, node)
            alice.go("Groups")
            fills_the_window(alice)
            alice.press("New group")
            alice.fill("Name", "Famille")
        with serving_page(node):
            lose_the_session(alice, node)
            leave_in_french(alice)
        # Nothing but lost requests was complained of.
        assert all(LOST in text for text in visit.complaints), visit.complaints
        visit.complaints.clear()


def keeps_nobody_out(visit):
    """axe finds nothing on what asks for the password, in light and in dark."""
    if not SCRIPT.exists():
        refuse("axe-core is not installed: make deps")
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        assert complaints(visit, SCRIPT.read_text()) == [], scheme


def lose_the_agent(alice, node):
    """The page says so, stays, and goes on when the agent is back."""
    trouble = alice.page.locator(".fs-trouble")
    alice.read("Welcome to FonShare")
    node.stop()
    trouble.get_by_text("FonShare is not running").wait_for()
    alice.picture("no-agent")
    node.start()
    is_over = "() => !document.querySelector('.fs-trouble').innerText"
    alice.page.wait_for_function(is_over)


def fills_the_window(alice):
    """However little a page shows, it does not shrink: the menu stays in its place."""
    width = alice.page.locator("#page > .fonshare").evaluate("node => node.offsetWidth")
    body = alice.page.evaluate("() => document.body.clientWidth")
    assert width == min(body, 76 * 16)


def lose_the_session(alice, node):
    """The server is a fresh one: the click that finds that out is not lost."""
    # By script: the page may have found out by itself and ask for the password already.
    alice.button("Make the group").evaluate("button => button.click()")
    alice.read("Your session is over. Sign in to go on.")
    alice.picture("session-over")
    alice.sign_in()
    alice.page.get_by_role("heading", name="Famille").wait_for()
    assert [row["name"] for row in node("group", "ls")] == ["Famille"]


def leave_in_french(alice):
    """A language is kept, and who has signed out sees nothing more."""
    alice.page.get_by_label("Language").select_option("fr")
    alice.page.get_by_role("button", name="Se déconnecter").click()
    enter = alice.page.get_by_role("button", name="Se connecter")
    enter.wait_for()
    alice.page.reload()
    enter.wait_for()
    assert alice.page.evaluate("() => document.documentElement.lang") == "fr"
    assert "Famille" not in alice.page.content()
    alice.picture("signed-out")
    alice.page.close()
