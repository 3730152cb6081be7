"""What the web server refuses by itself, each with the HTTP status that says so."""

import math
from typing import ClassVar

from fonshare_agent.errors import FonshareError, NotAllowed


class WebRefused(NotAllowed):
    """The browser's request is not one that the page itself makes."""

    code = "web.refused"
    advice = "Open the page anew, by its own address; nothing was done."
    status: ClassVar[str] = "403 Forbidden"

    def headers(self) -> list[tuple[str, str]]:
        """Return what stands beside the status."""
        return []


class WrongHost(WebRefused):
    """The page was called by a name that is not in the settings."""

    code = "web.host"
    advice = "Add the name to web.names in the settings, or use the address itself."
    status = "421 Misdirected Request"


class OutsideHouse(WebRefused):
    """A browser outside the house's networks asked without TLS."""

    code = "web.outside"
    advice = (
        "Add its network to ftp.house_networks, or put a reverse proxy with TLS before "
        "it: docs/web.md."
    )


class SessionExpired(WebRefused):
    """Nobody is signed in, or not any more."""

    code = "session_expired"
    advice = "Sign in again."
    status = "401 Unauthorized"


class WrongPassword(WebRefused):
    """The name or the password is wrong, or that login may only read."""

    code = "web.password"
    advice = "It is the password of the owner's FTP login."
    status = "401 Unauthorized"


class TooManyAttempts(WebRefused):
    """Passwords are tried too often."""

    code = "web.attempts"
    advice = "Wait, then try again."
    status = "429 Too Many Requests"

    def __init__(self, wait_s: float) -> None:
        self.wait_s = max(1, math.ceil(wait_s))
        super().__init__(
            "passwords were tried too often",
            thing=f"{self.wait_s} s",
            next=f"Try again in {self.wait_s} seconds.",
        )

    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.wait_s))]


class TooLarge(WebRefused):
    """The browser sent more than that request may hold."""

    code = "web.too_large"
    advice = "Give less at once; nothing was done."
    status = "413 Content Too Large"


class BadRequest(WebRefused):
    """The browser sent what is not a request of the page."""

    code = "web.request"
    advice = "Open the page anew; nothing was done."
    status = "400 Bad Request"


class NoSuchPage(WebRefused):
    """There is nothing at that address."""

    code = "web.not_found"
    advice = "The page is at /."
    status = "404 Not Found"


class WrongMethod(WebRefused):
    """The address does not take that HTTP method."""

    code = "web.method"
    status = "405 Method Not Allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__("that address takes no such method", thing=method[:20])
        self._allowed = allowed

    def headers(self) -> list[tuple[str, str]]:
        return [("Allow", self._allowed)]


class WebBusy(WebRefused):
    """As many commands of browsers run as may."""

    code = "web.busy"
    advice = "Try again in a moment."
    status = "503 Service Unavailable"

    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", "1")]


class LibraryMissing(FonshareError):
    """`fonshare web` needs a library that is not installed."""

    code, exit_status = "web.library", 2
    advice = "Install what it needs: pip install 'fonshare-agent[web]'"
