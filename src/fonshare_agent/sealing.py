"""Makes envelopes: a counter leased before use, then sealed on the crypto worker.

Owns the leases of counters. Rule (DESIGN section 4): nobody seals under an epoch that
misses a removal it knows. What is not membership goes under the sending epoch of the
moment it leaves, not of the moment it was wanted. Core thread.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fonshare_agent.core import Worker
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import GroupId
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.envelope import Channel, Header, seal_direct, seal_group
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.group_events import Outgoing
from fonshare_agent.protocol.messages import (
    Grants,
    Hello,
    Operations,
    Presence,
    RosterAsk,
    Welcome,
    encode,
)

LEASE = 1000  # counters leased at once: a durable write every thousand messages
NONCE_BYTES = 24
SEED_BYTES = 32
STATE_KINDS = (Presence, Operations, Grants)  # carry their own signatures or versions
# Said under older epochs too: they bring a member back (docs/protocol/membership.md).
MEMBERSHIP_KINDS = (Operations, Grants, Hello, Welcome, RosterAsk)


@dataclass(slots=True)
class _Lease:
    next: int = 0
    end: int = 0


class Sealer:
    """Seals for all groups of this node."""

    def __init__(
        self,
        crypto: Worker,
        store: Worker,
        state: StateStore,
        keys: NodeKeys,
        draw: Callable[[int], bytes],
    ) -> None:
        self._crypto, self._store, self._state = crypto, store, state
        self._keys, self._draw = keys, draw
        self._leases: dict[tuple[GroupId, Channel], _Lease] = {}

    async def seal(
        self, machine: GroupMachine, out: Outgoing
    ) -> tuple[Outgoing, bytes] | None:
        """Return the envelope and what it holds; None if nobody may have it now."""
        while (wanted := _under_right_epoch(machine, out)) is not None:
            payload = await self._seal(machine, wanted)
            if payload is None:
                return None
            # While a worker sealed it somebody may have been removed.
            if _under_right_epoch(machine, wanted) == wanted:
                return wanted, payload
        return None

    async def _seal(self, machine: GroupMachine, out: Outgoing) -> bytes | None:
        is_state = isinstance(out.message, STATE_KINDS)
        channel = Channel.STATE if is_state else Channel.COMMAND
        header = Header(
            machine.me,
            machine.group,
            out.epoch.number,
            out.to,
            channel,
            out.message.KIND,
            self._keys.incarnation,
            await self._counter(machine.group, channel),
        )
        key, body = machine.epoch_keys.get(out.epoch), encode(out.message)
        signer, nonce = self._keys.signer, self._draw(NONCE_BYTES)
        if key is None:
            return None
        if out.to is None:
            return await self._crypto.run(seal_group, header, body, signer, key, nonce)
        member = machine.roster.members.get(out.to)
        if member is None:
            return None
        sealing, seed = member.statement.sealing, self._draw(SEED_BYTES)
        return await self._crypto.run(
            seal_direct, header, body, signer, sealing, key, nonce, seed
        )

    async def _counter(self, group: GroupId, channel: Channel) -> int:
        lease = self._leases.setdefault((group, channel), _Lease())
        while lease.next == lease.end:
            first = await self._store.run(
                self._state.lease_counters, group, int(channel), LEASE
            )
            if lease.next == lease.end:
                lease.next, lease.end = first, first + LEASE
        lease.next += 1
        return lease.next - 1


def _under_right_epoch(machine: GroupMachine, out: Outgoing) -> Outgoing | None:
    """Return *out* as it may be said now; None if it may not."""
    if isinstance(out.message, MEMBERSHIP_KINDS):
        return out
    epoch = machine.sending_epoch
    return None if epoch is None else replace(out, epoch=epoch)
