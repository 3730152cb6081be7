"""What this node holds for its groups while it arrives: a list, mostly empty.

The holding itself (parts.py) is loaded when a large file is fetched for the first time:
who fetches nothing has nothing to say about parts. Core thread. Must not know jobs.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.model import GroupId, NodeId, Root
from fonshare_agent.protocol.content import block_count
from fonshare_agent.protocol.fields import BITMAP_BYTES_MAX
from fonshare_agent.protocol.messages import Message, Parts
from fonshare_agent.transfer.partial import Partial

if TYPE_CHECKING:
    from fonshare_agent.parts import Holding

log = logging.getLogger(__name__)

HELD_BYTES_MIN: Final = 4 * 1024 * 1024  # less comes as fast from one source alone
HOLDINGS_MAX: Final = 32  # those of jobs are few; the others have just arrived

Key = tuple[GroupId, Root]
Send = Callable[[GroupId, NodeId | None, Message], bool]


class Holdings:
    """One a root and group; the job that fetches it is its *owner*."""

    def __init__(
        self, core: Core, files: Worker, disk: Disk, desk: TicketDesk, send: Send
    ) -> None:
        self._core, self._files, self._disk = core, files, disk
        self._desk, self._send = desk, send
        self._held: dict[Key, Holding] = {}
        self._on_wanted: Callable[[], None] = lambda: None

    def wire(self, on_wanted: Callable[[], None]) -> None:
        """Call *on_wanted* when somebody speaks of what a waiting job lacks."""
        self._on_wanted = on_wanted

    def find(self, group: GroupId, root: Root) -> "Holding | None":
        return self._held.get((group, root))

    def on_parts(self, group: GroupId, member: NodeId, message: Parts) -> None:
        """Hear what a partner has; of what is not held here nothing is said."""
        holding = self.find(group, Root(message.root))
        if holding is not None:
            holding.hear(member, message)
            if holding.is_interrupted and message.have is not None:
                self._on_wanted()

    async def open(
        self,
        group: GroupId,
        root: Root,
        size: int,
        owner: str,
        kept: Partial | None = None,
    ) -> "Holding | None":
        """Begin to hold what is in *kept*, and tell the group; None if that content
        is not held, or for another job already."""
        if not is_held(size) or not await self._load():
            return None
        from fonshare_agent.parts import Holding

        there = self.find(group, root)
        if there is not None and there.owner != owner:
            if not (there.is_resting or there.is_interrupted):
                return None
            there.end()
            there = None
        if there is None:
            if len(self._held) >= HOLDINGS_MAX:
                return None
            there = Holding(
                self._core, self._disk, group, root, size, owner, self._send, self._drop
            )
            self._held[group, root] = there
        there.begin(kept)
        return there

    def find_owned(self, owner: str) -> "Holding | None":
        """Return what the job *owner* holds."""
        owned = (one for one in self._held.values() if one.owner == owner)
        return next(owned, None)

    def end(self, owner: str) -> None:
        """The attempt of *owner* is over; what it has completed goes on being held."""
        holding = self.find_owned(owner)
        if holding is not None and not holding.is_resting:
            holding.interrupt()
            self._retire(holding)

    def _drop(self, holding: "Holding") -> None:
        """Nothing of it is served any more."""
        key = holding.group, holding.root
        if self._held.get(key) is holding:
            del self._held[key]
        self._retire(holding)

    def _retire(self, holding: "Holding") -> None:
        self._desk.retire(lambda ticket: ticket.held is holding)

    async def _load(self) -> bool:
        try:
            await self._files.run(_import_parts)
        except (ImportError, OSError):  # our own files lay on a disk that is gone
            return False
        return True


def is_held(size: int) -> bool:
    """Tell whether parts of a file of that size are offered on."""
    return size >= HELD_BYTES_MIN and block_count(size) <= 8 * BITMAP_BYTES_MAX


def _import_parts() -> None:
    import fonshare_agent.parts  # noqa: F401
