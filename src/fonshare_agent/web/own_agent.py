"""An agent that `fonshare web` has started itself: at the first use, or on a click.

Only where a person started `fonshare web`, on a terminal: a service's agent is for who
keeps services (docs/decisions/0135). It ends with this program. Any thread.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from fonshare_agent.config import load_settings
from fonshare_agent.control.client import AgentError, is_answered, request
from fonshare_agent.errors import FonshareError, NoAgent, Starting

UP_S: Final = 30.0  # from its start until its node is up, on a machine that is busy
LOOK_S: Final = 0.05


class OwnAgent:
    """The agent of the settings at *config*, started when it is asked for."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it, without waiting for what becomes of it."""
        with self._lock:
            self._launch(subprocess.DEVNULL)

    def start(self) -> None:
        """Start it unless one answers; return when it is up. Raises why it is not."""
        with self._lock:
            socket = load_settings(self._config, needs_hashes=False).control_socket
            if is_answered(socket):
                return
            with tempfile.TemporaryFile() as said:
                process = self._launch(said)
                until = time.monotonic() + UP_S
                while not _is_up(socket):
                    if process.poll() is not None:
                        raise _reason(said, socket)
                    if time.monotonic() > until:
                        raise NoAgent("the agent is still starting", thing=str(socket))
                    time.sleep(LOOK_S)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Its agent, if one lives, ends before the block and begins again after it."""
        with self._lock:  # nobody starts one meanwhile
            lives = self._living() is not None
            self.stop()
            try:
                yield
            finally:
                if lives:
                    self._launch(subprocess.DEVNULL)

    def stop(self) -> None:
        """End it in order, if there is one."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _living(self) -> "subprocess.Popen[bytes] | None":
        process = self._process
        return process if process is not None and process.poll() is None else None

    def _launch(self, output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
        """Start it once: one that lives already is only waited for."""
        living = self._living()
        if living is None:
            words = ["-m", "fonshare_agent", "--json", "-c", str(self._config), "agent"]
            living = subprocess.Popen([sys.executable, *words], stdout=output)
            self._process = living
        return living


def _is_up(socket: Path) -> bool:
    """Tell whether the agent there is past what may end it at once."""
    try:
        status: Any = request(socket, "status", {})
    except FonshareError:
        return False
    problem = status["disk"]["problem"]
    return problem is None or problem["code"] != Starting.code


def _reason(said: IO[bytes], socket: Path) -> Exception:
    """Return what the agent that has ended said on its output."""
    said.seek(0)
    try:
        return AgentError(json.loads(said.read())["error"])
    except (ValueError, KeyError, TypeError):
        return NoAgent("the agent has ended at once", thing=str(socket))
