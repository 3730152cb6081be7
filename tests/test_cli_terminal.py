"""The command line on a real (pseudo) terminal: prompts, the bar, no echo."""

import os
import sys

import pytest

from control_agent import running_agent
from fonshare_agent.cli import main
from fonshare_agent.config import load_settings
from fonshare_agent.core import Promise
from fonshare_agent.passwords import verify_password
from terminals import Terminal

JOB = {
    "id": "1",
    "entry": "e",
    "name": "evil\x1b[2J.mkv",
    "size": 2048,
    "done_bytes": 1024,
    "state": "running",
    "sources": [],
    "error": None,
    "path": "/disk/x",
}


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened: list[Terminal] = []

    def start(*argv: str, columns: int = 80) -> Terminal:
        opened.append(Terminal(*argv, columns=columns))
        return opened[-1]

    yield start
    for one in opened:
        one.kill()


@pytest.fixture
def agent(tmp_path):
    with running_agent(tmp_path) as running:
        yield running


# --- get --wait -------------------------------------------------------------------


def test_the_bar_moves_until_the_job_is_done_and_then_gives_way_to_the_table(
    agent, terminal
):
    end: Promise[list[object]] = Promise()
    turns = iter([[JOB], [{**JOB, "done_bytes": 1536}]])
    agent.answers["get"] = [{**JOB, "state": "locating", "size": None}]
    agent.answers["jobs"] = lambda _arguments: next(turns, end)
    screen = terminal("-c", "node.yaml", "get", "e", "--wait")
    screen.wait_for("locating")
    screen.wait_for(" 50%")
    screen.wait_for(" 75%")
    screen.wait_for("1.5 KiB of 2.0 KiB")
    agent.core.post(lambda: end.resolve([{**JOB, "done_bytes": 2048, "state": "done"}]))
    assert screen.end() == 0
    _, table = screen.shown.rsplit("\x1b[J", 1)
    assert table.split("\r\n")[0].split() == ["ID", "STATE", "DONE", "SIZE", "NAME"]
    assert "100%" in table
    assert "/disk/x" in table


def test_a_name_cannot_act_on_the_terminal_nor_break_the_bar(agent, terminal):
    agent.answers["get"] = [JOB, {**JOB, "id": "2", "name": "日本\n" * 60}]
    agent.answers["jobs"] = [
        {**JOB, "state": "done"},
        {**JOB, "id": "2", "state": "failed", "error": "lost\x1b]0;x\x07"},
    ]
    screen = terminal("-c", "node.yaml", "get", "e", "--wait", columns=60)
    screen.wait_for("of 2 ")
    assert screen.end() == 1
    assert "\x1b[2J" not in screen.shown
    assert "\x1b]" not in screen.shown
    assert r"evil\x1b[2J.mkv" in screen.shown
    drawn = screen.shown.split("\x1b[")[0].split("\r\n")
    assert [len(line) <= 60 for line in drawn] == [True] * len(drawn)


def test_ctrl_c_leaves_the_wait_and_the_job_alone(agent, terminal):
    agent.answers["get"] = [JOB]
    agent.answers["jobs"] = [JOB]
    screen = terminal("-c", "node.yaml", "get", "e", "--wait")
    screen.wait_for(" 50%")
    screen.type("\x03")
    assert screen.end() == 130
    assert "Traceback" not in screen.shown
    assert {name for name, _ in agent.calls} <= {"get", "jobs"}


# --- group join -------------------------------------------------------------------

INVITER = {"id": "abcdef123456", "name": "bob\x1b[2J"}
WORDS = ["one", "two", "three", "four", "five", "six"]


@pytest.fixture
def invited(agent):
    turns = iter([None, INVITER])
    agent.answers["group join"] = {"group": "Famille", "state": "joining"}
    agent.answers["group joining"] = lambda _arguments: {
        "group": "Famille",
        "state": "joining",
        "inviter": next(turns, INVITER),
        "words": WORDS,
    }
    agent.answers["group confirm"] = {"group": "Famille", "state": "asked"}
    return agent


@pytest.mark.parametrize(
    ("answer", "decision", "status"),
    [("y", "yes", 0), ("YES", "yes", 0), ("n", "no", 1), ("", "no", 1), ("x", "no", 1)],
)
def test_join_shows_the_inviter_and_joins_only_after_a_yes(
    invited, terminal, answer, decision, status
):
    screen = terminal("-c", "node.yaml", "group", "join", "CODE")
    screen.wait_for("[y/N] ")
    assert r"bob\x1b[2J (abcdef123456)" in screen.shown
    assert "one two three four five six" in screen.shown
    assert all(name != "group confirm" for name, _ in invited.calls)
    screen.type(answer + "\n")
    assert screen.end() == status
    assert invited.calls[0] == (
        "group join",
        {"code": "CODE", "yes": False, "as": None},
    )
    assert invited.calls[-1] == (
        "group confirm",
        {"group": "Famille", "decision": decision},
    )


