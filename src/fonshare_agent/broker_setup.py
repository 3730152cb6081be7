"""`fonshare broker`: Mosquitto on this router as the broker of one's groups.

Root's program. Mosquitto is the feed's own service (the package mosquitto-ssl); what
is here gives it one file of settings beside its UCI ones, a certificate that friends'
nodes know by its fingerprint, and for each group a login that may use FonShare's topics
and nothing else. One that serves something else already is left alone.

Bounds: the router has 64 MB, and whoever has a login may send what it likes.
"""

import base64
import hashlib
import os
import re
import secrets
import shutil
import ssl
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fonshare_agent.config import load_settings
from fonshare_agent.config_uci import quote_uci
from fonshare_agent.control.rows import JSON
from fonshare_agent.disk import write_durably
from fonshare_agent.errors import AlreadyExists, NotFound, UsageError
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.uci import UciWriter, run_command
from fonshare_agent.protocol.certificate import (
    certificate_pem,
    fingerprint,
    private_key_pem,
    self_signed_certificate,
)

FOLDER = Path("/etc/mosquitto/fonshare")
THEIR_FILE = Path("/etc/mosquitto/mosquitto.conf")  # read when UCI is not
SERVICE = "/etc/init.d/mosquitto"
FIREWALL = "/etc/init.d/firewall"
OUR_SERVICE = Path("/etc/init.d/fonshare")
RULE = "firewall.fonshare_broker"
USER = "mosquitto"  # of the feed's package
CONF, LOGINS, ACCESS = "fonshare.conf", "logins", "access"
CERTIFICATE, KEY = "certificate.pem", "key.pem"
STORE = ".fonshare-broker"  # on the disk; beside ours, which only the agent may enter
MISSING, IN_USE = "missing", "in_use"  # what keeps Mosquitto here from being it
PORT = 8883
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
PASSWORD_BYTES = 16
SALT_BYTES, ROUNDS = 12, 101  # Mosquitto's own; a drawn password needs no more

# The largest envelope has 128 KiB; a member's queue may hold as much as a node takes
# unhandled. A group has 64 members at most, each with one connection. Without
# set_tcp_nodelay what follows a message waits until that one is acknowledged.
SETTINGS = """\
# Made by `fonshare broker`, which writes it again: change nothing here.
listener {port}
certfile {folder}/certificate.pem
keyfile {folder}/key.pem
allow_anonymous false
password_file {folder}/logins
acl_file {folder}/access
max_connections 96
set_tcp_nodelay true
message_size_limit 147456
max_inflight_messages 20
max_queued_messages 256
max_queued_bytes 1048576
memory_limit 12582912
retain_available true
persistence {persistence}
persistence_location {store}/
autosave_interval 1800
connection_messages false
log_dest syslog
log_type error
log_type warning
user {user}
"""


@dataclass(frozen=True, slots=True)
class Login:
    """A group's login: its name, and how the broker knows its password."""

    name: str
    proof: str


def add_login(
    file: Path, name: str, address: str | None = None, port: int | None = None
) -> JSON:
    """Give the group *name* a login, setting up all that is missing; return its URL.

    *address* is where friends find this router, the settings' node.public_name if
    None. The first login's URL becomes the node's own broker, if it has none.
    """
    _demand_root()
    check_name(name)
    settings = load_settings(file, needs_hashes=False)
    host = address or settings.node.public_name
    if not host:
        raise UsageError(
            "friends need a host name or address to reach this router",
            thing="address",
            next="Give it with `--address`, or set node.public_name.",
        )
    if find_hindrance() == MISSING:
        raise NotFound(
            "Mosquitto is not installed",
            thing="mosquitto",
            next="`opkg install mosquitto-ssl`, or `apk add mosquitto-ssl`.",
        )
    logins, old_port = read_logins(), _read_port()
    if any(one.name == name for one in logins):
        raise AlreadyExists("the broker has this login", thing=name)
    _refuse_other_use()
    port = port or old_port or PORT
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    logins.append(Login(name, prove(password, os.urandom(SALT_BYTES))))
    pin = write_files(logins, port, _make_store(settings.disk))
    _let_run(port)
    url = BrokerUrl(True, host, port, name, password, pin=pin)
    if not settings.mqtt.broker:
        plain = quote_uci(replace(url, pin=None).encode())
        _set_own(
            file,
            f"set fonshare.mqtt.broker={plain}",
            f"set fonshare.mqtt.pin={pin.hex()}",
        )
    return {"name": name, "url": url.encode()}


