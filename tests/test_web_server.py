"""`fonshare web` over loopback: what it serves to whom, and all that it refuses."""

import base64
import json
import os
import re
import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection

import pytest
import segno
from waitress.buffers import OverflowableBuffer

from brokers import free_port
from control_agent import running_agent
from fonshare_agent.backup import seal
from fonshare_agent.control.rows import Page
from fonshare_agent.errors import NotFound
from fonshare_agent.settings import WebSettings
from fonshare_agent.web import bodies
from fonshare_agent.web.exchange import BODY_MAX, CALL_MAX
from fonshare_agent.web.listener import HEADER_BYTES_MAX, Listener
from fonshare_agent.web.throttle import FREE
from waiting import PATIENCE_S, wait_until
from web_server import OURS, PASSWORD, Browser, add_web, serving

HOSTILE = "<script>alert(1)</script>\u202egnp.\u0007\x1b[31m" + "é" * 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def agent(folder):
    with running_agent(folder) as running:
        yield running


@pytest.fixture(scope="module")
def server(folder, agent):
    modules = folder / "modules"
    modules.mkdir()
    (modules / "app.js").write_text("export function mount() {}\n")
    (folder / "secret.js").write_text("outside")
    words = folder / "po" / "fr"
    words.mkdir(parents=True)
    (words / "fonshare.po").write_text(
        'msgid ""\nmsgstr "Language: fr"\n\nmsgid "Files"\nmsgstr "Fichiers"\n'
    )
    add_web(agent.config)
    with serving(agent.config, modules=modules, words=folder / "po") as browser:
        yield browser


@pytest.fixture
def browser(server):
    return Browser(server.port)


@pytest.fixture(scope="module")
def signed_in(server):
    found = Browser(server.port)
    assert found.login().status == 200
    return found


@pytest.fixture
def owner(signed_in):
    return Browser(signed_in.port, cookie=signed_in.cookie)


# --- what is served ---


