"""The client against peers that lie, stall, listen in, or are somebody else."""

import gc
import os
import socket
import ssl
import struct
import threading
import time
import weakref
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import (
    ConnectionLost,
    FonshareError,
    PeerUnreachable,
    SourceChanged,
    SourceRefused,
    TransferCancelled,
    WrongCertificate,
)
from fonshare_agent.nodekeys import load_or_create
from fonshare_agent.transfer import wire
from fonshare_agent.transfer.session import Credentials, Session
from fonshare_agent.transfer.session_pool import IDLE_MAX, IDLE_S, NOOP_S, SessionPool
from fonshare_agent.transfer.wire import Pace, Patience, Wire, client_context
from waiting import PATIENCE_S

CREDENTIALS = Credentials(b"t" * 16, b"s" * 16)
LOGIN = ("331 secret?", "230 welcome", "200 ok", "200 ok", "200 ok")


class Caller:
    """One connection as the scripted peer sees it."""

    def __init__(self, connected, door):
        connected.settimeout(PATIENCE_S)
        self.socket, self.door, self.heard = connected, door, b""

    def say(self, *lines):
        raw = "".join(line + "\r\n" for line in lines)
        self.socket.sendall(raw.encode())

    def hear(self, count=1):
        """Wait for lines; return the last one."""
        while self.heard.count(b"\n") < count:
            got = self.socket.recv(4096)
            if not got:
                raise EOFError
            self.heard += got
            self.door.heard += got
        *lines, self.heard = self.heard.split(b"\n", count)
        return lines[-1].decode(errors="replace").strip()

    def secure(self, context=None):
        self.socket = (context or self.door.context).wrap_socket(
            self.socket, server_side=True
        )

    def log_in(self, *ahead):
        """Take any ticket; *ahead* are the replies to what comes together with it."""
        self.say("220 hello")
        assert self.hear() == "AUTH TLS"
        self.say("234 go on")
        self.secure()
        self.hear(5 + len(ahead))
        self.say(*LOGIN, *ahead)

    def listen(self):
        """Open a data port; return a function that waits for the connection."""
        reply, accept = self.open_port()
        self.hear(3)
        self.say(reply, "350 there")
        return accept

    def open_port(self):
        """Return what EPSV is answered with, and what waits for the connection."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(PATIENCE_S)
        self.door.sockets.append(listener)
        reply = f"229 in (|||{listener.getsockname()[1]}|)"
        return reply, lambda: Caller(listener.accept()[0], self.door)

    def send(self, accept, content):
        """Serve one transfer."""
        data = accept()
        data.secure()
        self.say("150 here")
        data.socket.sendall(content)
        data.socket.close()
        self.say("226 done")


class Door:
    """A peer that does to each caller what *script* says."""

    def __init__(self, folder, script):
        self.keys = load_or_create(folder / "door", os.urandom)
        self.renew()
        self.heard = b""
        self.failures = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets = [self.listener]
        self.script = script
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def renew(self):
        """Forget, as a door that has started anew, whom it has seen."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(
            self.keys.certificate_path, self.keys.private_key_path
        )

    def serve(self):
        while True:
            try:
                connected = self.listener.accept()[0]
            except OSError:
                return
            caller = Caller(connected, self)
            try:
                self.script(caller)
            except (OSError, EOFError):
                pass  # hung up on, as most tests want it
            except AssertionError as error:
                self.failures.append(error)
            finally:
                caller.socket.close()

    @property
    def address(self):
        return self.listener.getsockname()

    def close(self):
        # shutdown wakes accept up; close alone does not.
        self.listener.shutdown(socket.SHUT_RDWR)
        for opened in self.sockets:
            opened.close()
        self.thread.join(PATIENCE_S)
        assert not self.failures


@pytest.fixture
def context(tmp_path):
    me = load_or_create(tmp_path / "me", os.urandom)
    return client_context(me.certificate_path, me.private_key_path)