def check_name(name: str) -> None:
    """Raise UsageError unless a login may have this name."""
    if NAME.fullmatch(name) is None:
        raise UsageError(
            "a login's name is up to 32 letters, digits, dots and dashes", thing=name
        )


def remove_login(file: Path, name: str) -> JSON:
    """Take the login away; with the last one the broker's set-up goes, too."""
    _demand_root()
    logins = read_logins()
    kept = [one for one in logins if one.name != name]
    if len(kept) == len(logins):
        raise NotFound(
            "the broker has no such login", thing=name, next="See `fonshare broker ls`."
        )
    settings = load_settings(file, needs_hashes=False)
    broker = settings.mqtt.broker
    if broker and BrokerUrl.parse(broker).user == name:
        _set_own(file, "delete fonshare.mqtt.broker", "delete fonshare.mqtt.pin")
    if kept:
        port = _read_port() or PORT
        write_files(kept, port, _make_store(settings.disk))
        _let_run(port)
    else:
        _undo(settings.disk / STORE)
    return {"name": name}


def list_logins() -> JSON:
    """Return the logins' names."""
    _demand_root()
    return [{"name": one.name} for one in read_logins()]


def read_logins() -> list[Login]:
    """Return the logins that the broker knows."""
    return [Login(*line.split(":", 1)) for line in _read(LOGINS).splitlines()]


def prove(password: str, salt: bytes) -> str:
    """Return what Mosquitto keeps of a password (PBKDF2 with SHA-512)."""
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS)
    words = (base64.b64encode(one).decode() for one in (salt, made))
    return "$".join(("", "7", str(ROUNDS), *words))


def _demand_root() -> None:
    if os.geteuid() != 0:
        raise UsageError("only root sets up the broker", thing="broker")


def _read(name: str) -> str:
    try:
        return (FOLDER / name).read_text()
    except FileNotFoundError:
        return ""


def _read_port() -> int | None:
    found = re.search(r"^listener (\d+)$", _read(CONF), re.MULTILINE)
    return int(found[1]) if found else None


def _uci(*words: str) -> str:
    return run_command(["uci", "-q", *words], "").strip()


