"""LuCI's views in a real browser, before a real agent.

LuCI is a stand-in (tests/luci/stand_in.js, tests/luci_stand_in.py). With LUCI_URL set,
the same tests run against a real LuCI, but for those of what only the stand-in can be
made to do; see docs/luci.md.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import words
from fonshare_agent.config import load_settings
from fonshare_agent.config_docs import ROUTER_OPTIONS
from fonshare_agent.config_table import LISTS, Option, Unset
from fonshare_agent.config_uci import ROW_TYPES, uci_place
from fonshare_agent.config_values import (
    BROKER,
    HOURS,
    HOUSES,
    LABEL,
    LOGIN,
    PIN,
    Kind,
    Refused,
)
from luci_browser import OVERVIEW, REAL, SETTINGS, SETUP, SHARING, Visit, visiting
from luci_router import (
    RealRouter,
    Router,
    StandInRouter,
    reachable,
    shipped_settings,
    stand_in_of,
)
from luci_stand_in import ROOT, LuciStandIn
from nodes import NodeProcess
from waiting import wait_until

pytestmark = pytest.mark.full
STAND_IN_PAGE = ROOT / "tests" / "luci" / "page"
NAMED = (
    shipped_settings(ROOT)
    .replace("#option name 'alice'", "option name alice")
    .replace("#option path '/mnt/sda1'", "option path /mnt/sda1")
)
FRENCH = words.read_po(words.FRENCH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[NodeProcess | None]:
    """A real agent; no broker answers it, which no test here needs."""
    if REAL:
        yield None
        return
    folder = tmp_path_factory.mktemp("node")
    running = NodeProcess(folder, "alice", "mqtt://127.0.0.1:1")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def router(node, tmp_path) -> Iterator[Router]:
    """The stand-in with its agent, else the router at LUCI_URL."""
    if node is None:
        made: Router = RealRouter()
    else:
        settings = tmp_path / "fonshare"
        settings.write_text(shipped_settings(ROOT))
        control = node.folder / "state" / "control.sock"
        made = StandInRouter(LuciStandIn(control, settings), node)
    yield made
    made.close()


@pytest.fixture
def luci(router) -> LuciStandIn:
    return stand_in_of(router)


@pytest.fixture
def address(router) -> Iterator[str]:
    with reachable(router) as here:
        yield here


@pytest.fixture
def visit(chromium, address) -> Iterator[Visit]:
    with visiting(chromium, address) as visitor:
        yield visitor


# --- the page ------------------------------------------------------------------------


def test_the_page_is_mounted_with_a_host_that_reaches_the_agent(visit, router):
    visit.open_sharing()
    kind, language, settings = visit.of_host(
        "host => [host.kind, host.language, host.settings]"
    )
    assert (kind, language) == ("luci", "en")
    assert settings.endswith(SETTINGS)
    name = visit.ask("status")["answer"]["node"]["name"]
    visit.page.get_by_role("heading", name=name, exact=True).wait_for()


def test_commands_that_look_and_that_change_reach_the_agent(visit, router):
    router.allow_changes()
    visit.open_sharing()
    before = visit.ask("limits")["answer"]["download_kib_s"]
    assert visit.ask("limits", download=77)["answer"]["download_kib_s"] == 77
    assert visit.ask("limits")["answer"]["download_kib_s"] == 77
    visit.ask("limits", download=before)
    assert "answer" in visit.ask("ls", path="")
    error = visit.ask("ls", path="nowhere")["error"]
    assert (error["code"], error["thing"]) == ("not_found", "nowhere")


def test_an_agent_that_is_missing_is_told_as_such(visit, router):
    router.allow_changes()
    page = visit.open_sharing()
    trouble = page.locator(".fs-trouble", has_text="FonShare is not running.")
    router.stop_agent()
    trouble.wait_for()
    assert visit.ask("jobs")["error"]["code"] == "no_agent"
    page = visit.open_sharing()
    trouble.wait_for()
    router.start_agent()
    trouble.wait_for(state="detached")


def test_who_may_only_look_is_told_so(visit, router):
    router.let_look_only(visit)
    visit.open_sharing()
    assert visit.ask("jobs pause", id="all")["error"]["code"] == "not_allowed"
    assert "answer" in visit.ask("jobs")


def test_who_may_only_look_sees_what_is_new_and_the_limits(visit, router):
    router.let_look_only(visit)
    page = visit.open_sharing()
    page.get_by_text("Be told what is new").wait_for()
    page.locator("#fonshare-page nav a[href='#/settings']").click()
    page.get_by_label("To friends, KiB a second").wait_for()
    assert page.locator("#fonshare-page [data-code=not_allowed]").count() == 0
    assert visit.ask("limits", upload=1)["error"]["code"] == "not_allowed"
    assert visit.ask("search new")["error"]["code"] == "not_allowed"


@pytest.mark.parametrize("path", [SETTINGS, SETUP])
def test_who_may_only_look_sees_no_password_in_the_settings(visit, router, path):
    router.let_look_only(visit)
    page = visit.open(path)
    page.get_by_text("This login of the router may only look.").wait_for()
    assert page.locator(".cbi-button-apply, .cbi-button-save").count() == 0
    load = "L.require('uci').then(uci => uci.load('fonshare'))"
    assert page.evaluate(f"{load}.then(() => 'read', () => 'refused')") == "refused"


def test_a_session_that_is_over_is_told(visit, router):
    page = visit.open_sharing()
    router.end_session(visit)
    page.locator("#modal_overlay", has_text="Session expired").wait_for()
    page.locator(".fs-trouble", has_text="You have been signed out.").wait_for()
    assert visit.ask("jobs")["error"]["code"] == "session_expired"


def test_a_plugin_that_is_not_loaded_is_told(visit, luci):
    visit.open_sharing()
    luci.has_plugin = False
    error = visit.ask("jobs")["error"]
    assert error["code"] == "unreachable"
    assert "rpcd" in error["next"]


def test_what_is_too_long_for_ubus_is_asked_for_in_smaller_pages(visit, luci):
    luci.modules = STAND_IN_PAGE  # which asks for nothing by itself
    visit.open(SHARING).wait_for_selector("[data-said=alice]")
    luci.bytes_max = 60  # an empty listing has 77
    luci.calls.clear()
    error = visit.ask("find", words=["a"], limit=8)["error"]
    assert error["code"] == "answer_too_large"
    asked = [arguments["limit"] for _, arguments in luci.calls]
    assert asked == [8, 4, 2, 1]


def test_a_router_that_takes_two_seconds_answers_too(visit, luci):
    luci.delay_s = 2.0
    visit.open_sharing()


def test_the_qr_picture_is_an_element(visit, router):
    visit.open_sharing()
    tag, box = visit.of_host(
        "host => host.qr('x').then(svg => [svg.tagName, svg.getAttribute('viewBox')])"
    )
    left, top, width, height = map(int, box.split())
    assert (tag, left, top) == ("svg", 0, 0)
    assert width == height > 20


@pytest.fixture
def programs(router, node) -> None:
    """Gives the stand-in's router the commands that LuCI may run."""
    if isinstance(router, RealRouter):
        return

    def fonshare(words: list[str]) -> tuple[int, str]:
        done = node.run(*words)
        return done.returncode, done.stdout

    def service(words: list[str]) -> tuple[int, str]:
        node.start() if words == ["start"] else node.stop()
        return 0, ""

    router.luci.files.programs = {
        "/usr/bin/fonshare": fonshare,
        "/etc/init.d/fonshare": service,
    }


