"""Nodes with fixed keys, for the tests of groups."""

import hashlib
from collections.abc import Callable

from fonshare_agent.protocol.keys import KeyStatement, SealingKey, Signer
from fonshare_agent.protocol.operations import Action, Create, SignedOperation

BROKERS = ("mqtt://broker.example",)


class Node:
    """One node's keys, and its hand at signing."""

    def __init__(self, number: int, name: str) -> None:
        self.name = name
        self.signer = Signer(number.to_bytes(32, "big"))
        self.id = self.signer.node_id
        self.sealing = SealingKey((1000 + number).to_bytes(32, "big"))
        self.statement = self.state(1)

    def state(self, version: int) -> KeyStatement:
        public = self.sealing.public
        return KeyStatement.make(self.signer, self.name, version, bytes(32), public)

    def does(self, action: Action, *parents: SignedOperation) -> SignedOperation:
        seen = [parent.hash for parent in parents]
        return SignedOperation.make(self.signer, seen, action)

    def creates(self, nonce: bytes = bytes(16)) -> SignedOperation:
        return self.does(Create(self.statement, nonce, BROKERS))

    def __repr__(self) -> str:
        return self.name


NAMES = ("Anna", "Ben", "Cleo", "Dora", "Emil", "Fritz")
NODES = tuple(Node(number, name) for number, name in enumerate(NAMES, 1))
ANNA, BEN, CLEO, DORA, EMIL, FRITZ = NODES


def drawer(seed: bytes = b"") -> Callable[[int], bytes]:
    """Randomness that every run of a test draws alike."""
    count = 0

    def draw(length: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(seed + count.to_bytes(8, "big")).digest(length)

    return draw
