"""What has arrived is read back from the disk while the rest still arrives."""

import hashlib
import os
import random
import threading

import pytest

from disks import new_disk
from fonshare_agent.errors import StorageError
from fonshare_agent.protocol.content import content_root
from fonshare_agent.transfer import partial as partial_module
from fonshare_agent.transfer import read_back as read_back_module
from fonshare_agent.transfer import writers as writers_module
from fonshare_agent.transfer.blocks import Content
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.read_back import ReadBack
from fonshare_agent.transfer.write_behind import STEP_BYTES
from waiting import wait_until

BLOCK = 128 * 1024
STEP = STEP_BYTES // BLOCK  # blocks
COUNT = 4 * STEP + 3
BYTES = random.Random(3).randbytes(BLOCK)
SIZE = COUNT * BLOCK
HASHES = [hashlib.sha256(BYTES).digest()] * COUNT
NAME, MODIFIED = b"film.mkv", 1_600_000_000


@pytest.fixture
def disk(tmp_path):
    return new_disk(tmp_path)


@pytest.fixture
def partial(disk):
    root = content_root(SIZE, HASHES)
    opened = Partial.open(disk, "job", 0, SIZE, root, lambda: 0.0)
    opened.set_hashes(HASHES)
    yield opened
    opened.close()


@pytest.fixture
def finished(disk, partial):
    """Finishes the partial; returns its answer and how many blocks that has read."""

    def finish():
        read = []
        target = os.fsencode(disk.path / "downloads")
        return partial.finish(target, NAME, MODIFIED, read.append), len(read)

    return finish


def write(partial, indexes, content=BYTES):
    for index in indexes:
        with partial.write_block(index) as writer:
            writer.write(content)
            writer.finish()


def unread(partial):
    return partial._read_back.unread()


def test_the_end_reads_only_what_was_not_read_before(partial, finished):
    write(partial, range(2 * STEP))
    wait_until(lambda: 0 not in unread(partial), "the first step is read")
    write(partial, range(2 * STEP, COUNT))
    wait_until(lambda: len(unread(partial)) <= STEP + 3, "what is on the disk is read")
    assert unread(partial)[-1] == COUNT - 1, "the last block may be in memory alone"
    left = len(unread(partial))
    name, read = finished()
    assert name == NAME
    assert 3 <= read <= left
    path = partial.disk.path / "downloads" / "film.mkv"
    assert path.read_bytes() == BYTES * COUNT


def test_a_block_that_the_disk_has_wrong_is_found_whenever_it_is_read(
    partial, finished, disk, monkeypatch
):
    """The kernel says that all is well, and the disk has other bytes."""
    data = disk.path / ".fonshare/partial/job-0/data"

    def rot(descriptor):
        with open(data, "r+b") as file:
            file.seek(5 * BLOCK + 7)
            file.write(b"rot")

    monkeypatch.setattr(partial_module, "write_behind", rot)
    write(partial, range(3 * STEP))
    wait_until(lambda: len(unread(partial)) <= COUNT - STEP, "a step is read")
    assert 5 in unread(partial)
    monkeypatch.undo()
    write(partial, range(3 * STEP, COUNT))
    assert finished()[0] is None
    assert partial.gaps() == [(5, 6)]
    write(partial, [5])
    assert finished()[0] == NAME


def test_a_block_written_anew_must_be_read_anew(partial, finished):
    write(partial, range(3 * STEP))
    wait_until(lambda: 0 not in unread(partial), "the first step is read")
    write(partial, [0], bytes(BLOCK))
    assert 0 in unread(partial)
    assert not partial.has(0)
    write(partial, range(3 * STEP, COUNT))
    write(partial, [0])
    assert finished()[0] == NAME


def read_all(partial):
    """All blocks arrive, and the disk has shown the first step of them."""
    write(partial, range(3 * STEP))
    wait_until(lambda: 0 not in unread(partial), "the first step is read")
    write(partial, range(3 * STEP, COUNT))


def test_a_slow_writer_of_a_block_that_another_has_brought_spoils_nothing(
    partial, finished
):
    """Its block was given to another lane, which it notices after its next bytes."""
    with partial.write_block(0) as slow:
        read_all(partial)
        slow.write(bytes(1000))
    assert finished()[0] is None
    assert partial.gaps() == [(0, 1)]
    write(partial, [0])
    assert finished()[0] == NAME


def test_what_a_push_has_written_and_nobody_was_told_of_is_read_at_the_end(
    partial, finished
):
    """The end may come between the write and the word about it, or a write fail."""
    read_all(partial)
    descriptor = partial.open_for_writing()
    try:
        with partial.writing(BLOCK - 1, 2):
            os.pwrite(descriptor, b"xx", BLOCK - 1)
    finally:
        os.close(descriptor)
    assert finished()[0] is None
    assert partial.gaps() == [(0, 2)]
    write(partial, [0, 1])
    assert finished()[0] == NAME


def is_refused(partial):
    """Tell whether a push may not write now."""
    try:
        with partial.writing(0, 1):
            return False
    except StorageError:
        return True