@pytest.mark.leaves_behind(reason="the module's node is another process afterwards")
def test_a_backup_is_downloaded_and_brought_back(visit, router, programs, tmp_path):
    router.allow_changes()
    visit.open_sharing()
    node_id = visit.ask("status")["answer"]["node"]["id"]
    with visit.page.expect_download() as download:
        visit.of_host("host => host.backup('open sesame')")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.read_bytes().startswith(b"FonShare backup 1")
    if isinstance(router, StandInRouter):
        assert set(router.luci.files.modes.values()) == {0o600}

    visit.page.evaluate(
        "() => document.body.append(E('input', {type: 'file', id: 'chosen'}, []))"
    )
    visit.page.locator("#chosen").set_input_files(file)
    restore = """(host, passphrase) => host.restore(
        document.getElementById('chosen').files[0], passphrase)
        .then(done => done.node, error => error.code)"""
    assert visit.of_host(restore, "close sesame") == "backup.unreadable"
    assert visit.of_host(restore, "open sesame") == node_id
    if isinstance(router, StandInRouter):
        assert list(router.luci.files.folder.glob("fonshare-luci.*")) == []


def test_who_may_only_look_makes_no_backup(visit, router, programs):
    router.let_look_only(visit)
    visit.open_sharing()
    script = "host => host.backup('x').then(() => 'done', error => error.code)"
    assert visit.of_host(script) == "not_allowed"


