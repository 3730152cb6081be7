"""LuCI's views in a real browser, before a real agent.

LuCI is a stand-in (tests/luci/stand_in.js, tests/luci_stand_in.py). With LUCI_URL set,
those tests that need nothing of the stand-in's own run against a real LuCI.
"""

import shutil
from collections.abc import Iterator

import pytest

import words
from fonshare_agent.config import load_settings
from fonshare_agent.config_docs import ROUTER_OPTIONS
from fonshare_agent.config_table import LISTS, Option, Unset
from fonshare_agent.config_uci import ROW_TYPES, parse_uci, uci_place
from luci_browser import OVERVIEW, REAL, SETTINGS, SHARING, visiting
from luci_stand_in import ROOT, LuciStandIn, serving
from nodes import NodeProcess

pytestmark = pytest.mark.full
STAND_IN_PAGE = ROOT / "tests" / "luci" / "page"
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
def stand_in(node, tmp_path) -> LuciStandIn | None:
    if node is None:
        return None
    settings = tmp_path / "fonshare"
    shipped = (ROOT / "files/etc/config/fonshare").read_text()
    assert "option enabled '0'" in shipped
    settings.write_text(shipped.replace("option enabled '0'", "option enabled '1'"))
    made = LuciStandIn(node.folder / "state" / "control.sock", settings)
    made.modules = STAND_IN_PAGE
    return made


@pytest.fixture
def luci(stand_in) -> LuciStandIn:
    if stand_in is None:
        pytest.skip("LUCI_URL: this test is of the stand-in's own")
    return stand_in


@pytest.fixture
def address(stand_in) -> Iterator[str]:
    """Where LuCI is: the real one, else the stand-in."""
    if stand_in is None:
        yield REAL
        return
    with serving(stand_in) as here:
        yield here


@pytest.fixture
def visit(chromium, address) -> Iterator:
    with visiting(chromium, address) as visitor:
        yield visitor


# --- the page ------------------------------------------------------------------------


def test_the_page_is_mounted_with_a_host_that_reaches_the_agent(luci, visit):
    page = visit.open(SHARING)
    page.wait_for_selector("[data-said=alice]")
    kind, language, settings = page.evaluate(
        "() => [host.kind, host.language, host.settings]"
    )
    assert (kind, language) == ("luci", "en")
    assert settings.endswith(SETTINGS)
    assert luci.calls == [("status", {})]


def test_commands_that_look_and_that_change_reach_the_agent(visit, luci, node):
    visit.open(SHARING).wait_for_function("window.ask")
    assert visit.ask("limits", download=77)["answer"]["download_kib_s"] == 77
    assert node("limits")["download_kib_s"] == 77
    assert visit.ask("ls", path="")["answer"] == []
    error = visit.ask("ls", path="nowhere")["error"]
    assert (error["code"], error["thing"]) == ("not_found", "nowhere")


def test_an_agent_that_is_missing_is_told_as_such(visit, luci, tmp_path):
    luci.control = tmp_path / "none.sock"
    page = visit.open(SHARING)
    page.wait_for_selector("[data-said='FonShare is not running.']")
    assert visit.ask("jobs")["error"]["code"] == "no_agent"


def test_who_may_only_look_is_told_so(visit, luci):
    luci.is_readonly = True
    visit.open(SHARING).wait_for_selector("[data-said=alice]")
    assert visit.ask("jobs pause", id="all")["error"]["code"] == "not_allowed"
    assert "answer" in visit.ask("jobs")


def test_who_may_only_look_sees_no_password_in_the_settings(visit, luci):
    luci.is_readonly = True
    page = visit.open(SETTINGS)
    page.get_by_text("This login of the router may only look.").wait_for()
    load = "L.require('uci').then(uci => uci.load('fonshare'))"
    assert page.evaluate(f"{load}.then(() => 'read', () => 'refused')") == "refused"


def test_a_session_that_is_over_and_a_plugin_that_is_not_loaded_are_told(visit, luci):
    visit.open(SHARING).wait_for_selector("[data-said=alice]")
    luci.has_plugin = False
    error = visit.ask("jobs")["error"]
    assert error["code"] == "unreachable"
    assert "rpcd" in error["next"]
    luci.has_plugin, luci.is_signed_in = True, False
    assert visit.ask("jobs")["error"]["code"] == "session_expired"
    luci.is_signed_in = True
    assert "answer" in visit.ask("jobs")


