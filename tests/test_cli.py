"""The command line against a real control socket: requests, answers, statuses."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

from control_agent import running_agent
from fonshare_agent import __version__, agent_commands, config
from fonshare_agent.cli import main
from fonshare_agent.control.rows import Page
from fonshare_agent.errors import NotFound
from waiting import PATIENCE_S, wait_until

JOB = {
    "id": "1",
    "entry": "e",
    "name": "brehat.mkv",
    "size": 2048,
    "done_bytes": 2048,
    "state": "done",
    "sources": [],
    "error": None,
    "path": "/disk/downloads/Famille/bob/brehat.mkv",
}


@pytest.fixture
def agent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with running_agent(tmp_path) as running:
        yield running


@pytest.fixture
def no_agent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fonshare.yaml").write_text("node: {name: alice}\ndisk: disk\n")


def start_program(*argv, **surroundings):
    # Unbuffered, the interpreter itself forgets a write that was cut short.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, "-m", "fonshare_agent", "-c", "node.yaml", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, **surroundings},
    )


def run_program(*argv, **surroundings):
    program = start_program(*argv, **surroundings)
    out, err = program.communicate(timeout=30)
    return program.returncode, out, err


# --- where options stand ----------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["-c", "node.yaml", "--json", "status"],
        ["status", "-c", "node.yaml", "--json"],
        ["--json", "status", "--config", "node.yaml"],
        ["--config=node.yaml", "status", "--json"],
        ["-cnode.yaml", "status", "--json"],
    ],
)
def test_config_and_json_stand_before_or_after_the_command(agent, capsys, argv):
    agent.answers["status"] = {"node": {"name": "é\udcff"}}
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out) == {"node": {"name": "é\udcff"}}


def test_they_may_stand_between_the_words_of_a_command_too(agent, capsys):
    agent.answers["group ls"] = []
    assert main(["group", "--json", "-c", "node.yaml", "ls"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("words", "searched"),
    [
        (["C++"], ["C++"]),
        (["499-199"], ["499-199"]),
        (["-499"], ["-499"]),
        (['"quoted', "'", "*", "a:b"], ['"quoted', "'", "*", "a:b"]),
        (["--", "-foo", "--json", "--", "-c"], ["-foo", "--json", "--", "-c"]),
        (["a", "--", "--help"], ["a", "--help"]),
        (["group", "ls"], ["group", "ls"]),
        (["AND", "NEAR(a)"], ["AND", "NEAR(a)"]),
        (["été", "caf\udce9"], ["été", "caf\udce9"]),
    ],
)
def test_search_words_are_data(agent, capsys, words, searched):
    agent.answers["find"] = []
    assert main(["-c", "node.yaml", "--json", "find", *words]) == 0
    assert agent.calls[0][1]["words"] == searched


def test_flags_may_stand_among_the_search_words(agent):
    agent.answers["find"] = []
    argv = ["find", "a", "--group", "G", "b", "--limit", "5", "c", "-c", "node.yaml"]
    assert main(argv) == 0
    [(name, arguments)] = agent.calls
    assert name == "find"
    given = {"words": ["a", "b", "c"], "group": "G", "limit": 5}
    assert {one: arguments[one] for one in given} == given
    assert arguments["member"] is None


@pytest.mark.parametrize(
    ("argv", "next_argv"),
    [
        (
            ["find", "a b", "--limit", "5"],
            ["find", "a b", "--limit", "5", "--after", "X"],
        ),
        (["find", "a", "--after", "W"], ["find", "a", "--after", "X"]),
        (["find", "--after=W", "a"], ["find", "a", "--after", "X"]),
        (
            ["find", "--", "--after", "W"],
            ["find", "--after", "X", "--", "--after", "W"],
        ),
        (["ls", "G"], ["ls", "G", "--after", "X"]),
    ],
)
def test_the_command_of_the_next_page_is_told_on_stderr(agent, capsys, argv, next_argv):
    agent.answers[argv[0]] = Page([{"cursor": "X"}], "X")
    assert main(["-c", "node.yaml", *argv]) == 0
    err = capsys.readouterr().err
    words = shlex.split(err)
    assert words[:2] == ["more:", "fonshare"]
    assert words[2:] == ["-c", "node.yaml", *next_argv]

    assert main(["--json", "-c", "node.yaml", *argv]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"cursor": "X"}]
    assert shlex.split(err)[2:] == ["--json", "-c", "node.yaml", *next_argv]


def test_a_search_that_was_cut_says_so_on_stderr(agent, capsys):
    agent.answers["find"] = Page([], is_cut=True)
    assert main(["-c", "node.yaml", "--json", "find", "a"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert "before everything was looked at" in err
    assert "more:" not in err

    agent.answers["find"] = Page([{"cursor": "X"}])
    assert main(["-c", "node.yaml", "--json", "find", "a"]) == 0
    assert capsys.readouterr().err == ""


def test_people_get_a_screenful_and_programs_what_they_ask_for(agent):
    for command in (["find", "a"], ["ls"], ["search", "new"]):
        name = " ".join(command[:2]) if command[0] == "search" else command[0]
        agent.answers[name] = []
        for flags in ([], ["--json"], ["--limit", "7"]):
            assert main(["-c", "node.yaml", *command, *flags]) == 0
    limits = [arguments["limit"] for _, arguments in agent.calls]
    assert limits == [50, None, 7] * 3


def test_sizes_and_ages_reach_the_agent_as_numbers(agent):
    agent.answers["find"] = []
    flags = ["--min-size", "1.5G", "--max-size", "2T", "--newer", "3w", "--older", "7d"]
    assert main(["-c", "node.yaml", "find", "a", *flags, "--online"]) == 0
    [(_, arguments)] = agent.calls
    assert arguments["min_size"] == 3 << 29
    assert arguments["max_size"] == 2 << 40
    assert (arguments["newer"], arguments["older"]) == (1_814_400, 604_800)
    assert arguments["online"] is True


def test_a_repeated_flag_gathers_its_values(agent):
    agent.answers["share add"] = {}
    argv = [
        "-c",
        "node.yaml",
        "share",
        "add",
        "films",
        "--name",
        "Films",
        "--group",
        "A",
        "--group",
        "B",
    ]
    assert main([*argv, "-c", "node.yaml"]) == 0
    ((command, arguments),) = agent.calls
    assert (command, arguments["group"]) == ("share add", ["A", "B"])


def test_limits_not_given_are_not_changed(agent):
    names = "upload_kib_s", "download_kib_s"
    agent.answers["limits"] = {
        **dict.fromkeys((*names, "transfers", "uploads", "hours", "gives_way"), 0),
        **{"house": False, "give_way": True},
        "now": dict.fromkeys(names),
    }
    assert main(["limits", "--upload", "0", "-c", "node.yaml"]) == 0
    assert agent.calls == [
        (
            "limits",
            {
                "upload": 0,
                **dict.fromkeys(("download", "transfers", "uploads", "hours")),
                **dict.fromkeys(("other_upload", "other_download")),
                **dict.fromkeys(("house", "give_way")),
            },
        )
    ]


def test_the_folder_for_get_is_sent_absolute(agent, tmp_path):
    agent.answers["get"] = [JOB]
    assert main(["get", "a", "b", "--to", "x/../here", "-c", "node.yaml"]) == 0
    [(command, sent)] = agent.calls
    assert (command, sent["entries"]) == ("get", ["a", "b"])
    assert sent["to"] == str(tmp_path / "here")


# --- errors and statuses ----------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["bogus"],
        ["group"],
        ["group", "bogus"],
        ["status", "more"],
        ["status", "--bogus"],
        ["--bogus", "status"],
        ["find"],
        ["find", "--"],
        ["find", "-foo"],
        ["find", "a", "--limit", "x"],
        ["find", "a", "--limit", "1_0"],
        ["find", "a", "--limit", "٣"],
        ["find", "a", "--limit", "0"],
        ["find", "a", "--limit", "9" * 5000],
        ["find", "a", "--lim", "5"],
        ["find", "a", "--min-size", "big"],
        ["find", "a", "--max-size", "-1"],
        ["find", "a", "--newer", "7"],
        ["find", "a", "--older", "soon"],
        ["find", "a", "--kind", "film"],
        ["find", "a", "--sort", "best"],
        ["search"],
        ["search", "save", "name"],
        ["search", "new", "a", "b"],
        ["find", ""],
        ["find", "a\0b"],
        ["share", "add", "films"],
        ["group", "broker", "g", "eat", "url"],
        ["group", "invite"],
        ["completion", "tcsh"],
        ["status", "-c"],
        ["--", "status"],
    ],
)
def test_a_command_written_wrongly_is_status_2_even_without_an_agent(
    no_agent, capsys, argv
):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fonshare: ")
    assert err.count("\n") == 1
    assert "; " in err

    assert main(["--json", *argv]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    error = json.loads(out)["error"]
    assert set(error) == {"code", "message", "thing", "next"}
    assert error["code"] == "usage"


def test_no_agent_is_status_3(no_agent, capsys):
    assert main(["status"]) == 3
    assert "no agent is running" in capsys.readouterr().err
    assert main(["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "no_agent"


def test_wrong_settings_are_status_2(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("nodes: 1\ndisc: 2\n")
    assert main(["-c", str(tmp_path / "bad.yaml"), "status"]) == 2
    assert "nodes" in capsys.readouterr().err
    assert main(["-c", str(tmp_path / "none.yaml"), "status", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "settings"


def test_an_error_of_the_agent_is_one_line_and_status_1(agent, capsys):
    agent.answers["ls"] = NotFound("no such place", thing="X/y", next="Look again.")
    assert main(["-c", "node.yaml", "ls", "X/y"]) == 1
    assert capsys.readouterr() == (
        "",
        "fonshare: no such place: X/y; look again.\n",
    )
    assert main(["-c", "node.yaml", "ls", "X/y", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "error": {
            "code": "not_found",
            "message": "no such place",
            "thing": "X/y",
            "next": "Look again.",
        }
    }


def test_an_error_cannot_act_on_the_terminal(agent, capsys):
    agent.answers["ls"] = NotFound("evil \x1b[2J name", thing="a\nb\u202e")
    assert main(["-c", "node.yaml", "ls"]) == 1
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert err.isascii()


def test_the_version_and_the_help_need_no_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fonshare {__version__}\n"
    assert main(["--help"]) == 0
    assert "group invite GROUP [--accept-first]" in capsys.readouterr().out
    assert main(["group", "-h"]) == 0
    shown = capsys.readouterr().out
    assert "group leave GROUP" in shown
    assert "share add" not in shown
    assert main(["find", "--help"]) == 0
    assert "example: fonshare find" in capsys.readouterr().out


# --- get --wait -------------------------------------------------------------------


def jobs_in_turn(agent, *states):
    """Let `jobs` tell one of *states* after the other, then the last for ever."""
    turns = iter(states)
    last = states[-1]

    def answer(_arguments):
        return [
            {**JOB, "id": "7", "state": "running"},
            {**JOB, "state": next(turns, last)},
        ]

    agent.answers["get"] = [{**JOB, "state": "queued", "done_bytes": 0}]
    agent.answers["jobs"] = answer


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("fonshare_agent.progress.POLL_S", 0.001)
    monkeypatch.setattr("fonshare_agent.joining.POLL_S", 0.001)


def test_wait_lasts_until_the_jobs_ended_and_shows_only_those_asked_for(
    agent, capsys, impatient
):
    jobs_in_turn(agent, "locating", "running", "paused", "verifying", "done")
    assert main(["-c", "node.yaml", "--json", "get", "e", "--wait"]) == 0
    assert json.loads(capsys.readouterr().out) == [JOB]
    assert [name for name, _ in agent.calls] == ["get"] + ["jobs"] * 5


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_wait_is_status_1_unless_all_are_done(agent, capsys, impatient, state):
    jobs_in_turn(agent, "running", state)
    assert main(["-c", "node.yaml", "--json", "get", "e", "--wait"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["state"] == state


def test_a_job_that_is_forgotten_while_waiting_is_an_error(agent, capsys, impatient):
    agent.answers["get"] = [{**JOB, "state": "queued"}]
    agent.answers["jobs"] = []
    assert main(["-c", "node.yaml", "--json", "get", "e", "--wait"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not_found"


def test_waiting_survives_a_restart_of_the_agent(
    tmp_path, monkeypatch, capsys, impatient
):
    monkeypatch.chdir(tmp_path)
    with running_agent(tmp_path) as first:
        first.answers["get"] = [{**JOB, "state": "running"}]
        waiting = start_program("--json", "get", "e", "--wait")
        first.answers["jobs"] = [{**JOB, "state": "running"}]
        wait_until(lambda: ("jobs", {}) in first.calls)
    with running_agent(tmp_path) as second:
        second.answers["jobs"] = [JOB]
        out, _ = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 0
    assert json.loads(out) == [JOB]


def test_waiting_for_an_agent_that_does_not_come_back_ends_with_status_3(
    agent, monkeypatch, impatient
):
    monkeypatch.setattr("fonshare_agent.progress.RESTART_S", 0.02)
    agent.answers["get"] = [{**JOB, "state": "running"}]

    def vanish(_arguments):
        agent.socket.unlink()
        return [{**JOB, "state": "running"}]

    agent.answers["jobs"] = vanish
    assert main(["-c", "node.yaml", "--json", "get", "e", "--wait"]) == 3


# --- group join -------------------------------------------------------------------


def test_a_code_comes_from_stdin(agent, monkeypatch, capsys):
    agent.answers["group join"] = {"group": "G", "state": "joining"}
    monkeypatch.setattr(sys, "stdin", io.StringIO("  fs-code-1 \nmore\n"))
    assert main(["-c", "node.yaml", "--json", "group", "join", "-", "--as", "G"]) == 0
    assert agent.calls == [
        ("group join", {"code": "fs-code-1", "yes": True, "as": "G"})
    ]
    assert json.loads(capsys.readouterr().out) == {"group": "G", "state": "joining"}


def test_no_code_on_stdin_is_a_usage_error(agent, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["-c", "node.yaml", "group", "join", "-"]) == 2
    assert agent.calls == []


def test_join_with_wait_lasts_until_membership(agent, capsys, impatient):
    states = iter(["joining", "asked", "member"])
    agent.answers["group join"] = {"group": "G", "state": "joining"}
    agent.answers["group joining"] = lambda _: {"group": "G", "state": next(states)}
    assert main(["-c", "node.yaml", "--json", "group", "join", "X", "--wait"]) == 0
    assert json.loads(capsys.readouterr().out) == {"group": "G", "state": "member"}


def test_join_with_wait_says_what_it_waits_for(agent, capsys, impatient):
    states = iter(["asked", "member"])
    agent.answers["group join"] = {"group": "G", "state": "joining"}
    agent.answers["group joining"] = lambda _: {"group": "G", "state": next(states)}
    assert main(["-c", "node.yaml", "group", "join", "X", "--yes", "--wait"]) == 0
    assert "Waiting until the inviter accepts" in capsys.readouterr().err


def test_join_with_wait_fails_when_the_inviter_refuses(agent, capsys, impatient):
    agent.answers["group join"] = {"group": "G", "state": "joining"}
    agent.answers["group joining"] = {"group": "G", "state": "refused"}
    assert main(["-c", "node.yaml", "--json", "group", "join", "X", "--wait"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "join.failed"


# --- as a program -----------------------------------------------------------------


def test_bytes_that_are_not_utf8_pass_through_the_program(agent):
    agent.answers["ls"] = lambda arguments: [{"path": arguments["path"]}]
    status, out, _ = run_program("--json", "ls", b"G/caf\xe9")
    assert (status, json.loads(out)) == (0, [{"path": "G/caf\udce9"}])
    assert agent.calls == [
        ("ls", {"path": "G/caf\udce9", "limit": None, "after": None})
    ]


def test_a_terminal_without_utf8_shows_what_it_can(agent):
    agent.answers["ls"] = [{"kind": "group", "group": "Bréhat 日本", "online": True}]
    status, out, _ = run_program("ls", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert status == 0
    assert b"Br\\xe9hat" in out


def test_a_reader_that_went_away_ends_the_program_quietly(agent):
    agent.answers["find"] = [{"path": "x" * 100}] * 20_000
    program = start_program("find", "x")
    program.stdout.read(100)
    program.stdout.close()
    _, err = program.communicate(timeout=30)
    assert (program.returncode, err) == (141, b"")


def test_ctrl_c_ends_the_program_quietly(agent):
    agent.answers["get"] = [{**JOB, "state": "running"}]
    agent.answers["jobs"] = [{**JOB, "state": "running"}]
    program = start_program("get", "e", "--wait")
    wait_until(lambda: ("jobs", {}) in agent.calls)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (130, b"", b"")


def test_the_client_commands_import_no_library_of_the_agent(agent):
    agent.answers["status"] = None
    script = (
        "import sys; from fonshare_agent.cli import main; "
        "status = main(['-c', 'node.yaml', '--json', 'status']); "
        "heavy = {'paho', 'pyftpdlib', 'nacl', 'requests', 'asyncio', 'sqlite3'}; "
        "sys.exit(status or ', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


# --- on a router -------------------------------------------------------------------


@pytest.fixture
def router(agent, tmp_path, monkeypatch):
    """Where the agent's socket and settings are as a router has them."""
    file = tmp_path / "fonshare"
    file.write_text("config node 'node'\n\t# option run '/var/run/fonshare'\n")
    monkeypatch.setattr("fonshare_agent.ROUTER_FILE", str(file))
    monkeypatch.setattr(agent_commands, "ROUTER_SOCKET", str(agent.socket))
    return file


