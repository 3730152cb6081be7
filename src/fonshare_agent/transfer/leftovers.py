"""What is on the disk and not whole: whether there is any, and how it is removed.

What makes such files is loaded only where there are some: a node that has moved nothing
for long looks for them at every start. All of it may block on the disk.
"""

import os

from fonshare_agent.disk import Disk, open_below
from fonshare_agent.loading import loading
from fonshare_agent.model import PRIVATE_FOLDER, SharePath
from fonshare_agent.transfer.disk_errors import translated

# Partials (partial_files.py) and copies of catalogues (copy_files.py).
FOLDERS = (b"partial", b"copies")


def has_leftovers(disk: Disk) -> bool:
    """Look for it. Raises StorageError if the disk is missing."""
    disk.check()
    with translated(disk):
        root = disk.open_root()
        try:
            paths = (SharePath((PRIVATE_FOLDER, one)) for one in FOLDERS)
            return any(_has_any(root, path) for path in paths)
        finally:
            os.close(root)


def kept_jobs(disk: Disk) -> set[str]:
    """Return the ids of the jobs of which something is kept here."""
    with loading():
        from fonshare_agent.transfer.partial_files import COPY_PREFIX, list_kept
    return {one for one in list_kept(disk) if not one.startswith(COPY_PREFIX)}


def discard_job(disk: Disk, job_id: str) -> None:
    """See discard_partials."""
    if not has_leftovers(disk):
        return
    with loading():
        from fonshare_agent.transfer.partial_files import discard_partials
    discard_partials(disk, job_id)


def _has_any(root: int, path: SharePath) -> bool:
    try:
        folder = open_below(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        return bool(os.listdir(folder))
    finally:
        os.close(folder)
