"""The table's rows about what is followed."""

from fonshare_agent.control.rows import Access, Argument, Command
from fonshare_agent.control.table_words import size, switch

FOLLOW_ANSWER = (
    "`[{id, kind, group, member, member_id, share, path, budget, used_bytes, files, "
    "all, kept, state, error}]`, `kept` the share that offers it on, else null; "
    "state one of looking (at what was there), following, full "
    "(its budget is used) or gone (nothing is offered there now); `used_bytes` what "
    "its files and open jobs take, each file at least 4 KiB; `error` "
    "`{code, message}` or null"
)

FOLLOW_COMMANDS = (
    Command(
        "follow",
        "fetch what comes new to a friend's share or folder; without one: list them",
        "follow Famille/bob/Films --budget 20G",
        answer=FOLLOW_ANSWER,
        arguments=(
            Argument(
                "entry",
                "a share or folder: an id, or GROUP/MEMBER/SHARE/PATH",
                optional=True,
                shown="ENTRY",
            ),
        ),
        flags=(
            size("budget", "let what it fetches take so much of the disk, else 10G"),
            switch("all", "also what is there already"),
        ),
        access=Access.WRITE,
    ),
    Command(
        "follow ls",
        "list what is followed",
        "follow ls",
        answer=FOLLOW_ANSWER,
    ),
    Command(
        "keep",
        "fetch all of a friend's share or folder, now and later, and offer it on to "
        "the group, so that it is there while the friend is away",
        "keep Famille/bob/Films --budget 50G",
        answer=FOLLOW_ANSWER,
        arguments=(
            Argument(
                "entry",
                "a share or folder: an id, or GROUP/MEMBER/SHARE/PATH",
                shown="ENTRY",
            ),
        ),
        flags=(
            size("budget", "let what it fetches take so much of the disk, else 10G"),
            Argument("name", "the name of the share that offers it on", optional=True),
        ),
        access=Access.WRITE,
    ),
    Command(
        "unfollow",
        "stop following or keeping; what was fetched stays on the disk, what is under "
        "way ends, what was kept is offered no more",
        "unfollow Famille/bob/Films",
        answer="`{id, group, member, share, path}`",
        arguments=(
            Argument(
                "entry",
                "what is followed: its id, or GROUP/MEMBER/SHARE/PATH",
                shown="ENTRY",
            ),
        ),
        access=Access.WRITE,
    ),
)
