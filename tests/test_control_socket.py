"""The control socket: real server, real client, a core thread behind."""

import json
import logging
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from control_agent import RunningAgent, running_agent
from fonshare_agent.control import client, server
from fonshare_agent.control.client import AgentError, request
from fonshare_agent.control.door import bind
from fonshare_agent.control.rows import Page
from fonshare_agent.core import Promise
from fonshare_agent.errors import (
    AgentRunning,
    NoAgent,
    NotFound,
    StorageError,
    UsageError,
)
from waiting import PATIENCE_S, wait_until


@pytest.fixture
def agent(tmp_path):
    with running_agent(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def steady_agent(tmp_path_factory):
    with running_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


def connect_to(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    connection.connect(str(path))
    return connection


def connect(agent: RunningAgent) -> socket.socket:
    return connect_to(agent.socket)


def ask(connection: socket.socket, line: bytes) -> dict[str, object]:
    connection.sendall(line)
    return read_answer(connection)


def read_answer(connection: socket.socket) -> dict[str, object]:
    raw = b""
    while not raw.endswith(b"\n"):
        chunk = connection.recv(65536)
        assert chunk, f"closed after {raw[:100]!r}"
        raw += chunk
    answer: dict[str, object] = json.loads(raw)
    return answer


def test_a_request_reaches_its_handler_and_the_answer_comes_back(agent):
    agent.answers["group create"] = {"group": "Été"}
    assert request(agent.socket, "group create", {"group": "Été"}) == {"group": "Été"}
    assert agent.calls == [("group create", {"group": "Été"})]


def test_bytes_that_are_not_utf8_make_the_round_trip_as_surrogates(agent):
    path = b"caf\xe9".decode("utf-8", "surrogateescape")
    agent.answers["ls"] = lambda arguments: [arguments["path"]]
    assert request(agent.socket, "ls", {"path": path}) == [path]


def test_an_error_of_a_handler_keeps_its_code_and_advice(agent):
    agent.answers["ls"] = NotFound("no such place", thing="X/y", next="Look again.")
    with pytest.raises(AgentError) as caught:
        request(agent.socket, "ls", {"path": "X/y"})
    assert caught.value.as_dict() == {
        "code": "not_found",
        "message": "no such place",
        "thing": "X/y",
        "next": "Look again.",
    }


def test_a_bug_in_a_handler_is_answered_logged_and_survived(agent, caplog):
    agent.answers["status"] = ZeroDivisionError("oops")
    with pytest.raises(AgentError) as caught:
        request(agent.socket, "status", {})
    assert caught.value.answered_code == "internal"
    wait_until(lambda: "oops" in caplog.text)
    agent.answers["status"] = 1
    assert request(agent.socket, "status", {}) == 1


@pytest.mark.parametrize("wrong", [float("nan"), object(), [1, {2}]])
def test_an_answer_that_is_not_json_is_logged_and_survived(agent, caplog, wrong):
    agent.answers["status"] = wrong
    with pytest.raises(NoAgent):
        request(agent.socket, "status", {})
    assert "could not be encoded" in caplog.text
    agent.answers["status"] = [1]
    assert request(agent.socket, "status", {}) == [1]


def test_a_slow_command_does_not_hold_up_another(agent):
    slow: Promise[str] = Promise()
    agent.answers["status"] = slow
    answers: list[object] = []
    asking = threading.Thread(
        target=lambda: answers.append(request(agent.socket, "status", {}))
    )
    asking.start()
    wait_until(lambda: agent.calls == [("status", {})])
    agent.answers["disk"] = "here"
    assert request(agent.socket, "disk", {}) == "here"
    assert answers == []
    agent.core.post(lambda: slow.resolve("late"))
    asking.join(PATIENCE_S)
    assert answers == ["late"]


def test_a_client_that_left_before_its_answer_disturbs_nobody(agent):
    slow: Promise[str] = Promise()
    agent.answers["status"] = slow
    with connect(agent) as connection:
        connection.sendall(b'{"command": "status"}\n')
        wait_until(lambda: agent.calls == [("status", {})])
    agent.core.post(lambda: slow.resolve("x" * 1_000_000))
    agent.answers["disk"] = "here"
    assert request(agent.socket, "disk", {}) == "here"


def test_one_connection_serves_many_requests_in_order(agent):
    agent.answers["ls"] = lambda arguments: arguments["path"]
    lines = b"".join(
        b'{"command": "ls", "arguments": {"path": "%d"}}\n' % number
        for number in range(50)
    )
    with connect(agent) as connection, connection.makefile("rwb") as stream:
        stream.write(lines)
        stream.flush()
        answers = [json.loads(stream.readline())["result"] for _ in range(50)]
    assert answers == [str(number) for number in range(50)]


def test_a_request_may_come_byte_by_byte(agent):
    agent.answers["status"] = "up"
    with connect(agent) as connection:
        for byte in b'{"command": "status"}':
            connection.sendall(bytes([byte]))
        assert ask(connection, b"\n") == {"result": "up"}


def test_a_hundred_thousand_rows_arrive_whole(agent):
    row = {"id": "a" * 16, "name": "é" * 20, "size": 2**40, "root": None}
    agent.answers["find"] = [{**row, "number": number} for number in range(100_000)]
    answer = request(agent.socket, "find", {"words": ["x"]})
    assert isinstance(answer, list)
    assert len(answer) == 100_000
    assert answer[-1] == {**row, "number": 99_999}


def test_a_large_answer_is_encoded_only_as_fast_as_it_is_read(agent):
    encoded = []

    class Rows(list[object]):
        def __iter__(self):
            for number in range(100_000):
                encoded.append(number)
                yield "x" * 100

    agent.answers["find"] = Rows()
    with connect(agent) as connection:
        connection.sendall(b'{"command": "find", "arguments": {"words": ["x"]}}\n')
        connection.recv(10)
        agent.answers["status"] = "up"
        assert request(agent.socket, "status", {}) == "up"
        assert 0 < len(encoded) < 50_000


def test_what_is_said_besides_the_rows_arrives_too(agent):
    agent.answers["find"] = Page([1, 2], "cursor", is_cut=True)
    answer = request(agent.socket, "find", {"words": ["x"]})
    assert isinstance(answer, Page)
    assert answer == [1, 2]
    assert answer.rest() == {"more": "cursor", "has_more": True, "is_cut": True}
    agent.answers["find"] = Page()
    answer = request(agent.socket, "find", {"words": ["x"]})
    assert isinstance(answer, Page)
    assert answer.rest() == {"more": None, "has_more": False, "is_cut": False}


@pytest.mark.parametrize("answer", [[], {}, None, 0, "", [[]], [None, 1]])
def test_every_kind_of_answer_arrives_as_it_was(agent, answer):
    agent.answers["status"] = answer
    assert request(agent.socket, "status", {}) == answer


def test_an_endless_request_is_refused_and_the_client_dropped(agent):
    with connect(agent) as connection:
        connection.sendall(b"x" * (client.REQUEST_BYTES_MAX + 1))
        answer = read_answer(connection)
        assert answer["error"]["code"] == "usage"  # type: ignore[index]
        assert "longer" in answer["error"]["message"]  # type: ignore[index]
        assert connection.recv(1) == b""
    assert agent.calls == []


def test_a_command_too_long_for_one_request_is_refused_before_it_is_sent(agent):
    with pytest.raises(UsageError, match="too long"):
        request(agent.socket, "get", {"entries": ["x" * 200] * 6000})
    assert agent.calls == []


def test_more_clients_than_are_served_are_told_so_and_others_go_on(agent):
    agent.answers["status"] = "up"
    idle = [connect(agent) for _ in range(server.CLIENTS_MAX)]
    for connection in idle:  # each has been accepted once it was answered
        assert ask(connection, b'{"command": "status"}\n') == {"result": "up"}
    with pytest.raises(AgentError) as caught:
        request(agent.socket, "status", {})
    assert caught.value.answered_code == "agent.busy"
    assert ask(idle[0], b'{"command": "status"}\n') == {"result": "up"}
    for connection in idle:
        connection.close()
    wait_until(lambda: client.is_answered(agent.socket))


def test_a_client_that_stalls_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "STALL_S", 0.0)
    monkeypatch.setattr(server, "TICK_S", 0.05)
    with running_agent(tmp_path) as agent, connect(agent) as connection:
        connection.sendall(b'{"command": ')
        assert connection.recv(1) == b""


def test_a_client_waiting_for_a_slow_command_has_not_stalled(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "STALL_S", 0.0)
    monkeypatch.setattr(server, "TICK_S", 0.02)
    with running_agent(tmp_path) as agent, connect(agent) as connection:
        slow: Promise[str] = Promise()
        agent.answers["status"] = slow
        connection.sendall(b'{"command": "status"}\n')
        wait_until(lambda: agent.calls == [("status", {})])
        # An idle client is dropped: so the tick that spared the first one has run.
        with connect(agent) as idle:
            assert idle.recv(1) == b""
        agent.core.post(lambda: slow.resolve("late"))
        assert read_answer(connection) == {"result": "late"}


@given(junk=st.binary(max_size=300))
@hypothesis_settings(max_examples=60)
def test_hostile_bytes_end_in_error_answers_and_the_socket_lives(steady_agent, junk):
    steady_agent.answers["status"] = "up"
    with connect(steady_agent) as connection, connection.makefile("rb") as answers:
        connection.sendall(junk + b'\n{"command": "status"}\n')
        for _ in range(junk.count(b"\n") + 1):
            assert set(json.loads(answers.readline())) == {"error"}
        assert json.loads(answers.readline()) == {"result": "up"}


# --- the socket itself ------------------------------------------------------------


def test_the_socket_is_for_the_owner_and_the_group_only(agent):
    assert stat.S_IMODE(os.stat(agent.socket).st_mode) == 0o660


def test_the_socket_is_gone_after_a_stop(tmp_path):
    with running_agent(tmp_path) as agent:
        assert agent.socket.exists()
    assert not agent.socket.exists()
    with pytest.raises(NoAgent):
        request(agent.socket, "status", {})


def test_a_stale_socket_is_replaced(tmp_path):
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "state" / "control.sock"))
    with running_agent(tmp_path) as agent:
        agent.answers["status"] = "up"
        assert request(agent.socket, "status", {}) == "up"


