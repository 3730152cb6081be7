"""A stand-in for LuCI's server: its pages, FonShare's views, and ubus over loopback.

What LuCI offers in the browser is tests/luci/stand_in.js. Here are uhttpd, rpcd and
the plugin: sessions, the rights of acl.d, `luci.fonshare` over a control socket, and
the UCI file. The real plugin is tested by test_luci_plugin.py.
"""

import base64
import json
import socket
import time
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import words
from fonshare_agent.config_uci import parse_uci, quote_uci
from fonshare_agent.control.commands import BY_NAME
from fonshare_agent.control.rows import Command
from http_servers import served_by

ROOT = Path(__file__).parent.parent
APP = ROOT / "package" / "luci-app-fonshare"
RESOURCES = "/luci-static/resources/"
PAGES = "/cgi-bin/luci/"
HERE = ROOT / "tests" / "luci"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SESSION = "0123456789abcdef" * 2
FORBIDDEN = 6  # ubus: rpcd's uci says so itself
TIMED_OUT = 7  # ubus: rpcd has ended the program, or has not waited for its end
DENIED = {"code": -32002, "message": "Access denied"}
ABSENT = {"code": -32000, "message": "Object not found"}
ANSWER_S = 15.0  # as the plugin
STATUS = {"admin/status/overview": "status/index"}


class LuciStandIn:
    """What a test changes: who is signed in, the language, the agent's socket."""

    def __init__(self, control: Path, settings: Path) -> None:
        self.control, self.settings = control, settings
        self.is_readonly, self.is_signed_in = False, True
        self.has_plugin = True
        self.delay_s = 0.0
        self.bytes_max = 1_000_000  # of an answer, as the plugin
        self.files = RouterFiles(control.parent)
        self.modules: Path | None = None  # in the place of the page's
        self.calls: list[tuple[str, dict[str, Any]]] = []
        rights = (APP / "root/usr/share/rpcd/acl.d/luci-app-fonshare.json").read_text()
        self._rights = json.loads(rights)["luci-app-fonshare"]
        menu = (APP / "root/usr/share/luci/menu.d/luci-app-fonshare.json").read_text()
        self._views = STATUS | {
            path: entry["action"]["path"]
            for path, entry in json.loads(menu).items()
            if entry["action"]["type"] == "view"
        }

    # --- pages -----------------------------------------------------------------------

    def find_page(self, path: str, language: str) -> tuple[str, bytes] | None:
        """Return type and content of what is at *path*."""
        if path.startswith(PAGES):
            return self._frame(path.removeprefix(PAGES), language)
        if path == "/words.js":
            text = f"window.TR = {json.dumps(self._words(language))}"
            return "text/javascript", text.encode()
        file = self._file(path)
        if file is None or not file.is_file():
            return None
        return KINDS.get(file.suffix, "text/html"), file.read_bytes()

    def _words(self, language: str) -> dict[str, str]:
        if language != "fr":
            return {}
        return words.read_po(words.FRENCH.read_text(encoding="utf-8"))

    def _file(self, path: str) -> Path | None:
        if path == "/stand_in.js":
            return HERE / "stand_in.js"
        if not path.startswith(RESOURCES):
            return None
        name = path.removeprefix(RESOURCES)
        is_of_page = name.startswith("fonshare/") and name != "fonshare/told.js"
        if self.modules is not None and is_of_page:
            return self.modules / name.removeprefix("fonshare/")
        return APP / "htdocs" / "luci-static" / "resources" / name

    def _frame(self, path: str, language: str) -> tuple[str, bytes] | None:
        if (view := self._views.get(path)) is None:
            return None
        text = (HERE / "stand_in.html").read_text()
        for mark, value in (
            ("@LANGUAGE@", language),
            ("@VIEW@", view),
            ("@READONLY@", str(self.is_readonly).lower()),
            ("@SESSION@", SESSION),
        ):
            text = text.replace(mark, value)
        return "text/html", text.encode()

    # --- ubus ------------------------------------------------------------------------

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return uhttpd's answer to a call."""
        time.sleep(self.delay_s)
        session, name, method, arguments = message["params"]
        head = {"jsonrpc": "2.0", "id": message["id"]}
        if name == "luci.fonshare" and not self.has_plugin:
            return {**head, "error": ABSENT}
        if name == "uci" and self.is_signed_in and not self._may_uci(arguments, method):
            return {**head, "result": [FORBIDDEN]}
        if session != SESSION or not self._may(name, method, arguments):
            return {**head, "error": DENIED}
        if name == "session":
            return {**head, "result": [0, {"access": True}]}
        if name == "luci.fonshare":
            return {**head, "result": [0, self._ask(method, **arguments)]}
        if name == "file":
            return {**head, "result": self.files.answer(method, **arguments)}
        if method == "get":
            return {**head, "result": [0, {"values": self.read_settings()}]}
        self._write_settings(arguments["values"])
        return {**head, "result": [0]}

    def _may(self, name: str, method: str, arguments: dict[str, Any]) -> bool:
        if not self.is_signed_in:
            return False
        if name in ("session", "uci"):  # LuCI's own rights
            return True
        if name == "file" and not any(
            (method if method in ("exec", "read") else "write")
            in one.get("file", {}).get(named(arguments), ())
            for one in self._granted()
        ):
            return False
        return any(method in one["ubus"].get(name, ()) for one in self._granted())

    def _may_uci(self, arguments: dict[str, Any], method: str) -> bool:
        right = "read" if method == "get" else "write"
        config = arguments["config"]
        return any(
            right in one.get("uci", {}).get(config, ()) for one in self._granted()
        )

    def _granted(self) -> list[dict[str, Any]]:
        halves = ("read",) if self.is_readonly else ("read", "write")
        return [self._rights[half] for half in halves]

    def _ask(self, method: str, command: str, arguments: Any) -> dict[str, Any]:
        """What the plugin does."""
        self.calls.append((command, arguments))
        row = BY_NAME.get(command)
        if row is None or method not in (row.access.value, _looking(row, arguments)):
            return _fault("usage" if row is None else "not_allowed", command)
        line = json.dumps({"command": command, "arguments": arguments}) + "\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            try:
                connection.connect(str(self.control))
                connection.sendall(line.encode())
                text = connection.makefile(encoding="ascii").readline()
            except TimeoutError:
                return _fault("unreachable", command)
            except OSError:
                return _fault("no_agent", str(self.control))
        if len(text) > self.bytes_max:
            return _fault("answer_too_large", command)
        return {"answer": text} if text else _fault("no_agent", str(self.control))

    # --- settings --------------------------------------------------------------------

    def read_settings(self) -> dict[str, Any]:
        values = {}
        for number, section in enumerate(parse_uci(self.settings.read_text())):
            name = section.name or f"cfg{number:06x}"
            about = {".type": section.type, ".name": name}
            values[name] = {
                **about,
                ".anonymous": section.name is None,
                **section.options,
            }
        return values

    def _write_settings(self, values: dict[str, Any]) -> None:
        lines = []
        for name, section in values.items():
            named = "" if section.pop(".anonymous", False) else f" {quote_uci(name)}"
            lines.append(f"config {section.pop('.type')}{named}")
            section.pop(".name")
            for option, value in section.items():
                word = "list" if isinstance(value, list) else "option"
                for one in value if isinstance(value, list) else [value]:
                    lines.append(f"\t{word} {option} {quote_uci(one)}")
        self.settings.write_text("\n".join(lines) + "\n")


