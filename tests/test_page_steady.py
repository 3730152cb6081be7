"""The page under a hand: no answer that comes meanwhile loses a click, the focus or a
selection, and nothing is made anew that stays as it was.
"""

import pytest

from browser import visiting
from waiting import wait_until

FILMS = "files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms"
ROUTES = (
    "overview",
    "files",
    FILMS,
    "files?%2F",
    "transfers",
    "groups",
    "group?Famille",
    "join",
    "settings",
    "wizard",
)
# The page asks ten times as often.
FAST = """
    const later = window.setTimeout;
    window.setTimeout = (work, ms) => later(work, ms / 10);
"""
# A hand is waited for, and a notice stays, as long as the test is slow.
PATIENT = """
    const later = window.setTimeout;
    window.setTimeout = (work, ms) => later(work, ms > 1900 ? 1e6 : ms);
"""
WATCH = """() => {
    window.anew = [];
    const told = one => one.target.outerHTML || one.target.data;
    window.watcher = window.watcher || new MutationObserver(changes =>
        window.anew.push(...changes.map(told)));
    const all = { childList: true, characterData: true, subtree: true };
    window.watcher.observe(document.querySelector('.fonshare'), all);
}"""
FOCUSED = """() => document.activeElement.ariaLabel
    || document.activeElement.textContent"""


@pytest.fixture
def visit(chromium, page_address):
    with visiting(chromium, page_address) as visitor:
        yield visitor


def ask_again(visit, times):
    """Wait until the page has asked so many times more how things are."""
    asked = len(visit.calls("status"))
    wait_until(lambda: len(visit.calls("status")) >= asked + times, "it asks again")


@pytest.mark.full
def test_where_nothing_changes_nothing_is_made_anew(visit):
    jobs = "['A.mkv', 'B.mkv'].forEach(name => makeJob(name, { state: 'paused' }))"
    visit.open("overview", f"{FAST}; {jobs}; makeJob('C.mkv', {{ state: 'done' }})")
    for route in ROUTES:
        visit.page.evaluate("route => { location.hash = '#/' + route }", route)
        ask_again(visit, 4)
        visit.page.evaluate(WATCH)
        ask_again(visit, 4)
        assert visit.page.evaluate("() => window.anew") == [], route


@pytest.mark.full
def test_a_press_outlasts_the_answers_that_come_meanwhile(visit):
    """A row that is another one by now is made anew only when the mouse is up again."""
    visit.open(FILMS, PATIENT)
    name = visit.page.get_by_role("button", name="Bréhat 2019.mkv")
    name.hover()
    visit.page.mouse.down()
    visit.page.evaluate(
        "() => { world.ratings['Bréhat 2019.mkv'] = { [world.node.id]: 5 } }"
    )
    visit.page.wait_for_timeout(2000)  # a page that waits for no hand has them anew
    visit.page.mouse.up()
    visit.page.get_by_role("dialog").get_by_text("Who has it").wait_for()
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("row").get_by_text("5 of 5 stars").wait_for(state="attached")


def test_what_is_typed_right_after_a_link_is_on_the_page_it_leads_to(visit):
    visit.open(FILMS)
    visit.page.get_by_role("button", name="Bréhat 2019.mkv").wait_for()
    visit.page.evaluate(
        """() => {
            document.querySelector('.fs-menu a[href="#/files"]').click();
            const box = document.querySelector('[type=search]');
            box.value = 'noël';
            box.dispatchEvent(new Event('input'));
        }"""
    )
    visit.page.get_by_text("1 found", exact=True).wait_for()
    assert visit.page.get_by_role("searchbox").input_value() == "noël"


def test_the_focus_stays_near_what_is_gone(visit):
    """Pause becomes Resume; a job that goes leaves the focus beside it."""
    failed = "{ state: 'failed', error: { code: 'disk.full', message: 'x' } }"
    visit.open(
        "transfers",
        "makeJob('A.mkv', {});"
        f"['B.mkv', 'C.mkv'].forEach(name => makeJob(name, {failed}))",
    )
    visit.page.get_by_role("button", name="Pause A.mkv").focus()
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("button", name="Resume A.mkv").wait_for()
    assert visit.page.evaluate(FOCUSED) == "Resume A.mkv"

    visit.page.get_by_role("button", name="Take off the list: C.mkv").focus()
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("C.mkv", exact=True).wait_for(state="detached")
    assert "B.mkv" in visit.page.evaluate(FOCUSED)


