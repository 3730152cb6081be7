"""`fonshare setup` on the router: its questions, into its UCI file; then the doctor.

Root's program, once, for a node that is not enabled yet. It looks which mounted disks
there are, refuses those that hold the system, and says what the service's user may not
do there, with the remedy; it changes no owner and no mode itself. A form asks the same
questions by router_form.py, and is held to the same rules.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fonshare_agent.config import load_settings, read_source
from fonshare_agent.config_uci import quote_uci
from fonshare_agent.control import client
from fonshare_agent.errors import (
    AlreadyExists,
    FonshareError,
    NoAgent,
    Starting,
    UsageError,
)
from fonshare_agent.first_use import (
    INVITE,
    ask,
    ask_folders,
    ask_name,
    ask_password,
    ask_yes,
    complain,
    demand_terminal,
    find_taken,
    hashed,
    tell_of_brokers,
)
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.uci import UciWriter
from fonshare_agent.mounts import MOUNTS
from fonshare_agent.router_access import Survey, survey, table
from fonshare_agent.router_disks import Mounted, find_disks
from fonshare_agent.words import say, translate

SERVICE = "/etc/init.d/fonshare"
TRUE = ("1", "on", "true", "yes", "enabled", "True")  # as UCI has it, or checked
PORT = 2121
PORTS = range(1024, 65535)  # the service is no root, and the next one is the friends'
START_S = 120.0  # a router under load takes half of it until the node is up
LOOK_S = 2.0
HERE = "here"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was asked."""

    name: str
    disk: Mounted
    password_hash: str
    folders: list[str]
    broker: str
    port: int
    is_mapping: bool

    def batch(self) -> str:
        """Return the lines that `uci batch` is to do."""
        values = {
            "node.name": self.name,
            "disk.path": str(self.disk.place),
            "node.enabled": "1",
        }
        if self.broker not in (INVITE, HERE):
            values |= _broker_options(self.broker)
        if self.port != PORT:
            values["ftp.port"] = str(self.port)
        if not self.is_mapping:
            values["node.port_mapping"] = "off"
        lines = [
            *(f"set fonshare.{one}={one}" for one in ("node", "disk", "ftp", "mqtt")),
            *(f"set fonshare.{key}={quote_uci(text)}" for key, text in values.items()),
        ]
        for folder in self.folders:
            lines.append(f"add_list fonshare.ftp.guest_folders={quote_uci(folder)}")
        lines += _login("owner", self.password_hash, "write")
        lines += _login("guest", "", "read")
        return "".join(f"{line}\n" for line in lines)


def _broker_options(url: str) -> dict[str, str]:
    """Return the options of an address as `fonshare broker add` shows it.

    What the broker's certificate is known by stands in the address there, and beside
    it in the settings.
    """
    broker = BrokerUrl.parse(url)
    values = {"mqtt.broker": replace(broker, ca=None, pin=None).encode()}
    if broker.ca:
        values["mqtt.ca"] = broker.ca
    if broker.pin:
        values["mqtt.pin"] = broker.pin.hex()
    return values


def _login(name: str, password: str, access: str) -> list[str]:
    section = "fonshare.@user[-1]"
    lines = ["add fonshare user", f"set {section}.name={name}"]
    if password:
        lines.append(f"set {section}.password={quote_uci(password)}")
    return [*lines, f"set {section}.access={access}"]


def set_up_router(file: Path) -> None:
    """Ask, store the answers, start the service and say what the doctor finds."""
    refuse_second(file)
    demand_terminal()
    answers = _ask_all(mounted_disks())
    settings = UciWriter(file).apply(answers.batch())
    for line in table(look_at(answers.disk, [settings.downloads])):
        print(line, file=sys.stderr)
    if answers.broker == HERE:
        _set_up_broker(file)
    if not restart():
        print(say("{} restart failed; logread says why.", SERVICE), file=sys.stderr)
    _show_doctor(file)


def is_set_up(file: Path) -> bool:
    """Tell whether the node of this router is enabled."""
    enabled = read_source(file).raw.get("node", {}).get("enabled", "0")
    return str(enabled) in TRUE


def refuse_second(file: Path) -> None:
    """Raise unless root may set up this router, which happens once."""
    if is_set_up(file):
        raise AlreadyExists(
            "this router is set up already",
            thing=str(file),
            next="Change it in LuCI or with `uci`.",
        )
    if os.geteuid() != 0:
        raise UsageError("only root sets up a router", thing=str(file))


