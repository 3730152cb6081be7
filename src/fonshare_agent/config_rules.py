"""Rules between options: ports, folders, shares, secrets; and the Settings they make.

Pure: paths are compared by their spelling. What only the disk can tell (symlinks, what
is mounted) is checked where it is opened, component by component (disk.py).
"""

import os
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from fonshare_agent.config_check import Complaints, Row, absolute, is_within
from fonshare_agent.config_values import Refused, parse_broker, shown
from fonshare_agent.model import PRIVATE_FOLDER
from fonshare_agent.settings import (
    FtpSettings,
    LimitSettings,
    MqttSettings,
    NodeSettings,
    PortRange,
    Settings,
    ShareSettings,
    SourceKind,
    UserSettings,
    WebSettings,
)

SOCKET = "control.sock"
SOCKET_BYTES_MAX = 100  # sun_path holds 108 on Linux; clients prefix their own folder
PORT_MAX = 65535
# Where a router keeps its firmware, its settings and what lives in memory only. The
# disk is a mount point of its own, never one of these.
SYSTEM_FOLDERS = tuple(
    Path(name)
    for name in (
        "/overlay",
        "/rom",
        "/etc",
        "/bin",
        "/sbin",
        "/lib",
        "/usr",
        "/boot",
        "/dev",
        "/proc",
        "/sys",
    )
)


@dataclass(frozen=True, slots=True)
class Places:
    """The node's folders, absolute."""

    disk: Path
    state: Path
    keys: Path
    index: Path
    run: Path

    @property
    def private(self) -> tuple[Path, ...]:
        """The folders that nobody may be shown."""
        return (self.state, self.keys, self.index, self.run)


def build(
    values: Row,
    users: list[UserSettings],
    plain_users: list[str],
    complaints: Complaints,
    *,
    kind: SourceKind,
    folder: Path,
    path: Path | None,
) -> Settings | None:
    """Check the rules between options; return the Settings if nothing was wrong."""
    places = _places(values, kind, folder, complaints)
    _check_ports(values, kind, complaints)
    _check_pairs(values, kind, complaints)
    shares: list[ShareSettings] = []
    if places:
        _check_private(places, complaints)
        shares = _shares(values["shares"], places, complaints)
        _check_below(values, places, complaints)
    if complaints.lines or places is None:
        return None
    return Settings(
        node=NodeSettings(**_part(values, "node")),
        disk=places.disk,
        state=places.state,
        keys=places.keys,
        index=places.index,
        run=places.run,
        ftp=_ftp(values, users, folder),
        mqtt=_mqtt(values, folder),
        shares=tuple(shares),
        downloads=os.path.normpath(values["downloads"]),
        limits=LimitSettings(**_part(values, "limits")),
        web=WebSettings(**_part(values, "web")),
        kind=kind,
        path=path,
        plain_users=tuple(plain_users),
        warnings=tuple(_warnings(values, plain_users, kind)),
        unused=tuple(complaints.unused or ()),
    )


def _part(values: Row, section: str) -> Row:
    prefix = section + "."
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def _file(folder: Path, text: str | None) -> Path | None:
    return None if text is None else absolute(folder, text)


def _ftp(values: Row, users: list[UserSettings], folder: Path) -> FtpSettings:
    part = _part(values, "ftp")
    houses = part["house_networks"]
    part["house_networks"] = tuple(ip_network(n) for n in houses if n != "lan")
    part["house_lan"] = "lan" in houses
    part["users"] = tuple(users)
    part["friends_port"] = friends_port(values)
    part["certificate"] = _file(folder, part["certificate"])
    part["certificate_key"] = _file(folder, part["certificate_key"])
    part["guest_folders"] = tuple(map(os.path.normpath, part["guest_folders"]))
    return FtpSettings(**part)


def _mqtt(values: Row, folder: Path) -> MqttSettings:
    ca = _file(folder, values["mqtt.ca"])
    return MqttSettings(values["mqtt.broker"], ca, values["mqtt.pin"])


def friends_port(values: Row) -> int | None:
    """Return the friends' port, given or the one after ftp.port; None if unknown."""
    given: int | None = values["ftp.friends_port"]
    port: int | None = values["ftp.port"]
    return port + 1 if given is None and port is not None else given


# --- ports ---------------------------------------------------------------------------


