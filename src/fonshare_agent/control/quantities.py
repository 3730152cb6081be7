"""Sizes and ages as people write them: the one place that reads them. Pure."""

import re

SIZE_EXAMPLES = "bytes, or 500K, 700M, 1.5G, 2T"
AGE_EXAMPLES = "12h, 7d, 3w, 1y"

_SIZE = re.compile(r"(\d{1,18})(?:[.,](\d{1,6}))? ?([kmgt]?)(?:i?b)?", re.IGNORECASE)
_AGE = re.compile(r"(\d{1,9}) ?([smhdwy]|min)", re.IGNORECASE)
_POWERS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SECONDS = {
    "s": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": 86_400,
    "w": 7 * 86_400,
    "y": 365 * 86_400,
}


def read_size(text: str) -> int | None:
    """Return the bytes that *text* means, None if it is no size; K is 1024 bytes."""
    found = _SIZE.fullmatch(text) if text.isascii() else None
    if found is None:
        return None
    whole, fraction, unit = found[1], found[2] or "", found[3].lower()
    # No floats: 0.1G must not depend on how it is rounded.
    size: int = (int(whole + fraction) << _POWERS[unit]) // 10 ** len(fraction)
    return size


def read_age(text: str) -> int | None:
    """Return the seconds that *text* means, None if it is no age."""
    found = _AGE.fullmatch(text) if text.isascii() else None
    return int(found[1]) * _SECONDS[found[2].lower()] if found else None


def shown_age(seconds: int) -> str:
    """Return *seconds* as `read_age` takes it, in the largest unit that fits."""
    for unit in ("y", "w", "d", "h"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"