def test_a_second_agent_on_the_same_socket_is_refused_and_harms_nothing(agent):
    agent.answers["status"] = "first"
    second = RunningAgent(agent.config.parent)
    with pytest.raises(AgentRunning, match="another agent"):
        second.start()
    assert request(agent.socket, "status", {}) == "first"


def test_a_socket_that_somebody_else_answers_is_not_replaced(tmp_path):
    (tmp_path / "state").mkdir()
    agent = RunningAgent(tmp_path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(agent.socket))
        other.listen()
        with pytest.raises(AgentRunning, match="answers"):
            agent.start()
        assert client.is_answered(agent.socket)
    # What was refused holds nothing: the same agent can start later.
    agent.start()
    agent.stop()


def test_a_folder_that_cannot_hold_the_socket_is_named(tmp_path):
    agent = RunningAgent(tmp_path)
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StorageError) as caught:
        agent.start()
    assert caught.value.thing == str(agent.socket)
    assert "`run`" in caught.value.next


def test_a_server_that_failed_serves_again_and_forgets_who_waited(tmp_path):
    agent, is_broken = RunningAgent(tmp_path), threading.Event()

    def clock() -> float:
        if is_broken.is_set():
            raise StopIteration("the bug of its first life")
        return 0.0

    slow: Promise[str] = Promise()
    agent.answers["status"] = slow
    agent.server = server.ControlServer(
        agent.socket, agent.core, bind(agent.handlers), clock
    )
    agent.server.open()
    agent.start_core()
    failing = threading.Thread(target=fail_to_serve, args=(agent.server,))
    failing.start()
    with connect(agent) as waiting:
        waiting.sendall(b'{"command": "status"}\n')
        wait_until(lambda: agent.calls == [("status", {})])
        is_broken.set()
        with connect(agent):
            failing.join(PATIENCE_S)
        assert not agent.socket.exists()
        assert waiting.recv(1) == b""

    is_broken.clear()
    agent.server.start()
    agent.core.post(lambda: slow.resolve("too late"))
    agent.answers["disk"] = "here"
    assert request(agent.socket, "disk", {}) == "here"
    agent.stop()
    assert not agent.socket.exists()


