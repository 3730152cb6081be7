"""Files in the page: browsing, searching, choosing, by finger and by keyboard."""

import base64
import json

import pytest

from browser import PHONE, visiting
from waiting import wait_until

BOB, CAROL = "bobby-m3xr7-ccccc-ddddd", "carol-q9wz2-eeeee-fffff"
NO_TREE = {"width": 960, "height": 800}  # beside the list; it asks for itself


@pytest.fixture
def visit(chromium, page_address):
    with visiting(chromium, page_address) as visitor:
        yield visitor


def rows(visit):
    """The names in the list, in their order."""
    visit.page.locator("[role=grid]:not([aria-busy])").wait_for()
    return visit.page.locator(".fs-entry .fs-entry-name").all_inner_texts()


def open_row(visit, name):
    visit.page.get_by_role("grid").get_by_role("button", name=name, exact=True).click()


def test_the_tree_leads_from_group_to_folder(visit):
    visit.open("files")
    for name in ("Famille", "Bob", "Films", "Vacances"):
        open_row(visit, name)
    visit.page.get_by_role("grid").get_by_text("Jour 1.mp4").wait_for()

    assert rows(visit) == ["Jour 1.mp4", "Jour 2.mp4"]
    crumbs = visit.page.get_by_role("navigation", name="Where you are")
    steps = crumbs.get_by_role("listitem").all_inner_texts()
    assert steps == ["All groups", "Famille", "Bob", "Films", "Vacances"]
    tree = visit.page.get_by_role("navigation", name="Folders")
    assert tree.get_by_role("link", name="Vacances").get_attribute("aria-current")
    crumbs.get_by_role("link", name="Bob").click()
    visit.page.get_by_role("grid").get_by_text("Musique").wait_for()
    assert rows(visit) == ["Films", "Musique"]


def test_all_together_is_one_tree_of_all_friends(visit):
    visit.open("files")
    visit.page.get_by_role("link", name="All together").click()
    open_row(visit, "Films")
    visit.page.get_by_role("grid").get_by_text("Noël.mkv").wait_for()

    assert rows(visit) == ["Vacances", "Bréhat 2019.mkv", "Noël.mkv"]
    film = visit.page.locator(".fs-entry", has_text="Bréhat")
    assert "2 sources" in film.inner_text()
    open_row(visit, "Vacances")
    visit.page.get_by_role("grid").get_by_text("Jour 3.mp4").wait_for()
    assert rows(visit) == ["Jour 1.mp4", "Jour 2.mp4", "Jour 3.mp4"]


def search(visit, words, told):
    """Search in Files until the page says how much it has found."""
    visit.open("files")
    visit.page.get_by_role("searchbox").fill(words)
    visit.page.get_by_text(told).wait_for()


@pytest.mark.full
def test_a_folder_of_several_friends_is_fetched_from_all(visit):
    visit.open("files?%2FFilms")
    visit.page.get_by_role("checkbox", name="Choose Vacances").check()
    visit.page.locator(".fs-chosen").get_by_role("button", name="Get").click()
    visit.page.get_by_text("2 transfers are on their way.").wait_for()

    [call] = visit.calls("get")
    assert [BOB in one for one in call["entries"]] == [True, False]
    assert [CAROL in one for one in call["entries"]] == [False, True]


def test_typing_searches_and_filters_narrow(visit):
    search(visit, "bréhat", "1 found")
    assert "2 sources" in visit.page.locator(".fs-entry").inner_text()
    visit.page.get_by_role("searchbox").fill("mkv")
    visit.page.get_by_text("4 found").wait_for()

    visit.page.get_by_role("button", name="Filters").click()
    visit.page.get_by_label("Group", exact=True).select_option("Ciné-club")
    visit.page.get_by_text("2 found").wait_for()
    visit.page.get_by_label("At least").select_option(label="Over 1 GB")
    visit.page.get_by_label("Order").select_option(label="Largest first")
    visit.page.get_by_label("Unchanged for").select_option(label="A month")
    visit.page.get_by_label("Only what is online now").check()
    visit.until("world.calls.filter(one => one[0] === 'find').pop()[1].online")

    assert visit.calls("find")[-1] == {
        "words": ["mkv"],
        "group": "Ciné-club",
        "min_size": 1_000_000_000,
        "older": 30 * 86400,
        "sort": "size",
        "online": True,
        "limit": 100,
    }
    assert rows(visit) == ["Metropolis.mkv", "Nosferatu.mkv"]
    visit.page.get_by_role("searchbox").fill("xyz")
    visit.page.get_by_role("button", name="Clear the search").click()
    visit.page.get_by_role("grid").get_by_text("Famille").wait_for()


