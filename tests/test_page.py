"""The page of FonShare in a browser: its frame, its overview and what goes wrong.

Its host is a stand-in (page_host.js); tests of whole nodes behind it are elsewhere.
"""

import json
import re

import pytest

from browser import visiting

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>&amp;",
    "\u202egpj.exe",
    "\u2066left\u2069\u200f",
    "line\nbreak\ttab\x00\x07\x7f",
    "\ufeff\u200b\u00ad",
    "\u3164\u2800\u115f\u1160\uffa0\u034f",
    "n" * 255,
    "\u05d0\u05d1\u05d2 \u0639\u0631\u0628",
    "{{ 7 * 7 }} ${1} %s %d",
    "../../etc/passwd",
    "' onfocus='alert(1)",
]


@pytest.fixture
def visit(chromium, page_address):
    with visiting(chromium, page_address) as visitor:
        yield visitor


def shown(visit):
    return visit.page.locator(".fs-content").inner_text()


def test_the_overview_tells_disk_line_friends_and_transfers(visit):
    visit.open("overview", "makeJob('Film.mkv', {state: 'running', done_bytes: 5e7})")

    visit.page.get_by_text("412 GB free").wait_for()
    visit.page.get_by_role("heading", name="Anna").wait_for()
    text = shown(visit)
    assert "Connected" in text
    assert "1 of 2 online" in text
    visit.page.get_by_text("50 MB of 100 MB").wait_for()
    assert visit.page.get_by_role("progressbar").count() == 2  # the disk and the film


@pytest.mark.full
def test_the_overview_lives(visit):
    visit.open()
    visit.page.get_by_text("412 GB free").wait_for()

    visit.page.evaluate("() => { world.disk.free_bytes = 3e9 }")
    visit.page.get_by_text("3 GB free").wait_for()
    visit.page.evaluate("() => { world.broker.connected = false }")
    visit.page.get_by_text("Not connected").wait_for()


def test_who_has_no_group_is_led_through_the_first_use(visit):
    visit.open("overview", "world.groups = []; world.shares = []")
    visit.page.get_by_role("link", name="Set it up").click()

    visit.page.get_by_role("heading", name="Set up FonShare").wait_for()
    visit.page.get_by_text("Step 2 of 5").wait_for()
    visit.page.get_by_role("button", name="New group").click()
    visit.page.get_by_label("Name", exact=True).fill("Voisins")
    visit.page.get_by_role("button", name="Make the group").click()
    visit.page.get_by_text("Step 3 of 5").wait_for()
    visit.page.get_by_role("button", name="Share a folder").click()
    visit.page.get_by_label("Folder of the disk").fill("media/Films")
    visit.page.get_by_role("button", name="Share", exact=True).click()
    visit.page.get_by_text("Step 4 of 5").wait_for()

    assert visit.calls("group create") == [{"group": "Voisins"}]
    wanted = {"path": "media/Films", "name": "Films", "group": ["Voisins"]}
    assert visit.calls("share add") == [wanted]


@pytest.mark.full
def test_what_is_wrong_is_mended_with_one_press(visit):
    wrong = (
        "{level: 'error', code: 'disk.wrong', message: 'another disk is here',"
        " thing: '/mnt/sda1', next: 'Plug the right disk in.'}"
    )
    visit.open("overview", f"world.findings = [{wrong}]")

    visit.page.get_by_text("Another disk is here", exact=True).wait_for()
    visit.page.get_by_role("button", name="Take this disk").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Go back").click()
    assert visit.calls("disk adopt") == []
    visit.page.get_by_role("button", name="Take this disk").click()
    dialog.get_by_role("button", name="Take this disk").click()

    visit.page.get_by_text("All is well.").wait_for()
    assert len(visit.calls("disk adopt")) == 1


@pytest.mark.full
def test_news_of_a_saved_search_are_fetched_and_seen(visit):
    search = "{name: 'films', words: ['film'], group: null, member_id: null}"
    news = (
        "{search: 'films', id: 'x1', kind: 'file', name: 'Neu.mkv', path: 'Neu.mkv',"
        " size: 5e8, modified: 1, group: 'Famille', member: 'Bob', member_id: 'b',"
        " share: 'Films', online: true, own: false}"
    )
    visit.open("overview", f"world.searches = [{search}]; world.news = [{news}]")

    visit.page.get_by_role("button", name="Get Neu.mkv").click()
    visit.page.get_by_text("On its way.").wait_for()
    visit.page.get_by_role("button", name="Seen: what is new of films").click()
    visit.page.get_by_text("Nothing since you last looked.").wait_for()

    assert visit.calls("get") == [{"entries": ["x1"]}]
    assert {"name": "films"} in visit.calls("search new")


