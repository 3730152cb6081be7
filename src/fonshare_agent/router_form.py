"""A router's first use by a form: `fonshare setup --look`, then `--answers FILE`.

What may be answered, the rules for it and what is done then are those of the terminal
(router_setup.py); the answers come from a file, as JSON. What is wrong with them is
said in the language that they name: the form shows it as it is. Whoever shows the form
asks the doctor once the node is up.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fonshare_agent import broker_setup
from fonshare_agent.config import read_source
from fonshare_agent.config_rules import check_folder
from fonshare_agent.config_values import Refused
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import (
    DiskMissing,
    DiskReadOnly,
    FonshareError,
    NotFound,
    PortTaken,
    UsageError,
)
from fonshare_agent.first_use import INVITE, default_name, find_taken, hashed
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.uci import UciWriter
from fonshare_agent.model import is_label
from fonshare_agent.router_access import Survey
from fonshare_agent.router_disks import Mounted
from fonshare_agent.router_setup import (
    HERE,
    PORT,
    PORTS,
    Answers,
    is_set_up,
    look_at,
    mounted_disks,
    refuse_second,
    restart,
)
from fonshare_agent.words import translate

DOWNLOADS = "downloads"  # the settings' own default
OWN = "own"
KINDS = {  # of the answers; those without a default must be given
    "name": str,
    "disk": str,
    "password": str,
    "guest_folders": list,
    "broker": dict,
    "port": int,
    "port_mapping": bool,
    "language": str,
}
DEFAULTS: dict[str, Any] = {
    "guest_folders": [],
    "broker": {"kind": INVITE},
    "port": PORT,
    "port_mapping": True,
    "language": "en",
}
BROKERS = {  # what each kind of broker is told with, and what may be left out
    INVITE: ((), ()),
    HERE: (("group", "address"), ()),
    OWN: (("url",), ("user", "password", "ca")),
}


@dataclass(frozen=True, slots=True)
class OwnBroker:
    """Mosquitto on this router: its first group, and where friends find it."""

    group: str
    address: str


def look(file: Path) -> JSON:
    """Return what a form offers: the disks with what is in the way there, and more."""
    downloads = read_source(file).raw.get("downloads", DOWNLOADS)
    return {
        "is_set_up": is_set_up(file),
        "name": default_name(),
        "port": PORT,
        "disks": [_offer(one, str(downloads)) for one in mounted_disks()],
        "broker_hindrance": broker_setup.find_hindrance(),
    }


def answer(file: Path, answers: str) -> JSON:
    """Check the answers, store them and start the service; say what else is to do."""
    refuse_second(file)
    given = _read(answers)
    try:
        return _set_up(file, given)
    except FonshareError as error:
        if error.next == UsageError.advice:  # for who types commands
            error.next = "Nothing was written."
        _word(error, given["language"])
        raise


def _set_up(file: Path, given: dict[str, Any]) -> JSON:
    wanted, own_broker = _check(given, mounted_disks())
    settings = UciWriter(file).apply(wanted.batch())
    problem = None
    if own_broker is not None:
        problem = _add_broker(file, own_broker, given["language"])
    return {
        "settings": str(file),
        **_shown(look_at(wanted.disk, [settings.downloads])),
        "broker": problem,
        "is_started": restart(),
    }


def _word(error: FonshareError, language: str) -> None:
    """Put the words of *error* into *language*; its code and thing stay."""
    error.args = (translate(str(error), language),)
    error.next = translate(error.next, language)


def _offer(disk: Mounted, downloads: str) -> JSON:
    try:
        room = os.statvfs(disk.place)
        found = look_at(disk, [downloads])
    except OSError as error:  # pulled, or broken: the others are offered all the same
        return {
            "path": str(disk.place),
            "kind": disk.kind,
            "problem": error.strerror or str(error),
        }
    return {
        "path": str(disk.place),
        "kind": disk.kind,
        "problem": "" if disk.is_writable else "read-only",
        "total_bytes": room.f_blocks * room.f_frsize,
        "free_bytes": room.f_bavail * room.f_frsize,
        **_shown(found),
    }


def _shown(found: Survey) -> dict[str, JSON]:
    """Return what a form's table of refused folders says."""
    rows: list[JSON] = [
        {**asdict(one), "folder": str(one.folder)} for one in found.refusals
    ]
    return {"refusals": rows, "is_whole": found.is_whole}


