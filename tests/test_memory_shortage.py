"""A machine short of memory: who is there goes on, who comes is told, all by itself."""

import ftplib
import logging
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fonshare_agent import doctor, passwords, spare_memory
from fonshare_agent.errors import MemoryShort
from fonshare_agent.ftp.workers import Outcome, WorkerPool
from fonshare_agent.spare_memory import LOGIN_KIB, SpareMemory, find_spare_kib
from ftp_service import OWNER, fetch, serving

LAUNCHER = Path(__file__).parent.parent / "files" / "usr" / "bin" / "fonshare"
# The emulated router of 64 MB when a password took 4 MiB and so ended the agent. By
# MemAvailable there were 5,992 KiB: it counts on the kernel's own tables, too.
MEMINFO = """\
MemTotal:          49476 kB
MemFree:            1100 kB
MemAvailable:       5992 kB
Buffers:             144 kB
Cached:            21336 kB
Active:            12472 kB
Inactive:          19948 kB
Active(anon):      11084 kB
Inactive(anon):    19088 kB
Active(file):       1388 kB
Inactive(file):      860 kB
Shmem:             19088 kB
Slab:              10900 kB
"""


@pytest.fixture
def meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "meminfo"
    file.write_text(MEMINFO)
    monkeypatch.setattr(spare_memory, "MEMINFO", file)
    return file


def test_what_can_be_had_are_free_pages_and_files_less_a_reserve(meminfo):
    assert find_spare_kib() == 1100 + 1388 + 860 - spare_memory.RESERVE_KIB


@pytest.mark.parametrize("text", ["", "MemFree: 5 kB\n", MEMINFO.replace("file", "x")])
def test_a_kernel_that_does_not_say_refuses_nothing(meminfo, text):
    meminfo.write_text(text)
    assert find_spare_kib() is None
    meminfo.unlink()
    assert find_spare_kib() is None
    SpareMemory().require(1 << 30, "a login")


def test_the_doctor_names_a_shortage(meminfo):
    assert [finding["code"] for finding in doctor._memory()] == ["memory.short"]
    meminfo.write_text(MEMINFO.replace("MemFree:     ", "MemFree:    9"))
    assert not list(doctor._memory())


def test_what_a_login_takes_is_what_a_hash_may_take():
    assert LOGIN_KIB == passwords.MEMORY_MAX >> 10


def test_this_kernel_says():
    assert find_spare_kib() is not None


def test_a_shortage_is_said_once_and_its_end(caplog):
    caplog.set_level(logging.INFO)
    spare = [5000]
    memory = SpareMemory(lambda: spare[0])
    memory.require(4096, "a login")
    for spare[0] in (4095, -748):
        with pytest.raises(MemoryShort):
            memory.require(4096, "a login")
    spare[0] = 4096
    memory.require(4096, "a login")
    assert [record.getMessage() for record in caplog.records] == [
        "memory is short: a login takes 4096 KiB, and 4095 can be had; refused until"
        " there is more",
        "there is memory for a login again",
    ]


def test_a_login_is_refused_with_a_reason_and_those_inside_go_on(tmp_path):
    spare = [8192]
    memory = SpareMemory(lambda: spare[0])

    def verify(stored: str, password: str) -> bool:
        memory.require(4096, "a login")
        return stored == password

    with serving(tmp_path, verify=verify) as served:
        (served.disk / "film").write_bytes(b"content")
        inside = served.login()
        spare[0] = 100
        came = served.raw()
        assert came.reply().startswith("220")
        came.ask(f"USER {OWNER[0]}")
        assert came.ask(f"PASS {OWNER[1]}") == (
            "421 the machine is short of memory; try again later"
        )
        assert came.is_closed()
        assert fetch(inside, "film") == b"content"
        spare[0] = 8192
        assert fetch(served.login(), "film") == b"content"


def test_without_memory_for_a_thread_a_login_is_refused_and_a_later_one_is_not(
    tmp_path, monkeypatch, caplog
):
    with serving(tmp_path) as served:
        real = threading.Thread.start

        def start(thread):
            if thread.name == "ftp-password":
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        for _ in range(2):
            with pytest.raises(ftplib.error_temp, match=r"421 .* short of memory"):
                served.login()
        monkeypatch.undo()
        assert served.login().voidcmd("NOOP").startswith("200")
    lines = [one.getMessage() for one in caplog.records]
    assert lines == ["memory is short: no thread ftp-password: can't start new thread"]


def test_without_memory_for_a_command_its_session_goes_on(tmp_path, monkeypatch):
    def no_memory(*_args):
        raise MemoryError

    with serving(tmp_path) as served:
        (served.disk / "film").write_bytes(b"content")
        inside = served.login()
        monkeypatch.setattr("fonshare_agent.ftp.filesystem.walk", no_memory)
        with pytest.raises(ftplib.error_temp, match=r"451 .* short of memory"):
            inside.voidcmd("MDTM film")
        monkeypatch.undo()
        assert fetch(inside, "film") == b"content"


def test_jobs_that_wait_are_refused_when_the_last_thread_cannot_be_replaced(
    monkeypatch,
):
    """That thread ends by a bug; the next job is not left waiting for ever."""
    outcomes: list[Outcome[int]] = []
    is_over, may_fail = threading.Event(), threading.Event()

    def then(outcome: Outcome[int]) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 2:
            is_over.set()

    def fail() -> int:
        may_fail.wait()
        return 1 // 0

    def no_thread(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    pool = WorkerPool("test", 1, lambda call: call())
    pool.run(fail, then=then)
    pool.run(lambda: 7, then=then)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    may_fail.set()
    is_over.wait()
    assert isinstance(outcomes[1].error, MemoryShort)
    monkeypatch.undo()
    assert pool.stop(1.0)


def test_a_hash_without_memory_says_so():
    """In a process that may have two more MiB, where the hash takes four."""
    program = (
        "import resource\n"
        "from fonshare_agent.passwords import hash_password\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        f"limit = pages * {resource.getpagesize()} + (2 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n"
        "    hash_password('geheim', bytes(16))\n"
        "except MemoryError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "no memory for a password's hash\n"


@pytest.mark.parametrize(("command", "score"), [("status", "1000"), ("agent", "7")])
def test_where_both_do_not_fit_a_command_ends_and_not_the_agent(
    tmp_path, command, score
):
    """The router's launcher, with a Python that says what the kernel would do."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\ncat /proc/$$/oom_score_adj\n")
    python.chmod(0o755)
    start = f"echo 7 > /proc/$$/oom_score_adj; exec sh {LAUNCHER} {command}"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", start], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{score}\n"
