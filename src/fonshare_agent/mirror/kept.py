"""What is kept of a mirror besides its files, and the task that a child gets.

STATE/mirrors/KEY.db is the child's (known.py), KEY.json the last report, and the
password lies in the keys folder (logins.py). KEY follows from the share's name. Blocks:
for a thread that may.
"""

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from fonshare_agent.disk import write_durably
from fonshare_agent.errors import NotFound
from fonshare_agent.mirror import logins
from fonshare_agent.mirror.line import Message
from fonshare_agent.model import PRIVATE_FOLDER
from fonshare_agent.nodekeys import DISK_ID
from fonshare_agent.settings import Settings, ShareSettings
from fonshare_agent.transfer.fxp_url import ServerUrl

FOLDER: Final = "mirrors"
REPORT_BYTES_MAX: Final = 64 * 1024
_KEY_DIGITS: Final = 32
EMPTY: Final[dict[str, Any]] = {
    "read_at": None,
    "files": 0,
    "bytes": 0,
    "found": 0,
    "fetched": 0,
    "fetched_bytes": 0,
    "deleted": 0,
    "waiting": 0,
    "held": 0,
    "skipped": 0,
    "failed": 0,
    "failures": [],
    "error": None,
}


def key(share: ShareSettings) -> str:
    return sha256(share.name.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]


def default_folder(name: str) -> str:
    """Return where the mirror of that name lies, below the disk."""
    return f"{FOLDER}/{name}"


def task(
    settings: Settings, share: ShareSettings, password: str, **wishes: bool
) -> Message:
    """Return what a child needs to know."""
    return {
        "url": share.mirror_of,
        "pin": share.mirror_pin.hex() if share.mirror_pin is not None else "",
        "ca": str(share.mirror_ca or ""),
        "password": password,
        "disk": str(settings.disk),
        "disk_id": str(settings.keys / DISK_ID),
        "folder": str(share.path.relative_to(settings.disk)),
        "door": [settings.ftp.address, settings.ftp.port],
        "key": key(share),
        "known": str(_folder(settings) / f"{key(share)}.db"),
        "looks_only": False,
        "is_confirmed": False,
        **wishes,
    }


def task_with_password(
    settings: Settings, share: ShareSettings, *, is_confirmed: bool
) -> Message:
    """As `task`, with the password that is kept."""
    _folder(settings).mkdir(mode=0o700, parents=True, exist_ok=True)
    password = logins.read_password(settings.keys, share.name, share.mirror_of)
    if password is None and ServerUrl.parse(share.mirror_of).user is not None:
        raise NotFound(
            "no password is kept for the server of this mirror",
            thing=share.name,
            next="Give it with `fonshare share password NAME`.",
        )
    return task(settings, share, password or "", is_confirmed=is_confirmed)


def read_report(settings: Settings, share: ShareSettings) -> Message:
    """Return the last report; none where it cannot be read."""
    try:
        with (_folder(settings) / f"{key(share)}.json").open("rb") as file:
            report = json.loads(file.read(REPORT_BYTES_MAX))
    except (OSError, ValueError):
        return {}  # the next reading makes another one
    return report if isinstance(report, dict) else {}


def write_report(settings: Settings, share: ShareSettings, report: Message) -> None:
    folder = _folder(settings)
    with suppress(OSError):  # the disk is gone or full: told by others, and not kept
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = f"{key(share)}.json".encode()
            write_durably(opened, name, json.dumps(report).encode(), 0o600)
        finally:
            os.close(opened)


def forget(settings: Settings, share: ShareSettings) -> None:
    """Drop the password, the notes and the partials; the copied files stay."""
    logins.forget_password(settings.keys, share.name)
    folder = _folder(settings)
    for suffix in (".db", ".db-wal", ".json"):
        with suppress(OSError):
            (folder / (key(share) + suffix)).unlink()
    partials = settings.disk / os.fsdecode(PRIVATE_FOLDER) / FOLDER / key(share)
    with suppress(OSError):
        for name in os.listdir(partials):
            (partials / name).unlink()
        partials.rmdir()


def _folder(settings: Settings) -> Path:
    return settings.state / FOLDER
