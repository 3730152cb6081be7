"""Who is signed in with which browser: passwords are tried, cookies given and taken.

The same for a node's owner and for whoever sets a node up the first time; what a
password opens, the caller knows. Any thread.
"""

import logging
from collections.abc import Callable

from fonshare_agent.control.rows import JSON
from fonshare_agent.web.exchange import Header, Request, Response, answer, text_of
from fonshare_agent.web.refusals import SessionExpired, TooManyAttempts, WrongPassword
from fonshare_agent.web.sessions import AGE_MAX_S, Session, Sessions
from fonshare_agent.web.throttle import Throttle

log = logging.getLogger(__name__)

LANGUAGES = ("en", "fr")
Verify = Callable[[str, str], str | None]  # a name or nothing, a password -> who it is


class SignIn:
    """The door of one server at *port*."""

    def __init__(self, port: int, verify: Verify, clock: Callable[[], float]) -> None:
        self._port, self._verify = port, verify
        self._sessions, self._throttle = Sessions(clock), Throttle(clock)

    def find(self, request: Request) -> Session | None:
        """Return the session of the browser that asks; None if there is none."""
        token = request.cookie(self._cookie(request))
        return self._sessions.find(token) if token else None

    def demand(self, request: Request) -> Session:
        """Return the session of the browser that asks, or refuse."""
        session = self.find(request)
        if session is None:
            raise SessionExpired("nobody is signed in in this browser")
        return session

    def demand_password(self, request: Request, password: str, name: str = "") -> str:
        """Return whom *password* opens, or refuse; each attempt counts."""
        wait_s = self._throttle.take(request.address)
        if wait_s > 0:
            raise TooManyAttempts(wait_s)
        user = self._verify(name, password)
        if user is None:
            log.warning("a wrong password")
            log.debug("a wrong password from %s", request.address)
            raise WrongPassword("the password is wrong")
        self._throttle.note_success(request.address)
        return user

    def login(self, request: Request) -> Response:
        """Answer {password, name?}."""
        body = request.json()
        password, name = text_of(body, "password"), body.get("name") or ""
        user = self.demand_password(request, password, str(name))
        self._sessions.end(request.cookie(self._cookie(request)))
        return answer({"result": {"user": user}}, self.open(request, user))

    def logout(self, request: Request) -> Response:
        """Answer {}."""
        self._sessions.end(request.cookie(self._cookie(request)))
        return answer({"result": None}, self._set_cookie(request, "", 0))

    def open(self, request: Request, user: str) -> Header:
        """Return the cookie of a fresh session of *user*."""
        return self._set_cookie(request, self._sessions.open(user), AGE_MAX_S)

    def end_all(self) -> None:
        """Sign everybody out."""
        self._sessions.end_all()

    def told(self, request: Request) -> dict[str, JSON]:
        """Return what `GET /api/session` says to everybody."""
        return {
            "signed_in": self.find(request) is not None,
            "language": _language(request.header("Accept-Language")),
        }

    def _cookie(self, request: Request) -> str:
        # Cookies know no ports: two nodes on one machine must not share one.
        prefix = "__Host-" if request.is_tls else ""
        return f"{prefix}fonshare-{self._port}"

    def _set_cookie(self, request: Request, token: str, age_s: float) -> Header:
        secure = "; Secure" if request.is_tls else ""
        return (
            "Set-Cookie",
            f"{self._cookie(request)}={token}; Path=/; Max-Age={int(age_s)}; HttpOnly; "
            f"SameSite=Strict{secure}",
        )


def _language(accepted: str) -> str:
    """Return which of our languages a browser prefers."""
    for part in accepted.split(","):
        language = part.split(";")[0].strip().lower().split("-")[0]
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]
