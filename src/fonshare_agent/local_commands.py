"""The commands that need no running agent, done in this process."""

import getpass
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import fonshare_agent
from fonshare_agent.command_line import CommandLine
from fonshare_agent.control.arguments import check_arguments
from fonshare_agent.control.client import is_answered
from fonshare_agent.control.rows import JSON, Command
from fonshare_agent.errors import AgentRunning, AlreadyExists, StorageError, UsageError
from fonshare_agent.terminal import show_result
from fonshare_agent.words import say

PASSPHRASE_CHARACTERS_MAX = 1024
ANSWERS_CHARACTERS_MAX = 65536
BACKUP_BYTES_MAX = 64 << 20  # 64 MiB: a thousand times what keys and rosters take


def run_here(line: CommandLine, command: Command) -> int:
    """Do *command* in this process; return the exit status."""
    return PROGRAMS[command.name](line, command)


def _agent(line: CommandLine, _command: Command) -> int:
    from fonshare_agent.agent import run_agent
    from fonshare_agent.config import load_settings

    return run_agent(load_settings(line.config)) or 0


def _setup(line: CommandLine, command: Command) -> int:
    answers = line.arguments["answers"]
    if line.arguments["look"] or answers is not None:
        result = _setup_by_form(None if answers is None else str(answers))
    else:
        from fonshare_agent.first_use import set_up

        result = {"settings": str(set_up(line.config))}
    show_result(result, line, command)
    return 0


def _setup_by_form(answers: str | None) -> JSON:
    """Set up the router by *answers*, a file's name; None only looks what it offers."""
    from fonshare_agent import router_form

    router = Path(fonshare_agent.ROUTER_FILE)
    if not router.exists():
        raise UsageError(
            "only a router is set up by a file of answers",
            thing="setup",
            next="Elsewhere `fonshare setup` asks on a terminal.",
        )
    if answers is None:
        return router_form.look(router)
    return router_form.answer(router, _read_answers(answers))


def _read_answers(file: str) -> str:
    """Return what a form has answered; it may be secret."""
    if file == "-":
        return sys.stdin.read(ANSWERS_CHARACTERS_MAX)
    return "\n".join(read_secrets(Path(file)))


def _broker(line: CommandLine, command: Command) -> int:
    from fonshare_agent import broker_setup

    router = Path(fonshare_agent.ROUTER_FILE)
    if not router.exists():
        raise UsageError(
            "only a router is set up as a broker by this",
            thing=command.name,
            next="Elsewhere install Mosquitto yourself; see docs/router/broker.md.",
        )
    given = _given(line, command)
    name = str(given.get("name"))
    match command.name:
        case "broker add":
            port = given["port"]
            answer = broker_setup.add_login(
                router,
                name,
                str(given["address"] or ""),
                port if isinstance(port, int) else None,
            )
        case "broker rm":
            answer = broker_setup.remove_login(router, name)
        case _:
            answer = broker_setup.list_logins()
    show_result(answer, line, command)
    return 0


def _given(line: CommandLine, command: Command) -> dict[str, JSON]:
    """Return the arguments, those that a form gives by a file included."""
    given, file = line.arguments, line.arguments.get("answers")
    if file is not None:
        try:
            found = json.loads(_read_answers(str(file)))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UsageError("the answers are no JSON object", thing="answers")
        given = check_arguments(command, found)
    if "name" in given and given["name"] is None:
        raise UsageError("NAME is missing", thing=command.name)
    return given


def _completion(line: CommandLine, _command: Command) -> int:
    from fonshare_agent.completion import script

    print(script(str(line.arguments["shell"])), end="")
    return 0


def _backup(line: CommandLine, command: Command) -> int:
    from fonshare_agent.config import load_settings

    settings = load_settings(line.config)
    file = Path(str(line.arguments["file"]))
    if os.path.lexists(file):
        raise AlreadyExists("the backup file exists already", thing=str(file))
    passphrase = _passphrase(line, twice=True)
    from fonshare_agent.backup import backup

    sealed = backup(settings, passphrase)
    _write_new(file, sealed)
    show_result({"file": str(file), "bytes": len(sealed)}, line, command)
    return 0


def _restore(line: CommandLine, command: Command) -> int:
    from fonshare_agent.config import load_settings

    settings = load_settings(line.config)
    if is_answered(settings.control_socket):
        raise AgentRunning(
            "an agent is running with these settings",
            thing=str(settings.control_socket),
            next="Stop it, restore, and start it again.",
        )
    file = Path(str(line.arguments["file"]))
    sealed = _read_file(file)
    passphrase = _passphrase(line, twice=False)
    from fonshare_agent.backup import restore

    done = restore(settings, sealed, passphrase)
    answer: JSON = {
        "file": str(file),
        "node": done.node,
        "groups": done.groups,
        "settings": done.settings,
    }
    show_result(answer, line, command)
    return 0


def _web(line: CommandLine, _command: Command) -> int:
    try:
        from fonshare_agent.web.command import run_web
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("fonshare_agent.web"):
            raise
        raise UsageError(
            "the router's package has no web server of its own",
            thing="web",
            next="On a router LuCI shows the page, under Services.",
        ) from None
    run_web(line.config)
    return 0


def _fxp(line: CommandLine, command: Command) -> int:
    from fonshare_agent.fxp_command import run_fxp

    return run_fxp(line, command)


def _read_file(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(BACKUP_BYTES_MAX)
    except OSError as error:
        raise StorageError(
            f"the file cannot be read: {error.strerror}",
            thing=str(file),
            next="Nothing was changed.",
        ) from None


def _write_new(file: Path, content: bytes) -> None:
    """Write *content* durably to a file of mode 600 that must not exist yet."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(descriptor)
        except OSError:
            file.unlink()  # half a backup is none, and would be in the way
            raise
    except OSError as error:
        raise StorageError(
            f"the file cannot be written: {error.strerror}",
            thing=str(file),
            next="Choose a place with room that you may write to.",
        ) from None


def _passphrase(line: CommandLine, *, twice: bool) -> str:
    """Return the passphrase from a file, stdin or a prompt; never from argv."""
    given = line.arguments.get("passphrase_file")
    if given == "-":
        text = sys.stdin.readline(PASSPHRASE_CHARACTERS_MAX).rstrip("\r\n")
    elif given is not None:
        text = read_secrets(Path(str(given)))[0]
    else:
        text = _prompt(twice=twice)
    if not text:
        raise UsageError("the passphrase is empty", thing="passphrase")
    return text


def read_secrets(file: Path) -> list[str]:
    """Return the lines of a file that only its owner may read."""
    raw = _read_file(file)
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise UsageError(
            "others may read the file of secrets",
            thing=str(file),
            next=f"Change that with `chmod 600 {file}`.",
        )
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    return [line.rstrip("\r") for line in lines]


def _prompt(*, twice: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked for the passphrase here",
            thing="passphrase",
            next="Give it with `--passphrase-file FILE`, or `-` for stdin.",
        )
    text = getpass.getpass(f"{say('Passphrase:')} ")
    if twice and getpass.getpass(f"{say('Again:')} ") != text:
        raise UsageError("the two passphrases differ", thing="passphrase")
    return text


PROGRAMS: dict[str, Callable[[CommandLine, Command], int]] = {
    "agent": _agent,
    "setup": _setup,
    "broker add": _broker,
    "broker ls": _broker,
    "broker rm": _broker,
    "backup": _backup,
    "restore": _restore,
    "completion": _completion,
    "fxp": _fxp,
    "web": _web,
}
