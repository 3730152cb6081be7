"""Which shares there are, and when each is scanned next.

A wish for a scan at once stays one until a scan begins, whatever else is said of the
share meanwhile; said while a scan runs it is a wish for another. A new share is to be
scanned only after it is watched, or what changes in between would be seen by nobody:
who watches says so (`want`), and should it never say so, the scan comes all the same.

From any thread; it must not know how a scan works.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from fonshare_agent.index.scan_report import ShareReport

AT_ONCE: Final = 0.0


class Schedule:
    """Guarded by `_lock`: everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: dict[str, Path] = {}
        self._due: dict[str, float] = {}
        self._reports: dict[str, ShareReport] = {}

    def set_shares(self, shares: Mapping[str, Path], first_due: float) -> None:
        """These are the shares; new ones are scanned from *first_due* on."""
        with self._lock:
            for name, path in shares.items():
                if self._shares.get(name) != path:
                    self._due[name] = first_due
                    self._reports.pop(name, None)
            self._shares = dict(shares)
            self._due = {name: self._due[name] for name in shares}
            self._reports = {
                name: report for name, report in self._reports.items() if name in shares
            }

    def shares(self) -> dict[str, Path]:
        with self._lock:
            return dict(self._shares)

    def locate(self, raw: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the shares that *raw* is of, and where in each; b"" is all of it."""
        for name, path in self.shares().items():
            root = os.fsencode(path)
            if raw == root or root.startswith(raw + b"/"):
                yield name, b""
            elif raw.startswith(root + b"/"):
                yield name, raw[len(root) + 1 :]

    def want(self, share: str | None = None) -> None:
        """Scan *share*, or all shares, as soon as possible."""
        with self._lock:
            for name in self._shares:
                if share in (None, name):
                    self._due[name] = AT_ONCE

    def postpone(self, share: str, due: float) -> None:
        """Scan *share* at *due*, unless it is wanted at once."""
        with self._lock:
            if self._due.get(share, AT_ONCE) != AT_ONCE:
                self._due[share] = due

    def take_due(self, now: float, next_due: float) -> tuple[str, Path] | None:
        """Return a share to be scanned now; its next scan is due at *next_due*."""
        with self._lock:
            for name, due in self._due.items():
                if due <= now:
                    self._due[name] = next_due
                    return name, self._shares[name]
        return None

    def next_due(self) -> float | None:
        """Return when the next scan is due, of those that are not due at once."""
        with self._lock:
            times = [due for due in self._due.values() if due != AT_ONCE]
        return min(times, default=None)

    # --- what became of the scans ---

    def set_report(self, share: str, report: ShareReport) -> None:
        with self._lock:
            if share in self._shares:
                self._reports[share] = report

    def reports(self) -> dict[str, ShareReport]:
        with self._lock:
            return dict(self._reports)

    def is_behind(self) -> bool:
        """Tell whether a share waits for a scan at once, or for its first one."""
        with self._lock:
            return any(due == AT_ONCE for due in self._due.values()) or any(
                share not in self._reports for share in self._shares
            )
