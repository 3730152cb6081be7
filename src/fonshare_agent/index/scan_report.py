"""What the scanner tells about the shares, for `status` and `doctor`.

Values only; must not know how a scan works.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fonshare_agent.index.holdback import Held


@dataclass(frozen=True, slots=True)
class ShareReport:
    """What the last scan of a share could not read."""

    skipped: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None
    is_scanned: bool = False  # at least one scan came to its end
    held: Held | None = None  # what it found missing and does not call deleted yet


@dataclass(frozen=True, slots=True)
class ScanReport:
    """How the scanner stands."""

    is_scanning: bool
    shares: Mapping[str, ShareReport]
