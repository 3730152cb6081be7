"""The web server of a settings file on a thread, and a browser's requests to it."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from brokers import free_port
from fonshare_agent.config import load_settings, validate
from fonshare_agent.settings import WebSettings
from fonshare_agent.web.application import Application, awake_clock
from fonshare_agent.web.first_time import FirstTime
from fonshare_agent.web.listener import Listener
from fonshare_agent.web.page import PageFiles
from waiting import PATIENCE_S

PASSWORD = "correct horse"
CODE = "abcde-fghjk"  # of a first use
OURS = {"X-FonShare": "1", "Content-Type": "application/json"}


@dataclass
class Answer:
    """What the server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@dataclass
class Browser:
    """One client with its cookie; `headers` go with each request."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    cookie: str = ""

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> Answer:
        """Send a request; header names are given with `_` for `-`."""
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.cookie:
            sent.setdefault("Cookie", self.cookie)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE_S)
        try:
            connection.request(method, path, None if body is None else raw, sent)
            response = connection.getresponse()
            found = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        if set_cookie := found.headers.get("Set-Cookie"):
            self.cookie = set_cookie.partition(";")[0]
        return found

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return self.ask("POST", path, body, **{**OURS, **headers})

    def login(self, password: str = PASSWORD, **more: str) -> Answer:
        return self.post("/api/login", {"password": password, **more})

    def call(self, command: str, **arguments: Any) -> Answer:
        body = {"command": command, "arguments": arguments}
        return self.post("/api/call", body)


def add_web(config: Path, **web: Any) -> None:
    """Give a settings file an owner, and a port for the page."""
    raw = yaml.safe_load(config.read_text())
    users = raw.setdefault("ftp", {}).setdefault("users", [])
    if not any(user["access"] == "write" for user in users):
        users.append({"name": "owner", "password": PASSWORD, "access": "write"})
    raw["web"] = {"port": free_port(), **web}
    config.write_text(yaml.safe_dump(raw))


@contextmanager
def serving(
    config: Path,
    *,
    modules: Path | None = None,
    words: Path | None = None,
    clock: Callable[[], float] = awake_clock,
) -> Iterator[Browser]:
    """Serve the page of *config*; give a browser that is not signed in."""
    nowhere = config.parent / "nowhere"
    files = PageFiles(modules or nowhere, words or nowhere)
    web = replace(load_settings(config, needs_hashes=False).web)
    with _listening(Application(config, files, clock), web) as browser:
        yield browser


@contextmanager
def first_use(file: Path, begin: Callable[[Path], Application]) -> Iterator[Browser]:
    """Serve the first use that writes *file*; give a browser that is not signed in."""
    assumed = validate({"node": {"name": "x"}, "disk": "disk"}).web
    web = replace(assumed, port=free_port())
    with _listening(FirstTime(file, web, CODE, begin), web) as browser:
        yield browser


@contextmanager
def _listening(served: Application | FirstTime, web: WebSettings) -> Iterator[Browser]:
    listener = Listener(served, web)
    thread = threading.Thread(target=listener.serve, name="web")
    thread.start()
    try:
        yield Browser(listener.port)
    finally:
        listener.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