def _asked(option: str) -> str:
    """Return an option of UCI, empty if it is not there."""
    done = subprocess.run(
        ["uci", "-q", "get", option], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def find_hindrance() -> str:
    """Return the word for what keeps Mosquitto here from being the broker, if any."""
    if shutil.which("mosquitto") is None:
        return MISSING
    return IN_USE if _serves_others() else ""


def _refuse_other_use() -> None:
    """Raise AlreadyExists if Mosquitto serves something else already."""
    if _serves_others():
        raise AlreadyExists(
            "Mosquitto on this router has settings of its own",
            thing=str(THEIR_FILE),
            next="Add a login for each group there, and give its URL to"
            " `fonshare group broker`.",
        )


def _serves_others() -> bool:
    if _asked("mosquitto.mosquitto.include_dir") == str(FOLDER):
        return False
    lines = THEIR_FILE.read_text().splitlines() if THEIR_FILE.exists() else []
    return _asked("mosquitto.owrt.use_uci") == "1" or any(
        line.strip() and not line.lstrip().startswith("#") for line in lines
    )


def _make_store(disk: Path) -> Path | None:
    """Return a folder of the disk that the broker may write to, if there can be one.

    Without it a restart of the broker costs what it holds back for those who are away;
    members say it again when they connect.
    """
    store = disk / STORE
    if not os.path.ismount(disk):  # never into the flash below it
        return None
    if not str(store).isprintable():  # a line of Mosquitto's settings could not hold it
        return None
    try:
        with suppress(FileExistsError):
            store.mkdir(mode=0o700)
        _give(store, os.O_DIRECTORY)
    except OSError:  # FAT, or read-only, or somebody's link
        return None
    return store


def write_files(logins: list[Login], port: int, store: Path | None) -> bytes:
    """Write all files of the set-up; return the fingerprint of the certificate."""
    if not (FOLDER / KEY).exists():
        seed = os.urandom(32)
        certificate = self_signed_certificate(seed)
        _put(CERTIFICATE, certificate_pem(certificate))
        _put(KEY, private_key_pem(seed))
    _put(LOGINS, "".join(f"{one.name}:{one.proof}\n" for one in logins))
    rows = (f"user {one.name}\ntopic readwrite fonshare/+\n" for one in logins)
    _put(ACCESS, "\n".join(rows))
    text = SETTINGS.format(
        port=port,
        folder=FOLDER,
        persistence="true" if store else "false",
        store=store or "/tmp",
        user=USER,
    )
    _put(CONF, text)
    return fingerprint(ssl.PEM_cert_to_DER_cert(_read(CERTIFICATE)))


def _put(name: str, text: str) -> None:
    """Put a file there, whole or not at all; it is the broker's alone."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_durably(folder, name.encode(), text.encode(), 0o600)
    finally:
        os.close(folder)
    _give(FOLDER, os.O_DIRECTORY)
    _give(FOLDER / name)


def _give(path: Path, flags: int = 0) -> None:
    """Make it the broker's; never what a link there leads to, for root does this."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags)
    try:
        shutil.chown(opened, USER, USER)
    finally:
        os.close(opened)


def _let_run(port: int) -> None:
    """Have the feed's service read our file, and let the internet in at *port*."""
    for option, value in (
        ("mosquitto.owrt", "owrt"),
        ("mosquitto.owrt.use_uci", "1"),
        ("mosquitto.mosquitto", "mosquitto"),
        ("mosquitto.mosquitto.include_dir", str(FOLDER)),
        (RULE, "rule"),
        (f"{RULE}.name", "FonShare broker"),
        (f"{RULE}.src", "wan"),
        (f"{RULE}.proto", "tcp"),
        (f"{RULE}.dest_port", str(port)),
        (f"{RULE}.target", "ACCEPT"),
    ):
        _uci("set", f"{option}={value}")
    for package in ("mosquitto", "firewall"):
        _uci("commit", package)
    _call(SERVICE, "enable")
    _call(SERVICE, "restart")
    _call(FIREWALL, "reload")


def _undo(store: Path) -> None:
    for option in ("mosquitto.mosquitto.include_dir", RULE):
        _uci("delete", option)
    _uci("set", "mosquitto.owrt.use_uci=0")
    for package in ("mosquitto", "firewall"):
        _uci("commit", package)
    _call(SERVICE, "stop")
    _call(SERVICE, "disable")
    _call(FIREWALL, "reload")
    for folder in (FOLDER, store):
        shutil.rmtree(folder, ignore_errors=True)


def _call(program: str, word: str) -> None:
    """Run a service's script."""
    if not os.access(program, os.X_OK):
        raise NotFound(
            "the router has no such service",
            thing=program,
            next="Install the package that it belongs to again.",
        )
    run_command([program, word], "")


def _set_own(file: Path, *lines: str) -> None:
    """Change where this node creates groups."""
    UciWriter(file).apply(
        "".join(f"{one}\n" for one in ("set fonshare.mqtt=mqtt", *lines))
    )
    if OUR_SERVICE.exists():
        run_command([str(OUR_SERVICE), "reload"], "")
