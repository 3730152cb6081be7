"""Names that FAT and exFAT refuse, and the similar ones that they take.

Pure: where they are needed, the disk says (`Disk.refuses_names`).
"""

import os
from pathlib import Path
from typing import Final

from fonshare_agent.model import NAME_BYTES_MAX

# What FAT and exFAT refuse in names (Microsoft's "Naming Files"): EINVAL there.
_REFUSED: Final = frozenset('"*/:<>?\\|') | {chr(code) for code in range(32)}


def storable_name(name: bytes) -> bytes:
    """Return *name* with what FAT and exFAT refuse replaced by `_`."""
    text = name.decode("utf-8", "replace")
    safe = "".join("_" if one in _REFUSED else one for one in text)
    # Windows drops dots and spaces at the end, so FAT does not keep them.
    kept = safe.rstrip(". ")
    safe = kept + "_" * (len(safe) - len(kept))
    return shorten(safe.encode("utf-8"), NAME_BYTES_MAX)


def storable_folder(folder: bytes, disk: Path) -> bytes:
    """Return the absolute *folder* with each name below *disk* made storable."""
    top = os.fsencode(disk)
    below = os.path.relpath(folder, top)
    if below == b"." or below.startswith(b".."):
        return folder
    return os.path.join(top, *map(storable_name, below.split(b"/")))


def shorten(stem: bytes, room: int) -> bytes:
    """Return what of *stem* fits, never with half a character at its end."""
    if len(stem) <= room:
        return stem
    cut = stem[:room]
    try:
        stem.decode("utf-8")
    except UnicodeDecodeError:
        return cut  # not UTF-8 anyway
    # Never half a character: such a name could not be shown, nor stored on FAT.
    return cut.decode("utf-8", "ignore").encode("utf-8")
