"""A mirror without an agent: readings as its child does them, in this process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fonshare_agent.disk import Disk
from fonshare_agent.mirror.child import run
from fonshare_agent.mirror.line import Line, Message, Stopped


class Leave(Line):
    """Stands for an agent that always gives leave; `moved` counts the bytes.

    *on_leave* is called before each leave: it may break the line, or raise Stopped.
    """

    def __init__(
        self, on_leave: Callable[["Leave"], None] = lambda leave: None
    ) -> None:
        self.moved, self._on_leave = 0, on_leave

    def wait_leave(self, wanted: int) -> int:
        self._on_leave(self)
        return min(wanted, 64 * 1024)

    def spend(self, count: int) -> None:
        self.moved += count

    def begin(self, data: Any, address: str) -> None:
        return

    def tell(self, **message: Any) -> None:
        return

    def look(self) -> None:
        return


def at(moved: int, act: Callable[[], None]) -> Leave:
    """Do *act* once, when so many bytes have moved."""
    done: list[bool] = []

    def look(leave: Leave) -> None:
        if leave.moved >= moved and not done:
            done.append(True)
            act()

    return Leave(look)


def stop() -> None:
    """What `at` does to end a reading as the agent would."""
    raise Stopped("enough")


class Mirrored:
    """A disk with one mirror; `read` is one reading, and returns its report."""

    def __init__(
        self, folder: Path, url: str, password: str, pin: str = "", ca: str = ""
    ) -> None:
        self.disk, self.keys = folder / "disk", folder / "keys"
        self.disk.mkdir(parents=True)
        self.copy = self.disk / "mirrors" / "Old"
        self.state = folder / "state"
        self.state.mkdir()
        Disk(self.disk, self.keys / "disk-id", os.urandom).open()
        self.url, self.password, self.pin, self.ca = url, password, pin, ca

    def task(self, **wishes: Any) -> Message:
        return {
            "url": self.url,
            "pin": self.pin,
            "ca": self.ca,
            "password": self.password,
            "disk": str(self.disk),
            "disk_id": str(self.keys / "disk-id"),
            "folder": "mirrors/Old",
            "key": "0123",
            "door": ["192.0.2.1", 21],
            "known": str(self.state / "known.db"),
            "looks_only": False,
            "is_confirmed": False,
            **wishes,
        }

    def read(self, line: Line | None = None, **wishes: Any) -> Message:
        return run(line or Leave(), self.task(**wishes))

    def tree(self) -> dict[bytes, bytes]:
        """What lies in the copy, by its path as bytes."""
        top = os.fsencode(self.copy)
        found = {}
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = file.read()
        return found

    def partials(self) -> list[Path]:
        top = self.disk / ".fonshare" / "mirrors"
        return sorted(path for path in top.rglob("*") if path.is_file())
