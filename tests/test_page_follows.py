"""Following in the page: from Files, its jobs and its end in Transfers."""

import pytest

from browser import visiting

GB = 1_000_000_000


@pytest.fixture
def visit(chromium, page_address):
    with visiting(chromium, page_address) as visitor:
        yield visitor


@pytest.mark.full
def test_a_place_is_followed_and_followed_no_more(visit):
    visit.open("files?Famille%2Fbobby-m3xr7-ccccc-ddddd")
    row = visit.page.locator(".fs-entry", has_text="Films")
    row.get_by_role("checkbox").check()
    visit.page.get_by_role("button", name="Follow", exact=True).click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("At most").select_option(label="20 GB")
    dialog.get_by_label("Also what is there already").check()
    dialog.get_by_role("button", name="Follow").click()
    visit.page.get_by_text("Followed.").wait_for()
    [wanted] = visit.calls("follow")
    assert (wanted["budget"], wanted["all"]) == (20 * GB, True)
    assert wanted["entry"].startswith("id-share-")

    visit.page.evaluate(
        "entry => { makeJob('New.mkv', {state: 'running', follow: entry}) }",
        wanted["entry"],
    )
    visit.page.get_by_role("link", name="See transfers").click()
    job = visit.page.locator(".fs-job", has_text="New.mkv")
    job.get_by_text("followed: Bob / Films").wait_for()
    visit.page.evaluate(
        """() => { Object.assign(world.follows[0], {state: 'full', used_bytes: 2e10,
            files: 3, error: {code: 'follow.full', message: 'full'}}) }"""
    )
    visit.page.get_by_text("Its budget is used").wait_for()
    stop = visit.page.get_by_role("button", name="Stop following Bob / Films")
    stop.focus()
    visit.page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Stop following").click()
    stop.wait_for(state="detached")
    assert visit.calls("unfollow") == [{"entry": wanted["entry"]}]


@pytest.mark.full
def test_the_open_folder_is_followed_but_no_file_and_nothing_of_ones_own(visit):
    visit.open("files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms%2FVacances")
    visit.page.locator(".fs-entry", has_text="Jour 1").get_by_role("checkbox").check()
    chosen = visit.page.locator(".fs-chosen")
    chosen.get_by_role("button", name="Get").wait_for()
    assert not chosen.get_by_role("button", name="Follow").is_visible()
    visit.page.get_by_role("button", name="Follow Vacances").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Follow").click()
    visit.page.get_by_text("Followed.").wait_for()
    assert visit.calls("follow") == [
        {
            "entry": "Famille/bobby-m3xr7-ccccc-ddddd/Films/Vacances",
            "budget": 10 * GB,
            "all": False,
        }
    ]
    visit.open("files?Famille%2Fanna2-7kq4x-aaaaa-bbbbb%2FPhotos")
    visit.page.locator(".fs-entry", has_text="Chat.jpg").wait_for()
    own = visit.page.get_by_role("button", name="Follow Photos", include_hidden=True)
    own.wait_for(state="hidden")


@pytest.mark.full
def test_a_place_is_kept_for_the_group_and_kept_no_more(visit):
    visit.open("files?Famille%2Fbobby-m3xr7-ccccc-ddddd")
    visit.page.locator(".fs-entry", has_text="Films").get_by_role("checkbox").check()
    chosen = visit.page.locator(".fs-chosen")
    chosen.get_by_role("button", name="Keep").focus()
    visit.page.keyboard.press("Enter")
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("At most").select_option(label="50 GB")
    dialog.get_by_label("Name").fill("Bob’s films")
    dialog.get_by_role("button", name="Keep").click()
    visit.page.get_by_text("Kept.").wait_for()
    [wanted] = visit.calls("keep")
    assert (wanted["budget"], wanted["name"]) == (50 * GB, "Bob’s films")
    chosen.wait_for(state="hidden")

    visit.open("files?Famille%2Fbobby-m3xr7-ccccc-ddddd%2FFilms%2FVacances")
    visit.page.get_by_role("button", name="Keep Vacances").click()
    dialog.get_by_role("button", name="Keep").click()
    dialog.wait_for(state="detached")
    [_, wanted] = visit.calls("keep")
    assert wanted == {
        "entry": "Famille/bobby-m3xr7-ccccc-ddddd/Films/Vacances",
        "budget": 10 * GB,
    }
    visit.open("transfers")
    kept = visit.page.locator(".fs-share", has_text="Bob / Films / Vacances")
    kept.filter(has_text="kept for the group as Films (Bob)").wait_for()
    kept.get_by_role("button", name="Stop following Bob / Films / Vacances").click()
    dialog.get_by_text("The group gets it from you no more.").wait_for()
    dialog.get_by_role("button", name="Stop following").click()
    kept.wait_for(state="detached")
