"""Jobs that readers make, over a real state.db; the attempts are the test's own."""

import hashlib
import os
import time

import pytest

from fonshare_agent import streaming as streaming_module
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.downloads import Downloads
from fonshare_agent.errors import NotHereNow, StorageError
from fonshare_agent.index.records import Found
from fonshare_agent.index.state import StateStore
from fonshare_agent.model import EntryId, GroupId, JobState, NodeId, SharePath
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN, content_root
from fonshare_agent.reasons import Postponed
from fonshare_agent.transfer import stream as stream_module
from fonshare_agent.transfer.leftovers import kept_jobs
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.watch import Watch
from waiting import PATIENCE_S

BLOCK, BLOCKS = BLOCK_SIZE_MIN, 40
WINDOW = 4


class Attempts:
    """Stands for the attempts: brings what readers want, a block at a time."""

    def __init__(self, core, disk, state) -> None:
        self.core, self.disk, self.state = core, disk, state
        self.data = os.urandom(BLOCKS * BLOCK)
        self.hashes = [
            hashlib.sha256(self.data[at : at + BLOCK]).digest()
            for at in range(0, len(self.data), BLOCK)
        ]
        self.root = content_root(len(self.data), self.hashes)
        self.begun: list[str] = []
        self.brought: list[int] = []
        self.reason = ""  # why nothing can be brought
        self.pace_s = 0.005

    def place(self, job_id: str) -> None:
        """It waits in no source's queue."""

    def expect(self, group, source) -> None:
        """Nothing is opened ahead of it."""

    async def bring(self, job, watch: Watch) -> bool:
        self.begun.append(job.id)
        if self.reason:
            raise Postponed(self.reason)
        kept = Partial.open(self.disk, job.id, 0, len(self.data), self.root)
        kept.set_hashes(self.hashes)
        assert watch.stream is not None
        watch.stream.attach(kept)
        try:
            while not (watch.is_cancelled or self.reason):
                await self.core.sleep(self.pace_s)
                if kept.is_complete and watch.stream.is_all:
                    return True
                self.bring_one(kept, watch.stream)
            raise Postponed(self.reason or "source.lost")
        finally:
            watch.stream.detach()
            kept.close()

    def bring_one(self, kept, stream) -> None:
        for first, end in stream.stretches():
            for index in range(first, end):
                if not kept.has(index):
                    with kept.write_block(index) as writer:
                        offset, length = kept.content.range(index)
                        writer.write(self.data[offset : offset + length])
                        assert writer.finish()
                    self.brought.append(index)
                    return

    def give_up(self, job_id):
        pass

    def end(self, job):
        pass


class Limits:
    transfers = 1


class Queue:
    def __init__(self, path) -> None:
        self.core = Core(time.monotonic)
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        self.state = StateStore(path / "state.db", "disk", time.monotonic)
        (path / "disk").mkdir(exist_ok=True)
        disk = Disk(path / "disk", path / "disk-id", os.urandom)
        disk.open()
        self.attempts = Attempts(self.core, disk, self.state)

        class Settings:
            limits = Limits()

        Settings.disk, Settings.downloads_folder = path / "disk", path / "disk"
        self.downloads = Downloads(
            *(self.core, self.store, self.files, None, self.state, self.attempts),
            *(Settings(), lambda group, member: ("g", "m"), os.urandom),
        )
        self.store.start()
        self.files.start()
        self.is_closed = False

    def close(self):
        self.is_closed = True
        self.run(self.downloads.stop())
        self.store.run_and_wait(self.state.close)
        self.store.stop()
        self.files.stop()

    def found(self, name="film.mkv") -> Found:
        return Found(
            *(EntryId("a" * 16), "file", GroupId(bytes(32)), NodeId(bytes(32))),
            *("Films", SharePath.parse(name), len(self.attempts.data), 1),
            *(self.attempts.root, False),
        )

    def run(self, work):
        done = self.core.spawn(work)
        self.until(lambda: done.is_settled)
        return done.result()

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            self.core.call_later(0.005, lambda: None)
            self.core.run_once()

    def open(self, name="film.mkv", offset=0, *, is_kept=False):
        streaming = self.run(self.downloads.streaming.get())
        return self.run(streaming.open(self.found(name), offset, is_kept=is_kept))

    def read(self, reading, offset, length):
        got = b""
        view = memoryview(bytearray(length))

        def has_it():
            nonlocal got
            count = reading.read(view[: length - len(got)], offset + len(got))
            got += bytes(view[:count])
            return len(got) == length

        self.until(has_it)
        return got

    def jobs(self):
        return self.run(self.downloads.views())

    def kept(self):
        return kept_jobs(self.attempts.disk)