@pytest.mark.parametrize(
    "code",
    [
        "no_agent",
        pytest.param("unreachable", marks=pytest.mark.full),
        pytest.param("session_expired", marks=pytest.mark.full),
    ],
)
def test_who_does_not_answer_is_waited_for(visit, code):
    """The page stays, says what is, and goes on by itself."""
    visit.open()
    visit.page.get_by_text("412 GB free").wait_for()

    visit.page.evaluate("code => { world.away = code }", code)
    trouble = visit.page.locator(f"[data-trouble={code}] .fs-trouble")
    trouble.wait_for()
    assert trouble.get_attribute("role") == "alert"
    assert trouble.inner_text()
    assert "412 GB free" in shown(visit)
    visit.page.evaluate("() => { world.away = null; world.disk.free_bytes = 2e9 }")

    visit.page.get_by_text("2 GB free").wait_for()
    visit.page.locator(".fonshare:not([data-trouble])").wait_for()


@pytest.mark.full
def test_a_page_opened_while_nobody_answers_fills_later(visit):
    visit.open("files", "world.away = 'no_agent'")
    visit.page.locator(".fs-trouble").get_by_text("FonShare is not running.").wait_for()

    visit.page.evaluate("() => { world.away = null }")
    visit.page.get_by_role("grid").get_by_text("Famille").wait_for()


def test_a_command_that_fails_is_told_with_what_thing_and_next(visit):
    refusal = (
        "{code: 'disk.full', message: 'no room', thing: '/mnt/x', next: 'Free it.'}"
    )
    visit.open(
        "transfers",
        f"makeJob('Film.mkv', {{}}); world.failing['jobs pause'] = {refusal}",
    )
    pause = visit.page.get_by_role("button", name="Pause Film.mkv")
    pause.click()

    alert = visit.page.locator(".fs-alerts .fs-alert")
    alert.wait_for()
    for words in ("No room", "/mnt/x", "Free it."):
        assert words in alert.inner_text()
    assert pause.get_attribute("aria-disabled") is None
    visit.page.evaluate("() => { world.failing = {} }")
    pause.click()
    visit.page.get_by_role("button", name="Resume Film.mkv").wait_for()
    alert.get_by_role("button", name="Dismiss").click()
    assert alert.count() == 0


def test_a_button_runs_once_at_a_time_and_keeps_the_focus(visit):
    visit.open("transfers", "makeJob('Film.mkv', {})")
    pause = visit.page.get_by_role("button", name="Pause Film.mkv")
    pause.wait_for()
    visit.page.evaluate("() => { world.delay = 700 }")

    pause.focus()
    visit.page.keyboard.press("Enter")
    assert pause.get_attribute("aria-disabled") == "true"
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Enter")
    visit.page.locator(
        "button:not([aria-disabled])[aria-label='Resume Film.mkv']"
    ).wait_for()

    assert len(visit.calls("jobs pause")) == 1


@pytest.mark.full
def test_polling_never_overlaps_and_ends_with_the_page(visit):
    visit.open("overview", "world.delay = 400")
    visit.until("world.calls.filter(one => one[0] === 'status').length > 2")
    assert visit.page.evaluate("() => world.most.status") == 1

    visit.page.evaluate("() => { window.stop(); world.calls.length = 0 }")
    visit.page.wait_for_timeout(2500)
    assert visit.page.evaluate("() => world.calls") == []
    assert visit.page.locator(".fonshare").count() == 0


def test_the_focus_follows_to_the_page_that_is_opened(visit):
    visit.open()
    visit.page.get_by_role("link", name="Settings").click()
    visit.page.get_by_role("heading", name="Settings", exact=True).wait_for()

    visit.until("document.activeElement.tagName === 'H1'")
    current = visit.page.locator(".fs-menu [aria-current=page]")
    assert current.inner_text() == "Settings"


@pytest.mark.full
def test_it_speaks_the_language_of_its_host(visit):
    """Words by the host, numbers and plurals by the browser."""
    prepare = """
        world.language = 'fr';
        const words = { Disk: 'Disque', '%s free': '%s libres', Groups: 'Groupes',
            '%d member': '%d membre', '%d members': '%d membres' };
        world.translate = text => words[text] || text;
        world.groups[1].members = [];
    """
    visit.open("overview", prepare)
    visit.page.get_by_text("412\u202fGo libres").wait_for()
    visit.page.get_by_role("heading", name="Disque").wait_for()
    visit.page.get_by_role("link", name="Groupes").click()
    visit.page.get_by_text("0 membre · ").wait_for()  # in French, none is singular
    visit.page.get_by_text("3 membres · ").wait_for()


def test_findings_are_told_in_the_language_of_the_host(visit):
    """By their codes, with what they are about where the code does not say it."""
    visit.open(
        "overview",
        """
        world.language = 'fr';
        world.findings = [
            {level: 'warning', code: 'settings.warning', thing: 'ftp.users',
                message: 'a password in clear', next: 'Change the settings.'},
            {level: 'warning', code: 'backup.never', thing: 'backup',
                message: 'no backup', next: 'Make one.'},
        ];
        """,
    )
    visit.page.get_by_text(
        "A password could be better protected: ftp.users", exact=True
    ).wait_for()
    visit.page.get_by_text(
        "No backup of this node’s keys was ever made.", exact=True
    ).wait_for()