def test_what_is_too_long_for_ubus_is_asked_for_in_smaller_pages(visit, luci):
    visit.open(SHARING).wait_for_selector("[data-said=alice]")
    luci.bytes_max = 60  # an empty listing has 77
    luci.calls.clear()
    error = visit.ask("find", words=["a"], limit=8)["error"]
    assert error["code"] == "answer_too_large"
    asked = [arguments["limit"] for _, arguments in luci.calls]
    assert asked == [8, 4, 2, 1]


def test_a_router_that_takes_two_seconds_answers_too(visit, luci):
    luci.delay_s = 2.0
    visit.open(SHARING).wait_for_selector("[data-said=alice]")


def test_the_qr_picture_is_an_element(visit, luci):
    visit.open(SHARING).wait_for_function("window.ask")
    found = visit.page.evaluate(
        "() => host.qr('x').then(svg => [svg.tagName, svg.getAttribute('viewBox')])"
    )
    assert found == ["svg", "0 0 29 29"]


@pytest.fixture
def programs(luci, node) -> list[str]:
    """Gives the router the commands that LuCI may run; notes those that ran."""
    ran: list[str] = []

    def fonshare(words: list[str]) -> tuple[int, str]:
        ran.append(words[1])
        done = node.run(*words)
        return done.returncode, done.stdout

    def service(words: list[str]) -> tuple[int, str]:
        ran.append(words[0])
        node.start() if words == ["start"] else node.stop()
        return 0, ""

    luci.files.programs = {
        "/usr/bin/fonshare": fonshare,
        "/etc/init.d/fonshare": service,
    }
    return ran


@pytest.mark.leaves_behind(reason="the module's node is another process afterwards")
def test_a_backup_is_downloaded_and_brought_back(visit, luci, node, programs, tmp_path):
    visit.open(SHARING).wait_for_selector("[data-said=alice]")
    with visit.page.expect_download() as download:
        visit.page.evaluate("() => host.backup('open sesame')")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.read_bytes().startswith(b"FonShare backup 1")
    assert set(luci.files.modes.values()) == {0o600}

    visit.page.evaluate(
        "() => document.body.append(E('input', {type: 'file', id: 'chosen'}, []))"
    )
    visit.page.locator("#chosen").set_input_files(file)
    restore = """passphrase => host.restore(document.getElementById('chosen').files[0],
        passphrase).then(done => done.node, error => error.code)"""
    wrong = visit.page.evaluate(restore, "close sesame")
    assert wrong == "backup.unreadable"
    assert visit.page.evaluate(restore, "open sesame") == node("status")["node"]["id"]
    again = ["stop", "restore", "start"]
    assert programs == ["backup", *again, *again]
    assert list(luci.files.folder.glob("fonshare-luci.*")) == []


def test_who_may_only_look_makes_no_backup(visit, luci, programs):
    luci.is_readonly = True
    visit.open(SHARING).wait_for_selector("[data-said=alice]")
    script = "() => host.backup('x').then(() => 'done', error => error.code)"
    assert visit.page.evaluate(script) == "not_allowed"
    assert programs == []


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


def test_the_real_page_runs_in_luci(visit, stand_in):
    if stand_in is not None:
        stand_in.modules = None
    page = visit.open(SHARING)
    page.locator("#fonshare-page h1").first.wait_for()
    page.locator("#fonshare-page nav a[href='#/files']").click()
    page.locator("#fonshare-page [data-page=files]").wait_for()


# --- the settings --------------------------------------------------------------------


def shown_default(option: Option) -> str:
    """What the form shows in an empty field."""
    value = option.router
    if isinstance(value, tuple):
        return " ".join(value)
    return "" if value is None else str(value)


def field(page, section: str, name: str):
    return page.locator(f"[data-field='cbid.fonshare.{section}.{name}']")