def test_the_page_is_served_to_anybody_with_a_strict_policy(browser):
    page = browser.get("/")
    assert page.status == 200
    assert b"/shell/shell.js" in page.body
    assert b"<style" not in page.body
    assert b"<script>" not in page.body
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {"script-src 'self'", "style-src 'self'", "base-uri 'none'"} <= set(policy)
    assert {"frame-ancestors 'none'", "trusted-types 'none'"} <= set(policy)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Permissions-Policy"]
    assert page.headers["Server"] is None


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/shell/shell.js", "text/javascript; charset=utf-8"),
        ("/shell/shell.css", "text/css; charset=utf-8"),
        ("/shell/icon.svg", "image/svg+xml"),
        ("/page/app.js", "text/javascript; charset=utf-8"),
        ("/words/fr.json", "application/json"),
    ],
)
def test_files_have_their_kind_and_are_not_sent_twice(browser, path, kind):
    first = browser.get(path)
    assert (first.status, first.headers["Content-Type"]) == (200, kind)
    again = browser.get(path, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_head_is_answered_without_a_body(browser):
    whole, head = browser.get("/"), browser.ask("HEAD", "/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.body))


def test_words_are_those_of_the_po_files(browser):
    assert browser.get("/words/fr.json").json == {"Files": "Fichiers"}
    assert browser.get("/words/de.json").json == {}


@pytest.mark.parametrize(
    "path",
    [
        "/page/../secret.js",
        "/page/..%2fsecret.js",
        "/page/%2e%2e/secret.js",
        "/page/..\\secret.js",
        "/page//secret.js",
        "/page/.hidden.js",
        "/page/app.js/",
        "/page/app.js%00.css",
        "/page/",
        "/page",
        "/page/app.py",
        "/shell/../command.py",
        "/words/../../fr.json",
        "/words/fr.po",
        "/words/..%2f..%2ffr.json",
        "/etc/passwd",
        "//etc/passwd",
        "/api/nothing",
        "/page/" + "a" * 5000 + ".js",
        "/page/" + "a" * 5000 + "/app.js",
        "/page/%C3%A9/app.js",
    ],
)
def test_no_path_leads_anywhere_else(browser, path):
    found = browser.get(path)
    assert found.status == 404 or found.json == {}
    assert b"outside" not in found.body


def test_a_browsers_language_is_told(browser):
    def language(accepted):
        return browser.get("/api/session", Accept_Language=accepted).json["language"]

    assert language("fr-CA,fr;q=0.9,en;q=0.5") == "fr"
    assert language("de, en;q=0.5, fr;q=0.3") == "en"
    assert language("zz") == "en"


# --- signing in ---


def test_nothing_is_told_before_the_password(browser, agent):
    asked = len(agent.calls)
    session = browser.get("/api/session")
    assert session.json == {"signed_in": False, "language": "en"}
    assert session.headers["Cache-Control"] == "no-store"
    for path in ("/api/call", "/api/qr", "/api/backup", "/api/restore"):
        refused = browser.post(path, {"command": "status"})
        assert (refused.status, refused.code) == (401, "session_expired")
    assert len(agent.calls) == asked


def test_the_owner_signs_in_and_out(browser):
    entered = browser.login()
    assert entered.json == {"result": {"user": "owner"}}
    cookie = entered.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    session = browser.get("/api/session").json
    assert (session["signed_in"], session["user"]) == (True, "owner")
    assert session["node"] == "alice"

    before = browser.cookie
    assert browser.post("/api/logout", {}).status == 200
    browser.cookie = before  # a copy of it is worth nothing now
    assert browser.get("/api/session").json["signed_in"] is False


def test_signing_in_again_ends_the_session_before(browser):
    browser.login()
    before = browser.cookie
    browser.login()
    assert browser.cookie != before
    browser.cookie = before
    assert browser.get("/api/session").json["signed_in"] is False


@pytest.mark.parametrize("name", ["guest", "nobody", "owner\0"])
def test_only_a_login_that_may_write_signs_in(browser, name):
    refused = browser.post("/api/login", {"password": PASSWORD, "name": name})
    assert (refused.status, refused.code) == (401, "web.password")
    assert not browser.cookie
    browser.login()  # which forgives the attempts of this address


@pytest.mark.parametrize(
    "body",
    [{}, {"password": None}, {"password": ["x"]}, {"password": "x" * 2000}, [], "x"],
)
def test_what_is_no_password_is_a_bad_request(browser, body):
    refused = browser.post("/api/login", body)
    assert (refused.status, refused.code) == (400, "web.request")


def test_a_flood_of_wrong_passwords_is_slowed_down(tmp_path, agent):
    with serving(copy_of(agent, tmp_path), clock=lambda: 1000.0) as browser:
        for _ in range(FREE):
            assert browser.login("wrong").code == "web.password"
        refused = browser.login("wrong")
        assert (refused.status, refused.code) == (429, "web.attempts")
        assert int(refused.headers["Retry-After"]) >= 1
        assert browser.login().code == "web.attempts", "nor does the right one help"


def test_a_proxy_tells_whose_attempts_they_are(tmp_path, agent):
    config = copy_of(agent, tmp_path, proxy="127.0.0.1", names=["cloud.example"])
    with serving(config, clock=lambda: 1000.0) as browser:
        browser.headers = {"Host": "cloud.example", "X-Forwarded-For": "203.0.113.5"}
        while browser.login("wrong").code != "web.attempts":
            pass
        browser.headers["X-Forwarded-For"] = "198.51.100.7, 203.0.113.5"
        assert browser.login("wrong").code == "web.attempts", "the proxy's word is last"
        browser.headers["X-Forwarded-For"] = "203.0.113.6"
        assert browser.login().status == 200


def copy_of(agent, folder, **web):
    """Return the settings of a node as the agent's, with a port of its own."""
    config = folder / "node.yaml"
    config.write_text(agent.config.read_text())
    add_web(config, **web)
    return config


# --- where requests come from ---


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.1",  # it listens on loopback
        "user@localhost",
        "localhost/x",
        "[::1",
        "",
    ],
)
def test_other_names_than_ours_are_refused(owner, host):
    for path in ("/", "/api/session"):
        refused = owner.get(path, Host=host)
        assert (refused.status, refused.code) == (421, "web.host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8"])
