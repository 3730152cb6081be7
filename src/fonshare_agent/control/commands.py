"""THE TABLE: every command of FonShare, once.

The command line, its help and completion, docs/cli.md, the check at the control
socket's door and the rights LuCI gets are all made from `COMMANDS`; whoever adds a
command adds a row here and a method to `control/handlers.py`, nothing else. The module
knows only words: no socket, no terminal, no agent.
"""

from fonshare_agent.control.quantities import AGE_EXAMPLES, SIZE_EXAMPLES
from fonshare_agent.control.rows import Access, Argument, Command, Kind, Place
from fonshare_agent.index.media import MEDIA
from fonshare_agent.model import SIZE_MAX


def _switch(name: str, help: str, *, is_sent: bool = True) -> Argument:
    return Argument(name, help, Kind.SWITCH, optional=True, is_sent=is_sent)


def _limit(name: str, help: str, shown: str) -> Argument:
    return Argument(name, help, Kind.INTEGER, optional=True, shown=shown)


def _on_off(name: str, help: str) -> Argument:
    return Argument(name, help, Kind.CHOICE, optional=True, choices=("on", "off"))


def _size(name: str, help: str) -> Argument:
    return Argument(
        name,
        f"{help}: {SIZE_EXAMPLES}",
        Kind.SIZE,
        optional=True,
        maximum=SIZE_MAX,
        shown="SIZE",
    )


def _age(name: str, help: str) -> Argument:
    return Argument(
        name, f"{help}: {AGE_EXAMPLES}", Kind.AGE, optional=True, shown="AGE"
    )


def _member_command(verb: str, help: str, member: str) -> Command:
    return Command(
        f"group {verb}",
        help,
        f"group {verb} Famille {member}",
        answer="`{group, member}`",
        arguments=(GROUP, MEMBER),
        access=Access.WRITE,
    )


GROUP = Argument("group", "the group's name on this node")
MEMBER = Argument("member", "a member's name, or 6 or more characters of its id")
JOB = Argument("id", "the job's id, as `fonshare jobs` shows it")
JOBS = Argument("id", "the job's id, as `fonshare jobs` shows it, or `all`")
FILE = Argument("file", "the backup file", is_file=True)
PASSPHRASE = Argument(
    "passphrase_file",
    "read the passphrase from this file of mode 600, or from stdin with `-`",
    optional=True,
    is_file=True,
    is_sent=False,
    shown="FILE",
)
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
DISK_ANSWER = "`{present, path, total_bytes, free_bytes, writable, problem}`"
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
FIND_ANSWER = (
    "as of `ls`, with `sources:[{id, group, member, member_id, online, name, share, "
    "path}]` in each row: what several members offer is one row, which shows the own "
    "entry, else one of a member online, else the newest, of those that match"
)
FOLLOW_ANSWER = (
    "`[{id, kind, group, member, member_id, share, path, budget, used_bytes, files, "
    "all, kept, state, error}]`, `kept` the share that offers it on, else null; "
    "state one of looking (at what was there), following, full "
    "(its budget is used) or gone (nothing is offered there now); `used_bytes` what "
    "its files and open jobs take, each file at least 4 KiB; `error` "
    "`{code, message}` or null"
)
SAVED_ANSWER = (
    "`{name, words, group, member, member_id, kind, min_size, max_size, newer, older, "
    "online}`, sizes in bytes, ages in seconds, null where nothing is narrowed"
)
LIMITS_ANSWER = (
    "`{upload_kib_s, download_kib_s, transfers, uploads, hours, other_upload_kib_s, "
    "other_download_kib_s, house, give_way, gives_way, now:{upload_kib_s, "
    "download_kib_s}}`; `hours` null without, `gives_way` while the household uses the "
    "line and `give_way` is on, `now` what holds at this moment, null without a limit "
    "and 0 while nothing moves"
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
    _size("min_size", "only files as large as this"),
    _size("max_size", "only files as small as this"),
    _age("newer", "only files changed within this time"),
    _age("older", "only files not changed within this time"),
    _switch("online", "only what this node or a member online now offers"),
)
SEARCH_NAME = Argument("name", "the saved search's name")