def test_a_page_that_cannot_be_loaded_says_so_and_offers_to_try_again(
    visit, luci, tmp_path
):
    luci.modules = tmp_path
    page = visit.open(SHARING)
    page.get_by_text("The page could not be loaded.").wait_for()
    luci.modules = STAND_IN_PAGE
    page.get_by_role("button", name="Reload").click()
    page.wait_for_selector("[data-said=alice]")


def test_after_an_upgrade_no_old_module_is_used(visit, luci, tmp_path):
    luci.modules = tmp_path / "page"
    shutil.copytree(STAND_IN_PAGE, luci.modules)
    visit.open(SHARING).wait_for_selector("[data-said=alice]")
    for name, old, new in (
        ("app.js", "window.host = host", "window.isNew = true"),
        ("say.js", "'data-said', text", "'data-said', 'new ' + text"),
    ):
        file = luci.modules / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
    page = visit.open(SHARING)
    page.wait_for_selector("[data-said='new alice']")
    assert page.evaluate("window.isNew")


def test_every_page_of_the_menu_comes_up_in_luci(visit, router):
    page = visit.open_sharing()
    for name in ("files", "transfers", "groups", "settings", "overview"):
        page.locator(f"#fonshare-page nav a[href='#/{name}']").click()
        page.locator(f"#fonshare-page [data-page={name}]").wait_for()


# --- the settings --------------------------------------------------------------------


def shown_default(option: Option) -> str:
    """What the form shows in an empty field."""
    value = option.router
    if isinstance(value, tuple):
        return " ".join(value)
    return "" if value is None or isinstance(value, Unset) else str(value)


def test_the_form_has_every_option_of_the_router_and_no_other(visit, router):
    page = visit.open_form()
    assert visit.field("node", "name").count() == 1
    wanted = {".".join(uci_place(option)) for option in ROUTER_OPTIONS}
    script = "all => all.map(one => one.dataset.field)"
    shown = page.locator("[data-field]").evaluate_all(script)
    single = {kind for kind, _ in map(uci_place, ROUTER_OPTIONS)}
    names = {one.removeprefix("cbid.fonshare.") for one in shown}
    assert {one for one in names if one.split(".")[0] in single} == wanted