def test_the_loopback_has_several_names(browser, host):
    assert browser.get("/", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:1"},  # another server of this machine
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"X_FonShare": ""},
    ],
)
def test_requests_of_other_sites_are_refused(owner, agent, headers):
    asked = len(agent.calls)
    sent = {name: value.format(port=owner.port) for name, value in headers.items()}
    if "X_FonShare" in sent:
        sent["X-FonShare"] = sent.pop("X_FonShare")
    for path in ("/api/login", "/api/call", "/api/logout", "/api/backup"):
        body = {"command": "status", "password": PASSWORD, "passphrase": "x"}
        refused = owner.post(path, body, **sent)
        assert (refused.status, refused.code) == (403, "web.refused")
    assert len(agent.calls) == asked


def test_our_own_page_is_let_in(owner, agent):
    agent.answers["status"] = {"node": {"name": "alice"}}
    body = {"command": "status"}
    origin = f"http://127.0.0.1:{owner.port}"
    answer = owner.post("/api/call", body, Origin=origin, Sec_Fetch_Site="same-origin")
    assert answer.json == {"result": {"node": {"name": "alice"}}}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_what_a_form_can_send_is_refused(owner, kind):
    refused = owner.post("/api/call", {"command": "status"}, Content_Type=kind)
    assert (refused.status, refused.code) == (400, "web.request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/call"),
        ("GET", "/api/login"),
        ("GET", "/api/backup"),
        ("PUT", "/api/call"),
        ("POST", "/"),
        ("POST", "/api/session"),
        ("DELETE", "/page/app.js"),
        ("OPTIONS", "/api/call"),
        ("TRACE", "/"),
    ],
)
def test_other_methods_are_refused(owner, method, path):
    refused = owner.ask(method, path, None, **OURS)
    assert (refused.status, refused.code) == (405, "web.method")
    assert method not in refused.headers["Allow"].split(", ")


def test_through_a_proxy_cookies_are_for_tls_alone(tmp_path, agent):
    config = copy_of(agent, tmp_path, proxy="127.0.0.1", names=["cloud.example"])
    with serving(config) as browser:
        browser.headers = {
            "Host": "cloud.example",
            "Origin": "https://cloud.example",
            "X-Forwarded-For": "203.0.113.5",
        }
        cookie = browser.login().headers["Set-Cookie"]
        assert cookie.startswith("__Host-fonshare-")
        assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
        assert browser.get("/api/session").json["signed_in"] is True
        browser.headers["Origin"] = "http://cloud.example"
        assert browser.login().code == "web.refused"


# --- bounds ---


@pytest.mark.parametrize(
    ("path", "most"), [("/api/login", BODY_MAX), ("/api/call", CALL_MAX)]
)
def test_a_body_that_is_too_long_is_not_read(owner, path, most):
    refused = owner.post(path, {"password": "x" * most})
    assert (refused.status, refused.code) == (413, "web.too_large")


@pytest.fixture
def kept(monkeypatch):
    """How many bytes the server has put by, of bodies and answers."""
    counts = [0]
    append = OverflowableBuffer.append

    def count(buffer, data):
        counts[0] += len(data)
        append(buffer, data)

    monkeypatch.setattr(OverflowableBuffer, "append", count)
    return counts


