"""The messages about being reached: trying back, and relays. Read by messages.py."""

from dataclasses import dataclass
from typing import ClassVar

from fonshare_agent.protocol.fields import (
    NONCE_BYTES,
    added_addresses,
    addresses,
    blob,
    code_text,
)
from fonshare_agent.protocol.message import Message

NODE_BYTES = 32


@dataclass(frozen=True, slots=True)
class ReachAsk(Message):
    """Try whether my friends' door is reached at one of these addresses, and then the
    data port at the same host of `data`, where I listen for you."""

    KIND: ClassVar[str] = "reach_ask"
    request: bytes = blob(NONCE_BYTES)
    addresses: tuple[tuple[str, int], ...] = addresses()
    data: tuple[tuple[str, int], ...] = added_addresses()


@dataclass(frozen=True, slots=True)
class ReachAnswer(Message):
    """I have tried: `reason` is empty when your door was there."""

    KIND: ClassVar[str] = "reach_answer"
    request: bytes = blob(NONCE_BYTES)
    reason: str = code_text()


@dataclass(frozen=True, slots=True)
class RelayAsk(Message):
    """Let me and `member` meet at your friends' door: neither reaches the other."""

    KIND: ClassVar[str] = "relay_ask"
    request: bytes = blob(NONCE_BYTES)
    member: bytes = blob(NODE_BYTES)
    addresses: tuple[tuple[str, int], ...] = addresses()


@dataclass(frozen=True, slots=True)
class RelayGrant(Message):
    """Meet there; the secret is for the two of you."""

    KIND: ClassVar[str] = "relay_grant"
    request: bytes = blob(NONCE_BYTES)
    relay: bytes = blob(NONCE_BYTES)
    secret: bytes = blob(NONCE_BYTES)
    addresses: tuple[tuple[str, int], ...] = addresses()


@dataclass(frozen=True, slots=True)
class RelayJoin(Message):
    """Come to that relay of `member`'s, and let me to your friends' door by it."""

    KIND: ClassVar[str] = "relay_join"
    request: bytes = blob(NONCE_BYTES)
    member: bytes = blob(NODE_BYTES)
    relay: bytes = blob(NONCE_BYTES)
    secret: bytes = blob(NONCE_BYTES)
    addresses: tuple[tuple[str, int], ...] = addresses()


@dataclass(frozen=True, slots=True)
class RelayJoined(Message):
    """I wait there, if `reason` is empty."""

    KIND: ClassVar[str] = "relay_joined"
    request: bytes = blob(NONCE_BYTES)
    reason: str = code_text()


REACH_KINDS = (ReachAsk, ReachAnswer, RelayAsk, RelayGrant, RelayJoin, RelayJoined)
