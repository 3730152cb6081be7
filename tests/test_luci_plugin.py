"""The rpcd plugin: held to the command table, and run by a real ucode if there is one.

`ucode` is no Debian package: those tests are skipped without it. What was seen with
OpenWrt's own rpcd and ubus stands in tests/luci/observed.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import luci_files
from control_agent import RunningAgent
from fonshare_agent.control.commands import AGENT_COMMANDS
from fonshare_agent.control.rows import Access

ROOT = Path(__file__).parent.parent
APP = ROOT / "package" / "luci-app-fonshare"
HARNESS = ROOT / "tests" / "luci" / "plugin_harness.uc"
MODULES = ("socket", "uloop", "uci", "ubus")


def load_json(path: str) -> dict[str, Any]:
    return json.loads((APP / "root/usr/share" / path).read_text())


# --- what it grants ------------------------------------------------------------------


@pytest.mark.parametrize("file", luci_files.rendered(), ids=lambda file: file.name)
def test_what_is_made_of_the_tables_is_current(file):
    told = "run tools/luci_files.py"
    assert file.read_text() == luci_files.rendered()[file], told


def test_the_plugin_knows_every_command_of_the_agent_with_its_access():
    text = luci_files.PLUGIN.read_text()
    known = re.findall(r"^\t'([a-z ]+)': '(read|write)',$", text, re.M)
    assert known == [(row.name, row.access.value) for row in AGENT_COMMANDS]
    assert {Access.READ, Access.WRITE} == {row.access for row in AGENT_COMMANDS}
    looking = re.search(r"^const LOOKS = \{\n((?:\t.*\n)*)\};$", text, re.M)
    assert looking is not None
    known = re.findall(r"^\t'([a-z ]+)': '([a-z]*)',$", looking[1], re.M)
    assert known == [("search new", "keep"), ("limits", "")]


def test_reading_and_writing_are_granted_apart_and_nothing_by_a_pattern():
    rights = load_json("rpcd/acl.d/luci-app-fonshare.json")["luci-app-fonshare"]
    assert rights["read"]["ubus"]["luci.fonshare"] == ["read"]
    assert rights["write"]["ubus"]["luci.fonshare"] == ["write"]
    # Not the settings file: it holds the logins' passwords and the broker's.
    assert rights["read"].keys() == {"ubus"}
    assert rights["write"]["uci"] == {"fonshare": ["read", "write"]}
    assert "exec" not in json.dumps(rights["read"])
    assert "*" not in json.dumps(rights)


def test_the_menu_shows_views_that_are_there_to_those_who_may():
    menu = load_json("luci/menu.d/luci-app-fonshare.json")
    views = APP / "htdocs/luci-static/resources/view"
    shown = [entry["action"] for entry in menu.values()]
    paths = [action["path"] for action in shown if action["type"] == "view"]
    assert paths
    for path in paths:
        assert (views / f"{path}.js").is_file()
    assert menu["admin/services/fonshare"]["depends"]["acl"] == ["luci-app-fonshare"]


# --- run by ucode --------------------------------------------------------------------


@pytest.fixture(scope="module")
def ucode() -> str:
    path = shutil.which("ucode")
    if path is None:
        pytest.skip("there is no `ucode` outside OpenWrt")
    imports = "".join(f"import * as m_{name} from '{name}'; " for name in MODULES)
    if subprocess.run([path, "-e", imports], capture_output=True).returncode:
        pytest.skip(f"this ucode lacks one of the modules {', '.join(MODULES)}")
    return path


@pytest.fixture
def ask(ucode, tmp_path) -> Callable[..., list[Any]]:
    """A function that asks the plugin for all of its arguments at once."""
    text = luci_files.PLUGIN.read_text()
    for old, new in (
        ("'/var/run/fonshare'", f"'{tmp_path / 'state'}'"),
        ("uci.get('fonshare', 'disk', 'run')", "null"),
    ):
        assert old in text
        text = text.replace(old, new)
    plugin = tmp_path / "fonshare.uc"

    def ask(*calls: tuple[str, dict[str, Any]], answer_ms: int = 60_000) -> list[Any]:
        assert "ANSWER_MS = 15000" in text
        plugin.write_text(text.replace("ANSWER_MS = 15000", f"ANSWER_MS = {answer_ms}"))
        run = subprocess.run(
            [ucode, HARNESS, plugin, json.dumps(calls)],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        assert run.stderr == ""
        replies = dict(json.loads(line) for line in run.stdout.splitlines())
        return [replies[number] for number in range(len(calls))]

    return ask


@pytest.fixture
def agent(tmp_path) -> Iterator[RunningAgent]:
    running = RunningAgent(tmp_path)
    running.start()
    yield running
    running.stop()


@contextmanager
def stranger(folder: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Something that is no agent, on the agent's socket: *serve* gets each client."""
    path = folder / "state" / "control.sock"
    path.parent.mkdir(exist_ok=True)
    stopping = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)

        def run() -> None:
            clients = []
            while not stopping.is_set():
                client, _ = listener.accept()
                clients.append(client)
                if not stopping.is_set():
                    serve(client)
            for client in clients:
                client.close()

        thread = threading.Thread(target=run)
        thread.start()
        yield
        stopping.set()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
        thread.join()


