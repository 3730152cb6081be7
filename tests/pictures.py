"""The pictures of the README: what the page of a real node shows.

    python tests/pictures.py [--folder FOLDER]

Four agents and a Mosquitto on loopback, `fonshare web` and a headless Chromium. Anna
looks: Bob is there and sends slowly, Carol was, and David asks to join. What is seen is
written into FOLDER, docs/pictures if none is given.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from brokers import Mosquitto, free_port
from browser import DESK, PHONE, ROOT, running_chromium, visiting
from fonshare_agent.first_use import hashed
from nodes import NodeProcess, befriend, eventually, running, share
from web_people import PASSWORD, Person, serving_page

PICTURES = ROOT / "docs" / "pictures"
GROUP, CLUB = "Famille", "Ciné-club"
SLOW_KIB_S = 300
MB = 1_000_000
# Who offers which files in which share, and how large they are: holes, but real ones.
OFFERED = {
    "bob": {
        "Films": {
            "Bréhat 2019.mkv": 140 * MB,
            "Vacances/Jour 1.mp4": 70 * MB,
            "Vacances/Jour 2.mp4": 65 * MB,
        },
        "Musique": {"Concert.flac": 30 * MB, "Notes.pdf": 2 * MB},
    },
    "carol": {
        "Films": {
            "Bréhat 2019.mkv": 140 * MB,
            "Noël.mkv": 210 * MB,
            "Vacances/Jour 3.mp4": 71 * MB,
        }
    },
    "anna": {"Photos": {"Chat.jpg": 4 * MB}},
}
OWNER = {"name": "owner", "password": hashed(PASSWORD), "access": "write"}
FILM = f"{GROUP}/Bob/Films/Bréhat 2019.mkv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=PICTURES)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fonshare-pictures-") as place:
        take_pictures(Path(place), folder)


def take_pictures(place: Path, folder: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(place / "broker"))
        nodes = {
            name: NodeProcess(
                place / name,
                name.capitalize(),
                broker.url,
                web={"port": free_port()},
                limits={"house": True, "transfers": 1},
                users=[OWNER],
            )
            for name in ("anna", "bob", "carol", "david")
        }
        stack.enter_context(running(*nodes.values()))
        befriend(GROUP, nodes["anna"], nodes["bob"], nodes["carol"])
        befriend(CLUB, nodes["bob"], nodes["anna"])
        for name, shares in OFFERED.items():
            offer(nodes[name], shares)
        live(nodes)
        address = stack.enter_context(serving_page(nodes["anna"]))
        chromium = stack.enter_context(running_chromium())
        look(chromium, address, folder)


def offer(node: NodeProcess, shares: dict[str, dict[str, int]]) -> None:
    for name, files in shares.items():
        top = share(node, name, name, GROUP)
        for path, size in files.items():
            (top / path).parent.mkdir(exist_ok=True)
            with (top / path).open("wb") as file:
                file.truncate(size)


def live(nodes: dict[str, NodeProcess]) -> None:
    """What Anna and her friends have done before she looks."""
    anna, bob = nodes["anna"], nodes["bob"]
    for word, count in (("brehat", 2), ("notes", 1), ("noel", 1)):
        eventually(
            lambda word=word, count=count: is_known(anna, word, count),
            f"{word} is offered by {count}, and its content known",
        )
    anna("get", f"{GROUP}/Bob/Musique/Notes.pdf", "--wait")
    bob("limits", "--upload", str(SLOW_KIB_S))
    bob("rate", f"{GROUP}/Bob/Films/Bréhat 2019.mkv", "5")
    anna("rate", FILM, "4")
    nodes["carol"].stop()
    anna("get", FILM)
    anna("get", f"{GROUP}/Bob/Films/Vacances")
    [paused] = anna("get", f"{GROUP}/Bob/Musique/Concert.flac")
    anna("jobs", "pause", paused["id"])
    anna("search", "save", "concerts", "concert")
    new = bob.disk / "Musique" / "Concert de Zénith.flac"
    with new.open("wb") as file:
        file.truncate(41 * MB)
    nodes["david"]("group", "join", anna("group", "invite", GROUP)["code"])
    eventually(lambda: anna("group", "requests"), "David asks to join")
    eventually(lambda: anna("search", "new", "--keep"), "a concert is new")
    eventually(lambda: running_bytes(anna) > 5 * MB, "the film is coming")


def is_known(node: NodeProcess, word: str, count: int) -> bool:
    rows = node.find(word)
    return bool(rows) and all(
        row["root"] and len(row["sources"]) == count for row in rows
    )


def running_bytes(node: NodeProcess) -> int:
    return sum(job["done_bytes"] for job in node("jobs") if job["state"] == "running")


def look(chromium: Any, address: str, folder: Path) -> None:
    """Anna before a large screen, and on her phone by day and by night."""
    views = (
        ("overview", DESK, "light", "overview", ".fs-finding, .fs-fine"),
        ("files", PHONE, "light", "files?%2FFilms", ".fs-rating"),
        ("transfers", PHONE, "dark", "transfers", "[data-state=running]"),
    )
    for name, size, scheme, route, mark in views:
        options = {"viewport": size, "color_scheme": scheme}
        with visiting(chromium, address, **options) as visit:
            person = Person(visit, "en", "pictures", name)
            visit.page.goto(f"{address}/#/{route}")
            if visit.page.get_by_label("Password", exact=True).count():
                person.sign_in()
            visit.page.locator(mark).first.wait_for()
            picture = visit.page.screenshot()
            (folder / f"{name}.png").write_bytes(picture)
            print(f"{folder / name}.png, {len(picture):,} bytes")


if __name__ == "__main__":
    main()
