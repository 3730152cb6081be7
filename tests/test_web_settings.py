"""Settings changed in a real browser, and taken by a real agent."""

import pytest

from axe import SCRIPT
from browser import PHONE, visiting
from fonshare_agent.config import load_settings
from fonshare_agent.web.application import Application
from fonshare_agent.web.own_agent import OwnAgent
from nodes import CommandFailed, eventually, running
from programs import refuse
from settings_files import take_ports
from test_page_accessibility import complaints
from waiting import PATIENCE_S
from web_people import PASSWORD, Person, serving_page
from web_server import CODE, add_web, first_use

# An agent, a browser and axe at once: on a machine that is busy all of it takes long.
pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]
PATIENT_MS = PATIENCE_S * 1000


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
        visit.page.set_default_timeout(PATIENT_MS)
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
        assert node.process.pid == pid
        visit.page.reload()
        field = visit.page.locator("[name='node.name']")
        field.wait_for(state="attached")
        assert field.input_value() == "Béatrice"


def address_of(browser):
    return f"http://127.0.0.1:{browser.port}"


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


def test_a_node_is_set_up_on_a_phone_without_a_terminal(tmp_path, chromium):
    file = tmp_path / "fonshare.yaml"
    agent = OwnAgent(file)

    def begin(config):
        page = Application(config, own_agent=agent)
        agent.begin()
        return page

    options = {"viewport": PHONE, "locale": "fr-FR"}
    try:
        with (
            first_use(file, begin) as browser,
            visiting(chromium, address_of(browser), **options) as visit,
        ):
            alice = Person(visit, "fr", "first-use", "alice")
            visit.page.set_default_timeout(PATIENT_MS)
            visit.page.goto(address_of(browser))
            visit.page.get_by_label("Code", exact=True).fill(CODE)
            alice.press("Sign in")
            alice.fill("Name", "Béatrice")
            alice.fill("Port of the house door", str(take_ports().port))
            alice.press("Begin")
            alice.read("The owner’s login needs a password.")
            looks_well(alice)
            alice.fill("Password", PASSWORD)
            alice.fill("Password again", PASSWORD)
            visit.page.get_by_label(
                alice.say("Friends elsewhere may come in")
            ).uncheck()
            alice.press("Begin")
            # The page of the node that lives now, as far as the doctor's findings.
            finding = visit.page.locator(".fs-step .fs-finding").first
            finding.wait_for()
            alice.picture("wizard")
            assert load_settings(file, needs_hashes=False).node.name == "Béatrice"
            assert (tmp_path / "disk").is_dir()
            agent.stop()
            alice.press("Start FonShare")
            visit.page.locator(".fonshare:not([data-trouble])").wait_for()
    finally:
        agent.stop()
