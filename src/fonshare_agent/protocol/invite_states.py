"""The life of an invite on either side, as tables (docs/protocol/invite.md, "States").

A step that the table does not have for a state changes nothing.
"""

from enum import Enum
from typing import Final


class InviterState(Enum):
    """How far an invite is; the values are what is stored."""

    OPEN = "open"  # nobody has used the code
    ANSWERED = "answered"  # spent; we do not yet know by whom
    CONFIRMING = "confirming"  # both persons look at the words
    AWAITING_JOINER = "awaiting_joiner"  # ours has agreed
    AWAITING_OWNER = "awaiting_owner"  # theirs has agreed
    ADMITTING = "admitting"  # both have; the caller admits
    ADMITTED = "admitted"  # a member, which is being told
    DELIVERED = "delivered"  # and knows it
    REFUSED = "refused"
    EXPIRED = "expired"
    OVER = "over"  # nobody needs to be told any more


class InviterStep(Enum):
    """What leads from one state to another."""

    KNOCKED = "knocked"
    REVEALED = "revealed"
    OWNER_ACCEPTED = "owner accepted"
    JOINER_ACCEPTED = "joiner accepted"
    GIVEN = "admission given"
    RECEIVED = "admission received"
    REFUSED_HERE = "refused here"
    REFUSED_THERE = "refused there"
    TIMED_OUT = "timed out"


INVITER_STEPS: Final[dict[tuple[InviterState, InviterStep], InviterState]] = {
    (InviterState.OPEN, InviterStep.KNOCKED): InviterState.ANSWERED,
    (InviterState.OPEN, InviterStep.REFUSED_HERE): InviterState.REFUSED,
    (InviterState.OPEN, InviterStep.TIMED_OUT): InviterState.EXPIRED,
    (InviterState.ANSWERED, InviterStep.REVEALED): InviterState.CONFIRMING,
    (InviterState.ANSWERED, InviterStep.REFUSED_HERE): InviterState.REFUSED,
    (InviterState.ANSWERED, InviterStep.REFUSED_THERE): InviterState.REFUSED,
    (InviterState.ANSWERED, InviterStep.TIMED_OUT): InviterState.EXPIRED,
    (InviterState.CONFIRMING, InviterStep.OWNER_ACCEPTED): InviterState.AWAITING_JOINER,
    (InviterState.CONFIRMING, InviterStep.JOINER_ACCEPTED): InviterState.AWAITING_OWNER,
    (InviterState.CONFIRMING, InviterStep.REFUSED_HERE): InviterState.REFUSED,
    (InviterState.CONFIRMING, InviterStep.REFUSED_THERE): InviterState.REFUSED,
    (InviterState.CONFIRMING, InviterStep.TIMED_OUT): InviterState.EXPIRED,
    (InviterState.AWAITING_JOINER, InviterStep.JOINER_ACCEPTED): InviterState.ADMITTING,
    (InviterState.AWAITING_JOINER, InviterStep.REFUSED_HERE): InviterState.REFUSED,
    (InviterState.AWAITING_JOINER, InviterStep.REFUSED_THERE): InviterState.REFUSED,
    (InviterState.AWAITING_JOINER, InviterStep.TIMED_OUT): InviterState.EXPIRED,
    (InviterState.AWAITING_OWNER, InviterStep.OWNER_ACCEPTED): InviterState.ADMITTING,
    (InviterState.AWAITING_OWNER, InviterStep.REFUSED_HERE): InviterState.REFUSED,
    (InviterState.AWAITING_OWNER, InviterStep.TIMED_OUT): InviterState.EXPIRED,
    (InviterState.ADMITTING, InviterStep.GIVEN): InviterState.ADMITTED,
    # The caller could not admit, as when the group is full or we are no admin now.
    (InviterState.ADMITTING, InviterStep.REFUSED_HERE): InviterState.REFUSED,
    (InviterState.ADMITTED, InviterStep.RECEIVED): InviterState.DELIVERED,
    # The joiner could not use what it was given (BAD_ADMISSION).
    (InviterState.ADMITTED, InviterStep.REFUSED_THERE): InviterState.REFUSED,
    (InviterState.ADMITTED, InviterStep.TIMED_OUT): InviterState.OVER,
    (InviterState.DELIVERED, InviterStep.TIMED_OUT): InviterState.OVER,
    (InviterState.REFUSED, InviterStep.TIMED_OUT): InviterState.OVER,
    (InviterState.EXPIRED, InviterStep.TIMED_OUT): InviterState.OVER,
}