@pytest.mark.full
def test_an_answer_that_comes_late_does_not_cover_a_newer_one(visit):
    visit.open("files")
    visit.page.get_by_role("searchbox").wait_for()
    visit.page.evaluate("() => { world.delay = 1200 }")
    visit.page.get_by_role("searchbox").fill("bréhat")
    visit.until("world.open.find")
    visit.page.evaluate("() => { world.delay = 0 }")
    visit.page.get_by_role("searchbox").fill("noël")
    visit.page.get_by_role("grid").get_by_text("Noël.mkv").wait_for()

    visit.until("!world.open.find")
    assert rows(visit) == ["Noël.mkv"]


@pytest.mark.full
def test_a_search_is_kept_used_again_and_forgotten(visit):
    visit.open("files")
    visit.page.get_by_role("searchbox").fill("mkv")
    visit.page.get_by_role("button", name="Keep this search").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("films")
    dialog.get_by_role("button", name="Keep", exact=True).click()
    chip = visit.page.get_by_role("button", name="films", exact=True)
    chip.wait_for()

    visit.page.get_by_role("searchbox").fill("")
    visit.page.get_by_role("grid").get_by_text("Famille", exact=True).wait_for()
    chip.click()
    visit.page.get_by_text("4 found").wait_for()
    visit.page.get_by_role("button", name="Forget the search films").click()
    chip.wait_for(state="detached")
    assert visit.calls("search save") == [{"name": "films", "words": ["mkv"]}]
    assert visit.calls("search rm") == [{"name": "films"}]


@pytest.mark.full
def test_a_search_is_there_again_on_coming_back_and_nowhere_else(visit):
    search(visit, "mkv", "4 found")
    visit.page.get_by_role("link", name="Groups").click()
    visit.page.get_by_role("heading", name="Groups", exact=True).wait_for()
    visit.page.go_back()
    visit.page.get_by_text("4 found").wait_for()

    tree = visit.page.get_by_role("navigation", name="Folders")
    tree.get_by_role("link", name="Famille").click()
    visit.page.get_by_role("grid").get_by_text("Carol").wait_for()
    assert visit.page.get_by_role("searchbox").input_value() == ""


def test_several_are_chosen_and_fetched_at_once(visit):
    visit.open(f"files?Famille%2F{BOB}%2FFilms%2FVacances")
    visit.page.get_by_role("checkbox", name="Choose Jour 1.mp4").check()
    visit.page.get_by_role("checkbox", name="Choose Jour 2.mp4").check()
    visit.page.get_by_text("2 chosen · 1.4 GB").wait_for()

    visit.page.locator(".fs-chosen").get_by_role("button", name="Get").click()
    visit.page.get_by_text("2 transfers are on their way.").wait_for()
    [call] = visit.calls("get")
    assert len(call["entries"]) == 2
    assert not visit.page.locator(".fs-chosen").is_visible()


def test_the_keyboard_does_it_all(visit):
    visit.open("files")
    visit.page.get_by_role("grid").get_by_text("Famille").wait_for()
    visit.page.keyboard.press("/")  # a sign alone does nothing but on the list
    assert visit.page.evaluate("() => document.activeElement.tagName") == "BODY"
    visit.page.locator("[role=row][tabindex='0']").focus()
    visit.page.keyboard.press("/")
    assert visit.page.evaluate("() => document.activeElement.type") == "search"

    visit.page.locator("[role=row][tabindex='0']").focus()
    visit.page.keyboard.press("Enter")  # Famille
    visit.page.get_by_role("grid").get_by_text("Carol").wait_for()
    visit.page.locator("[role=row][tabindex='0']").focus()
    visit.page.keyboard.press("ArrowDown")  # Bob, after Anna
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("grid").get_by_text("Musique").wait_for()
    visit.page.locator("[role=row][tabindex='0']").focus()
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("Space")
    visit.page.get_by_text("1 chosen").wait_for()
    selected = visit.page.locator("[aria-selected=true]")
    assert "Musique" in selected.inner_text()
    visit.page.keyboard.press("Home")
    assert "Films" in visit.page.evaluate("() => document.activeElement.textContent")


