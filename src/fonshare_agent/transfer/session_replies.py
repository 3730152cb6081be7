"""What a friends' door answers (docs/protocol/transfer.md): codes, and what is in them.

Owns what each refusal means. Must not know in which order commands are sent.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final

from fonshare_agent.errors import (
    BlockLacking,
    ConnectionLost,
    FonshareError,
    SourceChanged,
    SourceRefused,
)

_PASSIVE: Final = re.compile(r"\(\|\|\|(\d{1,5})\|\)")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `text` is its last line."""

    code: int
    text: str

    @property
    def is_refusal(self) -> bool:
        return self.code >= 400

    def error(self) -> FonshareError:
        """Return what a refusal means."""
        said = f"the peer says: {self.code} {self.text}"
        if self.code == 450 and self.text.startswith("changed"):
            return SourceChanged(said)
        if self.code == 450 and self.text.startswith("missing"):
            return BlockLacking(said)
        if self.code in (421, 425, 426):
            return ConnectionLost(said)
        return SourceRefused(said)


def bytes_in(text: str) -> bytes:
    """Return the bitmap that a reply spells."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise SourceRefused("the peer's bitmap is not one") from None


def port_in(reply: Reply) -> int:
    """Return the data port that EPSV was answered with; SourceRefused without one."""
    found = _PASSIVE.search(reply.text)
    if reply.code != 229 or found is None or not 0 < int(found[1]) < 65536:
        raise SourceRefused("the peer names no port for data")
    return int(found[1])
