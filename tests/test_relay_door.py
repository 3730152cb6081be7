"""The word RELAY at the friends' door: it lets in whom the desk lets in, and then it is
no session of ours any more."""

import queue
import socket

import pytest

from fonshare_agent.errors import TicketRefused
from ftp_service import Lines, make_certificate, serving
from waiting import PATIENCE_S, wait_until


@pytest.fixture
def served(tmp_path):
    pair = make_certificate(tmp_path, "server", "ed25519")
    with serving(tmp_path, friends_certificate=pair) as served:
        yield served


def open_relays(served, admit):
    served.service.open_relays(admit)
    door = served.service._friends
    wait_until(lambda: door.admit_relay is not None, "the door knows")


@pytest.fixture
def lines(served):
    lines = Lines(served.service.friends_port)
    assert lines.reply().startswith("220 ")
    yield lines
    lines.socket.close()


def test_without_consent_there_is_no_relay(lines):
    assert lines.code("RELAY a A 0 b") == "502"
    assert lines.socket.recv(1) == b""


def test_who_is_not_let_in_hears_what_a_failed_login_hears(served, lines):
    asked = []

    def refuse(line):
        asked.append(line)
        raise TicketRefused("no such relay")

    open_relays(served, refuse)
    assert lines.code("RELAY a A 0 b") == "530"
    assert asked == ["a A 0 b"]


def test_who_is_let_in_is_no_session_of_the_door_any_more(served, lines):
    taken = queue.SimpleQueue()
    open_relays(served, lambda line: taken.put)
    assert lines.code("RELAY a A 0 b") == "200"
    connection = taken.get(timeout=PATIENCE_S)
    wait_until(lambda: served.service.open_connections() == 0, "the door forgets it")
    lines.socket.sendall(b"not for the door\r\n")
    connection.settimeout(PATIENCE_S)
    assert connection.recv(100) == b"not for the door\r\n"
    connection.sendall(b"straight through")
    connection.shutdown(socket.SHUT_WR)
    connection.close()
    got = b""
    while piece := lines.socket.recv(100):
        got += piece
    assert got == b"straight through"


def test_what_was_sent_ahead_of_the_answer_lets_nobody_in(served, lines):
    taken = []
    open_relays(served, lambda line: taken.append)
    lines.socket.sendall(b"RELAY a A 0 b\r\nmore")
    assert lines.reply().startswith("502 ")
    assert taken == []