@pytest.mark.full
def test_enter_on_a_file_shows_who_has_it(visit):
    search(visit, "bréhat", "1 found")
    visit.page.locator("[role=row][tabindex='0']").focus()
    visit.page.keyboard.press("Enter")

    dialog = visit.page.get_by_role("dialog")
    text = dialog.inner_text()
    assert "1.4 GB" in text
    assert "Bob" in text
    assert "Carol" in text
    dialog.get_by_role("button", name="Get").click()
    visit.page.get_by_text("1 transfer is on its way.").wait_for()
    assert dialog.count() == 0


@pytest.mark.full
def test_own_files_are_marked_and_not_fetched(visit):
    visit.open("files?Famille%2Fanna2-7kq4x-aaaaa-bbbbb%2FPhotos")
    visit.page.get_by_role("grid").get_by_text("Chat.jpg").wait_for()
    row = visit.page.locator(".fs-entry")
    assert "yours" in row.inner_text()
    assert row.get_by_role("checkbox").count() == 0


def test_a_folder_of_100_000_files_is_scrolled(visit):
    prepare = (
        f"world.lots = 100000; world.entries.push(['Famille','{BOB}','Lots','a',1])"
    )
    visit.open(f"files?Famille%2F{BOB}%2FLots", prepare)
    visit.page.get_by_role("grid").get_by_text("File 000000.mkv").wait_for()
    assert visit.page.locator(".fs-entry").count() < 80
    assert visit.page.get_by_role("grid").get_attribute("aria-rowcount") == "-1"

    for _ in range(6):
        seen = len(visit.calls("ls"))
        visit.page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
        visit.until(f"world.calls.filter(one => one[0] === 'ls').length > {seen}")
    visit.until("document.querySelectorAll('.fs-entry').length < 80")
    last = visit.page.locator(".fs-entry").last.get_attribute("aria-rowindex")
    assert int(last) > 2000
    cursors = [one["after"] for one in visit.calls("ls") if "after" in one]
    assert cursors == sorted(set(cursors)), "no page is asked for twice"


@pytest.mark.full
def test_the_end_of_100_000_files_is_reached(visit):
    prepare = (
        f"world.lots = 100000; world.entries.push(['Famille','{BOB}','Lots','a',1])"
    )
    visit.open(f"files?Famille%2F{BOB}%2FLots", prepare)
    visit.page.get_by_role("grid").get_by_text("File 000000.mkv").wait_for()
    visit.page.evaluate(
        """async () => {
            const said = document.querySelector('.fs-said');
            while (!said.textContent.includes('100,000')) {
                window.scrollTo(0, document.body.scrollHeight);
                await new Promise(resolve => setTimeout(resolve, 10));
            }
        }"""
    )
    visit.page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
    visit.page.get_by_role("grid").get_by_text("File 099999.mkv").wait_for()
    assert visit.page.locator(".fs-entry").count() < 80
    assert visit.page.get_by_role("grid").get_attribute("aria-rowcount") == "100001"


@pytest.mark.full
def test_a_new_file_in_an_open_folder_appears(visit):
    visit.open(f"files?Famille%2F{BOB}%2FMusique")
    visit.page.get_by_role("grid").get_by_text("Notes.pdf").wait_for()
    new = ["Famille", BOB, "Musique", "Zouk.mp3", 5, 5]
    visit.page.evaluate("row => world.entries.push(row)", new)
    visit.page.get_by_role("grid").get_by_text("Zouk.mp3").wait_for()
    assert rows(visit) == ["Concert.flac", "Notes.pdf", "Zouk.mp3"]


