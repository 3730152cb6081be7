"""Whether everybody can use the page, on a phone and a desk, in light and in dark.

The pictures of all pages stay in build/screenshots.
"""

import json

import pytest

from axe import SCRIPT
from browser import ARTEFACTS, DESK, PHONE, visiting
from programs import refuse

WORLD = """
    makeJob('Bréhat 2019.mkv', {state: 'running', size: 1.4e9, done_bytes: 4.1e8,
        sources: 2});
    makeJob('Vacances', {state: 'locating', error: {code: 'source.offline'}});
    makeJob('Concert.flac', {state: 'paused', size: 3e8, done_bytes: 1e8, first: true});
    makeJob('Notes.pdf', {state: 'done', size: 2e6, done_bytes: 2e6});
    makeJob('Vieux film.avi', {state: 'failed', size: 7e8, done_bytes: 1e6,
        error: {code: 'disk.file_too_large'}});
    world.requests = [{group: 'Famille', id: 'david-x2k4m-aaaaa', name: 'David',
        words: ['apple', 'river', 'stone', 'candle', 'tiger', 'window']}];
    world.findings = [
        {level: 'error', code: 'disk.wrong', message: 'another disk is here',
            thing: '/mnt/sda1', next: 'Plug the right disk in.'},
        {level: 'warning', code: 'backup.never',
            message: 'no backup of this node\\'s keys was ever made', thing: 'backup',
            next: 'Keep one elsewhere.'},
        {level: 'ok', code: 'disk.ok', message: 'the disk is there', thing: '/mnt/sda1',
            next: ''}];
    world.searches = [{name: 'concerts', words: ['concert'], group: null,
        member_id: null}];
    world.news = [{search: 'concerts', id: 'n1', kind: 'file', name: 'Zénith.flac',
        path: 'Zénith.flac', size: 4.1e8, modified: 1.7e9, group: 'Famille',
        member: 'Bob', member_id: 'bobby-m3xr7-ccccc-ddddd', share: 'Musique',
        online: true, own: false}];
    world.ratings['Bréhat 2019.mkv'] = {
        [world.node.id]: 4, 'bobby-m3xr7-ccccc-ddddd': 5};
    ask('share add', {path: 'ftps://anna@old.example/pub', name: 'Archives',
        group: ['Famille']});
    world.logins = ['Famille'];
    makeCopy({source: 'ftps://me@old.example/pub', target: 'ftps://me@new.example/pub'},
        {state: 'failed', size: 9e6, done_bytes: 4e6, error: {code: 'fxp.certificate',
            message: 'the certificate cannot be trusted', thing: 'old.example'}});
    makeCopy({source: 'ftp://old.example/iso', target: 'ftps://me@new.example/iso'});
    world.settings = [{name: 'node.name', help: 'The name that friends see.',
        value: 'Anna'}];
"""
PAGES = {
    "overview": ".fs-finding",
    "files": ".fs-entry",
    "files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms": ".fs-entry",
    "files?%2FFilms": ".fs-entry",
    "files?%2F%2F": ".fs-entry",
    "transfers": ".fs-job",
    "groups": ".fs-share",
    "group?Famille": ".fs-member",
    "join": ".fs-join",
    "settings": ".fs-settings",
    "wizard": ".fs-step",
}
LOOKS = [(PHONE, "light"), (PHONE, "dark"), (DESK, "light"), (DESK, "dark")]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SERIOUS = ("serious", "critical")
SMALL_PX = 44
SMALL = """least => [...document.querySelectorAll('.fs-button, .fs-input, .fs-menu a, \
.fs-choice, summary')].filter(one => one.offsetParent && one.offsetHeight < least)
.map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def axe():
    if not SCRIPT.exists():
        refuse("axe-core is not installed: make deps")
    return SCRIPT.read_text()


def complaints(visit, axe):
    """What axe finds that keeps somebody out, in words."""
    visit.page.evaluate(f"() => {{ if (!window.axe) {{ {axe} }} }}")
    script = (
        f"async () => JSON.stringify((await axe.run({{runOnly: {RULES}}})).violations)"
    )
    found = json.loads(visit.page.evaluate(script))
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def look_at(visit, axe, route, mark, name):
    """Open *route*; it has no barrier, fits, and its picture is kept."""
    visit.page.evaluate("route => { location.hash = '#/' + route }", route)
    visit.page.locator(mark).first.wait_for()
    assert complaints(visit, axe) == [], f"{route}, {name}"
    assert not visit.is_too_wide(), f"{route}, {name}"
    assert visit.page.evaluate(SMALL, SMALL_PX) == [], f"{route}, {name}"
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    file = ARTEFACTS / f"{route.partition('?')[0]}-{name}.png"
    file.write_bytes(visit.page.screenshot(full_page=True))


@pytest.mark.full
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_no_page_keeps_anybody_out(chromium, page_address, axe, size, scheme):
    options = {"viewport": size, "color_scheme": scheme}
    with visiting(chromium, page_address, **options) as visit:
        visit.open("settings", WORLD)
        for route, mark in PAGES.items():
            look_at(visit, axe, route, mark, f"{size['width']}-{scheme}")


@pytest.mark.full
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_stars_of_a_file_keep_nobody_out(chromium, page_address, axe, size, scheme):
    options = {"viewport": size, "color_scheme": scheme}
    with visiting(chromium, page_address, **options) as visit:
        visit.open("files?%2FFilms", WORLD)
        visit.page.get_by_role("button", name="Bréhat 2019.mkv").click()
        dialog = visit.page.get_by_role("dialog")
        dialog.get_by_text("4.5 of 5 stars, 2 ratings").wait_for()
        assert complaints(visit, axe) == []
        assert not visit.is_too_wide()
        assert visit.page.evaluate(SMALL, SMALL_PX) == []
        file = ARTEFACTS / f"file-{size['width']}-{scheme}.png"
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        file.write_bytes(visit.page.screenshot())


def test_the_overview_and_the_files_keep_nobody_out(chromium, page_address, axe):
    options = {"viewport": PHONE, "color_scheme": "light"}
    with visiting(chromium, page_address, **options) as visit:
        visit.open("settings", WORLD)
        for route in ("overview", "files?%2FFilms"):
            look_at(visit, axe, route, PAGES[route], "360-light")


LONGER = """
    world.translate = text => '\u27e6' + text + ' ' + text.split(' ')[0] + '\u27e7';
