"""The groups of this node by their local labels, and what is kept of each.

Labels are this node's own: two nodes may call one group differently, and no message
carries a label except an invite. Memberships are files in KEYS/groups/, written on the
file worker and complete before anything that depends on them is sent. Core thread.
"""

import base64
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from fonshare_agent.channel import ControlChannel
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import (
    AlreadyExists,
    Ambiguous,
    FonshareError,
    NotFound,
    PeerError,
    UsageError,
)
from fonshare_agent.leave_notices import LeaveNotices
from fonshare_agent.listening import sealing_keys
from fonshare_agent.memberships import Membership, Memberships
from fonshare_agent.model import LABEL_BYTES_MAX, GroupId, NodeId, is_label
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.epochs import EpochGrant
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.keys import KeyStatement, node_id_text
from fonshare_agent.protocol.roster import OperationLog, Roster
from fonshare_agent.storable import shorten

log = logging.getLogger(__name__)

DROP_POLL_S = 0.02
ID_PREFIX_MIN = 6  # shorter ones would be guesses


@dataclass(frozen=True, slots=True)
class Followers:
    """Who must hear that a group came or went."""

    joining: Callable[[GroupId], Awaitable[None]]  # before anything is said in it
    joined: Callable[[GroupId], None]
    dropped: Callable[[GroupId], Awaitable[None]]


