"""The table's rows about the node itself: agent, setup, status, broker, doctor."""

from fonshare_agent.control.rows import Access, Argument, Command, Kind, Place


def _answers(what: str) -> Argument:
    """What only a form gives: it runs the program by a fixed command line."""
    return Argument(
        "answers",
        f"{what}, as JSON, from this file of mode 600, or from stdin with `-`",
        optional=True,
        is_file=True,
        is_sent=False,
        shown="FILE",
    )


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
        answer="`{settings}`; on a router with `--look` `{is_set_up, name, port, "
        "disks:[{path, kind, problem, total_bytes, free_bytes, refusals, is_whole}], "
        "broker_hindrance}`, with `--answers` `{settings, refusals:[{folder, allowed, "
        "remedy}], is_whole, broker, is_started}`, `broker` null or the error of "
        "setting up one",
        flags=(
            Argument(
                "look",
                "on a router: ask nothing, say what may be answered",
                Kind.SWITCH,
                optional=True,
                is_sent=False,
            ),
            _answers("on a router: read the answers"),
        ),
        place=Place.HERE,
        access=Access.WRITE,
    ),
    Command(
        "broker add",
        "have Mosquitto on this router be the broker of a group; show its address",
        "broker add Famille --address router.example.org",
        answer="`{name, url}`",
        arguments=(
            Argument(
                "name", "the login's name, for instance the group's", optional=True
            ),
        ),
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
            _answers("read name, address and port"),
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
        arguments=(Argument("name", "the login's name", optional=True),),
        flags=(_answers("read the name"),),
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
        "groups:[{name, members:[{id, name, role, online, last_seen}], "
        "brokers:[url]}], "
        "jobs:{queued, running, done, failed}, changes:{index, state, ratings}}`, the "
        "last ones numbers that change when something known of files, something else "
        "that is kept, or a rating does",
    ),
    Command(
        "doctor",
        "say what is wrong and what to do about it",
        "doctor",
        answer="`{findings:[{level, code, message, thing, next}], verdict, reach}`, "
        "level one of ok, warning, error, reach one of reachable, mapped, forward, "
        "cgnat, local; null while no node runs",
    ),
)
