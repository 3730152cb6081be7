"""The words of docs/glossary.md as values. Pure: knows of no disk, wire or clock.

`SharePath.parse` is the one place where a name that came from elsewhere becomes a path.
No other code joins such a name to a folder.
"""

import base64
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NewType, Self

from fonshare_agent.errors import BadPath

NodeId = NewType("NodeId", bytes)  # SHA-256 of the identity key, 32 bytes
GroupId = NewType("GroupId", bytes)  # SHA-256 of the creating operation, 32 bytes
IndexId = NewType("IndexId", bytes)  # random at a catalogue's creation, 8 bytes
Root = NewType("Root", bytes)  # content root, docs/protocol/content.md, 32 bytes
EntryId = NewType("EntryId", str)  # opaque to users, 16 characters of base32

NAME_BYTES_MAX = 255  # what ext4, vfat and exfat all can store in one component
PATH_BYTES_MAX = 4096  # PATH_MAX of Linux
DEPTH_MAX = 64  # deeper trees are refused entry by entry, not walked
LABEL_BYTES_MAX = 64  # names of nodes, groups and shares: one line on any screen
SIZE_MAX = 2**63 - 1  # signed 64-bit, as SQLite and off_t have it
PRIVATE_FOLDER = b".fonshare"  # state on the disk: no login and no share shows it


@dataclass(frozen=True, slots=True, order=True)
class SharePath:
    """A file's path inside its share: one or more safe components, as raw bytes."""

    parts: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Return the path that *text* names, or raise BadPath saying why not.

        Text is decoded as the file system does it (UTF-8, other bytes as lone
        surrogates), so every name a Linux disk can hold makes the round trip.
        """
        try:
            raw = (
                text
                if isinstance(text, bytes)
                else text.encode("utf-8", "surrogateescape")
            )
        except UnicodeEncodeError:
            raise BadPath(
                "a path holds characters that no file name can", thing=ascii(text)
            ) from None
        parts = tuple(raw.split(b"/"))
        complaint = _complaint(raw, parts)
        if complaint:
            raise BadPath(f"path {printable(raw)!r} {complaint}", thing=printable(raw))
        return cls(parts)

    @property
    def raw(self) -> bytes:
        """The components joined by `/`."""
        return b"/".join(self.parts)

    @property
    def name(self) -> bytes:
        """The last component."""
        return self.parts[-1]

    def wire(self) -> str:
        """The text form used in messages; `parse` takes it back unchanged."""
        return self.raw.decode("utf-8", "surrogateescape")

    def __str__(self) -> str:
        return printable(self.raw)


def _complaint(raw: bytes, parts: tuple[bytes, ...]) -> str | None:
    if _is_plain(raw) and len(parts) <= DEPTH_MAX:
        return None
    if b"\0" in raw:
        return "holds a NUL byte"
    if len(raw) > PATH_BYTES_MAX:
        return f"is longer than {PATH_BYTES_MAX} bytes"
    if len(parts) > DEPTH_MAX:
        return f"is deeper than {DEPTH_MAX} folders"
    if any(part in (b"", b".", b"..") for part in parts):
        return "has an empty, '.' or '..' component"
    if any(len(part) > NAME_BYTES_MAX for part in parts):
        return f"has a name longer than {NAME_BYTES_MAX} bytes"
    if any(part.lower() == PRIVATE_FOLDER for part in parts):
        return "names FonShare's own folder"
    return None


def _is_plain(raw: bytes) -> bool:
    """Tell at once that no component breaks a rule, as of nearly all paths.

    Short, none empty, none beginning with a dot. A million paths of a catalogue come
    through here.
    """
    return (
        len(raw) <= NAME_BYTES_MAX
        and raw[:1] not in (b"", b".", b"/")
        and raw[-1:] != b"/"
        and b"/." not in raw
        and b"//" not in raw
        and b"\0" not in raw
    )


def printable(raw: bytes) -> str:
    """Return *raw* as text for people and JSON: U+FFFD where it is not UTF-8."""
    return raw.decode("utf-8", "replace")


def base32(raw: bytes) -> str:
    """Return lower-case base32 without padding: safe in topics, names and URLs."""
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def is_label(text: str) -> bool:
    """Tell whether *text* can name a node, a group or a share."""
    return len(text) <= LABEL_BYTES_MAX and _is_short_label(text)


@lru_cache(maxsize=32)  # each entry of a catalogue names its share
def _is_short_label(text: str) -> bool:
    return (
        0 < len(text.encode("utf-8", "surrogatepass")) <= LABEL_BYTES_MAX
        and text.isprintable()
        and text == text.strip()
        and "/" not in text
        and text not in (".", "..")
    )


class JobState(Enum):
    """Where a job stands; the values are what the CLI shows."""

    QUEUED = "queued"
    LOCATING = "locating"
    RUNNING = "running"
    VERIFYING = "verifying"
    DONE = "done"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Role(Enum):
    """A member's standing in a group; the values are what the CLI shows."""

    CREATOR = "creator"
    ADMIN = "admin"
    MEMBER = "member"
