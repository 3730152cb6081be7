"""The values the index takes and gives. No SQL, no files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Self

from fonshare_agent.model import (
    EntryId,
    GroupId,
    IndexId,
    NodeId,
    Root,
    SharePath,
    base32,
)
from fonshare_agent.protocol.fields import Change

Kind = Literal["file", "folder", "share"]

UNHASHED_START = (-(2**63), 0)  # before every (inode, row)

_ID_LABEL = b"fonshare-entry-1"
_ID_BYTES = 10  # 16 characters of base32
_TAG_BYTES = 6  # the part of an id that is indexed; the rest is computed and compared


def id_digest(
    kind: Kind, group: GroupId, member: NodeId, share: bytes, path: bytes
) -> bytes:
    """Return what an entry's public id spells: the same on every node, for ever."""
    is_file = b"f" if kind == "file" else b"d"
    place = len(share).to_bytes(2, "big") + share + path
    return sha256(_ID_LABEL + is_file + group + member + place).digest()[:_ID_BYTES]


def id_text(digest: bytes) -> EntryId:
    return EntryId(base32(digest))


def id_tag(digest: bytes) -> int:
    """Return the indexed part of an id, a number that every platform's SQLite holds."""
    return int.from_bytes(digest[:_TAG_BYTES], "big")


@dataclass(frozen=True, slots=True)
class Found:
    """One line of a listing or a search. `path` is None for a share itself.

    `size` and `modified` are 0 for folders and shares.
    """

    id: EntryId
    kind: Kind
    group: GroupId
    member: NodeId
    share: str
    path: SharePath | None
    size: int
    modified: int
    root: Root | None
    own: bool

    @property
    def name(self) -> bytes:
        """The last component as raw bytes; a share's name in UTF-8."""
        return self.path.name if self.path else self.share.encode()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found; `is_complete` is false if its time or limit ended it."""

    found: tuple[Found, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Delta:
    """Changes (`after`, `upto`] of a catalogue whose index is `index_id`."""

    index_id: IndexId
    after: int
    upto: int
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Applied:
    """A delta was taken in; ask next for what comes after `head`."""

    head: int
    refused: int  # entries that broke the rules and were left out


@dataclass(frozen=True, slots=True)
class Gap:
    """A delta did not fit and changed nothing; ask for what comes after `head`."""

    head: int


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells that a file's content is the same as when it was hashed.

    The device is left out: a disk plugged in again may get another number. `inode` is
    0 where the file system makes inode numbers up at each mount.
    """

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, info: os.stat_result, *, keeps_inodes: bool = True) -> Self:
        inode = _signed(info.st_ino) if keeps_inodes else 0
        return cls(inode, info.st_size, _clamped(info.st_mtime_ns))

    def fits(self, info: os.stat_result) -> bool:
        """Tell whether the file of *info* is unchanged."""
        return (
            info.st_size == self.size
            and _clamped(info.st_mtime_ns) == self.mtime_ns
            and self.inode in (0, _signed(info.st_ino))
        )


def _signed(number: int) -> int:
    """Return an unsigned 64-bit inode number as SQLite can hold it."""
    return number - 2**64 if number >= 2**63 else number


def _clamped(mtime_ns: int) -> int:
    """Return a time SQLite can hold: ext4 goes to 2446, nanoseconds to 2262."""
    return max(-(2**63), min(2**63 - 1, mtime_ns))


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as a folder listing shows it."""

    name: bytes
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class Listing:
    """Part of one folder of an own share. `folder`: its components below the share."""

    folder: tuple[bytes, ...]
    files: Sequence[SeenFile] = ()
    folders: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of an own share."""

    share: str
    path: SharePath
    stamp: FileStamp
    root: Root | None
