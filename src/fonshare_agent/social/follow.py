"""Follows: ordinary jobs for what is new at a place of a friend, within a budget.

Theory of operation. What is new is told by content: an entry counts once its root is
known (a file that is still being written has none), and never again, at whatever path
(docs/decisions/0101). All that was there at the beginning is seen without being
fetched, unless all is wanted. A change of the catalogue says which paths to look at;
after a start, a copy or a rebuilt index the whole place is walked, a page at a time.
New jobs are made while few of the follow's are open and their bytes fit the budget;
what does not fit stays new and is looked at again when a job has ended or files are
gone. Everything durable is in state.db: a crash costs a walk. Core thread.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import FonshareError, StorageError
from fonshare_agent.index.records import PAGE, Found
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_follows import Follow, charge
from fonshare_agent.index.state_records import Job
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, JobState, NodeId, SharePath
from fonshare_agent.protocol.fields import Change
from fonshare_agent.social.holding import Holding

log = logging.getLogger(__name__)

OPEN_JOBS_MAX: Final = 100  # of one follow: the others come when these have ended
PATHS_MAX: Final = 500  # to be looked at one by one; with more the place is walked
LOOK_S: Final = 0.5  # changes come in company
RETRY_S: Final = 60.0
FULL_RETRY_S: Final = 600.0  # the owner may have deleted something


class Jobs(Protocol):
    """What is asked of downloads.Downloads."""

    async def add(
        self,
        found: Found,
        to: str | None,
        mark: bool | None = None,
        follow: str | None = None,
    ) -> Job: ...

    async def cancel(self, job_id: str) -> object: ...


@dataclass(slots=True)
class _State:
    """What this run knows of one follow."""

    follow: Follow
    is_whole: bool = True  # the whole place is to be walked
    paths: dict[SharePath, None] = field(default_factory=dict)  # to be looked at
    is_looking: bool = False
    is_waiting: bool = False  # something new waits for jobs to end
    is_full: bool = False
    used_bytes: int | None = None  # in this look; it is never less than what is true


class Following:
    """All follows of this node. *folder* is where a follow's files go by themselves."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        index: IndexStore,
        state: StateStore,
        jobs: Jobs,
        holding: Holding,
        folder: Callable[[GroupId, NodeId], str],
        me: NodeId,
    ) -> None:
        self._core, self._store = core, store
        self._index, self._state = index, state
        self._jobs, self._holding, self._folder = jobs, holding, folder
        self._me = me
        self._states: dict[str, _State] = {}
        self._is_stopped = False

    async def load(self) -> None:
        """Take up what is followed."""
        for follow in await self._store.run(self._all):
            if follow.id not in self._states:
                self._states[follow.id] = _State(follow)
                self._look_soon(self._states[follow.id], 0)
        for job in await self._store.run(self._unrecorded):
            await self._settle(job)

    def _all(self) -> list[Follow]:
        return self._state.follows.all()

    def _unrecorded(self) -> list[str]:
        return self._state.follows.unrecorded_jobs()

    def stop(self) -> None:
        self._is_stopped = True

    # --- the owner's verbs ---

    async def add(self, follow: Follow) -> None:
        """Follow a place, or give the follow of that place another budget."""
        await self._store.run(self._put, follow)
        known = {one.id: one for one in await self._store.run(self._all)}
        state = self._states.setdefault(follow.id, _State(known[follow.id]))
        state.follow = known[follow.id]
        state.is_whole = True
        self._look_soon(state, 0)

    def _put(self, follow: Follow) -> None:
        self._state.follows.put(follow)

    async def remove(self, follow: Follow) -> None:
        """End a follow and its open jobs; what it has fetched stays."""
        self._states.pop(follow.id, None)
        open_jobs = await self._store.run(self._state.follows.open_jobs, follow)
        await self._store.run(self._state.follows.remove, follow)
        for job in open_jobs:
            await self._jobs.cancel(job)

    def all(self) -> list[Follow]:
        return [state.follow for state in self._states.values()]

    def drop_group(self, group: GroupId) -> None:
        """The group was left: state.db forgets its follows by itself."""
        for state in list(self._states.values()):
            if state.follow.group == group:
                del self._states[state.follow.id]

    async def view(self, follow: Follow) -> tuple[str, int, int]:
        """Return where it stands, its bytes in files and open jobs, and its files."""
        used = await self._store.run(self._state.follows.used_bytes, follow)
        files = await self._store.run(self._state.follows.count_files, follow)
        state = self._states.get(follow.id)
        if await self._store.run(self._top, follow) is None:
            return "gone", used, files
        if state is not None and state.is_full:
            return "full", used, files
        return ("following" if follow.is_ready else "looking"), used, files

    # --- what happens ---

    def note_changes(
        self, group: GroupId, member: NodeId, changes: Sequence[Change]
    ) -> None:
        """These lines of a catalogue have just been taken in."""
        for state in self._states.values():
            follow = state.follow
            if (follow.group, follow.member) != (group, member):
                continue
            covered = [
                one.path
                for one in changes
                if not one.deleted and follow.covers(one.share, one.path)
            ]
            if covered:
                if not state.is_whole:
                    state.paths.update(dict.fromkeys(covered))
                if len(state.paths) > PATHS_MAX:
                    state.is_whole, state.paths = True, {}
                self._look_soon(state)

    def note_job(self, job_id: str) -> None:
        """An attempt at one of its jobs has ended, or the job has."""
        if not self._is_stopped:
            self._core.spawn_service("follow", self._settle(job_id))

    async def _settle(self, job_id: str) -> None:
        """Put on record what a job has brought, and go on with what waits for it."""
        job = await self._store.run(self._state.find_job, job_id)
        if job is None or job.follow is None or not job.has_ended:
            return
        if job.state is JobState.DONE:
            await self._holding.record(job)
        state = self._states.get(job.follow)
        if state is not None and state.is_waiting:
            state.is_whole = True
            self._look_soon(state)

    # --- looking ---

    def _look_soon(self, state: _State, after_s: float = LOOK_S) -> None:
        if not state.is_looking and not self._is_stopped:
            state.is_looking = True
            self._core.call_later(after_s, lambda: self._look_now(state))

    def _look_now(self, state: _State) -> None:
        if not self._is_stopped:
            self._core.spawn_service("follow", self._look(state))

    async def _look(self, state: _State) -> None:
        """Make jobs of what is new; look again later if some of it must wait."""
        again_s = 0.0
        paths, state.paths = state.paths, {}
        is_whole, state.is_whole = state.is_whole, False
        state.is_waiting = state.is_full = False
        state.used_bytes = None
        try:
            if is_whole or not state.follow.is_ready:
                await self._walk(state)
            else:
                await self._consider(state, list(paths))
        except StorageError:
            state.is_whole, again_s = True, RETRY_S  # the disk; or the index is anew
        if state.is_full:
            state.is_whole, again_s = True, FULL_RETRY_S
        state.is_looking = False
        if again_s:
            self._core.call_later(again_s, lambda: self._look_soon(state))
        elif state.paths or (state.is_whole and not state.is_waiting):
            self._look_soon(state)

    async def _walk(self, state: _State) -> None:
        """Go through the whole place, and be ready then."""
        follow, after = state.follow, None
        top = await self._store.run(self._top, follow)
        while top is not None and self._is_followed(state):
            page = await self._store.run(self._index.walk_folder, top, after, PAGE)
            if not page:
                break
            after = page[-1].path
            if not await self._take(state, page):
                return
        # Where nothing is offered yet, nothing was there at the beginning.
        if self._is_followed(state) and not follow.is_ready and top is not None:
            await self._store.run(self._state.follows.set_ready, follow)
            known = {one.id: one for one in await self._store.run(self._all)}
            state.follow = known.get(follow.id, follow)

    async def _consider(self, state: _State, paths: list[SharePath]) -> None:
        """Look at what has changed."""
        follow, page = state.follow, []
        for path in paths:
            found = await self._store.run(
                self._index.resolve, follow.group, follow.member, follow.share, path
            )
            if found is not None and found.kind == "file":
                page.append(found)
        if not await self._take(state, page):
            state.is_whole = True

    async def _take(self, state: _State, page: Sequence[Found]) -> bool:
        """Make jobs of what is new on *page*; False if the rest must wait."""
        follow = state.follow
        new = await self._store.run(self._new_of, follow, page)
        if not follow.is_ready and not follow.wants_all:
            await self._see(follow, new)
            return True
        for found in new:
            if found.root is None:
                continue  # its change will come
            if not self._is_followed(state):
                return False
            if await self._store.run(self._is_here, follow, found):
                await self._see(follow, [found])
            elif charge(found.size) > follow.budget:
                continue  # it would never fit
            elif not await self._start(state, found):
                return False
        return True

    async def _start(self, state: _State, found: Found) -> bool:
        """Make a job of *found*; False if it must wait."""
        follow, tables = state.follow, self._state.follows
        if len(await self._store.run(tables.open_jobs, follow)) >= OPEN_JOBS_MAX:
            state.is_waiting = True
            return False
        used = state.used_bytes  # a sum over all files: not once more for each
        if used is None:
            used = await self._store.run(tables.used_bytes, follow)
        used += charge(found.size)
        if used > follow.budget:
            await self._holding.release(follow)
            used = await self._store.run(tables.used_bytes, follow)
            used += charge(found.size)
        if used > follow.budget:
            state.is_waiting = state.is_full = True
            log.info("follow %s waits: its budget is used", follow.id)
            return False
        state.used_bytes = used
        try:
            await self._jobs.add(found, self._target(follow, found), follow=follow.id)
        except StorageError:
            raise
        except FonshareError as error:  # the group was left just now
            log.info("follow %s leaves a file out: %s", follow.id, error.code)
        tags = [_tag(found)]
        await self._store.run(lambda: tables.note_seen(follow, tags, is_fetched=True))
        return True

    def _target(self, follow: Follow, found: Found) -> str:
        """Its folder: below the member's, as the share has it; or where it is kept."""
        assert found.path is not None
        parts = list(map(os.fsdecode, found.path.parts[:-1]))
        if follow.folder is not None:
            top = len(follow.path.parts) if follow.path else 0
            return os.path.join(self._holding.place(follow.folder), *parts[top:])
        return os.path.join(
            self._folder(found.group, found.member), found.share, *parts
        )

    def _is_followed(self, state: _State) -> bool:
        return self._states.get(state.follow.id) is state and not self._is_stopped

    # --- on the store thread ---

    def _top(self, follow: Follow) -> Found | None:
        return self._index.resolve(
            follow.group, follow.member, follow.share, follow.path
        )

    def _new_of(self, follow: Follow, page: Sequence[Found]) -> list[Found]:
        """Return those of *page* that are new there, one for each content."""
        tagged = {_tag(found): found for found in page}
        unseen = self._state.follows.unseen(follow, tagged)
        new = [found for tag, found in tagged.items() if tag in unseen]
        unhashed = {
            _path_tag(one): one for one in new if one.root is not None and one.path
        }
        # What was there at the beginning without a root has got it now.
        were_there = unhashed.keys() - self._state.follows.unseen(follow, unhashed)
        old = [unhashed[tag] for tag in were_there]
        if old:
            self._state.follows.note_seen(follow, map(_tag, old))
            self._state.follows.forget_seen(follow, were_there)
        return [one for one in new if one not in old]

    def _is_here(self, follow: Follow, found: Found) -> bool:
        """Whether a follow has fetched that content, or this node offers it there."""
        assert found.root is not None
        if follow.folder is None and self._state.follows.was_fetched(_tag(found)):
            return True  # what is kept is to be offered: being here is not enough
        return self._me in self._index.sources(follow.group, found.root)

    async def _see(self, follow: Follow, seen: Sequence[Found]) -> None:
        tags = [_tag(found) for found in seen]
        if tags:
            await self._store.run(self._state.follows.note_seen, follow, tags)


def _tag(found: Found) -> int:
    """Return by what a content is remembered; without a root, its path."""
    return _path_tag(found) if found.root is None else _number(found.root)


def _path_tag(found: Found) -> int:
    assert found.path is not None
    return _number(sha256(b"fonshare-follow-path-1" + found.path.raw).digest())


def _number(digest: bytes) -> int:
    """Return the first 64 bits as SQLite can hold them."""
    return int.from_bytes(digest[:8], "big", signed=True)
