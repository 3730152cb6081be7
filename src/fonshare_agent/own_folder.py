"""FonShare's own folder on the disk, by whatever name it is called.

vfat also answers to `FONSHA~1` and `.fonshare.`, so a name alone does not tell.
"""

import os

from fonshare_agent.model import PRIVATE_FOLDER


def is_private(root: int, folder: int, name: bytes) -> bool:
    """Tell whether *name* in *folder* is it; *root* is the disk's top. May block."""
    if name.lower() == PRIVATE_FOLDER:
        return True
    try:
        ours = os.stat(PRIVATE_FOLDER, dir_fd=root, follow_symlinks=False)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(ours, found)
