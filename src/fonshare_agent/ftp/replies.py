"""Errors as FTP replies: the code a client acts on, and a reason for the person."""

import errno
import os

from fonshare_agent.errors import (
    AlreadyExists,
    BadPath,
    BlockLacking,
    ContentChanged,
    DiskFull,
    FileBusy,
    FonshareError,
    NotAllowed,
    NotFound,
    NotHereNow,
    StorageError,
    TicketRefused,
    TooLong,
    UsageError,
)

# 4xx: the client may try the same again later; 5xx: it need not.
_CODES: tuple[tuple[type[FonshareError], int], ...] = (
    (BadPath, 553),
    (NotFound, 550),
    (NotAllowed, 550),
    (AlreadyExists, 553),
    (UsageError, 554),
    (TooLong, 552),
    (TicketRefused, 550),
    (FileBusy, 450),
    (NotHereNow, 450),
    (ContentChanged, 450),
    (BlockLacking, 450),
    (DiskFull, 452),
    (StorageError, 450),
)

# By which another node's client tells them apart: docs/protocol.
_PREFIXES = {ContentChanged: "changed: ", BlockLacking: "missing: "}


def reply_to_error(error: OSError | FonshareError) -> str:
    """Return the one reply line that answers a command which failed so."""
    if isinstance(error, OSError):
        return _reply_to_os_error(error)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return one_line(f"{code} {_PREFIXES.get(kind, '')}{error}")
    return one_line(f"451 {error}")


def _reply_to_os_error(error: OSError) -> str:
    number = error.errno or 0
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "452 The disk is full"
    if number == errno.ENOENT:
        return "550 No such file or folder"
    if number in (errno.ELOOP, errno.ENOTDIR):
        # O_DIRECTORY | O_NOFOLLOW says ENOTDIR for a link, too.
        return "550 Not a folder, or a link; links are not followed"
    if number in (errno.EINVAL, errno.EILSEQ):
        return "553 The disk's file system takes no such name"
    if number == errno.EROFS:
        return "550 The disk can only be read"
    if number in (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN):
        return f"450 The disk does not answer: {os.strerror(number)}"
    return f"550 {os.strerror(number)}"


_LINE_ENDS = str.maketrans("\r\n\0", "   ")


def one_line(text: str) -> str:
    """Return *text* without what would end a reply early."""
    return text.translate(_LINE_ENDS)


def quoted(path: str) -> str:
    """Return a path as 257 wants it (RFC 959: inner quotes doubled)."""
    return '"' + path.replace('"', '""') + '"'
