"""`fonshare fxp`: a file or a folder from one third party's FTP server to another.

Owns the plan: what the two URLs mean, in which order files go, what is told of it. A
folder's contents go into the target's folder, so that the same command, given again,
goes on. Rules kept: one folder's listing at a time is in memory, however large the
tree; a file that cannot be copied costs that file only; a lost server ends the run.
Runs in the command's own process (docs/decisions/0050).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from fonshare_agent.errors import (
    AlreadyExists,
    BadPath,
    FonshareError,
    FxpListing,
    FxpPartial,
    FxpRefused,
    FxpUnfinished,
    NotFound,
)
from fonshare_agent.model import DEPTH_MAX, JobState, printable
from fonshare_agent.transfer.fxp_file import FileMove, Pair, Wishes
from fonshare_agent.transfer.fxp_listing import Entry, Kind, demand_safe
from fonshare_agent.transfer.fxp_places import find, list_folder, make_folder
from fonshare_agent.transfer.fxp_server import Login, Server
from fonshare_agent.transfer.fxp_url import ServerUrl

FAILURES_MAX: Final = 100  # told one by one; the rest is counted
# What concerns one file: the others go on.
OF_ONE_FILE: Final = (AlreadyExists, BadPath, FxpListing, FxpPartial, FxpRefused)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that was not copied."""

    path: str
    error: FonshareError


@dataclass(slots=True)
class Progress:
    """How far a run is; `on_change` hears of every step."""

    name: str
    path: str
    on_change: Callable[[], None]
    state: JobState = JobState.LOCATING
    size: int = 0  # of what was found so far
    done_bytes: int = 0
    files: int = 0  # done, those that were there already included
    skipped: int = 0  # links and other things that are no files
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    error: FonshareError | None = None
    is_relayed: bool = False  # bytes went through this node
    refusal: FonshareError | None = None  # why they could not go directly

    def note_failure(self, path: str, error: FonshareError) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_MAX:
            self.failures.append(Failure(path, error))


class Transfer:
    """One run: `prepare` logs in, `run` copies. Close it in any case."""

    def __init__(
        self,
        source: Login,
        target: Login,
        wishes: Wishes,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._source_url, self._target_url = source.url, target.url
        self._pair = Pair(Server(source), Server(target), wishes)
        name = _last(source.url.path) or source.url.server.encode()
        self.progress = Progress(printable(name), str(target.url), on_change)

    def prepare(self) -> None:
        """Log in at both; raises what is wrong with either."""
        self._pair.open()

    def close(self) -> None:
        self._pair.close()

    def run(self) -> None:
        """Copy everything; `progress` says how it ended. Raises nothing deliberate."""
        progress = self.progress
        try:
            self._copy()
        except KeyboardInterrupt:
            progress.state = JobState.CANCELLED
            raise
        except FonshareError as error:
            progress.error = error
        else:
            if progress.failed:
                progress.error = self._unfinished()
        progress.state = JobState.FAILED if progress.error else JobState.DONE
        self._tell()

    def _tell(self) -> None:
        self.progress.is_relayed = self._pair.has_relayed
        self.progress.refusal = self._pair.refusal
        self.progress.on_change()

    def _unfinished(self) -> FonshareError:
        first = self.progress.failures[0]
        if self.progress.failed == 1 and not self.progress.files:
            return first.error
        return FxpUnfinished(
            f"{self.progress.failed} of the files could not be copied",
            thing=first.path,
        )

    def _copy(self) -> None:
        source, target = self._pair.source, self._pair.target
        source_path = source.path(self._source_url.path)
        found = find(source, source_path.rstrip(b"/") or b"/")
        if found is None:
            raise NotFound(
                "there is no such file or folder",
                thing=f"{source.name}: {printable(source_path)}",
                next="Check the path in the URL; nothing was changed.",
            )
        target_path = target.path(self._target_url.path)
        self.progress.state = JobState.RUNNING
        if found.kind is Kind.FOLDER:
            self._copy_tree(source_path.rstrip(b"/"), target_path.rstrip(b"/"))
        else:
            self._copy_file(source_path, self._file_target(target_path), found)

    def _file_target(self, path: bytes) -> bytes:
        """A folder takes a file under the name that it has at the source."""
        target = self._pair.target
        if self._target_url.names_a_folder:
            make_folder(target, path.rstrip(b"/"))
        else:
            there = find(target, path)
            if there is None or there.kind is not Kind.FOLDER:
                return path
        return path.rstrip(b"/") + b"/" + _last(self._source_url.path)

    def _copy_tree(self, source_top: bytes, target_top: bytes) -> None:
        """Copy folder by folder. The stack holds folders still to come, not files."""
        folders = [b""]
        while folders:
            below = folders.pop()
            with self._one(source_top + below):
                self._pair.keep_alive()
                found = list_folder(self._pair.source, source_top + below)
                make_folder(self._pair.target, target_top + below)
                folders += reversed(list(self._folders(below, found)))
                files = sorted(self._files(found), key=lambda entry: entry.name)
                self.progress.size += sum(entry.size or 0 for entry in files)
                for entry in files:
                    path = below + b"/" + entry.name
                    with self._one(source_top + path):
                        # Before the paths are joined: `../x` ends in a harmless name.
                        demand_safe(entry.name)
                        self._copy_file(source_top + path, target_top + path, entry)

    def _folders(self, below: bytes, found: list[Entry]) -> Iterator[bytes]:
        for entry in sorted(found, key=lambda one: one.name):
            if entry.kind is Kind.FOLDER:
                with self._one(below + b"/" + entry.name):
                    demand_safe(entry.name)
                    if below.count(b"/") >= DEPTH_MAX:
                        raise BadPath(f"is deeper than {DEPTH_MAX} folders")
                    yield below + b"/" + entry.name

    def _files(self, found: list[Entry]) -> Iterator[Entry]:
        for entry in found:
            if entry.kind is Kind.FILE:
                yield entry
            elif entry.kind is Kind.OTHER:
                self.progress.skipped += 1

    def _copy_file(self, source_path: bytes, target_path: bytes, entry: Entry) -> None:
        progress, before = self.progress, self.progress.done_bytes
        if not progress.size:
            progress.size = entry.size or 0

        def on_done(done: int) -> None:
            progress.done_bytes = before + done
            self._tell()

        with self._one(source_path):
            self._pair.keep_alive()
            FileMove(self._pair, source_path, target_path, entry, on_done).run()
            progress.files += 1
            progress.done_bytes = before + (entry.size or 0)
            return
        progress.done_bytes = before

    @contextmanager
    def _one(self, path: bytes) -> Iterator[None]:
        """What fails in here concerns *path* alone."""
        try:
            yield
        except OF_ONE_FILE as error:
            self.progress.note_failure(printable(path), error)


def _last(path: bytes) -> bytes:
    return path.rstrip(b"/").rpartition(b"/")[2]


def is_same_place(one: ServerUrl, other: ServerUrl) -> bool:
    """Tell whether both URLs name the same path of the same login."""
    places = [
        (url.host.lower(), url.port, url.user, url.path.strip(b"/"))
        for url in (one, other)
    ]
    return places[0] == places[1]
