"""The page before a real agent: what its stand-in only makes up, and two at once.

One pair of friends serves all tests of this module; the page is Alice's.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from brokers import Mosquitto, free_port
from browser import DESK, PHONE, visiting
from fonshare_agent.control.client import request
from nodes import NodeProcess, befriend, eventually, running, share
from web_people import Person, serving_page

pytestmark = pytest.mark.full

GROUP = "Famille"
LISTED = (
    *("status", "doctor", "group ls", "share ls", "disk ls", "jobs"),
    *("follow ls", "search ls", "limits", "rate ls"),
)


@pytest.fixture(scope="module")
def friends(tmp_path_factory) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """Alice, who founded the group, and Bob, who offers films to it."""
    folder = tmp_path_factory.mktemp("friends")
    with Mosquitto(folder / "broker") as broker:
        alice = NodeProcess(
            folder / "alice", "alice", broker.url, web={"port": free_port()}
        )
        bob = NodeProcess(folder / "bob", "bob", broker.url)
        with running(alice, bob):
            befriend(GROUP, alice, bob)
            films = share(bob, "films", "Films", GROUP)
            (films / "film.mkv").write_bytes(os.urandom(1000))
            share(alice, "photos", "Photos", GROUP)
            eventually(lambda: alice.find("film"), "alice finds the film")
            yield alice, bob


@pytest.fixture
def people(friends, chromium) -> Iterator[list[Person]]:
    """Alice twice: before a large screen, and on her phone. One server for both."""
    node = friends[0]
    with ExitStack() as stack:
        address = stack.enter_context(serving_page(node))
        people = []
        for name, size in (("desk", DESK), ("phone", PHONE)):
            visit = stack.enter_context(visiting(chromium, address, viewport=size))
            person = Person(visit, "en", "two-browsers", name)
            visit.page.goto(address)
            person.sign_in()
            person.go("Groups")
            visit.page.get_by_role("link", name=GROUP).first.click()
            people.append(person)
        yield people


# --- the stand-in of other tests -----------------------------------------------------

ABSENT_AT_TIMES = {"cursor", "path_b64"}
MAKE = """async () => {
    window.makeJob('film.mkv');
    const bob = world.groups[0].members[1].id;
    const share = ['Famille', bob, 'Films'].join('/');
    await ask('follow', {entry: 'id-share-' + share, budget: 1e9, all: false});
    await ask('search save', {name: 'films', words: ['film']});
    const film = (await ask('ls', {path: share})).find(one => one.kind === 'file');
    await ask('rate', {entry: film.id, stars: 4});
    const level = {level: 'ok', code: '', message: '', thing: '', next: ''};
    world.findings.push(level);
    return share;
}"""


def differences(real: Any, made: Any, where: str) -> Iterator[str]:
    """Yield the keys that only one of two answers has, in their first rows, too."""
    if isinstance(real, dict) and isinstance(made, dict):
        for key in (real.keys() ^ made.keys()) - ABSENT_AT_TIMES:
            yield f"{where}.{key} is {'missing' if key in real else 'made up'}"
        for key in real.keys() & made.keys():
            yield from differences(real[key], made[key], f"{where}.{key}")
    if isinstance(real, list) and isinstance(made, list) and real and made:
        yield from differences(real[0], made[0], f"{where}[0]")


def test_the_stand_in_answers_with_the_keys_of_a_real_agent(
    friends, chromium, page_address
):
    alice, bob = friends
    real = f"{GROUP}/{bob.id}/Films"
    alice("follow", real, "--budget", "1G")
    alice("search", "save", "films", "film")
    [film] = alice.find("film")
    alice("get", film["id"])
    eventually(lambda: alice.find("film")[0]["root"], "its content is known")
    alice("rate", film["id"], "4")
    socket = alice.folder / "state" / "control.sock"
    with visiting(chromium, page_address) as visit:
        visit.open()
        made = visit.page.evaluate(MAKE)
        found = []
        for command, asked, stand_in in (
            *((one, {}, {}) for one in LISTED),
            ("ls", {"path": real}, {"path": made}),
            ("find", {"words": ["film"]}, {"words": ["nosferatu"]}),
        ):
            script = "([name, values]) => ask(name, values)"
            answer = visit.page.evaluate(script, [command, stand_in])
            wanted = request(socket, command, asked)
            assert wanted, f"{command}: nothing to hold it to"
            assert answer, f"{command}: nothing that is held to anything"
            found += differences(wanted, answer, command)
    assert not found, "\n".join(found)


def test_the_numbers_of_status_move_with_what_they_stand_for(friends):
    alice, bob = friends
    socket = alice.folder / "state" / "control.sock"

    def changes() -> dict[str, int]:
        return request(socket, "status", {})["changes"]

    def moved(name: str, why: str) -> None:
        eventually(lambda: changes()[name] != before[name], why)

    eventually(lambda: changes() == changes(), "nothing moves at rest")
    before = changes()
    (bob.disk / "films" / "newer.mkv").write_bytes(os.urandom(1000))
    moved("index", "a friend's new file is told")
    eventually(lambda: alice.find("newer")[0]["root"], "its content is known")
    assert changes()["ratings"] == before["ratings"]
    for stars, node in ((5, bob), (2, alice), (0, alice)):
        before = changes()
        node("rate", f"{GROUP}/bob/Films/newer.mkv", str(stars))
        moved("ratings", f"{stars} stars are told")
    before = changes()
    alice("search", "save", "newer", "newer")
    moved("state", "what is kept is told")


def row_of(person: Person, name: str) -> Any:
    return person.page.locator(".fs-member", has_text=name)


def test_both_browsers_show_who_is_what_and_offer_what_fits(people, friends):
    desk, phone = people
    bob = friends[1]
    for one in people:
        row_of(one, "alice").get_by_text("creator", exact=True).wait_for()
        assert row_of(one, "bob").get_by_text("admin", exact=True).count() == 0
        row_of(one, "bob").get_by_text("More", exact=True).click()

    name, unname = "Make admin: bob", "Take admin back: bob"
    assert not desk.button(unname).is_visible()
    desk.press(name)
    desk.press("Make admin", within=desk.page.get_by_role("dialog"))
    for one in people:
        row_of(one, "bob").get_by_text("admin", exact=True).wait_for()
        one.button(unname).wait_for()
        assert not one.button(name).is_visible()
        one.picture("admin")
    eventually(lambda: role_of_bob(bob) == "admin", "bob hears it")

    phone.press(unname)
    for one in people:
        one.button(name).wait_for()
        assert not one.button(unname).is_visible()
    eventually(lambda: role_of_bob(bob) == "member", "bob hears that, too")


def role_of_bob(bob: NodeProcess) -> str:
    [group] = bob("group", "ls")
    roles = {row["name"]: row["role"] for row in group["members"]}
    assert roles["alice"] == "creator"
    assert group["role"] == roles["bob"]
    return str(roles["bob"])


def test_what_both_press_at_once_is_done_for_both(people, friends):
    """Two shares are added at one time; each browser then shows both."""
    for person, name in zip(people, ("Music", "Books"), strict=True):
        (friends[0].disk / name).mkdir()
        person.press("Share a folder")
        person.fill("Folder of the disk", name)
        person.fill("Name", name)
    for person in people:  # neither click waits for what came of the other
        share_it = person.page.get_by_role("dialog").get_by_role("button", name="Share")
        share_it.last.evaluate("button => button.click()")
    for person in people:
        for name in ("Music", "Books"):
            person.button("Stop sharing %s", name).wait_for()
    names = {row["name"] for row in friends[0]("share", "ls")}
    assert names == {"Photos", "Music", "Books"}
