"""What the house door shows: the disk, and beside it what friends offer, for the owner.

The friends' tree is the top folder `friends`, or `friends (2)` and so on where the disk
has something of that name, which stays what it is. It can only be read. Everything here
may block: workers only. Must not know where the tree comes from.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from fonshare_agent.errors import BadPath, FonshareError, NotAllowed
from fonshare_agent.ftp.filesystem import DiskFiles, Parts, View
from fonshare_agent.ftp.listing import Named

MOUNT = b"friends"

Answer = Callable[[Any, OSError | FonshareError | None], None]


class FriendsFiles(Protocol):
    """What friends offer, as folders: GROUP/MEMBER/SHARE/PATH."""

    def stat(self, parts: Parts) -> os.stat_result:
        """Return the status of a file or folder; NotFound if there is none."""

    def entries(self, parts: Parts) -> Generator[Named, None, None]:
        """Yield what is in a folder, some at a time."""

    def open(self, parts: Parts, offset: int, answer: Answer) -> None:
        """Have a file opened, to be read from *offset* on: what is answered has
        `transfer(offset, buffer size)` and `finish`. Never waits."""

    def fetch(self, parts: Parts, folder: Parts, answer: Answer) -> None:
        """Have a job made that fetches into *folder*: its id is answered. Never
        waits."""


class HouseFiles(DiskFiles):
    """See the module's text. *friends* gives the tree when it is wanted first."""

    def __init__(
        self,
        root: Path,
        check: Callable[[], None],
        friends: Callable[[], FriendsFiles] | None = None,
    ) -> None:
        super().__init__(root, check)
        self._top, self._friends = root, friends

    def below_friends(self, view: View, parts: Parts) -> Parts | None:
        """Return where in the friends' tree *parts* lead; None: they do not."""
        if not (self._shows_friends(view) and parts and parts[0].startswith(MOUNT)):
            return None
        return parts[1:] if parts[0] == self._mount() else None

    def _shows_friends(self, view: View) -> bool:
        return self._friends is not None and view.folders is None and view.can_write

    def _mount(self) -> bytes:
        """Return the name of the tree's top: the disk's own files come first."""
        name, number = MOUNT, 1
        while os.path.lexists(os.path.join(os.fsencode(self._top), name)):
            number += 1
            name = b"%s (%d)" % (MOUNT, number)
        return name

    @property
    def friends(self) -> FriendsFiles:
        """The tree; only where `below_friends` leads there."""
        assert self._friends is not None
        return self._friends()

    def folder_for(self, view: View, name: bytes, parts: Parts) -> Parts:
        """Return the folder of the disk into which *name* goes by a move to *parts*.

        A client may name the thing's new place or the folder that shall hold it.
        """
        if parts and parts[-1] == name:
            folder = parts[:-1]
        elif self._has_folder(view, parts):
            folder = parts
        else:
            raise BadPath("what is fetched keeps its name: name a folder, or that")
        if folder:
            with self.parent(view, folder):  # on the disk, and where one may write
                pass
        return folder

    def _has_folder(self, view: View, parts: Parts) -> bool:
        try:
            return _is_folder(self.stat(view, parts))
        except OSError:
            return False

    # --- what the sessions ask

    def stat(self, view: View, parts: Parts) -> os.stat_result:
        below = self.below_friends(view, parts)
        return super().stat(view, parts) if below is None else self.friends.stat(below)

    def demand_folder(self, view: View, parts: Parts) -> None:
        below = self.below_friends(view, parts)
        if below is None:
            super().demand_folder(view, parts)
        elif not _is_folder(self.friends.stat(below)):
            raise NotADirectoryError(20, "Not a folder")

    def entries(self, view: View, parts: Parts) -> Generator[Named, None, None]:
        below = self.below_friends(view, parts)
        if below is not None:
            yield from self.friends.entries(below)
            return
        yield from super().entries(view, parts)
        if not parts and self._shows_friends(view):
            yield self._mount(), friends_status()

    @contextmanager
    def parent(self, view: View, parts: Parts) -> Iterator[tuple[int, bytes]]:
        if self.below_friends(view, parts) is not None:
            raise NotAllowed("what friends offer can only be read")
        with super().parent(view, parts) as found:
            yield found


def friends_status(
    size: int | None = None, modified: int = 0, number: int = 0
) -> os.stat_result:
    """Return the status of a friend's file; of a folder if it has no size.

    Its device is 0, which none on the disk has: that tells that it can only be read.
    """
    mode = 0o040555 if size is None else 0o100444
    times = (modified, modified, modified)
    return os.stat_result((mode, number, 0, 1, 0, 0, size or 0, *times))


def _is_folder(status: os.stat_result) -> bool:
    return status.st_mode & 0o040000 != 0