def test_a_path_that_is_no_utf_8_is_named_exactly(visit):
    visit.open("files")
    script = """async row => {
        const paths = await import('/page/paths.js');
        const place = paths.placeOf(row);
        return JSON.stringify([place, paths.decode(paths.encode(place))]);
    }"""
    for raw in (b"caf\xe9", b"\xff\xfe/x\x80", "é~d\u00e9/😀".encode(), b"a%2F~~"):
        row = {
            "kind": "folder",
            "path": raw.decode("utf-8", "replace"),
            "path_b64": base64.b64encode(raw).decode(),
            "group": "G",
            "member_id": "m",
            "share": "S",
        }
        place, back = json.loads(visit.page.evaluate(script, row))
        assert place.encode("utf-8", "surrogateescape") == b"G/m/S/" + raw
        assert back == place


@pytest.mark.full
def test_on_a_phone_names_have_room_and_nothing_is_too_wide(chromium, page_address):
    with visiting(chromium, page_address, viewport=PHONE, has_touch=True) as visit:
        visit.open(f"files?Famille%2F{BOB}%2FFilms")
        name = visit.page.get_by_role("button", name="Bréhat 2019.mkv")
        name.tap()
        visit.page.get_by_role("dialog").get_by_role("button", name="Close").tap()
        assert name.bounding_box()["height"] >= 44
        assert not visit.is_too_wide()


LOTS = f"world.lots = 100000; world.entries.push(['Famille','{BOB}','Lots','a',1])"
MORE = "names => { world.lotsMore = [...world.lotsMore, ...names] }"
TOP_OF = """name => [...document.querySelectorAll('.fs-entry-name')].find(
    one => one.textContent === name).getBoundingClientRect().top"""


@pytest.mark.full
def test_what_is_new_of_a_long_folder_is_seen_and_nothing_moves(visit):
    """Neither what is in sight, nor the choice, nor the focus."""
    visit.page.set_viewport_size(NO_TREE)
    visit.open(f"files?Famille%2F{BOB}%2FLots", LOTS)
    grid = visit.page.get_by_role("grid")
    grid.get_by_text("File 000000.mkv").wait_for()
    visit.page.evaluate("() => window.scrollTo(0, 200 * 48)")
    row = grid.get_by_role("row", name="File 000210.mkv")
    row.get_by_role("checkbox").check()
    row.focus()
    before = visit.page.evaluate(TOP_OF, "File 000210.mkv")
    more_status(visit)
    asked = len(visit.calls("ls"))

    new = ["File 000001a.mkv", "File 000209a.mkv", "File 000210a.mkv"]
    visit.page.evaluate(MORE, new)
    grid.get_by_text("File 000210a.mkv").wait_for()
    # One above it in sight and one far above came: what was in sight first has stayed.
    assert visit.page.evaluate(TOP_OF, "File 000210.mkv") == before + 48
    assert visit.page.evaluate("document.activeElement.textContent").startswith(
        "File 000210.mkv"
    )
    assert row.get_by_role("checkbox").is_checked()
    assert row.get_attribute("aria-rowindex") == "214"
    again = [one.get("after") for one in visit.calls("ls")[asked:]]
    assert again == [None], "what is in sight is read anew, and once"


@pytest.mark.full
def test_what_a_search_finds_meanwhile_joins_what_it_has_found(visit):
    search(visit, "mkv", "4 found")
    visit.page.get_by_role("checkbox", name="Choose Noël.mkv").check()
    name = visit.page.get_by_role("button", name="Nosferatu.mkv")
    name.focus()
    new = ["Famille", BOB, "Films", "Vampyr.mkv", 5, 5]
    visit.page.evaluate("row => world.entries.unshift(row)", new)
    visit.page.get_by_text("5 found").wait_for()

    assert "Vampyr.mkv" in rows(visit)
    assert name.evaluate("one => one === document.activeElement")
    assert visit.page.get_by_role("checkbox", name="Choose Noël.mkv").is_checked()


@pytest.mark.full
def test_all_together_shows_what_comes_and_goes(visit):
    visit.open("files?%2FFilms")
    visit.page.get_by_role("grid").get_by_text("Noël.mkv").wait_for()
    visit.page.evaluate(
        """row => { world.entries = world.entries.filter(one => one[3] !== 'Noël.mkv');
            world.entries.push(row) }""",
        ["Famille", CAROL, "Films", "Orphée.mkv", 5, 5],
    )
    visit.page.get_by_role("grid").get_by_text("Orphée.mkv").wait_for()
    assert rows(visit) == ["Vacances", "Bréhat 2019.mkv", "Orphée.mkv"]


