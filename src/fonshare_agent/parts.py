"""One content of which this node has parts, and the partners who have others.

It tells the group once that it fetches the content, answers those who say the same,
and now and then tells its partners how far it is (docs/protocol/parts.md). Friends with
a ticket read what is verified, also after the file has got its name, until nobody
lacks any of it. Core thread, but for what `ftp.tickets.Held` asks, and `open_file`.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from fonshare_agent.core import Core, Timer
from fonshare_agent.disk import Disk, open_below
from fonshare_agent.errors import ContentChanged, NotFound, StorageError
from fonshare_agent.ftp.tickets import FileStamp
from fonshare_agent.model import GroupId, NodeId, Root, SharePath
from fonshare_agent.protocol.content import block_count, block_size
from fonshare_agent.protocol.messages import Message, Parts
from fonshare_agent.protocol.partners import own_stretch
from fonshare_agent.protocol.parts import gather, pack, span, unpack
from fonshare_agent.transfer.partial import Partial

if TYPE_CHECKING:
    from fonshare_agent.transfer.lanes import Lanes

TELL_S: Final = 10.0  # partners hear of what is new no more often
REST_S: Final = 600.0  # how long an arrived file is held when nobody reads
FORGET_S: Final = 150.0  # after an attempt the next one comes within this, if any
PLACED_S: Final = 2.0  # between a file's new name and our knowing of it
ANSWER_S: Final = 2.0  # a partner's question is answered no more often

Send = Callable[[GroupId, NodeId | None, Message], bool]
OnNews = Callable[[NodeId, bytes | None], None]


class Holding:
    """See the module's text. Made by `Holdings.open`."""

    def __init__(
        self,
        core: Core,
        disk: Disk,
        group: GroupId,
        root: Root,
        size: int,
        owner: str,
        send: Send,
        on_over: Callable[["Holding"], None],
    ) -> None:
        self.group, self.root, self.size, self.owner = group, root, size, owner
        self.partners: dict[NodeId, bytes] = {}  # and what they last said they have
        self._core, self._disk = core, disk
        self._send, self._on_over = send, on_over
        self._count = block_count(size)
        self._nothing = pack(0, self._count)
        self._whole = pack(span(0, self._count), self._count)
        self._kept: Partial | None = None
        self._lanes: Lanes | None = None
        self._place: tuple[SharePath, FileStamp] | None = None
        self._on_news: OnNews = _nobody
        self._told = b""
        self._answered: dict[NodeId, float] = {}
        self._read_at = core.clock()
        self._timer: Timer | None = None
        self._has_place = threading.Event()
        self._interrupted_at: float | None = None
        self._is_over = False

    @property
    def is_resting(self) -> bool:
        """Whether the file is complete, and has its name."""
        return self._place is not None

    @property
    def is_serving(self) -> bool:
        """Whether anything can be read here now."""
        return self._place is not None or self._kept is not None

    @property
    def is_interrupted(self) -> bool:
        """Whether an attempt has ended, and the next has not begun yet."""
        return self._interrupted_at is not None

    # --- the job that fetches it ----------------------------------------------------

    def begin(self, kept: Partial | None) -> None:
        """Offer what is in *kept*, and ask the group who has parts of it, too."""
        self._kept, self._interrupted_at = kept, None
        self._told = self.bitmap()
        self._send(self.group, None, Parts(self.root, self._told, True))
        if self._timer is None:
            self._timer = self._core.call_later(TELL_S, self._look)

    def arrive(self, lanes: "Lanes", on_news: OnNews) -> None:
        """It arrives by *lanes*; *on_news* is told of partners from now on, and of
        those known already."""
        self._lanes, self._on_news = lanes, on_news
        for member, have in list(self.partners.items()):
            on_news(member, have)

    def pause(self) -> None:
        """Nothing comes any more, for now."""
        self._lanes, self._on_news = None, _nobody

    def interrupt(self) -> None:
        """The attempt is over, and another will follow: what partners say until then
        is not lost, and they need not begin anew with this node."""
        self.pause()
        self._kept, self._interrupted_at = None, self._core.clock()

    def rest(self, place: SharePath, stamp: FileStamp) -> None:
        """It is complete, and lies at *place* on the disk."""
        self.pause()
        self._place = place, stamp
        self._has_place.set()
        self._read_at = self._core.clock()
        self._tell()
        if self._is_of_no_use:
            self.end()

    def end(self) -> None:
        """Serve nothing any more."""
        if not self._is_over:
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            self._on_over(self)
            for member in self.partners:
                self._send(self.group, member, Parts(self.root, None, False))

    # --- partners -------------------------------------------------------------------

    def hear(self, member: NodeId, message: Parts) -> None:
        if message.have is None:
            self.forget(member)
            return
        if unpack(message.have, self._count) is None:
            return
        self.partners[member] = message.have
        self._read_at = self._core.clock()
        if message.asks and self._may_answer(member):
            self._send(self.group, member, Parts(self.root, self.bitmap(), False))
        self._on_news(member, message.have)

    def forget(self, member: NodeId) -> None:
        """*member* has none of it any more, or does not answer."""
        if self.partners.pop(member, None) is not None:
            self._on_news(member, None)

    def _may_answer(self, member: NodeId) -> bool:
        now = self._core.clock()
        may = now - self._answered.get(member, -ANSWER_S) >= ANSWER_S
        if may:
            self._answered[member] = now
        return may

    def _look(self) -> None:
        """Now and then: tell what is new, and see whether anybody needs this still."""
        self._timer = self._core.call_later(TELL_S, self._look)
        self._tell()
        since = self._interrupted_at
        is_given_up = since is not None and self._core.clock() - since >= FORGET_S
        if is_given_up or (self.is_resting and self._is_of_no_use):
            self.end()

    def _tell(self) -> None:
        have = self.bitmap()
        if have != self._told:
            self._told = have
            for member, other in self.partners.items():
                if other != self._whole or have == self._whole:
                    self._send(self.group, member, Parts(self.root, have, False))

    @property
    def _is_of_no_use(self) -> bool:
        is_lacking = any(have != self._whole for have in self.partners.values())
        return not is_lacking or self._core.clock() - self._read_at >= REST_S

    # --- what friends read: any thread ----------------------------------------------

    def bitmap(self) -> bytes:
        if self._place is not None:
            return self._whole
        return self._nothing if self._kept is None else self._kept.bitmap()

    def has(self, index: int) -> bool:
        if self._place is not None:
            return True
        return self._kept is not None and self._kept.has(index)

    def maps(self) -> tuple[bytes, bytes]:
        self._read_at = self._core.clock()
        lanes = self._lanes
        return self.bitmap(), self._nothing if lanes is None else lanes.coming

    def hashes(self, first: int, count: int) -> Sequence[bytes]:
        """Return some of the block hashes; none while they are not known."""
        kept = self._kept
        if kept is None or not kept.has_hashes:
            return ()
        last = min(first + count, self._count)
        return [kept.content.hash(index) for index in range(first, last)]

    def own_range(self, kept: Partial, me: NodeId) -> tuple[int, int]:
        """Return the bytes of which this node should get the source's copy, where
        they can only come one stretch after another."""
        whole = span(0, self._count)
        known = [unpack(have, self._count) or 0 for have in self.partners.values()]
        lacking = [
            member.hex()
            for member, have in zip(self.partners, known, strict=True)
            if have != whole
        ]
        first, end = own_stretch(me.hex(), lacking, gather(kept.gaps()), known)
        offset, length = kept.content.range(end - 1)
        return kept.content.range(first)[0], offset + length

    def may_push(self, first: int, end: int) -> bool:
        """Tell whether all blocks of that range of bytes are here."""
        size = block_size(self.size)
        return all(map(self.has, range(first // size, -(-end // size))))

    def open_file(self) -> int:
        """Return a descriptor of what is here, the caller's to close."""
        place = self._place
        kept = self._kept
        if place is None and kept is not None:
            try:
                return kept.open_verified()[0]
            except StorageError:
                if not kept.is_complete:
                    raise
            # It is getting its name just now.
            self._has_place.wait(PLACED_S)
            place = self._place
        if place is None:
            raise NotFound("nothing of it is here")
        root = self._disk.open_root()
        try:
            opened = open_below(root, place[0], os.O_RDONLY)
        finally:
            os.close(root)
        if FileStamp.of(os.fstat(opened)) != place[1]:
            os.close(opened)
            raise ContentChanged("the file is not the one that had arrived")
        return opened


def _nobody(member: NodeId, have: bytes | None) -> None:
    """Nobody fetches it now."""


def stamp_at(disk: Disk, place: bytes) -> tuple[SharePath, FileStamp]:
    """Return where on *disk* the file at the absolute *place* is, and its stamp."""
    path = SharePath.parse(os.path.relpath(place, os.fsencode(disk.path)))
    root = disk.open_root()
    try:
        opened = open_below(root, path, os.O_RDONLY)
    finally:
        os.close(root)
    try:
        return path, FileStamp.of(os.fstat(opened))
    finally:
        os.close(opened)