@pytest.fixture
def queue(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_module, "WINDOW_BYTES", WINDOW * BLOCK)
    monkeypatch.setattr(streaming_module, "LOOK_S", 0.01)
    monkeypatch.setattr(streaming_module, "REST_S", 0.05)
    monkeypatch.setattr(streaming_module, "RETRY_S", 0.05)
    monkeypatch.setattr(streaming_module, "LINGER_S", 3600.0)
    queue = Queue(tmp_path)
    yield queue
    if not queue.is_closed:
        queue.close()


def test_only_what_is_read_is_fetched_and_the_source_is_let_go(queue):
    reading = queue.open()
    data = queue.attempts.data
    assert queue.read(reading, 0, 1000) == data[:1000]
    job_id = queue.jobs()[0]["id"]
    queue.until(lambda: not queue.downloads.is_running(job_id))
    assert set(queue.attempts.brought) <= set(range(WINDOW + 2))
    # Whoever reads on has it fetched on, by another attempt.
    reading.close()
    reading = queue.open(offset=20 * BLOCK)
    assert queue.read(reading, 20 * BLOCK, 5 * BLOCK) == data[20 * BLOCK : 25 * BLOCK]
    assert set(queue.attempts.brought) <= {
        *range(WINDOW + 2),
        *range(20, 25 + WINDOW + 2),
    }
    assert len(queue.attempts.begun) > 1
    reading.close()


def test_what_was_only_opened_goes_with_its_last_reader(queue, monkeypatch):
    first, second = queue.open(), queue.open()
    assert len(queue.jobs()) == 1
    queue.read(first, 0, 10 * BLOCK)
    monkeypatch.setattr(streaming_module, "LINGER_S", 0.05)
    first.close()
    queue.read(second, 10 * BLOCK, 3 * BLOCK)
    assert queue.jobs()[0]["stream"]["kept"] is False
    second.close()
    queue.until(lambda: not queue.jobs())
    assert not queue.kept()
    assert queue.state.document_names("stream/") == []


def test_whoever_fetches_what_was_opened_keeps_it(queue, monkeypatch):
    reading = queue.open()
    queue.read(reading, 0, 1000)
    monkeypatch.setattr(streaming_module, "LINGER_S", 0.05)
    job = queue.run(queue.downloads.add(queue.found(), "kino"))
    assert job.target.endswith(b"/kino")
    reading.close()
    queue.until(lambda: queue.jobs()[0]["state"] == "done")
    assert queue.jobs()[0]["stream"]["kept"] is True


def test_what_is_opened_is_kept_if_the_owner_wants_it_so(queue):
    reading = queue.open(is_kept=True)
    reading.close()
    queue.until(lambda: queue.jobs()[0]["state"] == "done")
    assert set(queue.attempts.brought) == set(range(BLOCKS))


def test_readers_take_no_place_of_other_jobs(queue):
    reading = queue.open()
    queue.read(reading, 0, 1000)
    queue.run(queue.downloads.add(queue.found("other.mkv"), None, mark=True))
    queue.until(lambda: any(one["state"] == "done" for one in queue.jobs()))
    reading.close()


def test_a_friend_who_is_away_is_told_at_once_and_leaves_nothing(queue):
    queue.attempts.reason = "source.offline"
    with pytest.raises(NotHereNow, match="nobody who offers it is online"):
        queue.open()
    assert queue.jobs() == []
    # So is one that the owner lets rest, but that stays.
    queue.attempts.reason, queue.attempts.pace_s = "", 0.5
    job = queue.run(queue.downloads.add(queue.found(), None, mark=True))
    queue.run(queue.downloads.pause(job.id))
    queue.until(lambda: not queue.downloads.is_running(job.id))
    with pytest.raises(NotHereNow, match="its job is paused"):
        queue.open()
    assert queue.jobs()[0]["state"] == JobState.PAUSED.value


