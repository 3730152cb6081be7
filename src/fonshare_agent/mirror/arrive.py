"""One file of a mirror arrives: a partial that is gone on with, then its name.

Rules kept: bytes get their name only when they are as many as the server says, asked
again at the end; where it says none, the disk's reserve stays free however many come;
what is there from before is gone on with only if it is of that very file and its last
bytes are the server's; they move as fast as the agent gives leave.
"""

import calendar
import os
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Final

from fonshare_agent.errors import (
    DiskFull,
    FileTooLarge,
    FxpLost,
    FxpPartial,
    FxpRefused,
    FxpUnreachable,
)
from fonshare_agent.mirror.decide import Known, Local
from fonshare_agent.mirror.known import KnownFiles
from fonshare_agent.mirror.line import CREDIT_BYTES, Line
from fonshare_agent.mirror.place import Place
from fonshare_agent.model import SharePath, printable
from fonshare_agent.transfer.disk_errors import demand_room, demand_size, translated
from fonshare_agent.transfer.disk_guard import DiskGuard
from fonshare_agent.transfer.fxp_file import PAUSES_S, PIECE_BYTES, TRIES
from fonshare_agent.transfer.fxp_listing import Entry, Kind
from fonshare_agent.transfer.fxp_places import find
from fonshare_agent.transfer.fxp_relay import BUFFER_BYTES, read_piece
from fonshare_agent.transfer.fxp_server import Server
from fonshare_agent.transfer.write_behind import STEP_BYTES, write_behind

HOLD_BYTES: Final = 32 * 1024 * 1024  # a power cut costs so much of a file at most


def modified_s(modified: bytes | None) -> int | None:
    """Return FTP's YYYYMMDDHHMMSS as epoch seconds; None if it is no time."""
    try:
        text = (modified or b"")[:14].decode("ascii")
        return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S"))
    except ValueError:
        return None


