"""The folders of the disk, for whoever chooses what to share. May block on the disk.

Follows no link, shows no hidden folder, and none whose name is not UTF-8: a settings
file could not name it.
"""

import os
from typing import Final

from fonshare_agent.disk import Disk, open_below
from fonshare_agent.errors import NotFound, StorageError
from fonshare_agent.model import SharePath

FOLDERS_MAX: Final = 2000  # nobody chooses by hand among more


def list_folders(disk: Disk, text: str) -> list[str]:
    """Return the paths, relative to the disk, of the folders in the folder *text*.

    Sorted, at most FOLDERS_MAX. An empty *text* is the disk's top. Raises BadPath,
    NotFound, DiskMissing or StorageError.
    """
    text = text.strip("/")
    path = SharePath.parse(text) if text else None
    root = disk.open_root()
    try:
        names = _names(root, path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"the disk has no folder {text!r}",
            thing=text,
            next="Folders are named from the disk on, as in `films/holidays`.",
        ) from None
    except OSError as error:
        raise StorageError(
            f"the folder cannot be read: {error.strerror}", thing=text
        ) from None
    finally:
        os.close(root)
    return [f"{text}/{name}" if text else name for name in names]


def _names(root: int, path: SharePath | None) -> list[str]:
    flags = os.O_RDONLY | os.O_DIRECTORY
    folder = os.dup(root) if path is None else open_below(root, path, flags)
    try:
        with os.scandir(folder) as entries:
            found = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
    finally:
        os.close(folder)
    shown = (name for name in found if name[0] != "." and _is_text(name))
    return sorted(shown, key=lambda name: (name.casefold(), name))[:FOLDERS_MAX]


def _is_text(name: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in name)
