"""The lines of LIST, NLST, MLSD and MLST. Pure: names and status in, bytes out."""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator

# not strftime: a locale has no say in a protocol
MONTHS = tuple(
    "JanFebMarAprMayJunJulAugSepOctNovDec"[i : i + 3] for i in range(0, 36, 3)
)
MINUTE_S = 60
HALF_A_YEAR_S = 180 * 24 * 3600  # older entries show the year, newer ones the time
LAST_S = 2**31 - 1  # every system can tell this time
WORDED_MAX = 256  # of each kind of number, kept in words while one folder is listed
FACTS = ("type", "perm", "size", "modify", "unique")  # what MLST offers

Named = tuple[bytes, os.stat_result]


class _Worded(dict[int, bytes]):
    """Numbers in words, each made once: in a folder of thousands there are few modes,
    and few minutes or days. Forgets them all when they become many."""

    def __init__(self, word: Callable[[int], bytes]) -> None:
        self._word = word

    def __missing__(self, number: int) -> bytes:
        if len(self) >= WORDED_MAX:
            self.clear()
        text = self[number] = self._word(number)
        return text


def list_lines(entries: Iterable[Named], now: float) -> Iterator[bytes]:
    """Yield lines like `ls -l`, in GMT."""
    minutes = _Worded(lambda minute: _list_time(minute * MINUTE_S, now))
    begins: dict[tuple[int, int], bytes] = {}
    for name, status in entries:
        # By place, which is cheaper than by name; its times are whole seconds.
        mode, _, _, links, _, _, size, _, modified, _ = status
        begin = begins.get((mode, links))
        if begin is None:
            if len(begins) >= WORDED_MAX:
                begins.clear()
            kind = stat.filemode(mode).encode()
            begin = b"%s %3d owner    house    " % (kind, links or 1)
            begins[mode, links] = begin
        minute = minutes[modified // MINUTE_S]  # type: ignore[index]
        yield b"%s%12d %s %s\r\n" % (begin, size, minute, name)


def _list_time(modified: float, now: float) -> bytes:
    then = _utc(modified)
    day = f"{MONTHS[then.tm_mon - 1]} {then.tm_mday:02d}"
    # A clock that is not set yet makes files look as if from the future: year, too.
    if not 0 <= now - modified <= HALF_A_YEAR_S:
        return f"{day}  {then.tm_year}".encode()
    return f"{day} {then.tm_hour:02d}:{then.tm_min:02d}".encode()


def _utc(modified: float) -> time.struct_time:
    try:
        return time.gmtime(max(modified, 0))
    except (OverflowError, OSError):  # what a friend says, or a damaged disk
        return time.gmtime(LAST_S)


def name_lines(entries: Iterable[Named]) -> Iterator[bytes]:
    """Yield bare names."""
    for name, _ in entries:
        yield name + b"\r\n"


def fact_lines(
    entries: Iterable[Named], facts: Iterable[str], can_write: bool
) -> Iterator[bytes]:
    """Yield the lines of MLSD (RFC 3659)."""
    wanted = frozenset(facts)
    ours = _Worded(lambda mode: _kind_facts(mode, can_write, wanted))
    theirs = _Worded(lambda mode: _kind_facts(mode, False, wanted))
    times = _Worded(lambda modified: modified_text(modified).encode())
    for name, status in entries:
        # Only what friends offer has no device: see house_files.py.
        line = (ours if status.st_dev else theirs)[status.st_mode]
        if "size" in wanted:
            line += b"size=%d;" % status.st_size
        if "modify" in wanted:
            line += b"modify=%s;" % times[int(status.st_mtime)]
        if "unique" in wanted:
            line += b"unique=%xg%x;" % (status.st_dev, status.st_ino)
        yield b"%s %s\r\n" % (line, name)


def fact_line(
    name: bytes, status: os.stat_result, facts: Iterable[str], can_write: bool
) -> bytes:
    """Return one entry's facts and name."""
    return next(fact_lines([(name, status)], facts, can_write))


def _kind_facts(mode: int, may_change: bool, wanted: frozenset[str]) -> bytes:
    """Return what follows from the kind of an entry."""
    is_folder = stat.S_ISDIR(mode)
    kind = "OS.unix=slink" if stat.S_ISLNK(mode) else "dir" if is_folder else "file"
    if is_folder:
        rights = "cdeflmp" if may_change else "el"
    else:
        rights = "adfrw" if may_change else "r"
    facts = {"type": kind, "perm": rights}
    text = "".join(f"{name}={fact};" for name, fact in facts.items() if name in wanted)
    return text.encode()


def modified_text(modified: float) -> str:
    """A time as MDTM and MLSD write it: YYYYMMDDHHMMSS, GMT."""
    return time.strftime("%Y%m%d%H%M%S", _utc(modified))
