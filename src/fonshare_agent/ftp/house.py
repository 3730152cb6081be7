"""The house door: the owner reads and writes the disk, guests read some folders.

Commands turn into work for the file workers on `DiskFiles` and `UploadStore`; what is
allowed is decided by the login's `View`, and again by those two.
"""

import calendar
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from fonshare_agent.errors import BadPath, NotFound, UsageError
from fonshare_agent.ftp.accounts import Account
from fonshare_agent.ftp.filesystem import Parts, View, resolve
from fonshare_agent.ftp.listing import (
    Named,
    fact_line,
    fact_lines,
    list_lines,
    modified_text,
    name_lines,
)
from fonshare_agent.ftp.loop import FTPHandler
from fonshare_agent.ftp.replies import quoted, reply_to_error
from fonshare_agent.ftp.session import ControlSession
from fonshare_agent.ftp.transfers import Download, HouseUpload, Listing
from fonshare_agent.ftp.uploads import APPEND

if TYPE_CHECKING:
    from fonshare_agent.ftp.doors import HouseDoor

# STAT answers over the control connection, which nobody streams: small folders only.
STAT_ENTRIES_MAX = 500
LS_OPTIONS = re.compile(r"(-[A-Za-z1]+)( +|$)")
WRITING = frozenset(
    [
        "STOR",
        "APPE",
        "DELE",
        "RMD",
        "XRMD",
        "MKD",
        "XMKD",
        "RNFR",
        "RNTO",
        "MFMT",
        "ALLO",
    ]
)
NOTHING = View(folders=(), can_write=False)


def _entry(argument: bool | None, *, before_login: bool = False) -> dict[str, Any]:
    return {"perm": None, "auth": not before_login, "arg": argument, "help": ""}