def test_first_use_asks_what_is_needed_and_enables_the_node(visit, luci, tmp_path):
    shipped = luci.settings.read_text()
    luci.settings.write_text(shipped.replace("enabled '1'", "enabled '0'"))
    disk = tmp_path / "sda1"
    disk.mkdir()
    luci.mounts = [
        {"device": "/dev/root", "mount": "/overlay", "size": 2**20, "free": 2**19},
        {"device": "/dev/sda1", "mount": str(disk), "size": 2**40, "free": 2**39},
    ]
    page = visit.open(SHARING)
    page.get_by_role("link", name="Set it up").click()
    page.wait_for_selector("[data-ready]")
    choices = field(page, "disk", "path").locator("input").get_attribute("data-choices")
    assert choices == f"{disk}={disk}, 512.0 GiB free"

    page.locator(".cbi-button-apply").click()
    page.get_by_text("Save error").wait_for()
    assert luci.settings.read_text() != shipped
    page.locator(".alert-message").evaluate("one => one.remove()")
    owner = page.locator("[data-name=password] input")
    field(page, "node", "name").locator("input").fill("alice")
    field(page, "disk", "path").locator("input").fill(str(disk))
    owner.fill("secret")
    page.locator(".cbi-button-apply").click()
    page.get_by_text("Configuration changes applied.").wait_for()

    text = luci.settings.read_text()
    for name in ("keys", "run"):  # the router's own are not this machine's
        text += f"config disk disk\n\toption {name} '{tmp_path / name}'\n"
    luci.settings.write_text(text)
    settings = load_settings(luci.settings)
    assert settings.node.enabled
    assert (settings.node.name, settings.disk) == ("alice", disk)
    assert [(one.name, one.access) for one in settings.ftp.users] == [
        ("owner", "write"),
        ("guest", "read"),
    ]
    visit.open(SHARING).wait_for_selector("[data-said=alice]")


def test_the_form_has_every_option_of_the_router_and_no_other(visit):
    page = visit.open(SETTINGS)
    page.locator("[data-field]").first.wait_for(state="attached")
    assert field(page, "node", "name").count() == 1
    wanted = {".".join(uci_place(option)) for option in ROUTER_OPTIONS}
    script = "all => all.map(one => one.dataset.field)"
    shown = page.locator("[data-field]").evaluate_all(script)
    single = {kind for kind, _ in map(uci_place, ROUTER_OPTIONS)}
    names = {one.removeprefix("cbid.fonshare.") for one in shown}
    assert {one for one in names if one.split(".")[0] in single} == wanted


def test_each_option_has_its_help_its_range_and_its_default(visit, luci):
    luci.settings.write_text((ROOT / "files/etc/config/fonshare").read_text())
    page = visit.open(SETTINGS)
    page.wait_for_selector("[data-ready]")
    for option in ROUTER_OPTIONS:
        place = field(page, *uci_place(option))
        text = place.locator(".cbi-value-description").inner_text()
        assert text == f"{option.help} Allowed: {option.kind.allowed}."
        entry = place.locator("input, select")
        if option.kind.uci == "bool":
            assert entry.is_checked() is bool(option.router), option.name
        elif option.kind.uci.startswith("or("):
            assert entry.input_value() == option.router
        elif isinstance(option.router, Unset):
            assert entry.get_attribute("placeholder") == str(option.router)
        else:
            shown = entry.get_attribute("placeholder")
            assert shown == shown_default(option), option.name
        is_secret = entry.get_attribute("type") == "password"
        assert is_secret is option.kind.is_secret, option.name


def test_what_is_saved_is_what_the_agent_reads(visit, luci, tmp_path):
    page = visit.open(SETTINGS)
    page.wait_for_selector("[data-ready]")
    disk = tmp_path / "disk"
    disk.mkdir()
    for section, name, value in (
        ("node", "name", "Chez Anaïs"),
        ("disk", "path", str(disk)),
        ("disk", "keys", str(tmp_path / "keys")),
        ("disk", "run", str(tmp_path / "run")),
        ("ftp", "port", "2200"),
        ("limits", "hours", "22:30-06:45"),
        ("limits", "upload_kib_s", "0"),
        ("mqtt", "broker", "mqtts://al:it's@b.example"),
    ):
        field(page, section, name).locator("input").fill(value)
    field(page, "node", "enabled").locator("input").check()
    field(page, "ftp", "guest_folders").locator("input").fill("films photos")
    field(page, "node", "port_mapping").locator("select").select_option("off")
    for kind, values in (
        ("user", {"name": "owner", "password": "secret"}),
        ("share", {"name": "Films", "path": "films", "groups": "Famille"}),
    ):
        tab = page.locator(f"[data-tab={kind}]")
        tab.locator(".cbi-button-add").click()
        for name, value in values.items():
            tab.locator(f"[data-name={name}] input").fill(value)
    page.locator("[data-tab=user] [data-name=access] select").select_option("write")
    page.locator(".cbi-button-apply").click()
    page.get_by_text("Configuration changes applied.").wait_for()

    sections = {one.type: one.options for one in parse_uci(luci.settings.read_text())}
    assert sections["node"] == {
        "name": "Chez Anaïs",
        "enabled": "1",
        "port_mapping": "off",
    }
    assert sections["ftp"] == {"port": "2200", "guest_folders": ["films", "photos"]}
    settings = load_settings(luci.settings)
    assert settings.ftp.port == 2200
    assert [share.name for share in settings.shares] == ["Films"]
    assert [user.name for user in settings.ftp.users] == ["owner"]


