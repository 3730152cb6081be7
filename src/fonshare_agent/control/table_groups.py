"""The table's rows about groups and their members."""

from fonshare_agent.control.rows import Access, Argument, Command, Kind
from fonshare_agent.control.table_words import switch


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
        answer="`[{name, role, members:[{id, name, role, online, last_seen}], "
        "brokers:[url]}]`, role "
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
            switch("accept_first", "admit the first joiner unasked, for 15 minutes"),
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
            switch(
                "yes", "do not ask whether the inviter is right; nor off a terminal"
            ),
            switch("wait", "wait until this node is a member", is_sent=False),
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