class HouseSession(ControlSession):
    """See the module's text."""

    server: "HouseDoor"
    proto_cmds = {
        name: entry
        for name, entry in FTPHandler.proto_cmds.items()
        # Modes are the agent's business; REIN and STOU nobody sends.
        if name not in ("STOU", "REIN", "SITE CHMOD")
    } | {
        "AUTH": _entry(True, before_login=True),
        "PBSZ": _entry(True, before_login=True),
        "PROT": _entry(True, before_login=True),
    }

    def __init__(self, conn: Any, server: "HouseDoor", ioloop: Any) -> None:
        self._view = NOTHING
        self._cwd: Parts = ()
        self._from: Parts | None = None
        self._asked_partial: Parts | None = None
        super().__init__(conn, server, ioloop)
        self.is_outside = not server.is_house(self.remote_ip)
        self.needs_tls = self.needs_protected_data = self.is_outside

    def tls_context(self) -> Any:
        return self.server.context

    def has_owner_rights(self) -> bool:
        return self.authenticated and self._view.can_write

    def find_refusal(self, command: str, argument: str) -> str | None:
        refusal = super().find_refusal(command, argument)
        if refusal is None and command in WRITING and not self._view.can_write:
            return "550 This login may only read"
        return refusal

    # --- login

    def ftp_USER(self, line: str) -> None:
        if self.authenticated:
            self.flush_account()
        self.username = line
        self.respond("331 Send the password")

    def ftp_PASS(self, line: str) -> None:
        if self.authenticated or not self.username:
            self.respond("503 Send USER first")
            return
        accounts = self.server.accounts
        self.work(
            accounts.check,
            self.username,
            line,
            then=self._on_checked,
            pool=self.server.passwords,
        )

    def _on_checked(self, account: Account | None) -> None:
        # Outside the house there are no guests, even with the right password.
        if account is None or (self.is_outside and not account.is_owner):
            self.fail_login()
        elif not account.is_owner and not self.server.has_room_for_guest():
            self.respond("421 Too many guests; try again later")
            self.close_when_done()
        else:
            folders = None if account.is_owner else self.server.guest_folders
            self._view = View(folders, can_write=account.is_owner)
            self.succeed_login()

    def flush_account(self) -> None:
        super().flush_account()
        self._view, self._cwd, self._from = NOTHING, (), None

    # --- paths

    def _path(self, text: str) -> Parts | None:
        """Return the path a command names, or answer why not and return None."""
        try:
            return resolve(self._cwd, text)
        except BadPath as error:
            self.respond(reply_to_error(error))
            return None

    def _do(
        self, text: str, function: Callable[..., Any], then: Callable[[Any], None]
    ) -> None:
        """Work on the one path that a command names."""
        path = self._path(text)
        if path is not None:
            self.work(function, self._view, path, then=then)

    def ftp_PWD(self, line: str) -> None:
        self.respond(f"257 {quoted(_text(self._cwd))} is the current folder")

    def ftp_CWD(self, line: str) -> None:
        path = self._path(line or "/")
        if path is None:
            return

        def enter(_: None) -> None:
            self._cwd = path
            self.respond(f"250 {quoted(_text(path))} is the current folder")

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
        self.work(self._open_download, path, offset, then=self.begin)

    def _open_download(self, path: Parts, offset: int) -> Download:
        fd = self.server.disk.open_file(self._view, path)
        size = os.fstat(fd).st_size
        if offset > size:
            os.close(fd)
            raise UsageError(f"REST {offset} is beyond the end at {size}")
        return Download(fd, offset, self.server.buffer_size)

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

    # --- listings

    def ftp_LIST(self, line: str) -> None:
        self._list(line, lambda entries: list_lines(entries, time.time()))

    def ftp_NLST(self, line: str) -> None:
        self._list(line, name_lines)

    def ftp_MLSD(self, line: str) -> None:
        facts, can_write = list(self._current_facts), self._view.can_write
        path = self._path(line)
        if path is not None:
            self.work(
                self._open_listing,
                path,
                lambda entries: fact_lines(entries, facts, can_write),
                False,
                then=self.begin,
            )

    def _list(
        self, line: str, form: Callable[[Iterator[Named]], Iterator[bytes]]
    ) -> None:
        path = self._path(LS_OPTIONS.sub("", line, count=1))
        if path is not None:
            self.work(self._open_listing, path, form, True, then=self.begin)

    def _open_listing(
        self,
        path: Parts,
        form: Callable[[Iterator[Named]], Iterator[bytes]],
        may_be_file: bool,
    ) -> Listing:
        status = self.server.disk.stat(self._view, path)
        if stat.S_ISDIR(status.st_mode):
            entries = self.server.disk.entries(self._view, path)
            return Listing(_closing(form, entries))
        if not may_be_file:
            raise NotFound("no such folder")
        return Listing(_closing(form, _just(path[-1], status)))

    def ftp_MLST(self, line: str) -> None:
        path = self._path(line)
        if path is None:
            return

        def tell(status: os.stat_result) -> None:
            facts, can_write = self._current_facts, self._view.can_write
            name = os.fsencode(_text(path))
            self.push("250-Listing\r\n")
            self.push_bytes(b" " + fact_line(name, status, facts, can_write))
            self.respond("250 End")

        self.work(self.server.disk.stat, self._view, path, then=tell)

    def ftp_STAT(self, line: str) -> None:
        if not line:
            self.respond("211 " + ("Transferring" if self._transfer else "Idle"))
        else:
            path = self._path(LS_OPTIONS.sub("", line, count=1))
            if path is not None:
                self.work(self._stat_lines, path, then=self._tell_lines)

    def _stat_lines(self, path: Parts) -> bytes:
        listing = self._open_listing(
            path, lambda entries: list_lines(entries, time.time()), True
        )
        lines: list[bytes] = []
        for text in listing.lines:
            lines.append(text)
            if len(lines) > STAT_ENTRIES_MAX:
                listing.lines.close()
                raise NotFound("the folder is too large for STAT: use LIST")
        return b"".join(lines)

    def _tell_lines(self, lines: bytes) -> None:
        self.push("213-Status\r\n")
        if lines:
            self.push_bytes(lines)
        self.respond("213 End")

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
            then=lambda _: self.respond(f"213 Modify={when}; {_text(path)}"),
        )

    def ftp_MKD(self, line: str) -> None:
        path = self._path(line)
        if path is not None:
            self.work(
                self._change,
                [(path, "made")],
                self.server.disk.make_folder,
                path,
                then=lambda _: self.respond(f"257 {quoted(_text(path))} created"),
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
            self._change,
            [(old, "moved_from"), (path, "moved_to")],
            self.server.disk.rename,
            old,
            path,
            then=lambda _: self.respond("250 Renamed"),
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


def _text(path: Parts) -> str:
    return "/" + os.fsdecode(b"/".join(path))


def _just(name: bytes, status: os.stat_result) -> Generator[Named, None, None]:
    yield name, status


def _closing(
    form: Callable[[Iterator[Named]], Iterator[bytes]],
    entries: Generator[Named, None, None],
) -> Generator[bytes, None, None]:
    """Yield the formed lines; closing this closes the folder, too."""
    try:
        yield from form(entries)
    finally:
        entries.close()


def _parse_time(text: str) -> int | None:
    try:
        parsed = time.strptime(text[:14], "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return calendar.timegm(parsed)
