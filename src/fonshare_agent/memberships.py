"""What this node keeps of each group it belongs to: one file each in KEYS/groups/.

Owns those files and their form. A file is replaced whole or not at all; fields it does
not know are kept, so that a newer version's file survives an older one. A damaged file
is put aside under another name and told, and never keeps the other groups from
loading. Holds epoch keys, hence the same rules for modes as nodekeys.py. Must not know
what operations and grants mean.
"""

import base64
import binascii
import errno
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fonshare_agent.errors import DiskFull, FonshareError, KeysDamaged, StorageError
from fonshare_agent.model import GroupId, is_label
from fonshare_agent.nodekeys import protect_folder, read_secret, write_secret

FORMAT: Final = 1
log = logging.getLogger(__name__)

SUFFIX: Final = ".json"
DAMAGED: Final = ".damaged"
LEFT: Final = "left-labels"
LEFT_MAX: Final = 256  # labels; whoever leaves more groups than that meant it
NEEDS_ROOM: Final = "Make some room there, then try again."
GROUP_BYTES: Final = 32


@dataclass(frozen=True, slots=True, repr=False)
class Membership:
    """One group as this node remembers it. `operations` and `grants` are raw.

    `epoch_keys` maps a grant's hash to the key opened from it, since the sealing key
    that opened it is erased one day. `extra` is JSON of the group's own making.
    """

    group: GroupId
    label: str
    created: int  # epoch seconds as the clock was, or the uptime: shown, never compared
    operations: tuple[bytes, ...] = ()
    grants: tuple[bytes, ...] = ()
    epoch_keys: Mapping[bytes, bytes] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)  # a newer version's

    def __repr__(self) -> str:
        return f"<Membership {self.label!r}>"


class Memberships:
    """The files in *folder* (KEYS/groups). One thread, which may block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> tuple[list[Membership], list[FonshareError]]:
        """Return every group that can be read, and a complaint for each that cannot.

        A damaged file is renamed to `*.damaged`; one that the disk cannot give now, or
        that others may read, stays where it is.
        """
        self._protect()
        found: list[Membership] = []
        complaints: list[FonshareError] = []
        for path in sorted(self._folder.glob("*" + SUFFIX)):
            try:
                found.append(_decode(read_secret(path), path))
            except KeysDamaged as error:
                complaints.append(error)
                self._put_aside(path)
            except FonshareError as error:
                complaints.append(error)
            except OSError as error:
                complaints.append(_unusable(path, error))
        return found, complaints

    def save(self, membership: Membership) -> None:
        """Store *membership* durably in place of what was known of its group."""
        self._protect()
        name = _file_name(membership.group)
        try:
            write_secret(self._folder, name, _encode(membership))
        except OSError as error:
            raise _unusable(self._folder / name, error) from None

    def delete(self, group: GroupId) -> None:
        """Forget *group* durably; nothing if it is unknown."""
        path = self._folder / _file_name(group)
        try:
            path.unlink(missing_ok=True)
            _sync_folder(self._folder)
        except FileNotFoundError:
            return  # not even the folder exists
        except OSError as error:
            raise _unusable(path, error) from None

    def left_labels(self) -> dict[str, GroupId]:
        """Return which group each label meant that this node has left."""
        try:
            document = json.loads(read_secret(self._folder / LEFT))
            return {
                str(label): GroupId(_bytes(group)) for label, group in document.items()
            }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unusable(self._folder / LEFT, error) from None
        except (AttributeError, TypeError, ValueError, binascii.Error):
            log.warning("the labels of groups left are damaged: they are forgotten")
            return {}

    def remember_left(self, label: str, group: GroupId) -> None:
        """Note durably that *label* meant *group*, so that no other gets its shares."""
        self._protect()
        known = {**self.left_labels(), label: group}
        newest = list(known.items())[-LEFT_MAX:]
        document = {label: _text(group) for label, group in newest}
        try:
            write_secret(self._folder, LEFT, json.dumps(document).encode())
        except OSError as error:
            raise _unusable(self._folder / LEFT, error) from None

    def _protect(self) -> None:
        try:
            protect_folder(self._folder)
        except OSError as error:
            raise _unusable(self._folder, error) from None

    def _put_aside(self, path: Path) -> None:
        aside = path.with_suffix(DAMAGED)
        number = 1
        while aside.exists():
            number += 1
            aside = path.with_suffix(f"{DAMAGED}-{number}")
        path.rename(aside)
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _unusable(path: Path, error: OSError) -> StorageError:
    what = f"{path}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(what, thing=str(path), next=NEEDS_ROOM)
    return StorageError(what, thing=str(path))


def _file_name(group: GroupId) -> str:
    if len(group) != GROUP_BYTES:
        raise ValueError(f"a group id has {GROUP_BYTES} bytes, not {len(group)}")
    return group.hex() + SUFFIX


_KNOWN: Final = frozenset(
    ("format", "group", "label", "created", "operations", "grants", "epoch_keys")
) | {"extra"}


def _encode(membership: Membership) -> bytes:
    document = {
        **membership.unknown,
        "format": FORMAT,
        "group": _text(membership.group),
        "label": membership.label,
        "created": membership.created,
        "operations": [_text(one) for one in membership.operations],
        "grants": [_text(one) for one in membership.grants],
        "epoch_keys": {
            _text(grant): _text(key) for grant, key in membership.epoch_keys.items()
        },
        "extra": dict(membership.extra),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _decode(raw: bytes, path: Path) -> Membership:
    try:
        document = json.loads(raw)
        if document["format"] > FORMAT:
            raise StorageError(
                f"{path} was written by a newer version of FonShare",
                thing=str(path),
                next="Install that version again; this group waits, others go on.",
            )
        found = Membership(
            group=GroupId(_bytes(document["group"])),
            label=document["label"],
            created=int(document["created"]),
            operations=tuple(_bytes(one) for one in document["operations"]),
            grants=tuple(_bytes(one) for one in document["grants"]),
            epoch_keys={
                _bytes(grant): _bytes(key)
                for grant, key in document["epoch_keys"].items()
            },
            extra=document.get("extra", {}),
            unknown={k: v for k, v in document.items() if k not in _KNOWN},
        )
        if _file_name(found.group) != path.name or not is_label(found.label):
            raise ValueError("it is not the group that its name says")
    except (
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
        binascii.Error,
    ) as error:
        raise KeysDamaged(
            f"what was known of a group is damaged: {path} ({error})",
            thing=str(path),
            next="The file was put aside; bring the group back with `fonshare restore`"
            " or a new invite. Other groups are not affected.",
        ) from None
    return found


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
