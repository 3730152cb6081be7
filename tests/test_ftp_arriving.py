"""A file that arrives, served by the house door: waiting, leaving, failing."""

import ftplib
import io
import ssl
import threading

import pytest

from fonshare_agent.errors import NotHereNow
from fonshare_agent.ftp.arriving import ArrivingDownload
from fonshare_agent.ftp.house_files import friends_status
from ftp_service import make_certificate, serving
from waiting import wait_until

CONTENT = bytes(range(256)) * 4096


class Reading:
    """A reader whose bytes come as far as the test lets them."""

    def __init__(self, friend):
        self.friend, self.size, self.is_closed = friend, len(CONTENT), False
        self.asked = 0

    def read(self, view, offset):
        self.asked += 1
        if self.friend.trouble:
            raise NotHereNow(self.friend.trouble)
        count = max(0, min(len(view), self.friend.ready - offset))
        view[:count] = CONTENT[offset : offset + count]
        return count

    def close(self):
        self.is_closed = True

    # What the session has opened.

    def transfer(self, offset, buffer_size):
        return ArrivingDownload(self, offset, buffer_size)

    def finish(self, end):
        self.close()
        return ""


class Friend:
    """Stands for the friends' tree: one file."""

    def __init__(self):
        self.ready, self.trouble = 0, ""
        self.readings: list[Reading] = []
        self.answers = []  # kept back, if it is to open late
        self.is_late = False

    def stat(self, parts):
        return friends_status(len(CONTENT), 1) if parts else friends_status()

    def entries(self, parts):
        yield b"film.mkv", self.stat((b"film.mkv",))

    def open(self, parts, offset, answer):
        reading = Reading(self)
        self.readings.append(reading)
        if self.is_late:
            self.answers.append(lambda: answer(reading, None))
        else:
            answer(reading, None)


@pytest.fixture
def friend():
    return Friend()


@pytest.fixture
def served(tmp_path, friend):
    pair = make_certificate(tmp_path, "house")
    with serving(tmp_path, friends=lambda: friend, house_certificate=pair) as it:
        yield it


def begin(ftp):
    ftp.voidcmd("TYPE I")
    return ftp.transfercmd("RETR /friends/film.mkv")


def test_those_who_wait_hold_up_nobody(served, friend):
    """There are three workers, and six wait; each gets the whole in the end."""
    waiting = [served.login() for _ in range(6)]
    streams = [begin(ftp) for ftp in waiting]
    wait_until(
        lambda: len(friend.readings) == 6 and all(r.asked for r in friend.readings)
    )
    other = served.login()
    assert [name for name, _ in other.mlsd("/friends")] == ["film.mkv"]
    friend.ready = 300_000
    got = [data.recv(1000) for data in streams]
    assert all(one and CONTENT.startswith(one) for one in got)
    friend.ready = len(CONTENT)
    for ftp, data, first in zip(waiting, streams, got, strict=True):
        assert first + data.makefile("rb").read() == CONTENT
        assert ftp.voidresp().startswith("226")
    assert all(reading.is_closed for reading in friend.readings)


def test_it_waits_and_comes_by_tls_too(served, friend):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    ftp = served.login(tls=context)
    friend.ready = 100_000
    into = io.BytesIO()
    done = threading.Thread(
        target=lambda: ftp.retrbinary("RETR /friends/film.mkv", into.write)
    )
    done.start()
    wait_until(lambda: friend.readings and friend.readings[0].asked > 5)
    friend.ready = len(CONTENT)
    done.join()
    assert into.getvalue() == CONTENT


def test_a_client_that_leaves_while_it_waits_is_noticed(served, friend):
    ftp = served.login()
    data = begin(ftp)
    wait_until(lambda: friend.readings and friend.readings[0].asked)
    data.close()
    wait_until(lambda: friend.readings[0].is_closed, "it wants nothing any more")
    with pytest.raises(ftplib.error_temp, match="426"):
        ftp.voidresp()
    assert ftp.pwd() == "/"


def test_an_abort_ends_the_wait(served, friend):
    lines = served.raw().login()
    with lines.data():
        assert lines.code("RETR /friends/film.mkv") == "125"
        wait_until(lambda: friend.readings[0].asked)
        assert lines.code("ABOR") == "426"
        assert lines.reply().startswith("226")
    assert friend.readings[0].is_closed
    lines.close()


def test_who_leaves_before_it_is_open_leaves_no_reader_behind(served, friend):
    friend.is_late = True
    lines = served.raw().login()
    lines.send("EPSV", "RETR /friends/film.mkv")
    wait_until(lambda: friend.answers)
    lines.close()
    wait_until(lambda: served.service.open_connections() == 0)
    friend.answers[0]()
    wait_until(lambda: friend.readings[0].is_closed)


def test_the_reason_is_told_when_nothing_comes_any_more(served, friend):
    ftp = served.login()
    friend.ready = 1000
    data = begin(ftp)
    assert data.recv(1000) == CONTENT[:1000]
    friend.trouble = "nobody who offers it is online"
    assert data.recv(1000) == b""
    with pytest.raises(ftplib.error_temp, match=r"^450 nobody who offers it is online"):
        ftp.voidresp()
    assert friend.readings[0].is_closed


def test_an_offset_beyond_the_end_is_refused_and_the_end_itself_is_nothing(
    served, friend
):
    lines = served.raw().login()
    lines.epsv()
    assert lines.code(f"REST {len(CONTENT) + 1}") == "350"
    assert lines.code("RETR /friends/film.mkv") == "554"
    assert friend.readings[0].is_closed
    with lines.data() as data:
        assert lines.code(f"REST {len(CONTENT)}") == "350"
        assert lines.code("RETR /friends/film.mkv") == "125"
        assert data.recv(10) == b""
    assert lines.reply().startswith("226")
    lines.close()