def same_end(
    server: Server, remote: bytes, size: int, read: Callable[..., bytes]
) -> bool:
    """Tell whether the last bytes of *size* are the server's there.

    *read* gives ours: of (start, count).
    """
    start = max(0, size - PIECE_BYTES)
    count = size - start
    if not count:
        return True
    try:
        theirs = read_piece(server, remote, start, count)
    except FxpPartial:
        return False  # a server that begins at the beginning only
    return len(theirs) == count and read(start, count) == theirs


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What all files of a run arrive by."""

    server: Server
    place: Place
    known: KnownFiles
    line: Line
    on_bytes: Callable[[int], None]
    sleep: Callable[[float], None] = time.sleep

    def fetch(
        self, path: SharePath, remote: bytes, entry: Entry, before: Known | None
    ) -> Known:
        """Bring a file and return what is to be noted of it.

        *before*: what the mirror has laid at *path* earlier, and is replaced.
        """
        wanted = self._ask_whole(remote, entry)
        tries = 0
        while True:
            held = self.known.held(path.raw, wanted)
            try:
                self._fetch_rest(path, remote, wanted)
                self._demand_unchanged(remote, wanted)
                break
            except (FxpLost, FxpUnreachable):
                tries = 0 if self.known.held(path.raw, wanted) > held else tries + 1
                if tries >= TRIES:
                    raise
                self._call_again(tries)
        return self._lay(path, wanted, before)

    def _ask_whole(self, remote: bytes, entry: Entry) -> Entry:
        """Return *entry* with all that the server tells of it."""
        if entry.size is not None and entry.modified is not None:
            return entry
        found = find(self.server, remote, may_list=False)
        if found is None or found.kind is not Kind.FILE:
            return entry
        size = entry.size if found.size is None else found.size
        return replace(entry, size=size, modified=found.modified or entry.modified)

    def _call_again(self, tries: int) -> None:
        for pause_s in (*PAUSES_S[max(0, tries - 1) :], None):
            self.line.look()
            try:
                self.server.reopen()
                return
            except (FxpLost, FxpUnreachable):
                if pause_s is None:
                    raise
                self.sleep(pause_s)

    # --- bytes ---------------------------------------------------------------------

    def _fetch_rest(self, path: SharePath, remote: bytes, wanted: Entry) -> None:
        partial = self.place.open_partial(path)
        try:
            with translated(self.place.disk):
                offset = self._begin(partial, path, remote, wanted)
                if wanted.size is None or offset < wanted.size:
                    self._receive(partial, path, remote, wanted, offset)
                os.fsync(partial)
        except DiskFull as error:
            if wanted.size is not None:
                raise
            with translated(self.place.disk):
                os.ftruncate(partial, 0)  # it would not be gone on with
            raise FileTooLarge(
                "the server does not tell how large it is, and it does not fit",
                thing=printable(remote),
                next=error.next,
            ) from None
        finally:
            os.close(partial)

    def _begin(
        self, partial: int, path: SharePath, remote: bytes, wanted: Entry
    ) -> int:
        """Return from where to go on; what lies behind it is cut off."""
        held = min(self.known.held(path.raw, wanted), os.fstat(partial).st_size)
        if wanted.size is None or held > wanted.size:
            held = 0

        def read(start: int, count: int) -> bytes:
            return os.pread(partial, count, start)

        if held and not same_end(self.server, remote, held, read):
            held = 0
        os.ftruncate(partial, held)
        if wanted.size is not None:
            demand_size(self.place.disk, partial, wanted.size)
            demand_room(self.place.disk, wanted.size - held)
        return held

    def _receive(
        self, partial: int, path: SharePath, remote: bytes, wanted: Entry, offset: int
    ) -> None:
        server, done = self.server, offset
        try:
            data = server.open_data(b"RETR " + remote, offset, remote)
        except FxpPartial:
            self.known.let_go(path.raw)  # it can be had from its beginning only
            raise FxpLost("the server cannot begin inside a file") from None
        try:
            with closing(data):
                self.line.begin(data, server.peer)
                try:
                    done = self._pump(data, partial, path, wanted, offset)
                finally:
                    # The agent counts by a copy of the socket: closing is not enough.
                    with suppress(OSError):
                        data.shutdown(socket.SHUT_RDWR)
            server.finish_data(remote)
        except BaseException:
            server.settle(aborts=False)
            raise
        finally:
            self.line.end()
        if wanted.size is not None and done != wanted.size:
            raise FxpLost(
                f"{done} bytes came instead of {wanted.size}", thing=printable(remote)
            )

    def _pump(
        self,
        data: socket.socket,
        partial: int,
        path: SharePath,
        wanted: Entry,
        offset: int,
    ) -> int:
        """Write what comes; return where the file ends, however it ended."""
        guard = DiskGuard(self.place.disk, time.monotonic)
        buffer = memoryview(bytearray(BUFFER_BYTES))
        done = behind = held = looked = offset
        try:
            while True:
                if wanted.size is None and done >= looked:
                    demand_room(self.place.disk, CREDIT_BYTES)
                    looked = done + CREDIT_BYTES - BUFFER_BYTES
                left = CREDIT_BYTES if wanted.size is None else wanted.size - done
                # One more than is left: the end itself must be seen.
                leave = self.line.wait_leave(max(1, left))
                count = _receive(self.server, data, buffer[:leave])
                if not count:
                    return done
                guard.count(count)
                os.pwrite(partial, buffer[:count], done)
                self.line.spend(count)
                done += count
                self.on_bytes(count)
                if done - behind >= STEP_BYTES:
                    write_behind(partial)
                    behind = done
                if done - held >= HOLD_BYTES:
                    held = self._hold(partial, path, wanted, done)
                if wanted.size is not None and done > wanted.size:
                    return done
        finally:
            if done > held:
                self._hold(partial, path, wanted, done)

    def _hold(self, partial: int, path: SharePath, wanted: Entry, done: int) -> int:
        os.fdatasync(partial)
        self.known.hold(path.raw, wanted, done)
        return done

    # --- the end -------------------------------------------------------------------

    def _demand_unchanged(self, remote: bytes, wanted: Entry) -> None:
        now = find(self.server, remote, may_list=False)
        pairs = (
            []
            if now is None
            else [(now.size, wanted.size), (now.modified, wanted.modified)]
        )
        if any(one != other for one, other in pairs if None not in (one, other)):
            raise FxpRefused(
                "the file changed while it was copied",
                thing=printable(remote),
                next="It has not got its name; the next reading fetches it anew.",
            )

    def _lay(self, path: SharePath, wanted: Entry, before: Known | None) -> Known:
        partial = self.place.open_partial(path)
        try:
            with translated(self.place.disk):
                seconds = modified_s(wanted.modified)
                if seconds is not None:
                    # A time that this file system cannot hold is left out.
                    with suppress(OSError, OverflowError):
                        os.utime(partial, (seconds, seconds))
                os.fsync(partial)
        finally:
            os.close(partial)
        self.place.give_name(path, None if before is None else before.local)
        self.known.let_go(path.raw)
        local = self.place.look_at(path)
        size = local.size if local is not None else 0
        laid = local if local is not None else Local(0, 0)
        return Known(size, wanted.modified, None, laid)


def _receive(server: Server, data: socket.socket, buffer: memoryview) -> int:
    try:
        return data.recv_into(buffer)
    except OSError as error:
        raise FxpLost(f"cannot read: {error}", thing=server.name) from None
