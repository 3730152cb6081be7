"""The house door: the owner reads and writes the disk, guests read some folders.

Commands turn into work for the file workers on `DiskFiles` and `UploadStore`; what is
allowed is decided by the login's `View`, and again by those two.
"""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fonshare_agent.errors import NotFound
from fonshare_agent.ftp.filesystem import Parts, View, path_text
from fonshare_agent.ftp.house_files import FriendsFiles
from fonshare_agent.ftp.house_listings import HouseListings
from fonshare_agent.ftp.listing import modified_text
from fonshare_agent.ftp.replies import quoted
from fonshare_agent.ftp.transfers import (
    Download,
    HouseUpload,
    SmallDownload,
    open_download,
)
from fonshare_agent.ftp.uploads import APPEND


class HouseSession(HouseListings):
    """See the module's text."""

    def ftp_PWD(self, line: str) -> None:
        self.respond(f"257 {quoted(path_text(self._cwd))} is the current folder")

    def ftp_CWD(self, line: str) -> None:
        path = self._path(line or "/")
        if path is None:
            return

        def enter(_: None) -> None:
            self._cwd = path
            self.respond(f"250 {quoted(path_text(path))} is the current folder")

        self.work(self.server.disk.demand_folder, self._view, path, then=enter)

    def ftp_CDUP(self, line: str) -> None:
        self.ftp_CWD("..")

    # --- transfers

    def ftp_RETR(self, line: str) -> None:
        offset = self.take_restart()
        path = self._path(line)
        if path is None:
            return
        if path == self._asked_partial:
            # SIZE told the length of the interrupted upload; the older file under that
            # name has another one, and some clients would cut it to the first.
            self.respond("450 An upload to this name was interrupted: resume or delete")
            return
        self.work(
            self._open_download,
            path,
            offset,
            then=lambda opened: self._on_opened(opened, offset),
        )

    def _on_opened(
        self,
        opened: Download | SmallDownload | tuple[FriendsFiles, Parts],
        offset: int,
    ) -> None:
        if isinstance(opened, tuple):
            self._open_friends(*opened, offset)
        else:
            self.begin(opened)

    def _open_friends(self, friends: FriendsFiles, below: Parts, offset: int) -> None:
        """A friend's file: it may have to come from there first."""

        def begin(opened: Any) -> None:
            size = self.server.buffer_size
            self.work(opened.transfer, offset, size, then=self.begin)

        elsewhere = self.server.elsewhere
        self.work(friends.open, below, offset, then=begin, pool=elsewhere)

    def _open_download(
        self, path: Parts, offset: int
    ) -> Download | SmallDownload | tuple[FriendsFiles, Parts]:
        below = self.server.disk.below_friends(self._view, path)
        if below is not None:
            return self.server.disk.friends, below
        fd = self.server.disk.open_file(self._view, path)
        return open_download(fd, offset, self.server.buffer_size)

    def ftp_STOR(self, line: str) -> None:
        self._store(line, self.take_restart())

    def ftp_APPE(self, line: str) -> None:
        self.take_restart()
        self._store(line, APPEND)

    def _store(self, line: str, offset: int) -> None:
        path = self._path(line)
        if path is None:
            return
        self._asked_partial = None
        self.work(self._open_upload, path, offset, then=self.begin)

    def _open_upload(self, path: Parts, offset: int) -> HouseUpload:
        return HouseUpload(self.server.uploads.begin(self._view, path, offset))

    # --- single files and folders

    def ftp_SIZE(self, line: str) -> None:
        path = self._path(line)
        if path is not None:
            self.work(self._size, path, then=lambda size: self._tell_size(path, *size))

    def _size(self, path: Parts) -> tuple[int, bool]:
        """Return the size a resume must start at, and whether it is a partial's."""
        if self._view.can_write and path:
            size = self.server.uploads.interrupted_size(path)
            if size is not None:
                return size, True
        status = self.server.disk.stat(self._view, path)
        if not stat.S_ISREG(status.st_mode):
            raise NotFound("not a file")
        return status.st_size, False

    def _tell_size(self, path: Parts, size: int, is_partial: bool) -> None:
        self._asked_partial = path if is_partial else None
        self.respond(f"213 {size}")

    def ftp_MDTM(self, line: str) -> None:
        self._do(
            line,
            self.server.disk.stat,
            lambda status: self.respond(f"213 {modified_text(status.st_mtime)}"),
        )

    def ftp_MFMT(self, line: str) -> None:
        when, _, name = line.partition(" ")
        modified = _parse_time(when)
        path = self._path(name)
        if path is None:
            return
        if modified is None or not path:
            self.respond("501 MFMT YYYYMMDDHHMMSS PATH")
            return
        self.work(
            self.server.disk.set_modified,
            self._view,
            path,
            modified,
            then=lambda _: self.respond(f"213 Modify={when}; {path_text(path)}"),
        )

    def ftp_MKD(self, line: str) -> None:
        path = self._path(line)
        if path is not None:
            self.work(
                self._change,
                [(path, "made")],
                self.server.disk.make_folder,
                path,
                then=lambda _: self.respond(f"257 {quoted(path_text(path))} created"),
            )

    def ftp_RMD(self, line: str) -> None:
        self._remove(line, self.server.disk.remove_folder)

    def ftp_DELE(self, line: str) -> None:
        self._remove(line, self._delete)

    def _remove(self, line: str, function: Callable[[View, Parts], None]) -> None:
        path = self._path(line)
        if path is not None:
            self.work(
                self._change,
                [(path, "deleted")],
                function,
                path,
                then=lambda _: self.respond("250 Deleted"),
            )

    def _delete(self, view: View, path: Parts) -> None:
        had_partial = bool(path) and self.server.uploads.forget(path)
        try:
            self.server.disk.remove_file(view, path)
        except FileNotFoundError:
            if not had_partial:
                raise

    def ftp_RNFR(self, line: str) -> None:
        path = self._path(line)
        if path is None:
            return

        def remember(_: os.stat_result) -> None:
            self._from = path
            self.respond("350 Now send RNTO")

        self.work(self.server.disk.stat, self._view, path, then=remember)

    def ftp_RNTO(self, line: str) -> None:
        old, self._from = self._from, None
        path = self._path(line)
        if path is None:
            return
        if old is None:
            self.respond("503 Send RNFR first")
            return
        self.work(
            self._rename,
            old,
            path,
            then=lambda fetched: (
                self._fetch(*fetched) if fetched else self.respond("250 Renamed")
            ),
        )

    def _rename(
        self, old: Parts, new: Parts
    ) -> tuple[FriendsFiles, Parts, Parts] | None:
        """Move *old*; if it is a friend's, return what is to be fetched, and where."""
        disk = self.server.disk
        below = disk.below_friends(self._view, old)
        if below is not None:
            return disk.friends, below, disk.folder_for(self._view, old[-1], new)
        self._change([(old, "moved_from"), (new, "moved_to")], disk.rename, old, new)
        return None

    def _fetch(self, friends: FriendsFiles, below: Parts, folder: Parts) -> None:
        self.work(
            friends.fetch,
            below,
            folder,
            then=lambda job: self.respond(f"250 Job {job} fetches it there"),
            pool=self.server.elsewhere,
        )

    def _change(
        self,
        changes: list[tuple[Parts, str]],
        function: Callable[..., None],
        *paths: Parts,
    ) -> None:
        """Change the disk, then tell who keeps the index."""
        function(self._view, *paths)
        for path, kind in changes:
            self.server.on_change(b"/".join(path), kind)

    ftp_XPWD, ftp_XCWD, ftp_XCUP = ftp_PWD, ftp_CWD, ftp_CDUP
    ftp_XMKD, ftp_XRMD = ftp_MKD, ftp_RMD


def _parse_time(text: str) -> int | None:
    try:
        parsed = datetime.strptime(text[:14], "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return int(parsed.replace(tzinfo=UTC).timestamp())
