"""What is still to be said at brokers of groups that this node has left.

A node that leaves forgets the group's keys, so what it says last is sealed before, and
kept, one document of state.db a group, until every broker of the group holds it. A
broker gets it retained, in the place of this node's presence there, where members find
it whenever they come; and once on the bulletin, for those who are there. That a broker
holds it shows when it comes back from there: no other answer is a promise. A broker
that stays away for 90 days of this node's uptime is given up, and who is in the group
again says nothing of the old leave any more. Core thread.
"""

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import StorageError
from fonshare_agent.index.state import StateStore
from fonshare_agent.links.links import Links
from fonshare_agent.listening import places
from fonshare_agent.model import GroupId
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.group_events import Outgoing
from fonshare_agent.protocol.messages import Operations
from fonshare_agent.protocol.operations import Leave
from fonshare_agent.protocol.retirement import KEPT_S
from fonshare_agent.protocol.topics import EpochTopics
from fonshare_agent.sealing import Sealer

log = logging.getLogger(__name__)

DOCUMENT: Final = "leave/"  # and the group
NOTICES_MAX: Final = 64  # the oldest are forgotten
RECORDS_MAX: Final = 32  # of this node's own: what it did last may be unheard, too


@dataclass(slots=True)
class _Notice:
    payload: bytes
    presence: str  # the topics
    bulletin: str
    brokers: set[str]  # that may not hold it yet
    since_s: int | None = None  # of uptime; None until the count is known


class LeaveNotices:
    """The leaves of all groups that were left."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        state: StateStore,
        sealer: Callable[[], Sealer],
    ) -> None:
        self._core, self._store, self._state = core, store, state
        self._sealer = sealer
        self._links: Links | None = None
        self._notices: dict[GroupId, _Notice] = {}

    def wire(self, links: Links) -> None:
        self._links = links

    async def load(self) -> None:
        """Go on with what was not said before the restart."""
        for name in await self._store.run(self._state.document_names, DOCUMENT):
            kept = await self._store.run(self._state.get_document, name)
            group = GroupId(bytes.fromhex(name.removeprefix(DOCUMENT)))
            self._notices[group] = _decode(kept)

    async def keep(self, machine: GroupMachine) -> bool:
        """Keep what *machine*'s group must hear, if this node has left it by itself.

        False if the disk does not take it now.
        """
        said = _last_words(machine)
        if said is None:
            return True
        topics = EpochTopics(machine.epoch_keys[said.epoch])
        try:
            sealed = await self._sealer().seal(machine, said)
            if sealed is None:
                return True
            notice = _Notice(
                sealed[1],
                topics.presence(machine.me),
                topics.bulletin(),
                set(places(machine)),
            )
            await self._save(machine.group, notice)
        except StorageError as error:
            log.warning("a leave is not stored: %s", error.code)
            return False
        self._notices[machine.group] = notice
        for oldest in list(self._notices)[:-NOTICES_MAX]:
            await self.forget(oldest)
        return True

    async def forget(self, group: GroupId) -> None:
        """Say nothing more of having left *group*: this node is in it again, say."""
        if self._notices.pop(group, None) is not None:
            await self._store.run(self._state.put_document, _name(group), None)

    def tell(self, group: GroupId) -> None:
        """Say it wherever a broker is connected."""
        notice = self._notices.get(group)
        if notice is not None and self._links is not None:
            self._links.refresh()
            for broker in notice.brokers:
                self._publish(notice, broker)

    def tend(self, uptime_s: int) -> None:
        """Call it now and then: says again what was not taken, gives up what is old."""
        for group, notice in list(self._notices.items()):
            since_s = notice.since_s
            if since_s is None or since_s > uptime_s:  # the count began anew
                notice.since_s = uptime_s
                self._core.spawn_service("leave", self._keep_on(group, notice))
            elif uptime_s - since_s > KEPT_S:
                self._core.spawn_service("leave", self.forget(group))
                continue
            self.tell(group)

    # --- brokers ---

    def brokers(self) -> set[str]:
        """Those that are waited for."""
        return {b for notice in self._notices.values() for b in notice.brokers}

    def topics(self, broker: str) -> set[str]:
        """What is to be heard there, to see that it holds what was said."""
        return {
            notice.presence
            for notice in self._notices.values()
            if broker in notice.brokers
        }

    def on_connected(self, broker: str) -> None:
        for notice in self._notices.values():
            if broker in notice.brokers:
                self._publish(notice, broker)

    def receive(self, broker: str, topic: str, payload: bytes) -> bool:
        """Take what came from *topic* if that is a notice's; tell whether it was."""
        found = [
            (group, notice)
            for group, notice in self._notices.items()
            if notice.presence == topic and broker in notice.brokers
        ]
        for group, notice in found:
            if payload == notice.payload:
                notice.brokers.discard(broker)
                self._core.spawn_service("leave", self._note_held(group, notice))
        return bool(found)

    def _publish(self, notice: _Notice, broker: str) -> None:
        if self._links is not None and self._links.is_connected(broker):
            self._links.publish(broker, notice.presence, notice.payload, True)
            self._links.publish(broker, notice.bulletin, notice.payload)

    async def _note_held(self, group: GroupId, notice: _Notice) -> None:
        if notice.brokers:
            await self._keep_on(group, notice)
        elif self._notices.get(group) is notice:
            await self.forget(group)
        if self._links is not None:
            self._links.refresh()  # one link less, maybe

    async def _keep_on(self, group: GroupId, notice: _Notice) -> None:
        if self._notices.get(group) is notice:  # else it is of the past
            await self._save(group, notice)

    async def _save(self, group: GroupId, notice: _Notice) -> None:
        document = _encode(notice)
        await self._store.run(self._state.put_document, _name(group), document)


def _last_words(machine: GroupMachine) -> Outgoing | None:
    """Return what a node that has left says last; None if it has not left by itself."""
    endings = machine.log.endings_of(machine.me)
    if not endings or endings[-1].author != machine.me:
        return None
    if not isinstance(endings[-1].action, Leave):
        return None
    epoch = max(machine.epoch_keys, key=lambda one: one.number, default=None)
    if epoch is None:
        return None  # it was in no epoch: nobody would hear it
    own = [one.raw for one in machine.log.operations() if one.author == machine.me]
    return Outgoing(epoch, None, Operations(tuple(own[-RECORDS_MAX:])))


def _name(group: GroupId) -> str:
    return DOCUMENT + group.hex()


def _encode(notice: _Notice) -> dict[str, Any]:
    return {
        "payload": base64.b64encode(notice.payload).decode("ascii"),
        "presence": notice.presence,
        "bulletin": notice.bulletin,
        "brokers": sorted(notice.brokers),
        "since_s": notice.since_s,
    }


def _decode(kept: dict[str, Any]) -> _Notice:
    return _Notice(
        base64.b64decode(kept["payload"]),
        kept["presence"],
        kept["bulletin"],
        set(kept["brokers"]),
        kept["since_s"],
    )
