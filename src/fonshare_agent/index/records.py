"""The values the index takes and gives. No SQL, no files."""

import base64
import binascii
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from fonshare_agent.model import (
    EntryId,
    GroupId,
    IndexId,
    NodeId,
    Root,
    SharePath,
)
from fonshare_agent.protocol.fields import Change

if TYPE_CHECKING:
    from hashlib import _Hash

Kind = Literal["file", "folder", "share"]

UNHASHED_START = (0, 0)  # before every (folder, file) of `own_file`

PAGE = 200  # rows fetched at a time where more may be wanted

_INTEGER_MAX = 2**63 - 1  # SQLite's
_ID_LABEL = b"fonshare-entry-1"
_ID_BYTES = 10  # 16 characters of base32
_ID_CHARS = 16
_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567".ljust(256)
# Halves of 8, 4, 2 and 1 characters: how far the upper ones go, what stays, what goes.
_SPREADS = tuple(
    (
        3 * size,
        sum((1 << 5 * size) - 1 << 8 * size * at for at in range(0, 16 // size, 2)),
        sum((1 << 5 * size) - 1 << 8 * size * at for at in range(1, 16 // size, 2)),
    )
    for size in (8, 4, 2, 1)
)
_HOME_BYTES = 2  # of a file's id tell its folder, the others the file
_TAG_BYTES = 6  # the part of a folder's id that is indexed; the rest is compared


def id_digest(
    kind: Kind, group: GroupId, member: NodeId, share: bytes, path: bytes
) -> bytes:
    """Return what an entry's public id spells: the same on every node, for ever.

    A file's id begins as its folder's does: so files are found by the folders' tags,
    and no number has to be kept, and found, for each of a million files.
    """
    if kind != "file":
        return _begin(b"d", group, member, share, path).digest()[:_ID_BYTES]
    folder = _begin(b"d", group, member, share, path.rpartition(b"/")[0]).digest()
    file = _begin(b"f", group, member, share, path).digest()
    return folder[:_HOME_BYTES] + file[: _ID_BYTES - _HOME_BYTES]


def file_digests(
    group: GroupId, member: NodeId, share: bytes, folder: bytes
) -> Callable[[bytes], bytes]:
    """Return what gives `id_digest` of the files in one folder by their names."""
    home = _begin(b"d", group, member, share, folder).digest()[:_HOME_BYTES]
    begun = _begin(b"f", group, member, share, folder + b"/" if folder else b"")

    def digest(name: bytes) -> bytes:
        whole = begun.copy()
        whole.update(name)
        return home + whole.digest()[: _ID_BYTES - _HOME_BYTES]

    return digest


def _begin(
    kind: bytes, group: GroupId, member: NodeId, share: bytes, path: bytes
) -> "_Hash":
    place = len(share).to_bytes(2, "big") + share + path
    return sha256(_ID_LABEL + kind + group + member + place)


def id_text(digest: bytes) -> EntryId:
    # What base32 would say, in a tenth of the time: each line of a search has one.
    # Each 5 bits come into a byte of their own, half after half.
    number = int.from_bytes(digest, "big")
    for shift, lower, upper in _SPREADS:
        number = number & lower | number << shift & upper
    return EntryId(number.to_bytes(_ID_CHARS, "big").translate(_BASE32).decode())


def parse_id(text: str) -> bytes | None:
    """Return the digest that *text* spells, or None."""
    try:
        digest = base64.b32decode(text.upper())
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == _ID_BYTES else None


def id_tag(digest: bytes) -> int:
    """Return the indexed part of a folder's id; every platform's SQLite holds it."""
    return int.from_bytes(digest[:_TAG_BYTES], "big")


def home_tags(digest: bytes) -> tuple[int, int]:
    """Return the first and the last tag of the folders a file of that id may be in."""
    home, rest = digest[:_HOME_BYTES], _TAG_BYTES - _HOME_BYTES
    return id_tag(home + bytes(rest)), id_tag(home + b"\xff" * rest)


class Found(NamedTuple):
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
class Mark:
    """Where a listing goes on: behind the line of that kind and name."""

    kind: Kind
    name: bytes
    group: GroupId
    member: NodeId


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


# A file as a folder listing shows it: name, size, mtime_ns, inode, as `own_file` has
# them. A bare tuple, because a scan makes one for each file.
SeenFile = tuple[bytes, int, int, int]


def seen_file(name: bytes, info: os.stat_result, keeps_inodes: bool = True) -> SeenFile:
    inode = info.st_ino if keeps_inodes else 0
    mtime_ns = info.st_mtime_ns
    if inode > _INTEGER_MAX or not -_INTEGER_MAX <= mtime_ns <= _INTEGER_MAX:
        inode, mtime_ns = _signed(inode), _clamped(mtime_ns)
    return name, info.st_size, mtime_ns, inode


@dataclass(frozen=True, slots=True)
class Listing:
    """Part of one folder of an own share. `folder`: its components below the share.

    The last part of a folder that could be read whole says in `total` how many files
    and folders there were in all its parts. Folders with listings of their own count,
    but need not be in `folders`.
    """

    folder: tuple[bytes, ...]
    files: Sequence[SeenFile] = ()
    folders: Sequence[bytes] = ()
    total: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of listings: the groups whose catalogue moved, and the folders in
    which the index knows something that was not seen."""

    moved: set[GroupId]
    doubtful: Sequence[tuple[bytes, ...]] = ()


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of an own share."""

    share: str
    path: SharePath
    stamp: FileStamp
    root: Root | None
