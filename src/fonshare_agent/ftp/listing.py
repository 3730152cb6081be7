"""The lines of LIST, NLST, MLSD and MLST. Pure: names and status in, bytes out."""

import os
import stat
import time
from collections.abc import Iterable, Iterator

# not strftime: a locale has no say in a protocol
MONTHS = tuple(
    "JanFebMarAprMayJunJulAugSepOctNovDec"[i : i + 3] for i in range(0, 36, 3)
)
HALF_A_YEAR_S = 180 * 24 * 3600  # older entries show the year, newer ones the time
FACTS = ("type", "perm", "size", "modify", "unique")  # what MLST offers

Named = tuple[bytes, os.stat_result]


def list_lines(entries: Iterable[Named], now: float) -> Iterator[bytes]:
    """Yield lines like `ls -l`, in GMT."""
    for name, status in entries:
        yield b"%s %3d owner    house    %12d %s %s\r\n" % (
            stat.filemode(status.st_mode).encode(),
            status.st_nlink or 1,
            status.st_size,
            _list_time(status.st_mtime, now),
            name,
        )


def _list_time(modified: float, now: float) -> bytes:
    then = time.gmtime(max(modified, 0))
    day = f"{MONTHS[then.tm_mon - 1]} {then.tm_mday:02d}"
    # A clock that is not set yet makes files look as if from the future: year, too.
    if not 0 <= now - modified <= HALF_A_YEAR_S:
        return f"{day}  {then.tm_year}".encode()
    return f"{day} {then.tm_hour:02d}:{then.tm_min:02d}".encode()


def name_lines(entries: Iterable[Named]) -> Iterator[bytes]:
    """Yield bare names."""
    for name, _ in entries:
        yield name + b"\r\n"


def fact_lines(
    entries: Iterable[Named], facts: Iterable[str], can_write: bool
) -> Iterator[bytes]:
    """Yield the lines of MLSD (RFC 3659)."""
    wanted = tuple(facts)
    for name, status in entries:
        yield fact_line(name, status, wanted, can_write)


def fact_line(
    name: bytes, status: os.stat_result, facts: Iterable[str], can_write: bool
) -> bytes:
    """Return one entry's facts and name."""
    text = "".join(
        f"{fact}={_fact(fact, status, can_write)};" for fact in FACTS if fact in facts
    )
    return text.encode() + b" " + name + b"\r\n"


def _fact(fact: str, status: os.stat_result, can_write: bool) -> str:
    is_folder = stat.S_ISDIR(status.st_mode)
    if fact == "type":
        if stat.S_ISLNK(status.st_mode):
            return "OS.unix=slink"
        return "dir" if is_folder else "file"
    if fact == "perm":
        can_write = can_write and status.st_dev != 0  # see house_files.py
        if is_folder:
            return "cdeflmp" if can_write else "el"
        return "adfrw" if can_write else "r"
    if fact == "size":
        return str(status.st_size)
    if fact == "modify":
        return modified_text(status.st_mtime)
    return f"{status.st_dev:x}g{status.st_ino:x}"


def modified_text(modified: float) -> str:
    """A time as MDTM and MLSD write it: YYYYMMDDHHMMSS, GMT."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(max(modified, 0)))