def _add_broker(file: Path, wanted: OwnBroker, language: str) -> JSON:
    """Have Mosquitto run here; return what hindered it, without which the node runs."""
    try:
        broker_setup.add_login(file, wanted.group, wanted.address)
    except FonshareError as error:
        _word(error, language)
        return dict(error.as_dict())
    return None


# --- the answers ---------------------------------------------------------------------


def _read(text: str) -> dict[str, Any]:
    """Return the answers with their defaults, each of its kind."""
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise UsageError("the answers are no JSON object", thing="answers")
    if foreign := given.keys() - KINDS.keys():
        raise UsageError("no question has this name", thing=min(foreign))
    given = {**DEFAULTS, **given}
    for name, kind in KINDS.items():
        if type(given.get(name)) is not kind:
            raise UsageError("the answer is missing, or of a wrong kind", thing=name)
    return given


def _check(
    given: dict[str, Any], disks: list[Mounted]
) -> tuple[Answers, OwnBroker | None]:
    """Return what is answered, by the rules of the terminal; raise what is wrong."""
    if not is_label(given["name"]):
        raise UsageError(
            "a name is one line of up to 64 bytes, without `/`", thing="name"
        )
    if not given["password"]:
        raise UsageError("the owner's login needs a password", thing="password")
    disk = _find_disk(given["disk"], disks)
    kind, told = _read_broker(given["broker"])
    answers = Answers(
        name=given["name"],
        disk=disk,
        password_hash="",
        folders=list(_folders(given["guest_folders"], disk.place)),
        broker=_find_url(told) if kind == OWN else kind,
        port=_find_port(given["port"]),
        is_mapping=given["port_mapping"],
    )
    own_broker = OwnBroker(**told) if kind == HERE else None
    if own_broker is not None:
        broker_setup.check_name(own_broker.group)
    # Last, since it takes a router a while.
    return replace(answers, password_hash=hashed(given["password"])), own_broker


def _find_disk(place: str, disks: list[Mounted]) -> Mounted:
    found = next((one for one in disks if str(one.place) == place), None)
    if found is None:
        raise DiskMissing(
            "no disk is mounted there but those that hold the system",
            thing=place,
            next="Choose one of the disks that are offered.",
        )
    if not found.is_writable:
        raise DiskReadOnly("nothing can be written there", thing=place)
    return found


def _folders(given: list[Any], disk: Path) -> Iterator[str]:
    for one in given:
        if not isinstance(one, str):
            raise UsageError("a folder is text", thing="guest_folders")
        if folder := one.strip():
            try:
                check_folder(folder, disk)
            except Refused as refused:
                raise UsageError(str(refused), thing="guest_folders") from None
            yield folder


def _find_port(port: int) -> int:
    if port not in PORTS:
        raise UsageError(f"a number from {PORTS[0]} to {PORTS[-1]}", thing="port")
    if (taken := find_taken(port)) is not None:
        raise PortTaken("another program has this port already", thing=str(taken))
    return port


def _read_broker(given: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the kind of broker, and what is told of it."""
    told = {name: text for name, text in given.items() if text}
    kind = told.pop("kind", INVITE)
    if kind not in [*BROKERS]:  # a list, for what no key can be
        raise UsageError("there is no such broker", thing="broker")
    needed, more = BROKERS[kind]
    for name, text in told.items():
        if name not in (*needed, *more) or not isinstance(text, str):
            raise UsageError(
                "such a broker is not told with this", thing=f"broker.{name}"
            )
    for name in needed:
        if name not in told:
            raise UsageError("the answer is missing", thing=f"broker.{name}")
    return kind, told


def _find_url(told: dict[str, str]) -> str:
    """Return the address of a broker with its login and authority."""
    broker = BrokerUrl.parse(told["url"])
    if "user" in told:
        broker = replace(broker, user=told["user"], password=told.get("password"))
    if "ca" in told:
        if not Path(told["ca"]).is_file():
            raise NotFound(
                "there is no such file",
                thing=told["ca"],
                next="Copy the authority's certificate onto the router first.",
            )
        broker = replace(broker, ca=told["ca"])
    return broker.encode()
