"""Rating in the page: seen in the list, given in a file's dialog and for several."""

import pytest

from browser import visiting

BOB = "bobby-m3xr7-ccccc-ddddd"
RATE_BY_BOB = f"world.ratings['Bréhat 2019.mkv'] = {{'{BOB}': 4}}"


@pytest.fixture
def visit(chromium, page_address):
    with visiting(chromium, page_address) as visitor:
        yield visitor


@pytest.mark.full
def test_a_file_is_rated_by_keyboard_seen_in_the_list_and_taken_back(visit):
    visit.open(f"files?Famille%2F{BOB}%2FFilms", RATE_BY_BOB)
    row = visit.page.locator(".fs-entry", has_text="Bréhat")
    row.get_by_text("4 of 5 stars, 1 rating").wait_for()
    row.get_by_role("button", name="Bréhat 2019.mkv").click()
    dialog = visit.page.get_by_role("dialog")
    stars = dialog.get_by_role("group", name="Your rating")
    assert not stars.get_by_role("button", name="Take back").is_visible()
    stars.get_by_role("button", name="5 stars").focus()
    visit.page.keyboard.press("Enter")
    stars.get_by_role("button", name="5 stars", pressed=True).wait_for()
    dialog.get_by_text("4.5 of 5 stars, 2 ratings").wait_for()
    stars.get_by_role("button", name="Take back").click()
    dialog.get_by_text("4 of 5 stars, 1 rating").wait_for()
    stars.get_by_role("button", name="1 star", exact=True).click()
    dialog.get_by_text("2.5 of 5 stars, 2 ratings").wait_for()
    dialog.get_by_role("button", name="Close").click()
    row.get_by_text("2.5 of 5 stars, 2 ratings").wait_for()
    assert [one["stars"] for one in visit.calls("rate")] == [5, 0, 1]


@pytest.mark.full
def test_several_files_are_rated_at_once_but_no_folder(visit):
    visit.open(f"files?Famille%2F{BOB}%2FFilms%2FVacances")
    for name in ("Jour 1", "Jour 2"):
        row = visit.page.locator(".fs-entry", has_text=name)
        row.get_by_role("checkbox").check()
    chosen = visit.page.locator(".fs-chosen")
    chosen.get_by_role("button", name="Rate").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="3 stars").click()
    visit.page.get_by_text("Rated.").wait_for()
    for name in ("Jour 1", "Jour 2"):
        row = visit.page.locator(".fs-entry", has_text=name)
        row.get_by_text("3 of 5 stars, 1 rating").wait_for()
    chosen.wait_for(state="hidden")
    visit.open(f"files?Famille%2F{BOB}%2FFilms")
    visit.page.locator(".fs-entry", has_text="Vacances").get_by_role("checkbox").check()
    chosen.get_by_role("button", name="Get").wait_for()
    assert not chosen.get_by_role("button", name="Rate").is_visible()


@pytest.mark.full
def test_a_rating_that_fails_is_told_and_the_stars_stay_as_they_were(visit):
    visit.open(f"files?Famille%2F{BOB}%2FFilms", RATE_BY_BOB)
    visit.page.evaluate(
        "world.failing.rate = {code: 'not_found', message: 'not known yet', "
        "thing: 'Bréhat', next: 'Try again later.'}"
    )
    row = visit.page.locator(".fs-entry", has_text="Bréhat")
    row.get_by_role("button", name="Bréhat 2019.mkv").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="5 stars").click()
    dialog.get_by_text("not known yet").wait_for()
    dialog.get_by_text("4 of 5 stars, 1 rating").wait_for()
    assert dialog.get_by_role("button", pressed=True).count() == 0


@pytest.mark.full
def test_what_is_rated_best_stands_first_and_a_new_rating_counts_at_once(visit):
    visit.open("files", RATE_BY_BOB)
    visit.page.get_by_role("link", name="Best rated").click()
    names = visit.page.locator(".fs-entry .fs-entry-name")
    visit.page.get_by_text("Famille / Films").first.wait_for()
    assert set(names.all_inner_texts()) == {"Bréhat 2019.mkv"}

    visit.page.evaluate(f"() => {{ world.ratings['Metropolis.mkv'] = {{'{BOB}': 5}} }}")
    visit.page.get_by_role("grid").get_by_text("Metropolis.mkv").wait_for()
    assert names.first.inner_text() == "Metropolis.mkv"
    visit.page.evaluate("() => { world.ratings = {} }")
    visit.page.get_by_text("Nothing is rated yet").wait_for()


@pytest.mark.full
def test_the_best_of_one_group_is_a_press_away_from_its_page(visit):
    both = f"{RATE_BY_BOB}; world.ratings['Metropolis.mkv'] = {{'{BOB}': 5}}"
    visit.open("group?Cin%C3%A9-club", both)
    visit.page.get_by_role("link", name="Best rated").click()
    grid = visit.page.get_by_role("grid")
    grid.get_by_text("Metropolis.mkv").wait_for()
    assert grid.get_by_text("Bréhat 2019.mkv").count() == 0
    where = visit.page.get_by_role("navigation", name="Where you are")
    where.get_by_role("link", name="The best first").click()
    grid.get_by_text("Bréhat 2019.mkv").first.wait_for()