NODE_COMMANDS = (
    Command(
        "agent",
        "run the node in the foreground",
        "agent -c fonshare.yaml",
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "setup",
        "ask the first-use questions and write the settings file",
        "setup -c fonshare.yaml",
        answer="`{settings}`",
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "broker add",
        "have Mosquitto on this router be the broker of a group; show its address",
        "broker add Famille --address router.example.org",
        answer="`{name, url}`",
        arguments=(Argument("name", "the login's name, for instance the group's"),),
        flags=(
            Argument(
                "address",
                "where friends find this router, if not at node.public_name",
                optional=True,
                shown="HOST",
            ),
            Argument(
                "port",
                "where the broker listens, 8883 at first",
                Kind.INTEGER,
                optional=True,
                minimum=1,
                maximum=65535,
                shown="PORT",
            ),
        ),
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "broker ls",
        "list the logins of the broker on this router",
        "broker ls",
        answer="`[{name}]`",
        place=Place.HERE,
        access=Access.READ,
    ),
    Command(
        "broker rm",
        "take a login away; the last one's end is the broker's",
        "broker rm Famille",
        answer="`{name}`",
        arguments=(Argument("name", "the login's name"),),
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "status",
        "show what is up",
        "status",
        answer="`{node:{id, name}, disk:{present, total_bytes, free_bytes, writable, "
        "problem}, broker:{connected}, index:{files, bytes, scanning, rebuilt, "
        "unwatched, shares:[{name, scanned, problem, missing, skipped, mirror}]}, "
        "groups:[{name, members:[{id, name, role, online, last_seen}]}], "
        "jobs:{queued, running, done, failed}}`",
    ),
    Command(
        "doctor",
        "say what is wrong and what to do about it",
        "doctor",
        answer="`{findings:[{level, code, message, thing, next}], verdict}`, level one "
        "of ok, warning, error",
    ),
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

GROUP_COMMANDS = (
    Command(
        "group create",
        "found a group",
        "group create Famille",
        answer="`{group}`",
        arguments=(GROUP,),
        access=Access.WRITE,
    ),
    Command(
        "group ls",
        "list the groups and their members",
        "group ls",
        answer="`[{name, role, members:[{id, name, role, online, last_seen}]}]`, role "
        "one of creator, admin, member, the outer one this node's own; `last_seen` "
        "null for this node itself and for who was never seen online",
    ),
    Command(
        "group invite",
        "make a code that lets one node ask to join",
        "group invite Famille",
        answer="`{code}`",
        arguments=(GROUP,),
        flags=(
            _switch("accept_first", "admit the first joiner unasked, for 15 minutes"),
        ),
        access=Access.WRITE,
    ),
    Command(
        "group join",
        "join a group with an invite code",
        "group join - --wait",
        answer="`{group, state}`",
        arguments=(Argument("code", "the code; `-` reads it from stdin"),),
        flags=(
            _switch(
                "yes", "do not ask whether the inviter is right; nor off a terminal"
            ),
            _switch("wait", "wait until this node is a member", is_sent=False),
            Argument(
                "as", "name the group so on this node", optional=True, shown="LABEL"
            ),
        ),
        access=Access.WRITE,
    ),
    Command(
        "group joining",
        "tell how far a join is",
        "group joining Famille",
        answer="`{group, state, inviter:{id, name} or null, words:[...]}`",
        arguments=(GROUP,),
        is_shown=False,
    ),
    Command(
        "group confirm",
        "say whether the inviter shown is the right one",
        "group confirm Famille yes",
        answer="`{group, state}`",
        arguments=(
            GROUP,
            Argument(
                "decision", "go on or give up", Kind.CHOICE, choices=("yes", "no")
            ),
        ),
        access=Access.WRITE,
        is_shown=False,
    ),
    Command(
        "group requests",
        "list who asks to join",
        "group requests",
        answer="`[{group, id, name, words}]`",
    ),
    _member_command("accept", "admit a node that asks to join", "bob"),
    _member_command("refuse", "turn a node away that asks to join", "mallory"),
    Command(
        "group leave",
        "leave a group; forgets its keys, catalogues and jobs",
        "group leave Famille",
        answer="`{group}`",
        arguments=(GROUP,),
        access=Access.WRITE,
    ),
    _member_command("remove", "remove a member from a group", "bob"),
    _member_command("admin", "let a member admit and remove others", "bob"),
    _member_command("unadmin", "take an admin's rights back", "bob"),
    Command(
        "group broker",
        "change the list of brokers that a group lives on",
        "group broker Famille add mqtts://broker.example:8883",
        answer="`{group, brokers:[url]}`",
        arguments=(
            GROUP,
            Argument("action", "what to do", Kind.CHOICE, choices=("add", "remove")),
            Argument("url", "the broker: mqtt://HOST:PORT or mqtts://HOST:PORT"),
        ),
        access=Access.WRITE,
    ),
)

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
            _switch("keep", "show them again next time"),
        ),
        access=Access.WRITE,
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
            _switch("stream", "the beginning first, for a player: `stream` in JSON"),
            _switch("wait", "wait until every job has ended", is_sent=False),
        ),
        access=Access.WRITE,
    ),
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
            _size("budget", "let what it fetches take so much of the disk, else 10G"),
            _switch("all", "also what is there already"),
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
            _size("budget", "let what it fetches take so much of the disk, else 10G"),
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