def _check_ports(values: Row, kind: SourceKind, complaints: Complaints) -> None:
    doors = {"ftp.port": values["ftp.port"], "ftp.friends_port": friends_port(values)}
    if not complaints.is_good("ftp.friends_port"):
        doors["ftp.friends_port"] = None
    elif (doors["ftp.friends_port"] or 0) > PORT_MAX:
        complaints.add("ftp.friends_port", f"is {PORT_MAX + 1} when not given")
    if kind is SourceKind.YAML:
        doors["web.port"] = values["web.port"]  # no server of ours on the router
    seen: dict[int, str] = {}
    for name, port in doors.items():
        if port is None:
            continue
        if port in seen:
            complaints.add(name, f"is {port}, as {seen[port]} is", "a port of its own")
        seen[port] = name
    _check_ranges(values, seen, complaints)


def _check_ranges(values: Row, doors: dict[int, str], complaints: Complaints) -> None:
    names = ("ftp.passive_ports", "ftp.friends_passive_ports")
    for name in names:
        ports: PortRange | None = values[name]
        for port, door in doors.items():
            if ports and ports[0] <= port <= ports[1]:
                complaints.add(name, f"holds {port}, which is {door}", "other ports")
    house: PortRange | None = values[names[0]]
    friends: PortRange | None = values[names[1]]
    if house and friends and house[0] <= friends[1] and friends[0] <= house[1]:
        problem = f"overlaps {names[0]} ({house[0]}-{house[1]})"
        complaints.add(names[1], problem, "ports that the house door does not use")


def _check_pairs(values: Row, kind: SourceKind, complaints: Complaints) -> None:
    pair = ("ftp.certificate", "ftp.certificate_key")
    if (values[pair[0]] is None) != (values[pair[1]] is None):
        missing, given = sorted(pair, key=lambda name: values[name] is not None)
        if complaints.is_good(*pair):
            complaints.add(missing, f"is missing, and {given} needs it")
    for name in ("mqtt.ca", "mqtt.pin"):
        broker = values["mqtt.broker"]
        if values[name] is not None and broker and not broker.startswith("mqtts://"):
            complaints.add(name, "is of no use: mqtt.broker is not mqtts://")
    if kind is SourceKind.YAML and "lan" in (values["ftp.house_networks"] or ()):
        problem = "holds `lan`, which only a router knows"
        complaints.add("ftp.house_networks", problem, "networks, and `loopback`")


# --- places --------------------------------------------------------------------------


def _places(
    values: Row, kind: SourceKind, folder: Path, complaints: Complaints
) -> Places | None:
    if not complaints.is_good("disk", "state", "keys", "index", "run"):
        return None
    disk = absolute(folder, values["disk"])
    state = _file(folder, values["state"]) or disk / os.fsdecode(PRIVATE_FOLDER)
    places = Places(
        disk=disk,
        state=state,
        keys=_file(folder, values["keys"]) or state / "keys",
        index=_file(folder, values["index"]) or state,
        run=_file(folder, values["run"]) or state,
    )
    length = len(os.fsencode(places.run / SOCKET))
    if length > SOCKET_BYTES_MAX:
        problem = f"makes the path of {SOCKET} {length} bytes long"
        allowed = f"a folder where it has at most {SOCKET_BYTES_MAX}"
        complaints.add("run", problem, allowed)
    system = _find_system(disk)
    if system:
        problem = f"is in {system}, the router's flash or system"
        if system == Path("/"):
            problem = "is /, the whole system"
        complaints.add("disk", problem, "the mount point of a disk")
    return places


def _find_system(path: Path) -> Path | None:
    """Return which part of the system *path* is, or lies in; None if it is none."""
    whole = Path("/")
    if path == whole:
        return whole
    return next((one for one in SYSTEM_FOLDERS if is_within(path, one)), None)


def _check_private(places: Places, complaints: Complaints) -> None:
    hidden = places.disk / os.fsdecode(PRIVATE_FOLDER)
    allowed = f"a folder outside the disk, or {os.fsdecode(PRIVATE_FOLDER)} on it"
    for name in ("state", "keys", "index", "run"):
        path: Path = getattr(places, name)
        if is_within(places.disk, path):
            complaints.add(name, "holds the disk", allowed)
        elif is_within(path, places.disk) and not is_within(path, hidden):
            complaints.add(name, "lies where the disk's users see it", allowed)


def _check_below(values: Row, places: Places, complaints: Complaints) -> None:
    """Check what is named relative to the disk: downloads and the guests' folders."""
    folders = [("downloads", values["downloads"])]
    guests = values["ftp.guest_folders"] or ()
    folders += [("ftp.guest_folders", name) for name in guests]
    for name, text in folders:
        if text is None:
            continue
        try:
            check_folder(text, places.disk)
        except Refused as refused:
            complaints.add(name, str(refused))
    if values["downloads"] and os.path.normpath(values["downloads"]) == ".":
        complaints.add("downloads", "is the disk itself", "a folder below it")


