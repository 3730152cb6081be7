"""A router's first use within LuCI: the form, and `fonshare setup` behind it.

LuCI is a stand-in, the program is the real one on a router of the test's own
(router_box.py), and what it starts is a real agent. With LUCI_URL the router is that
one; it is set up anew, and its settings are brought back afterwards.
"""

import socket
from collections.abc import Iterator

import pytest

import words
from fonshare_agent.config import load_settings
from luci_browser import REAL, SETUP, SHARING, Visit, visiting
from luci_people import Wizard
from luci_router import RealRouter, Router, StandInRouter, reachable, stand_in_of
from luci_stand_in import ROOT, LuciStandIn
from router_box import RouterBox, router_box

pytestmark = pytest.mark.full
FRENCH = words.read_po(words.FRENCH.read_text(encoding="utf-8"))
SHIPPED = (ROOT / "files/etc/config/fonshare").read_text()
NO_BROKER = "mqtt://127.0.0.1:1"


@pytest.fixture
def box(tmp_path) -> Iterator[RouterBox | None]:
    """A router that is not set up; None with LUCI_URL."""
    if REAL:
        yield None
        return
    with router_box(tmp_path / "router") as made:
        yield made


@pytest.fixture
def router(box) -> Iterator[Router]:
    """The stand-in before that router, else the one at LUCI_URL, as it comes."""
    if box is None:
        made: Router = RealRouter()
        made.allow_changes()
        made.set_settings(SHIPPED)
    else:
        luci = LuciStandIn(box.control, box.settings)
        luci.files.programs = box.programs
        made = StandInRouter(luci, box)
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


def answer(wizard: Wizard, box: RouterBox | None) -> None:
    """Fill in all that the form needs."""
    wizard.fill({("node", "name"): "alice", ("owner", "password"): "secret"})
    wizard.visit.choose("doors", "port_mapping", "off")
    if box is not None:
        wizard.fill({("doors", "port"): str(box.ports.port)})


def test_first_use_asks_what_the_terminal_asks_and_ends_in_the_doctor(
    visit, router, box
):
    if box is not None:
        (box.disk / "films").mkdir(mode=0o700)
    page = visit.open(SHARING)
    page.get_by_role("link", name="Set it up").click()
    wizard = Wizard(visit)
    wizard.wait()
    if box is not None:
        # Not the system's partition by its other mount, nor what cannot be written.
        assert wizard.offered("disk", "path") == [str(box.disk)]
        page.get_by_text("/mnt/broken cannot be used").wait_for()
        remedy = page.locator(".fonshare-refusals", has_text=str(box.disk / "films"))
        remedy.get_by_text("chgrp").first.wait_for()
        assert wizard.offered("mqtt", "kind") == ["invite", "own"]
        page.get_by_text("install mosquitto-ssl first").wait_for()
    wizard.press()
    assert "Password" in visit.read_refusal()
    assert "name" not in router.settings()["node"]

    answer(wizard, box)
    visit.fill_list(visit.field("owner", "guest_folders"), "films", "photos")
    assert not visit.field("mqtt", "url").is_visible()
    visit.choose("mqtt", "kind", "own")
    wizard.fill({("mqtt", "url"): "http://b.example"})
    wizard.press()
    assert "Address" in visit.read_refusal()
    wizard.fill({("mqtt", "url"): NO_BROKER, ("mqtt", "user"): "it's me"})
    if box is not None:
        meet_a_port_that_is_taken(wizard, box)
    wizard.press()
    page.get_by_role("heading", name="FonShare is set up.").wait_for()
    doctor = page.locator("#fonshare-doctor")
    doctor.get_by_text("broker").first.wait_for()
    page.get_by_role("link", name="Go on to FonShare").click()
    page.get_by_role("heading", name="alice", exact=True).wait_for()

    found = router.settings()
    assert (found["node"]["name"], found["node"]["enabled"]) == ("alice", "1")
    assert found["mqtt"]["broker"] == NO_BROKER.replace("//", "//it%27s%20me@")
    assert found["ftp"]["guest_folders"] == ["films", "photos"]
    if box is not None:
        check_what_is_left(router, box)
    page = visit.open(SETUP)
    page.get_by_role("heading", name="This router is set up already.").wait_for()


def meet_a_port_that_is_taken(wizard: Wizard, box: RouterBox) -> None:
    """The program says so, and the form stays as it was filled."""
    before = box.settings.read_bytes()
    with socket.socket() as other:
        other.bind(("", box.ports.friends_port))
        other.listen()
        wizard.press()
        told = wizard.visit.page.get_by_role("alert")
        told.get_by_text(str(box.ports.friends_port)).wait_for()
    assert box.settings.read_bytes() == before