def test_each_option_has_its_help_its_range_and_its_value_or_default(visit, router):
    now = router.settings()
    visit.open_form()
    for option in ROUTER_OPTIONS:
        section, name = uci_place(option)
        place = visit.field(section, name)
        text = place.locator(".cbi-value-description").text_content()
        assert text == f"{option.help} Allowed: {option.kind.allowed}."
        value = now[section].get(name)
        entry = place.locator("input:not([type=hidden]), select").first
        if option.kind.uci == "bool":
            is_on = value == "1" if value is not None else bool(option.router)
            assert entry.is_checked() is is_on, option.name
        elif option.kind.uci.startswith("or("):
            assert entry.input_value() == (value or option.router)
        elif isinstance(option.router, Unset):
            assert entry.get_attribute("placeholder") == str(option.router)
        else:
            shown = entry.get_attribute("placeholder")
            assert shown == shown_default(option), option.name
        if value is not None and option.kind.uci in ("string", "port", "host"):
            assert entry.input_value() == value, option.name
        is_secret = entry.get_attribute("type") == "password"
        assert is_secret is option.kind.is_secret, option.name


def test_what_is_saved_is_what_the_agent_reads(visit, router, tmp_path):
    router.allow_changes()
    router.set_settings(shipped_settings(ROOT))
    page = visit.open_form()
    values = [
        ("node", "name", "Chez Anaïs"),
        ("ftp", "port", "2200"),
        ("limits", "hours", "22:30-06:45"),
        ("limits", "upload_kib_s", "0"),
        ("mqtt", "broker", "mqtts://al:it's@b.example"),
    ]
    if isinstance(router, StandInRouter):
        (tmp_path / "disk").mkdir()
        for name in ("path", "keys", "run"):
            values.append(("disk", name, str(tmp_path / name.replace("path", "disk"))))
    for section, name, value in values:
        visit.show(section, name)
        visit.fill(section, name, value)
    visit.show("ftp", "guest_folders")
    visit.fill_list(visit.field("ftp", "guest_folders"), "films", "photos")
    visit.show("node", "port_mapping")
    visit.field("node", "port_mapping").locator("select").select_option("off")
    add_row(visit, "user", name="owner", password="secret")
    page.locator("[data-tab=user] [data-name=access] select").select_option("write")
    add_row(visit, "share", name="Films", path="films")
    visit.fill_list(page.locator("[data-tab=share] [data-name=groups]"), "Famille")
    visit.save_and_apply()

    found = router.settings()
    assert found["node"] == {
        "name": "Chez Anaïs",
        "enabled": "1",
        "port_mapping": "off",
    }
    assert found["ftp"] == {"port": "2200", "guest_folders": ["films", "photos"]}
    assert found["limits"] == {"hours": "22:30-06:45", "upload_kib_s": "0"}
    assert found["share"] == {"name": "Films", "path": "films", "groups": ["Famille"]}
    assert (found["user"]["name"], found["user"]["access"]) == ("owner", "write")
    if isinstance(router, StandInRouter):
        settings = load_settings(router.luci.settings)
        assert settings.ftp.port == 2200
        assert [share.name for share in settings.shares] == ["Films"]
        assert [user.name for user in settings.ftp.users] == ["owner"]
    else:
        visit.open_sharing()
        page.get_by_role("heading", name="Chez Anaïs", exact=True).wait_for()


def add_row(visit: Visit, kind: str, **values: str) -> None:
    tab = visit.page.locator(f"[data-tab={kind}].cbi-section")
    visit.show_tab(tab)
    before = rows_of(tab).count()
    tab.locator("button.cbi-button-add").click()
    row = rows_of(tab).nth(before)  # LuCI saves the form first, then draws it anew
    row.wait_for()
    for name, value in values.items():
        row.locator(f"[data-name={name}] input").first.fill(value)


def rows_of(tab):
    return tab.locator(".cbi-section-node[data-section-id]")


def test_a_guest_needs_no_password_and_an_owner_does(visit, router):
    router.allow_changes()
    rows = "config user\n\toption name guest\n\toption access read\n"
    router.set_settings(NAMED + rows)
    page = visit.open_form()
    add_row(visit, "user", name="owner")
    access = page.locator("[data-tab=user] [data-name=access] select").last
    access.select_option("write")
    visit.press_save()
    assert '"Password"' in visit.read_refusal()
    access.select_option("read")
    visit.save_and_apply()
    users = router.rows("user")
    assert [(one["name"], "password" in one) for one in users] == [
        ("guest", False),
        ("owner", False),
    ]


