"""The passwords of the servers that this node mirrors: KEYS/servers.json, mode 600.

A mirror is read while its owner sleeps, so its password lies there in clear; whoever
can read that file can also read the node's keys (docs/threat-model.md). Each is for one
server and user alone, whatever the settings say later. Read when a reading begins, and
not kept in memory. Blocks: for a thread that may.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

from fonshare_agent.errors import KeysDamaged
from fonshare_agent.nodekeys import read_secret, write_secret
from fonshare_agent.transfer.fxp_url import ServerUrl

FILE: Final = "servers.json"

Passwords = dict[str, dict[str, str]]  # by share: the server, and its password


def read_password(keys: Path, share: str, url: str) -> str | None:
    """Return the password kept for *share*; None if there is none.

    None, too, if it was given for another server than that of *url*, or for another
    user there: settings may be changed by others, and it is to reach nobody else.
    """
    kept = _read(keys).get(share)
    return kept["password"] if kept and kept["server"] == _server(url) else None


def keep_password(keys: Path, share: str, url: str, password: str) -> None:
    """Keep *password* for *share*, and for the server of *url* alone."""
    kept = {"server": _server(url), "password": password}
    _write(keys, {**_read(keys), share: kept})


def forget_password(keys: Path, share: str) -> None:
    kept = _read(keys)
    if kept.pop(share, None) is not None:
        _write(keys, kept)


def _server(url: str) -> str:
    """Return scheme, user, host and port: whom a password is sent to, and how."""
    parsed = ServerUrl.parse(url)
    return str(replace(parsed, host=parsed.host.lower(), path=b""))


def _read(keys: Path) -> Passwords:
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
    return {
        str(name): {part: str(value[part]) for part in ("server", "password")}
        for name, value in document.items()
        if isinstance(value, dict) and {"server", "password"} <= value.keys()
    }


def _write(keys: Path, passwords: Passwords) -> None:
    write_secret(keys, FILE, json.dumps(passwords).encode("ascii") + b"\n")