class Groups:
    """Labels, memberships and the owner's verbs. *now* is epoch seconds, for show."""

    def __init__(
        self,
        core: Core,
        files: Worker,
        memberships: Memberships,
        channel: ControlChannel,
        keys: NodeKeys,
        node_name: str,
        draw: Callable[[int], bytes],
        now: Callable[[], float],
        leaving: LeaveNotices,
    ) -> None:
        self._core, self._files = core, files
        self._memberships, self._channel = memberships, channel
        self._leaving = leaving
        self._keys, self._node_name = keys, node_name
        self._draw, self._now = draw, now
        self._kept: dict[GroupId, Membership] = {}
        self._dropping: set[GroupId] = set()
        self._joining: set[GroupId] = set()
        self._followers: Followers | None = None
        self.complaints: list[FonshareError] = []

    def wire(self, followers: Followers) -> None:
        self._followers = followers

    async def load(self) -> None:
        """Take up every membership that can be read; complaints go to `doctor`."""
        await self._leaving.load()
        found, self.complaints = await self._files.run(self._memberships.load)
        for membership in found:
            try:
                machine = self._machine(membership)
            except FonshareError as error:
                self.complaints.append(error)  # the other groups go on
                continue
            self._kept[membership.group] = membership
            if machine.roster.is_member(machine.me):
                await self._take_part(machine)
            else:
                await self._drop(machine)  # the end came before it was dropped

    def _machine(self, kept: Membership) -> GroupMachine:
        try:
            statements = [
                KeyStatement.decode(base64.b64decode(one))
                for one in kept.extra.get("statements", ())
            ]
        except (PeerError, TypeError, ValueError):
            statements = []  # the members' next presences bring them again
        machine = GroupMachine(
            self._keys.signer,
            lambda: sealing_keys(self._keys),
            OperationLog.from_raw(kept.operations),
            [EpochGrant.decode(one) for one in kept.grants],
            statements,
            kept.epoch_keys,
            self._draw,
            self._core.clock(),
        )
        marks = kept.extra.get("retired", {})
        machine.retirement.restore({name: int(at) for name, at in marks.items()})
        return machine

    async def _take_part(self, machine: GroupMachine) -> None:
        assert self._followers is not None
        await self._followers.joining(machine.group)
        self._channel.add_group(machine)
        self._followers.joined(machine.group)

    async def save(self, machine: GroupMachine) -> None:
        """Store what *machine* knows; nothing is sent before this returns."""
        kept = self._kept.get(machine.group)
        if kept is None:
            return  # dropped meanwhile: must not come back
        kept = self._kept[machine.group] = self._snapshot(machine, kept.label)
        await self._files.run(self._memberships.save, kept)

    def _snapshot(self, machine: GroupMachine, label: str) -> Membership:
        before = self._kept.get(machine.group)
        statements = [
            base64.b64encode(one.encode()).decode("ascii")
            for one in machine.statements.values()
        ]
        return Membership(
            machine.group,
            label,
            before.created if before else int(self._now()),
            tuple(machine.log.raw_operations()),
            tuple(grant.raw for grant in machine.grants),
            {epoch.commitment: key for epoch, key in machine.epoch_keys.items()},
            {"statements": statements, "retired": machine.retirement.marks},
            before.unknown if before else {},
        )

    # --- names ---

    def labels(self) -> dict[str, GroupId]:
        return {kept.label: group for group, kept in sorted(self._kept.items())}

    def find_label(self, group: GroupId) -> str | None:
        kept = self._kept.get(group)
        return None if kept is None else kept.label

    def label(self, group: GroupId) -> str:
        kept = self._kept.get(group)
        if kept is None:
            raise NotFound("the group was left", next="See `fonshare group ls`.")
        return kept.label

    def find(self, label: str) -> GroupId | None:
        return self.labels().get(label)

    def get(self, label: str) -> GroupId:
        """Return the group that this node calls *label*, or raise NotFound."""
        group = self.find(label)
        if group is None:
            raise NotFound(
                f"there is no group {label!r} on this node",
                thing=label,
                next="See `fonshare group ls`.",
            )
        return group

    def roster(self, group: GroupId) -> Roster:
        return self._channel.machine(group).roster

    def member_name(self, group: GroupId, member: NodeId) -> str:
        """The name that *member* gives itself; told apart by id if two share it."""
        members = self.roster(group).members
        if member not in members:
            return node_id_text(member)[:7]
        name = members[member].statement.name
        twins = [m for m, one in members.items() if one.statement.name == name]
        return name if len(twins) == 1 else f"{name} ({node_id_text(member)[:7]})"

    def get_member(self, group: GroupId, text: str) -> NodeId:
        """Return the member that *text* means; see `pick_node`."""
        members = self.roster(group).members
        named = [
            m
            for m in members
            if text in (self.member_name(group, m), members[m].statement.name)
        ]
        return pick_node(named, list(members), text)

    # --- the owner's verbs ---

    async def create(self, label: str, brokers: tuple[str, ...]) -> GroupId:
        """Found a group that lives on *brokers*; stored when this returns."""
        self.require_free(label)
        machine = GroupMachine.create(
            self._keys.signer,
            lambda: sealing_keys(self._keys),
            self._keys.statement(self._node_name),
            brokers,
            self._draw,
            self._core.clock(),
        )
        await self._keep(machine, label)
        return machine.group

    async def join(
        self, label: str, operations: list[bytes], grants: list[bytes]
    ) -> GroupId:
        """Take part in a group that admitted this node; stored when this returns."""
        log_ = OperationLog.from_raw(operations)
        if log_.group in self._kept or log_.group in self._joining:
            return log_.group
        machine = GroupMachine(
            self._keys.signer,
            lambda: sealing_keys(self._keys),
            log_,
            [EpochGrant.decode(one) for one in grants],
            (),
            {},
            self._draw,
            self._core.clock(),
        )
        self._joining.add(machine.group)
        try:
            free = await self._label_for(machine.group, label)
            await self._keep(machine, free)
        finally:
            self._joining.discard(machine.group)
        return machine.group

    async def _label_for(self, group: GroupId, label: str) -> str:
        """Return *label*, or one like it if it is or was another group's here.

        Shares name groups by label: a code must not be able to take over the shares of
        a group that this node has left.
        """
        left = await self._files.run(self._memberships.left_labels)
        others = {one for one, meant in left.items() if meant != group}
        return self.free_label(label, others)

    async def _keep(self, machine: GroupMachine, label: str) -> None:
        await self._wait_until_dropped(machine.group)
        await self._leaving.forget(machine.group)
        kept = self._snapshot(machine, label)
        await self._files.run(self._memberships.save, kept)
        self._kept[machine.group] = kept
        await self._take_part(machine)

    def require_free(self, label: str) -> None:
        if not is_label(label):
            raise UsageError(
                f"{label!r} cannot name a group: 1 to {LABEL_BYTES_MAX} bytes of"
                " printable text without '/'",
                thing=label,
            )
        if self.find(label) is not None:
            raise AlreadyExists(f"there is a group {label!r} already", thing=label)

    def free_label(self, label: str, others: Collection[str] = ()) -> str:
        """Return *label*, or `label (2)` and so on if it is taken or in *others*."""
        number, free = 1, label
        while self.find(free) is not None or free in others:
            number += 1
            suffix = f" ({number})"
            stem = shorten(label.encode(), LABEL_BYTES_MAX - len(suffix)).decode()
            free = stem + suffix
        return free

    async def change(
        self, group: GroupId, act: Callable[[GroupMachine, float], None]
    ) -> None:
        """Do *act* to the group's machine; stored and said when this returns."""
        try:
            act(self._channel.machine(group), self._core.clock())
        finally:
            self._channel.pump(group)
        await self._channel.flush(group)

    async def leave(self, group: GroupId) -> None:
        """Tell the members, then forget the group's keys, catalogues and jobs."""
        machine = self._channel.machine(group)
        machine.leave(self._core.clock())
        await self._channel.flush(group)
        await self.drop(group)

    async def drop(self, group: GroupId) -> None:
        """Forget everything of a group; its rights end before anything waits."""
        machine = self._channel.find_machine(group)
        if machine is not None:
            await self._drop(machine)
        await self._wait_until_dropped(group)  # its own end may have begun it already

    async def _drop(self, machine: GroupMachine) -> None:
        assert self._followers is not None
        group = machine.group
        self._channel.drop_group(group)
        kept = self._kept.pop(group, None)
        if kept is None:
            return
        # The file goes last: what a crash leaves is dropped at the next start.
        self._dropping.add(group)
        try:
            is_kept = await self._leaving.keep(machine)
            self._leaving.tell(group)
            await self._files.run(self._memberships.remember_left, kept.label, group)
            await self._followers.dropped(group)
            if is_kept:  # else the next start does
                await self._files.run(self._memberships.delete, group)
        finally:
            self._dropping.discard(group)

    async def _wait_until_dropped(self, group: GroupId) -> None:
        while group in self._dropping:
            await self._core.sleep(DROP_POLL_S)


def pick_node(named: list[NodeId], others: list[NodeId], text: str) -> NodeId:
    """Return the one node that *text* means: an id in full, a name or an id's prefix.

    Nobody can pass for another by a name: one that is another's id means that other,
    and one that is the beginning of it is ambiguous.
    """
    prefix = text.replace("-", "").lower()
    ids = {node: node_id_text(node).replace("-", "") for node in others}
    fits = [node for node in others if ids[node] == prefix]
    if not fits:
        is_prefix = len(prefix) >= ID_PREFIX_MIN
        fits = named + [
            node
            for node in others
            if is_prefix and ids[node].startswith(prefix) and node not in named
        ]
    if not fits:
        raise NotFound(
            f"nobody here is called {text!r}",
            thing=text,
            next="See `fonshare group ls`, or `fonshare group requests` for who asks.",
        )
    if len(fits) > 1:
        shown = " and ".join(node_id_text(one)[:13] for one in fits)
        raise Ambiguous(f"{text!r} fits {shown}", thing=text)
    return fits[0]
