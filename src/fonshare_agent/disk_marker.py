"""What the disk's marker says, and whether it is still the file that was read.

The disk is asked for before each write and each file of the house door: a glance at the
marker's status in place of reading it anew. While device, inode and all times are the
same, so is what it says. A disk that went and came, a file written over, moved or put
in its place has another status, and then it is read.
"""

import os
import time
from pathlib import Path

from fonshare_agent.errors import StorageError
from fonshare_agent.model import base32

ID_BYTES = 16  # random: two disks never share an id
ID_LETTERS = len(base32(bytes(ID_BYTES)))
# What is changed within one tick of the file system's clock keeps its times: only
# what has been at rest is known by its status. FAT counts by two seconds.
AT_REST_S = 4.0

_Status = tuple[int, ...]


class MarkerSeen:
    """The marker below *path* as it was read last. Any thread that may block."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._seen: tuple[_Status, str] | None = None

    def note(self, status: os.stat_result, says: str) -> None:
        """Remember what was read, and the file's status *before* that."""
        is_at_rest = time.time() - status.st_ctime > AT_REST_S
        self._seen = (_of(status), says) if is_at_rest else None

    def still_says(self, text: str | None, device: int) -> bool:
        """Tell whether it lies on *device* and is known to say *text*; else read it."""
        seen = self._seen
        if seen is None or seen[1] != text or seen[0][0] != device:
            return False
        try:
            return seen[0] == _of(os.stat(self._path, follow_symlinks=False))
        except OSError:
            return False


def _of(status: os.stat_result) -> _Status:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def parse_id(raw: bytes, where: str) -> str:
    text = raw.decode("ascii", "replace").strip()
    if len(text) != ID_LETTERS or not text.isalnum():
        raise StorageError(f"{where}: the disk id is damaged", thing=where)
    return text