@pytest.mark.full
def test_a_place_that_goes_is_said_to_be_gone(visit):
    visit.open(f"files?Famille%2F{BOB}%2FMusique")
    visit.page.get_by_role("grid").get_by_text("Notes.pdf").wait_for()
    visit.page.evaluate(
        "() => { world.entries = world.entries.filter(one => one[2] !== 'Musique') }"
    )
    visit.page.locator(".fs-empty").get_by_text("offers no such folder").wait_for()


@pytest.mark.full
def test_nothing_is_asked_while_nothing_moves(visit):
    visit.open(f"files?Famille/{BOB}/Musique")
    visit.page.get_by_role("button", name="Concert.flac").wait_for()
    more_status(visit)
    before = len(visit.calls("ls"))
    more_status(visit)
    assert len(visit.calls("ls")) == before


@pytest.mark.full
def test_a_slow_router_rests(visit):
    visit.page.set_viewport_size(NO_TREE)
    visit.open(f"files?Famille/{BOB}/Musique")
    visit.page.get_by_role("button", name="Concert.flac").wait_for()
    before = len(visit.calls("ls"))
    visit.page.evaluate("() => { world.delay = 1000 }")
    for size in (7, 8):
        new = ["Famille", BOB, "Musique", f"Zouk {size}.mp3", size, size]
        visit.page.evaluate("row => world.entries.push(row)", new)
        visit.until(f"world.calls.filter(one => one[0] === 'ls').length > {before}")
        before += 1
    began = "world.began.ls"
    assert visit.page.evaluate(f"{began}.at(-1) - {began}.at(-2)") >= 4000


def more_status(visit, count=3):
    seen = len(visit.calls("status"))
    visit.until(
        f"world.calls.filter(one => one[0] === 'status').length >= {seen + count}"
    )


@pytest.mark.full
def test_a_file_is_got_to_a_folder_with_its_beginning_first(visit):
    visit.open(f"files?Famille%2F{BOB}%2FFilms")
    visit.page.get_by_role("button", name="Bréhat 2019.mkv").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="To a folder").click()
    dialog.get_by_role("button", name="media").click()
    dialog.get_by_role("button", name="Music").click()
    dialog.get_by_label("The beginning first").check()
    dialog.get_by_role("button", name="Get", exact=True).click()
    visit.page.get_by_text("1 transfer is on its way.").wait_for()
    [call] = visit.calls("get")
    assert call["to"] == "media/Music"
    assert call["stream"] is True

    visit.page.evaluate("() => { world.jobs[0].stream.ready_bytes = 5e7 }")
    visit.page.get_by_role("link", name="See transfers").click()
    visit.page.get_by_text("The first 50 MB can be played: /mnt/sda1/").wait_for()


@pytest.mark.full
def test_a_folder_is_got_to_a_folder_as_a_whole(visit):
    visit.open(f"files?Famille%2F{BOB}%2FFilms")
    visit.page.get_by_role("checkbox", name="Choose Vacances").check()
    bar = visit.page.locator(".fs-chosen")
    bar.get_by_role("button", name="To a folder").click()
    dialog = visit.page.get_by_role("dialog")
    assert not dialog.get_by_label("The beginning first").is_visible()
    dialog.get_by_label("Folder of the disk").fill("films")
    dialog.get_by_role("button", name="Get", exact=True).click()
    bar.wait_for(state="hidden")
    [call] = visit.calls("get")
    assert call["to"] == "films"
    assert "stream" not in call