REFUSED = (
    ("ftp", "port", "70000"),
    ("limits", "transfers", "9"),
    ("limits", "upload_kib_s", "1.5"),
    ("limits", "hours", "8-8"),
    ("limits", "hours", "25-26"),
    ("ftp", "passive_ports", "a-b"),
    ("ftp", "address", "somewhere"),
    ("node", "name", ""),
    ("node", "name", "a/b"),
    ("mqtt", "broker", "b.example"),
    ("mqtt", "pin", "12:34"),
)

# By the datatypes of fields.js: with what the agent refuses it would not start.
TRIED = {
    "label": (LABEL, ["Chez Anaïs", "a/b", " a", "é" * 33, "..", "a\tb"]),
    "login": (LOGIN, ["owner", "a b"]),
    "pin": (PIN, ["ab" * 32, "AB:" * 31 + "CD", "12"]),
    "broker": (
        BROKER,
        ["mqtt://b", "mqtts://a:b%20c@b.example:8883", "mqtt://[fd00::1]:1", "b"],
    ),
    "network": (
        HOUSES,
        ["lan", "192.168.1.0/24", "192.168.1.1/24", "10.0.0.1", "300.0.0.0/8"],
    ),
    "hours": (HOURS, ["22:30-06:45", "8-8", "25-26", "a"]),
}


def takes(kind: Kind, text: str) -> bool:
    try:
        kind.read([text] if kind.is_list else text)
    except Refused:
        return False
    return True


def test_the_form_takes_what_the_agent_takes(visit, router):
    visit.open_form()
    script = (
        "all => L.require('view.fonshare.fields').then(fields =>"
        " all.map(([type, text]) => fields.isFitting(type, text)))"
    )
    tried = [(name, text) for name, (_, texts) in TRIED.items() for text in texts]
    found = visit.page.evaluate(script, [list(one) for one in tried])
    assert dict(zip(tried, found, strict=True)) == {
        (name, text): takes(TRIED[name][0], text) for name, text in tried
    }


def test_what_the_agent_would_refuse_is_not_saved(visit, router):
    visit.open_form()
    before = router.settings()
    for place, key, filled in (("node", "name", "alice"), ("disk", "path", "/mnt/a")):
        visit.show(place, key)
        visit.fill(place, key, filled)
    for section, name, value in REFUSED:
        visit.show(section, name)
        entry = visit.field(section, name).locator("input").first
        kept = entry.input_value()
        entry.fill(value)
        visit.press_save()
        label = visit.field(section, name).locator("label").first.inner_text()
        assert f'"{label}"' in visit.read_refusal()
        assert router.settings() == before
        entry.fill(kept)
    if isinstance(router, StandInRouter):
        visit.save_and_apply()
        assert router.settings() != before


def test_lists_of_the_form_have_every_option_of_their_rows(visit, router):
    router.allow_changes()
    router.set_settings(NAMED)
    page = visit.open_form()
    for kind, name in ROW_TYPES.items():
        add_row(visit, kind)
        tab = page.locator(f"[data-tab={kind}].cbi-section")
        script = "all => all.map(one => one.dataset.name)"
        shown = rows_of(tab).last.locator("[data-name]").evaluate_all(script)
        assert shown == [option.name for option in LISTS[name]]
        tab.locator(".cbi-section-remove button").last.click()
        rows_of(tab).wait_for(state="detached")


