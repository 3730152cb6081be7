"""The first use in a browser: who may begin a node, what is asked, what is written."""

import stat

import pytest

from fonshare_agent.config import load_settings
from fonshare_agent.passwords import verify_password
from fonshare_agent.web.application import Application
from fonshare_agent.web.first_time import make_code
from settings_files import take_ports
from web_server import CODE, OURS, Browser, first_use


@pytest.fixture
def served(tmp_path):
    """A browser before the first use, and the files of which a node began."""
    begun = []

    def begin(file):
        begun.append(file)
        return Application(file)

    with first_use(tmp_path / "new.yaml", begin) as browser:
        yield browser, begun


def answers(**other):
    return {
        "name": "Béatrice",
        "disk": "films/disk",
        "password": "s3cret",
        "guest_folders": ["films"],
        "broker": "",
        "port": str(take_ports().port),
        "port_mapping": False,
        "is_open": True,
        **other,
    }


def begin(browser, **other):
    return browser.post("/api/first-use/begin", answers(**other))


def test_a_code_is_easy_to_type_and_never_the_same():
    codes = {make_code() for _ in range(50)}
    assert len(codes) == 50
    assert all(len(one) == 11 and one[5] == "-" for one in codes)


def test_nothing_is_told_or_done_without_the_code(served, tmp_path):
    browser, begun = served
    session = browser.get("/api/session").json
    assert (session["first_use"], session["signed_in"]) == (True, False)
    for path in ("/api/first-use", "/api/first-use/begin"):
        assert browser.post(path, answers()).code == "session_expired"
    assert browser.login("wrong-wrong").code == "web.password"
    assert browser.login("").code == "web.password"
    evil = {**OURS, "Host": "evil.example"}
    assert browser.ask("POST", "/api/login", {"password": CODE}, **evil).code == (
        "web.host"
    )
    foreign = browser.post("/api/login", {"password": CODE}, Origin="http://e.example")
    assert foreign.code == "web.refused"
    assert browser.post("/api/call", {"command": "status"}).code == "web.not_found"
    assert (begun, list(tmp_path.glob("*.yaml"))) == ([], [])


def test_the_code_opens_it_once(served):
    browser, _ = served
    assert browser.login(f" {CODE.upper()} ").status == 200
    assert browser.post("/api/first-use", {}).json["result"]["has_broker"] in (
        True,
        False,
    )
    assert Browser(browser.port).login(CODE).code == "web.password"


def test_what_is_answered_makes_a_node_whose_page_goes_on(served, tmp_path):
    browser, begun = served
    browser.login(CODE)
    file = tmp_path / "new.yaml"
    assert begin(browser).json == {"result": {"settings": str(file)}}
    assert begun == [file]
    settings = load_settings(file)
    assert settings.node.name == "Béatrice"
    assert settings.node.port_mapping == "off"
    assert settings.disk == tmp_path / "films" / "disk"
    assert settings.disk.is_dir()
    assert settings.ftp.address == "::"
    assert settings.ftp.guest_folders == ("films",)
    assert settings.web.port == browser.port
    owner, guest = settings.ftp.users
    assert verify_password(owner.password_hash, "s3cret")
    assert (guest.name, guest.may_write) == ("guest", False)
    assert "s3cret" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # The page of that node, with this browser signed in, and nobody else.
    session = browser.get("/api/session").json
    assert (session["signed_in"], session["node"]) == (True, "Béatrice")
    assert "first_use" not in session
    assert begin(browser).code == "web.not_found"
    other = Browser(browser.port)
    assert other.login(CODE).code == "web.password"
    assert other.login("s3cret").status == 200


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "a/b"}, "node.name"),
        ({"disk": ""}, "disk"),
        ({"disk": "/proc/x"}, "disk"),
        ({"password": ""}, "ftp.users"),
        ({"broker": "http://b"}, "mqtt.broker"),
        ({"port": "x"}, "ftp.port"),
        ({"port": "70000"}, "ftp.port"),
        ({"guest_folders": ["../x"]}, "ftp.guest_folders"),
    ],
)
def test_what_cannot_be_is_said_at_its_field_and_writes_nothing(
    served, tmp_path, wrong, field
):
    browser, begun = served
    browser.login(CODE)
    error = begin(browser, **wrong).json["error"]
    assert (error["code"], [*error["fields"]]) == ("settings", [field])
    assert (begun, list(tmp_path.iterdir())) == ([], [])


def test_a_port_of_another_program_is_refused(served, tmp_path):
    browser, _ = served
    browser.login(CODE)
    error = begin(browser, port=str(browser.port), language="fr").json["error"]
    assert "autre programme" in error["fields"]["ftp.port"]


@pytest.mark.parametrize(
    "wrong",
    [{"name": 1}, {"guest_folders": "films"}, {"disk": "a\0"}, {"broker": "\ud800"}],
)
def test_what_no_form_sends_is_refused(served, wrong):
    browser, begun = served
    browser.login(CODE)
    assert begin(browser, **wrong).code == "web.request"
    assert begun == []


def test_a_file_that_appeared_meanwhile_stays(served, tmp_path):
    browser, begun = served
    browser.login(CODE)
    (tmp_path / "new.yaml").write_text("mine")
    assert begin(browser).code == "exists"
    assert ((tmp_path / "new.yaml").read_text(), begun) == ("mine", [])
