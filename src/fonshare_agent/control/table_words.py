"""What several groups of the table's rows have in common. See commands.py."""

from fonshare_agent.control.quantities import SIZE_EXAMPLES
from fonshare_agent.control.rows import Argument, Kind
from fonshare_agent.model import SIZE_MAX


def switch(name: str, help: str, *, is_sent: bool = True) -> Argument:
    return Argument(name, help, Kind.SWITCH, optional=True, is_sent=is_sent)


def size(name: str, help: str) -> Argument:
    return Argument(
        name,
        f"{help}: {SIZE_EXAMPLES}",
        Kind.SIZE,
        optional=True,
        maximum=SIZE_MAX,
        shown="SIZE",
    )


JOB_ANSWER = (
    "`[{id, entry, name, size, done_bytes, state, sources, error, path, place, first, "
    "follow}]`"
    ", state one of queued, locating, running, verifying, done, paused, failed, "
    "cancelled; `place` in the queue of a source that serves others first, else null; "
    "`first` if it was put before all others; `follow`, the id of the follow that "
    "wants it, else null; with `--stream` also `stream:{path, "
    "ready_bytes, kept}`: the file that a player can open, how far it may be read, and "
    "whether it stays when nobody reads it any more"
)

ENTRY_ANSWER = (
    "`[{id, kind, name, path, size, modified, group, member, member_id, share, root, "
    "online, own, rating}]`, kind one of file, folder, group, member, share; `rating` "
    "`{average, count, own}`, what the row's group thinks of that content (`own` null "
    "without one of this node), null if nobody has rated it; `path_b64` is "
    "added where a path is not UTF-8, `cursor` to the last row if there is more"
)

LIMIT_MAX = 100_000  # rows: a program may ask for all that a small group holds

LIMIT = Argument(
    "limit",
    "at most so many rows; else 50, or 1000 with --json",
    Kind.INTEGER,
    optional=True,
    minimum=1,
    maximum=LIMIT_MAX,
    shown="N",
)
