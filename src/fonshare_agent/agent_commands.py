"""The commands that the agent does: ask it over the control socket, show its answer.

What a person adds at a terminal is here too: a folder relative to where one stands, a
code on stdin, waiting for the end with a progress bar, a look at who invites.
"""

import os
import socket
import sys
import time

import fonshare_agent
from fonshare_agent.command_line import CommandLine
from fonshare_agent.control import client
from fonshare_agent.control.rows import JSON, Command, Page
from fonshare_agent.errors import NoAgent, NotFound, UsageError
from fonshare_agent.terminal import show_rest, show_result
from fonshare_agent.words import say

ROUTER_SOCKET = "/var/run/fonshare/control.sock"
SCREEN_ROWS = 50  # as much as a person looks through at once
CODE_CHARACTERS_MAX = 8192  # of a code read from stdin; the longest have a few hundred


class Agent:
    """The agent of one settings file, as the command line sees it.

    On a router its socket is nearly always where it is by default. Looking there first
    leaves out reading and checking all settings, half of what a command cost; if nobody
    listens there, they say where to look, or what is wrong.
    """

    def __init__(self, config: str | None) -> None:
        self._config = config
        self._socket = ROUTER_SOCKET if _may_be_the_routers(config) else None

    def ask(self, command: str, arguments: dict[str, JSON]) -> JSON:
        place, connection = self._connect()
        return client.request_by(connection, place, command, arguments)

    def _connect(self) -> tuple[str, socket.socket]:
        if self._socket == ROUTER_SOCKET:
            try:
                return self._socket, client.connect(self._socket)
            except NoAgent:
                self._socket = None
        if self._socket is None:
            from fonshare_agent.config import load_settings

            settings = load_settings(self._config, needs_hashes=False)
            self._socket = str(settings.control_socket)
        return self._socket, client.connect(self._socket)


def _may_be_the_routers(config: str | None) -> bool:
    """Tell whether *config* is the router's file, and names no other folder."""
    if config not in (None, fonshare_agent.ROUTER_FILE):
        return False
    place = fonshare_agent.ROUTER_FILE
    try:
        with open(place, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
    except OSError:
        return False
    return not any("run" in line for line in lines if not line.startswith("#"))


def run_at_agent(line: CommandLine, command: Command) -> int:
    """Send the request, show the answer, return the exit status."""
    sent = {row.name for row in (*command.arguments, *command.flags) if row.is_sent}
    arguments = {name: line.arguments[name] for name in sent}
    agent = Agent(line.config)
    if command.name == "group join":
        return _join(agent, line, command, arguments)
    if command.name == "get":
        return _get(agent, line, command, arguments)
    if "password" in sent:
        arguments["password"] = _server_password(agent, line, command)
    if command.name == "fxp start":
        arguments |= _passwords_of_two(line)
    if "limit" in sent and arguments["limit"] is None and not line.wants_json:
        arguments["limit"] = SCREEN_ROWS
    answer = agent.ask(command.name, arguments)
    show_result(answer, line, command)
    if isinstance(answer, Page):
        show_rest(answer, line)
    return 0


def _server_password(agent: Agent, line: CommandLine, command: Command) -> JSON:
    """Ask for the password of the server that the command is about, if it is."""
    url = str(line.arguments.get("path") or "")
    if command.name == "share password":
        rows = agent.ask("share ls", {})
        found = [row for row in rows if isinstance(row, dict)] if rows else []  # type: ignore[union-attr]
        mirrors = {str(row["name"]): row["mirror"] for row in found if row["mirror"]}
        name = str(line.arguments["name"])
        if name not in mirrors:
            raise NotFound(
                f"share {name!r} is no mirror of a server",
                thing=name,
                next="See `fonshare share ls`.",
            )
        url = str(mirrors[name]["url"])  # type: ignore[index, call-overload]
    if "://" not in url:
        return None
    from fonshare_agent.server_passwords import ask_passwords
    from fonshare_agent.transfer.fxp_url import ServerUrl

    file = line.arguments["password_file"]
    return ask_passwords([ServerUrl.parse(url)], file, "--password-file")[0]


def _passwords_of_two(line: CommandLine) -> dict[str, JSON]:
    """Ask for the passwords of the servers that `fxp start` names."""
    from fonshare_agent.server_passwords import ask_passwords
    from fonshare_agent.transfer.fxp_url import ServerUrl

    names = ("source", "target")
    urls = [ServerUrl.parse(str(line.arguments[name])) for name in names]
    found = ask_passwords(urls, line.arguments["passwords"])
    return {f"{name}_password": one for name, one in zip(names, found, strict=True)}


def _get(
    agent: Agent, line: CommandLine, command: Command, arguments: dict[str, JSON]
) -> int:
    folder = arguments.get("to")
    if isinstance(folder, str):
        arguments["to"] = os.path.abspath(folder)
    jobs = agent.ask("get", arguments)
    if not line.arguments["wait"]:
        show_result(jobs, line, command)
        return 0
    from fonshare_agent.progress import Screen, is_done, wait_for_jobs

    screen = None if line.wants_json else Screen.on_terminal(sys.stderr)
    ended = wait_for_jobs(agent.ask, jobs, screen, time.sleep, time.monotonic)
    show_result(ended, line, command)
    return 0 if is_done(ended) else 1


def _join(
    agent: Agent, line: CommandLine, command: Command, arguments: dict[str, JSON]
) -> int:
    from fonshare_agent.joining import join

    if arguments["code"] == "-":
        arguments["code"] = _read_code()
    # Nobody can be asked off a terminal, and a program that sends a code means it.
    asks = not (arguments["yes"] or line.wants_json) and sys.stdin.isatty()
    arguments["yes"] = not asks
    answer = join(
        agent.ask,
        arguments,
        asks=asks,
        waits=line.arguments["wait"] is True,
        tells=not line.wants_json,
        sleep=time.sleep,
    )
    show_result(answer, line, command)
    return 0


def _read_code() -> str:
    if sys.stdin.isatty():
        print(f"{say('Invite code:')} ", end="", file=sys.stderr, flush=True)
    code = sys.stdin.readline(CODE_CHARACTERS_MAX).strip()
    if not code:
        raise UsageError("no code came on stdin", thing="group join")
    return code
