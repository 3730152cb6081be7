"""What is said at a data port that is tried (docs/protocol/transfer.md, Trying back).

Pure. Both ends prove that they know the question's number, which only they do: so
nobody else's connection counts, and nobody else's answer.
"""

import hashlib
import hmac
from typing import Final

ASKED: Final = b"fonshare data try 1 asked"  # says who was asked to try
HERE: Final = b"fonshare data try 1 here"  # says the node at whose port it is
PROOF_BYTES: Final = 32


def prove(request: bytes, context: bytes) -> bytes:
    """Return what the end that *context* names sends."""
    return hmac.digest(request, context, hashlib.sha256)


def is_proof(request: bytes, context: bytes, said: bytes) -> bool:
    return hmac.compare_digest(prove(request, context), said)
