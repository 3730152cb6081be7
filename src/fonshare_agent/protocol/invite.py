"""Invites: one code, two nodes, two persons (docs/protocol/invite.md).

This is the part's face; the machines are in inviting.py and joining.py.

Theory of operation. The code tells the joiner where to meet, a secret that makes topics
and keys, and the fingerprint of the inviter's identity key.

    joiner                                   inviter
    KNOCK   commitment to (nonce, statement) ->      spends the code, durably
            <- REPLY   statement, commitment to a nonce; signed
    REVEAL  nonce, statement; signed ->
            <- NONCE
         both persons see the other's name and the same six words, and accept
    ACCEPT  the words' transcript; signed ->
            <- PAGE    of the admission, sealed to the joiner's sealing key; signed
    DONE    ->
            <- CLOSED

The joiner drives: it repeats what it said, with growing pauses, until it is answered;
the inviter answers the same question alike. So loss, doubling, reordering and replay do
no harm. Either side may end it with REFUSE until the joiner's person has accepted; from
then on only the inviter decides, else one could believe what the other does not.

On power failure nothing is lost that a frame spoke of: frames wait until the state was
stored (invite_session.py). Who uses a machine: calls `receive`, `handle_timer`, the
person's `accept` or `refuse`; then acts on `take_events`, stores what `StateChanged`
holds and says `stored(version)`; then publishes `take_frames`.
"""

from fonshare_agent.protocol.invite_session import (
    AdmissionWanted,
    Admitted,
    CodeSpent,
    Expired,
    Finished,
    InviteEvent,
    InviterKnown,
    JoinerAdmitted,
    JoinerKnown,
    Peer,
    Refused,
    SecondJoinerRefused,
    StateChanged,
)
from fonshare_agent.protocol.invite_states import InviterState, JoinerState
from fonshare_agent.protocol.inviting import Invitation
from fonshare_agent.protocol.joining import Joining

__all__ = [
    "AdmissionWanted",
    "Admitted",
    "CodeSpent",
    "Expired",
    "Finished",
    "Invitation",
    "InviteEvent",
    "InviterKnown",
    "InviterState",
    "JoinerAdmitted",
    "JoinerKnown",
    "JoinerState",
    "Joining",
    "Peer",
    "Refused",
    "SecondJoinerRefused",
    "StateChanged",
]
