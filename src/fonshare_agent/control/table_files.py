"""The table's rows about browsing, searching and fetching."""

from fonshare_agent.control.quantities import AGE_EXAMPLES
from fonshare_agent.control.rows import Access, Argument, Command, Kind
from fonshare_agent.control.table_words import (
    ENTRY_ANSWER,
    JOB_ANSWER,
    LIMIT,
    LIMIT_MAX,
    size,
    switch,
)
from fonshare_agent.index.media import MEDIA


def _age(name: str, help: str) -> Argument:
    return Argument(
        name, f"{help}: {AGE_EXAMPLES}", Kind.AGE, optional=True, shown="AGE"
    )


FIND_ANSWER = (
    "as of `ls`, with `sources:[{id, group, member, member_id, online, name, share, "
    "path}]` in each row: what several members offer is one row, which shows the own "
    "entry, else one of a member online, else the newest, of those that match"
)

SAVED_ANSWER = (
    "`{name, words, group, member, member_id, kind, min_size, max_size, newer, older, "
    "online}`, sizes in bytes, ages in seconds, null where nothing is narrowed"
)

AFTER = Argument(
    "after",
    "go on where a page ended: the `cursor` of its last row in JSON",
    optional=True,
    shown="CURSOR",
)

KINDS = MEDIA  # what `--kind` takes, each with the endings that mean it

FILTERS = (
    Argument("group", "only in this group", optional=True),
    Argument("member", "only from this member", optional=True),
    Argument(
        "kind",
        "only what its ending says is one of these",
        Kind.CHOICE,
        optional=True,
        choices=tuple(KINDS),
    ),
    size("min_size", "only files as large as this"),
    size("max_size", "only files as small as this"),
    _age("newer", "only files changed within this time"),
    _age("older", "only files not changed within this time"),
    switch("online", "only what this node or a member online now offers"),
)

SEARCH_NAME = Argument("name", "the saved search's name")

FILE_COMMANDS = (
    Command(
        "ls",
        "browse the groups, also while friends are offline",
        "ls Famille/bob/Films",
        answer=ENTRY_ANSWER,
        arguments=(
            Argument(
                "path",
                "where to look: GROUP, GROUP/MEMBER, GROUP/MEMBER/SHARE/PATH",
                optional=True,
                default="",
            ),
        ),
        flags=(LIMIT, AFTER),
    ),
    Command(
        "find",
        "search by name in everything that the groups offer",
        "find brehat 2019 --group Famille --kind video --min-size 700M",
        answer=FIND_ANSWER,
        arguments=(
            Argument(
                "words",
                "what the name holds; words are data, never options after `--`",
                repeated=True,
            ),
        ),
        flags=(
            *FILTERS,
            Argument(
                "sort",
                "best matches first, or last changed, largest, by name",
                Kind.CHOICE,
                optional=True,
                choices=("relevance", "newest", "size", "name"),
                default="relevance",
            ),
            LIMIT,
            AFTER,
        ),
    ),
    Command(
        "search save",
        "keep a search, to be told what is new of it",
        "search save concerts concert live --kind audio --group Famille",
        answer=SAVED_ANSWER,
        arguments=(
            SEARCH_NAME,
            Argument("words", "what the name holds, as in `find`", repeated=True),
        ),
        flags=FILTERS,
        access=Access.WRITE,
    ),
    Command(
        "search ls",
        "list the saved searches",
        "search ls",
        answer=f"a list of {SAVED_ANSWER}",
    ),
    Command(
        "search rm",
        "forget a saved search",
        "search rm concerts",
        answer="`{name}`",
        arguments=(SEARCH_NAME,),
        access=Access.WRITE,
    ),
    Command(
        "search new",
        "show what saved searches found since they were last asked",
        "search new concerts",
        answer="as of `find`, with `search`, its name, in each row",
        arguments=(Argument("name", "only this one", optional=True),),
        flags=(
            Argument(
                "limit",
                "at most so many rows of each; else 50, or 1000 with --json",
                Kind.INTEGER,
                optional=True,
                minimum=1,
                maximum=LIMIT_MAX,
                shown="N",
            ),
            switch("keep", "show them again next time"),
        ),
        access=Access.WRITE,
        looks_with="keep",
    ),
    Command(
        "get",
        "fetch entries onto this disk",
        "get Famille/bob/Films/brehat.mkv --wait",
        answer=JOB_ANSWER,
        arguments=(
            Argument(
                "entries",
                "an id, or GROUP/MEMBER/SHARE/PATH; a folder makes one job",
                repeated=True,
                shown="ENTRY",
            ),
        ),
        flags=(
            Argument(
                "to",
                "put it in this folder",
                optional=True,
                is_file=True,
                shown="DIR",
            ),
            switch("stream", "the beginning first, for a player: `stream` in JSON"),
            switch("wait", "wait until every job has ended", is_sent=False),
        ),
        access=Access.WRITE,
    ),
)