LONG = b"x" * (3 << 20)


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/api/restore", {}, "session_expired"),
        ("/api/restore", {"Origin": "http://evil.example"}, "web.refused"),
        ("/api/restore", {"Host": "evil.example"}, "web.host"),
        ("/api/call", {}, "session_expired"),
        ("/api/login", {}, "web.too_large"),
        ("/api/nothing", {}, "web.not_found"),
    ],
)
def test_nothing_is_kept_of_a_strangers_body(browser, kept, path, headers, code):
    stranger = HTTPConnection("127.0.0.1", browser.port, PATIENCE_S)
    stranger.request("POST", path, LONG, {**OURS, **headers})
    assert json.loads(stranger.getresponse().read())["error"]["code"] == code
    # And what follows on that connection is the next request, not the body's rest.
    stranger.request("GET", "/api/session")
    assert json.loads(stranger.getresponse().read())["signed_in"] is False
    stranger.close()
    assert kept[0] < 10_000


def test_nothing_is_kept_of_a_strangers_chunks(browser, kept):
    stranger = HTTPConnection("127.0.0.1", browser.port, PATIENCE_S)
    stranger.request(
        "POST", "/api/restore", iter([LONG[:60_000]] * 40), OURS, encode_chunked=True
    )
    refused = stranger.getresponse()
    assert refused.status == 401, refused.read()
    stranger.close()
    assert kept[0] < 10_000


def test_the_owners_chunks_are_taken_as_far_as_they_are_read(owner, agent):
    for body, status in ((b'{"command": "jobs"}', 200), (LONG, 413)):
        connection = HTTPConnection("127.0.0.1", owner.port, PATIENCE_S)
        headers = {**OURS, "Cookie": owner.cookie}
        with suppress(ConnectionError):  # it need not read what it will not take
            connection.request(
                "POST", "/api/call", iter([body]), headers, encode_chunked=True
            )
        assert connection.getresponse().status == status
        connection.close()


def test_who_sends_a_request_for_ever_is_let_go_of(browser, monkeypatch):
    monkeypatch.setattr(bodies, "REQUEST_S", 0.2)
    with socket.create_connection(("127.0.0.1", browser.port)) as slow:
        slow.settimeout(0.05)
        slow.sendall(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nX-A: ")

        def is_closed() -> bool:
            try:
                slow.send(b"x")
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(is_closed)


def test_what_others_than_the_proxy_say_of_names_is_not_believed(browser):
    said = {
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Proto": "https",
        "Forwarded": "for=127.0.0.1;host=evil.example;proto=https",
    }
    answer = browser.post("/api/login", {"password": PASSWORD}, **said)
    assert answer.status == 200
    assert "Secure" not in answer.headers["Set-Cookie"]


def test_headers_that_are_too_long_are_refused(browser):
    assert browser.get("/", X_Long="x" * HEADER_BYTES_MAX).status == 431


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"command": NaN}', b"[" * 50_000]
)
def test_what_is_no_json_object_is_refused(owner, body):
    refused = owner.post("/api/call", body)
    assert (refused.status, refused.code) == (400, "web.request")


def test_many_silent_connections_keep_nobody_out(owner):
    """They hold a connection each, and no worker."""
    silent = [socket.create_connection(("127.0.0.1", owner.port)) for _ in range(40)]
    try:
        for one in silent:
            one.sendall(b"POST /api/call HTTP/1.1\r\nHost: localhost\r\nContent-")
        assert owner.get("/").status == 200
    finally:
        for one in silent:
            one.close()


# --- commands ---


def test_a_command_reaches_the_agent_with_all_its_arguments(owner, agent):
    agent.answers["group create"] = {"group": HOSTILE}
    answer = owner.call("group create", group=HOSTILE)
    assert answer.json == {"result": {"group": HOSTILE}}
    assert agent.calls[-1] == ("group create", {"group": HOSTILE})
    assert answer.body.isascii()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_page_of_rows_says_whether_there_is_more(owner, agent):
    agent.answers["ls"] = Page([{"name": "a", "cursor": "c"}], "c")
    answer = owner.call("ls", path="Famille/bob").json
    assert answer["result"] == [{"name": "a", "cursor": "c"}]
    assert answer["rest"] == {"more": "c", "has_more": True, "is_cut": False}