def test_a_reader_waits_for_a_while_and_then_hears_why(queue, monkeypatch):
    reading = queue.open()
    queue.read(reading, 0, 1000)
    queue.attempts.reason = "source.offline"
    job_id = queue.jobs()[0]["id"]
    queue.until(lambda: not queue.downloads.is_running(job_id))
    place = 30 * BLOCK
    view = memoryview(bytearray(10))
    assert reading.read(view, place) == 0
    monkeypatch.setattr(streaming_module, "PATIENCE_S", 0.0)
    queue.until(lambda: len(queue.attempts.begun) > 1)
    queue.until(lambda: not queue.downloads.is_running(job_id))
    queue.until(lambda: reading._stream.trouble)
    with pytest.raises(NotHereNow, match="nobody who offers it is online"):
        reading.read(view, place)
    reading.close()


def test_so_many_are_open_at_once_and_the_idle_ones_give_way(queue, monkeypatch):
    monkeypatch.setattr(streaming_module, "OPENED_MAX", 2)
    first, second = queue.open("1.mkv"), queue.open("2.mkv")
    with pytest.raises(NotHereNow, match="2 files are open already"):
        queue.open("3.mkv")
    first.close()
    third = queue.open("3.mkv")
    assert sorted(one["name"] for one in queue.jobs()) == ["2.mkv", "3.mkv"]
    second.close()
    third.close()


def test_what_was_open_is_gone_after_a_restart(queue, tmp_path):
    reading = queue.open()
    queue.read(reading, 0, 1000)
    queue.run(queue.downloads.add(queue.found("kept.mkv"), None, mark=True))
    queue.close()
    reading.close()
    again = Queue(tmp_path)
    again.attempts.reason = "source.offline"
    again.downloads.wake()
    again.until(lambda: [one["name"] for one in again.jobs()] == ["kept.mkv"])
    [kept] = again.jobs()
    assert again.kept() <= {kept["id"]}
    again.close()


def test_a_database_that_fails_once_makes_no_job_of_what_was_open(
    queue, tmp_path, monkeypatch
):
    reading = queue.open()
    queue.read(reading, 0, 1000)
    queue.close()
    reading.close()
    monkeypatch.setattr("fonshare_agent.downloads.STORE_RETRY_S", 0.01)
    again = Queue(tmp_path)
    names, fails = again.state.document_names, [StorageError("busy")]

    def document_names(prefix):
        if fails:
            raise fails.pop()
        return names(prefix)

    monkeypatch.setattr(again.state, "document_names", document_names)
    again.downloads.wake()
    again.until(lambda: not again.jobs())
    assert again.attempts.begun == []
    again.close()


def test_streams_that_nobody_reads_do_not_pile_up(queue, monkeypatch):
    monkeypatch.setattr(streaming_module, "IDLE_MAX", 1)
    queue.attempts.pace_s = 0.0
    names = [f"{number}.mkv" for number in range(4)]
    for name in names:
        queue.run(queue.downloads.add(queue.found(name), None, mark=True))
    queue.until(lambda: all(one["state"] == "done" for one in queue.jobs()))
    streaming = queue.run(queue.downloads.streaming.get())
    assert len(streaming._streams) <= 2


def test_a_job_that_its_owner_ends_ends_its_readers(queue):
    reading = queue.open()
    queue.read(reading, 0, 1000)
    queue.run(queue.downloads.cancel(queue.jobs()[0]["id"]))
    place = 30 * BLOCK
    view = memoryview(bytearray(10))

    def is_told():
        try:
            reading.read(view, place)
        except NotHereNow as error:
            return "its job has ended" in str(error)
        return False

    queue.until(is_told)
    reading.close()


def test_what_is_only_opened_comes_at_any_hour_and_a_kept_one_says_why_not(queue):
    why = ["waits for the hours 23:00-07:00"]
    queue.downloads.wire_limits(lambda limits: None, lambda: why[0])
    reading = queue.open()
    assert queue.read(reading, 0, 1000) == queue.attempts.data[:1000]
    reading.close()
    with pytest.raises(NotHereNow, match="23:00"):
        queue.open("other.mkv", is_kept=True)
    assert len(queue.attempts.begun) == 1
    why[0] = ""
    reading = queue.open("other.mkv", is_kept=True)
    assert queue.read(reading, 0, 1000) == queue.attempts.data[:1000]
    reading.close()
