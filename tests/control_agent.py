"""A control socket with a core behind it, whose handlers record and answer as told."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from fonshare_agent.control.commands import AGENT_COMMANDS
from fonshare_agent.control.door import bind
from fonshare_agent.control.server import ControlServer
from fonshare_agent.core import Core
from waiting import PATIENCE_S


class RecordingHandlers:
    """One method for each command of the table.

    `answers` maps a command to its answer: a value, an error to raise, or a callable of
    the arguments that gives either, or something to await.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        for command in AGENT_COMMANDS:
            setattr(self, command.handler, self._method(command.name))

    def _method(self, name: str) -> Callable[[dict[str, Any]], Any]:
        async def method(arguments: dict[str, Any]) -> Any:
            self.calls.append((name, arguments))
            answer: Any = self.answers.get(name)
            if callable(answer):
                answer = answer(arguments)
            if hasattr(answer, "__await__"):
                answer = await answer
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method


class RunningAgent:
    """The core and the control server of one settings file, on threads."""

    def __init__(self, folder: Path) -> None:
        self.handlers = RecordingHandlers()
        self.config = folder / "node.yaml"
        self.socket = folder / "state" / "control.sock"
        self.config.write_text(yaml.safe_dump(settings()))
        self.core = Core(time.monotonic)
        self.server = ControlServer(
            self.socket, self.core, bind(self.handlers), time.monotonic
        )
        self._thread = threading.Thread(target=self.core.run, name="core", daemon=True)

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        return self.handlers.calls

    @property
    def answers(self) -> dict[str, Any]:
        return self.handlers.answers

    def start(self) -> None:
        self.server.start()
        self.start_core()

    def start_core(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.server.stop()
        self.core.stop()
        self._thread.join(PATIENCE_S)


def settings() -> dict[str, Any]:
    return {
        "node": {"name": "alice"},
        "disk": "disk",
        "state": "state",
        "ftp": {"users": [{"name": "guest", "password": "", "access": "read"}]},
    }


@contextmanager
def running_agent(folder: Path) -> Iterator[RunningAgent]:
    agent = RunningAgent(folder)
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()
