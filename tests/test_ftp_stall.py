"""A disk that stalls stalls nobody but its own sessions. No sleeps: a gate holds it."""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fonshare_agent.ftp import server, streams
from fonshare_agent.ftp.streams import Buffers, FileSource, ListingSource
from fonshare_agent.ftp.workers import Outcome, WorkerFailed, WorkerPool
from ftp_service import Lines, Served, serving, size_aside, store
from waiting import PATIENCE_S, wait_until


class Gate:
    """Holds calls of the operating system that concern one name, until opened."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.has_let_go = False
        self._opened = threading.Event()

    def pass_by(self) -> None:
        self.held.set()
        is_opened = self._opened.wait(PATIENCE_S)
        self.has_let_go = True
        assert is_opened

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as it:
        yield it


@pytest.fixture
def gate() -> Iterator[Gate]:
    it = Gate()
    yield it
    it.open()


def hold(monkeypatch, gate: Gate, call: str, name: bytes | None = None) -> None:
    """Let ``os.<call>`` stall, for *name* only if given, off the loop or on it."""
    real = getattr(os, call)

    def stalling(path, *args, **kwargs):
        if name is None or path == name:
            gate.pass_by()
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, call, stalling)


CASES = [
    ("open", b"slow", "RETR slow"),
    ("open", b"folder", "LIST folder"),
    ("stat", b"slow", "SIZE slow"),
    ("stat", b"slow", "MLST slow"),
    ("mkdir", b"slow2", "MKD slow2"),
    ("unlink", b"slow", "DELE slow"),
    ("rmdir", b"folder", "RMD folder"),
    ("rename", b"slow", "RNTO new"),
    ("scandir", None, "LIST"),
    ("scandir", None, "NLST"),
    ("scandir", None, "MLSD"),
    ("fsync", None, "STOR new"),
]


@pytest.mark.parametrize(("call", "name", "command"), CASES)
def test_another_session_is_served_while_the_disk_stalls(
    served, monkeypatch, gate, call, name, command
):
    (served.disk / "slow").write_bytes(b"content")
    (served.disk / "folder").mkdir()
    stalled = served.raw().login()
    if command.startswith("RNTO"):
        stalled.ask("RNFR slow")
    data = None
    if command.split()[0] in ("RETR", "LIST", "NLST", "MLSD", "STOR"):
        data = stalled.data()
    hold(monkeypatch, gate, call, name)
    stalled.send(command)
    if data and command.startswith("STOR"):
        data.close()
    assert gate.held.wait(PATIENCE_S), "the command did not reach the disk"

    other = served.raw().login()
    for line, code in (
        ("PWD", "257"),
        ("FEAT", "211"),
        ("EPSV", "229"),
        ("NOOP", "200"),
    ):
        assert other.code(line) == code
    if call not in ("scandir", "fsync"):
        assert store(served.login(), "quick", b"x").startswith("226")
        assert other.code("SIZE quick") == "213"

    stalled.send("NOOP")  # held back behind the stalled command
    gate.open()
    if data and not command.startswith("STOR"):
        data.makefile("rb").read()
    codes = [stalled.reply()[:3]]
    while codes[-1] != "200":
        codes.append(stalled.reply()[:3])
    assert codes[-2] in ("226", "213", "250", "257"), codes


def test_a_password_is_checked_while_every_worker_waits_for_the_disk(
    tmp_path, monkeypatch, gate
):
    with serving(tmp_path, file_workers=2) as served:
        (served.disk / "slow").write_bytes(b"content")
        hold(monkeypatch, gate, "stat", b"slow")
        stalled = [served.raw().login() for _ in range(3)]  # one waits for a worker
        for session in stalled:
            session.send("SIZE slow")
        assert gate.held.wait(PATIENCE_S)

        other = served.raw()
        assert other.reply().startswith("220")
        assert other.code("USER owner") == "331"
        assert other.code("PASS wrong") == "530"
        assert other.code("USER owner") == "331"
        assert other.code("PASS geheim") == "230"
        gate.open()
        assert [session.reply()[:3] for session in stalled] == ["213"] * 3


def test_reading_a_file_that_is_not_cached_stalls_only_its_own_session(
    served, monkeypatch, gate
):
    content = os.urandom(3 << 20)
    (served.disk / "film").write_bytes(content)
    monkeypatch.setattr(streams, "RWF_NOWAIT", None)  # nothing is in the cache
    hold(monkeypatch, gate, "posix_fadvise")
    stalled = served.raw().login()
    data = stalled.data()
    stalled.send("RETR film")
    assert gate.held.wait(PATIENCE_S)

    assert served.login().nlst() == ["film"]
    gate.open()
    assert data.makefile("rb").read() == content


def test_writing_to_a_slow_disk_stops_the_sender_not_the_loop(
    served, monkeypatch, gate
):
    hold(monkeypatch, gate, "pwrite")
    stalled = served.raw().login()
    data = stalled.data()
    stalled.send("STOR film")
    content = os.urandom(4 << 20)
    sender = threading.Thread(target=lambda: (data.sendall(content), data.close()))
    sender.start()
    assert gate.held.wait(PATIENCE_S)

    assert served.login().nlst() == []
    gate.open()
    sender.join(PATIENCE_S)
    assert stalled.reply()[:3] in ("125", "150")
    assert stalled.reply().startswith("226")
    assert (served.disk / "film").read_bytes() == content


def test_abor_sent_ahead_of_a_stalled_open_ends_the_transfer(served, monkeypatch, gate):
    with (served.disk / "film").open("wb") as film:
        film.truncate(1 << 30)
    hold(monkeypatch, gate, "open", b"film")
    lines = served.raw().login()
    data = lines.data()
    lines.send("RETR film", "ABOR", "NOOP")
    assert gate.held.wait(PATIENCE_S)
    gate.open()
    codes = [lines.reply()[:3] for _ in range(4)]
    assert codes in (["125", "426", "226", "200"], ["150", "426", "226", "200"])
    data.close()


def test_a_session_that_ends_while_its_file_is_opened_leaves_no_descriptor(
    served, monkeypatch, gate
):
    (served.disk / "film").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    hold(monkeypatch, gate, "open", b"film")
    lines = served.raw().login()
    lines.send("EPSV", "RETR film")
    assert gate.held.wait(PATIENCE_S)
    lines.close()
    wait_until(lambda: served.service.open_connections() == 0, "the session to end")
    gate.open()
    wait_until(
        lambda: len(os.listdir("/proc/self/fd")) <= before + 1, "the file to close"
    )


def test_a_client_that_goes_while_its_upload_is_synced_leaves_no_file(
    served, monkeypatch, gate
):
    hold(monkeypatch, gate, "fsync")
    lines = served.raw().login()
    data = lines.data()
    lines.send("STOR film")
    data.sendall(b"half of it")
    data.close()
    assert gate.held.wait(PATIENCE_S)
    lines.close()
    wait_until(lambda: served.service.open_connections() == 0, "the session to end")
    gate.open()

    owner = served.login()
    wait_until(lambda: owner.sendcmd("NOOP") and _is_idle(served), "the worker")
    assert not (served.disk / "film").exists()
    assert owner.size("film") == 10


def test_who_calls_again_while_the_cut_upload_is_synced_goes_on_with_it(
    served, monkeypatch, gate
):
    hold(monkeypatch, gate, "fsync")
    cut_off = served.raw().login()
    data = cut_off.data()
    cut_off.send("STOR film")
    assert cut_off.reply()[:3] in ("125", "150")
    content = os.urandom(1 << 20)
    data.sendall(content[: 600 << 10])
    wait_until(lambda: size_aside(served.disk) > 0, "some bytes on the disk")
    linger = struct.pack("ii", 1, 0)  # closing then resets: the line broke
    data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    data.close()
    cut_off.close()
    assert gate.held.wait(PATIENCE_S)

    again = served.raw().login()
    again.send("SIZE film")
    gate.open()
    code, here = again.reply().split()
    assert code == "213"
    data = again.data()
    again.send(f"REST {here}", "STOR film")
    data.sendall(content[int(here) :])
    data.close()
    codes = [again.reply()[:3] for _ in range(3)]
    assert codes in (["350", "125", "226"], ["350", "150", "226"])
    assert (served.disk / "film").read_bytes() == content


def test_a_second_upload_to_a_name_waits_while_the_first_is_synced(
    served, monkeypatch, gate
):
    hold(monkeypatch, gate, "fsync")
    first, second = served.raw().login(), served.raw().login()
    for lines, content in ((first, b"one"), (second, b"two")):
        data = lines.data()
        lines.send("STOR film")
        assert lines is second or lines.reply()[:3] in ("125", "150")
        data.sendall(content)
        data.close()
        assert gate.held.wait(PATIENCE_S)
    gate.open()
    assert first.reply().startswith("226")
    assert second.reply()[:3] in ("125", "150")
    assert second.reply().startswith("226")
    assert (served.disk / "film").read_bytes() == b"two"


def _is_idle(served: Served) -> bool:
    return not served.service._uploads._active


def test_stopping_does_not_wait_for_a_disk_that_never_answers(
    tmp_path, monkeypatch, gate
):
    monkeypatch.setattr(server, "STOP_GRACE_S", 0.1)
    with serving(tmp_path) as served:
        (served.disk / "slow").write_bytes(b"x")
        hold(monkeypatch, gate, "stat", b"slow")
        lines = served.raw().login()
        lines.send("SIZE slow")
        assert gate.held.wait(PATIENCE_S)
    assert not gate.has_let_go


def test_a_slow_password_check_holds_up_nobody_who_is_in(tmp_path):
    gate = Gate()

    def slow(stored: str, password: str) -> bool:
        gate.pass_by()
        return stored == password

    with serving(tmp_path) as served:
        inside = served.raw().login()
        served.service._accounts._verify = slow
        other = served.raw()
        other.reply()
        other.ask("USER owner")
        other.send("PASS geheim", "PWD")
        assert gate.held.wait(PATIENCE_S)
        assert inside.code("EPSV") == "229"
        gate.open()
        assert other.reply().startswith("230")
        assert other.reply().startswith("257")


def guess(served: Served) -> Lines:
    """Return a session that has given a wrong password and goes on to ask."""
    guessing = served.raw()
    guessing.reply()
    guessing.ask("USER owner")
    guessing.send("PASS wrong", "NOOP")
    return guessing


def test_a_delayed_refusal_holds_up_only_its_own_session(tmp_path):
    with serving(tmp_path, failed_login_delay_s=3600) as served:
        guessing = guess(served)
        inside = served.raw().login()
        assert inside.code("NOOP") == "200"
        guessing.close()


def test_a_wrong_password_is_refused_after_a_delay_and_what_follows_later(tmp_path):
    with serving(tmp_path, failed_login_delay_s=0.3) as served:
        began = time.monotonic()
        guessing = guess(served)
        assert guessing.reply().startswith("530")
        assert time.monotonic() - began >= 0.3
        assert guessing.reply().startswith("200")


def test_a_large_folder_is_streamed_not_gathered(served, monkeypatch):
    class Endless:
        """A folder of so many files that a list of them would not fit."""

        def __init__(self) -> None:
            self.given = 0

        def __enter__(self):
            return iter(self)

        def __exit__(self, *_):
            return None

        def __iter__(self):
            status = os.stat(served.disk)
            while True:
                self.given += 1
                yield _Entry(f"{self.given:09d}", status)

    folder = Endless()
    monkeypatch.setattr(os, "scandir", lambda _fd: folder)
    lines = served.raw().login()
    data = lines.data()
    lines.send("LIST")
    assert lines.reply()[:3] in ("125", "150")
    first = data.recv(10_000)
    assert b"000000001\r\n" in first
    data.close()  # while the listing still goes on
    assert lines.reply().startswith("426")
    assert lines.code("NOOP") == "200"
    assert folder.given < 500_000


class _Entry:
    def __init__(self, name: str, status: os.stat_result) -> None:
        self.name, self._status = name, status

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        assert not follow_symlinks
        return self._status


def test_a_listing_takes_bounded_chunks():
    source = ListingSource(iter([b"x" * 99 + b"\n"] * 10_000))
    sizes = []
    while chunk := source.read():
        sizes.append(len(chunk))
    assert sum(sizes) == 1_000_000
    assert max(sizes) == streams.LISTING_LINES * 100


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_meets_a_bug_is_replaced_and_its_caller_told():
    outcomes: list[Outcome[int]] = []
    ready = threading.Event()

    def then(outcome: Outcome[int]) -> None:
        outcomes.append(outcome)
        ready.set()

    pool = WorkerPool("test", 1, lambda call: call())
    pool.run(lambda: 1 // 0, then=then)
    assert ready.wait(PATIENCE_S)
    ready.clear()
    pool.run(lambda: 7, then=then)
    assert ready.wait(PATIENCE_S)
    assert isinstance(outcomes[0].error, WorkerFailed)
    assert outcomes[1].get() == 7
    assert pool.stop(1.0)


def test_an_upload_longer_than_its_buffers_arrives_whole_and_in_order():
    """Through the first, small buffer, then in turns through both large ones."""
    buffers = Buffers(3, 5)
    buffers.open()
    sizes, got = [], b""
    for number in range(4):
        rest = buffers.rest()
        sizes.append(len(rest))
        rest[:] = bytes([number]) * len(rest)
        buffers.filled += len(rest)
        assert buffers.is_full
        got += buffers.turn(is_last=number == 3)
    assert sizes == [3, 5, 5, 5]
    assert got == b"\0" * 3 + b"\1" * 5 + b"\2" * 5 + b"\3" * 5


def test_only_cached_bytes_are_read_on_the_loop(tmp_path):
    (tmp_path / "f").write_bytes(os.urandom(1 << 20))
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        source = FileSource(fd, 0, 1 << 20, 65536)
        source.warm()
        assert source.find_warm(2 << 20) == 1 << 20
        got = bytearray()
        while chunk := source.read():
            got += chunk
        assert bytes(got) == (tmp_path / "f").read_bytes()
    finally:
        os.close(fd)