def check_what_is_left(router: StandInRouter, box: RouterBox) -> None:
    """The settings are good, and no file with the password is left."""
    settings = load_settings(box.settings)
    assert settings.disk == box.disk
    assert [(one.name, one.access) for one in settings.ftp.users] == [
        ("owner", "write"),
        ("guest", "read"),
    ]
    assert (settings.ftp.port, settings.node.port_mapping) == (box.ports.port, "off")
    files = router.luci.files
    assert files.modes == {"/tmp/run/fonshare-luci.answers": 0o600}
    assert list(files.folder.glob("fonshare-luci.*")) == []


REFUSED = (  # where, what is filled in, what is right, and what is said
    ("mqtt", "url", "mqtt://b:0", NO_BROKER, "Le port de l’URL d’un broker"),
    ("mqtt", "ca", "/no.pem", "", "Il n’y a pas de tel fichier (/no.pem)"),
)


def test_what_the_program_refuses_is_said_at_its_field_in_french(
    chromium, address, router, box
):
    before = router.settings()
    with visiting(chromium, address, locale="fr-FR") as visit:
        visit.open(SETUP)
        wizard = Wizard(visit)
        wizard.wait()
        answer(wizard, box)
        visit.choose("mqtt", "kind", "own")
        wizard.fill({("mqtt", "url"): NO_BROKER})
        for section, name, wrong, right, told in REFUSED:
            wizard.fill({(section, name): wrong})
            wizard.press()
            alert = visit.field(section, name).get_by_role("alert")
            alert.get_by_text(told).wait_for()
            wizard.fill({(section, name): right})
        folders = visit.field("owner", "guest_folders")
        entry = folders.locator(".add-item input")
        entry.press_sequentially("/films")
        entry.press("Enter")
        wizard.press()
        assert FRENCH["Guest folders"] in visit.page.locator(".modal").inner_text()
        visit.page.locator(".modal button").last.click()
        entry.fill("")
        visit.fill_list(folders, ".fonshare")
        wizard.press()
        alert = folders.get_by_role("alert")
        alert.get_by_text("est le dossier de FonShare").wait_for()
        assert visit.page.get_by_role("alert").count() == 1
    assert router.settings() == before


def test_a_session_that_is_over_when_the_button_is_pressed_is_told(visit, router, box):
    page = visit.open(SETUP)
    wizard = Wizard(visit)
    wizard.wait()
    answer(wizard, box)
    router.end_session(visit)
    wizard.press()
    page.get_by_role("alert").get_by_text("You have been signed out.").wait_for()


def test_a_look_that_did_not_see_the_whole_disk_is_told(visit, luci, box):
    fonshare = luci.files.programs["/usr/bin/fonshare"]

    def is_hasty(words: list[str]) -> tuple[int, str]:
        code, said = fonshare(words)
        return code, said.replace('"is_whole": true', '"is_whole": false')

    luci.files.programs["/usr/bin/fonshare"] = is_hasty
    page = visit.open(SETUP)
    wizard = Wizard(visit)
    wizard.wait()
    told = page.get_by_text("Not all of the disk was looked at")
    told.wait_for()
    answer(wizard, box)
    wizard.press()
    page.get_by_role("heading", name="FonShare is set up.").wait_for()
    told.wait_for()


def test_a_set_up_that_takes_longer_than_luci_waits_goes_on(visit, luci, box):
    fonshare, asked = luci.files.programs["/usr/bin/fonshare"], []

    def is_late(words: list[str]) -> tuple[int, str]:
        said = fonshare(words)
        if "--answers" in words:
            raise TimeoutError
        return said

    luci.files.programs = {
        "/usr/bin/fonshare": is_late,
        "/etc/init.d/fonshare": lambda words: asked.append(words) or (0, ""),
    }
    page = visit.open(SETUP)
    wizard = Wizard(visit)
    wizard.wait()
    answer(wizard, box)
    wizard.press()
    page.get_by_role("heading", name="FonShare is set up.").wait_for()
    assert asked == [["start"]]


def test_without_a_disk_it_says_what_to_do(visit, luci, box):
    mounts = (box.folder / "mounts").read_text().splitlines(keepends=True)
    (box.folder / "mounts").write_text("".join(mounts[:3]))
    page = visit.open(SETUP)
    page.get_by_text("with extroot, a second partition").wait_for()
    (box.folder / "mounts").write_text("".join(mounts))
    page.get_by_role("button", name="Look again").click()
    Wizard(visit).wait()


def test_a_program_that_says_nothing_is_told(visit, luci):
    luci.files.programs = {"/usr/bin/fonshare": lambda words: (1, "")}
    page = visit.open(SETUP)
    page.get_by_role("alert").get_by_text("The command did not answer.").wait_for()
