"""A browser's request and our answer, between WSGI and the application.

Bodies are bounded before they are read; every answer gets the same strict headers. No
file, no clock, no agent in here.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fonshare_agent.addresses import plain_address
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import FonshareError
from fonshare_agent.web.refusals import BadRequest, TooLarge, WebRefused

BODY_MAX: Final = 64 << 10
CALL_MAX: Final = 256 << 10  # `get` of a few thousand entries at once
JSON_TYPE: Final = "application/json"
# Nothing but our own files, no inline script or style, no frame around it, no form to
# elsewhere, no text that becomes markup; `data:` is for pictures in the style sheet.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), "
        "usb=()",
    ),
)
Header = tuple[str, str]
StartResponse = Callable[[str, list[Header]], object]
Environ = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What a browser asks."""

    method: str
    path: str
    address: str  # the browser's, by the word of the proxy if it came through that
    is_tls: bool  # it came through the proxy, which speaks TLS for us
    host: str
    headers: Mapping[str, str]  # as WSGI has them: HTTP_ORIGIN
    length: int
    _read: Callable[[int], bytes] = field(repr=False)

    @classmethod
    def of(cls, environ: Environ, proxy: str | None = None) -> "Request":
        """Return the request that *environ* holds; *proxy* is that one's address."""
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = -1
        headers = {
            name: value for name, value in environ.items() if isinstance(value, str)
        }
        peer = unmapped(str(environ.get("REMOTE_ADDR") or ""))
        is_tls = proxy is not None and peer == proxy
        return cls(
            method=str(environ["REQUEST_METHOD"]),
            path=str(environ.get("PATH_INFO", "/")),
            address=_forwarded(headers, peer) if is_tls else peer,
            is_tls=is_tls,
            host=str(environ.get("HTTP_HOST", "")),
            headers=headers,
            length=length,
            _read=environ["wsgi.input"].read,
        )

    def header(self, name: str) -> str:
        """Return a header by its usual name; empty if the browser sent none."""
        return self.headers.get("HTTP_" + name.upper().replace("-", "_"), "")

    def cookie(self, name: str) -> str:
        """Return a cookie's value; empty if there is none."""
        for part in self.header("Cookie").replace(",", ";").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return ""

    def json(self, most: int = BODY_MAX) -> dict[str, JSON]:
        """Return the body, a JSON object of at most *most* bytes."""
        kind = self.headers.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind != JSON_TYPE:
            raise BadRequest(f"a request must be {JSON_TYPE}")
        if self.length > most:
            raise TooLarge(f"the request is longer than {most} bytes")
        if self.length < 0:
            raise BadRequest("the request's length cannot be read")
        try:
            body = json.loads(self._read(self.length), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise BadRequest("the request is not JSON") from None
        if not isinstance(body, dict):
            raise BadRequest("the request must be a JSON object")
        return body


def unmapped(text: str) -> str:
    """Return the address *text* in its one spelling; as it is if it is none."""
    try:
        return str(plain_address(text.strip()))
    except ValueError:
        return text


def _forwarded(headers: Mapping[str, str], peer: str) -> str:
    """Return what the proxy itself said: the last, the others may be invented."""
    said = headers.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2]
    return unmapped(said) if said.strip() else peer


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def text_of(body: Mapping[str, JSON], name: str, most: int = 1024) -> str:
    """Return the text called *name*, which must be there."""
    value = body.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise BadRequest(f"`{name}` must be a text of at most {most} characters")
    return value


def is_text(value: str) -> bool:
    """Tell whether UTF-8 can say it: JSON also brings halves of characters."""
    return not any("\ud800" <= one <= "\udfff" for one in value)


@dataclass(frozen=True, slots=True)
class Response:
    """Our answer."""

    body: bytes = b""
    kind: str = JSON_TYPE
    status: str = "200 OK"
    headers: tuple[Header, ...] = ()
    is_cached: bool = False  # by the browser, which asks each time whether it changed

    def send(self, start: StartResponse, method: str = "GET") -> Iterable[bytes]:
        """Answer a request of *method* over WSGI."""
        cache = "no-cache" if self.is_cached else "no-store"
        head = [("Cache-Control", cache), *HEADERS, *self.headers]
        if not self.status.startswith("304"):
            head.append(("Content-Type", self.kind))
            head.append(("Content-Length", str(len(self.body))))
        start(self.status, head)
        return [] if method == "HEAD" else [self.body]


def answer(value: JSON, *headers: Header) -> Response:
    """Return *value* as JSON: ASCII, so that any name passes unharmed."""
    raw = json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(raw, headers=headers)


def answer_error(error: FonshareError) -> Response:
    """Return {error}. What the agent refuses is an answer; what we do has a status."""
    found = answer({"error": dict(error.as_dict())})
    if not isinstance(error, WebRefused):
        return found
    return Response(found.body, status=error.status, headers=tuple(error.headers()))