@pytest.fixture
def at(tmp_path):
    """Opens a door with a script."""
    doors = []

    def make(script):
        doors.append(Door(tmp_path, script))
        return doors[-1]

    yield make
    for door in doors:
        door.close()


def patience(stall_s=PATIENCE_S, is_cancelled=lambda: False):
    return Patience(time.monotonic, is_cancelled, stall_s)


def enter(door, context, fingerprint=None, *, ahead=False, **options):
    return Session.open(
        [door.address],
        context,
        fingerprint or door.keys.tls_fingerprint,
        CREDENTIALS,
        patience(**options),
        ahead=ahead,
    )


def shows_ticket(heard):
    ticket, secret = CREDENTIALS.words
    return b"USER" in heard or ticket in heard or secret in heard


# --- who is it --------------------------------------------------------------------


def test_a_stranger_sees_no_ticket(at, context):
    door = at(Caller.log_in)
    with pytest.raises(PeerUnreachable, match="another node's certificate"):
        enter(door, context, fingerprint=b"\0" * 32)
    assert not shows_ticket(door.heard)


def test_a_peer_without_tls_sees_no_ticket(at, context):
    def script(caller):
        caller.say("220 hello")
        caller.hear()
        caller.say("500 what is TLS?")
        caller.hear()

    door = at(script)
    with pytest.raises(SourceRefused):
        enter(door, context)
    assert not shows_ticket(door.heard)


def test_what_was_said_before_tls_began_is_not_believed_afterwards(at, context):
    def script(caller):
        caller.say("220 hello")
        caller.hear()
        caller.say("234 go on", *LOGIN)  # put there by somebody on the way
        caller.secure()
        caller.hear(5)

    door = at(script)
    with pytest.raises(PeerUnreachable, match="spoke on before TLS"):
        enter(door, context)
    assert not shows_ticket(door.heard)


def test_the_certificate_is_compared_on_the_data_connection_too(at, context, tmp_path):
    stranger = load_or_create(tmp_path / "stranger", os.urandom)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(stranger.certificate_path, stranger.private_key_path)

    def script(caller):
        caller.log_in()
        accept = caller.listen()
        caller.say("150 here it comes")
        data = accept()
        data.secure(theirs)
        data.socket.sendall(b"rubbish")
        caller.hear()

    session = enter(at(script), context)
    with pytest.raises(WrongCertificate):
        session.read_from(0)
    session.close()


@pytest.mark.parametrize(
    "reply",
    [
        "227 in (10,0,0,1,4,1)",
        "229 in (|1|10.0.0.1|1025|)",
        "229 in (|||0|)",
        "229 in (|||99999|)",
        "229 in",
    ],
)
def test_a_reply_cannot_send_us_elsewhere(at, context, reply):
    def script(caller):
        caller.log_in()
        caller.hear(3)
        caller.say(reply, "350 ok", "150 ok")
        caller.hear()

    session = enter(at(script), context)
    with pytest.raises(SourceRefused):
        session.read_from(0)
    session.close()


def serve_for_ever(reused):
    """A script: transfers until it is hung up on; *reused*: whether each resumed."""

    def script(caller):
        caller.log_in()
        while True:
            accept = caller.listen()
            data = accept()
            data.secure()
            reused.append(data.socket.session_reused)
            caller.say("150 here")
            data.socket.sendall(b"bytes")
            data.socket.close()
            caller.say("226 done")

    return script


def test_a_data_connection_resumes_the_session_and_is_recognised(at, context):
    reused = []
    session = enter(at(serve_for_ever(reused)), context)
    for _ in range(2):
        download = session.read_from(0)
        buffer = bytearray(9)
        assert download.fill(memoryview(buffer)) == 5
        assert bytes(buffer[:5]) == b"bytes"
        download.finish()
    session.close()
    assert reused == [True, True]


