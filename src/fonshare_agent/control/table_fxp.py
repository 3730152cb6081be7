"""The table's row of `fonshare fxp`."""

from fonshare_agent.control.rows import Access, Argument, Command, Kind, Place
from fonshare_agent.control.table_words import JOB_ANSWER, switch

FXP_COMMAND = Command(
    "fxp",
    "copy a file or folder from one FTP server to another, without passing here",
    "fxp ftp://me@old.example/films ftps://me@new.example/films --relay never",
    answer=f"{JOB_ANSWER}; one job, with `files`, `skipped`, `failed`, "
    "`failures:[{path, error}]` and `relayed`, the reason why the bytes went through "
    "this node, or null",
    arguments=(
        Argument(
            "source",
            "what to copy: ftp://USER@HOST:PORT/PATH; ftps:// and ftpes:// are both "
            "explicit TLS. PATH is relative to where the login begins, after `//` "
            "absolute; only % is special in it, written %25",
            shown="SRC-URL",
        ),
        Argument(
            "target",
            "where to: a folder's contents go into this folder, a file gets this name "
            "or, in a folder or after a slash at the end, keeps its own",
            shown="DST-URL",
        ),
    ),
    flags=(
        Argument(
            "passwords",
            "read a line for each USER in the URLs, SRC's first, from this file of "
            "mode 600, or from stdin with `-`; else they are asked for",
            optional=True,
            is_file=True,
            shown="FILE",
        ),
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
)