def test_the_end_waits_for_a_push_that_is_writing(partial, finished):
    """Else bytes come after their block was read, and the file gets its name."""
    read_all(partial)
    descriptor, names = partial.open_for_writing(), []
    end = threading.Thread(target=lambda: names.append(finished()[0]))
    try:
        with partial.writing(0, 1):
            end.start()
            wait_until(lambda: is_refused(partial), "the end has begun")
            os.pwrite(descriptor, b"x", 0)
    finally:
        os.close(descriptor)
        end.join()
    assert names == [None]
    assert partial.gaps() == [(0, 1)]


def test_an_end_that_failed_lets_pushes_go_on(partial, finished, monkeypatch):
    monkeypatch.setattr(writers_module, "WRITE_S", 0.0)
    read_all(partial)
    with partial.writing(0, 1):
        with pytest.raises(StorageError, match="does not end"):
            finished()
        assert not is_refused(partial)


def test_a_push_that_comes_after_the_end_is_refused(partial, finished):
    read_all(partial)
    assert finished()[0] == NAME
    assert is_refused(partial)
    partial.close()
    assert is_refused(partial)


def test_what_an_earlier_start_has_verified_is_read_by_this_one(disk, finished):
    root = content_root(SIZE, HASHES)
    first = Partial.open(disk, "job", 1, SIZE, root)
    first.set_hashes(HASHES)
    write(first, range(COUNT))
    first.sync()
    first.close()
    again = Partial.open(disk, "job", 1, SIZE, root)
    assert unread(again) == list(range(COUNT))
    again.close()


def test_small_files_need_no_thread(partial):
    write(partial, range(STEP - 1))
    partial.sync()
    assert not [one for one in threading.enumerate() if one.name == "read-back"]


@pytest.mark.parametrize("stage", ["going", "started", "being read", "read"])
def test_old_bytes_never_vouch_for_new_ones(tmp_path, monkeypatch, stage):
    """A block that is taken back at any stage is not right until it comes anew."""
    content = Content.verified(SIZE, content_root(SIZE, HASHES), HASHES)
    path = tmp_path / "data"
    path.write_bytes(BYTES * COUNT)
    real, asked, may_go = (
        read_back_module.is_right,
        threading.Event(),
        threading.Event(),
    )

    def slow(descriptor, content, index, buffer):
        if index == 0:
            asked.set()
            assert may_go.wait(20)
        return real(descriptor, content, index, buffer)

    monkeypatch.setattr(read_back_module, "is_right", slow)
    read_back = ReadBack(content, lambda: os.open(path, os.O_RDONLY))
    for index in range(STEP):
        read_back.note_verified(index)
    read_back.begin_writing()
    if stage == "going":
        read_back.drop(0)
    read_back.end_writing(is_synced=False)
    if stage == "started":
        read_back.drop(0)
    read_back.note_verified(STEP)  # one more, so that there is always enough to read
    read_back.begin_writing()
    read_back.end_writing(is_synced=True)
    if stage == "read":
        assert asked.wait(20)
        may_go.set()
    elif stage == "being read":
        assert asked.wait(20)
        read_back.drop(0)
        may_go.set()
    wait_until(lambda: STEP not in read_back.unread(), "the others are read")
    if stage == "read":
        read_back.drop(0)
    assert 0 in read_back.unread()
    assert 1 not in read_back.unread()
    read_back.stop()


def test_a_disk_that_cannot_be_read_is_left_to_the_end(tmp_path):
    content = Content.verified(SIZE, content_root(SIZE, HASHES), HASHES)

    def gone():
        raise StorageError("no disk")

    for open_data in (gone, lambda: os.open(tmp_path, os.O_RDONLY)):  # a folder: EISDIR
        read_back = ReadBack(content, open_data)
        for index in range(STEP):
            read_back.note_verified(index)
        read_back.begin_writing()
        read_back.end_writing(is_synced=True)
        wait_until(
            lambda: not any(one.name == "read-back" for one in threading.enumerate()),
            "the thread has ended",
        )
        assert len(read_back.unread()) == COUNT
        read_back.stop()


def test_where_no_thread_can_be_begun_the_end_reads_all(partial, finished, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    write(partial, range(COUNT))
    assert len(unread(partial)) == COUNT
    assert finished() == (NAME, COUNT)


def test_a_reader_that_hangs_is_waited_for_once(tmp_path, monkeypatch):
    content = Content.verified(SIZE, content_root(SIZE, HASHES), HASHES)
    monkeypatch.setattr(read_back_module, "STOP_S", 0.01)
    may_go, asked = threading.Event(), threading.Event()

    def hang():
        asked.set()
        assert may_go.wait(60)
        raise StorageError("no disk")

    read_back = ReadBack(content, hang)
    for index in range(STEP):
        read_back.note_verified(index)
    read_back.begin_writing()
    read_back.end_writing(is_synced=True)
    assert asked.wait(20)
    joined = []
    real = threading.Thread.join
    monkeypatch.setattr(
        threading.Thread, "join", lambda *given: (joined.append(given), real(*given))
    )
    read_back.stop()
    read_back.stop()
    assert len(joined) == 1
    may_go.set()
