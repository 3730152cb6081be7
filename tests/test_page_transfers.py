"""Transfers in the page: progress, why they wait, their order, and what one can do."""

import json

import pytest

from browser import visiting
from waiting import wait_until

THREE = "['A.mkv', 'B.mkv', 'C.mkv'].forEach(name => makeJob(name, {}))"


@pytest.fixture
def visit(chromium, page_address):
    with visiting(chromium, page_address) as visitor:
        yield visitor


def order(visit):
    names = visit.page.locator("[aria-label^='Under way'] .fs-job-name bdi")
    return names.all_inner_texts()


def test_a_job_is_paused_resumed_cancelled_and_tried_again(visit):
    failed = "{state: 'failed', error: {code: 'disk.file_too_large', message: 'x'}}"
    visit.open("transfers", f"makeJob('A.mkv', {{}}); makeJob('B.mkv', {failed})")
    visit.page.get_by_role("button", name="Pause A.mkv").click()
    visit.page.get_by_role("button", name="Resume A.mkv").click()
    visit.page.get_by_role("button", name="Cancel A.mkv").click()
    dialog = visit.page.get_by_role("dialog")
    assert "A.mkv" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel the transfer").click()
    visit.page.get_by_text("Cancelled").wait_for()
    visit.page.get_by_text("Your disk cannot hold a file that large.").wait_for()
    visit.page.get_by_role("button", name="Try again: B.mkv").click()
    visit.page.get_by_role("button", name="Pause B.mkv").wait_for()

    for command in ("jobs pause", "jobs cancel"):
        assert visit.calls(command) == [{"id": "job1-A.mkv"}]
    resumed = [{"id": "job1-A.mkv"}, {"id": "job2-B.mkv"}]
    assert visit.calls("jobs resume") == resumed


@pytest.mark.full
def test_what_has_ended_is_taken_off_the_list_failed_ones_by_themselves(visit):
    failed = "{state: 'failed', error: {code: 'disk.file_too_large', message: 'x'}}"
    done = "{state: 'done'}"
    visit.open("transfers", f"makeJob('A.mkv', {done}); makeJob('B.mkv', {failed})")
    visit.page.get_by_role("button", name="Clear the list").click()
    visit.page.get_by_text("A.mkv", exact=True).wait_for(state="detached")
    visit.page.get_by_role("button", name="Take off the list: B.mkv").click()
    visit.page.get_by_text("Nothing is on its way").wait_for()
    assert visit.calls("jobs rm") == [{"id": "all"}, {"id": "job2-B.mkv"}]


@pytest.mark.full
def test_all_are_paused_and_resumed(visit):
    visit.open("transfers", THREE)
    visit.page.get_by_role("button", name="Pause all").click()
    visit.page.get_by_role("button", name="Resume C.mkv").wait_for()
    visit.page.get_by_role("button", name="Resume all").click()
    visit.page.get_by_role("button", name="Pause C.mkv").wait_for()
    assert visit.calls("jobs pause") == [{"id": "all"}]


def test_why_it_waits_and_what_moves_is_said(visit):
    jobs = """
        makeJob('Waits.mkv', {state: 'locating', error: {code: 'source.offline'}});
        makeJob('Queued.mkv', {place: 3, error: {code: 'source.queued'}});
        makeJob('Odd.mkv', {error: {code: 'new.code', message: 'said by the agent'}});
        makeJob('Moves.mkv', {state: 'running', size: 1e9, done_bytes: 1e8,
            sources: 2});
    """
    visit.open("transfers", jobs)
    visit.page.get_by_text("Nobody who offers it is online.").wait_for()
    visit.page.get_by_text("Place 3 in its queue.").wait_for()
    visit.page.get_by_text("said by the agent").wait_for()
    moves = visit.page.locator(".fs-job", has_text="Moves.mkv")
    assert "from 2 sources" in moves.inner_text()

    visit.page.evaluate("() => { world.jobs[3].done_bytes = 2e8 }")
    moves.get_by_text("left").wait_for()
    assert "MB/s" in moves.inner_text()
    graph = visit.page.get_by_role("img")
    assert "MB/s" in graph.get_attribute("aria-label")
    bar = moves.get_by_role("progressbar")
    assert bar.get_attribute("aria-valuenow") == "20"
    visit.page.evaluate("() => Object.assign(world.jobs[3], {state: 'done'})")
    visit.page.get_by_text("A transfer has arrived.").wait_for()


