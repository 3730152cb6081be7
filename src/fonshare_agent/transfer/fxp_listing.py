"""What a server's listing of a folder says. Pure.

Rules kept: names are bytes, as they came; a line that could be read in two ways raises
FxpListing, since a wrong guess would copy the wrong file; what a name must not be
(`..`, a path, a line break) is refused here with a reason, so that no server can make
us leave the folder it lists.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from fonshare_agent.errors import BadPath, FxpListing
from fonshare_agent.model import SIZE_MAX, SharePath, printable


class Kind(Enum):
    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # links, sockets, devices: never followed


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder. `modified` is FTP's YYYYMMDDHHMMSS, when it was told.

    `stamp`: what LIST writes as its date, without zone or seconds. It tells no time,
    but a file whose stamp is another one may have changed.
    """

    name: bytes
    kind: Kind
    size: int | None = None
    modified: bytes | None = None
    stamp: bytes | None = field(default=None, compare=False)


# -rw-r--r-- 1 owner group 1234 Jan  1 12:00 name: an owner with a space in it would
# shift the columns, so exactly these are taken.
_UNIX: Final = re.compile(
    rb"([-a-zA-Z])[-rwxsStTlL]{9}[.+@]? +\d+ +[^ ]+ +[^ ]+ +(\d+|\d+, +\d+) +"
    rb"([A-Z][a-z]{2} +\d{1,2} +(?:\d{1,2}:\d\d|\d{4})) (.+)",
    re.DOTALL,
)
_DOS: Final = re.compile(
    rb"(\d\d-\d\d-(?:\d\d|\d{4}) +\d\d:\d\d(?:AM|PM)?) +(?:(<DIR>) +|(\d+) )(.+)",
    re.DOTALL,
)
_FACTS: Final = re.compile(rb"(?:[A-Za-z0-9.-]+=[^;]*;)+ .")
_TOTAL: Final = re.compile(rb"total \d+")
_MLSD_KINDS: Final = {b"file": Kind.FILE, b"dir": Kind.FOLDER}
_SELF: Final = (b".", b"..")
_DIGITS_MAX: Final = len(str(SIZE_MAX))


def parse_mlsd(raw: bytes) -> Iterator[Entry]:
    """Yield the entries of a machine listing, RFC 3659.

    A line without facts is the rest of a name with a line break in it: that name is
    put together again, for `demand_safe` to refuse.
    """
    last: Entry | None = None
    for line in _lines(raw):
        if _FACTS.match(line):
            if last is not None:
                yield last
            last = parse_facts(line)
        elif last is not None:
            last = replace(last, name=last.name + b"\n" + line)
        else:
            raise _unclear(line)
    if last is not None:
        yield last


def parse_facts(line: bytes) -> Entry | None:
    """Return the entry of one `fact=value;… name`; None for the folder itself."""
    facts, space, name = line.partition(b" ")
    if not space or not name:
        raise _unclear(line)
    known = {
        key.lower(): value
        for key, _, value in (fact.partition(b"=") for fact in facts.split(b";"))
    }
    kind = known.get(b"type", b"").lower()
    if kind in (b"cdir", b"pdir") or name in _SELF:
        return None
    size = known.get(b"size", b"")
    return Entry(
        name,
        _MLSD_KINDS.get(kind, Kind.OTHER),
        read_size(size),
        known.get(b"modify"),
    )


def read_size(digits: bytes) -> int | None:
    """Return what a server says to be a size; None if no file has such a one."""
    if not digits.isdigit() or len(digits) > _DIGITS_MAX:
        return None
    size = int(digits)
    return size if size <= SIZE_MAX else None


def parse_list(raw: bytes) -> Iterator[Entry]:
    """Yield the entries of a LIST, where every line is clear; else FxpListing."""
    for line in _lines(raw):
        if _TOTAL.fullmatch(line):
            continue
        entry = _unix(line) or _dos(line)
        if entry is None:
            raise _unclear(line)
        if entry.name not in _SELF:
            yield entry


def _unix(line: bytes) -> Entry | None:
    found = _UNIX.fullmatch(line)
    if found is None:
        return None
    kind = {b"-": Kind.FILE, b"d": Kind.FOLDER}.get(found[1], Kind.OTHER)
    size = read_size(found[2]) if kind is Kind.FILE else None
    return Entry(found[4], kind, size, stamp=found[3])


def _dos(line: bytes) -> Entry | None:
    found = _DOS.fullmatch(line)
    if found is None:
        return None
    if found[2]:
        return Entry(found[4], Kind.FOLDER)
    return Entry(found[4], Kind.FILE, read_size(found[3]), stamp=found[1])


def parse_names(raw: bytes) -> Iterator[bytes]:
    """Yield the names of an NLST."""
    for line in _lines(raw):
        name = line.removeprefix(b"./")
        if name not in _SELF:
            yield name


def demand_safe(name: bytes) -> None:
    """Raise BadPath unless *name* is one component that FTP can carry."""
    if b"\n" in name or b"\r" in name:
        raise BadPath("FTP cannot carry a name with a line break", thing=ascii(name))
    if b"/" in name:
        raise BadPath("a listing names a path, not a name", thing=printable(name))
    SharePath.parse(name)


def _lines(raw: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(raw):  # not by split: all of them at once are twice the memory
        end = raw.find(b"\n", begin) % (len(raw) + 1)  # -1: the last one has no end
        line = raw[begin:end].removesuffix(b"\r")
        if line:
            yield line
        begin = end + 1


def _unclear(line: bytes) -> FxpListing:
    return FxpListing("the listing has an unclear line", thing=printable(line[:200]))
