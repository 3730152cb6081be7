"""What a group's machine tells its owner, and what it wants to be sent. Values only."""

from dataclasses import dataclass

from fonshare_agent.model import NodeId
from fonshare_agent.protocol.epochs import EpochGrant, EpochId
from fonshare_agent.protocol.messages import Grants, Message, Operations
from fonshare_agent.protocol.operations import SignedOperation
from fonshare_agent.protocol.peers import PeerEvent


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Operations or grants were added: store them before anything is sent."""


@dataclass(frozen=True, slots=True)
class EpochChanged:
    """Messages go under another epoch from here on, or (None) under none yet."""

    epoch: EpochId | None


@dataclass(frozen=True, slots=True)
class RemovedFromGroup:
    """The roster holds this node no more."""


GroupEvent = MembershipChanged | EpochChanged | RemovedFromGroup | PeerEvent


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to seal: to one member's inbox, or (None) to the bulletin."""

    epoch: EpochId
    to: NodeId | None
    message: Message


@dataclass(frozen=True, slots=True)
class VerifiedOperations(Message):
    """Operations whose signatures held: what `verify_content` makes of Operations."""

    operations: tuple[SignedOperation, ...]


@dataclass(frozen=True, slots=True)
class VerifiedGrants(Message):
    """Grants whose signatures held."""

    grants: tuple[EpochGrant, ...]


def verify_content(message: Message) -> Message:
    """Check the signatures that *message* carries; PeerError if one fails.

    Slow (some ms a signature on the router): for the crypto worker.
    """
    match message:
        case Operations(operations=raw):
            return VerifiedOperations(tuple(SignedOperation.decode(one) for one in raw))
        case Grants(grants=raw):
            return VerifiedGrants(tuple(EpochGrant.decode(one) for one in raw))
        case _:
            return message
