"""People before the page of `fonshare web`: what they read, press and type."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from browser import ARTEFACTS, DESK, PHONE, is_too_wide
from fonshare_agent.config import load_settings
from fonshare_agent.web.page import SHELL, WORDS
from fonshare_agent.web.words import load_words
from nodes import FONSHARE, NodeProcess
from waiting import PATIENCE_S

PASSWORD = "secret"  # of settings_files.write_settings
FRENCH = re.compile(r"^\t'((?:[^'\\]|\\.)*)':\s+'((?:[^'\\]|\\.)*)',$", re.MULTILINE)


def words_of(language: str) -> dict[str, str]:
    """All that the page says in *language*, by its English."""
    if language == "en":
        return {}
    shell = dict(FRENCH.findall((SHELL / "words.js").read_text()))
    return {**load_words(WORDS, language), **shell}


class Person:
    """Somebody who owns a node and reads its page in a language of their own."""

    def __init__(self, visit: Any, language: str, story: str, name: str) -> None:
        self.visit, self.page, self._words = visit, visit.page, words_of(language)
        self._story, self._name, self._pictures = story, name, 0

    def say(self, text: str, *values: str) -> str:
        """Return what the page says for the English *text*."""
        said = self._words.get(text, text)
        for value in values:
            said = re.sub("%[sd]", lambda _, value=value: value, said, count=1)
        return said

    def button(self, text: str, *values: str, within: Any = None) -> Any:
        """Return the button, or the link that looks like one."""
        place = within or self.page
        name = self.say(text, *values)
        found = place.get_by_role("button", name=name, exact=True)
        return found.or_(place.get_by_role("link", name=name, exact=True)).first

    def press(self, text: str, *values: str, within: Any = None) -> None:
        self.button(text, *values, within=within).click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(self.say(label), exact=True).last.fill(text)

    def read(self, text: str, *values: str) -> None:
        """Wait until the page says it."""
        self.page.get_by_text(self.say(text, *values), exact=True).first.wait_for()

    def go(self, entry: str) -> None:
        """Press an entry of the menu."""
        menu = self.page.locator(".fs-menu")
        menu.get_by_role("link", name=re.compile("^" + self.say(entry))).click()
        self.read(entry)

    def arrive(self, address: str) -> None:
        """Go to the page and sign in, as far as its first words."""
        self.page.goto(address)
        self.picture("sign-in")
        self.sign_in()

    def sign_in(self) -> None:
        self.page.get_by_label(self.say("Password"), exact=True).fill(PASSWORD)
        self.press("Sign in")

    def picture(self, what: str) -> None:
        """Keep what the page shows; nothing hangs over its edge, however wide it is."""
        own = self.page.viewport_size
        for size in (DESK if own == PHONE else PHONE, own):
            self.page.set_viewport_size(size)
            wide = f"{self._name}: {what} is too wide at {size['width']}"
            assert not is_too_wide(self.page), wide
        self._pictures += 1
        folder = ARTEFACTS / self._story
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._name}-{self._pictures:02}-{what}.png"
        # Written here: Playwright would leave a thread that writes files.
        (folder / name).write_bytes(self.page.screenshot())


@contextmanager
def serving_page(node: NodeProcess) -> Iterator[str]:
    """Run `fonshare web` for *node*; give its address."""
    port = load_settings(node.settings, needs_hashes=False).web.port
    log = node.folder / "web.log"
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [*FONSHARE, "-c", str(node.settings), "web"],
            stdout=errors,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert child.stderr is not None
    try:
        line = child.stderr.readline()
        assert "the page is at" in line, line
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(PATIENCE_S)
        child.stderr.close()