def mounted_disks() -> list[Mounted]:
    """Return the disks of this router that a node may have."""
    return find_disks(MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))


def look_at(disk: Mounted, written: Iterable[str]) -> Survey:
    """Return what of *disk* the service's user may not use."""
    return survey(disk, written, _show_fstab, time.monotonic)


def restart() -> bool:
    """Have the service run with what is stored; False if its script failed.

    The script logs what is wrong; of a service that procd does not know yet it says
    `Command failed: Not found`, which would frighten whoever sets up.
    """
    void = subprocess.DEVNULL
    done = subprocess.run([SERVICE, "restart"], check=False, stdout=void, stderr=void)
    return done.returncode == 0


def _ask_all(disks: list[Mounted]) -> Answers:
    if not disks:
        raise UsageError(
            "no disk is mounted but those that hold the system",
            thing="disk",
            next="Mount one (with extroot a second partition); see `block info`.",
        )
    return Answers(
        name=ask_name(),
        disk=_ask_disk(disks),
        password_hash=hashed(ask_password()),
        folders=ask_folders(),
        broker=_ask_broker(),
        port=_ask_port(),
        is_mapping=ask_yes(
            "Ask the router upstream, if any, to let friends in (yes or no)"
        ),
    )


def _ask_disk(disks: list[Mounted]) -> Mounted:
    for number, disk in enumerate(disks, 1):
        remark = "" if disk.is_writable else say(", read-only: check it with e2fsck")
        print(f"  {number}  {disk.place} ({disk.kind}{remark})", file=sys.stderr)
    while True:
        answer = ask("Disk, by its number", "1")
        if not answer.isdecimal() or not 1 <= int(answer) <= len(disks):
            complain("One of the numbers above.")
        elif not disks[int(answer) - 1].is_writable:
            complain("Nothing can be written there.")
        else:
            return disks[int(answer) - 1]


def _ask_broker() -> str:
    tell_of_brokers()
    lines = (
        f"  {HERE}    "
        + say("Mosquitto on this router, if friends reach it from outside"),
        "  " + say("mqtts://USER:PASSWORD@HOST, one of your own"),
    )
    print("\n".join(lines), file=sys.stderr)
    return ask("Which broker", INVITE)


def _ask_port() -> int:
    while True:
        answer = ask(
            "Port of the house's FTP door; friends have the next one", str(PORT)
        )
        if not answer.isdecimal() or int(answer) not in PORTS:
            complain("A number from {} to {}.", PORTS[0], PORTS[-1])
        elif (taken := find_taken(int(answer))) is not None:
            complain("Another program has {} already.", taken)
        else:
            return int(answer)


def _show_fstab() -> str:
    done = subprocess.run(
        ["uci", "-q", "show", "fstab"], capture_output=True, text=True, check=False
    )
    return done.stdout


def _set_up_broker(file: Path) -> None:
    """Have Mosquitto run here, with the login of the first group."""
    from fonshare_agent.broker_setup import add_login

    group = ask("Name of the first group on it", "friends")
    address = ask("Host name or address by which friends reach this router", "")
    try:
        add_login(file, group, address or None)
    except FonshareError as error:  # the node runs without it, too
        complain("No broker: {}. {}", translate(str(error)), translate(error.next))
        complain("Then: `fonshare broker add NAME`.")


def _show_doctor(file: Path) -> None:
    """Wait until the node is up, and print what the doctor says."""
    from fonshare_agent.render import render

    path = load_settings(file, needs_hashes=False).control_socket
    print(say("Starting …"), file=sys.stderr)
    deadline = time.monotonic() + START_S
    while (found := _examine(path)) is None:
        if time.monotonic() >= deadline:
            not_up = say(
                "The node is not up yet. `logread -e fonshare` says why, `fonshare"
                " doctor` what to do."
            )
            print(not_up, file=sys.stderr)
            return
        time.sleep(LOOK_S)
    print(render("doctor", found), end="", file=sys.stderr)


def _examine(path: Path) -> Any:
    """Return the doctor's answer; None while the node is starting."""
    try:
        found: Any = client.request(path, "doctor", {})
    except NoAgent:
        return None
    codes = [finding["code"] for finding in found["findings"]]
    return None if Starting.code in codes else found
