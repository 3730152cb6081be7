"""Where this node listens for its groups, and the keys that open what comes there.

Owns the keyring and the topics of every epoch that a group still knows. Follows the
machines; decides nothing. Core thread.
"""

from fonshare_agent.model import GroupId
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.envelope import Keyring, Opened, check_signature
from fonshare_agent.protocol.epochs import EpochId
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.keys import SealingKey
from fonshare_agent.protocol.messages import Message, decode
from fonshare_agent.protocol.topics import KEY_TAG_BYTES, EpochTopics


class Listening:
    """The epochs of all groups, by their key tags and topics."""

    def __init__(self, keys: NodeKeys) -> None:
        self._keys = keys
        self.keyring = Keyring()
        self._epoch_of_tag: dict[bytes, EpochId] = {}
        self._topics: dict[GroupId, dict[EpochId, EpochTopics]] = {}

    def find(self, group: GroupId, epoch: EpochId) -> EpochTopics | None:
        return self._topics.get(group, {}).get(epoch)

    def epoch_of(self, payload: bytes) -> EpochId | None:
        """The epoch that an envelope says it is sealed under."""
        return self._epoch_of_tag.get(payload[1 : 1 + KEY_TAG_BYTES])

    def learn(self, machine: GroupMachine) -> None:
        """Follow the epochs that *machine* knows now."""
        known = self._topics.setdefault(machine.group, {})
        if known.keys() - machine.epoch_keys.keys():
            self.forget(machine.group)
            known = self._topics.setdefault(machine.group, {})
        sealing = sealing_keys(self._keys)
        for epoch, key in machine.epoch_keys.items():
            if epoch in known:
                continue
            topics = known[epoch] = EpochTopics(key)
            self.keyring.add_epoch(
                machine.group, epoch.number, key, machine.me, sealing
            )
            self._epoch_of_tag[topics.key_tag()] = epoch
            for one in sealing:
                tag = topics.direct_key_tag(machine.me, one.public)
                self._epoch_of_tag[tag] = epoch

    def forget(self, group: GroupId) -> None:
        """Drop every key of *group*."""
        self.keyring.drop_group(group)
        gone = self._topics.pop(group, {})
        self._epoch_of_tag = {
            tag: epoch for tag, epoch in self._epoch_of_tag.items() if epoch not in gone
        }

    def wanted(self, machine: GroupMachine) -> set[str]:
        """The topics at which *machine*'s group is to be heard."""
        wanted: set[str] = set()
        for topics in self._topics.get(machine.group, {}).values():
            wanted |= {topics.bulletin(), topics.inbox(machine.me)}
        epoch = machine.sending_epoch
        current = None if epoch is None else self.find(machine.group, epoch)
        if current is not None:
            others = machine.roster.members.keys() - {machine.me}
            wanted |= {current.presence(member) for member in others}
        return wanted


def places(machine: GroupMachine) -> tuple[str, ...]:
    """The brokers where the group is, and those where it was lately."""
    return (*machine.roster.brokers, *machine.former_brokers)


def sealing_keys(keys: NodeKeys) -> list[SealingKey]:
    """The keys that others may have sealed to: the present one and the one before."""
    previous = keys.previous_sealing
    return [keys.sealing] if previous is None else [keys.sealing, previous]


def verified(opened: Opened, identity: bytes) -> Message | None:
    """Return what *opened* says, its signature checked first. Slow."""
    check_signature(opened, identity)
    return decode(opened.header.kind, opened.body)
