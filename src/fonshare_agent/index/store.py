"""The index: one database, its parts, and the door through which all others use it.

Owns index.db (a cache: rebuilt when damaged or too new, and why is told). All methods
run on the store thread, one after another; each ends soon: long work is cut in batches
that the callers ask for one by one. Searches run here too, between two batches: an
exclusively locked database has one connection (docs/decisions/0010).
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fonshare_agent.errors import DatabaseDamaged, DiskMissing
from fonshare_agent.index.block_lists import BlockLists
from fonshare_agent.index.database import (
    close_database,
    device_of,
    discard_database,
    open_database,
    translated,
)
from fonshare_agent.index.hash_progress import HashProgress
from fonshare_agent.index.lookups import Lookups
from fonshare_agent.index.missing import Missing, Tally
from fonshare_agent.index.offers import Offers
from fonshare_agent.index.own_files import OwnFiles
from fonshare_agent.index.own_folders import OwnFolders
from fonshare_agent.index.records import (
    PAGE,
    UNHASHED_START,
    Applied,
    Delta,
    Found,
    Gap,
    Listing,
    Mark,
    OwnFile,
    Taken,
)
from fonshare_agent.index.replicas import Replicas
from fonshare_agent.index.trigrams import Trigrams
from fonshare_agent.index.unhashed import OnDisk, Queued, Unhashed
from fonshare_agent.model import EntryId, GroupId, IndexId, NodeId, Root, SharePath

if TYPE_CHECKING:
    from fonshare_agent.index.finder import Search
    from fonshare_agent.index.news import Record
    from fonshare_agent.index.query import Order, Query, SearchResult

BATCH = 1000  # files in one transaction: some 20 ms natively
log = logging.getLogger(__name__)


class IndexStore:
    """Everything the node knows about files, its own and its friends'.

    *me* is this node; *draw* gives random bytes; *on_rebuilt* hears that the database
    was made anew, empty, and `rebuilt` tells why. Damage that shows only while it runs
    costs the call that met it, which raises DatabaseDamaged. Raises StorageError when
    the disk fails: `close` it then, and `open` it when the disk is back.
    """

    def __init__(
        self,
        path: Path,
        me: NodeId,
        draw: Callable[[int], bytes],
        *,
        on_rebuilt: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._me, self._draw, self._clock = path, me, draw, clock
        self._on_rebuilt = on_rebuilt
        self.rebuilt: str | None = None
        self._is_open = False
        self.open()

    def open(self) -> None:
        """Open the database, again after `close`; the disk must have been checked."""
        if self._is_open:
            return
        self._connection = open_database(
            self._path,
            "index",
            synchronous="NORMAL",
            journal="WAL",
            on_damage=self._note_damage,
        )
        self._offers = Offers(self._connection, self._me, self._draw)
        self._lists = BlockLists(self._connection)
        self._folders = OwnFolders(self._connection)
        self._own = OwnFiles(self._connection, self._folders, self._offers, self._lists)
        self._missing = Missing(self._connection)
        self._unhashed = Unhashed(self._connection)
        self._progress = HashProgress(self._connection)
        self._replicas = Replicas(self._connection)
        self._trigrams = Trigrams(self._connection)
        self._lookups = Lookups(self._connection, self._clock, self._trigrams)
        self._device = device_of(self._path)
        self._is_open = True

    def close(self) -> None:
        """Let go of the file; until `open` every call raises DiskMissing."""
        if self._is_open:
            self._is_open = False
            close_database(self._connection, self._path)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        if not self._is_open:
            raise DiskMissing("the index is closed", thing=str(self._path))
        try:
            with translated(self._path):
                yield
        except DatabaseDamaged as damage:
            self._begin_anew(str(damage))
            raise

    def _begin_anew(self, reason: str) -> None:
        """Throw the database away: all in it is found again."""
        self._is_open = False
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if device_of(self._path) != self._device:
            raise DiskMissing("the index is on a disk that went", thing=str(self._path))
        discard_database(self._path)
        self._note_damage(reason)
        self.open()

    def _note_damage(self, reason: str) -> None:
        log.warning("the index is made anew: %s", reason)
        self.rebuilt = reason
        self._on_rebuilt()

    # --- what is published ----------------------------------------------------------

    def publish(self, shares: Mapping[str, frozenset[GroupId]]) -> None:
        """Say which shares exist and which groups see each; the scanner carries on.

        Acts at once on `own_file` and `is_published`; entries come and go in batches.
        """
        with self._guard():
            self._offers.publish(shares)

    def tidy_some(self, limit: int = BATCH) -> tuple[bool, GroupId | None]:
        """Do one batch of what is pending: publishing, withdrawing, dropping.

        Returns whether there was anything, and the group whose own catalogue moved.
        """
        with self._guard():
            group = self._offers.publish_some(limit)
            if group is not None:
                return True, group
            is_busy = self._replicas.purge_some(limit) or self._own.drop_unlisted(limit)
            return is_busy, None

    def is_published(self, group: GroupId, share: str) -> bool:
        with self._guard():
            return self._offers.is_published(group, share)

    def own_head(self, group: GroupId) -> tuple[IndexId, int]:
        """Return the own index for *group* and its last number; both are durable."""
        with self._guard():
            return self._offers.own_head(group)

    def delta(
        self,
        group: GroupId,
        index_id: IndexId | None,
        after: int,
        *,
        max_entries: int = 1000,
        max_bytes: int = 100_000,
    ) -> Delta:
        """Return the own changes after *after*; from the start for another index."""
        with self._guard():
            return self._offers.delta(group, index_id, after, max_entries, max_bytes)

    def reset_index_id(self, group: GroupId) -> IndexId:
        """Begin a new index for *group*, when a member knows more than we do."""
        with self._guard():
            return self._offers.reset_index_id(group)

    # --- what others offer ----------------------------------------------------------

    def apply_delta(
        self, group: GroupId, member: NodeId, delta: Delta, *, complete_at: int
    ) -> Applied | Gap:
        """Take in a member's changes; a new index is shown from *complete_at* on."""
        with self._guard():
            return self._replicas.apply(group, member, delta, complete_at)

    def replica_head(
        self, group: GroupId, member: NodeId
    ) -> tuple[IndexId | None, int]:
        """Return the index being copied from *member*, and how far it has come."""
        with self._guard():
            return self._replicas.head(group, member)

    def drop_member(self, group: GroupId, member: NodeId) -> None:
        with self._guard():
            self._replicas.drop(group, member)

    def drop_group(self, group: GroupId) -> None:
        """Forget the group's catalogues, the own one included."""
        with self._guard():
            self._replicas.drop(group, None)

    # --- searching and browsing (lookups.py) -----------------------------------------

    def index_names(self, limit: int = BATCH) -> bool:
        """Do one step of what makes searches fast; False if nothing is left."""
        with self._guard():
            return self._trigrams.add_some(limit) or self._trigrams.merge_some()

    def begin_search(
        self,
        query: "Query",
        order: "Order | None" = None,
        limit: int = 100,
        after: str | None = None,
    ) -> "Search":
        """See Finder.begin."""
        with self._guard():
            return self._lookups.finder.begin(query, order, limit, after)

    def go_on_searching(
        self, search: "Search", deadline: float | None, until: float | None = None
    ) -> "SearchResult | None":
        """Run *search* and return its page; None if *until* came before the end."""
        with self._guard():
            return search.result() if search.run(deadline, until) else None

    def search(
        self,
        words: str,
        *,
        group: GroupId | None = None,
        member: NodeId | None = None,
        limit: int = 100,
        deadline: float | None = None,
    ) -> "SearchResult":
        """See Finder.search."""
        with self._guard():
            return self._lookups.finder.search(words, group, member, limit, deadline)

    def everything_seen(
        self, query: "Query", deadline: float | None = None
    ) -> "Record":
        with self._guard():
            return self._lookups.news.everything(query, deadline)

    def news(
        self,
        query: "Query",
        record: "Record",
        limit: int,
        deadline: float | None = None,
    ) -> "tuple[SearchResult, Record]":
        with self._guard():
            return self._lookups.news.since(query, record, limit, deadline)

    def browse(
        self,
        *,
        group: GroupId | None = None,
        member: NodeId | None = None,
        share: str | None = None,
        folder: SharePath | None = None,
        limit: int = PAGE,
        after: Found | Mark | None = None,
    ) -> list[Found]:
        """See Browser.browse."""
        with self._guard():
            return self._lookups.browser.browse(
                group=group,
                member=member,
                share=share,
                folder=folder,
                limit=limit,
                after=after,
            )

    def get(self, entry: EntryId) -> Found | None:
        with self._guard():
            return self._lookups.browser.get(entry)

    def resolve(
        self, group: GroupId, member: NodeId, share: str, path: SharePath | None
    ) -> Found | None:
        with self._guard():
            return self._lookups.browser.resolve(group, member, share, path)

    def walk_folder(
        self, top: Found, after: SharePath | None = None, limit: int = PAGE
    ) -> list[Found]:
        """See Browser.walk."""
        with self._guard():
            return self._lookups.browser.walk(top, after, limit)

    def sources(
        self, group: GroupId, root: Root, exclude: frozenset[NodeId] = frozenset()
    ) -> list[NodeId]:
        with self._guard():
            return self._lookups.browser.sources(group, root, exclude)

    def find_offer(self, group: GroupId, member: NodeId, root: Root) -> Found | None:
        with self._guard():
            return self._lookups.browser.find_offer(group, member, root)

    # --- the own files --------------------------------------------------------------

    def own_file(self, group: GroupId, share: str, path: SharePath) -> OwnFile | None:
        """Return an own file, only if its share is published to *group*."""
        with self._guard():
            if not self._offers.is_published(group, share):
                return None
            return self._own.find_file(share, path)

    def blocks(self, root: Root, first: int, count: int) -> list[bytes]:
        """Return up to *count* block hashes of own content; rights are not checked."""
        with self._guard():
            return self._lists.read(root, first, count)

    def counts(self, share: str | None = None) -> tuple[int, int]:
        """Return how many files the own shares hold, or one of them, and bytes."""
        with self._guard():
            return self._own.counts(share)

    def changes(self) -> int:
        """Return how many rows were written since this was opened."""
        with self._guard():
            return self._connection.total_changes

    # --- for the scanner ------------------------------------------------------------

    def find_own(self, share: str, path: SharePath) -> OwnFile | None:
        with self._guard():
            return self._own.find_file(share, path)

    def take_listings(self, share: str, listings: Sequence[Listing]) -> Taken:
        with self._guard():
            return self._own.take_listings(share, listings)

    def known_names(
        self, share: str, folder: tuple[bytes, ...], after: bytes, *, is_folder: bool
    ) -> list[bytes]:
        """See OwnFolders.known_names."""
        with self._guard():
            return self._folders.known_names(share, folder, after, BATCH, is_folder)

    def mark_gone(
        self,
        share: str,
        folder: tuple[bytes, ...],
        files: Sequence[bytes],
        folders: Sequence[bytes],
    ) -> None:
        with self._guard():
            self._folders.mark_gone(share, folder, files, folders)

    def count_missing(self, tally: Tally) -> None:
        """See Missing.count_some."""
        with self._guard():
            self._missing.count_some(tally)

    def drop_gone(self, share: str, limit: int = BATCH) -> tuple[set[GroupId], bool]:
        with self._guard():
            return self._own.drop_gone(share, limit)

    def queue_unhashed(self, limit: int = BATCH) -> bool:
        """See Unhashed.queue_some."""
        with self._guard():
            return self._unhashed.queue_some(limit)

    def next_unhashed(self, after: OnDisk = UNHASHED_START) -> Queued | None:
        with self._guard():
            return self._unhashed.next(after)

    def set_root(
        self, file: OwnFile, root: Root, hashes: Sequence[bytes]
    ) -> set[GroupId] | None:
        with self._guard():
            moved = self._own.set_root(file, root, hashes)
            self._progress.forget(file.share, file.path)
            return moved

    def load_hashing(self, file: OwnFile) -> list[bytes]:
        """See HashProgress.load."""
        with self._guard():
            return self._progress.load(file)

    def save_hashing(self, file: OwnFile, hashes: list[bytes], kept: int) -> None:
        """See HashProgress.save."""
        with self._guard():
            self._progress.save(file, hashes, kept)