def test_what_a_data_connection_resumes_is_read_once_for_all_sessions_with_a_peer(
    at, context, monkeypatch
):
    reads, reused, usual = [], [], ssl.SSLSocket.session
    counted = property(lambda self: reads.append(self) or usual.fget(self))
    monkeypatch.setattr(ssl.SSLSocket, "session", counted)
    door, pool = at(serve_for_ever(reused)), SessionPool(context, time.monotonic)
    for _ in range(3):
        session = pool.borrow(
            [door.address], door.keys.tls_fingerprint, CREDENTIALS, patience()
        )
        assert [read_all(session) for _ in range(2)] == [b"bytes"] * 2
        session.close()
    assert reused == [True] * 6
    assert len(reads) == 1


def test_a_peer_that_has_started_anew_is_resumed_from_its_second_connection_on(
    at, context
):
    reused, pool = [], SessionPool(context, time.monotonic)
    door = at(serve_for_ever(reused))
    for _ in range(2):
        session = pool.borrow(
            [door.address], door.keys.tls_fingerprint, CREDENTIALS, patience()
        )
        assert [read_all(session) for _ in range(2)] == [b"bytes"] * 2
        session.close()
        door.renew()
    assert reused == [True, True, False, True]


def read_all(session):
    download, buffer = session.read_from(0), bytearray(9)
    count = download.fill(memoryview(buffer))
    download.finish()
    return bytes(buffer[:count])


def test_the_port_that_was_asked_for_with_the_ticket_is_used_once(at, context):
    def script(caller):
        reply, accept = caller.open_port()
        caller.log_in(reply)
        assert caller.hear() == "REST 0"
        assert caller.hear() == "RETR file"
        caller.say("350 there")
        caller.send(accept, b"first")
        caller.send(caller.listen(), b"second")
        caller.hear()

    session = enter(at(script), context, ahead=True)
    assert read_all(session) == b"first"
    assert read_all(session) == b"second"
    session.close()


def test_a_port_refused_ahead_or_too_old_is_asked_for_when_it_is_needed(
    at, context, monkeypatch
):
    monkeypatch.setattr("fonshare_agent.transfer.session.PORT_S", 0.0)

    for answer in ("425 none is free", "229 in (|||1|)"):  # nobody listens at 1

        def script(caller, answer=answer):
            caller.log_in(answer)
            caller.send(caller.listen(), b"bytes")
            caller.hear()

        session = enter(at(script), context, ahead=True)
        assert read_all(session) == b"bytes"
        session.close()


def test_another_ticket_may_bring_its_port_too(at, context):
    def script(caller):
        reply, accept = caller.open_port()
        caller.log_in()
        assert caller.hear().startswith("SITE TICKET ")
        assert caller.hear() == "EPSV"
        caller.say("200 taken", reply)
        assert caller.hear() == "REST 0"
        caller.hear()
        caller.say("350 there")
        caller.send(accept, b"bytes")
        caller.hear()

    session = enter(at(script), context)
    session.take_ticket(Credentials(b"u" * 16, b"r" * 16), ahead=True)
    assert read_all(session) == b"bytes"
    session.close()


def make_ready(caller):
    """Let the caller open a data connection before it says for what."""
    caller.log_in()
    reply, accept = caller.open_port()
    assert caller.hear() == "EPSV"
    caller.say(reply)
    data = accept()
    data.secure()
    return data


def give(caller, data, content):
    """Serve one transfer on a connection that is there already."""
    caller.say("125 here")
    data.socket.sendall(content)
    data.socket.close()
    caller.say("226 done")


def test_on_a_ready_connection_ticket_and_file_are_asked_for_in_one_go(at, context):
    def script(caller):
        data = make_ready(caller)
        # Without a word in between: three answers, one round trip.
        assert caller.hear().startswith("SITE TICKET ")
        assert [caller.hear(), caller.hear()] == ["REST 0", "RETR file"]
        caller.say("200 taken", "350 there")
        give(caller, data, b"first")
        caller.send(caller.listen(), b"second")
        caller.hear()

    session = enter(at(script), context)
    session.prepare()
    session.prepare()  # once is enough
    session.take_ticket(CREDENTIALS, ahead=True)
    assert read_all(session) == b"first"
    assert read_all(session) == b"second"
    session.close()


