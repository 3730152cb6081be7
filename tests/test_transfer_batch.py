"""Small files that arrive together: their bytes, their common sync, their names."""

import hashlib
import os

import pytest

from disks import new_disk
from fonshare_agent.errors import DiskFull, DiskMissing, StorageError
from fonshare_agent.model import Root
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN, content_root
from fonshare_agent.transfer import batch as batch_module
from fonshare_agent.transfer.batch import Batch, BatchFile
from fonshare_agent.transfer.leftovers import kept_jobs
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.partial_files import discard_partials, list_numbers

JOB = "job1"


@pytest.fixture
def disk(tmp_path):
    return new_disk(tmp_path)


def root_of(data: bytes) -> Root:
    cut = range(0, len(data), BLOCK_SIZE_MIN)
    hashes = [hashlib.sha256(data[at : at + BLOCK_SIZE_MIN]).digest() for at in cut]
    return content_root(len(data), hashes)


def a_file(disk, number, data, name=None, folder="downloads"):
    place = os.fsencode(disk.path / folder)
    return BatchFile(
        number, len(data), root_of(data), 1_600_000_000, place, name or b"f%d" % number
    )


def write(batch, index, data):
    with batch.write_file(index) as writer:
        for at in range(0, len(data), 1000):
            writer.write(memoryview(data[at : at + 1000]))


def bring(disk, *datas, **changes):
    files = [a_file(disk, at, data, **changes) for at, data in enumerate(datas)]
    batch = Batch.open(disk, JOB, files)
    try:
        for index, data in enumerate(datas):
            write(batch, index, data)
        return batch, batch.finish()
    finally:
        batch.remove()


CONTENTS = (b"", b"a", b"b" * 5000, os.urandom(3 * BLOCK_SIZE_MIN + 17))


def test_files_of_all_sizes_get_their_names_and_times(disk):
    batch, placed = bring(disk, *CONTENTS)
    assert placed == {0: b"f0", 1: b"f1", 2: b"f2", 3: b"f3"}
    assert not batch.wrong
    for number, data in enumerate(CONTENTS):
        found = disk.path / "downloads" / f"f{number}"
        assert found.read_bytes() == data
        assert found.stat().st_mtime == 1_600_000_000
    assert not list_numbers(disk, JOB), "nothing is kept"


def test_a_file_that_came_wrong_or_short_costs_itself_alone(disk):
    files = [a_file(disk, at, b"%d" % at * 2000) for at in range(4)]
    batch = Batch.open(disk, JOB, files)
    write(batch, 0, b"0" * 2000)
    write(batch, 1, b"X" * 2000)
    write(batch, 2, b"2" * 1999)
    write(batch, 3, b"3" * 2000)
    assert batch.wrong == {1, 2}, "it is known as they come"
    assert batch.finish() == {0: b"f0", 3: b"f3"}
    batch.remove()
    assert sorted(os.listdir(disk.path / "downloads")) == ["f0", "f3"]


def test_what_the_disk_did_not_keep_gets_no_name(disk):
    files = [a_file(disk, at, b"%d" % at * 2000) for at in range(2)]
    batch = Batch.open(disk, JOB, files)
    write(batch, 0, b"0" * 2000)
    write(batch, 1, b"1" * 2000)
    kept = disk.path / ".fonshare" / "partial" / f"{JOB}-batch" / "1"
    kept.write_bytes(b"1" * 1000 + b"?" + b"1" * 999)
    assert batch.finish() == {0: b"f0"}
    assert batch.wrong == {1}
    batch.remove()
    assert os.listdir(disk.path / "downloads") == ["f0"]


def test_nothing_is_replaced_and_the_same_content_is_used_as_it_is(disk):
    folder = disk.path / "downloads"
    folder.mkdir()
    (folder / "film.txt").write_bytes(b"of another")
    (folder / "film (2).txt").write_bytes(b"ours")
    _, placed = bring(disk, b"ours", name=b"film.txt")
    assert placed == {0: b"film (2).txt"}
    _, placed = bring(disk, b"new", name=b"film.txt")
    assert placed == {0: b"film (3).txt"}
    assert (folder / "film.txt").read_bytes() == b"of another"


def test_one_sync_comes_before_the_first_name_and_each_folder_once_after(
    disk, monkeypatch
):
    done = []

    def note(module, name, text):
        real = getattr(module, name)

        def noted(*words):
            done.append(text)
            return real(*words)

        monkeypatch.setattr(module, name, noted)

    files = [
        a_file(disk, at, b"%d" % at, folder=folder)
        for at, folder in enumerate(("downloads", "downloads/deep", "downloads"))
    ]
    for folder in ("downloads", "downloads/deep"):
        (disk.path / folder).mkdir()
    batch = Batch.open(disk, JOB, files)
    for index in range(3):
        write(batch, index, b"%d" % index)
    note(batch_module, "sync_file_system", "sync")
    note(batch_module, "take_name", "name")
    note(os, "fsync", "folder")
    batch.finish()
    batch.remove()
    assert done == ["sync", "name", "name", "folder", "name", "folder"]


def test_a_failed_sync_gives_no_name(disk, monkeypatch):
    def fail(descriptor):
        raise OSError(5, "Input/output error")

    batch = Batch.open(disk, JOB, [a_file(disk, 0, b"a")])
    write(batch, 0, b"a")
    monkeypatch.setattr(batch_module, "sync_file_system", fail)
    with pytest.raises(StorageError):
        batch.finish()
    batch.remove()
    assert not (disk.path / "downloads").exists()


def test_where_there_are_no_links_the_names_are_taken_on_record(disk, monkeypatch):
    taken = []
    real = Partial.finish

    def finish(self, *words):
        taken.append(words[1])
        return real(self, *words)

    monkeypatch.setattr(Partial, "finish", finish)
    monkeypatch.setattr(batch_module, "take_name", lambda *_: None)
    _, placed = bring(disk, *CONTENTS)
    assert taken == [b"f0", b"f1", b"f2", b"f3"]
    assert placed == {0: b"f0", 1: b"f1", 2: b"f2", 3: b"f3"}
    for number, data in enumerate(CONTENTS):
        assert (disk.path / "downloads" / f"f{number}").read_bytes() == data
    assert not list_numbers(disk, JOB)


def test_what_a_crash_left_is_gone_with_the_next_batch_and_with_the_job(disk):
    batch = Batch.open(disk, JOB, [a_file(disk, 7, b"abc")])
    write(batch, 0, b"abc")
    batch.close()  # a crash
    assert kept_jobs(disk) == {JOB}
    again = Batch.open(disk, JOB, [a_file(disk, 7, b"new")])
    write(again, 0, b"new")
    assert again.finish() == {7: b"f7"}
    again.close()
    discard_partials(disk, JOB)
    assert kept_jobs(disk) == set()


def test_a_full_or_pulled_disk_is_told(disk):
    huge = BatchFile(0, 1 << 60, root_of(b""), 0, b"/", b"f")
    with pytest.raises(DiskFull):
        Batch.open(disk, JOB, [huge])
    batch = Batch.open(disk, JOB, [a_file(disk, 0, b"abc")])
    write(batch, 0, b"abc")
    (disk.path / ".fonshare" / "disk-id").rename(disk.path / "elsewhere")
    with pytest.raises(DiskMissing):
        batch.finish()
    assert not (disk.path / "downloads").exists()
    batch.close()