def test_the_arrow_keys_change_the_order(visit):
    visit.open("transfers", THREE)
    grip = visit.page.get_by_role("button", name="Move C.mkv")
    grip.focus()
    visit.page.keyboard.press("ArrowUp")
    visit.page.get_by_text("C.mkv is number 2 now").wait_for()
    visit.page.keyboard.press("Home")
    visit.page.keyboard.press("ArrowDown")  # none is lost while others are under way
    visit.until("world.jobs.map(one => one.name).join() === 'A.mkv,C.mkv,B.mkv'")
    assert visit.page.evaluate("() => document.activeElement.className").count(
        "fs-grip"
    )


@pytest.mark.full
def test_dragging_changes_the_order(visit):
    visit.open("transfers", THREE)
    grip = visit.page.get_by_role("button", name="Move A.mkv").bounding_box()
    last = visit.page.locator(".fs-job", has_text="C.mkv").bounding_box()
    mouse = visit.page.mouse
    mouse.move(grip["x"] + 9, grip["y"] + 9)
    mouse.down()
    mouse.move(grip["x"] + 9, last["y"] + last["height"] + 90, steps=12)
    assert order(visit) == ["B.mkv", "C.mkv", "A.mkv"]
    mouse.up()
    visit.until("world.jobs.map(one => one.name).join() === 'B.mkv,C.mkv,A.mkv'")
    visit.page.locator(".fs-job:last-child", has_text="A.mkv").wait_for()
    assert order(visit) == ["B.mkv", "C.mkv", "A.mkv"]


def test_any_place_is_reached_with_few_commands(visit):
    visit.open("transfers")
    script = """async ([count, from, to]) => {
        const { moves } = await import('/page/order.js');
        const ids = Array.from({ length: count }, (unused, at) => String(at));
        return JSON.stringify(moves(ids, String(from), to));
    }"""
    for count in range(1, 6):
        for start in range(count):
            for end in range(count):
                ids = [str(one) for one in range(count)]
                wanted = [one for one in ids if one != str(start)]
                wanted.insert(end, str(start))
                moves = json.loads(visit.page.evaluate(script, [count, start, end]))
                for command, one in moves:
                    ids.remove(one)
                    ids.insert(0 if command == "jobs first" else len(ids), one)
                assert ids == wanted
                assert len(moves) <= count // 2 + 1


@pytest.mark.full
def test_a_job_that_is_gone_meanwhile_is_no_riddle(visit):
    """Another browser was faster."""
    visit.open("transfers", "makeJob('A.mkv', {})")
    pause = visit.page.get_by_role("button", name="Pause A.mkv")
    pause.wait_for()
    visit.page.evaluate("() => { world.delay = 300; world.jobs = [] }")
    pause.click()
    visit.page.get_by_text("there is no such job").wait_for()
    visit.page.get_by_text("Nothing is on its way").wait_for()


def test_speeds_are_those_of_the_last_seconds(visit):
    visit.open("transfers")
    script = """async () => {
        const { makeRates } = await import('/page/rates.js');
        const rates = makeRates();
        const at = (ms, bytes, state) => rates.note(
            [{ id: 'a', state: state || 'running', done_bytes: bytes }], ms)[0].rate;
        return [at(0, 0), at(1000, 100), at(2000, 400), at(3000, 50), at(4000, 60),
            at(60000, 60), at(61000, 1060), at(62000, 1060, 'paused'), rates.history];
    }"""
    *rates, history = visit.page.evaluate(script)
    assert rates == [0, 100, 200, 0, 10, 0, 1000, 0]
    assert history[-len(rates) :] == rates


@pytest.mark.full
def test_on_a_slow_router_no_click_is_lost(visit):
    """Every answer takes two seconds more."""
    visit.open("transfers", THREE + "; world.delay = 2000")
    visit.page.get_by_role("button", name="Pause A.mkv").click()
    visit.page.get_by_role("button", name="Pause C.mkv").click()
    visit.page.get_by_role("link", name="Groups").click()
    visit.page.get_by_role("heading", name="Groups", exact=True).wait_for()
    visit.page.get_by_role("link", name="Transfers").click()
    visit.page.get_by_role("button", name="Resume A.mkv").wait_for()
    visit.page.get_by_role("button", name="Resume C.mkv").wait_for()
    assert len(visit.calls("jobs pause")) == 2
    assert (
        visit.page.evaluate("() => Math.max(world.most.jobs, world.most.status)") == 1
    )