def test_who_shows_another_certificate_on_the_ready_connection_is_sent_nothing(
    at, context, tmp_path
):
    other = load_or_create(tmp_path / "other", os.urandom)
    strange = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strange.load_cert_chain(other.certificate_path, other.private_key_path)

    def script(caller):
        caller.log_in()
        reply, accept = caller.open_port()
        caller.hear()
        caller.say(reply)
        accept().secure(strange)
        caller.hear()

    door = at(script)
    session = enter(door, context)
    with pytest.raises(WrongCertificate):
        session.prepare()
    assert not session.is_ready
    session.close()
    assert b"SITE TICKET" not in door.heard


def test_a_ready_connection_that_has_gone_is_made_anew(at, context):
    def script(caller):
        make_ready(caller).socket.close()
        caller.hear(3)
        caller.say("200 taken", "350 there", "425 Use PASV or EPSV first")
        caller.send(caller.listen(), b"bytes")
        caller.hear()

    session = enter(at(script), context)
    session.prepare()
    session.take_ticket(CREDENTIALS, ahead=True)
    assert read_all(session) == b"bytes"
    session.close()


def test_a_ready_connection_is_not_believed_in_for_long(at, context, monkeypatch):
    def script(caller):
        data = make_ready(caller)
        reply, accept = caller.open_port()
        assert caller.hear().startswith("SITE TICKET ")
        assert caller.hear() == "EPSV"
        with suppress(OSError):  # it hangs up there
            assert data.socket.recv(9) == b""
        caller.say("200 taken", reply)
        caller.hear(2)
        caller.say("350 there")
        caller.send(accept, b"bytes")
        caller.hear()

    session = enter(at(script), context)
    session.prepare()
    monkeypatch.setattr("fonshare_agent.transfer.session.READY_S", 0.0)
    session.take_ticket(CREDENTIALS, ahead=True)
    assert read_all(session) == b"bytes"
    session.close()


def test_a_ticket_refused_on_a_ready_connection_is_a_refusal(at, context):
    def script(caller):
        make_ready(caller)
        caller.hear(3)
        caller.say("550 no such ticket", "350 there", "550 No ticket: it was revoked")
        caller.hear()

    session = enter(at(script), context)
    session.prepare()
    session.take_ticket(CREDENTIALS, ahead=True)
    with pytest.raises(SourceRefused, match="no such ticket"):
        session.read_from(0)
    session.close()


def test_what_is_asked_behind_a_ticket_hears_its_own_answer(at, context):
    def script(caller):
        make_ready(caller)
        assert caller.hear().startswith("SITE TICKET ")
        assert caller.hear() == "SITE HAVE"
        caller.say("200 taken", "213 gA AA")
        caller.hear()

    session = enter(at(script), context)
    session.prepare()
    session.take_ticket(CREDENTIALS, ahead=True)
    assert session.ask_maps() == (b"\x80", b"\x00")
    session.close()


# --- what may go wrong on the way -------------------------------------------------


def open_data(caller):
    """Return the caller's data connection, ready for what it is to get."""
    caller.log_in()
    accept = caller.listen()
    data = accept()
    data.secure()
    caller.say("150 here")
    return data


def serve_data(*, replies, content=b"x" * 1000, ends=True):
    """A script that sends *content* and then says *replies*."""

    def script(caller):
        data = open_data(caller)
        data.socket.sendall(content)
        if ends:
            data.socket.close()
        caller.say(*replies)
        caller.hear()

    return script


