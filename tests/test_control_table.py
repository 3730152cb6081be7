"""The command table, and the door that holds requests to it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_agent import RecordingHandlers
from fonshare_agent.command_line import parse
from fonshare_agent.control.arguments import TEXT_MAX, check_arguments
from fonshare_agent.control.commands import AGENT_COMMANDS, BY_NAME, COMMANDS
from fonshare_agent.control.door import Request, bind, read_request
from fonshare_agent.control.handlers import Handlers
from fonshare_agent.control.quantities import read_age, read_size, shown_age
from fonshare_agent.control.rows import Kind, Place
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import UsageError
from fonshare_agent.help_texts import command_help, page, shown_commands

CLI_PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
CONTRACT = {
    *("agent", "setup", "status", "doctor", "share add", "share ls", "share rm"),
    *("group create", "group ls", "group invite", "group join", "group requests"),
    *("group accept", "group leave", "group remove", "group broker", "ls", "find"),
    *("get", "jobs", "jobs pause", "jobs resume", "jobs cancel", "disk", "limits"),
    *("backup", "restore", "search save", "search ls", "search rm", "search new"),
    "fxp",
}


def request(command: object, **arguments: object) -> bytes:
    return json.dumps({"command": command, "arguments": arguments}).encode()


def test_the_table_holds_every_command_of_the_contract_once():
    names = [command.name for command in COMMANDS]
    assert len(names) == len(set(names))
    assert set(names) >= CONTRACT


@pytest.mark.parametrize("command", COMMANDS, ids=lambda row: row.name)
def test_each_row_can_be_parsed_and_explained(command):
    assert not any(row.repeated for row in command.arguments[:-1])
    assert not any(row.optional for row in command.arguments[:-1])
    assert command.help[0].islower() or command.help.startswith("FTP")
    assert not command.help.endswith(".")
    assert command.example.startswith(command.name)
    for row in (*command.arguments, *command.flags):
        assert (row.kind is Kind.CHOICE) == bool(row.choices)
        assert row.default is None or row.optional


@pytest.mark.parametrize("command", shown_commands(), ids=lambda row: row.name)
def test_each_example_is_a_valid_command_line(command):
    words = command.example.split(" > ")[0].split()
    assert parse(words).command == command
    assert command.example in command_help(command)


def test_the_command_page_is_what_the_table_gives():
    assert CLI_PAGE.read_text() == page(), (
        "write it again: python -m fonshare_agent.help_texts > docs/cli.md"
    )


def test_the_page_shows_every_command_but_the_internal_ones():
    for command in COMMANDS:
        assert (f"\n## {command.name}\n" in page()) == command.is_shown


class NothingButFiles:
    """The parts of a node that has a files thread and nothing else."""

    state = index = None

    def __init__(self, files: Worker) -> None:
        self.files = files


def test_the_agents_handlers_have_a_method_for_every_agent_command():
    core = Core(lambda: 0.0)
    files = Worker("files", core)
    files.start()

    async def find(name: str) -> Any:
        return await handlers.load_method(name)

    try:
        handlers = Handlers(NothingButFiles(files), "")  # type: ignore[arg-type]
        bind(handlers)
        for command in AGENT_COMMANDS:
            found = core.spawn(find(command.handler))
            while not found.is_settled:
                core.run_once()
            assert callable(found.result()), command.name
    finally:
        files.stop()


def test_handlers_that_lack_a_command_are_refused_at_start():
    handlers = RecordingHandlers()
    del handlers.jobs_pause  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="jobs_pause"):
        bind(handlers)


def test_a_request_gets_every_argument_with_its_default():
    assert read_request(request("find", words=["C++"])) == Request(
        BY_NAME["find"],
        {
            "words": ["C++"],
            **dict.fromkeys(("group", "member", "kind", "min_size", "max_size")),
            **dict.fromkeys(("newer", "older", "limit", "after")),
            "online": False,
            "sort": "relevance",
        },
    )
    assert read_request(b'{"command": "status"}').arguments == {}
    assert read_request(request("group invite", group="g")).arguments == {
        "group": "g",
        "accept_first": False,
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("700M", 700 << 20),
        ("4g", 4 << 30),
        ("1.5G", 3 << 29),
        ("0,1 KiB", 102),
        ("2TB", 2 << 40),
        ("12b", 12),
    ],
)
def test_sizes_are_taken_as_people_write_them(text, size):
    found = read_request(request("find", words=["a"], min_size=text))
    assert found.arguments["min_size"] == size
    assert read_size(str(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5min", 300), ("12h", 43_200), ("7d", 604_800), ("3 W", 1_814_400)],
)
def test_ages_are_taken_as_people_write_them(text, seconds):
    found = read_request(request("find", words=["a"], newer=text))
    assert found.arguments["newer"] == seconds
    assert read_age(shown_age(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "M", "-1", "1e9", "٣M", "1.M", "1 000", "1kk"])
def test_what_is_no_size_is_refused(text):
    assert read_size(text) is None


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "1.5d", "٣d", "7 days"])
def test_what_is_no_age_is_refused(text):
    assert read_age(text) is None


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"", "one line of JSON"),
        (b"\xff\xfe", "one line of JSON"),
        (b"[" * 100_000, "one line of JSON"),
        (b'{"command": NaN}', "one line of JSON"),
        (b"1" * 5000, "one line of JSON"),
        (b"[]", "a request is"),
        (b'{"command": "status", "more": 1}', "a request is"),
        (b'{"arguments": {}}', "no such command"),
        (request("no such"), "no such command"),
        (request(["status"]), "no such command"),
        (request("agent"), "no such command"),
        (request("backup", file="/etc/passwd"), "no such command"),
        (b'{"command": "status", "arguments": []}', "must be an object"),
        (request("status", colour="red"), "no such argument"),
        (request("get", entries=["x"], wait=True), "no such argument"),
        (request("group create"), "GROUP is missing"),
        (request("group create", group=None), "GROUP is missing"),
        (request("group create", group=7), "must be text"),
        (request("group create", group=["g"]), "must be text"),
        (request("group create", group=""), "is empty"),
        (request("group create", group="a\0b"), "NUL"),
        (request("group create", group="x" * (TEXT_MAX + 1)), "is longer"),
        (request("share add", path="p"), "--name is missing"),
        (request("find", words=[]), "is missing"),
        (request("find", words="C++"), "must be a list"),
        (request("find", words=["a", 1]), "must be text"),
        (request("find", words=["a"] * 10_001), "more than"),
        (request("find", words=["a"], limit=True), "whole number"),
        (request("find", words=["a"], limit=1.5), "whole number"),
        (request("find", words=["a"], limit=0), "must be from 1 to"),
        (request("find", words=["a"], kind="film"), "must be audio or"),
        (request("find", words=["a"], min_size="big"), "must be bytes, or"),
        (request("find", words=["a"], max_size=-1), "must be from 0 to"),
        (request("find", words=["a"], max_size="9" * 18 + "T"), "must be from 0 to"),
        (request("find", words=["a"], newer="yesterday"), "must be 12h"),
        (request("find", words=["a"], older="999999999y"), "must be from 0 to"),
        (request("find", words=["a"], older=True), "must be a whole number"),
        (request("limits", upload=-1), "must be from 0 to"),
        (request("group broker", group="g", action="eat", url="u"), "add or remove"),
        (request("group invite", group="g", accept_first=1), "true or false"),
    ],
)
def test_what_the_table_does_not_allow_is_a_usage_error(line, complaint):
    with pytest.raises(UsageError, match=complaint):
        read_request(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
names = st.sampled_from(sorted(BY_NAME)) | st.text()
argument_names = st.sampled_from(
    sorted({row.name for c in COMMANDS for row in (*c.arguments, *c.flags)})
)


@given(
    st.binary()
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda name, arguments: request(name, **arguments),
        names,
        st.dictionaries(argument_names, json_values),
    )
)
def test_strangers_bytes_become_a_checked_request_or_a_usage_error(line):
    try:
        found = read_request(line)
    except UsageError:
        return
    assert found.command.place is Place.AGENT
    assert check_arguments(found.command, found.arguments) == found.arguments
