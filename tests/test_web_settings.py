"""Settings changed in a real browser, and taken by a real agent."""

import pytest

from axe import SCRIPT
from browser import PHONE, visiting
from fonshare_agent.config import load_settings
from nodes import CommandFailed, eventually, running
from programs import refuse
from test_page_accessibility import complaints
from web_people import Person, serving_page
from web_server import add_web

pytestmark = pytest.mark.full


def test_a_setting_is_changed_on_a_phone_and_the_agent_takes_it(make_node, chromium):
    node = make_node("alice")
    add_web(node.settings)
    options = {"viewport": PHONE, "locale": "fr-FR"}
    with (
        running(node),
        serving_page(node) as address,
        visiting(chromium, address, **options) as visit,
    ):
        pid = node.process.pid
        port = load_settings(node.settings, needs_hashes=False).ftp.port
        visit.page.goto(f"{address}/#/settings")
        alice = Person(visit, "fr", "settings", "alice")
        alice.sign_in()
        visit.page.get_by_text(alice.say("FTP doors"), exact=True).click()
        alice.fill("Port of the house door", "0")
        alice.press("Save the settings")
        visit.page.get_by_text("vaut 0").wait_for()
        looks_well(alice)
        alice.fill("Port of the house door", str(port))
        visit.page.get_by_text(alice.say("Node"), exact=True).click()
        visit.page.locator("[name='node.name']").fill("Béatrice")
        alice.press("Save the settings")
        alice.press("Start FonShare again")
        eventually(lambda: name_of(node) == "Béatrice", "the agent has the new name")
        started = visit.page.get_by_text(alice.say("FonShare is starting again."))
        started.wait_for(state="detached")
        looks_well(alice)
        assert node.process.pid == pid
        visit.page.reload()
        field = visit.page.locator("[name='node.name']")
        field.wait_for(state="attached")
        assert field.input_value() == "Béatrice"


def name_of(node):
    try:
        return node("status")["node"]["name"]
    except CommandFailed:
        return ""  # it is starting


def looks_well(person):
    """The form fits the screen, and axe finds no barrier."""
    if not SCRIPT.exists():
        refuse("axe-core is not installed: make deps")
    assert complaints(person.visit, SCRIPT.read_text()) == []
    person.picture("form")
