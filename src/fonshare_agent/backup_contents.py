"""What is inside a backup, once it is unsealed: read whole, and checked whole.

Whoever gave the passphrase may have given the file, too: nothing in it is believed
before it has the form and the bounds that a node's own have. Reads and writes no file.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fonshare_agent.errors import BackupUnreadable, StorageError
from fonshare_agent.nodekeys import SECRETS, Secrets

COUNT_MAX: Final = 1 << 48  # of what rises by ones, or with the clock
_GROUP_FILE: Final = re.compile(r"[0-9a-f]{64}\.json")


@dataclass(frozen=True, slots=True, repr=False)
class Document:
    """What a node is made of again. `kind` is that of the settings' file."""

    kind: str
    secrets: Secrets
    incarnation: int
    groups: Mapping[str, bytes]
    settings: bytes
    changes: bytes


def read_contents(plain: bytes) -> Document:
    """Return what *plain* holds; BackupUnreadable if it cannot be."""
    try:
        document: dict[str, Any] = json.loads(plain)
        groups = {name: _bytes(raw) for name, raw in document["groups"].items()}
        if not all(_GROUP_FILE.fullmatch(name) for name in groups):
            raise ValueError("a group's file has another name")
        return Document(
            kind=str(document["kind"]),
            secrets=_bounded(Secrets.decode(_bytes(document["keys"]), SECRETS)),
            incarnation=_count(document["incarnation"]),
            groups=groups,
            settings=_bytes(document["settings"]),
            changes=_bytes(document["changes"]),
        )
    except (
        *(AttributeError, KeyError, TypeError, ValueError, RecursionError),
        *(binascii.Error, StorageError),
    ) as error:
        raise BackupUnreadable(f"the backup cannot be used: {error}") from None


def _count(value: object) -> int:
    """Return a number that counts lives or versions; it must be able to rise."""
    if type(value) is not int or not 0 <= value < COUNT_MAX:
        raise ValueError("a count is out of bounds")
    return value


def _bounded(secrets: Secrets) -> Secrets:
    _count(secrets.statement_version)
    _count(secrets.sealing_since)
    return secrets


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def encode_bytes(raw: bytes) -> str:
    """Return *raw* as it stands in a backup."""
    return base64.b64encode(raw).decode("ascii")
