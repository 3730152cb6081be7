"""The router that LuCI is of: what a test changes there, beside what the browser does.

By default the stand-in's (luci_stand_in.py), with a real agent. With LUCI_URL it is a
real one: its agent is stopped and started, its settings are written and brought back,
by ubus over HTTP as LuCI does it. That is asked for by LUCI_CHANGE=1: who has not set
it gets only those tests that look.
"""

import io
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ftplib import FTP, error_perm
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fonshare_agent.config_uci import parse_uci
from luci_browser import REAL, ROOT_LOGIN, Visit
from luci_stand_in import LuciStandIn, serving
from nodes import NodeProcess
from waiting import wait_until

MAY_CHANGE = bool(os.environ.get("LUCI_CHANGE"))
LOOK_LOGIN = os.environ.get("LUCI_LOOK_LOGIN", "")  # name:password
NOBODY = "0" * 32
HOUSE_PORT = 2121
Sections = dict[str, dict[str, Any]]


class StandInRouter:
    """The stand-in; `luci` is what else it can do."""

    def __init__(self, luci: LuciStandIn, node: NodeProcess) -> None:
        self.luci, self._node = luci, node
        self._control = luci.control

    def allow_changes(self) -> None:
        pass

    def let_look_only(self, visit: Visit) -> None:
        self.luci.is_readonly = True

    def end_session(self, visit: Visit) -> None:
        self.luci.is_signed_in = False

    def stop_agent(self) -> None:
        self.luci.control = self._control.with_name("none.sock")

    def start_agent(self) -> None:
        self.luci.control = self._control

    def settings(self) -> Sections:
        return without_marks(self.luci.read_settings())

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return of_kind(self.luci.read_settings(), kind)

    def set_settings(self, text: str) -> None:
        self.luci.settings.write_text(text)

    def close(self) -> None:
        pass


class RealRouter:
    """The router at LUCI_URL, over its ubus."""

    def __init__(self) -> None:
        self._session = NOBODY
        self._before: Sections | None = None
        name, password = ROOT_LOGIN
        login = self._call("session", "login", username=name, password=password)
        self._session = login["ubus_rpc_session"]

    def _call(self, name: str, method: str, /, **arguments: Any) -> dict[str, Any]:
        params = [self._session, name, method, arguments]
        message = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": params}
        body = json.dumps(message).encode()
        with urllib.request.urlopen(f"{REAL}/ubus/", body, timeout=60) as response:
            said = json.load(response)
        assert "result" in said, (name, method, said)
        status, *answer = said["result"]
        assert status == 0, (name, method, status)
        return answer[0] if answer else {}

    def allow_changes(self) -> None:
        if not MAY_CHANGE:
            pytest.skip("LUCI_CHANGE: this test changes the router")
        if self._before is None:
            self._before = self._sections()

    def let_look_only(self, visit: Visit) -> None:
        if not LOOK_LOGIN:
            pytest.skip("LUCI_LOOK_LOGIN: no login of the router that may only look")
        name, _, password = LOOK_LOGIN.partition(":")
        visit.login = (name, password)

    def end_session(self, visit: Visit) -> None:
        visit.page.request.get(f"{REAL}/cgi-bin/luci/admin/logout")

    def stop_agent(self) -> None:
        self._call("rc", "init", name="fonshare", action="stop")
        wait_until(lambda: not self._is_up(), "the agent has stopped")

    def start_agent(self) -> None:
        self._call("rc", "init", name="fonshare", action="start")
        wait_until(self._is_up, "the agent is up")

    def _is_up(self) -> bool:
        said = self._call("luci.fonshare", "read", command="status", arguments={})
        return '"result"' in said.get("answer", "")

    def settings(self) -> Sections:
        return without_marks(self._sections())

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return of_kind(self._sections(), kind)

    def _sections(self) -> Sections:
        values: Sections = self._call("uci", "get", config="fonshare")["values"]
        return values

    def set_settings(self, text: str) -> None:
        """Replace all settings by those of a file, but keep where the disk is."""
        kept = self._sections()["disk"]
        self._remove_all()
        for section in parse_uci(text):
            if section.name == "disk":
                continue
            self._add(section.type, section.name, dict(section.options))
        self._add("disk", "disk", kept)
        self._commit()

    def _remove_all(self) -> None:
        for name in self._sections():
            self._call("uci", "delete", config="fonshare", section=name)

    def _add(self, kind: str, name: str | None, options: dict[str, Any]) -> None:
        named = {"name": name} if name else {}
        values = bare(options)
        self._call("uci", "add", config="fonshare", type=kind, values=values, **named)

    def _commit(self) -> None:
        self._call("uci", "apply", rollback=False)
        self._call("rc", "init", name="fonshare", action="restart")

    def close(self) -> None:
        """Bring back what was there before."""
        if self._before is not None:
            if self._sections() != self._before:
                self._remove_all()
                for name, one in self._before.items():
                    is_named = not one[".anonymous"]
                    self._add(one[".type"], name if is_named else None, one)
                self._commit()
            self.start_agent()


class RealDisk:
    """The disk of the router at LUCI_URL, as its owner sees it by FTP."""

    def __init__(self, password: str) -> None:
        self._password = password

    @contextmanager
    def _signed_in(self) -> Iterator[FTP]:
        with FTP() as ftp:
            ftp.connect(str(urlsplit(REAL).hostname), HOUSE_PORT, timeout=60)
            ftp.login("owner", self._password)
            yield ftp

    def put(self, folder: str, name: str, content: bytes) -> None:
        """Lay a file into a folder of the disk."""
        with self._signed_in() as ftp:
            with suppress(error_perm):  # it is there
                ftp.mkd(folder)
            ftp.storbinary(f"STOR {folder}/{name}", io.BytesIO(content))

    def fetched(self) -> dict[bytes, bytes]:
        """The files below downloads/, by path, with their content."""
        with self._signed_in() as ftp:
            return dict(_walk(ftp, "downloads"))


def _walk(ftp: FTP, folder: str) -> Iterator[tuple[bytes, bytes]]:
    for name, facts in list(ftp.mlsd(folder)):
        path = f"{folder}/{name}"
        if facts["type"] == "dir":
            yield from _walk(ftp, path)
        elif facts["type"] == "file":
            pieces: list[bytes] = []
            ftp.retrbinary(f"RETR {path}", pieces.append)
            yield path.encode(), b"".join(pieces)


Router = StandInRouter | RealRouter


def stand_in_of(router: Router) -> LuciStandIn:
    """The stand-in, for what only that can be made to do; else the test is skipped."""
    if isinstance(router, RealRouter):
        pytest.skip("LUCI_URL: this test is of the stand-in's own")
    return router.luci


@contextmanager
def reachable(router: Router) -> Iterator[str]:
    """Give the address of its LuCI."""
    if isinstance(router, RealRouter):
        yield REAL
        return
    with serving(router.luci) as here:
        yield here


def of_kind(sections: Sections, kind: str) -> list[dict[str, Any]]:
    """The options of the sections of one type."""
    return [bare(one) for one in sections.values() if one[".type"] == kind]


def bare(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if not key.startswith(".")}


def without_marks(sections: Sections) -> Sections:
    """Each section's options, those without a name under their type."""
    return {
        one[".type"] if one[".anonymous"] else name: bare(one)
        for name, one in sections.items()
    }


def shipped_settings(root: Path) -> str:
    """The settings of the package, with the node enabled."""
    text = (root / "files/etc/config/fonshare").read_text()
    assert "option enabled '0'" in text
    return text.replace("option enabled '0'", "option enabled '1'")