def test_no_row_is_added_or_taken_away_unseen_while_a_field_is_wrong(visit, router):
    router.allow_changes()
    router.set_settings(NAMED)
    page = visit.open_form()
    tab = page.locator("[data-tab=share].cbi-section")
    add_row(visit, "share", name="Films")
    for _ in range(2):  # its folder is missing
        tab.locator("button.cbi-button-add").click()
        assert '"Folder"' in visit.read_refusal()
    tab.locator("[data-name=path] input").first.fill("films")
    add_row(visit, "share", name="Photos")
    tab.locator(".cbi-section-remove button").first.click()
    wait_until(lambda: rows_of(tab).count() == 1, "one row is left")
    assert tab.locator("[data-name=name] input").input_value() == "Photos"
    tab.locator("[data-name=path] input").fill("photos")
    visit.save_and_apply()
    assert router.rows("share") == [{"name": "Photos", "path": "photos"}]


# --- LuCI's overview, and French -----------------------------------------------------


def find_card(page):
    title = page.get_by_role("heading", name="FonShare")
    return page.locator(".cbi-section", has=title)


def test_the_card_on_the_overview_says_how_the_node_is(visit, router):
    card = find_card(visit.open(OVERVIEW))
    card.get_by_text("Transfers").wait_for()
    card.get_by_role("link", name="Open FonShare").wait_for()


def test_the_card_follows_an_agent_that_goes_and_comes(visit, router):
    router.allow_changes()
    router.stop_agent()
    card = find_card(visit.open(OVERVIEW))
    card.get_by_text("FonShare is not running.").wait_for()
    router.start_agent()
    card.get_by_text("0 running, 0 waiting, 0 failed").wait_for()


def test_everything_is_french_where_luci_is(chromium, address, router):
    with visiting(chromium, address, locale="fr-FR") as visit:
        visit.open_form()
        for option in ROUTER_OPTIONS:
            text = visit.field(*uci_place(option)).text_content()
            assert FRENCH[option.help] in text
            assert option.help not in text
        visit.open_sharing()
        own = (
            "Open FonShare"  # what LuCI has words of its own for, it may say as it does
        )
        script = "(host, text) => [host.language, host.translate(text)]"
        assert visit.of_host(script, own) == ["fr", FRENCH[own]]
        error = visit.ask("ls", path="nowhere")["error"]
        assert error["message"] == FRENCH["There is no such thing here."]
        assert (error["code"], error["thing"]) == ("not_found", "nowhere")
        if isinstance(router, StandInRouter):  # whose broker is not there
            check_finding(visit.ask("doctor")["answer"]["findings"])
        page = visit.open(OVERVIEW)
        page.get_by_text(FRENCH["Open FonShare"]).wait_for()


def check_finding(findings: list[dict[str, str]]) -> None:
    broker = next(one for one in findings if one["code"] == "broker.unreachable")
    assert broker["message"].startswith(FRENCH["The broker cannot be reached."])
    assert broker["next"].startswith("Les essais continuent")


def test_a_broker_is_set_up_as_root_by_a_file_that_nobody_else_reads(visit, router):
    if isinstance(router, RealRouter):
        pytest.skip("Mosquitto there is not ours to set up")
    ran = []

    def fonshare(words: list[str]) -> tuple[int, str]:
        given = Path(words[-1]).read_text() if "--answers" in words else ""
        ran.append((words[1:3], given))
        return 0, json.dumps([{"name": "Famille"}] if words[2] == "ls" else {})

    files = router.luci.files
    files.programs = {"/usr/bin/fonshare": fonshare}
    visit.open_sharing()
    assert visit.of_host("host => host.broker.ls()") == [{"name": "Famille"}]
    visit.of_host("host => host.broker.add({name: 'a', address: 'b.example'})")
    visit.of_host("host => host.broker.rm('a')")
    assert ran == [
        (["broker", "ls"], ""),
        (["broker", "add"], '{"name":"a","address":"b.example"}'),
        (["broker", "rm"], '{"name":"a"}'),
    ]
    assert files.modes["/tmp/run/fonshare-luci.broker"] == 0o600
    assert list(files.folder.glob("fonshare-luci.*")) == []