def test_more_bytes_than_the_file_has_are_refused(at, context):
    session = enter(at(serve_data(replies=["226 done"])), context)
    download = session.read_from(0)
    assert download.fill(memoryview(bytearray(900))) == 900
    with pytest.raises(SourceRefused, match="more than"):
        download.finish()
    session.close()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("450 changed: it is another file now", SourceChanged),
        ("450 the disk does not answer", SourceRefused),
        ("426 cut", ConnectionLost),
        ("550 no", SourceRefused),
        ("226 done", ConnectionLost),
    ],
)
def test_a_file_that_ends_too_soon_is_explained_by_the_peer(
    at, context, reply, expected
):
    session = enter(at(serve_data(replies=[reply])), context)
    download = session.read_from(0)
    assert download.fill(memoryview(bytearray(2000))) == 1000
    assert type(download.explain()) is expected
    session.close()


def test_a_change_noticed_after_the_last_byte_is_told(at, context):
    session = enter(at(serve_data(replies=["450 changed: late"])), context)
    download = session.read_from(0)
    download.fill(memoryview(bytearray(1000)))
    with pytest.raises(SourceChanged):
        download.finish()
    session.close()


def test_a_refusal_while_the_data_connection_stays_open_is_heard(at, context):
    def script(caller):
        caller.log_in()
        accept = caller.listen()
        caller.say("450 changed: not it")
        data = accept()
        while data.socket.recv(4096):  # never shakes hands, and stays
            pass

    session = enter(at(script), context, stall_s=3600)
    with pytest.raises(SourceChanged):
        session.read_from(0)
    session.close()


def test_a_refused_ticket_is_told_and_a_lost_session_too(at, context):
    def refuse(caller):
        caller.say("220 hello")
        caller.hear()
        caller.say("234 go on")
        caller.secure()
        caller.hear(5)
        caller.say("331 secret?", "530 no")

    def hang_up(caller):
        caller.say("220 hello")

    with pytest.raises(SourceRefused, match="530"):
        enter(at(refuse), context)
    with pytest.raises(PeerUnreachable):
        enter(at(hang_up), context)


@pytest.mark.parametrize(
    "said",
    [
        b"220 " + b"x" * 10_000,
        b"220-x\r\n" * 100,
        b"\xff\xfe\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\r\n" * 50,
        b"230 logged in\r\n",
    ],
)
def test_what_is_not_ftp_ends_soon(at, context, said):
    def script(caller):
        caller.socket.sendall(said)
        caller.hear(2)

    with pytest.raises(FonshareError):
        enter(at(script), context, stall_s=5)


def test_a_silent_peer_is_given_up_and_a_cancelled_wait_at_once(at, context):
    def script(caller):
        caller.hear(2)

    door = at(script)
    started = time.monotonic()
    with pytest.raises(PeerUnreachable, match="nothing came"):
        enter(door, context, stall_s=0.4)
    assert time.monotonic() - started > 0.3

    cancelled = []
    threading.Timer(0.2, lambda: cancelled.append(1)).start()
    with pytest.raises(TransferCancelled):
        enter(door, context, stall_s=3600, is_cancelled=lambda: bool(cancelled))


def test_data_that_stands_still_is_given_up(at, context):
    door = at(serve_data(replies=[], ends=False))
    session = enter(door, context, stall_s=0.5)
    download = session.read_from(0)
    with pytest.raises(ConnectionLost, match="nothing came"):
        download.fill(memoryview(bytearray(2000)))
    download.close()
    session.close()


def drip(count=400):
    """A script that sends one byte at a time, never silent for long."""

    def script(caller):
        data = open_data(caller)
        with suppress(OSError):  # it hangs up on us
            for _ in range(count):
                data.socket.sendall(b"x")
                time.sleep(0.05)
        data.socket.close()

    return script


def test_a_peer_that_lets_a_byte_fall_now_and_then_is_given_up(at, context):
    session = enter(at(drip()), context)
    download = session.read_from(0)
    download._pace = Pace(patience(stall_s=1.0))  # of a busy machine's silence no word
    with pytest.raises(ConnectionLost, match="hardly anything came"):
        download.fill(memoryview(bytearray(2000)))
    download.close()
    session.close()


