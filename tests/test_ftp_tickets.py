"""The friends' door: who redeems what, on which connection, and for how long."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fonshare_agent.errors import TicketRefused
from fonshare_agent.ftp import friends, server, tickets
from fonshare_agent.ftp.tickets import (
    BUNDLES_OF_ONE_MAX,
    REDEEM_WITHIN_S,
    TICKETS_OF_ONE_MAX,
    Bundle,
    FileStamp,
    Ticket,
    TicketDesk,
    parse_base32,
    secret_hash,
)
from fonshare_agent.ftp.tls import fingerprint
from fonshare_agent.model import GroupId, NodeId, SharePath, base32
from ftp_service import (
    Lines,
    Served,
    certificate_der,
    make_certificate,
    serving,
)
from leftovers import Belongings
from waiting import PATIENCE_S, wait_until

PairOfFiles = tuple[Path, Path]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, PairOfFiles]:
    folder = tmp_path_factory.mktemp("nodes")
    names = ("server", "anna", "berta")
    return {name: make_certificate(folder, name, "ed25519") for name in names}


@dataclass
class Door:
    """The friends' door, and the nodes Anna and Berta before it."""

    served: Served
    certificates: dict[str, PairOfFiles]
    file: Path
    made: int = 0
    opened: list[int] = field(default_factory=list)

    def context(self, name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the client's pinning is not tested here
        if name is not None:
            context.load_cert_chain(*self.certificates[name])
        return context

    def fingerprint(self, name: str) -> bytes:
        return fingerprint(certificate_der(self.certificates[name][0]))

    def grant(self, name: str = "anna", **changes: Any) -> tuple[Ticket, bytes]:
        self.made += 1
        secret = bytes([self.made]) * 16
        direction = changes.get("direction", "read")
        flags = os.O_RDONLY if direction == "read" else os.O_RDWR | os.O_CREAT

        def opener() -> int:
            self.opened.append(os.open(self.file, flags))
            return self.opened[-1]

        facts: dict[str, Any] = {
            "id": bytes([200 - self.made]) * 16,
            "secret_hash": secret_hash(secret),
            "peer": NodeId(bytes(32)),
            "peer_fingerprint": self.fingerprint(name),
            "group": GroupId(bytes(32)),
            "job": "1",
            "share": "Films",
            "path": SharePath.parse("a"),
            "direction": "read",
            "size": self.file.stat().st_size if self.file.exists() else 0,
            "root": None,
            "block_size": 131072,
            "opener": opener,
        }
        ticket = Ticket(**(facts | changes))
        self.served.desk.grant(ticket)
        return ticket, secret

    def connect(self, name: str | None = "anna") -> "Friend":
        lines = Lines(self.served.service.friends_port)
        assert lines.reply().startswith("220")
        assert lines.code("AUTH TLS") == "234"
        friend = Friend(lines, self.context(name))
        lines.secure(friend.context)
        return friend

    def enter(self, ticket: Ticket, secret: bytes, name: str = "anna") -> "Friend":
        friend = self.connect(name)
        assert friend.login(ticket, secret) == "230"
        assert friend.lines.code("PBSZ 0") == "200"
        assert friend.lines.code("PROT P") == "200"
        return friend


@dataclass
class Friend:
    """One session of a friend's."""

    lines: Lines
    context: ssl.SSLContext

    def login(self, ticket: Ticket, secret: bytes) -> str:
        self.lines.ask(f"USER {base32(ticket.id)}")
        return self.lines.code(f"PASS {base32(secret)}")

    def open_data(
        self, command: str, rest: int = 0, context: ssl.SSLContext | None = None
    ) -> ssl.SSLSocket:
        port = self.lines.epsv()
        raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        assert self.lines.code(f"REST {rest}") == "350"
        self.lines.send(command)
        reply = self.lines.reply()
        assert reply[:3] in ("125", "150"), reply
        return (context or self.context).wrap_socket(raw)

    def read(self, rest: int = 0) -> tuple[bytes, str]:
        data = self.open_data("RETR file", rest)
        got = data.makefile("rb").read()
        data.close()
        return got, self.lines.reply()

    def write(self, content: bytes, rest: int = 0) -> str:
        data = self.open_data("STOR file", rest)
        data.sendall(content)
        data.unwrap().close()
        return self.lines.reply()

    def refusal(self, command: str) -> str:
        self.lines.epsv()
        return self.lines.ask(command)


@pytest.fixture
def door(tmp_path: Path, certificates) -> Iterator[Door]:
    with serving(tmp_path, friends_certificate=certificates["server"]) as served:
        for name in ("anna", "berta"):
            served.service.trust_peer(certificate_der(certificates[name][0]))
        file = served.disk / "a"
        file.write_bytes(os.urandom(1 << 20))
        yield Door(served, certificates, file)


# --- reading and writing


def test_ranges_of_one_file_are_read_in_one_session(door):
    content = door.file.read_bytes()
    friend = door.enter(*door.grant())

    assert friend.lines.ask("SIZE file") == f"213 {len(content)}"
    for rest in (0, 1, 500_000, len(content)):
        got, reply = friend.read(rest)
        assert got == content[rest:]
        assert reply.startswith("226")
    for fd in door.opened:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


def test_a_client_may_close_a_range_early_again_and_again(door):
    with door.file.open("r+b") as file:
        file.truncate(1 << 30)
    friend = door.enter(*door.grant())
    for _ in range(4):
        data = friend.open_data("RETR file", 1 << 20)
        assert data.recv(5) == bytes(5)
        data.close()
        assert friend.lines.reply().startswith("426")
    data = friend.open_data("RETR file")
    data.recv(5)
    friend.lines.send("ABOR")
    assert friend.lines.reply().startswith("426")
    assert friend.lines.reply().startswith("226")
    assert friend.lines.ask("ABOR").startswith("225")
    assert friend.lines.code("NOOP") == "200"


def test_a_push_writes_where_it_says_and_never_shortens(door):
    told = []
    ticket, secret = door.grant(
        direction="write", size=1 << 20, on_written=lambda *at: told.append(at)
    )
    before = door.file.read_bytes()
    friend = door.enter(ticket, secret)

    assert friend.write(b"hello", 70_000).startswith("226")

    after = door.file.read_bytes()
    assert after == before[:70_000] + b"hello" + before[70_005:]
    assert told == [(70_000, 5)]
    assert friend.write(b"", 0).startswith("226")
    assert door.file.read_bytes() == after


def test_a_push_beyond_the_tickets_size_is_refused(door):
    ticket, secret = door.grant(direction="write", size=1 << 20)
    friend = door.enter(ticket, secret)

    data = friend.open_data("STOR file", (1 << 20) - 4)
    with suppress(OSError):  # the server may be quicker
        data.sendall(b"12345678")
        data.unwrap()
    data.close()
    assert friend.lines.reply().startswith("552")
    assert door.file.stat().st_size == 1 << 20
    assert door.file.read_bytes().endswith(b"1234")  # up to the end all is well
    friend.lines.ask(f"REST {(1 << 20) + 1}")
    assert friend.lines.ask("STOR file").startswith("554")


def test_a_long_push_beyond_the_end_writes_nothing_there(door):
    ticket, secret = door.grant(direction="write", size=1 << 20)
    friend = door.enter(ticket, secret)
    data = friend.open_data("STOR file", 0)
    with pytest.raises(OSError, match=r"."):
        data.sendall(bytes(64 << 20))
    data.close()
    assert friend.lines.reply().startswith("552")
    assert door.file.stat().st_size == 1 << 20


def test_a_ticket_is_for_one_direction(door):
    reader = door.enter(*door.grant())
    assert reader.refusal("STOR file").startswith("550")
    writer = door.enter(*door.grant(direction="write"))
    assert writer.refusal("RETR file").startswith("550")


@pytest.mark.parametrize("name", ["a", "FILE", "file2", "/file", "../a", "file/"])
def test_there_is_no_other_name_than_file(door, name):
    friend = door.enter(*door.grant())
    for command in ("RETR", "SIZE"):
        assert friend.refusal(f"{command} {name}").startswith("553")


def test_a_file_that_is_not_the_granted_one_is_told_as_changed(door):
    stamp = FileStamp.of(door.file.stat())
    friend = door.enter(*door.grant(recorded=stamp))
    assert friend.read(10)[1].startswith("226")

    os.utime(door.file, ns=(1, 1))
    assert friend.refusal("RETR file").startswith("450 changed")
    with door.file.open("ab") as file:
        file.write(b"x")
    assert friend.refusal("RETR file").startswith("450 changed")


def test_a_file_that_changes_while_it_is_read_is_told_as_changed(door):
    with door.file.open("r+b") as file:
        file.truncate(64 << 20)
    friend = door.enter(*door.grant())
    data = friend.open_data("RETR file")
    data.recv(5)
    os.utime(door.file, ns=(1, 1))
    while data.recv(1 << 20):
        pass
    data.close()
    assert friend.lines.reply().startswith("450 changed")
    assert friend.lines.code("NOOP") == "200"


# --- who


def test_without_a_certificate_the_connection_is_closed_unread(door):
    door.grant()
    assert door.connect(None).lines.is_closed()


def test_a_certificate_that_has_no_ticket_is_closed_unread(door):
    door.grant("anna")
    assert door.connect("berta").lines.is_closed()


def test_a_certificate_nobody_trusts_does_not_pass_the_handshake(door, tmp_path):
    door.grant()
    door.certificates = door.certificates | {
        "eve": make_certificate(tmp_path, "eve", "ed25519")
    }
    with suppress(ssl.SSLError):
        assert door.connect("eve").lines.is_closed()


def test_another_peers_ticket_is_refused(door):
    ticket, secret = door.grant("anna")
    door.grant("berta")
    thief = door.connect("berta")
    assert thief.login(ticket, secret) == "530"
    assert door.enter(ticket, secret).read()[1].startswith("226")


def test_a_wrong_secret_is_refused(door):
    ticket, secret = door.grant()
    friend = door.connect()
    assert friend.login(ticket, bytes(16)) == "530"
    assert friend.login(ticket, secret) == "230"


def test_nothing_is_heard_before_tls(door):
    ticket, secret = door.grant()
    lines = Lines(door.served.service.friends_port)
    lines.reply()
    assert lines.code(f"USER {base32(ticket.id)}") == "530"
    assert lines.code(f"PASS {base32(secret)}") == "530"


def test_the_owners_password_means_nothing_here(door):
    door.grant()
    friend = door.connect()
    assert friend.lines.code("USER owner") == "331"
    assert friend.lines.code("PASS geheim") == "530"


@pytest.mark.parametrize(
    "command",
    [
        *["LIST", "NLST", "MLSD", "MLST", "STAT", "CWD /", "PWD", "MKD x", "DELE file"],
        *["RNFR file", "APPE file", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51200|"],
        *["SITE CHMOD 777 file", "SITE HELP", "MDTM file", "HELP", "OPTS UTF8 ON"],
        "SYST",
    ],
)
def test_other_commands_do_not_exist_here(door, command):
    friend = door.enter(*door.grant())
    assert friend.lines.code(command) == "500"


def test_only_binary_and_only_protected(door):
    friend = door.enter(*door.grant())
    assert friend.lines.code("TYPE A") == "504"
    assert friend.lines.code("TYPE I") == "200"
    assert friend.lines.code("PROT C") == "536"
    again = door.connect()
    assert again.lines.code("EPSV") == "530"


def test_data_without_protection_is_refused(door):
    ticket, secret = door.grant()
    friend = door.connect()
    friend.login(ticket, secret)
    assert friend.lines.code("EPSV") == "521"


@pytest.mark.parametrize("who", ["berta", None])
def test_a_data_connection_with_another_certificate_gets_nothing(door, who):
    friend = door.enter(*door.grant())
    door.grant("berta")
    port = friend.lines.epsv()
    friend.lines.send("RETR file")
    assert friend.lines.reply().startswith("150")
    stranger = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    with suppress(OSError), door.context(who).wrap_socket(stranger) as data:
        assert data.recv(1) == b""
    # The port still waits for the right one.
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as raw:
        data = friend.context.wrap_socket(raw)
        assert data.makefile("rb").read() == door.file.read_bytes()
        data.close()
    assert friend.lines.reply().startswith("226")


def test_a_resumed_session_still_shows_whose_it_is(door):
    """Resumption skips the certificates; OpenSSL must remember the one it saw."""
    ticket, secret = door.grant("anna")
    lines = Lines(door.served.service.friends_port)
    lines.reply()
    lines.ask("AUTH TLS")
    friend = Friend(lines, door.context("anna"))
    lines.secure(friend.context)
    friend.login(ticket, secret)
    lines.ask("PBSZ 0")
    lines.ask("PROT P")
    session = lines.socket.session
    assert session is not None
    assert session.has_ticket

    port = lines.epsv()
    lines.send("RETR file")
    lines.reply()
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    data = friend.context.wrap_socket(raw, session=session)
    assert data.makefile("rb").read() == door.file.read_bytes()
    assert data.session_reused
    data.close()
    assert lines.reply().startswith("226")


def test_a_session_resumed_from_anothers_connection_is_not_that_other(door):
    """Berta cannot bring a session of her own to Anna's passive port."""
    anna = door.enter(*door.grant("anna"))
    berta = door.enter(*door.grant("berta"), "berta")
    port = anna.lines.epsv()
    anna.lines.send("RETR file")
    anna.lines.reply()
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    data = berta.context.wrap_socket(raw, session=berta.lines.socket.session)
    assert data.session_reused
    with suppress(OSError):
        assert data.recv(1) == b""
    data.close()
    assert anna.lines.ask("ABOR").startswith("426")


# --- sessions


def test_a_ticket_belongs_to_the_session_that_redeemed_it(door):
    ticket, secret = door.grant()
    first = door.enter(ticket, secret)
    second = door.connect()
    assert second.login(ticket, secret) == "530"
    assert first.read()[1].startswith("226")
    first.lines.close()
    wait_until(
        lambda: not door.served.desk.live(), "the ticket to die with its session"
    )


def test_site_ticket_adds_another_and_makes_it_current(door, tmp_path):
    friend = door.enter(*door.grant())
    other = tmp_path / "other"
    other.write_bytes(b"other")
    ticket, secret = door.grant(opener=lambda: os.open(other, os.O_RDONLY), size=5)
    line = f"SITE TICKET {base32(ticket.id)} {base32(secret)}"

    assert friend.lines.code(line) == "200"
    assert friend.read()[0] == b"other"
    assert friend.lines.code(line) == "200"  # switching back and forth is free
    assert friend.lines.code(line[:-1]) == "550"
    assert friend.read()[0] == b"other"


def test_site_ticket_takes_no_other_peers_ticket(door):
    friend = door.enter(*door.grant("anna"))
    ticket, secret = door.grant("berta")
    line = f"SITE TICKET {base32(ticket.id)} {base32(secret)}"
    assert friend.lines.code(line) == "550"
    assert len(friend.read()[0]) == 1 << 20


def test_a_ticket_nobody_redeems_in_time_is_dead(door):
    ticket, secret = door.grant()
    door.served.now[0] = REDEEM_WITHIN_S - 1
    late, late_secret = door.grant()
    door.served.now[0] = REDEEM_WITHIN_S
    friend = door.connect()
    assert friend.login(ticket, secret) == "530"
    assert friend.login(late, late_secret) == "230"
    door.served.now[0] = 10 * REDEEM_WITHIN_S  # a redeemed one lives on
    door.grant()  # which clears the desk of what is too old
    friend.lines.ask("PBSZ 0")
    friend.lines.ask("PROT P")
    assert friend.read()[1].startswith("226")


def test_rights_are_asked_for_again_at_every_range(door):
    ticket, secret = door.grant()
    friend = door.enter(ticket, secret)
    assert friend.read()[1].startswith("226")
    door.served.forbidden.add(ticket.id)
    assert friend.refusal("RETR file").startswith("550")
    writable, secret = door.grant(direction="write")
    friend.lines.ask(f"SITE TICKET {base32(writable.id)} {base32(secret)}")
    door.served.forbidden.add(writable.id)
    assert friend.refusal("STOR file").startswith("550")
    door.served.forbidden.clear()
    friend.lines.epsv()
    assert friend.write(b"x").startswith("226")


def test_revoking_ends_a_running_transfer_at_once(door):
    with door.file.open("r+b") as file:
        file.truncate(1 << 30)
    ticket, secret = door.grant()
    friend = door.enter(ticket, secret)
    data = friend.open_data("RETR file")
    data.recv(5)

    assert door.served.desk.revoke(lambda each: each.job == "1") == 1

    friend.lines.socket.settimeout(1.0)
    assert friend.lines.reply().startswith("426")
    assert friend.lines.reply().startswith("421")
    data.close()
    again = door.connect()
    assert again.lines.is_closed()


def test_a_session_whose_ticket_is_done_with_takes_the_next_one(door):
    ticket, secret = door.grant()
    friend = door.enter(ticket, secret)
    assert friend.read()[1].startswith("226")
    assert door.served.desk.retire(lambda each: each.job == "1") == 1
    wait_until(lambda: friend.refusal("RETR file").startswith("550"), "its end")
    following, its_secret = door.grant(job="2")
    line = f"SITE TICKET {base32(following.id)} {base32(its_secret)}"
    assert friend.lines.code(line) == "200"
    assert friend.read()[1].startswith("226")


def test_revoking_one_ticket_leaves_the_session_its_others(door):
    kept, kept_secret = door.grant()
    friend = door.enter(kept, kept_secret)
    lost, lost_secret = door.grant(job="2")
    friend.lines.ask(f"SITE TICKET {base32(lost.id)} {base32(lost_secret)}")

    door.served.desk.revoke(lambda each: each.job == "2")
    wait_until(lambda: friend.refusal("RETR file").startswith("550"), "the end")
    line = f"SITE TICKET {base32(kept.id)} {base32(kept_secret)}"
    assert friend.lines.code(line) == "200"
    assert friend.read()[1].startswith("226")


def test_a_revocation_while_the_file_is_opened_is_in_time(door):
    held, gate = threading.Event(), threading.Event()

    def opener() -> int:
        held.set()
        assert gate.wait(PATIENCE_S)
        return os.open(door.file, os.O_RDONLY)

    ticket, secret = door.grant(opener=opener)
    kept = door.grant(job="2")
    friend = door.enter(*kept)
    friend.lines.ask(f"SITE TICKET {base32(ticket.id)} {base32(secret)}")
    friend.lines.epsv()
    friend.lines.send("RETR file")
    assert held.wait(PATIENCE_S)
    door.served.desk.revoke(lambda each: each.job == "1")
    gate.set()
    assert friend.lines.reply().startswith("550")


def test_idle_sessions_end_and_active_ones_do_not(door, monkeypatch):
    with door.file.open("r+b") as file:
        file.truncate(1 << 30)
    idle = door.enter(*door.grant())
    active = door.enter(*door.grant())
    data = active.open_data("RETR file")
    assert idle.lines.code("NOOP") == "200"
    # Counted from the last command on, so no slow login comes to be taken for rest; the
    # timers that run are those of the longer time, so they are made to look at once.
    monkeypatch.setattr(friends.FriendSession, "timeout", 1.0)
    service = door.served.service
    service._loop.post(
        lambda: [each.handle_timeout() for each in list(service._friends.sessions)]
    )
    assert idle.lines.reply().startswith("421")
    assert idle.lines.is_closed()
    assert len(data.recv(5)) == 5
    active.lines.send("ABOR")
    assert active.lines.reply().startswith("426")
    data.close()


def test_stopping_waits_for_a_write_that_is_under_way(door, monkeypatch):
    """Else the file stays open, and nobody hears how far the push had come."""

    def on_written(offset: int, length: int) -> None:
        assert stopping.wait(PATIENCE_S)
        with suppress(OSError):  # until the doors are closed
            while True:
                address = ("127.0.0.1", door.served.service.friends_port)
                socket.create_connection(address, PATIENCE_S).close()
        seen.append(length)

    seen: list[int] = []
    stopping = threading.Event()
    monkeypatch.setattr(server, "SETTLE_S", PATIENCE_S)
    grant = door.grant(direction="write", size=5, on_written=on_written)
    friend = door.enter(*grant)
    data = friend.open_data("STOR file")
    data.sendall(b"bytes")
    data.close()
    friend.lines.close()
    wait_until(lambda: door.served.service.open_connections() == 0, "the end")
    stopping.set()
    door.served.service.stop()
    assert seen == [5]
    assert str(door.file) not in {what for _, what in Belongings.now().files}


def test_forgetting_a_certificate_shuts_it_out(door):
    door.grant("anna")
    door.grant("berta")
    berta = certificate_der(door.certificates["berta"][0])
    door.served.service.trust_only([fingerprint(berta)])
    with suppress(ssl.SSLError):
        assert door.connect("anna").lines.is_closed()
    assert door.connect("berta").lines.code("NOOP") == "200"


# --- the desk by itself


def desk_with(clock: Callable[[], float] = lambda: 0.0) -> TicketDesk:
    return TicketDesk(clock, lambda ticket: True)


def some_ticket(number: int) -> Ticket:
    return Ticket(
        id=number.to_bytes(16, "big"),
        secret_hash=secret_hash(b"s" * 16),
        peer=NodeId(bytes(32)),
        peer_fingerprint=b"p" * 32,
        group=GroupId(bytes(32)),
        job="1",
        share="s",
        path=SharePath.parse("a"),
        direction="read",
        size=0,
        root=None,
        block_size=131072,
        opener=lambda: -1,
    )


def test_a_full_desk_refuses_and_recovers_with_time(monkeypatch):
    monkeypatch.setattr(tickets, "TICKETS_MAX", 3)
    now = [0.0]
    desk = desk_with(lambda: now[0])
    for number in range(3):
        desk.grant(some_ticket(number))
    with pytest.raises(TicketRefused):
        desk.grant(some_ticket(3))
    now[0] = REDEEM_WITHIN_S
    desk.grant(some_ticket(3))
    assert [ticket.id[-1] for ticket in desk.live()] == [3]


def test_one_peer_cannot_take_the_places_of_all_others():
    desk, session = desk_with(), object()
    for number in range(TICKETS_OF_ONE_MAX):
        desk.grant(some_ticket(number))
    desk.redeem(bytes(16), b"s" * 16, b"p" * 32, session)
    desk.grant(some_ticket(1000))  # in the place of the oldest that it left unused
    granted = {int.from_bytes(ticket.id, "big") for ticket in desk.live()}
    assert granted == {0, 1000, *range(2, TICKETS_OF_ONE_MAX)}
    desk.grant(replace(some_ticket(2000), peer=NodeId(b"o" * 32)))
    for ticket in desk.live():
        desk.redeem(ticket.id, b"s" * 16, b"p" * 32, session)
    with pytest.raises(TicketRefused):
        desk.grant(some_ticket(1001))


def test_of_bundles_one_peer_has_few():
    desk, bundle = desk_with(), Bundle((1,) * 256, lambda index: -1)
    desk.grant(some_ticket(0))
    for number in range(1, 2 + BUNDLES_OF_ONE_MAX):
        desk.grant(replace(some_ticket(number), bundle=bundle))
    granted = {int.from_bytes(ticket.id, "big") for ticket in desk.live()}
    assert granted == {0, *range(2, 2 + BUNDLES_OF_ONE_MAX)}


@pytest.mark.parametrize("raw", [b"", b"garbage", b"\x30\x03\x02\x01\x05"])
def test_what_is_no_certificate_is_refused_and_the_door_stays_open(door, raw):
    with pytest.raises(TicketRefused):
        door.served.service.trust_peer(raw)
    door.grant("anna")
    assert door.connect("anna").lines.code("NOOP") == "200"


def test_secrets_do_not_show_in_a_tickets_text():
    assert "secret" not in repr(some_ticket(1))
    assert secret_hash(b"s" * 16).hex() not in repr(some_ticket(1))


@pytest.mark.parametrize("text", ["", "a", "é", "A" * 25, "1" * 26, "a" * 27, " " * 26])
def test_what_is_not_a_tickets_text_is_nothing(text):
    assert parse_base32(text, 16) is None


def test_the_text_of_a_ticket_makes_the_round_trip():
    assert parse_base32(base32(bytes(range(16))), 16) == bytes(range(16))
