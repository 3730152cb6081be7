"""The passwords of the servers that this node mirrors: KEYS/servers.json, mode 600.

A mirror is read while its owner sleeps, so its password lies there in clear; whoever
can read that file can also read the node's keys (docs/threat-model.md). Read when a
reading begins, and not kept in memory. Blocks: for a thread that may.
"""

import json
from pathlib import Path
from typing import Final

from fonshare_agent.errors import KeysDamaged
from fonshare_agent.nodekeys import read_secret, write_secret

FILE: Final = "servers.json"


def read_password(keys: Path, share: str) -> str | None:
    """Return the password kept for *share*; None if there is none."""
    return _read(keys).get(share)


def keep_password(keys: Path, share: str, password: str) -> None:
    _write(keys, {**_read(keys), share: password})


def forget_password(keys: Path, share: str) -> None:
    kept = _read(keys)
    if kept.pop(share, None) is not None:
        _write(keys, kept)


def _read(keys: Path) -> dict[str, str]:
    file = keys / FILE
    if not file.exists():
        return {}
    try:
        document = json.loads(read_secret(file))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise KeysDamaged(
            "the file of servers' passwords is damaged",
            thing=str(file),
            next="Delete it, and give the passwords again: `fonshare share password`.",
        )
    return {str(name): str(value) for name, value in document.items()}


def _write(keys: Path, passwords: dict[str, str]) -> None:
    write_secret(keys, FILE, json.dumps(passwords).encode("ascii") + b"\n")
