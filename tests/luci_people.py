"""People before FonShare within LuCI, who set it up there and read on as elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luci_browser import REAL, SHARING, Visit
from luci_router import RealDisk, RealRouter
from luci_stand_in import ROOT, LuciStandIn, serving
from router_box import router_box
from web_people import PASSWORD, Person

SHIPPED = (ROOT / "files/etc/config/fonshare").read_text()


@dataclass(frozen=True)
class Home:
    """A router that is not set up yet, and LuCI before it."""

    address: str
    node: Any  # a NodeProcess, or what a real router's disk is seen by
    port: int | None  # of the house door; None: as it comes


@contextmanager
def luci_home(folder: Path, more: str = "") -> Iterator[Home]:
    """A router that is not set up but for the settings *more*; the one at LUCI_URL."""
    if not REAL:
        with router_box(folder, more) as box:
            luci = LuciStandIn(box.control, box.settings)
            luci.files.programs = box.programs
            with serving(luci) as address:
                yield Home(address, box, box.ports.port)
        return
    router = RealRouter()
    router.allow_changes()
    router.set_settings(SHIPPED + more)
    try:
        yield Home(REAL, RealDisk(PASSWORD), None)
    finally:
        router.close()


class Wizard:
    """The form of a router's first use, as a person fills it."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        visit.form = "json"

    def wait(self) -> None:
        self.visit.field("node", "name").wait_for()

    def fill(self, values: dict[tuple[str, str], str]) -> None:
        for (section, name), text in values.items():
            self.visit.fill(section, name, text)

    def offered(self, section: str, name: str) -> list[str]:
        """What may be chosen there."""
        found = self.visit.field(section, name).locator("option")
        values: list[str] = found.evaluate_all("all => all.map(one => one.value)")
        return values

    def press(self) -> None:
        self.visit.page.locator("#fonshare-setup .cbi-button-positive").click()


class LuciPerson(Person):
    """Somebody who owns a router and reads its page within LuCI."""

    visit: Visit

    def set_up(self, name: str, broker: str, port: int | None) -> None:
        """Go from LuCI's menu through the form to the page."""
        self.visit.open(SHARING)
        self.press("Set it up")
        wizard = Wizard(self.visit)
        wizard.wait()
        wizard.fill({("node", "name"): name, ("owner", "password"): PASSWORD})
        self.visit.choose("mqtt", "kind", "own")
        wizard.fill({("mqtt", "url"): broker})
        if port is not None:
            wizard.fill({("doors", "port"): str(port)})
        self.visit.choose("doors", "port_mapping", "off")
        self.picture("wizard")
        wizard.press()
        self.read("FonShare is set up.")
        self.page.locator("#fonshare-doctor .alert-message").first.wait_for()
        self.picture("doctor")
        self.press("Go on to FonShare")
