"""The table's rows of `fonshare fxp`."""

from fonshare_agent.control.rows import Access, Argument, Command, Kind, Place
from fonshare_agent.control.table_words import JOB_ANSWER, switch

SOURCE = Argument(
    "source",
    "what to copy: ftp://USER@HOST:PORT/PATH; ftps:// and ftpes:// are both "
    "explicit TLS. PATH is relative to where the login begins, after `//` "
    "absolute; only % is special in it, written %25",
    shown="SRC-URL",
)
TARGET = Argument(
    "target",
    "where to: a folder's contents go into this folder, a file gets this name "
    "or, in a folder or after a slash at the end, keeps its own",
    shown="DST-URL",
)
RUN = Argument("id", "the copy's id, as `fonshare fxp ls` shows it")


def _passwords(*, is_sent: bool) -> Argument:
    return Argument(
        "passwords",
        "read a line for each USER in the URLs, SRC's first, from this file of "
        "mode 600, or from stdin with `-`; else they are asked for",
        optional=True,
        is_file=True,
        is_sent=is_sent,
        shown="FILE",
    )


WISHES = (
    Argument(
        "relay",
        "whether the bytes may go through this node, where the servers forbid "
        "otherwise",
        Kind.CHOICE,
        optional=True,
        choices=("auto", "always", "never"),
        default="auto",
    ),
    switch("overwrite", "replace files that differ, and partials that do not fit"),
    switch(
        "plain_data",
        "let bytes go from server to server in clear, though a URL asks for TLS",
    ),
    Argument(
        "src_pin",
        "trust the source's certificate with this SHA-256, and no other",
        optional=True,
        shown="SHA256",
    ),
    Argument(
        "dst_pin",
        "trust the target's certificate with this SHA-256, and no other",
        optional=True,
        shown="SHA256",
    ),
    Argument(
        "ca",
        "trust certificates signed by who is in this file, instead of the system's",
        optional=True,
        is_file=True,
        shown="FILE",
    ),
)

FXP_ANSWER = (
    f"{JOB_ANSWER}; one job, with `files`, `skipped`, `failed`, "
    "`failures:[{path, error}]` and `relayed`, the reason why the bytes went through "
    "this node, or null"
)

FXP_COMMANDS = (
    Command(
        "fxp",
        "copy a file or folder from one FTP server to another, without passing here",
        "fxp ftp://me@old.example/films ftps://me@new.example/films --relay never",
        answer=FXP_ANSWER,
        arguments=(SOURCE, TARGET),
        flags=(
            _passwords(is_sent=True),
            *WISHES,
            Argument(
                "background",
                "go on without this terminal, and keep this file up to date with the "
                "answer; without a disk write it to /tmp",
                optional=True,
                is_file=True,
                shown="FILE",
            ),
        ),
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "fxp start",
        "have the agent begin such a copy, which then goes on by itself",
        "fxp start ftp://me@old.example/films ftps://me@new.example/films",
        answer="as of `fxp ls`, of this one",
        arguments=(SOURCE, TARGET),
        flags=(
            _passwords(is_sent=False),
            *WISHES,
            Argument(
                "source_password", "SRC's password", optional=True, is_secret=True
            ),
            Argument(
                "target_password", "DST's password", optional=True, is_secret=True
            ),
        ),
        access=Access.WRITE,
    ),
    Command(
        "fxp ls",
        "list the copies between servers that the agent has begun",
        "fxp ls",
        answer="as of `fxp`, with `wish`, the arguments without the passwords",
    ),
    Command(
        "fxp stop",
        "end such a copy; the same one, begun again, goes on from there",
        "fxp stop fxp-1",
        answer="as of `fxp ls`",
        arguments=(RUN,),
        access=Access.WRITE,
    ),
    Command(
        "fxp rm",
        "take a copy that has ended off the list; `all` takes all of these",
        "fxp rm all",
        answer="as of `fxp ls`, those taken off",
        arguments=(RUN,),
        access=Access.WRITE,
    ),
)