"""
# Text that is neither a name nor the answer of an agent nor a mere figure.
UNTRANSLATED = r"""() => {
    const kept = 'bdi, code, .fs-words, script, option, .fs-count, .fs-faces, textarea';
    const walker = document.createTreeWalker(document.querySelector('.fonshare'),
        NodeFilter.SHOW_TEXT);
    const units = /\b(bytes?|[kMGT]B|sec|min|day|Jan|Dec|Nov|and)\b/g;
    const found = [];
    const bare = (text) => {
        const inner = text.replace(/\u27e6[^\u27e6\u27e7]*\u27e7/g, '');
        return inner === text ? inner.replace(units, '') : bare(inner);
    };
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = bare(node.textContent);
        const sentence = bare(node.parentElement.textContent); // with names within
        if (/[a-z]{2}/i.test(text) && sentence.includes(text)
            && !node.parentElement.closest(kept))
            found.push(node.textContent);
    }
    return found;
}"""


@pytest.mark.full
def test_every_word_is_translated_and_longer_ones_fit(chromium, page_address):
    """As if in a language that needs more room, on the smallest phone."""
    with visiting(chromium, page_address, viewport=PHONE) as visit:
        visit.open("settings", WORLD + LONGER)
        for route, mark in PAGES.items():
            visit.page.evaluate("route => { location.hash = '#/' + route }", route)
            visit.page.locator(mark).first.wait_for()
            assert not visit.is_too_wide(), route
            assert visit.page.evaluate(UNTRANSLATED) == [], route


DIALOGS = {
    "group?Famille": (
        "Invite a friend",
        "Invite without asking",
        "Share a folder",
        "Copy a server",
        "Add a broker",
        "Remove Bob",
        "Leave the group",
    ),
    "groups": (
        "New group",
        "Stop sharing Photos",
        "Password for the server of Archives",
    ),
    "settings": ("Add a login", "Take the login Famille away"),
    "transfers": ("Cancel Vacances", "Copy from server to server", "Stop iso"),
    "overview": ("Take this disk",),
    "files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms": (
        "Bréhat 2019.mkv",
        "Follow Films",
        "Keep Films",
    ),
}
OF_CHOSEN = ("Rate", "To a folder")
FOCUSED = "() => document.activeElement.ariaLabel || document.activeElement.textContent"


@pytest.mark.full
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_dialog_keeps_anybody_out(chromium, page_address, axe, scheme):
    options = {"viewport": PHONE, "color_scheme": scheme}
    with visiting(chromium, page_address, **options) as visit:
        visit.open("settings", WORLD)
        page = visit.page
        for route, buttons in DIALOGS.items():
            page.evaluate("route => { location.hash = '#/' + route }", route)
            page.locator(PAGES[route]).first.wait_for()
            for more in page.locator(".fs-member summary").all():
                more.click()
            for button in buttons:
                look_at_dialog(visit, axe, button)
        page.get_by_role("checkbox", name="Choose Bréhat 2019.mkv").check()
        for button in OF_CHOSEN:
            look_at_dialog(visit, axe, button)
        page.evaluate(
            "() => { world.failing['group create'] = {code: 'x', message: 'no'};"
            "location.hash = '#/groups' }"
        )
        page.get_by_role("button", name="New group").click()
        page.get_by_label("Name", exact=True).fill("Chorale")
        page.get_by_role("button", name="Make the group").click()
        page.locator(".fs-alert, .fs-error-words").first.wait_for()
        assert complaints(visit, axe) == [], "an error"


def look_at_dialog(visit, axe, button):
    """It has no barrier, fits, and gives the focus back to where it was."""
    page = visit.page
    page.get_by_role("button", name=button, exact=True).first.click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert complaints(visit, axe) == [], button
    assert not visit.is_too_wide(), button
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate(FOCUSED) == button


@pytest.mark.full
def test_without_motion_nothing_moves(chromium, page_address):
    options = {"reduced_motion": "reduce"}
    with visiting(chromium, page_address, **options) as visit:
        visit.open("transfers", "makeJob('A.mkv', {state: 'locating'})")
        fill = visit.page.locator(".fs-bar-fill")
        fill.wait_for()
        script = "one => getComputedStyle(one).animationName"
        assert fill.evaluate(script) == "none"


@pytest.mark.full
def test_it_dresses_as_what_it_stands_on_within_luci(chromium, page_address):
    """A theme of LuCI is dark by its own choice, whatever the system wants."""
    with visiting(chromium, page_address, color_scheme="light") as visit:
        visit.open("overview", options="{kind: 'luci'}")
        visit.page.locator(".fonshare[data-scheme=light]").wait_for()
        visit.page.evaluate(
            """() => {
                document.body.style.backgroundColor = 'rgb(34, 34, 34)';
                document.documentElement.setAttribute('data-darkmode', 'true');
            }"""
        )
        visit.page.locator(".fonshare[data-scheme=dark]").wait_for()


COVERED = """() => {
    const one = document.activeElement, box = one.getBoundingClientRect();
    if (one === document.body)
        return ''; // past the last
    const [x, y] = [box.left + Math.min(box.width, 40) / 2, box.top + box.height / 2];
    const there = document.elementFromPoint(x, y);
    return there && (one.contains(there) || there.contains(one)) ? '' : one.outerHTML;
}"""


@pytest.mark.full
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_what_has_the_focus_is_never_behind_the_menu(chromium, page_address, size):
    """By the keyboard down the page and up again, under the menu that stays."""
    with visiting(chromium, page_address, viewport=size) as visit:
        visit.open(
            "group?Famille", "for (let at = 0; at < 9; at += 1) makeJob('A', {})"
        )
        visit.page.get_by_role("button", name="Leave the group").wait_for()
        for key in ("Tab", "Shift+Tab"):
            for _ in range(24):
                visit.page.keyboard.press(key)
                assert visit.page.evaluate(COVERED) == ""


PRESSED = ".fonshare :is(a, button, input, summary)"
MISSED = f"""() => [...document.querySelectorAll('{PRESSED}')]
    .filter(one => one.offsetParent && one.type !== 'checkbox').map(one => {{
        const {{ width, height }} = one.getBoundingClientRect();
        return Math.min(width, height) < 43.5 ? one.outerHTML : '';
    }}).filter(Boolean)"""


@pytest.mark.full
def test_a_finger_hits_what_it_is_meant_for(chromium, page_address):
    searches = "[{ name: 'x', words: ['x'], group: null, member_id: null }]"
    with visiting(chromium, page_address, viewport=PHONE) as visit:
        visit.open("overview", f"world.searches = {searches}; {JOB_AND_NEWS}")
        for route in ("overview", FILMS, "transfers", "group?Famille", "wizard"):
            visit.page.evaluate("route => { location.hash = '#/' + route }", route)
            visit.page.locator(MARKS[route]).first.wait_for()
            assert visit.page.evaluate(MISSED) == [], route


FILMS = "files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms"
MARKS = {
    "overview": ".fs-news .fs-button",
    FILMS: ".fs-entry",
    "transfers": ".fs-job",
    "group?Famille": ".fs-member",
    "wizard": ".fs-step .fs-button",
}
JOB_AND_NEWS = """
    makeJob('A.mkv', {});
    makeJob('F', { state: 'failed', error: { code: 'disk.full' } });
    world.news = [{ search: 'x', id: 'n', kind: 'file', name: 'N', path: 'N', size: 1,
        modified: 1, group: 'Famille', member: 'Bob', member_id: 'm', share: 'Films',
        online: true, own: false }]
"""
