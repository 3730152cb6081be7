"""A browser before LuCI: the stand-in, or a real one where LUCI_URL names it.

    LUCI_URL=http://192.168.1.1 LUCI_PASSWORD=… pytest -n0 tests/test_luci_views.py

A real router must have the packages, an agent that runs, and root's password.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from browser import DESK, Chromium

PATIENCE_MS = 60_000
SHARING = "admin/services/fonshare/sharing"
SETTINGS = "admin/services/fonshare/settings"
OVERVIEW = "admin/status/overview"
REAL = os.environ.get("LUCI_URL", "").rstrip("/")


class Visit:
    """A page of LuCI in a browser; what its console complains of is kept."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._address = address

    def open(self, path: str) -> Any:
        """Go to a page of LuCI, and sign in where that is asked; return the page."""
        self.page.goto(f"{self._address}/cgi-bin/luci/{path}")
        password = self.page.locator("input[name=luci_password]")
        if REAL and password.count():
            password.fill(os.environ.get("LUCI_PASSWORD", ""))
            password.press("Enter")
        return self.page

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Let the page's stand-in call a command; {answer} or {error}."""
        script = "([command, values]) => window.ask(command, values)"
        found: dict[str, Any] = self.page.evaluate(script, [command, arguments])
        return found


@contextmanager
def visiting(browser: Chromium, address: str) -> Iterator[Visit]:
    """A visitor with a page of its own; errors of scripts fail the test."""
    visit = Visit(browser.context(viewport=DESK), address)
    try:
        yield visit
        assert visit.complaints == []
    finally:
        visit.page.close()
