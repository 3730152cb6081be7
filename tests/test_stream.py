"""What the readers of an arriving file want, and what they may have."""

import hashlib
import os

import pytest

from fonshare_agent.disk import Disk
from fonshare_agent.errors import ContentChanged
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN, content_root
from fonshare_agent.receiving import has_all
from fonshare_agent.transfer import stream as stream_module
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.stream import Stream

BLOCKS = 20
BLOCK = BLOCK_SIZE_MIN


class Arrival:
    def __init__(self, path, monkeypatch):
        (path / "disk").mkdir()
        self.disk = Disk(path / "disk", path / "disk-id", os.urandom)
        self.disk.open()
        self.data = os.urandom(BLOCKS * BLOCK)
        self.kept = self.open("job", self.data)
        self.stream = Stream(is_all=True)
        self.stream.attach(self.kept)
        monkeypatch.setattr(stream_module, "WINDOW_BYTES", 4 * BLOCK)

    def open(self, job, data):
        hashes = [
            hashlib.sha256(data[at : at + BLOCK]).digest()
            for at in range(0, len(data), BLOCK)
        ]
        kept = Partial.open(
            self.disk, job, 0, len(data), content_root(len(data), hashes)
        )
        kept.set_hashes(hashes)
        return kept

    def comes(self, *blocks, data=None):
        for index in blocks:
            with self.kept.write_block(index) as writer:
                writer.write((data or self.data)[index * BLOCK : (index + 1) * BLOCK])
                writer.finish()

    def read(self, reader, offset, length):
        view = memoryview(bytearray(length))
        count = self.stream.read(reader, self.stream.content, view, offset)
        return bytes(view[:count])


@pytest.fixture
def arrival(tmp_path, monkeypatch):
    arrival = Arrival(tmp_path, monkeypatch)
    yield arrival
    arrival.stream.close()
    arrival.kept.close()


def test_only_what_is_verified_is_given_out(arrival):
    reader = arrival.stream.begin(BLOCK)
    assert arrival.read(reader, BLOCK, 100) == b""
    arrival.comes(1, data=os.urandom(BLOCKS * BLOCK))  # damaged on its way
    assert arrival.read(reader, BLOCK, 100) == b""
    arrival.comes(1)
    assert arrival.read(reader, BLOCK, 100) == arrival.data[BLOCK : BLOCK + 100]
    # Never beyond the block that is known to be right.
    assert (
        arrival.read(reader, 2 * BLOCK - 10, 100) == arrival.data[2 * BLOCK - 10 :][:10]
    )
    assert arrival.read(reader, 2 * BLOCK, 100) == b""


def test_the_beginning_is_ready_as_far_as_nothing_is_missing(arrival):
    assert arrival.stream.ready_bytes == 0
    arrival.comes(0, 1, 3)
    assert arrival.stream.ready_bytes == 2 * BLOCK
    arrival.comes(2)
    assert arrival.stream.ready_bytes == 4 * BLOCK
    arrival.comes(*range(4, BLOCKS))
    assert arrival.stream.ready_bytes == len(arrival.data)
    assert arrival.stream.is_whole


def test_who_has_least_before_it_comes_first_and_the_beginning_last(arrival):
    stream = arrival.stream
    near, far = stream.begin(2 * BLOCK), stream.begin(9 * BLOCK)
    arrival.comes(*range(2, 7), *range(9, 10))
    assert stream.stretches()[2] == (0, 5)
    assert {stretch[0] for stretch in stream.stretches()[:2]} == {2, 9}
    version = stream.version
    stream.end(near)
    stream.end(far)
    assert stream.stretches() == [(0, 5)]
    stream.begin(0)
    assert stream.version > version


def test_a_reader_moves_its_window_on(arrival):
    arrival.stream.is_all = False
    assert arrival.stream.stretches() == []
    reader = arrival.stream.begin(0)
    assert arrival.stream.wants
    arrival.comes(*range(5))
    assert not arrival.stream.wants, "the window is full"
    arrival.read(reader, 3 * BLOCK, 1000)
    assert arrival.stream.stretches() == [(3, 8)]
    assert arrival.stream.wants


def test_what_was_here_can_be_read_between_two_attempts(arrival):
    reader = arrival.stream.begin(0)
    arrival.comes(0)
    arrival.stream.detach()
    arrival.kept.close()
    assert arrival.read(reader, 0, 100) == arrival.data[:100]
    assert arrival.read(reader, BLOCK, 100) == b""
    arrival.kept = arrival.open("job", arrival.data)
    arrival.stream.attach(arrival.kept)
    arrival.comes(1)
    assert arrival.read(reader, BLOCK, 100) == arrival.data[BLOCK : BLOCK + 100]


def test_nothing_is_held_open_for_nobody(arrival):
    reader = arrival.stream.begin(0)
    arrival.comes(0)
    before = len(os.listdir("/proc/self/fd"))
    arrival.read(reader, 0, 100)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    arrival.stream.detach()
    arrival.stream.end(reader)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reader_never_gets_bytes_of_another_content(arrival):
    content = arrival.stream.content
    reader = arrival.stream.begin(0)
    other = arrival.open("job2", os.urandom(len(arrival.data)))
    arrival.stream.attach(other)
    with pytest.raises(ContentChanged):
        arrival.stream.read(reader, content, memoryview(bytearray(10)), 0)
    other.close()


def test_who_opens_it_again_after_it_has_changed_gets_the_new_bytes(arrival):
    first = arrival.stream.begin(0)
    arrival.comes(0)
    assert arrival.read(first, 0, 100) == arrival.data[:100]
    arrival.stream.detach()  # and what was here stays open for who reads on
    arrival.kept.close()
    arrival.data = os.urandom(len(arrival.data))
    arrival.kept = arrival.open("job2", arrival.data)
    arrival.stream.attach(arrival.kept)
    arrival.comes(0)
    again = arrival.stream.begin(0)
    assert arrival.read(again, 0, 100) == arrival.data[:100]


def test_what_can_only_be_pushed_is_asked_for_by_windows(arrival):
    stream = arrival.stream
    assert stream.missing_range() == (0, 5 * BLOCK)
    stream.is_all = False
    assert stream.missing_range() is None
    reader = stream.begin(6 * BLOCK + 10)
    arrival.comes(6, 8)
    assert stream.missing_range() == (7 * BLOCK, 8 * BLOCK)
    assert not has_all(arrival.kept, 6 * BLOCK, 8 * BLOCK)
    arrival.comes(7)
    assert has_all(arrival.kept, 6 * BLOCK, 8 * BLOCK)
    assert stream.missing_range() == (9 * BLOCK, 11 * BLOCK)
    stream.end(reader)
    stream.begin(len(arrival.data) - 1)
    assert stream.missing_range() == (19 * BLOCK, 20 * BLOCK)


def test_readers_keep_the_file_when_it_gets_its_name(arrival):
    reader = arrival.stream.begin(0)
    arrival.comes(*range(BLOCKS))
    arrival.stream.hold()
    folder = os.fsencode(arrival.disk.path)
    assert arrival.kept.finish(folder, b"film.mkv", 1) == b"film.mkv"
    arrival.kept.remove()
    arrival.stream.detach()
    assert arrival.read(reader, 5 * BLOCK, 100) == arrival.data[5 * BLOCK :][:100]
    # Who has not read before finds it gone, and is told where it is by the next look.
    arrival.stream.end(reader)
    assert arrival.read(arrival.stream.begin(0), 0, 100) == b""
