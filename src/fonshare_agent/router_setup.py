"""`fonshare setup` on the router: disk, owner, guests and broker, into its UCI file.

Root's program, once, for a node that is not enabled yet. It looks which mounted disks
there are, refuses those that hold the system, and says what the service's user may not
do there, with the remedy; it changes no owner and no mode itself.
"""

import os
import stat
import subprocess
import sys
from pathlib import Path

from fonshare_agent.config import read_source
from fonshare_agent.config_uci import quote_uci
from fonshare_agent.errors import AlreadyExists, UsageError
from fonshare_agent.first_use import (
    ask,
    ask_folders,
    ask_name,
    ask_password,
    demand_terminal,
    hashed,
)
from fonshare_agent.links.uci import UciWriter

MOUNTS = Path("/proc/mounts")
SERVICE = "/etc/init.d/fonshare"
USER_ID = 427  # of the package's user and group
SYSTEM = ("/", "/rom", "/overlay", "/boot")
MEMORY = "/tmp"
TRUE = ("1", "on", "true", "yes", "enabled", "True")  # as UCI has it, or checked


def set_up_router(file: Path) -> None:
    """Ask, store the answers and start the service."""
    enabled = read_source(file).raw.get("node", {}).get("enabled", "0")
    if str(enabled) in TRUE:
        raise AlreadyExists(
            "this router is set up already",
            thing=str(file),
            next="Change it in LuCI or with `uci`.",
        )
    if os.geteuid() != 0:
        raise UsageError("only root sets up a router", thing=str(file))
    demand_terminal()
    disks = find_disks(MOUNTS.read_text())
    if not disks:
        raise UsageError(
            "no disk is mounted but those that hold the system",
            thing="disk",
            next="Mount one (with extroot a second partition); see `block info`.",
        )
    name = ask_name()
    disk = _ask_disk(disks)
    password = hashed(ask_password())
    folders = ask_folders()
    broker = ask("MQTT broker for groups you found; none needed to join one", "")
    UciWriter(file).apply(_batch(name, disk, password, folders, broker))
    for line in complaints(Path(disk)):
        print(line, file=sys.stderr)
    if subprocess.run([SERVICE, "restart"], check=False).returncode:
        print(f"{SERVICE} restart failed; logread says why.", file=sys.stderr)
    print("Next: `fonshare doctor`", file=sys.stderr)


def find_disks(mounts: str) -> list[str]:
    """Return the mount points of disks that hold nothing of the system."""
    rows = [line.split()[:2] for line in mounts.splitlines() if len(line.split()) > 2]
    system = {device for device, place in rows if place in SYSTEM}
    return [
        place.replace("\\040", " ")
        for device, place in rows
        if device.startswith("/dev/")
        and device not in system
        and place not in SYSTEM
        and not f"{place}/".startswith(f"{MEMORY}/")
    ]


def _ask_disk(disks: list[str]) -> str:
    for number, place in enumerate(disks, 1):
        print(f"  {number}  {place}", file=sys.stderr)
    while True:
        answer = ask("Disk, by its number", "1")
        if answer.isdecimal() and 1 <= int(answer) <= len(disks):
            return disks[int(answer) - 1]
        print("  One of the numbers above.", file=sys.stderr)


def _batch(name: str, disk: str, password: str, folders: list[str], broker: str) -> str:
    values = {"node.name": name, "disk.path": disk, "node.enabled": "1"}
    if broker:
        values["mqtt.broker"] = broker
    sections = ("node", "disk", "ftp", "mqtt")
    lines = [f"set fonshare.{section}={section}" for section in sections]
    lines += [f"set fonshare.{key}={quote_uci(text)}" for key, text in values.items()]
    lines += [
        f"add_list fonshare.ftp.guest_folders={quote_uci(one)}" for one in folders
    ]
    for login, secret, access in (("owner", password, "write"), ("guest", "", "read")):
        lines.append("add fonshare user")
        lines.append(f"set fonshare.@user[-1].name={login}")
        if secret:
            lines.append(f"set fonshare.@user[-1].password={quote_uci(secret)}")
        lines.append(f"set fonshare.@user[-1].access={access}")
    return "".join(f"{line}\n" for line in lines)


def complaints(disk: Path) -> list[str]:
    """Say which folders of the disk the service may not use, and the remedy."""
    if not _allows(disk, stat.S_IRWXU):
        return [
            f"The service may not write to {disk}: chown {USER_ID} {disk}",
            f"  (FAT, exFAT: mount it with uid={USER_ID},gid={USER_ID},umask=022)",
        ]
    closed = [
        entry.path
        for entry in os.scandir(disk)
        if entry.is_dir(follow_symlinks=False)
        and entry.name != "lost+found"
        and not _allows(Path(entry.path), stat.S_IRUSR | stat.S_IXUSR)
    ]
    return [
        f"The service may not read {place}; to share it: "
        f"chgrp -R {USER_ID} {place}; chmod -R g+rX {place}"
        for place in sorted(closed)
    ]


def _allows(place: Path, wanted: int) -> bool:
    """Whether the service's user may do *wanted*, in the bits of an owner."""
    info = place.stat()
    shift = 0 if info.st_uid == USER_ID else 3 if info.st_gid == USER_ID else 6
    return info.st_mode & (wanted >> shift) == wanted >> shift