RATING_COMMANDS = (
    Command(
        "rate",
        "rate a file, for all members of its group to see",
        "rate Famille/bob/Films/Metropolis.mkv 5",
        answer=f"{ENTRY_ANSWER}; one row",
        arguments=(
            Argument(
                "entry", "a file: an id, or GROUP/MEMBER/SHARE/PATH", shown="ENTRY"
            ),
            Argument(
                "stars",
                "from 1 to 5; 0 takes the rating back",
                Kind.INTEGER,
                maximum=5,
                shown="0|1|2|3|4|5",
            ),
        ),
        access=Access.WRITE,
    ),
    Command(
        "rate ls",
        "list what is rated and offered, the best first",
        "rate ls Famille",
        answer=f"{ENTRY_ANSWER}, of files; by average, then by how many have rated",
        arguments=(
            Argument("group", "only of this group", optional=True, shown="GROUP"),
        ),
        flags=(LIMIT,),
    ),
)

JOB_COMMANDS = (
    Command(
        "jobs",
        "list the jobs",
        "jobs",
        answer=f"{JOB_ANSWER}; of those done or cancelled the last 100, failed ones "
        "until they are taken off",
    ),
    Command(
        "jobs first",
        "put a job before all others, now and after a restart",
        "jobs first 3",
        answer=JOB_ANSWER,
        arguments=(JOB,),
        access=Access.WRITE,
    ),
    Command(
        "jobs last",
        "put a job behind all others that there are",
        "jobs last 3",
        answer=JOB_ANSWER,
        arguments=(JOB,),
        access=Access.WRITE,
    ),
    Command(
        "jobs pause",
        "let a job rest",
        "jobs pause all",
        answer=JOB_ANSWER,
        arguments=(JOBS,),
        access=Access.WRITE,
    ),
    Command(
        "jobs resume",
        "let a paused or failed job go on; `all` lets all paused ones",
        "jobs resume 3",
        answer=JOB_ANSWER,
        arguments=(JOBS,),
        access=Access.WRITE,
    ),
    Command(
        "jobs cancel",
        "give a job up and delete what it has fetched of it",
        "jobs cancel 3",
        answer=JOB_ANSWER,
        arguments=(JOB,),
        access=Access.WRITE,
    ),
    Command(
        "jobs rm",
        "take an ended job off the list; `all` takes all that are done or cancelled",
        "jobs rm all",
        answer="as of `jobs`, the jobs taken off",
        arguments=(JOBS,),
        access=Access.WRITE,
    ),
)

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
        _switch("overwrite", "replace files that differ, and partials that do not fit"),
        _switch(
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
    ),
    Command(
        "settings",
        "show every setting of the running agent, with its range and meaning",
        "settings",
        answer="`[{name, value, default, is_unset, allowed, help}]`; `is_unset`: the "
        "default is no value, and says what happens then; passwords are left out",
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

COMMANDS: tuple[Command, ...] = (
    *NODE_COMMANDS,
    *SHARE_COMMANDS,
    *GROUP_COMMANDS,
    *FILE_COMMANDS,
    *FOLLOW_COMMANDS,
    *RATING_COMMANDS,
    *JOB_COMMANDS,
    FXP_COMMAND,
    *BOX_COMMANDS,
)
BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}
AGENT_COMMANDS = tuple(row for row in COMMANDS if row.place is Place.AGENT)
