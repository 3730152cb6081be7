"""`fonshare setup`: the first-use questions on a terminal, and the file they make.

On the router the answers go into its UCI file, once; elsewhere into a new file, and an
existing one is never overwritten. The owner's password is neither echoed nor written;
the settings hold its hash.
"""

import errno
import getpass
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fonshare_agent
from fonshare_agent.config import load_settings
from fonshare_agent.errors import AlreadyExists, SettingsError, StorageError, UsageError
from fonshare_agent.model import is_label
from fonshare_agent.passwords import SALT_BYTES, hash_password
from fonshare_agent.words import is_yes, say

DEFAULT_FILE = "fonshare.yaml"
OWNER = "owner"  # the login that may write
INVITE = "invite"  # for a broker: none of one's own
DEFAULT_BROKER = "mqtt://127.0.0.1:1883"
HEAD = "# FonShare's settings; docs/settings.md explains every option.\n"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a node off the router is begun with."""

    name: str
    disk: str
    password_hash: str = field(repr=False)
    folders: list[str]  # that guests see
    broker: str  # empty: none of one's own
    # What a terminal does not ask, and leaves as the table of settings has it.
    ftp: Mapping[str, object] = field(default_factory=dict)
    node: Mapping[str, object] = field(default_factory=dict)
    web: Mapping[str, object] = field(default_factory=dict)

    def values(self) -> dict[str, object]:
        """Return the settings that they make."""
        owner = {"name": OWNER, "password": self.password_hash, "access": "write"}
        guest = {"name": "guest", "password": "", "access": "read"}
        values: dict[str, object] = {
            "node": {"name": self.name, **self.node},
            "disk": self.disk,
            "state": "state",
            "ftp": {
                **self.ftp,
                "guest_folders": self.folders,
                "users": [owner, guest],
            },
            "mqtt": {"broker": self.broker} if self.broker else {},
        }
        return values | ({"web": dict(self.web)} if self.web else {})


def set_up(config: str | None) -> Path:
    """Ask, write the settings file and return its path."""
    file = Path(config or DEFAULT_FILE).absolute()
    if file.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError("the settings file must end in .yaml", thing=str(file))
    if config is None and (router := Path(fonshare_agent.ROUTER_FILE)).exists():
        from fonshare_agent.router_setup import set_up_router

        set_up_router(router)
        return router
    _refuse_existing(file)
    demand_terminal()
    write_new(file, _ask_all(file.parent))
    _tell_how_to_start(None if config is None else str(file))
    return file


def demand_terminal() -> None:
    """Raise UsageError where nobody can answer."""
    if not sys.stdin.isatty():
        raise UsageError(
            "setup asks its questions on a terminal",
            thing="stdin",
            next="Run it in a terminal, or write the file after docs/settings.md.",
        )


def _refuse_existing(file: Path) -> None:
    if os.path.lexists(file):
        raise AlreadyExists(
            "the settings file exists already",
            thing=str(file),
            next="Edit it, or name another with -c.",
        )


def _ask_all(folder: Path) -> Answers:
    name = ask_name()
    disk = _ask_disk(folder)
    tell_of_brokers()
    broker = ask("MQTT broker for your own groups", DEFAULT_BROKER)
    if broker == INVITE:
        broker = ""
    password_hash = hashed(ask_password())
    return Answers(name, disk, password_hash, ask_folders(), broker)


def _ask_disk(folder: Path) -> str:
    """Ask for the disk's folder, relative to *folder*, until there is such a one."""
    while True:
        disk = ask("Folder of the disk to share from", "disk")
        place = folder / disk
        if place.is_dir():
            return disk
        if os.path.lexists(place):
            complain("That is no folder.")
        elif ask_yes("There is no such folder: make it (yes or no)"):
            try:
                place.mkdir(parents=True)
            except OSError as error:
                complain("It cannot be made: {}", error.strerror)
            else:
                return disk


def tell_of_brokers() -> None:
    """Say what a broker is for, and who needs none."""
    lines = (
        say(
            "A broker passes on what members tell each other, not files; who is invited"
            " needs none."
        ),
        f"  {INVITE}  " + say("none: a friend invites me"),
    )
    print("\n".join(lines), file=sys.stderr)


def _tell_how_to_start(config: str | None) -> None:
    call = "fonshare" if config is None else f"fonshare -c {shlex.quote(config)}"
    text = say(
        "Next: `{} agent` runs the node; in another terminal `{} doctor` says what is"
        " missing.",
        call,
        call,
    )
    print(text, file=sys.stderr)


def hashed(password: str) -> str:
    """Return what the settings hold of a password."""
    return hash_password(password, secrets.token_bytes(SALT_BYTES))


def find_taken(port: int) -> int | None:
    """Return which of the two doors' ports another program has, if any."""
    pair = range(port, min(port + 2, 65536))
    return next((one for one in pair if is_taken(one)), None)


def is_taken(port: int) -> bool:
    """Tell whether another program listens on *port*."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def ask_folders() -> list[str]:
    """Ask for the folders that guests see."""
    folders = ask("Folders that guests at home may read, by comma", "").split(",")
    return [folder.strip() for folder in folders if folder.strip()]


def ask(question: str, default: str) -> str:
    """Ask, with *default* for an empty answer. UsageError at the end of the input."""
    shown = f" [{default}]" if default else ""
    asked = say("{}:", say(question) + shown)
    print(f"{asked} ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise UsageError(
            "the answers ended", thing=question, next="Nothing was written."
        )
    return line.strip() or default


def ask_yes(question: str) -> bool:
    """Ask for yes or no; yes for an empty answer."""
    answer = ask(question, say("yes"))
    return is_yes(answer) or answer.lower().startswith("y")


def complain(text: str, *values: object) -> None:
    """Say what is wrong with an answer, below the question."""
    print(f"  {say(text, *values)}", file=sys.stderr)


def default_name() -> str:
    """Return what a node here is called unless its owner says otherwise."""
    return socket.gethostname().split(".")[0]


def ask_name() -> str:
    """Ask for the node's name until it is one."""
    while True:
        name = ask("Name of this node", default_name())
        if is_label(name):
            return name
        complain("A name is one line of up to 64 bytes, without `/`.")


def ask_password() -> str:
    """Ask for the owner's password, twice, unseen."""
    while True:
        password = getpass.getpass(f"{say('Password of the FTP login `owner`:')} ")
        if not password:
            complain("The owner's login needs a password.")
        elif password == getpass.getpass(f"{say('Again:')} "):
            return password
        else:
            complain("The two differ.")


def write_new(file: Path, answers: Answers) -> None:
    """Write the file whole or not at all, after the settings' own check of it."""
    import yaml

    text = HEAD + yaml.safe_dump(answers.values(), allow_unicode=True, sort_keys=False)
    fresh = file.with_name(f".{file.name}.{os.getpid()}.yaml")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(descriptor)
        try:
            load_settings(fresh)
            os.link(fresh, file)  # unlike rename, it never replaces
        finally:
            fresh.unlink()
    except SettingsError as error:
        raise SettingsError(
            str(error).replace(str(fresh), str(file)),
            thing=str(file),
            next="Nothing was written; run `fonshare setup` again.",
        ) from None
    except FileExistsError:
        _refuse_existing(file)
        raise
    except OSError as error:
        raise StorageError(
            f"the settings file cannot be written: {error.strerror}",
            thing=str(file),
            next="Choose a place that you may write to.",
        ) from None
