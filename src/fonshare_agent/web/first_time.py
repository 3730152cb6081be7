"""The first use in a browser, where there are no settings yet.

    GET  /api/session           as ever, and {first_use: true}
    POST /api/login             {password}: the code that stands where this was started
    POST /api/first-use         {}         -> {result}: what is proposed
    POST /api/first-use/begin   {answers}  -> {result: {settings}} or {error}

What `fonshare setup` writes is written here, once; then the agent is started and the
node's own page takes this one's place, with the browser signed in. It listens on
loopback only, and the code opens it once: whoever else is on this machine has to know
it before the person who started it uses it.
"""

import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from hmac import compare_digest
from pathlib import Path
from typing import Final

from fonshare_agent import __version__
from fonshare_agent.config import validate
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import FonshareError, SettingsError
from fonshare_agent.first_use import (
    OWNER,
    Answers,
    default_name,
    find_taken,
    hashed,
    write_new,
)
from fonshare_agent.mounts import MOUNTS
from fonshare_agent.router_disks import find_disks
from fonshare_agent.settings import WebSettings
from fonshare_agent.web.application import Application, awake_clock, demand_method
from fonshare_agent.web.exchange import (
    BODY_MAX,
    Environ,
    Request,
    Response,
    StartResponse,
    answer,
    answer_error,
    is_text,
    text_of,
)
from fonshare_agent.web.guard import Guard
from fonshare_agent.web.page import PageFiles
from fonshare_agent.web.refusals import BadRequest, NoSuchPage
from fonshare_agent.web.settings import told_by_field
from fonshare_agent.web.signing import SignIn

LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is mistaken for another
CODE_LETTERS: Final = 10  # 49 bits, behind the throttle of sign-ins
PORT: Final = 2121
PORT_TRIES: Final = 50
DEFAULT_PORT: Final = 8080  # of the page, as the table of settings has it
FOLDERS_MAX: Final = 64
Begin = Callable[[Path], Application]  # starts the agent of a file; its page


def make_code() -> str:
    """Return a code that a person can type, in two halves."""
    letters = "".join(secrets.choice(LETTERS) for _ in range(CODE_LETTERS))
    return f"{letters[:5]}-{letters[5:]}"


class FirstTime:
    """Serves the first use, then the page of the node that was begun. Any thread."""

    def __init__(
        self,
        file: Path,
        web: WebSettings,
        code: str,
        begin: Begin,
        files: PageFiles | None = None,
        clock: Callable[[], float] = awake_clock,
    ) -> None:
        self._file, self._web, self._begin = file, web, begin
        self._lock = threading.Lock()
        self._code: str | None = code
        self._page: Application | None = None  # once there is a node
        self._files = files or PageFiles()
        assumed = validate({"node": {"name": OWNER}, "disk": "disk"}, path=file)
        self._guard = Guard(replace(assumed, web=web))
        self._signing = SignIn(web.port, self._verify, clock)

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if self._page is not None:
            return self._page(environ, start)
        try:
            response = self._serve(Request.of(environ))
        except FonshareError as error:
            response = answer_error(error)
        return response.send(start, environ["REQUEST_METHOD"])

    def body_max(self, environ: Environ) -> int:
        """Return how much will be read of the body that follows these headers."""
        if self._page is not None:
            return self._page.body_max(environ)
        try:
            self._guard.check(Request.of(environ))
        except FonshareError:
            return 0
        return BODY_MAX

    def _serve(self, request: Request) -> Response:
        self._guard.check(request)
        match request.path:
            case "/api/session":
                demand_method(request, "GET")
                return self._session(request)
            case "/api/login" | "/api/logout":
                demand_method(request, "POST")
                is_login = request.path == "/api/login"
                serve = self._signing.login if is_login else self._signing.logout
                return serve(request)
            case "/api/first-use" | "/api/first-use/begin":
                demand_method(request, "POST")
                self._signing.demand(request)
                is_begin = request.path.endswith("begin")
                return self._take(request) if is_begin else answer(self._proposed())
        if request.path.startswith("/api/"):
            raise NoSuchPage("there is no such address", thing=request.path[:80])
        demand_method(request, "GET", "HEAD")
        return self._files.find(request)

    def _session(self, request: Request) -> Response:
        told = self._signing.told(request) | {"first_use": True, "node": "FonShare"}
        return answer(told | {"version": __version__})

    def _verify(self, _name: str, password: str) -> str | None:
        """The code opens this once: afterwards nobody else comes in by it."""
        typed = "".join(password.lower().split()).encode()
        with self._lock:
            code = self._code
            if code is None or not compare_digest(typed, code.encode()):
                return None
            self._code = None
        return OWNER

    # --- what is proposed, and what is answered ---

    def _proposed(self) -> JSON:
        disks: list[JSON] = [
            {"path": str(one.place), "free_bytes": shutil.disk_usage(one.place).free}
            for one in find_disks(MOUNTS.read_text())
            if one.is_writable and os.access(one.place, os.W_OK)
        ]
        tried = range(PORT, PORT + 2 * PORT_TRIES, 2)
        free = (one for one in tried if find_taken(one) is None)
        return {
            "result": {
                "file": str(self._file),
                "name": default_name(),
                "disk": str(self._file.parent / "disk"),
                "disks": disks,
                "port": next(free, PORT),
                "has_broker": shutil.which("mosquitto") is not None,
            }
        }

    def _take(self, request: Request) -> Response:
        body = request.json()
        try:
            answers = self._answers(body)
            validate(answers.values(), path=self._file, needs_hashes=False)
            _make_disk(self._file.parent / answers.disk)
            write_new(self._file, answers)
        except SettingsError as error:
            told = told_by_field(error, str(body.get("language")))
            return answer({"error": told})
        page = self._begin(self._file)
        cookie = page.admit(request, OWNER)
        self._page = page
        return answer({"result": {"settings": str(self._file)}}, cookie)

    def _answers(self, body: dict[str, JSON]) -> Answers:
        """Return what the page sent; SettingsError for what no settings would show."""
        password, port = text_of(body, "password"), text_of(body, "port")
        folders = body.get("guest_folders")
        if not isinstance(folders, list) or len(folders) > FOLDERS_MAX:
            raise BadRequest("`guest_folders` must be a list of folders")
        texts = [text_of({"folder": one}, "folder") for one in folders]
        name, disk = text_of(body, "name"), text_of(body, "disk")
        broker = text_of(body, "broker")
        for text in (name, disk, broker, password, *texts):
            if not is_text(text) or "\0" in text:
                raise BadRequest("an answer is not text")
        if not password:
            raise SettingsError("ftp.users: the owner's login needs a password")
        ftp: dict[str, object] = {"port": int(port) if port.isdecimal() else port}
        if port.isdecimal() and (taken := find_taken(int(port))) is not None:
            raise SettingsError(f"ftp.port: another program has {taken} already")
        if body.get("is_open") is True:
            ftp["address"] = "::"
        node: dict[str, object] = {}
        if body.get("port_mapping") is not True:
            node["port_mapping"] = "off"
        web = {} if self._web.port == DEFAULT_PORT else {"port": self._web.port}
        return Answers(name, disk, hashed(password), texts, broker, ftp, node, web)


def _make_disk(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"disk: cannot be made: {error.strerror}") from None
