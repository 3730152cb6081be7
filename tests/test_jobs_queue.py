"""The queue of jobs over a real state.db; the attempts are the test's own."""

import time

import pytest

from fonshare_agent.core import Core, Worker
from fonshare_agent.downloads import Downloads
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.reasons import Postponed
from waiting import PATIENCE_S


class Attempts:
    """Stands for the attempts: notes whose turn it was, then does what it is told."""

    disk = None

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.how = lambda job: Postponed("source.silent")

    async def bring(self, job, watch):
        self.turns.append(job.id)
        raise self.how(job)

    def end(self, job):
        assert job.id in self.turns


class Limits:
    transfers = 1


class Settings:
    limits = Limits()


class Queue:
    def __init__(self, path) -> None:
        self.core = Core(time.monotonic)
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        self.state = StateStore(path / "state.db", "disk", time.monotonic)
        self.attempts = Attempts()
        self.downloads = Downloads(
            *(self.core, self.store, self.files, None, self.state, self.attempts),
            *(Settings(), lambda group, member: ("g", "m"), bytes),
        )

    def add(self, name: str) -> None:
        path = SharePath.parse(name)
        place = GroupId(bytes(32)), NodeId(bytes(32)), "Films", path
        job = Job(name, *place, kind="file", name=name, target=b"/t", created=0)
        self.state.add_job(job, [JobFile(name, 0, path, 1, 1, None)])

    def run_until(self, condition, within_s=PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.attempts.turns
            self.core.call_later(0.01, lambda: None)
            self.core.run_once()

    def run_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.run_until(lambda: time.monotonic() >= until)


@pytest.fixture
def queue(tmp_path):
    queue = Queue(tmp_path)
    for name in ("a", "b", "c"):
        queue.add(name)
    queue.store.start()
    queue.files.start()
    yield queue
    queue.store.run_and_wait(queue.state.close)
    queue.store.stop()
    queue.files.stop()


def test_an_attempt_that_fails_by_a_bug_is_not_made_again_at_once(queue):
    queue.attempts.how = lambda job: RuntimeError("a bug")
    queue.downloads.wake()
    queue.run_until(lambda: len(queue.attempts.turns) >= 3)
    queue.run_for(0.3)
    assert sorted(queue.attempts.turns) == ["a", "b", "c"]


def test_every_job_has_its_turn_however_often_the_queue_is_woken(queue):
    def silent(job):
        queue.downloads.wake()
        return Postponed("source.silent")

    queue.attempts.how = silent
    queue.downloads.wake()
    queue.run_until(lambda: len(queue.attempts.turns) >= 9)
    assert {queue.attempts.turns.count(name) for name in "abc"} == {3}


def test_stopping_does_not_wait_for_an_attempt_that_hangs(queue, monkeypatch):
    monkeypatch.setattr("fonshare_agent.downloads.STOP_S", 0.2)
    hangs = queue.core.sleep(3600)

    async def hang(job, watch):
        queue.attempts.turns.append(job.id)
        await hangs

    queue.attempts.bring = hang
    queue.downloads.wake()
    queue.run_until(lambda: queue.attempts.turns)
    stopped = queue.core.spawn(queue.downloads.stop())
    queue.run_until(lambda: stopped.is_settled)
