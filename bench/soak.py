"""Whether a node grows with use: 10,000 commands and 1,000 transfers, on 32 bits.

    make soak            (or: PYTHONPATH=tools python bench/soak.py [--json FILE])

The node of bench/memory.py and a friend with as many small files. A tenth of the
transfers and commands at a time; then, at rest, what the process holds. In the first
half what is loaded on first use is loaded, and the databases' caches (512 KiB each)
fill; in the second no figure may rise by more than GROWTH_KIB. Exit status 1 if one
does.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import memory
from demo_nodes import Node, Ports, wait_for
from fonshare_agent.control.client import AgentError, request
from memory import BUILD
from userland import Userland

COMMANDS, TRANSFERS, TENTHS = 10_000, 1_000, 10
SETTLED = 4  # counted from 0: growth is counted from the end of this tenth on
# Half a kilobyte for each of the 500 transfers of the second half: less than that is
# pages of the caches and of the allocator.
GROWTH_KIB = 256
FILE_BYTES = 20_000
# Of each tenth, jobs of their own; the others are one job, a folder. More at once are
# more messages in a second than a friend listens to.
ALONE = 10
REST_S, WORK_S = 4.0, 600.0
GROUP, SHARE = "Famille", "Musique"
# What a person, a page or a script asks for; names that do not exist among them.
ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("status", {}),
    ("jobs", {}),
    ("find", {"words": ["song", "1"], "limit": 20}),
    ("ls", {"path": f"{GROUP}/friend/{SHARE}/0/album", "limit": 20}),
    ("group ls", {}),
    ("ls", {"path": "Nobody/nowhere"}),
    ("share ls", {}),
    ("limits", {}),
    ("disk", {}),
    ("find", {"words": ["nothing like it"]}),
)

Request = Callable[[str, dict[str, Any]], Any]


def main() -> int:
    """Use a node, print a table, write JSON; the exit status."""
    parser = argparse.ArgumentParser(description="A node's growth with use, 32-bit.")
    default = BUILD / "bench" / "soak.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    options = parser.parse_args()
    userland, ports = memory.build_userland(), Ports()
    with memory.running_broker(ports) as broker_port:
        memory.fill_disk(userland.disk)
        memory.prepare_node(userland.root, ports.take(30), broker_port)
        rows = _soak(userland, ports, f"mqtt://127.0.0.1:{broker_port}")
    grown = _growth(rows)
    _print_table(rows, grown)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report = {"rows": rows, "grown_kib": grown, "limit_kib": GROWTH_KIB}
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if max(grown.values()) > GROWTH_KIB else 0


def _soak(userland: Userland, ports: Ports, broker: str) -> list[dict[str, int]]:
    """Return what the node holds after each tenth."""
    with memory.running_agent(userland) as child:
        ask: Request = partial(request, userland.root / "run" / "control.sock")
        ask("group create", {"group": GROUP})
        friend = _friend(ask, ports, broker)
        try:
            rows = []
            for tenth in range(TENTHS):
                _fetch(ask, tenth)
                _command(ask)
                time.sleep(REST_S)
                rows.append(memory.memory_of(child.pid))
                print(f"{tenth + 1} of {TENTHS}: {rows[-1]}", flush=True)
            return rows
        finally:
            friend.end()


def _friend(ask: Request, ports: Ports, broker: str) -> Node:
    """Start a node with small files; return it when its list is here."""
    folder = BUILD / "bench" / "friends"
    shutil.rmtree(folder, ignore_errors=True)
    friend = Node("friend", folder, ports, broker)
    try:
        for number in range(TRANSFERS):
            file = friend.disk / "music" / _place(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(FILE_BYTES))
        friend.start()
        friend.wait_until_up()
        code = ask("group invite", {"group": GROUP, "accept_first": True})["code"]
        friend.ask("group", "join", code, "--yes")
        wait_for("the friend joins", lambda: friend.ask("group", "ls"), WORK_S)
        friend.ask("share", "add", "music", "--name", SHARE, "--group", GROUP)
        for number in range(TRANSFERS):  # they are told of in no order
            name = {"words": [Path(_place(number)).name]}
            wait_for("the friend's files", partial(ask, "find", name), WORK_S)
    except BaseException:
        friend.end()
        raise
    return friend


def _place(number: int) -> str:
    """Where the friend has a file: one folder for each tenth."""
    tenth, place = divmod(number, TRANSFERS // TENTHS)
    folder = "" if place < ALONE else "album/"
    return f"{tenth}/{folder}song {number:04}.flac"


def _fetch(ask: Request, tenth: int) -> None:
    """Fetch the files of this tenth, and wait until all are here."""
    first, friend = tenth * TRANSFERS // TENTHS, f"{GROUP}/friend/{SHARE}"
    places = [_place(first + number) for number in range(ALONE)]
    for place in (*places, f"{tenth}/album"):
        ask("get", {"entries": [f"{friend}/{place}"]})

    def is_done() -> bool:
        jobs = ask("status", {})["jobs"]  # the list forgets what is long done
        return not (jobs["queued"] or jobs["running"] or jobs["failed"])

    wait_for("the files", is_done, WORK_S)


def _command(ask: Request) -> None:
    for number in range(COMMANDS // TENTHS):
        name, arguments = ASKED[number % len(ASKED)]
        try:
            ask(name, arguments)
        except AgentError as error:
            if error.answered_code != "not_found":
                raise


def _growth(rows: list[dict[str, int]]) -> dict[str, int]:
    """Return how much each figure's highest is above what it was once settled."""
    return {
        name: max(row[name] for row in rows[SETTLED:]) - rows[SETTLED][name]
        for name in ("resident_kib", "anonymous_kib")
    }


def _print_table(rows: list[dict[str, int]], grown: dict[str, int]) -> None:
    print(f"\n{'KiB, 32-bit, after':34}{'resident':>10}{'anonymous':>11}{'threads':>9}")
    for number, row in enumerate(rows, 1):
        part = f"{number * TRANSFERS // TENTHS:,} transfers, "
        part += f"{number * COMMANDS // TENTHS:,} commands"
        figures = f"{row['resident_kib']:10,}{row['anonymous_kib']:11,}"
        print(f"{part:34}{figures}{row['threads']:9}")
    print(
        f"{'grown since settled':34}{''.join(f'{one:10,}' for one in grown.values())}"
    )
    if max(grown.values()) > GROWTH_KIB:
        print(f"OVER: more than {GROWTH_KIB} KiB.")


if __name__ == "__main__":
    raise SystemExit(main())