def check_folder(text: str, disk: Path) -> None:
    """Raise Refused unless *text* is a folder of *disk* that users may see."""
    path = absolute(disk, text)
    if os.path.isabs(text):
        raise Refused(f"{shown(text)} is not relative to the disk")
    if not is_within(path, disk):
        raise Refused(f"{shown(text)} leaves the disk")
    if names_private(path, disk):
        raise Refused(f"{shown(text)} is FonShare's own folder")


def names_private(path: Path, disk: Path) -> bool:
    """Tell whether a component of *path* below *disk* is FonShare's own folder."""
    private = os.fsdecode(PRIVATE_FOLDER)
    # Whatever its case: vfat and exfat take it for the same folder.
    return any(part.lower() == private for part in path.relative_to(disk).parts)


def _shares(
    rows: list[Row], places: Places, complaints: Complaints
) -> list[ShareSettings]:
    shares: list[ShareSettings] = []
    names: set[str] = set()
    for row in rows:
        place, name, text = row["place"], row["name"], row["path"]
        if name in names and name is not None:
            complaints.add(f"{place}.name", f"is {shown(name)} again", "each name once")
        names.add(name)
        if text is None:
            continue
        path = absolute(places.disk, text)
        problem = _share_problem(shown(text), path, places)
        if problem:
            complaints.add(f"{place}.path", problem, "a folder of the disk")
        elif name is not None and row["groups"] is not None:
            mirror = row["mirror_of"] or ""
            ca = _file(places.disk, row["mirror_ca"])
            pin = row["mirror_pin"]
            share = ShareSettings(name, path, row["groups"], mirror, pin, ca)
            _check_mirror(place, share, shares, places.disk, complaints)
            shares.append(share)
    return shares


def _check_mirror(
    place: str,
    share: ShareSettings,
    before: list[ShareSettings],
    disk: Path,
    complaints: Complaints,
) -> None:
    """Two mirrors must not write into one folder; a pin or authority needs TLS."""
    trust = (("mirror_pin", share.mirror_pin), ("mirror_ca", share.mirror_ca))
    given = [f"{place}.{name}" for name, value in trust if value is not None]
    if not share.mirror_of:
        for name in given:
            complaints.add(name, "is of no use without mirror_of")
        return
    if share.mirror_of.lower().startswith("ftp://"):
        for name in given:
            complaints.add(name, "is of no use: mirror_of is not ftps://")
    if share.path == disk:
        complaints.add(f"{place}.path", "is the disk itself", "a folder below it")
    for other in before:
        if other.mirror_of and (
            is_within(share.path, other.path) or is_within(other.path, share.path)
        ):
            problem = f"is shared with the mirror {shown(other.name)}"
            complaints.add(f"{place}.path", problem, "a folder of its own for each")


def _share_problem(text: str, path: Path, places: Places) -> str | None:
    system = _find_system(path)
    if system == Path("/"):
        return f"{text} is /, the whole system"
    if system:
        return f"{text} is in {system}, the router's flash or system"
    for private in places.private:
        if is_within(path, private):
            return f"{text} lies in the agent's own folder"
        if is_within(private, path):
            return f"{text} holds the agent's own folder"
    if not is_within(path, places.disk):
        return f"{text} is not on the disk, {places.disk}"
    if names_private(path, places.disk):
        return f"{text} is FonShare's own folder"
    return None


# --- warnings ------------------------------------------------------------------------


def _warnings(values: Row, plain_users: list[str], kind: SourceKind) -> list[str]:
    warnings = []
    if plain_users and kind is SourceKind.YAML:
        who = ", ".join(plain_users)
        warnings.append(
            f"ftp.users: the password of {who} stands in the settings in clear; "
            "`fonshare setup -c NEW.yaml` writes its hash, to be put there"
        )
    if values["mqtt.broker"] and _sends_password_in_clear(values["mqtt.broker"]):
        warnings.append(
            "mqtt.broker: the broker's password crosses the network unencrypted; "
            "use mqtts:// if the broker offers it"
        )
    return warnings


def _sends_password_in_clear(url: str) -> bool:
    broker = parse_broker(url)
    if broker.tls or not broker.password or broker.host == "localhost":
        return False
    try:
        return not ip_address(broker.host).is_loopback
    except ValueError:
        return True