@pytest.mark.full
def test_who_comes_back_waits_for_the_answer_that_is_under_way(visit):
    visit.open("transfers", "world.delay = 20000")
    visit.until("world.open.jobs === 1")
    for entry in ("Groups", "Transfers"):
        visit.page.get_by_role("link", name=entry).click()
        visit.page.get_by_role("heading", name=entry, exact=True).wait_for()
    assert visit.page.evaluate("() => world.most.jobs") == 1


@pytest.mark.full
def test_a_copy_between_two_servers_is_begun_stopped_and_begun_again(visit):
    visit.open("transfers")
    page = visit.page
    page.get_by_role("button", name="Copy from server to server").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From", exact=True).fill("ftps://me:se%20cret@old.example/pub")
    dialog.get_by_label("To", exact=True).fill("ftps://me@new.example/pub")
    assert dialog.get_by_label("From", exact=True).input_value() == (
        "ftps://me@old.example/pub"
    )
    dialog.get_by_label("Password: To").fill("other")
    dialog.get_by_role("button", name="Begin to copy").click()
    row = page.locator(".fs-job")
    row.get_by_text("Signing in at both").wait_for()
    begun = {
        "source": "ftps://me@old.example/pub",
        "target": "ftps://me@new.example/pub",
        "source_password": "se cret",
        "target_password": "other",
        "relay": "auto",
        "overwrite": False,
        "plain_data": False,
    }
    assert visit.calls("fxp start") == [begun]

    moving = "{state: 'running', size: 8e6, done_bytes: 2e6, files: 1, skipped: 1}"
    page.evaluate(f"() => {{ Object.assign(world.copies[0], {moving}) }}")
    row.get_by_text("2 MB of 8 MB · 25% · 1 file").wait_for()
    row.get_by_text("1 is no file and was left out.").wait_for()
    page.get_by_role("button", name="Stop pub").click()
    dialog.get_by_role("button", name="Stop the copy").click()
    row.get_by_text("Cancelled").wait_for()

    page.get_by_role("button", name="Try again: pub").click()
    assert dialog.get_by_label("To", exact=True).input_value() == begun["target"]
    assert dialog.get_by_label("Password: To").input_value() == ""
    dialog.get_by_label("Password: From").fill("wrong")
    dialog.get_by_role("button", name="Begin to copy").click()
    dialog.get_by_text("The server does not take this login").wait_for()
    dialog.get_by_label("Password: From").fill("right")
    dialog.get_by_role("button", name="Begin to copy").click()
    page.get_by_role("button", name="Stop pub").wait_for()
    failed = "{state: 'failed', error: {code: 'fxp.lost', message: 'no answer'}}"
    page.evaluate(f"() => {{ Object.assign(world.copies[1], {failed}) }}")
    row.get_by_text("What has arrived is kept").wait_for()
    page.get_by_role("button", name="Take off the list: pub").first.click()
    page.get_by_role("button", name="Clear the list").click()
    row.first.wait_for(state="detached")
    assert visit.calls("fxp rm") == [{"id": "fxp-2"}, {"id": "all"}]


def test_thousands_that_wait_do_not_stop_the_page(visit):
    """Some are shown, the others counted and shown as one asks for them."""
    lots = "for (let at = 0; at < 3000; at += 1) makeJob('Photo ' + at, {})"
    visit.open("transfers", lots)
    visit.page.get_by_text("2,900 more wait behind these.").wait_for()
    assert len(order(visit)) == 100
    visit.page.get_by_role("button", name="Show more").click()
    visit.page.get_by_text("2,800 more wait behind these.").wait_for()
    assert len(order(visit)) == 200


@pytest.mark.full
@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_job_is_moved_beyond_what_is_in_sight(visit, by):
    """Held at an edge of the window it moves the list; by keys it stays in sight."""
    lots = "for (let at = 0; at < 40; at += 1) makeJob('J' + at, {})"
    visit.open("transfers", lots)
    grip = visit.page.get_by_role("button", name="Move J0: arrow keys")
    grip.wait_for()
    if by == "mouse":
        box = grip.bounding_box()
        visit.page.mouse.move(box["x"] + 20, box["y"] + 20)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + 20, 700)
        visit.page.mouse.move(box["x"] + 20, 850)
        visit.until("document.documentElement.scrollTop > 1200")
        visit.page.mouse.up()
    else:
        grip.focus()
        for _ in range(12):
            visit.page.keyboard.press("ArrowDown")
    wait_until(lambda: order(visit).index("J0") > 10, "it is far below")
    top = grip.bounding_box()["y"]
    assert 0 < top < 860