@pytest.mark.full
def test_the_focus_stays_where_a_card_is_written_anew(visit):
    visit.open("overview")
    visit.page.get_by_role("button", name="Look again").focus()
    visit.page.keyboard.press("Enter")
    wait_until(lambda: len(visit.calls("doctor")) == 2, "it is looked again")
    visit.page.get_by_role("button", name="Look again").wait_for()
    assert visit.page.evaluate(FOCUSED) == "Look again"

    visit.page.evaluate("() => { location.hash = '#/groups' }")
    visit.page.get_by_role("button", name="Stop sharing Photos").focus()
    visit.page.keyboard.press("Enter")
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Stop sharing").click()
    visit.page.get_by_text("Nothing yet").wait_for()
    visit.until("document.activeElement.textContent === 'What you share'")


@pytest.mark.full
def test_a_menu_stays_open_when_its_member_goes(visit):
    visit.open("group?Famille")
    more = visit.page.get_by_label("More for Bob")
    more.click()
    remove = visit.page.get_by_role("button", name="Remove Bob")
    remove.focus()
    visit.page.evaluate("() => { world.groups[0].members[1].online = false }")
    row = visit.page.locator(".fs-member", has_text="Bob")
    row.get_by_text("last seen").wait_for()
    assert visit.page.evaluate(FOCUSED) == "Remove Bob"


def test_many_arrivals_are_said_at_once(visit):
    visit.open("overview", PATIENT + "makeJob('A.mkv', { state: 'running' })")
    visit.page.get_by_text("412 GB free").wait_for()
    for count in (2, 7, 30):
        visit.page.evaluate(
            "count => { for (let at = 0; at < count; at += 1)"
            " makeJob('Arrived' + at, { state: 'done' }) }",
            count,
        )
        ask_again(visit, 2)
    assert visit.page.locator(".fs-notice").all_inner_texts() == [
        "2 transfers have arrived."
    ]


def test_a_press_that_could_not_be_done_is_told(visit):
    visit.open("transfers", "makeJob('A.mkv', {})")
    visit.page.get_by_role("button", name="Pause A.mkv").wait_for()
    visit.page.evaluate("() => { world.away = 'no_agent' }")
    visit.page.locator(".fs-trouble").get_by_text("FonShare is not running.").wait_for()
    visit.page.get_by_role("button", name="Pause A.mkv").click()
    visit.page.get_by_text("This was not done.").wait_for()

    visit.page.evaluate("() => { world.away = null }")
    visit.page.locator(".fonshare:not([data-trouble])").wait_for()
    visit.page.get_by_text("This was not done.").wait_for()


def test_a_dialog_goes_with_the_page_it_was_opened_from(visit):
    visit.open("overview")
    visit.page.evaluate("() => { location.hash = '#/groups' }")
    visit.page.get_by_role("button", name="New group").click()
    visit.page.get_by_role("dialog").wait_for()
    visit.page.go_back()
    visit.page.get_by_role("heading", name="Anna").wait_for()
    assert visit.page.get_by_role("dialog").count() == 0


@pytest.mark.full
def test_a_dialog_gives_the_focus_back_to_a_list_that_was_made_anew(visit):
    visit.open(FILMS)
    visit.page.get_by_role("button", name="Bréhat 2019.mkv").wait_for()
    visit.page.locator("[role=row][tabindex='0']").focus()
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("dialog").wait_for()
    visit.page.evaluate(
        "() => { world.ratings['Bréhat 2019.mkv'] = { [world.node.id]: 5 } }"
    )
    visit.page.get_by_text("5 of 5 stars").wait_for(state="attached")
    visit.page.keyboard.press("Escape")
    visit.until("document.activeElement.matches('[role=row]')")
    assert "Bréhat" in visit.page.evaluate(FOCUSED)