def test_the_code_can_be_typed_where_no_process_list_shows_it(invited, terminal):
    screen = terminal("-c", "node.yaml", "group", "join", "-")
    screen.wait_for("Invite code: ")
    screen.type("CODE\n")
    screen.wait_for("[y/N] ")
    screen.type("y\n")
    assert screen.end() == 0
    assert invited.calls[0][1]["code"] == "CODE"


def test_yes_and_json_ask_nothing(invited, terminal):
    for flag in ("--yes", "--json"):
        screen = terminal("-c", "node.yaml", "group", "join", "CODE", flag)
        assert screen.end() == 0
    assert [name for name, _ in invited.calls] == ["group join", "group join"]
    assert all(arguments["yes"] for _, arguments in invited.calls)


# --- setup ------------------------------------------------------------------------


def answer_setup(screen: Terminal, password: str = "s3cret") -> None:
    screen.wait_for("Name of this node")
    answer_questions(screen, password)


def answer_questions(screen: Terminal, password: str) -> None:
    screen.type("alice\n")
    screen.wait_for("Folder of the disk")
    screen.type("disk\n")
    screen.wait_for("make it (yes or no) [yes]: ")
    screen.type("\n")
    screen.wait_for("who is invited needs none")
    screen.wait_for("MQTT broker")
    screen.type("\n")
    screen.wait_for("Password of the FTP login")
    screen.type(password + "\n")
    screen.wait_for("Again: ")
    screen.type(password + "\n")
    screen.wait_for("guests at home")
    screen.type("films, photos\n")


def test_setup_writes_settings_that_load_and_keeps_the_password_to_itself(
    tmp_path, terminal
):
    screen = terminal("setup")
    answer_setup(screen)
    assert screen.end() == 0, screen.shown
    file = tmp_path / "fonshare.yaml"
    assert "s3cret" not in screen.shown
    assert "s3cret" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Next: `fonshare agent` runs the node" in screen.shown
    assert sorted(os.listdir(tmp_path)) == ["disk", "fonshare.yaml"]
    settings = load_settings(file)
    assert settings.node.name == "alice"
    assert settings.disk == tmp_path / "disk"
    assert settings.ftp.guest_folders == ("films", "photos")
    owner = settings.find_user("owner")
    assert owner is not None
    assert verify_password(owner.password_hash, "s3cret")
    assert settings.plain_users == ()


def test_setup_asks_again_after_what_cannot_be(tmp_path, terminal):
    (tmp_path / "taken").touch()
    screen = terminal("setup", "-c", "other.yaml")
    screen.wait_for("Name of this node")
    screen.type("a/b\n")
    screen.wait_for("A name is one line")
    screen.wait_for("Name of this node")
    screen.type("alice\n")
    for folder, answer in (
        ("taken", "That is no folder."),
        ("taken/below", "make it"),
        ("yes", "It cannot be made: "),
        ("other", "make it"),
        ("no", "Folder of the disk"),
    ):
        screen.type(f"{folder}\n")
        screen.wait_for(answer)
    assert not (tmp_path / "other").exists()
    (tmp_path / "disk").mkdir()
    screen.type("\n")
    screen.wait_for("MQTT broker")
    screen.type("\n")
    screen.wait_for("Password of the FTP login")
    screen.type("\n")
    screen.wait_for("needs a password")
    screen.wait_for("Password of the FTP login")
    screen.type("one\n")
    screen.wait_for("Again: ")
    screen.type("two\n")
    screen.wait_for("The two differ")


def test_setup_never_overwrites(tmp_path, terminal):
    (tmp_path / "fonshare.yaml").write_text("mine")
    screen = terminal("setup")
    assert screen.end() == 1
    assert "exists already" in screen.shown
    assert (tmp_path / "fonshare.yaml").read_text() == "mine"


def test_setup_does_not_overwrite_a_file_that_appears_meanwhile(tmp_path, terminal):
    screen = terminal("setup")
    screen.wait_for("Name of this node")
    (tmp_path / "fonshare.yaml").write_text("mine")
    answer_questions(screen, "s3cret")
    assert screen.end() == 1
    assert (tmp_path / "fonshare.yaml").read_text() == "mine"


def test_setup_that_makes_no_settings_leaves_no_file(tmp_path, terminal):
    screen = terminal("setup")
    screen.wait_for("Name of this node")
    screen.type("alice\n")
    screen.wait_for("Folder of the disk")
    screen.type("disk\n")
    screen.wait_for("make it (yes or no) [yes]: ")
    screen.type("\n")
    screen.wait_for("who is invited needs none")
    screen.wait_for("MQTT broker")
    screen.type("http://no.broker\n")
    screen.wait_for("Password of the FTP login")
    screen.type("x\n")
    screen.wait_for("Again: ")
    screen.type("x\n")
    screen.wait_for("guests at home")
    screen.type("\n")
    assert screen.end() == 2
    assert "mqtt" in screen.shown
    assert os.listdir(tmp_path) == ["disk"]


def test_setup_off_a_terminal_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    assert main(["setup"]) == 2
    assert "terminal" in capsys.readouterr().err
    assert not (tmp_path / "fonshare.yaml").exists()