def test_a_router_answers_without_its_settings_being_read(router, agent, monkeypatch):
    monkeypatch.setattr(config, "load_settings", None)
    agent.answers["status"] = {}
    assert main(["--json", "status"]) == 0
    assert main(["-c", str(router), "--json", "status"]) == 0
    assert agent.calls == [("status", {})] * 2


def test_where_the_settings_say_another_place_that_is_asked(
    router, agent, monkeypatch, tmp_path
):
    monkeypatch.setattr(agent_commands, "ROUTER_SOCKET", str(tmp_path / "nobody"))
    router.write_text(
        "config node 'node'\n\toption name 'a'\n"
        f"config disk 'disk'\n\toption path '{tmp_path}/disk'\n"
        f"\toption run '{agent.socket.parent}'\n"
        "config mqtt 'mqtt'\n\toption broker 'mqtt://localhost'\n"
    )
    agent.answers["status"] = {}
    assert main(["--json", "status"]) == 0
    assert agent.calls == [("status", {})]


def test_where_nobody_listens_the_settings_say_what_is_wrong(
    router, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(agent_commands, "ROUTER_SOCKET", str(tmp_path / "nobody"))
    assert main(["status"]) != 0
    assert "disk: is missing" in capsys.readouterr().err


def test_the_routers_places_are_those_of_the_settings():
    [run] = [option for option in config.OPTIONS if option.name == "run"]
    assert f"{run.router}/control.sock" == agent_commands.ROUTER_SOCKET


def test_as_the_package_runs_it_a_command_loads_no_settings_and_no_terminals(agent):
    """Each of these is a megabyte or a tenth of a second on a router."""
    agent.answers["status"] = None
    script = (
        "import sys; from fonshare_agent.lean_imports import import_lean_for_a_command;"
        "import_lean_for_a_command(); from fonshare_agent import agent_commands, cli; "
        f"agent_commands.ROUTER_SOCKET = {str(agent.socket)!r}; "
        f"import fonshare_agent; fonshare_agent.ROUTER_FILE = {__file__!r}; "
        "agent_commands._may_be_the_routers = lambda _: True; "
        "status = cli.main(['--json', 'status']); "
        "heavy = {'fonshare_agent.config', 'hashlib', 'logging', 'inspect', 'pathlib', "
        "'shutil', 'locale', 'urllib.parse', 'gettext', 'ssl'}; "
        "sys.exit(status or ', '.join(heavy & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; "]
    command[-1] += script
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