@pytest.mark.full
def test_the_tree_of_folders_shows_what_comes_and_goes_and_stays_as_it_is_open(visit):
    visit.open(f"files?Famille%2F{BOB}%2FFilms")
    tree = visit.page.get_by_role("navigation", name="Folders")
    toggle = tree.get_by_role("button", name="What is in Films")
    toggle.click()
    old = tree.get_by_role("link", name="Vacances")
    old.wait_for()
    new = ["Famille", BOB, "Films", "Noël/a.mkv", 5, 5]
    visit.page.evaluate("row => world.entries.push(row)", new)
    tree.get_by_role("link", name="Noël").wait_for()
    visit.page.evaluate(
        "() => { world.entries = world.entries.filter(one => one[2] !== 'Musique'"
        " && !one[3].startsWith('Vacances')) }"
    )
    old.wait_for(state="detached")
    tree.get_by_role("link", name="Musique").wait_for(state="detached")
    assert toggle.evaluate("one => one === document.activeElement")
    assert toggle.get_attribute("aria-expanded") == "true"


@pytest.mark.full
def test_what_is_found_stays_while_the_node_is_too_busy_to_look_again(visit):
    visit.open("files?&q=mkv")
    visit.page.get_by_text("4 found").wait_for()
    busy = "{ code: 'web.busy', message: 'sixteen commands are running already' }"
    visit.page.evaluate(
        f"() => {{ world.failing.find = {busy}; world.ratings.x = {{ a: 1 }} }}"
    )
    asked = len(visit.calls("find"))
    wait_until(lambda: len(visit.calls("find")) > asked + 1, "it looks again")
    assert visit.page.get_by_role("row").count() == 5  # with the heads
    assert visit.page.locator(".fs-alert").count() == 0

    visit.page.get_by_role("searchbox").fill("noël")
    visit.page.get_by_text("FonShare is busy.").wait_for()
    visit.page.evaluate("() => { world.failing = {} }")
    visit.page.get_by_text("1 found", exact=True).wait_for()


@pytest.mark.full
def test_going_back_leads_to_the_search_and_loading_again_keeps_it(visit):
    visit.open("files")
    visit.page.get_by_role("searchbox").fill("vacances")
    visit.page.get_by_text("3 found", exact=True).wait_for()
    visit.page.get_by_role("link", name="Groups").click()
    visit.page.get_by_role("heading", name="Groups", exact=True).wait_for()
    visit.page.go_back()
    visit.page.get_by_text("3 found", exact=True).wait_for()
    visit.page.get_by_role("link", name="Files", exact=True).click()
    visit.page.get_by_role("button", name="Famille", exact=True).wait_for()
    assert visit.page.get_by_role("searchbox").input_value() == ""

    visit.open("files?Famille&q=noël&min_size=1000000000&online=true")
    visit.page.get_by_text("Nothing found", exact=True).wait_for()
    wish = {"words": ["noël"], "min_size": 1e9, "online": True, "limit": 100}
    assert visit.calls("find")[-1] == wish
    assert visit.page.get_by_label("At least").input_value() == "1000000000"


@pytest.mark.full
def test_going_back_leads_to_where_one_was_in_a_long_folder(visit):
    lots = "world.lots = 2400"
    visit.open("files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FLots", lots)
    visit.page.get_by_role("button", name="File 000005.mkv").wait_for()
    visit.page.evaluate("() => window.scrollTo(0, 450 * 48)")
    visit.page.get_by_role("button", name="File 000450.mkv").wait_for()
    visit.page.get_by_text("2,400 entries").wait_for()
    visit.page.evaluate("() => window.scrollTo(0, 2000 * 48)")
    row = visit.page.get_by_role("button", name="File 002000.mkv")
    row.wait_for()
    top = row.bounding_box()["y"]
    visit.page.get_by_role("link", name="Groups", exact=True).click()
    visit.page.get_by_role("heading", name="Groups", exact=True).wait_for()
    visit.page.go_back()
    row.wait_for()
    assert abs(row.bounding_box()["y"] - top) <= 48
    visit.page.get_by_role("link", name="Files", exact=True).click()
    visit.page.get_by_role("button", name="Famille", exact=True).wait_for()


@pytest.mark.full
def test_a_phone_asks_for_no_tree_that_it_does_not_show(chromium, page_address):
    with visiting(chromium, page_address, viewport=PHONE) as visit:
        visit.open("files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms")
        visit.page.get_by_role("button", name="Vacances", exact=True).wait_for()
        asked = {one["path"] for one in visit.calls("ls")}
        assert asked == {f"Famille/{BOB}/Films"}
