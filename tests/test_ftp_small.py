"""Small files from the house door: one visit to a worker each, whatever happens."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fonshare_agent.ftp import transfers
from fonshare_agent.ftp.transfers import SMALL_BYTES
from fonshare_agent.ftp.workers import WorkerPool
from ftp_service import Served, fetch, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as it:
        yield it


def open_files(folder: Path) -> list[str]:
    """What this process holds open below *folder*."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the listing's own
        if target.startswith(f"{folder}/"):
            found.append(target)
    return found


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES, SMALL_BYTES + 1])
def test_a_file_comes_whole_and_from_any_place_on(served, size):
    content = os.urandom(size)
    (served.disk / "file").write_bytes(content)
    ftp = served.login()
    for offset in {0, size // 2, size}:
        assert fetch(ftp, "file", rest=offset) == content[offset:]
    ftp.quit()


def test_a_small_file_takes_one_visit_to_a_worker(served, monkeypatch):
    visits: list[str] = []
    real = WorkerPool.run

    def run(self, function, *args, then):
        visits.append(function.__name__)
        real(self, function, *args, then=then)

    (served.disk / "small").write_bytes(b"x" * SMALL_BYTES)
    (served.disk / "large").write_bytes(b"x" * (SMALL_BYTES + 1))
    ftp = served.login()
    monkeypatch.setattr(WorkerPool, "run", run)
    fetch(ftp, "small")
    assert visits == ["_open_download"]
    visits.clear()
    fetch(ftp, "large")
    assert visits[0] == "_open_download"
    assert visits[-1] == "finish"
    ftp.quit()


def test_a_small_file_is_closed_before_its_client_connects(served):
    (served.disk / "small").write_bytes(b"first")
    lines = served.raw().login()
    port = lines.epsv()
    assert lines.code("RETR small") == "150"
    assert open_files(served.disk) == []
    (served.disk / "small").write_bytes(b"other")  # the client gets what it asked for
    with served.raw(port).socket as data:
        assert data.makefile("rb").read() == b"first"
    assert lines.reply() == "226 Transfer complete, 5 bytes"


def test_a_small_file_whose_client_never_connects_can_be_aborted(served):
    (served.disk / "small").write_bytes(b"x")
    lines = served.raw().login()
    lines.epsv()
    assert lines.code("RETR small") == "150"
    assert lines.ask("ABOR").startswith("426")
    assert lines.reply().startswith("226")
    assert lines.code("NOOP") == "200"


def test_a_small_file_that_changes_while_it_is_read_is_not_sent(served, monkeypatch):
    file = served.disk / "small"
    file.write_bytes(b"x" * 100)
    real = os.pread

    def pread(fd, count, offset):
        content = real(fd, count, offset)
        with file.open("ab") as more:
            more.write(b"y")
        return content

    lines = served.raw().login()
    data = lines.data()
    monkeypatch.setattr(transfers.os, "pread", pread)
    assert lines.ask("RETR small").startswith("450 changed: ")
    monkeypatch.undo()
    assert open_files(served.disk) == []
    assert lines.code("RETR small") == "125"
    assert len(data.makefile("rb").read()) == 101
    data.close()
    assert lines.reply().startswith("226")


def test_a_beginning_beyond_the_end_is_refused_and_closes_the_file(served):
    (served.disk / "small").write_bytes(b"x")
    lines = served.raw().login()
    lines.epsv()
    assert lines.code("REST 2") == "350"
    assert lines.code("RETR small") == "554"
    assert open_files(served.disk) == []
