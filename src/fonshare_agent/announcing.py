"""Publishes this node's presence, so that a broker keeps its newest state.

A group's presence at one broker is published once at a time, and once more if it was
asked for meanwhile: two under way could leave in the other order, and the older one
would be what the broker keeps. One that could not leave (no room on the disk for its
counter, too much on its way to the broker) is tried again. Core thread.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Final

from fonshare_agent.core import Core
from fonshare_agent.errors import StorageError
from fonshare_agent.links.links import Links
from fonshare_agent.listening import Listening
from fonshare_agent.model import GroupId, IndexId
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.group_events import Outgoing
from fonshare_agent.protocol.messages import Presence
from fonshare_agent.sealing import Sealer

log = logging.getLogger(__name__)

RETRY_S: Final = 5.0
Head = tuple[IndexId, int]


class Announcing:
    """*on_failed* hears of which group the presence is to be published again."""

    def __init__(
        self,
        core: Core,
        sealer: Sealer,
        listening: Listening,
        keys: NodeKeys,
        node_name: str,
        on_failed: Callable[[GroupId], None],
    ) -> None:
        self._core, self._sealer, self._listening = core, sealer, listening
        self._keys, self._node_name = keys, node_name
        self._on_failed = on_failed
        self._own_head: Callable[[GroupId], Head | None] = lambda group: None
        self._links: Links | None = None
        self._wanted: dict[tuple[GroupId, str], GroupMachine] = {}
        self._under_way: set[tuple[GroupId, str]] = set()

    def wire(self, own_head: Callable[[GroupId], Head | None], links: Links) -> None:
        """*own_head* tells what the group may know of our catalogue."""
        self._own_head, self._links = own_head, links

    def announce(self, machine: GroupMachine, broker: str) -> None:
        """Publish the presence in *machine*'s group at *broker*, as it is then."""
        where = (machine.group, broker)
        self._wanted[where] = machine
        if where not in self._under_way:
            self._under_way.add(where)
            self._core.spawn_service("presence", self._announce(where))

    def tell_head(self, machine: GroupMachine) -> Head | None:
        """Return our catalogue's head, and let greetings carry it."""
        head = self._own_head(machine.group)
        if head is not None:
            machine.peers.own_head = head
        return head

    async def _announce(self, where: tuple[GroupId, str]) -> None:
        group, broker = where
        is_out = False
        try:
            while (machine := self._wanted.pop(where, None)) is not None:
                is_out = await self._publish(machine, broker)
        except StorageError:
            is_out = False
            raise
        finally:
            self._under_way.discard(where)
            if not is_out:
                self._core.call_later(RETRY_S, lambda: self._on_failed(group))

    async def _publish(self, machine: GroupMachine, broker: str) -> bool:
        """Return whether it is on its way, or is not to go there now."""
        assert self._links is not None
        will, head = self._links.will(broker), self.tell_head(machine)
        epoch = machine.sending_epoch
        if epoch is None or will is None or head is None:
            return True  # what lacks comes with a new presence
        statement = self._keys.statement(self._node_name).encode()
        farewell = hashlib.sha256(will[1]).digest()
        presence = Presence(statement, will[0], farewell, *head, machine.log.heads())
        sealed = await self._sealer.seal(machine, Outgoing(epoch, None, presence))
        if sealed is None:
            return True
        topics = self._listening.find(machine.group, sealed[0].epoch)
        if topics is None or self._links.will(broker) != will:
            return True  # a new connection begins with a presence of its own
        topic = topics.presence(machine.me)
        return self._links.publish(broker, topic, sealed[1], True)
