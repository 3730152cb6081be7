"""TLS on the house door, by control and by data connection, and what it protects."""

import errno
import ftplib
import os
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fonshare_agent.ftp import tls
from fonshare_agent.ftp.data import DataChannel
from fonshare_agent.ftp.ends import End, How
from fonshare_agent.ftp.loop import FtpLoop
from fonshare_agent.ftp.streams import FileSource, ListingSource
from fonshare_agent.ftp.workers import WorkerPool
from ftp_service import (
    GUEST,
    OWNER,
    Lines,
    Served,
    fetch,
    make_certificate,
    serving,
    store,
    uploads_aside,
)
from waiting import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("house"), "house")


@pytest.fixture
def served(tmp_path: Path, pair) -> Iterator[Served]:
    with serving(tmp_path, house_certificate=pair) as it:
        yield it


def client_context(**limits: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl._create_unverified_context()
    for name, version in limits.items():
        setattr(context, name, version)
    return context


def secured(served: Served, source: str = "127.0.0.1") -> Lines:
    lines = Lines(served.service.house_port, source)
    assert lines.reply().startswith("220")
    assert lines.code("AUTH TLS") == "234"
    lines.secure(client_context())
    return lines


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_files_and_listings_go_both_ways_by_tls(served, version):
    content = os.urandom(3_000_017)
    context = client_context(maximum_version=version)
    ftp = served.login(tls=context)
    assert ftp.sock.version() == version.name.replace("_", ".", 1).replace("_", ".")

    assert store(ftp, "a", content).startswith("226")
    assert fetch(ftp, "a") == content
    assert fetch(ftp, "a", rest=2_999_999) == content[2_999_999:]
    assert ftp.nlst() == ["a"]
    assert [name for name, _ in ftp.mlsd()] == ["a"]
    ftp.quit()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_data_connection_may_resume_the_session_of_its_control_connection(
    served, version
):
    (served.disk / "a").write_bytes(b"x" * 1000)
    context = client_context(maximum_version=version)
    ftp = served.login(tls=context)
    for _ in range(3):  # one ticket is enough for all
        assert ftp.sock.session.has_ticket
        with context.wrap_socket(
            ftplib.FTP.ntransfercmd(ftp, "RETR a")[0], session=ftp.sock.session
        ) as data:
            assert data.makefile("rb").read() == b"x" * 1000
            assert data.session_reused
        assert ftp.voidresp().startswith("226")
    ftp.quit()


def test_on_a_data_connection_nothing_is_sent_unasked(served):
    """Of TLS 1.3: a client that only sends would close with a ticket unread."""
    (served.disk / "a").write_bytes(b"x")
    context = client_context()
    ftp = served.login(tls=context)
    with context.wrap_socket(ftplib.FTP.ntransfercmd(ftp, "RETR a")[0]) as data:
        assert data.makefile("rb").read() == b"x"
        assert not data.session.has_ticket
    ftp.voidresp()
    ftp.quit()


def test_older_tls_is_refused(served):
    context = client_context(minimum_version=ssl.TLSVersion.TLSv1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        served.login(tls=context)


def test_data_may_be_plain_at_home_if_the_client_wants_that(served):
    (served.disk / "a").write_bytes(b"x")
    ftp = served.login(tls=client_context())
    ftp.prot_c()
    assert fetch(ftp, "a") == b"x"


def test_an_upload_cut_without_close_notify_is_not_a_file(served):
    lines = secured(served)
    lines.ask(f"USER {OWNER[0]}")
    lines.ask(f"PASS {OWNER[1]}")
    lines.ask("PBSZ 0")
    assert lines.code("PROT P") == "200"
    port = lines.epsv()
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    lines.send("STOR film")
    assert lines.reply()[:3] in ("125", "150")
    data = client_context().wrap_socket(raw)
    data.sendall(b"x" * 5000)
    # What a forged FIN looks like: an end of file that TLS did not announce.
    os.close(data.detach())

    assert lines.reply().startswith("426")
    assert not (served.disk / "film").exists()
    assert len(uploads_aside(served.disk)) == 1
    assert lines.ask("SIZE film") == "213 5000"


def test_an_active_data_connection_is_protected_too(served):
    (served.disk / "a").write_bytes(b"x" * 100_000)
    ftp = served.login(tls=client_context())
    ftp.set_pasv(False)
    assert fetch(ftp, "a") == b"x" * 100_000


def test_commands_smuggled_in_before_the_handshake_are_dropped(served):
    lines = served.raw()
    lines.reply()
    lines.send("AUTH TLS", "USER owner")
    assert lines.is_closed()


def test_a_login_does_not_survive_the_step_to_tls(served):
    lines = served.raw().login()
    assert lines.code("AUTH TLS") == "234"
    lines.secure(client_context())
    assert lines.code("PWD") == "530"


def test_prot_needs_tls_and_pbsz(served):
    lines = served.raw()
    lines.reply()
    assert lines.code("PROT P") == "503"
    assert lines.code("PBSZ 0") == "503"
    lines = secured(served)
    assert lines.code("PROT P") == "503"
    assert lines.code("PBSZ 0") == "200"
    assert lines.code("PROT S") == "536"
    assert lines.code("PROT P") == "200"


def test_without_a_certificate_there_is_no_tls_and_it_is_said(tmp_path):
    with serving(tmp_path) as served:
        lines = served.raw()
        lines.reply()
        assert lines.code("AUTH TLS") == "534"
        assert "AUTH" not in lines.ask("FEAT")


def test_a_handshake_that_stands_still_is_ended(served, monkeypatch):
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT_S", 0.1)
    lines = served.raw()
    lines.reply()
    assert lines.code("AUTH TLS") == "234"
    assert lines.is_closed()


def test_a_data_handshake_that_stands_still_does_not_hold_the_session(
    served, monkeypatch
):
    (served.disk / "a").write_bytes(b"x")
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT_S", 0.1)
    ftp = served.login(tls=client_context())
    ftp.voidcmd("TYPE I")
    host, port = ftp.makepasv()
    silent = socket.create_connection((host, port), PATIENCE_S)
    assert silent.recv(1) == b""  # dropped, while the port still waits
    with socket.create_connection((host, port), PATIENCE_S) as raw:
        ftp.putcmd("RETR a")
        assert ftp.getresp().startswith("150")
        with client_context().wrap_socket(raw) as data:
            assert data.recv(10) == b"x"
            data.unwrap()
    assert ftp.voidresp().startswith("226")


def test_noise_instead_of_a_handshake_ends_the_connection_only(served):
    lines = served.raw()
    lines.reply()
    lines.ask("AUTH TLS")
    # Seeded: one noise in 500 looks like an old greeting, and is answered by an alert.
    lines.socket.sendall(random.Random(7).randbytes(600))
    assert lines.is_closed()
    assert served.login(tls=client_context()).nlst() == []


# --- from outside the house


@pytest.fixture
def abroad(tmp_path: Path, pair) -> Iterator[Served]:
    with serving(
        tmp_path,
        house_certificate=pair,
        owner_from_wan=True,
        house_networks=["127.0.0.1/32"],
    ) as it:
        yield it


def test_outside_no_name_is_heard_before_tls(abroad):
    lines = Lines(abroad.service.house_port, "127.0.0.2")
    assert lines.reply().startswith("220")
    assert lines.code("USER owner") == "530"
    assert lines.code("PASS geheim") == "530"
    inside = abroad.raw()
    inside.reply()
    assert inside.code("USER owner") == "331"


def test_from_outside_nobody_keeps_those_at_home_out(abroad):
    port = abroad.service.house_port
    waiting = [Lines(port, f"127.0.1.{number}") for number in range(8)]
    assert all(lines.reply().startswith("220") for lines in waiting)
    assert Lines(port, "127.0.2.1").is_closed()
    assert abroad.raw().reply().startswith("220")


def test_outside_the_owner_comes_in_by_tls_with_protected_data_only(abroad):
    lines = secured(abroad, "127.0.0.2")
    assert lines.code(f"USER {OWNER[0]}") == "331"
    assert lines.code(f"PASS {OWNER[1]}") == "230"
    assert lines.code("EPSV") == "521"
    assert lines.code("PBSZ 0") == "200"
    assert lines.code("PROT C") == "536"
    assert lines.code("PROT P") == "200"
    assert lines.code("EPSV") == "229"


def test_outside_there_are_no_guests(abroad):
    lines = secured(abroad, "127.0.0.2")
    assert lines.code(f"USER {GUEST[0]}") == "331"
    assert lines.ask(f"PASS {GUEST[1]}") == "530 Login incorrect"
    assert abroad.login(GUEST).nlst() == []


# --- the parts below


def test_pyftpdlib_never_gets_pyopenssl(tmp_path):
    (tmp_path / "OpenSSL.py").write_text("class SSL: OP_NO_SSLv2 = OP_NO_SSLv3 = 0\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import fonshare_agent.ftp.server\n"
        "unwanted = {'OpenSSL', 'asyncio', 'cryptography', 'requests'}\n"
        "assert not unwanted & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_full_send_buffer_does_not_lose_the_end_of_a_download(served):
    """close_notify must wait for room, or the client would see a cut file."""
    content = os.urandom(6 << 20)
    (served.disk / "a").write_bytes(content)
    ftp = served.login(tls=client_context())
    data = ftp.transfercmd("RETR a")
    got = bytearray()
    while chunk := data.recv(1 << 14):  # raises if there was no close_notify
        got += chunk
    assert bytes(got) == content
    data.close()
    assert ftp.voidresp().startswith("226")


def test_a_channel_that_is_to_be_protected_never_sends_in_clear(pair):
    """Whoever starts a transfer too early gets an end, not plain bytes on the wire."""
    ends: list[End] = []
    loop = FtpLoop()
    ours, theirs = socket.socketpair()
    channel = DataChannel(
        ours,
        loop.io,
        files=WorkerPool("test", 1, lambda call: call()),
        buffer_size=1024,
        upload_buffer_size=1024,
        context=tls.house_context(*pair),
        on_confirmed=lambda _: None,
        on_gone=lambda _: None,
    )
    channel.send_from(ListingSource(iter([b"secret"])), ends.append)
    assert theirs.recv(100) == b""
    assert [end.how for end in ends] == [How.CUT]
    theirs.close()
    loop.close()


def test_a_file_system_without_nowait_reads_is_read_by_workers(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"0123456789")
    real = os.preadv

    def preadv(fd, buffers, offset, flags=0):
        if flags:
            raise OSError(errno.EOPNOTSUPP, "no")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        source = FileSource(fd, 4, 10, 4)
        assert source.read_now() is None
        assert bytes(source.read()) == b"4567"
        assert bytes(source.read()) == b"89"
        assert bytes(source.read_now() or b"") == b""
    finally:
        os.close(fd)


def test_sessions_by_tls_end_cleanly_and_leave_nothing_open(served):
    ftp = served.login(tls=client_context())
    ftp.quit()
    killed = served.login(tls=client_context())
    killed.close()
    wait_until(lambda: served.service.open_connections() == 0, "both to end")
