"""Whatever a stranger sends, the web server answers, and no bug shows."""

import io
import json
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.web.application import Application
from fonshare_agent.web.exchange import BODY_MAX
from fonshare_agent.web.listener import HEADER_BYTES_MAX
from fonshare_agent.web.page import PageFiles
from settings_files import write_settings
from waiting import PATIENCE_S
from web_server import OURS, add_web, serving

LATIN = st.characters(max_codepoint=255)  # as WSGI has what came
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", ""]) | st.text(max_size=8)
API = ["/api/call", "/api/login", "/api/session", "/api/logout", "/api/qr", "/api/x"]
FILES = ["/", "/page/app.js", "/page/a/b.js", "/shell/shell.js", "/words/fr.json"]
PATHS = st.sampled_from(API + FILES) | st.text(LATIN, max_size=60).map("/".__add__)
HOSTS = st.sampled_from(["localhost", "127.0.0.1:8080", "[::1]"]) | st.text(max_size=20)
KEYS = st.sampled_from(["password", "name", "text"])
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
JSONS = st.dictionaries(KEYS, VALUES | st.lists(VALUES, max_size=3)) | VALUES
BODIES = st.binary(max_size=200) | JSONS.map(lambda value: json.dumps(value).encode())
NAMES = st.sampled_from(
    [
        *("HTTP_ORIGIN", "HTTP_COOKIE", "HTTP_SEC_FETCH_SITE", "HTTP_IF_NONE_MATCH"),
        *("HTTP_ACCEPT_LANGUAGE", "HTTP_X_FORWARDED_FOR", "CONTENT_TYPE"),
    ]
)
HEADERS = st.dictionaries(NAMES, st.text(LATIN, max_size=40), max_size=3)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers")
    config = write_settings(folder)
    add_web(config)
    return config


@pytest.fixture(scope="module")
def application(config):
    found = Application(config, PageFiles(config.parent, config.parent))
    # No password is checked: scrypt would take all the time.
    found._owners.verify = lambda name, password: None
    return found


@given(METHODS, PATHS, HOSTS, BODIES, HEADERS, st.booleans())
def test_any_request_gets_an_answer_with_every_header(
    application, method, path, host, body, headers, is_ours
):
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "HTTP_HOST": host,
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        **({"HTTP_X_FONSHARE": "1"} if is_ours else {}),
        **headers,
        "wsgi.input": io.BytesIO(body),
    }
    assert application.body_max(environ) in (0, BODY_MAX), "nobody is signed in"
    told = []
    answer = b"".join(application(environ, lambda *said: told.append(said)))
    ((status, head),) = told
    assert status[:3] in {"200", "304", "400", "401", "403", "404", "405", "421", "429"}
    assert all("\n" not in value and "\r" not in value for _, value in head)
    names = dict(head)
    assert "default-src 'none'" in names["Content-Security-Policy"]
    assert "Max-Age=0" in names.get("Set-Cookie", "Max-Age=0"), "nobody is let in"
    if status[:3] not in ("200", "304") and method != "HEAD":
        assert set(json.loads(answer)["error"]) == {"code", "message", "thing", "next"}


RAW = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/qr HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n",
    b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * HEADER_BYTES_MAX,
    b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


def read_all(stranger):
    said = b""
    with suppress(ConnectionResetError):  # by a server that leaves the rest unread
        while chunk := stranger.recv(65536):
            said += chunk
    return said


def test_bytes_that_are_no_request_end_their_connection_alone(config):
    with serving(config) as browser:
        for raw in RAW:
            with socket.create_connection(("127.0.0.1", browser.port)) as stranger:
                stranger.settimeout(PATIENCE_S)
                stranger.sendall(raw)
                with suppress(OSError):  # the server may have hung up by now
                    stranger.shutdown(socket.SHUT_WR)
                said = read_all(stranger)
            assert b"Internal Server Error" not in said
            assert not (b"evil" in raw and b" 200 OK" in said)
        assert browser.ask("GET", "/", None, **OURS).status == 200
