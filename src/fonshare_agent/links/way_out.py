"""Which interface leads out of the house, and what has passed it: the kernel's count.

Read from /proc and /sys, a few hundred bytes that block nobody.
"""

from pathlib import Path
from typing import Final

PROC_FOLDER: Final = Path("/proc/net")
SYS_FOLDER: Final = Path("/sys/class/net")


def way_out(proc: Path = PROC_FOLDER) -> str | None:
    """Return the interface of the default route, IPv4's first; None without one."""
    found: list[tuple[int, int, str]] = []
    for row in _rows(proc / "route"):
        # Iface Destination Gateway Flags RefCnt Use Metric Mask ...
        if len(row) > 7 and row[1] == row[7] == "00000000":
            found.append((0, int(row[6]), row[0]))
    for row in _rows(proc / "ipv6_route"):
        # destination, its prefix, source, its prefix, gateway, metric, ..., device
        if len(row) > 9 and row[0] == "0" * 32 and row[1] == "00" and row[9] != "lo":
            found.append((1, int(row[5], 16), row[9]))
    return min(found)[2] if found else None


def passed(interface: str, sys: Path = SYS_FOLDER) -> tuple[int, int] | None:
    """Return the bytes (sent, received) there since some time; None if it is gone."""
    folder = sys / interface / "statistics"
    try:
        sent = int((folder / "tx_bytes").read_text())
        return sent, int((folder / "rx_bytes").read_text())
    except (OSError, ValueError):
        return None


def _rows(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