def fail_to_serve(failing: server.ControlServer) -> None:
    with pytest.raises(StopIteration):
        failing.serve()


def test_a_reason_given_before_the_request_is_read_is_not_lost(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        answered = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            connection.sendall(b'{"error": {"code": "agent.busy"}}\n')
            connection.close()
            answered.set()

        serving = threading.Thread(target=serve)
        serving.start()
        connection = client.connect(path)
        assert answered.wait(PATIENCE_S)
        with pytest.raises(AgentError) as caught:
            client.exchange(connection, path, b"{}\n")
        assert caught.value.answered_code == "agent.busy"
        serving.join(PATIENCE_S)


def test_nobody_on_the_socket_is_no_agent(tmp_path):
    with pytest.raises(NoAgent) as caught:
        request(tmp_path / "control.sock", "status", {})
    assert caught.value.exit_status == 3
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(NoAgent):
        request(tmp_path / "dead.sock", "status", {})


@pytest.mark.parametrize("answer", [b"", b'{"result": [1, 2', b"[]\n", b'{"a":1}\n'])
def test_an_answer_that_is_cut_or_foreign_is_no_answer(tmp_path, answer):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        with pytest.raises(NoAgent):
            request(path, "status", {})
        serving.join(PATIENCE_S)


def test_an_agent_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ANSWER_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        with pytest.raises(NoAgent, match="in time"):
            request(tmp_path / "control.sock", "status", {})


def test_requests_and_answers_are_in_no_log(agent, caplog):
    caplog.set_level(logging.DEBUG)
    agent.answers["group join"] = {"group": "Secret name", "state": "joining"}
    request(agent.socket, "group join", {"code": "fonshare-code", "yes": True})
    assert "fonshare-code" not in caplog.text
    assert "Secret name" not in caplog.text