def named(arguments: dict[str, Any]) -> str:
    """What the rights name: a path, or a command line."""
    command = [arguments.get("command"), *arguments.get("params", ())]
    return arguments.get("path") or " ".join(command)


class RouterFiles:
    """rpcd's `file`: /tmp/run is a folder of the test, programs are given by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: dict[str, Callable[[list[str]], tuple[int, str]]] = {}
        self.modes: dict[str, int] = {}

    def answer(self, method: str, **given: Any) -> list[Any]:
        """Return ubus' status and, where there is one, the answer."""
        if method == "exec":
            words = [self.here(word) for word in given["params"]]
            try:
                code, said = self.programs[given["command"]](words)
            except TimeoutError:
                return [TIMED_OUT]
            return [0, {"code": code, "stdout": said, "stderr": ""}]
        file = Path(self.here(given["path"]))
        if method == "write":
            return self._write(file, **given)
        if not file.exists():
            return [4]
        if method == "remove":
            file.unlink()
            return [0]
        return [0, {"data": base64.b64encode(file.read_bytes()).decode()}]

    def _write(
        self,
        file: Path,
        path: str,
        data: str,
        mode: int = 0o666,
        base64: bool = False,
        append: bool = False,
    ) -> list[Any]:
        content = b64decode(data) if base64 else data.encode()
        assert len(content) <= 65536
        with file.open("ab" if append else "wb") as opened:
            opened.write(content)
        file.chmod(mode)
        self.modes[path] = mode
        return [0]

    def here(self, word: str) -> str:
        return word.replace("/tmp/run/", f"{self.folder}/")


def _looking(row: Command, arguments: dict[str, Any]) -> str:
    """Return `read` if *arguments* make a command that changes one that only looks."""
    given = arguments.get(row.looks_with) is True if row.looks_with else not arguments
    return "read" if row.looks_with is not None and given else row.access.value


def _fault(code: str, thing: str) -> dict[str, Any]:
    return {"error": {"code": code, "thing": thing}}


@contextmanager
def serving(luci: LuciStandIn) -> Iterator[str]:
    """Serve *luci* on loopback; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            language = self.headers.get("Accept-Language", "en")[:2]
            found = luci.find_page(self.path.partition("?")[0], language)
            self._send(200 if found else 404, *(found or ("text/plain", b"")))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.dumps(luci.answer(json.loads(body)))
            self._send(200, "application/json", answer.encode())

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            if kind in KINDS.values():  # as uhttpd: a browser may keep it for long
                self.send_header("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")
                self.send_header("ETag", f'"{zlib.crc32(content):x}"')
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with served_by(Handler) as address:
        yield address
