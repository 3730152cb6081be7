"""What frames the page off the router: whatever answer is lost, it is never blank."""

from contextlib import contextmanager

import pytest

from browser import MODULES, visiting
from fonshare_agent.web.page import WORDS
from settings_files import write_settings
from web_people import PASSWORD
from web_server import add_web, serving

pytestmark = pytest.mark.full

SILENT = "The server of this page does not answer. Is `fonshare web` running?"


@pytest.fixture
def visit(tmp_path, chromium):
    config = write_settings(tmp_path)
    add_web(config)
    with serving(config, modules=MODULES, words=WORDS) as browser:
        address = f"http://127.0.0.1:{browser.port}"
        with visiting(chromium, address) as visitor:
            visitor.page.goto(address)
            yield visitor
            visitor.complaints.clear()  # of what was lost


@contextmanager
def losing(visit, address):
    """Nothing that is asked of *address* has an answer."""
    visit.page.route(address, lambda route: route.abort())
    yield
    visit.page.unroute(address)


def sign_in(visit):
    visit.page.get_by_label("Password").fill(PASSWORD)
    visit.page.get_by_role("button", name="Sign in").click()


def test_an_answer_lost_right_after_the_sign_in_is_waited_for(visit):
    password = visit.page.get_by_label("Password")
    password.wait_for()
    with losing(visit, "**/api/session"):
        sign_in(visit)
        visit.page.get_by_text(SILENT).wait_for()
    visit.page.get_by_role("link", name="Files").wait_for()


def test_who_signs_out_while_nobody_answers_sees_that_it_is_not_done_yet(visit):
    sign_in(visit)
    visit.page.get_by_role("link", name="Files").wait_for()
    with losing(visit, "**/api/logout"):
        visit.page.get_by_role("button", name="Sign out").click()
        visit.page.get_by_text(SILENT).wait_for()
    visit.page.get_by_role("button", name="Sign in").wait_for()


def test_a_part_of_the_page_that_is_lost_can_be_asked_for_again(visit):
    with losing(visit, "**/page/pages/files.js"):
        sign_in(visit)
        visit.page.get_by_text("A part of the page did not come.").wait_for()
    visit.page.get_by_role("button", name="Try again").click()
    visit.page.get_by_role("link", name="Files").wait_for()
