"""Which epochs of its group a node knows, sends under, and has to make. Pure.

Owns the grants a node keeps, the keys opened from them, and an admin's turn to make or
extend an epoch (docs/protocol/membership.md, "Who makes an epoch"). Rules: only what an
admin granted is kept, since anybody else's grant could crowd out real ones, claim that
a member was served, or lure messages under a key of its own; a grant whose heads are
not known yet waits, bounded; a copy that does not open costs that copy alone. Knows no
messages and no topics.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from fonshare_agent.errors import BadGrant
from fonshare_agent.model import NodeId
from fonshare_agent.protocol.epochs import (
    EpochGrant,
    EpochId,
    choose_sending_epoch,
    extend_grant,
    is_valid,
    make_grant,
    members_without,
    needs_new_epoch,
    next_number,
)
from fonshare_agent.protocol.keys import SealingKey, Signer
from fonshare_agent.protocol.roster import OperationLog, Roster

EPOCH_STAGGER_S = 5.0  # between admins: long enough for the first one's grant to arrive
EPOCH_KEY_BYTES = 32
EPOCHS_MAX = 64  # each costs two subscriptions; who missed more removals joins anew
ASIDE_MAX = 64  # grants whose heads have not arrived; some KiB each
ASIDE_BYTES_MAX = 256 * 1024  # any member may send such ones, of 64 KiB each
# A grant for 64 members has 12 KiB, one for who is admitted later some hundred bytes.
EPOCH_BYTES_MAX = 512 * 1024  # of one epoch: what more comes is refused
GRANTS_BYTES_MAX = 2 * 1024 * 1024  # of all: they lie in flash, and in memory


class EpochDuty:
    """The epochs of one group as seen from one node. Core thread."""

    def __init__(
        self,
        signer: Signer,
        sealing_keys: Callable[[], Sequence[SealingKey]],
        log: OperationLog,
        known_keys: Mapping[bytes, bytes],
        draw: Callable[[int], bytes],
    ) -> None:
        """*known_keys*: keys opened earlier, by their epoch's commitment."""
        self._signer, self._sealing_keys = signer, sealing_keys
        self._log, self._draw = log, draw
        self._known_keys = dict(known_keys)
        self._aside: dict[bytes, EpochGrant] = {}  # oldest first
        self._raws: set[bytes] = set()
        self.grants: list[EpochGrant] = []
        self.keys: dict[EpochId, bytes] = {}
        self.sending: EpochId | None = None
        self.due: float | None = None  # when it is this admin's turn

    # --- grants that arrive ---

    def restore(self, grants: Iterable[EpochGrant]) -> None:
        """Take back what was stored, or what the inviter gave: judged already."""
        for grant in grants:
            if grant.group == self._log.group and grant.raw not in self._raws:
                self._keep(grant)

    def has_seen(self, raw: bytes) -> bool:
        """Tell whether the grant of these bytes is here or waits: known already."""
        return raw in self._raws or raw in self._aside

    def take(self, grant: EpochGrant) -> bool:
        """Keep *grant* if an admin made it; tell whether that changed anything."""
        if grant.group != self._log.group or grant.raw in self._raws:
            return False
        if any(head not in self._log for head in grant.heads):
            self._aside[grant.raw] = grant
            while len(self._aside) > ASIDE_MAX or (
                _size_of(self._aside.values()) > ASIDE_BYTES_MAX
            ):
                del self._aside[next(iter(self._aside))]
            return False
        its_epoch = _size_of(one for one in self.grants if one.epoch == grant.epoch)
        is_too_much = its_epoch + len(grant.raw) > EPOCH_BYTES_MAX
        if is_too_much or not is_valid(grant, self._log):
            return False
        self._keep(grant)
        self._forget_oldest(but=grant.epoch)
        return grant.raw in self._raws

    def take_waiting(self) -> bool:
        """Look again at the grants that came before their heads."""
        waiting, self._aside = self._aside, {}
        taken = [grant for grant in waiting.values() if self.take(grant)]
        return bool(taken)

    def _keep(self, grant: EpochGrant) -> None:
        self.grants.append(grant)
        self._raws.add(grant.raw)
        me = self._signer.node_id
        if grant.epoch in self.keys or me not in grant.sealed:
            return
        # The sealing key that opened an old grant is erased one day.
        key = self._known_keys.get(grant.epoch.commitment)
        try:
            self.keys[grant.epoch] = key or grant.open_for(me, self._sealing_keys())
        except BadGrant:
            return  # kept all the same: the others' copies may be good

    def _forget_oldest(self, but: EpochId) -> None:
        epochs = sorted(self.old_epochs())
        self.forget(epochs[: max(0, len(epochs) - EPOCHS_MAX)])
        known = {grant.epoch for grant in self.grants} - {self.sending, but}
        for oldest in sorted(known):
            if _size_of(self.grants) <= GRANTS_BYTES_MAX:
                break
            self.forget([oldest])

    def old_epochs(self) -> set[EpochId]:
        """Those that are not sent under, while there is one that is."""
        if self.sending is None:
            return set()
        return {grant.epoch for grant in self.grants} - {self.sending}

    def forget(self, epochs: Collection[EpochId]) -> None:
        """Drop the grants and keys of *epochs*."""
        self.grants = [one for one in self.grants if one.epoch not in epochs]
        self._raws = {one.raw for one in self.grants}
        for epoch in epochs:
            self.keys.pop(epoch, None)
            self._known_keys.pop(epoch.commitment, None)

    # --- which one to use ---

    def membership_epoch(self) -> EpochId | None:
        """The epoch for membership messages: the sending one, else the newest."""
        if self.sending is not None:
            return self.sending
        return max(self.keys, key=lambda epoch: epoch.number, default=None)

    def newest(self, count: int) -> list[EpochId]:
        return sorted(self.keys, key=lambda epoch: epoch.number)[-count:]

    def grants_since(self, epoch: EpochId, member: NodeId) -> list[bytes]:
        """The keys that *member*, who speaks under *epoch*, may lack."""
        return [
            grant.raw
            for grant in self.grants
            if member in grant.sealed
            and grant.epoch != epoch
            and grant.number >= epoch.number
        ]

    def choose(self) -> bool:
        """Follow log and grants; tell whether messages go under another epoch now."""
        chosen = choose_sending_epoch(self._log, self.grants, self._signer.node_id)
        if chosen not in self.keys:
            chosen = None
        before, self.sending = self.sending, chosen
        return before != chosen

    def stop(self) -> None:
        """This node is a member no more."""
        self.sending, self.due = None, None

    # --- making them ---

    def plan(self, roster: Roster, now: float) -> None:
        """Note when it is this node's turn to make or extend an epoch, if at all."""
        me = self._signer.node_id
        if not roster.is_admin(me) or not (self._is_new_needed() or self._unserved()):
            self.due = None
        elif self.due is None:
            admins = [node for node in roster.members if roster.is_admin(node)]
            self.due = now + EPOCH_STAGGER_S * (1 + admins.index(me))

    def do(self, roster: Roster) -> EpochGrant | None:
        """It is this node's turn: make what lacks; a new epoch, or further copies."""
        self.due = None
        return self.begin(roster) if self._is_new_needed() else self.extend(roster)

    def begin(self, roster: Roster) -> EpochGrant:
        """Make the next epoch for the present members."""
        number, key = next_number(self.grants), self._draw(EPOCH_KEY_BYTES)
        grant = make_grant(self._signer, roster, number, key, self._draw)
        self._keep(grant)
        self._forget_oldest(but=grant.epoch)
        return grant

    def extend(self, roster: Roster) -> EpochGrant | None:
        """Seal the current epoch's key to the members who have no copy yet."""
        epoch, members = self.sending, roster.members
        statements = [members[node].statement for node in self._unserved()]
        if epoch is None or not statements:
            return None
        grant = next(one for one in self.grants if one.epoch == epoch)
        extension = extend_grant(
            self._signer, grant, self.keys[epoch], statements, self._draw
        )
        self._keep(extension)
        return extension

    def _is_new_needed(self) -> bool:
        return needs_new_epoch(self._log, self.grants)

    def _unserved(self) -> frozenset[NodeId]:
        """Members that nobody has sealed the current epoch's key to."""
        if self.sending is None:
            return frozenset()
        return members_without(self._log, self.grants, self.sending)


def _size_of(grants: Iterable[EpochGrant]) -> int:
    return sum(len(grant.raw) for grant in grants)
