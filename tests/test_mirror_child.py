"""The child that reads a server, and the agent's side of their conversation."""

import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

from fonshare_agent.errors import MirrorEnded
from fonshare_agent.mirror.conversation import Conversation
from fonshare_agent.transfer.limits import Flow, TokenBucket
from fxp_small import PASSWORD, small_server
from mirrored import Mirrored
from waiting import wait_until

ADDRESS = "127.0.0.74"
MIB = 1 << 20


class Held:
    """A reading by a child, on a thread of its own; `report` when it has ended."""

    def __init__(self, mirror: Mirrored, bucket: TokenBucket) -> None:
        self.flows: list[str] = []
        self.watched: list[str] = []  # whose connections count as this node's
        self.dropped = 0

        def find_flow(address: str) -> Flow:
            self.flows.append(address)
            return Flow(bucket, b"mirror", self)

        self.talk = Conversation(find_flow, lambda message: None)
        self.report = None
        self._thread = threading.Thread(target=self._hold, args=(mirror,))
        self._thread.start()

    def add(self, whose: object, find: Callable[[], socket.socket]) -> None:
        self.watched.append(find().getpeername()[0])

    def drop(self, whose: object) -> None:
        self.dropped += 1

    def _hold(self, mirror: Mirrored) -> None:
        self.report = self.talk.hold(mirror.task())

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def wait(self) -> dict:
        self.join()
        assert self.report is not None
        return self.report


@pytest.fixture
def bucket():
    return TokenBucket(0, time.monotonic)


@contextmanager
def waiting_reading(tmp_path, bucket):
    """A server with one file, its mirror, and a reading that has no leave to fetch."""
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = Mirrored(tmp_path / "node", old.url("top"), PASSWORD)
        old.put("top/a", os.urandom(MIB))
        bucket.close()
        held = Held(mirror, bucket)
        wait_until(lambda: held.flows, "it has begun to fetch")
        yield old, mirror, held


def test_bytes_wait_for_leave_which_a_closed_bucket_does_not_give(tmp_path, bucket):
    with waiting_reading(tmp_path, bucket) as (old, mirror, held):
        wait_until(lambda: held.watched, "its connection is known to the agent")
        assert held.flows == held.watched == [ADDRESS]
        assert not mirror.tree()
        bucket.set_rate(0)
        assert held.wait()["fetched"] == 1
        assert held.dropped == 1
        assert mirror.tree() == {b"a": (old.disk / "top" / "a").read_bytes()}


@pytest.mark.full
def test_a_child_that_is_told_to_stop_does_and_keeps_what_came(tmp_path, bucket):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = Mirrored(tmp_path / "node", old.url("top"), PASSWORD)
        old.put("top/a", os.urandom(MIB))
        bucket.set_rate(64)
        held = Held(mirror, bucket)
        wait_until(lambda: any(p.stat().st_size for p in mirror.partials()))
        held.talk.stop("hours")
        assert held.wait()["stopped"] == "hours"
        assert not mirror.tree()
        assert mirror.read()["fetched"] == 1
        assert int(old.asked_for("REST")[-1].split()[1]) > 0, "it went on"


@pytest.mark.full
def test_killed_again_and_again_no_file_is_wrong_or_half(tmp_path, bucket):
    """As by a power cut, or at the node's end: what has come is safe at any time."""
    draw = random.Random(98)
    files = {b"%d" % number: draw.randbytes(100_000) for number in range(8)}
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = Mirrored(tmp_path / "node", old.url("top"), PASSWORD)
        for name, content in files.items():
            old.put("top/" + name.decode(), content)
        bucket.set_rate(400)
        for _ in range(6):
            held = Held(mirror, bucket)
            wanted = draw.randrange(1, 4)
            before = len(mirror.tree())
            wait_until(
                lambda held=held, until=before + wanted: (
                    len(mirror.tree()) >= until or not held.is_alive
                )
            )
            time.sleep(draw.random() / 10)  # anywhere in the next file
            held.talk.stop("the node ends", 0.0)
            held.join()
            assert mirror.tree().items() <= files.items()
        assert mirror.read()["failures"] == []
        assert mirror.tree() == files
        assert not mirror.partials()


@pytest.mark.full
def test_a_child_that_dies_has_no_report(tmp_path, bucket, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    mirror = Mirrored(tmp_path / "node", "ftp://127.0.0.1/top", PASSWORD)
    talk = Conversation(lambda address: None, lambda message: None)
    assert talk.hold(mirror.task()) is None


@pytest.mark.parametrize("said", ["nonsense", "[]", "x" * 140_000])
def test_a_child_that_says_nonsense_has_failed(tmp_path, monkeypatch, said):
    program = tmp_path / "child"
    text = f"import os\nos.read(0, 1)\nos.write(0, {said.encode()!r})\n"
    program.write_text(f"#!{sys.executable} -S\n{text}")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    mirror = Mirrored(tmp_path / "node", "ftp://127.0.0.1/top", PASSWORD)
    talk = Conversation(lambda address: None, lambda message: None)
    with pytest.raises(MirrorEnded):
        talk.hold(mirror.task())


@pytest.mark.full
def test_no_secret_is_in_an_argument_or_the_environment(tmp_path, bucket):
    with waiting_reading(tmp_path, bucket) as (_, _, held):
        seen = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
                if b"fonshare_agent.mirror.child" in words:
                    seen.append(words + (process / "environ").read_bytes())
            except OSError:
                continue  # it has ended meanwhile
        bucket.set_rate(0)
        held.wait()
        assert seen
        assert not any(PASSWORD.encode() in one for one in seen)