class JoinerState(Enum):
    """How far a joining is; the values are what is stored."""

    KNOCKING = "knocking"  # we have the code
    REVEALING = "revealing"  # the inviter answered; it learns who we are
    CONFIRMING = "confirming"  # both persons look at the words
    ACCEPTED = "accepted"  # ours has agreed; no way back
    ADMITTED = "admitted"  # a member; the inviter is being told
    REFUSING = "refusing"  # not a member; the inviter is being told
    EXPIRED = "expired"  # the same, since nobody came in time
    REFUSED = "refused"  # by the inviter
    OVER = "over"  # nobody needs to be told any more


class JoinerStep(Enum):
    """What leads from one state to another."""

    ANSWERED = "answered"
    SHOWN_NONCE = "shown the nonce"
    OWNER_ACCEPTED = "owner accepted"
    RECEIVED = "admission received"
    RECEIVED_BAD = "admission is no good"
    REFUSED_HERE = "refused here"
    REFUSED_THERE = "refused there"
    CLOSED = "closed"
    TIMED_OUT = "timed out"


JOINER_STEPS: Final[dict[tuple[JoinerState, JoinerStep], JoinerState]] = {
    (JoinerState.KNOCKING, JoinerStep.ANSWERED): JoinerState.REVEALING,
    (JoinerState.KNOCKING, JoinerStep.REFUSED_HERE): JoinerState.REFUSING,
    (JoinerState.KNOCKING, JoinerStep.REFUSED_THERE): JoinerState.REFUSED,
    (JoinerState.KNOCKING, JoinerStep.TIMED_OUT): JoinerState.EXPIRED,
    (JoinerState.REVEALING, JoinerStep.SHOWN_NONCE): JoinerState.CONFIRMING,
    (JoinerState.REVEALING, JoinerStep.REFUSED_HERE): JoinerState.REFUSING,
    (JoinerState.REVEALING, JoinerStep.REFUSED_THERE): JoinerState.REFUSED,
    (JoinerState.REVEALING, JoinerStep.TIMED_OUT): JoinerState.EXPIRED,
    (JoinerState.CONFIRMING, JoinerStep.OWNER_ACCEPTED): JoinerState.ACCEPTED,
    (JoinerState.CONFIRMING, JoinerStep.REFUSED_HERE): JoinerState.REFUSING,
    (JoinerState.CONFIRMING, JoinerStep.REFUSED_THERE): JoinerState.REFUSED,
    (JoinerState.CONFIRMING, JoinerStep.TIMED_OUT): JoinerState.EXPIRED,
    # Once our person has agreed, the inviter may have admitted us at any moment: only
    # the inviter can end it now, else one side would believe what the other does not.
    (JoinerState.ACCEPTED, JoinerStep.RECEIVED): JoinerState.ADMITTED,
    (JoinerState.ACCEPTED, JoinerStep.RECEIVED_BAD): JoinerState.REFUSING,
    (JoinerState.ACCEPTED, JoinerStep.REFUSED_THERE): JoinerState.REFUSED,
    (JoinerState.ACCEPTED, JoinerStep.TIMED_OUT): JoinerState.EXPIRED,
    (JoinerState.ADMITTED, JoinerStep.CLOSED): JoinerState.OVER,
    (JoinerState.ADMITTED, JoinerStep.TIMED_OUT): JoinerState.OVER,
    (JoinerState.REFUSING, JoinerStep.CLOSED): JoinerState.OVER,
    (JoinerState.REFUSING, JoinerStep.TIMED_OUT): JoinerState.OVER,
    (JoinerState.EXPIRED, JoinerStep.CLOSED): JoinerState.OVER,
    (JoinerState.EXPIRED, JoinerStep.TIMED_OUT): JoinerState.OVER,
    (JoinerState.REFUSED, JoinerStep.TIMED_OUT): JoinerState.OVER,
}
