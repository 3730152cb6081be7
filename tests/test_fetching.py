"""One attempt at one file, over a real disk and state.db: what is left on record."""

import hashlib
import os
import time
from types import SimpleNamespace

import pytest

from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.fetching import Fetcher
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.model import GroupId, JobState, NodeId, SharePath
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN, content_root
from fonshare_agent.reasons import Postponed
from fonshare_agent.watch import Watch
from waiting import PATIENCE_S

BLOCK, BLOCKS = BLOCK_SIZE_MIN, 5
GROUP, MEMBER = GroupId(bytes(32)), NodeId(b"m" * 32)


class Source:
    """Stands for the sources and for who brings: *count* blocks, then no more."""

    def __init__(self) -> None:
        self.data = os.urandom(BLOCKS * BLOCK)
        self.hashes = [
            hashlib.sha256(self.data[at : at + BLOCK]).digest()
            for at in range(0, len(self.data), BLOCK)
        ]
        self.count, self.me = 3, NodeId(bytes(32))
        self.holdings = SimpleNamespace(
            end=lambda owner: None, find_owned=lambda owner: None
        )
        self.shown: list[int] = []

    def is_queued_at(self, job_id, source):
        return False

    def expect(self, group, source):
        """Nothing is opened ahead."""

    async def find(self, job, file, watch):
        self.shown.append(watch.new_bytes)
        root = content_root(len(self.data), self.hashes)
        grant = SimpleNamespace(root=root, size=len(self.data), modified=1)
        return SimpleNamespace(grant=grant)

    async def bring(self, granted, kept, watch, others):
        if not kept.has_hashes:
            kept.set_hashes(self.hashes)
        watch.start_at(kept.done_bytes)
        for index in range(BLOCKS):
            if kept.done_bytes < self.count * BLOCK and not kept.has(index):
                with kept.write_block(index) as writer:
                    writer.write(self.data[index * BLOCK : (index + 1) * BLOCK])
                    assert writer.finish()
                watch.done_bytes = kept.done_bytes
        return "" if kept.is_complete else "source.lost"


class Attempt:
    def __init__(self, path) -> None:
        self.core, self.source = Core(time.monotonic), Source()
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        self.store.start()
        self.files.start()
        self.state = StateStore(path / "state.db", "disk", time.monotonic)
        (path / "disk").mkdir()
        disk = Disk(path / "disk", path / "disk-id", os.urandom)
        disk.open()
        target, film = os.fsencode(path / "disk" / "in"), SharePath.parse("film.mkv")
        place = GROUP, MEMBER, "Films", film
        job = Job("job", *place, "file", "film.mkv", target, created=0)
        size = len(self.source.data)
        self.job = self.state.add_job(job, [JobFile("job", 0, film, size, 1)])
        self.fetcher = Fetcher(
            *(self.store, self.files, self.state, disk, self.source, self.source)
        )
        self.watch = Watch()

    def run(self):
        file = self.state.get_file("job", 0)
        done = self.core.spawn(self.fetcher.fetch(self.job, file, self.watch))
        deadline = time.monotonic() + PATIENCE_S
        while not done.is_settled:
            assert time.monotonic() < deadline
            self.core.call_later(0.005, lambda: None)
            self.core.run_once()
        return done.result()

    def done_bytes(self):
        """What the owner is shown."""
        return self.state.get_job("job").done_bytes + self.watch.new_bytes

    def close(self) -> None:
        self.store.run_and_wait(self.state.close)
        self.store.stop()
        self.files.stop()


@pytest.fixture
def attempt(tmp_path):
    made = Attempt(tmp_path)
    yield made
    made.close()


def test_how_much_is_here_is_on_record_while_the_job_waits(attempt):
    with pytest.raises(Postponed):
        attempt.run()
    assert attempt.done_bytes() == 3 * BLOCK
    attempt.source.count = BLOCKS
    assert attempt.run().state is JobState.DONE
    assert attempt.source.shown == [0, 0], "nothing is counted twice meanwhile"
    assert attempt.done_bytes() == BLOCKS * BLOCK


def test_less_than_was_on_record_is_shown_as_it_is(attempt):
    with pytest.raises(Postponed):
        attempt.run()
    attempt.source.count = 1
    attempt.files.run_and_wait(
        lambda: attempt.fetcher.disk.path.joinpath(
            ".fonshare", "partial", "job-0", "data"
        ).unlink()
    )
    with pytest.raises(Postponed):
        attempt.run()
    assert attempt.done_bytes() == BLOCK
