"""The table's rows about shares and mirrors."""

from fonshare_agent.control.rows import Access, Argument, Command

SHARE = Argument("name", "the share's name")

SERVER_PASSWORD = (
    Argument(
        "password_file",
        "read the server's password from this file of mode 600, or from stdin with `-`",
        optional=True,
        is_file=True,
        is_sent=False,
        shown="FILE",
    ),
    Argument("password", "the server's password", optional=True, is_secret=True),
)

MIRROR_ANSWER = (
    "`mirror` null, or of a share that is a copy of a server's folder `{url, state, "
    "read_at, next_s, readings, files, bytes, found, fetched, fetched_bytes, deleted, "
    "waiting, held, skipped, failed, failures:[{path, code, message, next}], error}`, "
    "state one of reading, waiting, closed (outside the hours), next_s seconds until "
    "it is read again, readings since the node began"
)

SHARE_COMMANDS = (
    Command(
        "share add",
        "publish a folder of the disk, or a copy of another server's, to groups",
        "share add films --name Films --group Famille",
        answer="`{name, path, groups}`",
        arguments=(
            Argument(
                "path",
                "the folder, absolute or relative to the disk; or "
                "ftps://USER@HOST/PATH, which is copied and kept up to date",
                is_file=True,
            ),
        ),
        flags=(
            Argument("name", "what friends see it as"),
            Argument("group", "publish it to this group", optional=True, repeated=True),
            Argument(
                "to",
                "of a server: where the copy lies below the disk; else mirrors/NAME",
                optional=True,
                is_file=True,
                shown="FOLDER",
            ),
            Argument(
                "pin",
                "of a server: the SHA-256 of its certificate, instead of authorities",
                optional=True,
                shown="SHA256",
            ),
            Argument(
                "ca",
                "of a server: trust certificates signed by who is in this file of the "
                "node, absolute or relative to the disk",
                optional=True,
                is_file=True,
                shown="FILE",
            ),
            *SERVER_PASSWORD,
        ),
        access=Access.WRITE,
    ),
    Command(
        "share ls",
        "list the shares",
        "share ls",
        answer="`[{name, path, groups, files, bytes, mirror}]`, " + MIRROR_ANSWER,
    ),
    Command(
        "share rm",
        "stop publishing a share; its files stay on the disk",
        "share rm Films",
        answer="`{name}`, of a copy of a server also `kept`, where its files stay",
        arguments=(SHARE,),
        access=Access.WRITE,
    ),
    Command(
        "share refresh",
        "read the server of a share that is its copy, as soon as it can be",
        "share refresh Old",
        answer="as of `share ls`",
        arguments=(SHARE,),
        access=Access.WRITE,
    ),
    Command(
        "share password",
        "give the password of the server of which a share is a copy",
        "share password Old",
        answer="as of `share ls`",
        arguments=(SHARE,),
        flags=SERVER_PASSWORD,
        access=Access.WRITE,
    ),
    Command(
        "share confirm",
        "say that the files found missing at once are deleted indeed",
        "share confirm Films",
        answer="`{name, missing}`",
        arguments=(SHARE,),
        access=Access.WRITE,
    ),
)
