"""How a transfer over a data connection ended: what its reply is made of."""

from dataclasses import dataclass
from enum import Enum

from fonshare_agent.errors import FonshareError


class How(Enum):
    COMPLETE = "complete"
    CUT = "cut"  # by the peer, ABOR, a stall or a lost right
    FAILED = "failed"  # by the disk


@dataclass(frozen=True, slots=True)
class End:
    """How a transfer ended; `reason` is for the reply when it was cut."""

    how: How
    moved: int = 0
    reason: str = ""
    error: OSError | FonshareError | None = None