def test_what_the_agent_refuses_is_an_answer(owner, agent):
    agent.answers["share rm"] = NotFound("there is no share", thing=HOSTILE)
    answer = owner.call("share rm", name=HOSTILE)
    assert answer.status == 200
    assert answer.json["error"]["thing"] == HOSTILE
    assert set(answer.json["error"]) == {"code", "message", "thing", "next"}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("agent", {}),
        ("backup", {"file": "/tmp/x"}),
        ("restore", {"file": "/tmp/x"}),
        ("fxp", {"source": "ftp://a/", "target": "ftp://b/"}),
        ("web", {}),
        ("no such", {}),
        (["status"], {}),
        (None, {}),
        ("status", {"colour": "red"}),
        ("status", []),
        ("group create", {"group": 7}),
        ("group create", {}),
        ("get", {"entries": ["x"], "wait": True}),
    ],
)
def test_what_the_table_does_not_allow_never_reaches_the_agent(
    owner, agent, command, arguments
):
    asked = len(agent.calls)
    body = {"command": command, "arguments": arguments}
    assert owner.post("/api/call", body).code == "usage"
    assert len(agent.calls) == asked


def test_without_an_agent_the_page_stays_and_says_so(tmp_path, agent):
    with serving(copy_of(agent, tmp_path)) as browser:
        browser.login()
        answer = browser.call("status")
        assert (answer.status, answer.code) == (200, "no_agent")
        # What the table does not allow is refused before anybody is asked.
        assert browser.call("backup", file="/tmp/x").code == "usage"
        assert browser.call("status", colour="red").code == "usage"
        assert browser.get("/").status == 200


def test_a_slow_answer_keeps_nobody_else_waiting(owner, agent):
    release = threading.Event()
    asked = threading.Event()

    class Slow:
        def __await__(self):
            asked.set()
            while not release.is_set():
                yield from _turn(agent.core).__await__()
            return "late"

    agent.answers["doctor"] = lambda arguments: Slow()
    agent.answers["jobs"] = []
    found = []
    slow = threading.Thread(target=lambda: found.append(owner.call("doctor").json))
    slow.start()
    try:
        assert asked.wait(PATIENCE_S)
        assert owner.call("jobs").json["result"] == []
        assert owner.get("/").status == 200
        assert not found
    finally:
        release.set()
        slow.join(PATIENCE_S)
    assert found == [{"result": "late"}]


async def _turn(core):
    """Let the core do something else."""
    await core.sleep(0.01)


# --- pictures, backup, restore ---


def test_an_invite_is_drawn_as_a_path_and_no_markup(owner):
    answer = owner.post("/api/qr", {"text": "fonshare:" + "a" * 300}).json["result"]
    assert answer["size"] > 21 + 8
    assert re.fullmatch(r"(M\d+ \d+h\d+v1h-\d+z)+", answer["path"])
    assert owner.post("/api/qr", {"text": "x" * 1025}).code == "web.request"


def test_the_path_is_the_picture(owner):
    found = owner.post("/api/qr", {"text": "FonShare"}).json["result"]
    dark = set()
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)", found["path"]):
        dark |= {(int(x) + step, int(y)) for step in range(int(length))}
    rows = segno.make("FonShare", error="m", micro=False).matrix
    wanted = {(x, y) for y, row in enumerate(rows) for x, bit in enumerate(row) if bit}
    assert dark == {(x + 4, y + 4) for x, y in wanted}
    assert found["size"] == len(rows) + 8


