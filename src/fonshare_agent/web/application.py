"""The web server's addresses, as a WSGI application.

    GET  /                  the page's frame and sign-in
    GET  /shell/… /page/…   scripts and styles of the frame, and of the page itself
    GET  /words/LANG.json   translations
    GET  /api/session       {signed_in, language, user, node, version, may_start}
    POST /api/login         {password, name?}       -> the session's cookie
    POST /api/logout        {}
    POST /api/call          {command, arguments}    -> {result, rest?} or {error}
    POST /api/qr            {text}                  -> {result: {size, path}}
    POST /api/settings      {}                      -> {result}: the form
    POST /api/settings/save {options, logins?, password?, language?}
                            -> {result: {saved, moves_page}} or {error}
    POST /api/agent/start   {}                      -> {result} or {error}
    POST /api/backup        {passphrase}            -> the file
    POST /api/restore       {passphrase, file}      -> {result}

Every request passes the guard; every address of the API but session, login and logout
asks for a session. Errors are {error:{code, message, thing, next}}. Any thread; knows
no socket.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from fonshare_agent import __version__
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import FonshareError, NotAllowed, SettingsError
from fonshare_agent.web.backups import RESTORE_BODY_MAX, give_backup, take_restore
from fonshare_agent.web.calls import Calls
from fonshare_agent.web.exchange import (
    BODY_MAX,
    CALL_MAX,
    Environ,
    Header,
    Request,
    Response,
    StartResponse,
    answer,
    answer_error,
    text_of,
)
from fonshare_agent.web.form import SettingsForm
from fonshare_agent.web.guard import Guard
from fonshare_agent.web.own_agent import OwnAgent
from fonshare_agent.web.owners import Owners
from fonshare_agent.web.page import PageFiles
from fonshare_agent.web.pictures import TEXT_MAX, draw_qr
from fonshare_agent.web.refusals import NoSuchPage, WrongMethod
from fonshare_agent.web.sessions import Session
from fonshare_agent.web.settings import Unseen, read_form, told_by_field, wish_of
from fonshare_agent.web.signing import SignIn

log = logging.getLogger(__name__)

OF_LISTENING = {"web.address", "web.port", "web.proxy"}  # as they were at the start
BODIES = {  # bytes; others have none
    "/api/login": BODY_MAX,
    "/api/call": CALL_MAX,
    "/api/qr": BODY_MAX,
    "/api/settings": BODY_MAX,
    "/api/settings/save": BODY_MAX,
    "/api/agent/start": BODY_MAX,
    "/api/backup": BODY_MAX,
    "/api/restore": RESTORE_BODY_MAX,
}


def awake_clock() -> float:
    """Return seconds that go on while the machine sleeps, and never jump."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Application:
    """One node's page."""

    def __init__(
        self,
        config: Path,
        files: PageFiles | None = None,
        clock: Callable[[], float] = awake_clock,
        own_agent: OwnAgent | None = None,
    ) -> None:
        self._own_agent = own_agent  # None: agents are for others to start
        self._unseen = Unseen()
        self._owners = Owners(config, lambda: self._signing.end_all())
        self._files = files or PageFiles()
        self._form = SettingsForm(config)
        self._config = config
        self._settings = self._owners.settings()
        self._web = self._settings.web
        self._signing = SignIn(self._web.port, self._verify, clock)
        self._guard = Guard(self._settings)
        self._calls = Calls(self._settings.control_socket)
        self._open = {
            "/api/session": ("GET", self._session),
            "/api/login": ("POST", self._signing.login),
            "/api/logout": ("POST", self._signing.logout),
        }
        self._signed_in = {
            "/api/call": self._call,
            "/api/qr": self._qr,
            "/api/settings": self._read_settings,
            "/api/settings/save": self._save_settings,
            "/api/agent/start": self._start,
            "/api/backup": self._backup,
            "/api/restore": self._restore,
        }

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        self._follow_settings()
        try:
            response = self._serve(Request.of(environ, self._web.proxy))
        except FonshareError as error:
            response = answer_error(error)
        return response.send(start, environ["REQUEST_METHOD"])

    def body_max(self, environ: Environ) -> int:
        """Return how much will be read of the body that follows these headers."""
        request = Request.of(environ, self._web.proxy)
        try:
            self._guard.check(request)
            if request.path in self._signed_in:
                self._demand_session(request)
        except FonshareError:
            return 0  # refused, with its reason, when it is there
        return BODIES.get(request.path, 0)

    def _follow_settings(self) -> None:
        """Serve by the settings as they are now; where it listens stays as it was."""
        settings = self._owners.settings()
        if settings is self._settings:
            return
        self._guard = Guard(
            replace(settings, web=replace(self._web, names=settings.web.names))
        )
        before, now = self._settings.control_socket, settings.control_socket
        if now != before:
            self._calls = Calls(now, before)
        self._settings = settings

    def _serve(self, request: Request) -> Response:
        self._guard.check(request)
        if request.path in self._open:
            method, serve = self._open[request.path]
            demand_method(request, method)
            return serve(request)
        if request.path in self._signed_in:
            demand_method(request, "POST")
            self._demand_session(request)
            return self._signed_in[request.path](request)
        if request.path.startswith("/api/"):
            raise NoSuchPage("there is no such address", thing=request.path[:80])
        demand_method(request, "GET", "HEAD")
        return self._files.find(request)

    # --- signing in ---

    def _demand_session(self, request: Request) -> Session:
        self._owners.settings()  # other logins in there end all sessions
        return self._signing.demand(request)

    def admit(self, request: Request, user: str) -> Header:
        """Return the cookie that signs in the browser that asks."""
        return self._signing.open(request, user)

    def _session(self, request: Request) -> Response:
        self._owners.settings()
        told = self._signing.told(request)
        session = self._signing.find(request)
        if session is not None:
            told["user"] = session.user
            told["node"] = self._owners.settings().node.name
            told["version"] = __version__
            told["may_start"] = self._own_agent is not None
        return answer(told)

    def _verify(self, name: str, password: str) -> str | None:
        try:
            return self._owners.verify(name, password)
        except SettingsError as error:
            # What is wrong may quote the file, and whoever asks is a stranger yet.
            log.error("%s", error)
            raise SettingsError(
                "the settings cannot be read now",
                next="`fonshare web` says what is wrong where it runs.",
            ) from None

    # --- what the owner does ---

    def _call(self, request: Request) -> Response:
        body = request.json(CALL_MAX)
        found = self._calls.call(body.get("command"), body.get("arguments", {}))
        return answer(dict(found))

    def _qr(self, request: Request) -> Response:
        return answer({"result": draw_qr(text_of(request.json(), "text", TEXT_MAX))})

    def _read_settings(self, request: Request) -> Response:
        form = read_form(self._form, self._config, self._calls.call)
        self._unseen.add_to(form, self._calls.life())
        return answer({"result": form})

    def _save_settings(self, request: Request) -> Response:
        session = self._demand_session(request)
        body = request.json()
        wish = wish_of(body)
        if wish.logins is not None:
            self._signing.demand_password(request, text_of(body, "password"))
        try:
            saved: list[JSON] = [*self._form.save(wish)]
        except SettingsError as error:
            told = told_by_field(error, str(body.get("language")))
            return answer({"error": told})
        self._unseen.note(wish, saved, self._calls.life())
        moves = not OF_LISTENING.isdisjoint(saved)
        result: JSON = {"result": {"saved": saved, "moves_page": moves}}
        if wish.logins is None:
            return answer(result)
        self._owners.settings()  # other logins sign everybody out, but for who did that
        return answer(result, self.admit(request, session.user))

    def _start(self, request: Request) -> Response:
        request.json()
        if self._own_agent is None:
            raise NotAllowed(
                "this program starts no agent: nobody sits at its terminal",
                thing="agent",
                next="Start the agent's service, or `fonshare agent`.",
            )
        self._own_agent.start()
        return answer({"result": {"started": True}})

    def _backup(self, request: Request) -> Response:
        return give_backup(self._owners.settings(), request.json())

    def _restore(self, request: Request) -> Response:
        with self._own_agent.resting() if self._own_agent else nullcontext():
            return take_restore(self._owners.settings(), request)


def demand_method(request: Request, *methods: str) -> None:
    """Refuse a request by another method."""
    if request.method not in methods:
        raise WrongMethod(request.method, ", ".join(methods))
