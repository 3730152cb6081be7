"""A real browser in front of the page of FonShare, for tests.

The page's modules come from a small server on loopback, with the strictest policy that
`fonshare web` sends; what it asks is answered by a host in the browser that the test
scripts (page_host.js, a stand-in). One browser serves all tests of a process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

from http_servers import served_by
from programs import require_program
from waiting import wait_until

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
MODULES = ROOT / "package/luci-app-fonshare/htdocs/luci-static/resources" / "fonshare"
ARTEFACTS = ROOT / "build" / "screenshots"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Nothing from elsewhere, no inline script or style, and no text that becomes HTML.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PATIENCE_MS = 30_000
LOADS_MAX = 4  # of a page that has lost a file
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 860}


class Chromium:
    """A browser; visitors alike share what the browser keeps of the page's files."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: dict[str, Any] = {}

    def context(self, **options: Any) -> Any:
        key = repr(sorted(options.items()))
        if key not in self._contexts:
            self._contexts[key] = self._browser.new_context(**options)
        return self._contexts[key]


@contextmanager
def running_chromium() -> Iterator[Chromium]:
    """A headless Chromium, by Playwright; skips the test where there is none."""
    program = require_program("chromium")
    from playwright.sync_api import sync_playwright  # slow to import

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS])
        try:
            yield Chromium(browser)
        finally:
            browser.close()


class _Files(SimpleHTTPRequestHandler):
    """The stand-in's two files, and the page's modules below /page/."""

    timeout = 2.0  # a connection that the browser opened in advance and does not use

    extensions_map: ClassVar = {
        ".css": "text/css",
        ".html": "text/html",
        ".js": "text/javascript",
    }

    def __init__(self, *arguments: Any, modules: Path, **named: Any) -> None:
        self._modules = modules
        super().__init__(*arguments, **named)

    def translate_path(self, path: str) -> str:
        path = path.partition("?")[0]
        if path.startswith("/page/"):
            return str(self._modules / path.removeprefix("/page/"))
        name = "page_host.js" if path == "/page_host.js" else "page_host.html"
        return str(TESTS / name)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def page_server(modules: Path = MODULES) -> Iterator[str]:
    """Serve the page with its stand-in host; gives the address."""
    handler = partial(_Files, modules=modules)
    with served_by(handler) as address:
        yield address


def is_too_wide(page: Any) -> bool:
    """Tell whether something hangs over the edge of what the browser shows."""
    script = "() => document.documentElement.scrollWidth > window.innerWidth"
    return bool(page.evaluate(script))


class Visit:
    """One visitor's page; what its console complains of fails the test."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._on_console)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.lost: list[str] = []
        self.page.on("requestfailed", lambda request: self.lost.append(request.url))
        self._address = address

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(
        self, route: str = "overview", prepare: str = "", options: str = ""
    ) -> None:
        """Open *route* in a world that the script *prepare* has changed."""
        self.page.goto(f"{self._address}/#/{route}")
        for _ in range(LOADS_MAX):
            if self._is_loaded():
                break
            # A machine that is very busy lets the server's patience with a connection
            # that was opened in advance end before the browser uses it.
            self.lost.clear()
            self.complaints.clear()
            self.page.reload()
        self.until("window.isReady")
        self.page.evaluate(f"() => {{ {prepare}; window.start({options or '{}'}) }}")

    def _is_loaded(self) -> bool:
        """Wait until the page stands, or has lost a file; tell which."""
        ready = "() => Boolean(window.isReady)"
        wait_until(lambda: self.page.evaluate(ready) or self.lost, "window.isReady")
        return bool(self.page.evaluate(ready))

    def until(self, script: str) -> None:
        """Wait until the expression *script* is true."""
        wait_until(lambda: self.page.evaluate(f"() => Boolean({script})"), script)

    def calls(self, command: str) -> list[Any]:
        """The arguments of each call of *command* so far."""
        script = "name => world.calls.filter(one => one[0] === name).map(one => one[1])"
        found: list[Any] = self.page.evaluate(script, command)
        return found

    def is_too_wide(self) -> bool:
        return is_too_wide(self.page)


@contextmanager
def visiting(browser: Chromium, address: str, **options: Any) -> Iterator[Visit]:
    """A visitor with a page of its own; the page keeps nothing between visits."""
    options = {"viewport": DESK, "locale": "en-GB", "timezone_id": "UTC", **options}
    visit = Visit(browser.context(**options), address)
    try:
        yield visit
        assert visit.complaints == []
        assert all(url.startswith((address, "data:")) for url in visit.asked)
    finally:
        visit.page.close()
