"""What lies at a path of a server, and what a folder of it holds.

Uses MLST and MLSD where a server has them, else SIZE, CWD and LIST, and NLST where LIST
is in no form that is known. Never guesses: FxpListing says what could not be told.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from fonshare_agent.errors import FxpError, FxpListing, FxpRefused
from fonshare_agent.model import printable
from fonshare_agent.transfer.fxp_listing import (
    Entry,
    Kind,
    parse_facts,
    parse_list,
    parse_mlsd,
    parse_names,
    read_size,
)
from fonshare_agent.transfer.fxp_relay import read_all
from fonshare_agent.transfer.fxp_server import Server

NAMES_MAX: Final = 100_000  # of one folder, 30 MB here: more than one can be used with
UNKNOWN_COMMAND: Final = (500, 501, 502, 504)


def find(server: Server, path: bytes, *, may_list: bool = True) -> Entry | None:
    """Return what lies at *path*; None if nothing does, or nothing that we may see.

    *may_list*: look into the folder if the server answers no question about a file.
    """
    name = path.rstrip(b"/").rpartition(b"/")[2]
    if "MLST" in server.features:
        reply = server.ask(b"MLST " + path)
        if reply.code == 250 and len(reply.lines) >= 3:
            facts = reply.lines[1].lstrip(b" ").partition(b" ")[0]
            return parse_facts(facts + b" " + (name or b"/")) or Entry(
                name, Kind.FOLDER
            )
        if reply.code not in UNKNOWN_COMMAND:
            return None
    reply = server.ask(b"SIZE " + path)
    size = read_size(reply.text.strip()) if reply.code == 213 else None
    if size is not None:
        return Entry(name, Kind.FILE, size, _modified(server, path))
    if is_folder(server, path):
        return Entry(name, Kind.FOLDER)
    if may_list and reply.code in UNKNOWN_COMMAND:
        return _find_by_list(server, path, name)
    return None


def _modified(server: Server, path: bytes) -> bytes | None:
    reply = server.ask(b"MDTM " + path)
    return reply.text.strip() if reply.code == 213 else None


def is_folder(server: Server, path: bytes) -> bool:
    """Tell whether one can go into *path*."""
    return server.ask(b"CWD " + (path or b"/")).is_good


def _find_by_list(server: Server, path: bytes, name: bytes) -> Entry | None:
    """For a server that knows no SIZE: look into the folder."""
    folder = path.rpartition(b"/")[0]
    return next((e for e in list_folder(server, folder) if e.name == name), None)


def list_folder(server: Server, path: bytes) -> list[Entry]:
    """Return what the folder *path* holds."""
    # Without a path as its argument: some take a name with a space or a dash for
    # options, or a bracket for a pattern.
    server.demand(b"CWD " + (path or b"/"), path)
    if "MLST" in server.features or "MLSD" in server.features:
        listed = _take(parse_mlsd(read_all(server, b"MLSD", path)))
    else:
        try:
            listed = _take(parse_list(_read_list(server, path)))
        except (FxpListing, FxpRefused) as unclear:
            listed = _take(_by_names(server, path, unclear))
    if len(listed) > NAMES_MAX:
        raise FxpListing("the folder is too large to be listed", thing=printable(path))
    return listed


def _take(entries: Iterable[Entry]) -> list[Entry]:
    """Return *entries*, one more than are allowed at most."""
    return list(islice(entries, NAMES_MAX + 1))


def _read_list(server: Server, path: bytes) -> bytes:
    """Return the LIST with hidden files, if the server knows how."""
    try:
        raw = read_all(server, b"LIST -a", path)
    except FxpRefused:
        return read_all(server, b"LIST", path)
    # The folder itself is shown, or `-a` was taken for a name that is not there.
    shows_hidden = any(line.rstrip().endswith(b" .") for line in raw.split(b"\n"))
    return raw if shows_hidden else read_all(server, b"LIST", path)


def _by_names(server: Server, path: bytes, unclear: FxpError) -> Iterable[Entry]:
    """Ask about each name of a folder whose LIST is in no known form."""
    for name in parse_names(read_all(server, b"NLST", path)):
        if b"/" in name:
            raise unclear
        found = find(server, path.rstrip(b"/") + b"/" + name, may_list=False)
        if found is None:
            raise FxpListing("nobody knows what this is", thing=printable(name))
        yield found


def make_folder(server: Server, path: bytes) -> None:
    """Make *path* and what is above it; it may be there already."""
    if is_folder(server, path):
        return
    reply = server.ask(b"MKD " + path)
    if reply.is_good:
        return
    above = path.rpartition(b"/")[0]
    if above and not is_folder(server, above):
        make_folder(server, above)
        reply = server.ask(b"MKD " + path)
    if not reply.is_good and not is_folder(server, path):
        raise server.refused(reply, path)
