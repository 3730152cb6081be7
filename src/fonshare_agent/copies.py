"""Copies of the own catalogues for members far behind (docs/protocol/catalogue.md).

Owns which copies there are: one a group at most, written only when somebody asks, given
to everybody whom it serves, and removed when nobody asks any more. A page at a time
goes from the store to the disk, so that memory stays flat and nobody waits for more
than a page; one copy is written at a time. Nothing here outlives a restart. Core
thread; who may read a copy is the caller's business.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import StorageError
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, IndexId, Root
from fonshare_agent.protocol.messages import PAGE_BYTES, PAGE_ENTRIES, CatalogueDelta
from fonshare_agent.transfer.copy_files import (
    CopyFile,
    CopyWriter,
    open_copy,
    remove_copies,
)

log = logging.getLogger(__name__)

RENEW_S: Final = 600.0  # a member that asks again and again must not keep us writing
KEPT_S: Final = 600.0  # not asked for, nor read
DISK_RETRY_S: Final = 60.0
STOP_S: Final = 8.0  # a disk that hangs is not waited for


@dataclass(frozen=True, slots=True)
class Copy:
    """Changes (`after`, `upto`] of our catalogue for a group, on the disk."""

    group: GroupId
    index_id: IndexId
    after: int
    upto: int
    shares: frozenset[str]  # whose entries are in it
    file: CopyFile
    made_at: float

    def serves(self, index_id: IndexId, after: int) -> bool:
        return index_id == self.index_id and self.after <= after < self.upto


class Copies:
    """See the module's text. *has_group* tells whether we are in a group, *is_read*
    whether somebody holds a ticket for the content."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        files: Worker,
        index: IndexStore,
        disk: Disk,
        has_group: Callable[[GroupId], bool],
        is_read: Callable[[Root], bool],
    ) -> None:
        self._core, self._store, self._files = core, store, files
        self._index, self.disk = index, disk
        self._has_group, self._is_read = has_group, is_read
        self._kept: dict[GroupId, Copy] = {}
        self._asked_at: dict[GroupId, float] = {}
        self._writing: GroupId | None = None
        self._failed_at = -DISK_RETRY_S
        self._is_stopped = False

    async def wipe(self) -> None:
        """Remove what an earlier run has left."""
        await self._files.run(remove_copies, self.disk)

    async def stop(self) -> None:
        """Let go of the disk."""
        self._is_stopped = True
        until = self._core.clock() + STOP_S
        while self._writing is not None and self._core.clock() < until:
            await self._core.sleep(0.02)

    def find(self, group: GroupId, root: bytes) -> Copy | None:
        """Return the copy of that content."""
        kept = self._kept.get(group)
        return kept if kept is not None and kept.file.root == root else None

    def open_file(self, copy: Copy) -> int:
        """Return a descriptor, the caller's to close. Any thread that may block."""
        return open_copy(self.disk, copy.file.name)

    async def get(
        self,
        group: GroupId,
        index_id: IndexId,
        after: int,
        is_readable: Callable[[Copy], bool],
    ) -> Copy | str:
        """Return a copy that goes on from *after*, or the reason why there is none.

        If there could be one it is written meanwhile.
        """
        own_id, head = await self._store.run(self._index.own_head, group)
        if own_id != index_id or after >= head or not self._has_group(group):
            return "not_here"
        now, kept = self._core.clock(), self._kept.get(group)
        if kept is not None and kept.serves(own_id, after) and is_readable(kept):
            is_new = now - kept.made_at < RENEW_S
            if is_new or (kept.upto - after) * 2 >= head - after:
                self._asked_at[group] = now
                return kept
        elif kept is not None and now - kept.made_at < RENEW_S:
            return "busy"
        if now - self._failed_at < DISK_RETRY_S:
            return "disk"
        if self._writing is None and not self._is_stopped:
            self._writing = group
            self._core.spawn_service("copy", self._write(group, after))
        return "copying"

    # --- writing ---

    async def _write(self, group: GroupId, after: int) -> None:
        try:
            copy = await self._write_pages(group, after)
        except StorageError:
            self._failed_at = self._core.clock()
            raise
        finally:
            self._writing = None
        if copy is not None:
            await self._keep(copy)

    async def _write_pages(self, group: GroupId, after: int) -> Copy | None:
        """Write what is there now; None if the group or the numbers went meanwhile."""
        writer = await self._files.run(CopyWriter, self.disk)
        try:
            index_id, head = await self._store.run(self._index.own_head, group)
            upto, shares = after, set[str]()
            while upto < head:
                page = await self._next_page(group, index_id, upto, head)
                if page is None:
                    return None
                if not await self._files.run(writer.add, page):
                    break
                upto = page.upto
                shares |= {one.share for one in page.changes if not one.deleted}
            file = await self._files.run(writer.finish)
        finally:
            await self._files.run(writer.close)
        now, kept = self._core.clock(), frozenset(shares)
        return Copy(group, index_id, after, upto, kept, file, now)

    async def _next_page(
        self, group: GroupId, index_id: IndexId, after: int, head: int
    ) -> CatalogueDelta | None:
        # Without the group, asking the store would begin it anew.
        if self._is_stopped or not self._has_group(group):
            return None
        delta = await self._store.run(
            self._index.delta,
            group,
            index_id,
            after,
            max_entries=PAGE_ENTRIES,
            max_bytes=PAGE_BYTES,
        )
        if delta.index_id != index_id or delta.after != after:
            return None
        return CatalogueDelta(
            index_id, after, delta.upto, max(head, delta.upto), tuple(delta.changes)
        )

    # --- keeping ---

    async def _keep(self, copy: Copy) -> None:
        before, self._kept[copy.group] = self._kept.get(copy.group), copy
        self._asked_at[copy.group] = copy.made_at
        self._look_later(copy)
        if before is not None and before.file.name != copy.file.name:
            await self._remove(before)

    def _look_later(self, copy: Copy) -> None:
        self._core.call_later(KEPT_S, partial(self._look, copy))

    def _look(self, copy: Copy) -> None:
        """Remove *copy* if nobody wants it any more."""
        if self._kept.get(copy.group) is not copy:
            return
        unasked_s = self._core.clock() - self._asked_at[copy.group]
        is_wanted = unasked_s < KEPT_S or self._is_read(copy.file.root)
        if is_wanted and self._has_group(copy.group):
            self._look_later(copy)
        else:
            del self._kept[copy.group], self._asked_at[copy.group]
            self._core.spawn_service("old copy", self._remove(copy))

    async def _remove(self, copy: Copy) -> None:
        await self._files.run(remove_copies, self.disk, copy.file.name)
