"""The last step of one file: from a verified partial to its place in a folder.

Owns the order of records and renames that makes it safe to be killed anywhere: the name
is recorded, then taken, and a restart that finds the record but no data looks at the
file it had placed. Rules kept: nothing is replaced; a file with the very same content
is used as it is. Must not know peers or jobs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fonshare_agent.disk import Disk, make_folders_below, open_below
from fonshare_agent.errors import BadPath, TargetBarred, TargetElsewhere
from fonshare_agent.model import SharePath, printable
from fonshare_agent.own_folder import is_private
from fonshare_agent.storable import storable_name
from fonshare_agent.transfer.blocks import Content, find_bad_blocks
from fonshare_agent.transfer.partial_files import DATA, PartialFiles
from fonshare_agent.transfer.placing import (
    NameTaken,
    Spot,
    candidate_names,
    is_bad_name,
    move_by_link_or_call,
    move_without_overwriting,
)

# O_PATH: a folder may be entered though it must not be listed.
_WAY_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def folder_on_disk(disk: Disk, folder: bytes) -> Iterator[int]:
    """Open the absolute *folder*, making what lacks; no link below the disk's top."""
    path = _below(disk, folder)
    root = disk.open_root()
    try:
        _refuse_own_folder(root, path)
        target = make_folders_below(root, path)
    finally:
        os.close(root)
    try:
        yield target
    finally:
        os.close(target)


def _below(disk: Disk, folder: bytes) -> SharePath | None:
    """Return where on *disk* the absolute *folder* is; None: it is the disk's top."""
    below = os.path.relpath(folder, os.fsencode(disk.path))
    if below.split(b"/")[0] == b"..":
        raise TargetElsewhere(
            f"{printable(folder)} is not on the disk", thing=printable(folder)
        )
    return None if below == b"." else SharePath.parse(below)


def _refuse_own_folder(root: int, path: SharePath | None) -> None:
    if path is not None and is_private(root, root, path.parts[0]):
        raise BadPath(f"{path} is FonShare's own folder", thing=str(path))


def demand_way(disk: Disk, folder: bytes) -> None:
    """Raise unless *folder* is there, or can be made as far as one sees: so that
    nothing is fetched that will find no place."""
    path = _below(disk, folder)
    here = disk.open_root()
    device = os.fstat(here).st_dev
    try:
        _refuse_own_folder(here, path)
        for part in path.parts if path is not None else ():
            try:
                deeper = os.open(part, _WAY_FLAGS, dir_fd=here)
            except FileNotFoundError:
                break
            except NotADirectoryError:
                raise TargetBarred(
                    f"a file or a link called {printable(part)!r} lies where a folder"
                    " shall be",
                    thing=printable(folder),
                ) from None
            os.close(here)
            here = deeper
        if os.fstat(here).st_dev != device:
            raise TargetElsewhere(
                f"{printable(folder)} is on another file system than the disk",
                thing=printable(folder),
            )
    finally:
        os.close(here)


def place(files: PartialFiles, content: Content, target: int, name: bytes) -> bytes:
    """Move the synced and verified data to *name*, or the next name that is free.

    Returns the name; the move is durable. The data is gone from the partial then.
    """
    recorded, is_placeholder = files.read_final()
    if is_placeholder:
        _remove_placeholder(target, recorded)
    for candidate in candidate_names(name):
        files.write_final(candidate)
        try:
            _move(files, target, candidate)
        except NameTaken:
            if not holds(target, candidate, content):
                continue
        except OSError as error:
            safe = storable_name(name)
            if is_bad_name(error) and safe != name:
                return place(files, content, target, safe)
            raise
        os.fsync(target)
        files.forget_data()
        os.fsync(files.folder)
        return candidate
    raise AssertionError("the names never end")


def take_name(source: Spot, content: Content, target: int, name: bytes) -> bytes | None:
    """Move the synced and verified *source* to *name*, or the next name that is free.

    Returns the name, which is durable once *target* was synced. None where that needs a
    placeholder, which must be on record first: `place` does it. A file of that name
    with this very content is used as it is, so a second call finds what a first placed.
    """
    for candidate in candidate_names(name):
        try:
            if not move_by_link_or_call(source, Spot(target, candidate)):
                return None
        except NameTaken:
            if not holds(target, candidate, content):
                continue
        except OSError as error:
            safe = storable_name(name)
            if is_bad_name(error) and safe != name:
                return take_name(source, content, target, safe)
            raise
        return candidate
    raise AssertionError("the names never end")


def find_placed(files: PartialFiles, content: Content, target: int) -> bytes | None:
    """Return the name that a call of `place` before a crash gave to the file."""
    name, _ = files.read_final()
    return name if name and holds(target, name, content) else None


def holds(folder: int, name: bytes, content: Content) -> bool:
    """Tell whether *name* is a file with this very content; if so, it is synced."""
    try:
        found = open_below(folder, SharePath((name,)), os.O_RDONLY)
    except (BadPath, OSError):
        return False  # a link, a folder, or nothing that can be read
    try:
        if os.fstat(found).st_size != content.size:
            return False
        if any(True for _ in find_bad_blocks(found, content)):
            return False
        os.fsync(found)
    except OSError:
        return False
    finally:
        os.close(found)
    return True


def _move(files: PartialFiles, target: int, name: bytes) -> None:
    def announce_placeholder() -> None:
        files.write_final(name, placeholder=True)

    source, final = Spot(files.folder, DATA), Spot(target, name)
    move_without_overwriting(source, final, announce_placeholder)


def _remove_placeholder(target: int, name: bytes) -> None:
    """Take back the empty file that a crash of ours left under *name*."""
    try:
        found = os.stat(name, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return
    if found.st_size == 0:
        os.unlink(name, dir_fd=target)


def set_modified(descriptor: int, modified: int) -> None:
    """Give the file its time, durably."""
    # A time that this file system or a 32-bit system cannot hold is left out.
    with suppress(OverflowError, OSError):
        os.utime(descriptor, (modified, modified))
    os.fsync(descriptor)