def test_backup_is_a_file_and_restore_needs_the_agent_stopped(owner):
    backup = owner.post("/api/backup", {"passphrase": "a long passphrase"})
    assert backup.headers["Content-Type"] == "application/octet-stream"
    assert backup.headers["Content-Disposition"] == (
        'attachment; filename="alice.fonshare"'
    )
    body = {
        "passphrase": "a long passphrase",
        "file": base64.b64encode(backup.body).decode(),
    }
    assert owner.post("/api/restore", body).code == "agent.running"
    assert owner.post("/api/backup", {"passphrase": ""}).code == "usage"
    assert owner.post("/api/backup", {"passphrase": "\ud800"}).code == "web.request"
    assert owner.post("/api/restore", {**body, "file": "*"}).code == "web.request"


def test_a_backup_comes_back_while_the_agent_is_stopped(tmp_path, agent, owner):
    backup = owner.post("/api/backup", {"passphrase": "p"}).body
    with serving(copy_of(agent, tmp_path)) as browser:
        browser.login()
        body = {"passphrase": "p", "file": base64.b64encode(backup).decode()}
        wrong = {**body, "passphrase": "q"}
        assert browser.post("/api/restore", wrong).code == "backup.unreadable"
        done = browser.post("/api/restore", body).json["result"]
        assert done["groups"] == 0
        assert len(done["node"]) > 20


def test_a_hostile_backup_has_an_error_with_a_name(monkeypatch, tmp_path, agent):
    monkeypatch.setattr("fonshare_agent.backup.COST_LOG2", 4)  # what it costs to guess
    with serving(copy_of(agent, tmp_path)) as browser:
        browser.login()
        for inside in (b"[" * 100_000, b'{"incarnation": Infinity}', b"null", b"\xff"):
            sealed = seal(inside, "p", os.urandom)
            body = {"passphrase": "p", "file": base64.b64encode(sealed).decode()}
            refused = browser.post("/api/restore", body)
            assert (refused.status, refused.code) == (200, "backup.unreadable")


# --- settings that change ---


def test_another_password_holds_at_once_and_signs_everybody_out(tmp_path, agent):
    config = copy_of(agent, tmp_path)
    with serving(config) as browser:
        browser.login()
        config.write_text(config.read_text() + "\n# only a comment\n")
        assert browser.get("/api/session").json["signed_in"] is True
        config.write_text(config.read_text().replace(PASSWORD, "another one"))
        assert browser.get("/api/session").json["signed_in"] is False
        assert browser.login().code == "web.password"
        assert browser.login("another one").status == 200
        config.write_text("node: [")
        assert browser.login("another one").code.startswith("settings")
        assert browser.get("/").status == 200


def test_broken_settings_tell_a_stranger_nothing_of_what_is_in_them(tmp_path, agent):
    config = copy_of(agent, tmp_path)
    with serving(config) as browser:
        config.write_text("mqtt:\n  broker: *hunter2\n")
        told = browser.login()
    assert told.code == "settings"
    assert "hunter2" not in told.body.decode()
    assert str(tmp_path) not in told.body.decode()


class Silent:
    def __call__(self, environ, start):
        start("204 No Content", [])
        return []

    def body_max(self, environ):
        return 0


def test_a_worker_that_wakes_the_server_as_it_stops_does_not_disturb_that():
    listener = Listener(Silent(), WebSettings("127.0.0.1", free_port(), (), None))
    thread = threading.Thread(target=listener.serve)
    thread.start()
    trigger = listener._server.trigger
    pull = trigger._physical_pull

    def pulled_by_a_worker_first():
        pull()
        thread.join(0.2)  # what was handed over is done as soon as it wakes
        pull()

    trigger._physical_pull = pulled_by_a_worker_first
    listener.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_the_answers_are_plain_json(owner, agent):
    agent.answers["jobs"] = [{"name": "\udce9\ud800", "size": 2**63}]
    answer = owner.call("jobs")
    assert json.loads(answer.body)["result"] == [
        {"name": "\udce9\ud800", "size": 2**63}
    ]
