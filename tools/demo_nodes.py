"""The demo's processes: a broker and nodes, each a child with a folder of its own.

Nothing here knows the story that demo.py tells. Nodes are driven by their command line
only, as a person or a program would.
"""

import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIRST_PORT = 21000  # below what systems hand out by themselves
PORTS_A_NODE = 30
START_S = 30.0  # a cold start on a busy machine
STOP_S = 15.0
SOCKET_PATH_MAX = 90  # of the 100 that the settings allow
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PASSWORD = "demo"
EMBEDDED_BROKER = Path(__file__).with_name("embedded_broker.py")


class DemoFailed(Exception):
    """Something did not go as shown; the text is for the person who watches."""


def wait_for(what: str, find: Callable[[], Any], timeout_s: float) -> Any:
    """Return what *find* returns once it is true; DemoFailed after *timeout_s*."""
    deadline = time.monotonic() + timeout_s
    while not (found := find()):
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what}: nothing after {timeout_s:.0f} s")
        time.sleep(0.1)
    return found


class Child:
    """A process of the demo with its log; it never outlives the demo."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours to handle
                preexec_fn=die_with_parent,
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        """Ask the process to end, wait, and insist."""
        if self._process.stdin:
            self._process.stdin.close()
        if self.has_ended:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def die_with_parent(by: int = signal.SIGTERM) -> None:
    """In a new process: get this signal when the parent ends, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)


class Ports:
    """Hands out ports that nobody uses now."""

    def __init__(self) -> None:
        self._next = FIRST_PORT

    def take(self, count: int) -> int:
        """Return the first of *count* free ports in a row."""
        while self._next + count < 32000:
            first, self._next = self._next, self._next + count
            if all(_is_free(port) for port in range(first, first + count)):
                return first
        raise DemoFailed("there are no free ports on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def start_broker(
    folder: Path, port: int, is_embedded: bool, address: str = "127.0.0.1"
) -> tuple[Child, str]:
    """Start Mosquitto where it is installed and wanted, else the embedded broker.

    The embedded one listens on loopback alone.
    """
    folder.mkdir(parents=True)
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
    mosquitto = shutil.which("mosquitto", path=path)
    if mosquitto and not is_embedded:
        settings = folder / "mosquitto.conf"
        text = f"listener {port} {address}\nallow_anonymous true\npersistence false\n"
        if os.geteuid() == 0:
            text += "user root\n"  # else it may not read its own configuration
        settings.write_text(text)
        name, command = "Mosquitto", [mosquitto, "-c", str(settings)]
    else:
        name = "the embedded broker"
        command = [sys.executable, str(EMBEDDED_BROKER), str(port)]
    child = Child("broker", command, folder / "broker.log")

    def accepts() -> bool:
        if child.has_ended:
            raise DemoFailed(f"{name} ended at once, see {child.log}")
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(f"{name} accepts connections", accepts, START_S)
    except BaseException:
        child.end()
        raise
    return child, name


class Node:
    """One agent and its command line."""

    def __init__(
        self, name: str, root: Path, ports: Ports, broker: str, limit_kib_s: int = 0
    ) -> None:
        self.name, self.folder = name, root / name
        self.disk, self.settings = self.folder / "disk", root / f"{name}.yaml"
        self.ftp_port = ports.take(PORTS_A_NODE)
        self.child: Child | None = None
        self._run: str | None = None
        self.disk.mkdir(parents=True)
        self.settings.write_text(self._settings_text(broker, limit_kib_s))

    def _settings_text(self, broker: str, limit_kib_s: int) -> str:
        port = self.ftp_port
        lines = [
            f"node: {{name: {self.name}, port_mapping: off}}",
            f"disk: {self.name}/disk",
            f"state: {self.name}/state",
            "ftp:",
            "  address: 127.0.0.1",
            f"  port: {port}",
            f"  passive_ports: {port + 2}-{port + 13}",
            f"  friends_port: {port + 1}",
            f"  friends_passive_ports: {port + 14}-{port + 29}",
            f"  users: [{{name: owner, password: {PASSWORD}, access: write}}]",
            f"mqtt: {{broker: '{broker}'}}",
        ]
        if limit_kib_s:
            lines.append(f"limits: {{download_kib_s: {limit_kib_s}}}")
        if len(os.fsencode(self.folder.absolute())) > SOCKET_PATH_MAX - 20:
            # A socket's path is short, however deep the checkout lies.
            self._run = tempfile.mkdtemp(prefix="fonshare-demo-")
            lines.append(f"run: {self._run}")
        return "\n".join([*lines, ""])

    def start(self) -> Child:
        """Start the agent."""
        command = [*_fonshare(), "-c", str(self.settings), "agent"]
        self.child = Child(self.name, command, self.folder / "agent.log")
        return self.child

    def wait_until_up(self) -> None:
        """Return once the agent answers and its broker is connected."""
        wait_for(f"{self.name}'s agent answers", self._answers, START_S)

    def _answers(self) -> bool:
        if self.child is None or self.child.has_ended:
            raise DemoFailed(f"{self.name}'s agent ended at once")
        run = subprocess.run(
            self.command("status", "--json"), capture_output=True, text=True
        )
        return run.returncode == 0 and json.loads(run.stdout)["broker"]["connected"]

    def command(self, *arguments: str) -> list[str]:
        return [*_fonshare(), "-c", str(self.settings), *arguments]

    def shown(self, *arguments: str) -> str:
        """Return a command as a person would type it here."""
        words = [*_shown_program(), "-c", shown_path(self.settings), *arguments]
        return shlex.join(words)

    def ask(self, *arguments: str) -> Any:
        """Run a command with --json and return its answer."""
        run = subprocess.run(
            self.command("--json", *arguments), capture_output=True, text=True
        )
        try:
            answer = json.loads(run.stdout)
        except ValueError:
            raise DemoFailed(
                f"{self.shown(*arguments)}\nsaid nothing that is JSON "
                f"(exit {run.returncode}): {run.stdout}{run.stderr}"
            ) from None
        if run.returncode != 0:
            error = answer.get("error", {}) if isinstance(answer, dict) else {}
            raise DemoFailed(
                f"{self.shown(*arguments)}\n"
                f"{error.get('code', 'failed')}: {error.get('message', answer)} "
                f"({error.get('thing', '')}) {error.get('next', '')}"
            )
        return answer

    def end(self) -> None:
        if self.child is not None:
            self.child.end()
        if self._run is not None:
            shutil.rmtree(self._run, ignore_errors=True)


def _fonshare() -> list[str]:
    program = Path(sys.executable).with_name("fonshare")
    if program.exists():
        return [str(program)]
    return [sys.executable, "-m", "fonshare_agent"]


def _shown_program() -> list[str]:
    program = _fonshare()
    if len(program) > 1:
        return ["python", *program[1:]]
    return [shown_path(Path(program[0]))]


def shown_path(path: Path) -> str:
    """Return *path* as it is shortest to type from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
