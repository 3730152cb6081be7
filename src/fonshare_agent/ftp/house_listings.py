"""LIST, NLST, MLSD, MLST and STAT: the house door's listings, streamed by workers."""

import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator

from fonshare_agent.errors import NotFound
from fonshare_agent.ftp.filesystem import Parts, path_text
from fonshare_agent.ftp.house_login import HouseLogin
from fonshare_agent.ftp.listing import (
    Named,
    fact_line,
    fact_lines,
    list_lines,
    name_lines,
)
from fonshare_agent.ftp.transfers import Listing

# STAT answers over the control connection, which nobody streams: small folders only.
STAT_ENTRIES_MAX = 500
LS_OPTIONS = re.compile(r"\A-[A-Za-z1]+(?: +|\Z)")

Form = Callable[[Iterator[Named]], Iterator[bytes]]


class HouseListings(HouseLogin):
    """See the module's text."""

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

    def _list(self, line: str, form: Form) -> None:
        path = self._path(LS_OPTIONS.sub("", line, count=1))
        if path is not None:
            self.work(self._open_listing, path, form, True, then=self.begin)

    def _open_listing(
        self,
        path: Parts,
        form: Form,
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
            name = os.fsencode(path_text(path))
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


def _just(name: bytes, status: os.stat_result) -> Generator[Named, None, None]:
    yield name, status


def _closing(
    form: Form,
    entries: Generator[Named, None, None],
) -> Generator[bytes, None, None]:
    """Yield the formed lines; closing this closes the folder, too."""
    try:
        yield from form(entries)
    finally:
        entries.close()
