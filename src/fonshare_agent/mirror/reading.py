"""One reading of a server's folder: lists it, fetches what is new, drops what is gone.

Owns the order: folder by folder, each listed and its files fetched before the next, so
that one listing is in memory, however large the tree. Rules kept: a file that cannot be
copied costs that file only; what lies below a folder that could not be listed counts as
there; nothing is called gone unless the tree was read to its end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fonshare_agent.errors import (
    AlreadyExists,
    BadPath,
    FileTooLarge,
    FonshareError,
    FxpListing,
    FxpLost,
    FxpPartial,
    FxpRefused,
    NotFound,
)
from fonshare_agent.mirror.arrive import Arrivals, modified_s, same_end
from fonshare_agent.mirror.decide import (
    Act,
    Gone,
    Known,
    Local,
    decide,
    decide_asked,
    is_surely,
    judge,
    judge_one,
)
from fonshare_agent.mirror.line import error_fields, shortened
from fonshare_agent.mirror.place import LEFT_ALONE
from fonshare_agent.model import DEPTH_MAX, SharePath, printable
from fonshare_agent.transfer.fxp_listing import Entry, Kind, demand_safe
from fonshare_agent.transfer.fxp_places import find, list_folder
from fonshare_agent.transfer.fxp_server import Server

ENTRIES_MAX: Final = 100_000  # files and folders: what a node's index is made for
FAILURES_MAX: Final = 20  # told one by one; the rest is counted
# What concerns one file or folder: the others go on.
OF_ONE_FILE: Final = (
    AlreadyExists,
    BadPath,
    FileTooLarge,
    FxpListing,
    FxpPartial,
    FxpRefused,
)


@dataclass(slots=True)
class Report:
    """How a reading went; the agent keeps it and shows it."""

    found: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    deleted: int = 0
    waiting: int = 0  # gone from the server once
    held: int = 0  # gone all at once: until the owner confirms it
    skipped: int = 0  # links and other things that are no files
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    is_whole: bool = True  # the tree was read to its end

    def note_failure(self, path: bytes, error: FonshareError) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_MAX:
            fields = error_fields(error)
            told = {name: fields[name] for name in ("code", "message", "next")}
            self.failures.append({"path": shortened(printable(path)), **told})


class Reading:
    """One run. `read` does it once; `report` says how far it came."""

    def __init__(
        self,
        arrivals: Arrivals,
        top: bytes,
        *,
        is_confirmed: bool,
        report: Report,
        on_moved: Callable[[], None],
    ) -> None:
        self._arrivals, self._top = arrivals, top
        self._place, self._known = arrivals.place, arrivals.known
        self._server = arrivals.server
        self._is_confirmed, self._report = is_confirmed, report
        self._on_moved = on_moved
        self._stale = set(self._known.partials())  # until their files are listed

    def read(self) -> None:
        """Read the whole tree; raises what ends a run: the line, the disk, a stop."""
        demand_folder(self._server, self._top)
        before, _ = self._known.count()
        folders = [b""]
        while folders and self._is_within_bounds():
            below = folders.pop()
            self._arrivals.line.look()
            listed = self._list(below)
            if listed is None:
                continue
            folders += reversed(list(self._folders(below, listed)))
            self._read_files(below, listed)
        if self._report.is_whole:
            self._drop_what_is_gone(before)

    def _is_within_bounds(self) -> bool:
        if self._report.found <= ENTRIES_MAX:
            return True
        self._report.is_whole = False
        error = FxpListing(
            f"there are more than {ENTRIES_MAX} files and folders",
            next="Mirror a folder of it instead: the rest is left out.",
        )
        self._report.note_failure(b"", error)
        return False

    # --- listing -------------------------------------------------------------------

    def _list(self, below: bytes) -> list[Entry] | None:
        """Return what a folder holds; None if nobody can tell."""
        try:
            listed = self._try_list(below)
        except OF_ONE_FILE as error:
            if not below:
                raise  # then there is nothing at all to be told
            self._report.note_failure(below.lstrip(b"/"), error)
            self._known.see_below(below.lstrip(b"/"))
            return None
        self._report.found += len(listed)
        return listed

    def _try_list(self, below: bytes) -> list[Entry]:
        try:
            self._server.keep_alive()
            return list_folder(self._server, self._top + below)
        except FxpLost:
            self._server.reopen()
            return list_folder(self._server, self._top + below)

    def _folders(self, below: bytes, listed: list[Entry]) -> Iterator[bytes]:
        for entry in sorted(listed, key=lambda one: one.name):
            if entry.kind is Kind.FOLDER:
                path = below + b"/" + entry.name
                with self._one(path):
                    demand_safe(entry.name)
                    if path.count(b"/") >= DEPTH_MAX:
                        raise BadPath(f"is deeper than {DEPTH_MAX} folders")
                    yield path
            elif entry.kind is Kind.OTHER:
                self._report.skipped += 1

    # --- files ---------------------------------------------------------------------

    def _read_files(self, below: bytes, listed: list[Entry]) -> None:
        files = sorted(
            (entry for entry in listed if entry.kind is Kind.FILE),
            key=lambda entry: entry.name,
        )
        prefix = below.lstrip(b"/") + (b"/" if below else b"")
        paths = [prefix + entry.name for entry in files]
        self._known.see(paths)
        self._stale.difference_update(paths)
        here: dict[bytes, Local] = {}
        with self._one(below):
            here = self._place.look_into(
                SharePath.parse(prefix[:-1]) if below else None
            )
        for entry in files:
            with self._one(below + b"/" + entry.name):
                demand_safe(entry.name)
                self._arrivals.line.look()
                path = SharePath.parse(prefix + entry.name)
                # What is not listed may lie there still: a folder, a link, or a name
                # that this file system takes for the same.
                local = here.get(entry.name) or self._place.look_at(path)
                self._read_file(path, entry, local)

    def _read_file(self, path: SharePath, entry: Entry, local: Local | None) -> None:
        known = self._known.find(path.raw)
        remote = self._top + b"/" + path.raw
        act = decide(entry, known, local)
        if act is Act.ASK and known is not None:
            self._server.keep_alive()
            act = decide_asked(find(self._server, remote, may_list=False), known)
        if act is Act.COMPARE and local is not None:
            known = self._compare(path, remote, entry, local)
            act = Act.LEAVE
            if known is not None:
                self._known.note(path.raw, known)
                act = Act.KEEP
        if act is Act.LEAVE:
            raise AlreadyExists(
                "another file of that name lies here", thing=str(path), next=LEFT_ALONE
            )
        if act is Act.FETCH:
            self._server.keep_alive()
            self._known.note(path.raw, self._arrivals.fetch(path, remote, entry, known))
            self._report.fetched += 1
            self._on_moved()
        elif known is not None and known.stamp != entry.stamp:
            self._known.note(path.raw, replace(known, stamp=entry.stamp, missed=0))

    def _compare(
        self, path: SharePath, remote: bytes, entry: Entry, local: Local
    ) -> Known | None:
        """Return what to note of a file that lies here already; None: it differs."""
        asked = entry
        if entry.size is None or entry.modified is None:
            asked = find(self._server, remote, may_list=False) or entry
        size = asked.size if asked.size is not None else entry.size
        if size != local.size:
            return None

        def read(start: int, count: int) -> bytes:
            return self._place.read_end(path, start, count)

        is_same = is_surely(local, asked, modified_s(asked.modified)) or same_end(
            self._server, remote, local.size, read
        )
        return Known(local.size, asked.modified, None, local) if is_same else None

    # --- what is gone --------------------------------------------------------------

    def _is_to_be_held(self, before: int, gone: int) -> bool:
        """Tell whether too much is missing of *before* files, or of the older ones."""
        counts = [(before, gone), self._known.count_settled()]
        verdicts = [judge(*one, is_confirmed=self._is_confirmed) for one in counts]
        return Gone.HOLD in verdicts

    def _drop_what_is_gone(self, before: int) -> None:
        gone = self._known.count_missing()
        if self._is_to_be_held(before, gone):
            self._report.held = gone
            return
        self._known.settle()
        for path, known in self._known.missing():
            self._arrivals.line.look()
            if judge_one(known, is_confirmed=self._is_confirmed) is Gone.WAIT:
                self._known.miss(path)
                self._report.waiting += 1
            else:
                with self._one(path):
                    self._drop(SharePath.parse(path), known)
        self._place.drop_partials(self._stale)
        for path in self._stale:
            self._known.let_go(path)

    def _drop(self, path: SharePath, known: Known) -> None:
        self._known.forget(path.raw)  # first: what is not noted is nobody's to delete
        if self._place.look_at(path) == known.local:
            self._place.remove(path)
            self._report.deleted += 1
            self._on_moved()

    @contextmanager
    def _one(self, path: bytes) -> Iterator[None]:
        """What fails in here concerns *path* alone."""
        try:
            yield
        except OF_ONE_FILE as error:
            self._report.note_failure(path.lstrip(b"/"), error)


def demand_folder(server: Server, top: bytes) -> None:
    """Raise NotFound unless the server has the folder *top*."""
    found = find(server, top or b"/")
    if found is None or found.kind is not Kind.FOLDER:
        raise NotFound(
            "there is no such folder",
            thing=f"{server.name}: {printable(top or b'/')}",
            next="Check the path in the URL; nothing was changed.",
        )


def totals(arrivals: Arrivals, report: Report) -> dict[str, Any]:
    """Return what is told of a reading when it has ended."""
    files, size = arrivals.known.count()
    told = {name: getattr(report, name) for name in Report.__slots__}
    return {**told, "files": files, "bytes": size}
