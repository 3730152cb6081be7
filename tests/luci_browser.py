"""A browser before LuCI: the stand-in, or a real one where LUCI_URL names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from browser import DESK, Chromium

PATIENCE_MS = 60_000
SHARING = "admin/services/fonshare/sharing"
SETTINGS = "admin/services/fonshare/settings"
SETUP = "admin/services/fonshare/setup"
OVERVIEW = "admin/status/overview"
REAL = os.environ.get("LUCI_URL", "").rstrip("/")
# Where the router reaches this machine.
HERE = os.environ.get("LUCI_HERE", "127.0.0.1") if REAL else "127.0.0.1"
ROOT_LOGIN = ("root", os.environ.get("LUCI_PASSWORD", ""))
HOST = "L.require('view.fonshare.host').then(host => host.make())"
# What LuCI leaves uncaught itself: in 25.12 its own `uci get luci`, on every page, and
# what it has told of a form that is not saved.
OF_LUCI = (
    "RPC call to uci/get failed with error -32002",
    "contains an invalid input value",
)


class Visit:
    """A page of LuCI in a browser; what its console complains of is kept."""

    form = "fonshare"  # whose fields are meant: those of this package of settings

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.login = ROOT_LOGIN
        self.page.on("pageerror", self._on_error)
        self._address = address

    def _on_error(self, error: Any) -> None:
        if not (REAL and any(text in str(error) for text in OF_LUCI)):
            self.complaints.append(str(error))

    def open(self, path: str) -> Any:
        """Go to a page of LuCI, and sign in where that is asked; return the page."""
        self.page.goto(f"{self._address}/cgi-bin/luci/{path}")
        password = self.page.locator("input[name=luci_password]")
        if REAL and password.count():
            name = self.page.locator("input[name=luci_username]")
            name.fill(self.login[0])
            password.fill(self.login[1])
            with self.page.expect_navigation():
                password.press("Enter")
        return self.page

    def open_sharing(self) -> Any:
        """Go to the page of FonShare, and wait until it is there."""
        page = self.open(SHARING)
        page.locator("#fonshare-page h1").first.wait_for()
        return page

    def open_form(self, path: str = SETTINGS) -> Any:
        """Go to a form, and wait until its fields are there."""
        page = self.open(path)
        page.locator("[data-field]").first.wait_for(state="attached")
        return page

    def of_host(self, script: str, *values: Any) -> Any:
        """What *script*, a function of the page's host and *values*, comes to."""
        whole = f"async given => ({script})(await {HOST}, ...given)"
        return self.page.evaluate(whole, list(values))

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Let the page call a command; {answer} or {error}, in the page's language."""
        script = (
            "async (host, command, values) => {"
            " const told = await import(L.resource('fonshare/told.js'));"
            " return told.speaking(host).call(command, values)"
            ".then(answer => ({ answer }), error => ({ error })); }"
        )
        found: dict[str, Any] = self.of_host(script, command, arguments)
        return found

    # --- a form ----------------------------------------------------------------------

    def field(self, section: str, name: str) -> Any:
        return self.page.locator(f"[data-field='cbid.{self.form}.{section}.{name}']")

    def fill(self, section: str, name: str, text: str) -> None:
        self.field(section, name).locator("input").first.fill(text)

    def choose(self, section: str, name: str, value: str) -> None:
        self.field(section, name).locator("select").select_option(value)

    def fill_list(self, place: Any, *values: str) -> None:
        """Add *values* to the list within *place*."""
        for value in values:
            entry = place.locator(".add-item input")
            entry.fill(value)
            entry.press("Enter")

    def show(self, section: str, name: str) -> None:
        """Turn to the tab where a field is."""
        place = self.field(section, name)
        if not place.is_visible():
            self.show_tab(place.locator("xpath=ancestor::*[@data-tab][1]"))

    def show_tab(self, tab: Any) -> None:
        if not tab.is_visible():
            title = tab.get_attribute("data-tab")
            self.page.locator(f"li[data-tab='{title}'] a").first.click()

    def press_save(self) -> None:
        self.page.locator(".cbi-button-apply").first.click()

    def save_and_apply(self) -> None:
        """Save, and wait until LuCI has applied it and loads the page again."""
        with self.page.expect_navigation():
            self.press_save()
            self.page.get_by_text("Configuration changes applied.").wait_for()

    def read_refusal(self) -> str:
        """What LuCI says to a form that is not saved; put aside then."""
        told = self.page.locator("#modal_overlay .modal")
        told.get_by_text("Save error").wait_for()
        text: str = told.inner_text()
        told.locator("button").last.click()
        return text


@contextmanager
def visiting(
    browser: Chromium,
    address: str,
    locale: str = "en-GB",
    viewport: dict[str, int] = DESK,
) -> Iterator[Visit]:
    """A visitor with a page of its own; errors of scripts fail the test."""
    context = browser.context(viewport=viewport, locale=locale)
    visit = Visit(context, address)
    try:
        yield visit
        assert visit.complaints == []
    finally:
        visit.page.close()
        context.clear_cookies()  # the next visitor is somebody else
