"""The table's rows about disk, limits, settings and backups."""

from fonshare_agent.control.rows import Access, Argument, Command, Kind, Place


def _limit(name: str, help: str, shown: str) -> Argument:
    return Argument(name, help, Kind.INTEGER, optional=True, shown=shown)


def _on_off(name: str, help: str) -> Argument:
    return Argument(name, help, Kind.CHOICE, optional=True, choices=("on", "off"))


FILE = Argument("file", "the backup file", is_file=True)

PASSPHRASE = Argument(
    "passphrase_file",
    "read the passphrase from this file of mode 600, or from stdin with `-`",
    optional=True,
    is_file=True,
    is_sent=False,
    shown="FILE",
)

DISK_ANSWER = "`{present, path, total_bytes, free_bytes, writable, problem}`"

LIMITS_ANSWER = (
    "`{upload_kib_s, download_kib_s, transfers, uploads, hours, other_upload_kib_s, "
    "other_download_kib_s, house, give_way, gives_way, now:{upload_kib_s, "
    "download_kib_s}}`; `hours` null without, `gives_way` while the household uses the "
    "line and `give_way` is on, `now` what holds at this moment, null without a limit "
    "and 0 while nothing moves"
)

BOX_COMMANDS = (
    Command("disk", "show the disk", "disk", answer=DISK_ANSWER),
    Command(
        "disk ls",
        "list folders of the disk, to choose what to share",
        "disk ls films",
        answer="`[{name, path, shared}]`; hidden folders are left out",
        arguments=(
            Argument(
                "path",
                "the folder to look into; else the disk's top",
                optional=True,
                default="",
                is_file=True,
            ),
        ),
    ),
    Command(
        "disk adopt",
        "take the disk that is plugged in now as this node's disk",
        "disk adopt",
        answer=DISK_ANSWER,
        access=Access.WRITE,
    ),
    Command(
        "limits",
        "show or change the limits; 0 is no limit (at other times: nothing moves)",
        "limits --upload 100",
        answer=LIMITS_ANSWER,
        flags=(
            _limit("upload", "KiB a second to friends", "KIB"),
            _limit("download", "KiB a second from friends", "KIB"),
            _limit("transfers", "jobs that fetch at once", "N"),
            _limit("uploads", "jobs of friends served at once", "N"),
            Argument(
                "hours",
                "times of day in which files move, as 23-7 or 22:30-06:45; 0-24 is "
                "always",
                optional=True,
                shown="FROM-TO",
            ),
            _limit("other_upload", "as --upload, at other times; 0: nothing", "KIB"),
            _limit("other_download", "as --download, at other times", "KIB"),
            _on_off("house", "let the limits hold at home, too"),
            _on_off("give_way", "slow down while the household uses the line"),
        ),
        access=Access.WRITE,
        looks_with="",
    ),
    Command(
        "settings",
        "show every setting of the running agent, with its range and meaning",
        "settings",
        answer="`[{name, value, default, is_unset, allowed, help}]`; `is_unset`: the "
        "default is no value, and says what happens then; passwords are left out",
    ),
    Command(
        "restart",
        "start the agent again with its settings as they are now, off the router",
        "restart",
        answer="`{restarting}`; nothing happens if the settings could not be used",
        access=Access.WRITE,
    ),
    Command(
        "backup",
        "write keys, memberships and settings to a file under a passphrase",
        "backup alice.fonshare",
        answer="`{file, bytes}`",
        arguments=(FILE,),
        flags=(PASSPHRASE,),
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "restore",
        "bring keys, memberships and settings back; the agent must be stopped",
        "restore alice.fonshare",
        answer="`{file, node, groups, settings}`, settings false if the present ones "
        "stay",
        arguments=(FILE,),
        flags=(PASSPHRASE,),
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "web",
        "serve the page for a browser, off the router; the agent runs beside it",
        "web -c fonshare.yaml",
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "completion",
        "print the completion script of a shell",
        "completion bash > /etc/bash_completion.d/fonshare",
        arguments=(
            Argument(
                "shell", "which shell", Kind.CHOICE, choices=("bash", "zsh", "fish")
            ),
        ),
        place=Place.HERE,
    ),
)