def test_a_wait_is_cancelled_also_while_bytes_keep_falling(at, context):
    cancelled = []
    session = enter(at(drip()), context, is_cancelled=lambda: bool(cancelled))
    download = session.read_from(0)
    download.fill(memoryview(bytearray(3)))
    cancelled.append(1)
    with pytest.raises(TransferCancelled):
        download.fill(memoryview(bytearray(2000)))
    download.close()
    session.close()


def test_what_lies_ready_is_read_though_the_rest_of_what_was_gathered_lacks(
    at, context
):
    """Each record is longer than what the reader wants, and none comes behind it."""
    gone_on = threading.Event()

    def script(caller):
        data = open_data(caller)
        data.socket.sendall(b"a" * 3000)
        gone_on.wait(PATIENCE_S)
        data.socket.sendall(b"b" * 3000)
        data.socket.close()
        caller.say("226 done")

    session = enter(at(script), context)
    download = session.read_from(0)
    download.gather(128 * 1024)
    got = memoryview(bytearray(3000))
    assert download.fill(got) == 3000
    gone_on.set()
    assert download.fill(got) == 3000
    assert bytes(got) == b"b" * 3000
    download.finish()
    session.close()


REPLIES = st.lists(
    st.sampled_from(
        [
            *("220 a", "234 b", "331 c", "230 d", "200 e", "229 (|||1|)", "350 f"),
            *("150 g", "226 h", "421 i", "450 changed", "550 j", "99", "", "220-x"),
            *("\u00e9", "1 2", "abcdefg", "-", "2000 z"),
        ]
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(replies=REPLIES, seed=st.integers(0, 255))
def test_strangers_replies_end_in_an_error_of_ours_or_in_a_reply(replies, seed):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        raw = "".join(reply + "\r\n" for reply in replies).encode()
        theirs.sendall(raw + bytes([seed]))
        theirs.shutdown(socket.SHUT_WR)
        session = Session(Wire(ours, "127.0.0.1", patience()), None, b"")
        try:
            while True:
                assert session._read_reply().code >= 0
        except (ConnectionLost, SourceRefused):
            pass


def test_no_secret_shows_in_a_repr():
    assert "s" * 16 not in repr(CREDENTIALS)


# --- connecting ---------------------------------------------------------------------


def test_an_address_that_swallows_everything_only_costs_its_head_start(at, monkeypatch):
    monkeypatch.setattr(wire, "CONNECT_S", 3600)
    door = at(Caller.log_in)
    swallowing = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for one in fillers:
        one.setblocking(False)
        one.connect_ex(swallowing.getsockname())
    try:
        found, address = wire.connect(
            [swallowing.getsockname(), door.address], patience(stall_s=3600)
        )
        assert address == door.address
        found.close()
    finally:
        for one in (*fillers, swallowing):
            one.close()


def test_where_a_peer_was_is_known_once_it_has_hung_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened, _ = wire.connect([server.getsockname()], patience())
        came, _ = server.accept()
        came.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        came.close()  # by a reset
        with pytest.raises(ConnectionLost):
            opened.receive_into(memoryview(bytearray(1)))
    assert opened.peer == "127.0.0.1"
    opened.close()


def test_connecting_nowhere_is_given_up_in_time_and_leaves_nothing_open(monkeypatch):
    monkeypatch.setattr(wire, "CONNECT_S", 0.3)
    before = len(os.listdir("/proc/self/fd"))
    for addresses in ([], [("127.0.0.1", 1)], [("::1", 1), ("no address", 5)]):
        with pytest.raises(PeerUnreachable):
            wire.connect(addresses, patience())
    assert len(os.listdir("/proc/self/fd")) == before


# --- the pool -------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def stay_on(caller):
    """Log in, then answer tickets and NOOPs."""
    caller.log_in()
    while line := caller.hear():
        caller.say("200 ok" if line.startswith(("SITE TICKET", "NOOP")) else "500 ?")


def test_idle_sessions_are_kept_alive_bounded_and_ended(at, context):
    door = at(stay_on)
    clock = Clock()
    pool = SessionPool(context, clock)
    session = pool.borrow(
        [door.address], door.keys.tls_fingerprint, CREDENTIALS, patience()
    )
    pool.give_back(session)
    session.used_at = clock.now
    pool.tend()
    assert b"NOOP" not in door.heard
    clock.now += NOOP_S
    pool.tend()
    assert door.heard.count(b"NOOP") == 1
    assert (
        pool.borrow([], door.keys.tls_fingerprint, CREDENTIALS, patience()) is session
    )
    assert b"SITE TICKET" in door.heard

    pool.give_back(session)
    clock.now += IDLE_S
    pool.tend()
    with pytest.raises(PeerUnreachable):
        pool.borrow([], door.keys.tls_fingerprint, CREDENTIALS, patience())


def test_an_idle_session_keeps_nothing_of_who_used_it(at, context):
    class Task:
        is_cancelled = False

    door, pool, task = at(stay_on), SessionPool(context, Clock()), Task()
    waits = Patience(time.monotonic, lambda task=task: task.is_cancelled, PATIENCE_S)
    session = pool.borrow([door.address], door.keys.tls_fingerprint, CREDENTIALS, waits)
    pool.give_back(session)
    used = weakref.ref(task)
    del task, waits
    gc.collect()
    assert used() is None
    pool.close()


def test_a_session_with_one_peer_is_never_used_for_another(at, context):
    door = at(stay_on)
    pool = SessionPool(context, Clock())
    pool.give_back(enter(door, context))
    with pytest.raises(PeerUnreachable):
        pool.borrow([], b"\1" * 32, CREDENTIALS, patience())
    pool.close()


def test_only_a_few_sessions_are_kept(context):
    class Idle:
        fingerprint, is_closed = b"", False

        def close(self):
            self.is_closed = True

        def be_patient(self, patience):
            pass

    pool = SessionPool(context, Clock())
    idle = [Idle() for _ in range(IDLE_MAX + 2)]
    for one in idle:
        pool.give_back(one)
    assert [one.is_closed for one in idle] == [True, True] + [False] * IDLE_MAX
    pool.close()
    assert all(one.is_closed for one in idle)


def test_who_wants_a_session_waits_for_the_one_that_is_being_prepared(at, context):
    asked, go_on = threading.Event(), threading.Event()

    def script(caller):
        caller.log_in()
        reply, accept = caller.open_port()
        assert caller.hear() == "EPSV"
        asked.set()
        assert go_on.wait(PATIENCE_S)
        caller.say(reply)
        data = accept()
        data.secure()
        caller.hear(3)
        caller.say("200 taken", "350 there")
        give(caller, data, b"bytes")
        caller.hear()

    door, pool = at(script), SessionPool(context, Clock())
    peer, got = door.keys.tls_fingerprint, list[bytes]()
    pool.prepare(peer, patience())  # there is none: nothing happens
    pool.give_back(enter(door, context))
    preparing = threading.Thread(target=pool.prepare, args=(peer, patience()))
    preparing.start()
    assert asked.wait(PATIENCE_S)
    pool.prepare(peer, patience())  # that is being done

    def borrow():  # nobody is at this address: another session would fail
        session = pool.borrow([], peer, CREDENTIALS, patience(), ahead=True)
        got.append(read_all(session))
        session.close()

    borrowing = threading.Thread(target=borrow)
    borrowing.start()
    go_on.set()
    preparing.join(PATIENCE_S)
    borrowing.join(PATIENCE_S)
    assert got == [b"bytes"]


def test_a_session_found_dead_when_it_is_prepared_is_not_kept(at, context):
    def script(caller):
        caller.log_in()
        caller.hear()

    door, pool = at(script), SessionPool(context, Clock())
    peer = door.keys.tls_fingerprint
    pool.give_back(enter(door, context))
    with pytest.raises(ConnectionLost):
        pool.prepare(peer, patience())
    with pytest.raises(PeerUnreachable):
        pool.borrow([], peer, CREDENTIALS, patience())