REFUSED = (
    ("ftp", "port", "70000"),
    ("limits", "transfers", "9"),
    ("limits", "upload_kib_s", "1.5"),
    ("limits", "hours", "8-8"),
    ("limits", "hours", "25-26"),
    ("ftp", "passive_ports", "a-b"),
    ("ftp", "address", "somewhere"),
    ("node", "name", ""),
)


def test_what_the_agent_would_refuse_is_not_saved(visit, luci):
    page = visit.open(SETTINGS)
    page.wait_for_selector("[data-ready]")
    before = luci.settings.read_text()
    for place, key, filled in (("node", "name", "alice"), ("disk", "path", "/mnt/a")):
        field(page, place, key).locator("input").fill(filled)
    for section, name, value in REFUSED:
        entry = field(page, section, name).locator("input")
        kept = entry.input_value()
        entry.fill(value)
        page.locator(".cbi-button-apply").click()
        label = field(page, section, name).locator("label").inner_text()
        told = page.locator(".alert-message.danger")
        told.get_by_text(label, exact=True).wait_for()
        assert luci.settings.read_text() == before
        told.evaluate("one => one.remove()")
        entry.fill(kept)
    page.locator(".cbi-button-apply").click()
    page.get_by_text("Configuration changes applied.").wait_for()
    assert luci.settings.read_text() != before


def test_lists_of_the_form_have_every_option_of_their_rows(visit, luci):
    page = visit.open(SETTINGS)
    page.wait_for_selector("[data-ready]")
    for kind, name in ROW_TYPES.items():
        tab = page.locator(f"[data-tab={kind}]")
        tab.locator(".cbi-button-add").click()
        shown = tab.locator("[data-name]").evaluate_all(
            "all => all.map(one => one.dataset.name)"
        )
        assert shown == [option.name for option in LISTS[name]]


# --- LuCI's overview, and French -----------------------------------------------------


def test_the_card_on_the_overview_says_how_the_node_is(visit):
    page = visit.open(OVERVIEW)
    card = page.locator(
        ".cbi-section", has=page.get_by_role("heading", name="FonShare")
    )
    card.get_by_text("Transfers").wait_for()
    card.get_by_role("link", name="Open FonShare").wait_for()


def test_the_card_follows_an_agent_that_goes_and_comes(visit, luci, tmp_path):
    real, luci.control = luci.control, tmp_path / "none.sock"
    page = visit.open(OVERVIEW)
    page.get_by_text("FonShare is not running.").wait_for()
    luci.control = real
    page.get_by_text("0 of 0 online").wait_for()
    page.get_by_text("0 running, 0 waiting, 0 failed").wait_for()


def test_everything_is_french_where_luci_is(visit, luci):
    luci.language = "fr"
    page = visit.open(SETTINGS)
    page.wait_for_selector("[data-ready]")
    for option in ROUTER_OPTIONS:
        text = field(page, *uci_place(option)).inner_text()
        assert FRENCH[option.help] in text
        assert option.help not in text
    visit.open(SHARING).wait_for_function("window.ask")
    assert page.evaluate("() => [host.language, host.translate('Settings')]") == [
        "fr",
        FRENCH["Settings"],
    ]
    error = visit.ask("ls", path="nowhere")["error"]
    assert error["message"] == FRENCH["There is no such thing here."]
    assert (error["code"], error["thing"]) == ("not_found", "nowhere")
    findings = visit.ask("doctor")["answer"]["findings"]
    broker = next(one for one in findings if one["code"] == "broker.unreachable")
    assert broker["message"].startswith(FRENCH["The broker cannot be reached."])
    assert broker["next"].startswith("Les essais continuent")
    page = visit.open(OVERVIEW)
    page.get_by_text(FRENCH["Open FonShare"]).wait_for()
