"""Text on a terminal: what is safe there, how wide it is, tables, sizes.

`visible` is for every name that came from elsewhere: a friend's file name may hold an
escape sequence.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from fonshare_agent.words import say

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
# Not printable to Python, harmless on a terminal and usual in names: no-break spaces,
# and the joiners that Persian, Hindi and emoji need.
HARMLESS = "\u00a0\u202f\u3000\u200c\u200d"


def visible(text: str) -> str:
    """Return *text* with everything that could act on a terminal escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in HARMLESS else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def human_size(size: int) -> str:
    """Return *size* bytes in the unit that gives three digits."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return f"{size} {say(UNITS[0])}"
    shown = f"{value:.{0 if value >= 99.95 else 1}f}".replace(".", say("."))
    return f"{shown} {say(UNITS[unit])}"


def width(text: str) -> int:
    """Return the cells that *text* takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0
        if combining(char) or char in "\u200c\u200d"
        else 1 + (east_asian_width(char) in "WF")
        for char in text
    )


def pad(text: str, cells: int) -> str:
    """Return *text* in exactly *cells* cells, cut with `~` if it is too long."""
    if width(text) <= cells:
        return text + " " * (cells - width(text))
    kept = ""
    for char in text:
        if width(kept + char) > cells - 1:
            break
        kept += char
    return kept + "~" + " " * (cells - 1 - width(kept))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned table. Nothing for no rows."""
    heads = [say(head) for head in heads]
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [
        max(width(head), *(width(row[column]) for row in cells))
        for column, head in enumerate(heads)
    ]
    lines = [list(heads), *cells]
    return "".join(
        "  ".join(
            pad(cell, cells) for cell, cells in zip(line, widths, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def shown_day(seconds: Any) -> str:
    """Return the local date and time, or `-` where there is none."""
    if not isinstance(seconds, int) or not seconds:  # members and groups have none
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # a friend may claim any date
        return "?"


def shown_size(value: Any) -> str:
    """Return *value*, bytes, for people, or `-` where there is none."""
    return human_size(value) if isinstance(value, int) else "-"
