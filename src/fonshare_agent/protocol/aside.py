"""Operations that a log does not hold: those that wait for parents, and the refused.

Owns both, bounded (docs/protocol/roster.md, "The log"): the oldest go first, since they
can be asked for again, and so nobody can keep new ones out by filling the place. Judges
nothing.
"""

from typing import Final

from fonshare_agent.protocol.operations import SignedOperation

ASIDE_MAX: Final = 256  # operations whose parents have not arrived
ASIDE_BYTES_MAX: Final = 1024 * 1024
REFUSED_MAX: Final = 1024  # hashes of operations that no log keeps, to know them again


class Aside:
    """What one log has seen and does not hold. One owner thread."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, SignedOperation] = {}  # oldest first
        self._refused: dict[bytes, None] = {}  # oldest first
        self._bytes = 0

    def __contains__(self, operation_hash: object) -> bool:
        return operation_hash in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def knows(self, operation_hash: bytes) -> bool:
        return operation_hash in self._waiting or operation_hash in self._refused

    def put(self, operation: SignedOperation) -> None:
        """Let *operation* wait."""
        self._waiting[operation.hash] = operation
        self._bytes += len(operation.raw)
        while len(self._waiting) > ASIDE_MAX or self._bytes > ASIDE_BYTES_MAX:
            self.take(next(iter(self._waiting)))

    def take(self, operation_hash: bytes) -> SignedOperation | None:
        """Remove the operation and return it, None if it does not wait here."""
        operation = self._waiting.pop(operation_hash, None)
        if operation is not None:
            self._bytes -= len(operation.raw)
        return operation

    def wanted(self) -> set[bytes]:
        """The hashes for which something waits, and that do not wait here."""
        named = {parent for one in self._waiting.values() for parent in one.parents}
        return named - self._waiting.keys()

    def built_on(self, operation_hash: bytes) -> list[SignedOperation]:
        """What waits for just this operation, among others."""
        return [one for one in self._waiting.values() if operation_hash in one.parents]

    def refuse(self, operation_hash: bytes) -> None:
        """Note that no log keeps this operation, nor what was built on it."""
        self._refused[operation_hash] = None
        if len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        for one in self.built_on(operation_hash):
            if self.take(one.hash) is not None:
                self.refuse(one.hash)

    def is_refused(self, operation: SignedOperation) -> bool:
        """Tell whether it, or what it was built on, was refused."""
        names = (operation.hash, *operation.parents)
        return any(name in self._refused for name in names)