@pytest.mark.full
def test_nobody_is_sent_to_a_terminal_by_what_is_found(visit):
    """Where English is read the agent's own words stay, but for its commands."""
    visit.open(
        "overview",
        """
        world.findings = [
            {level: 'warning', code: 'backup.never', thing: 'backup',
                message: 'no backup was ever made', next: 'Run `fonshare backup`.'},
            {level: 'warning', code: 'disk.low', thing: '/mnt/sda1',
                message: 'the disk has 5 MB left', next: 'Free some of them.'},
        ];
        """,
    )
    visit.page.get_by_text("No backup was ever made", exact=True).wait_for()
    visit.page.get_by_text("Make one in the settings, and keep the file").wait_for()
    visit.page.get_by_text("Free some of them.", exact=True).wait_for()


@pytest.mark.full
def test_hostile_names_are_text_everywhere(visit):
    """Of members, groups, files, shares, jobs, requests, findings and errors."""
    visit.open("overview", HOSTILE_WORLD.replace("__NAMES__", json.dumps(HOSTILE)))
    visit.page.locator(".fs-finding bdi").first.wait_for()
    check_is_text(visit)
    for route, mark in (
        ("files", "[role=row] bdi"),
        ("files?%2F", "[role=row] bdi"),
        ("files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms", "[role=row] bdi"),
        ("transfers", ".fs-job bdi"),
        ("groups", ".fs-share bdi"),
        ("group?Famille", ".fs-member bdi"),
        ("wizard", ".fs-step bdi"),
    ):
        visit.page.evaluate("route => { location.hash = '#/' + route }", route)
        visit.page.locator(mark).first.wait_for()
        check_is_text(visit)
    visit.page.evaluate("() => { location.hash = '#/transfers' }")
    for button in visit.page.locator("button[aria-label^=Pause]:visible").all():
        button.click()
        visit.page.locator(".fs-alert bdi").first.wait_for()
        check_is_text(visit)
        visit.page.get_by_role("button", name="Dismiss").click()


HOSTILE_WORLD = """
    const names = __NAMES__;
    const flat = names.map(one => one.split('/').join('_').split('\\0').join(''));
    const words = ['a', 'b', 'c', 'd', 'e', 'f'];
    const bob = world.groups[0].members[1].id;
    world.node.name = names[0];
    world.groups[0].members.push(...names.map((name, at) =>
        ({ id: 'member' + at + '-abcde', name, online: at % 2 === 0 })));
    world.groups.push(...flat.map(name => ({ name, role: 'member', members: [] })));
    flat.forEach(name => {
        world.entries.push(['Famille', bob, name, name, 5, 5]);
        world.entries.push(['Famille', bob, 'Films', name, 5, 5]);
        world.entries.push(['Famille', bob, 'Films', name + ' folder/x', 5, 5]);
    });
    world.shares = names.map(name => ({ name, path: name, groups: ['Famille', name],
        files: 1, bytes: 1 }));
    names.forEach(name => {
        const error = { code: 'x', message: name };
        makeJob(name, { state: 'locating', error });
        makeJob(name, { state: 'failed', error });
    });
    world.requests = names.map((name, at) => ({ group: 'Famille', id: 'r' + at, name,
        words }));
    world.findings = names.map(name => ({ level: 'error', code: 'x', message: name,
        thing: name, next: name }));
    world.searches = names.map(name => ({ name, words: [name], group: null,
        member_id: null }));
    names.forEach((name, at) => {
        world.news.push({ search: name, id: 'n' + at, kind: 'file', name, path: name,
            size: 1, modified: 1, group: name, member: name, member_id: 'm',
            share: name, online: true, own: false });
    });
    world.failing['jobs pause'] = { code: 'x', message: names.join(' '),
        thing: names[1], next: names[2] };
"""
UNSEEN = (
    r"/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f"
    r"\u202a-\u202e\u2066-\u2069\ufeff\u034f\u115f\u1160\u2800\u3164\uffa0]/"
)


def check_is_text(visit):
    """No element of a stranger's making, nothing unseen, and it fits in the page."""
    page = visit.page
    assert page.locator("img, script:not([src]), .fonshare [onerror]").count() == 0
    labels = "[...document.querySelectorAll('[aria-label], [title]')].map(one =>"
    labels += " (one.ariaLabel || '') + one.title).join(' ')"
    text = f"document.querySelector('.fonshare').textContent + {labels}"
    assert page.evaluate(f"() => {UNSEEN}.exec({text})") is None
    assert not visit.is_too_wide()


@pytest.mark.full
def test_days_are_written_as_in_the_readers_country(visit):
    """The page is in English, the browser in that of Great Britain."""
    visit.open("files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms")
    day = visit.page.locator(".fs-entry .fs-cell-day", has_text="20").first
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]+ 20\d\d", day.inner_text())