def request(name: str, **arguments: Any) -> dict[str, Any]:
    return {"command": name, "arguments": arguments}


def code(reply: dict[str, Any]) -> str:
    return reply["error"]["code"]


def test_an_answer_comes_as_the_agent_wrote_it(ask, agent):
    odd = {"files": 2**40, "name": "Bréhat \udce9 \u202e<b>", "no": None, "flag": True}
    agent.answers["status"] = odd
    (reply,) = ask(("read", request("status")))
    assert json.loads(reply["answer"]) == {"result": odd}


def test_the_agents_own_error_is_an_answer(ask, agent):
    (reply,) = ask(("read", request("ls", limit="x")))
    assert code(json.loads(reply["answer"])) == "usage"


def test_a_command_goes_only_by_the_method_of_its_access(ask, agent):
    pause, status = request("jobs pause", id="1"), request("status")
    foreign = request("backup")  # of the command line alone
    replies = ask(
        *[("read", pause), ("write", status), ("write", foreign), ("read", {})]
    )
    assert [code(one) for one in replies] == ["not_allowed"] * 2 + ["usage"] * 2
    assert agent.calls == []
    ask(("write", pause))
    assert agent.calls == [("jobs pause", {"id": "1"})]


def test_a_command_that_may_change_goes_by_read_where_it_only_looks(ask, agent):
    limits, news = request("limits"), request("search new", keep=True, limit=3)
    ask(*[(method, one) for method in ("read", "write") for one in (limits, news)])
    assert [name for name, _ in agent.calls] == ["limits", "search new"] * 2
    changing = [
        request("limits", upload=0),
        request("limits", keep=True),
        request("search new"),
        *(request("search new", keep=word) for word in (False, None, 1, "true")),
        request("jobs pause", keep=True),
    ]
    replies = ask(*[("read", one) for one in changing])
    assert {code(one) for one in replies} == {"not_allowed"}


def test_what_is_asked_at_once_is_answered_each_by_itself(ask, agent):
    agent.answers["jobs"] = [{"id": "1"}]
    agent.answers["share ls"] = []
    names = ["jobs", "share ls", "jobs", "share ls"]
    replies = ask(*[("read", request(name)) for name in names])
    rows = [json.loads(reply["answer"])["result"] for reply in replies]
    assert rows == [[{"id": "1"}], [], [{"id": "1"}], []]


def test_a_request_longer_than_the_sockets_buffer_arrives_whole(ask, agent):
    entries = ["x" * 100] * 1000  # an argument of a program has 128 KiB at most
    agent.answers["get"] = []
    ask(("write", request("get", entries=entries)))
    assert agent.calls[0][1]["entries"] == entries


def test_an_answer_of_many_rows_arrives_whole(ask, agent):
    rows = [{"name": f"{number:0200}"} for number in range(2000)]
    agent.answers["ls"] = rows
    (reply,) = ask(("read", request("ls")))
    assert json.loads(reply["answer"])["result"] == rows


def test_an_answer_that_no_message_of_ubus_holds_is_refused(ask, agent):
    agent.answers["ls"] = [{"name": f"{number:0200}"} for number in range(6000)]
    (reply,) = ask(("read", request("ls")))
    assert reply["error"] == {"code": "answer_too_large", "thing": "ls"}


def test_without_an_agent_it_says_so_at_once(ask, tmp_path):
    (reply,) = ask(("read", request("status")))
    path = str(tmp_path / "state" / "control.sock")
    assert reply["error"] == {"code": "no_agent", "thing": path}


def test_an_agent_that_never_answers_is_waited_for_only_so_long(ask, tmp_path):
    with stranger(tmp_path, lambda client: None):
        calls = [("read", request("status"))] * 10
        replies = ask(*calls, answer_ms=400)
    codes = [code(reply) for reply in replies]
    assert codes == ["unreachable"] * 8 + ["agent.busy"] * 2


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\x00\n", b'{"result":', b"{}\n"],
)
def test_what_is_no_agent_is_called_none(ask, tmp_path, said):
    def serve(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(said)
        client.shutdown(socket.SHUT_RDWR)

    with stranger(tmp_path, serve):
        (reply,) = ask(("read", request("status")))
    assert code(reply) == "no_agent"
