"""Which way a connection to each member comes about, as it was seen.

What has worked or failed between this node and a member orders the next attempts: where
only the member can make the connection, it is asked to push first, since knocking in
vain takes seconds. A hint only: it never forbids an attempt, and it is tried anew after
a while, or when this host's addresses change. Kept over restarts, in one document that
is written when something new is learnt. Core thread.
"""

from dataclasses import dataclass
from typing import Final

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import StorageError
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import NodeId

DOCUMENT: Final = "ways"
MEMBERS_MAX: Final = 256  # the longest unseen are forgotten
FRESH_S: Final = 600.0  # so long an attempt that failed is not the first again
LATELY_S: Final = 86400.0  # who came here by then has shown that one can
SAVE_S: Final = 30.0  # what is learnt at once is written at once


@dataclass(slots=True)
class Way:
    """Between this node and one member; None: never seen."""

    outward: bool | None = None  # whether the last connection from here came about
    inward: bool | None = None  # whether the last one from there did
    outward_at: float = 0.0  # the core's clock
    inward_at: float = 0.0


class Ways:
    """All members of all groups: who they are is the same node everywhere."""

    def __init__(self, core: Core, store: Worker, state: StateStore) -> None:
        self._core, self._store, self._state = core, store, state
        self._ways: dict[NodeId, Way] = {}
        self._is_saving = False

    async def load(self) -> None:
        """What was seen before counts as seen now."""
        kept = await self._store.run(self._state.get_document, DOCUMENT)
        now = self._core.clock()
        for name, (outward, inward) in (kept or {}).items():
            way = Way(outward, inward, now, now)
            self._ways.setdefault(NodeId(bytes.fromhex(name)), way)

    def note_outward(self, member: NodeId, is_open: bool) -> None:
        """A connection from here to *member* came about, or did not."""
        way = self._touch(member)
        is_new, way.outward = way.outward != is_open, is_open
        way.outward_at = self._core.clock()
        self._save_if(is_new)

    def note_inward(self, member: NodeId, is_open: bool) -> None:
        """A connection from *member* to here came about, or did not."""
        way = self._touch(member)
        is_new, way.inward = way.inward != is_open, is_open
        way.inward_at = self._core.clock()
        self._save_if(is_new)

    def is_pusher(self, member: NodeId) -> bool:
        """Tell whether only *member* itself can make the connection, it seems."""
        way = self._ways.get(member)
        if way is None or way.outward is not False or way.inward is False:
            return False
        return self._core.clock() - way.outward_at < FRESH_S

    def network_changed(self) -> None:
        """This host has other addresses: nothing that was seen needs to be so still."""
        for way in self._ways.values():
            way.outward_at = way.inward_at = self._core.clock() - LATELY_S

    def find(self, member: NodeId) -> Way | None:
        """Return what was seen of *member*."""
        return self._ways.get(member)

    def is_cut_off(self, member: NodeId) -> bool:
        """Tell whether no way to or from *member* was found when last tried."""
        way = self._ways.get(member)
        if way is None or way.outward is not False or way.inward is not False:
            return False
        return self._core.clock() - way.outward_at < FRESH_S

    def was_reached(self) -> bool:
        """Tell whether any member has reached this node lately."""
        now = self._core.clock()
        return any(
            way.inward and now - way.inward_at < LATELY_S for way in self._ways.values()
        )

    def _touch(self, member: NodeId) -> Way:
        way = self._ways.pop(member, Way())
        self._ways[member] = way  # the last one now
        for oldest in list(self._ways)[:-MEMBERS_MAX]:
            del self._ways[oldest]
        return way

    def _save_if(self, is_new: bool) -> None:
        if is_new and not self._is_saving:
            self._is_saving = True
            self._core.call_later(SAVE_S, self._save)

    def _save(self) -> None:
        self._is_saving = False
        self._core.spawn_service("ways", self._write())

    async def _write(self) -> None:
        kept = {name.hex(): [w.outward, w.inward] for name, w in self._ways.items()}
        try:
            await self._store.run(self._state.put_document, DOCUMENT, kept)
        except StorageError:
            return  # a hint; the next one is written again
