"""A file that arrives in blocks: killed anywhere, pushed, damaged, and put in place."""

import errno
import hashlib
import os
import random
import stat
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disks import new_disk
from fonshare_agent import own_folder
from fonshare_agent.disk import Disk, DiskSpace
from fonshare_agent.errors import (
    BadContent,
    BadPath,
    DiskFull,
    DiskMissing,
    DiskReadOnly,
    FileTooLarge,
    StorageError,
    TargetElsewhere,
)
from fonshare_agent.model import Root
from fonshare_agent.protocol.content import content_root
from fonshare_agent.receiving import missing_range
from fonshare_agent.storable import storable_folder, storable_name
from fonshare_agent.transfer import placing
from fonshare_agent.transfer.blocks import BlockMap
from fonshare_agent.transfer.disk_guard import CHECK_BYTES, CHECK_S
from fonshare_agent.transfer.finishing import folder_on_disk
from fonshare_agent.transfer.leftovers import kept_jobs
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.partial_files import discard_partials
from fonshare_agent.transfer.placing import candidate_names
from fonshare_agent.transfer.write_behind import (
    LAST_STEP_BYTES,
    STEP_BYTES,
    SYNC_BYTES,
    SYNC_PERIOD_S,
    Aside,
    Backlog,
    Due,
    write_behind,
)
from waiting import PATIENCE_S, wait_until

BLOCK = 128 * 1024
DATA = random.Random(1).randbytes(2 * BLOCK + 1000)
NAME = "Bréhat.mkv".encode()
MODIFIED = 1_600_000_000


def hashes_of(data):
    pieces = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
    return [hashlib.sha256(piece).digest() for piece in pieces]


def root_of(data):
    return content_root(len(data), hashes_of(data))


@pytest.fixture
def disk(tmp_path):
    return new_disk(tmp_path)


@pytest.fixture
def target(disk):
    return os.fsencode(disk.path / "downloads" / "Famille" / "anna")


@pytest.fixture
def opened(disk):
    """Opens partials of DATA, and closes them in the end."""
    all_opened = []

    def call(data=DATA, number=0, **options):
        partial = Partial.open(disk, "job", number, len(data), root_of(data), **options)
        all_opened.append(partial)
        if not partial.has_hashes:
            partial.set_hashes(hashes_of(data))
        return partial

    yield call
    for partial in all_opened:
        partial.close()


def write(partial, index, data=DATA):
    """Feed one block in the pieces that a socket would give."""
    offset, length = partial.content.range(index)
    with partial.write_block(index) as writer:
        for at in range(offset, offset + length, 50_000):
            writer.write(data[at : min(at + 50_000, offset + length)])
        return writer.finish()


def fill(partial, data=DATA):
    for first, end in partial.gaps():
        for index in range(first, end):
            assert write(partial, index, data)


def listing(folder):
    return sorted(os.listdir(folder))


def read(folder, name=NAME):
    with open(folder + b"/" + name, "rb") as file:
        return file.read()


# --- blocks ------------------------------------------------------------


def test_a_file_arrives_in_any_order_and_gets_its_name_time_and_content(opened, target):
    partial = opened()
    assert partial.gaps() == [(0, 3)]
    for index in (2, 0, 1):
        assert write(partial, index)
        assert partial.has(index)
    assert partial.is_complete
    assert partial.done_bytes == len(DATA)
    assert partial.finish(target, NAME, MODIFIED) == NAME

    assert read(target) == DATA
    found = os.stat(target + b"/" + NAME)
    assert found.st_mtime == MODIFIED
    assert stat.S_IMODE(found.st_mode) & 0o600 == 0o600
    partial.remove()
    assert listing(partial.disk.path / ".fonshare" / "partial") == []


def test_the_done_bytes_count_the_short_last_block_as_what_it_is(opened):
    partial = opened()
    write(partial, 2)
    assert partial.done_bytes == 1000
    assert missing_range(partial) == (0, 2 * BLOCK)
    write(partial, 0)
    assert partial.done_bytes == BLOCK + 1000
    assert missing_range(partial) == (BLOCK, 2 * BLOCK)
    write(partial, 1)
    assert missing_range(partial) == (0, 0)


def test_a_block_with_one_wrong_byte_does_not_count(opened):
    partial = opened()
    assert not write(partial, 1, DATA.replace(DATA[BLOCK : BLOCK + 9], bytes(9)))
    assert not partial.has(1)
    assert partial.done_bytes == 0


def test_a_block_cut_short_does_not_count_and_one_too_long_is_a_bug(opened):
    partial = opened()
    with partial.write_block(0) as writer:
        writer.write(DATA[:1000])
        assert writer.left == BLOCK - 1000
        assert not writer.finish()
    with partial.write_block(2) as writer, pytest.raises(ValueError, match="more"):
        writer.write(DATA)
    assert partial.gaps() == [(0, 3)]


def test_a_block_that_is_written_again_must_prove_itself_again(opened):
    partial = opened()
    write(partial, 0)
    assert not write(partial, 0, bytes(len(DATA)))
    assert not partial.has(0)


@pytest.mark.parametrize("change", [lambda h: h[:-1], lambda h: [*h, h[0]], sorted])
def test_hashes_that_do_not_give_the_root_are_refused(disk, change):
    partial = Partial.open(disk, "job", 0, len(DATA), root_of(DATA))
    hashes = hashes_of(DATA)
    assert change(hashes) != hashes
    with pytest.raises(BadContent):
        partial.set_hashes(change(hashes))
    assert not partial.has_hashes
    partial.close()


def test_an_empty_file_is_complete_at_once(disk, target):
    partial = Partial.open(disk, "job", 0, 0, root_of(b""))
    assert partial.has_hashes
    assert partial.is_complete
    assert partial.finish(target, b"empty", MODIFIED) == b"empty"
    assert read(target, b"empty") == b""
    partial.remove()


# --- starting again ------------------------------------------------------------


def test_what_was_synced_is_there_after_a_restart_and_what_was_not_is_fetched_again(
    opened,
):
    first = opened()
    write(first, 0)
    first.sync()
    write(first, 1)
    first.close()

    again = opened()
    assert again.has_hashes
    assert again.gaps() == [(1, 3)]


def test_blocks_are_synced_by_amount_and_by_time(opened, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    partial = opened(clock=lambda: clock.now)
    write(partial, 0)
    partial.close()
    assert opened().gaps() == [(0, 3)]

    partial = opened(clock=lambda: clock.now)
    clock.now = SYNC_PERIOD_S
    write(partial, 0)
    partial.close()
    assert opened().gaps() == [(1, 3)]

    monkeypatch.setattr("fonshare_agent.transfer.write_behind.SYNC_BYTES", 1000)
    partial = opened(clock=lambda: clock.now)
    write(partial, 2)
    partial.close()
    assert opened().gaps() == [(1, 2)]
    assert SYNC_BYTES == 32 * 1024 * 1024


@pytest.mark.parametrize("mib", [1, 5, 39, 40, 41, 100])
def test_little_is_left_for_the_last_sync_to_write(mib):
    backlog, block, size = Backlog(lambda: 0.0), 256 * 1024, mib << 20
    dirty = started = 0
    for left in range(size - block, -1, -block):
        dirty += block
        if backlog.add(block, left) is not Due.NOTHING:
            dirty, started = 0, started + 1
    assert dirty <= LAST_STEP_BYTES
    assert started <= size // STEP_BYTES + 4


def test_another_root_never_meets_bytes_of_the_first(opened):
    first = opened()
    write(first, 0)
    first.sync()
    first.close()

    other = opened(bytes(len(DATA)))
    assert other.gaps() == [(0, 3)]
    other.close()
    assert opened().gaps() == [(0, 3)]


def test_another_root_leaves_no_room_taken_by_the_first(opened, disk):
    first = opened()
    fill(first)
    first.sync()
    first.close()
    root = root_of(bytes(len(DATA)))
    Partial.open(disk, "job", 0, len(DATA), root).close()

    folder = disk.path / ".fonshare/partial/job-0"
    assert listing(folder) == ["data"]
    assert (folder / "data").stat().st_size == 0


def test_a_record_of_another_root_or_beyond_the_data_promises_nothing(opened, disk):
    partial = opened()
    fill(partial)
    partial.sync()
    partial.close()
    folder = disk.path / ".fonshare/partial/job-0"
    record = (folder / "have").read_bytes()
    (folder / "have").write_bytes(bytes(32) + record[32:])
    assert opened().gaps() == [(0, 3)]
    (folder / "have").write_bytes(record)
    os.truncate(folder / "data", 2 * BLOCK - 1)
    assert opened().gaps() == [(1, 3)]


@pytest.mark.parametrize("victim", ["blocks", "have", "data"])
@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\0" * 5000])
def test_damage_of_any_file_costs_time_but_never_a_wrong_file(
    opened, disk, target, victim, damage
):
    partial = opened()
    fill(partial)
    partial.sync()
    partial.close()
    (disk.path / ".fonshare/partial/job-0" / victim).write_bytes(damage)

    again = opened()
    fill(again)
    if again.finish(target, NAME, MODIFIED) is None:
        assert listing(target) == []
        fill(again)
        assert again.finish(target, NAME, MODIFIED) == NAME
    assert read(target) == DATA


def test_a_block_that_rots_on_the_disk_is_found_at_the_end_and_fetched_again(
    opened, disk, target
):
    partial = opened()
    fill(partial)
    partial.sync()
    with open(disk.path / ".fonshare/partial/job-0/data", "r+b") as data:
        data.seek(BLOCK + 5)
        data.write(b"rot")

    assert partial.finish(target, NAME, MODIFIED) is None
    assert listing(target) == []
    assert partial.gaps() == [(1, 2)]
    partial.close()
    again = opened()
    assert again.gaps() == [(1, 2)]
    fill(again)
    assert again.finish(target, NAME, MODIFIED) == NAME
    assert read(target) == DATA


def test_a_failed_sync_forgets_what_it_could_not_promise(opened, monkeypatch):
    partial = opened()
    write(partial, 0)
    partial.sync()
    write(partial, 1)

    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StorageError, match="Input/output"):
        partial.sync()
    assert partial.gaps() == [(1, 3)]


def large(disk, mib):
    """A partial of *mib* MiB, all of it the same block."""
    block, size = random.Random(2).randbytes(BLOCK), mib << 20
    hashes = [hashlib.sha256(block).digest()] * (size // BLOCK)
    root = content_root(size, hashes)
    partial = Partial.open(disk, "job", 0, size, root, lambda: 0.0)
    partial.set_hashes(hashes)
    return partial, block


def fill_with(partial, block, indexes=None):
    for index in indexes or range(partial.content.count):
        with partial.write_block(index) as writer:
            writer.write(block)
            assert writer.finish()


def test_a_hundred_megabytes_cost_few_syncs_and_never_wait_in_memory(
    disk, target, monkeypatch
):
    partial, block = large(disk, 100)
    syncs, written, most = [], [0], [0]

    def counted(name):
        real = getattr(os, name)

        def call(descriptor):
            syncs.append(name)
            written[0] = 0
            real(descriptor)

        monkeypatch.setattr(os, name, call)

    def behind(descriptor):
        written[0] = 0
        write_behind(descriptor)

    counted("fsync")
    counted("fdatasync")
    monkeypatch.setattr("fonshare_agent.transfer.partial.write_behind", behind)
    for index in range(partial.content.count):
        fill_with(partial, block, [index])
        written[0] += BLOCK
        most[0] = max(most[0], written[0])
    assert partial.finish(target, NAME, MODIFIED) == NAME
    partial.remove()
    partial.close()
    assert most[0] <= 2 * STEP_BYTES + BLOCK
    # Each 32 MiB: the data, the record of it and its folder; at the end the file's
    # time, its name on record and in place, and the folders.
    assert len(syncs) <= 3 * 4 + 12, syncs


def test_what_could_not_be_written_behind_is_missing(opened, disk, monkeypatch):
    partial, block = large(disk, 8)

    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fonshare_agent.transfer.partial.write_behind", fail)

    with pytest.raises(StorageError, match="Input/output"):
        fill_with(partial, block)
    assert not partial.has(0)
    partial.close()


def test_who_fetches_goes_on_while_the_disk_writes_but_not_further_than_a_step(
    disk, monkeypatch
):
    partial, block = large(disk, 12)
    is_free, begun = threading.Event(), threading.Event()

    def hold(_):
        begun.set()
        assert is_free.wait(PATIENCE_S)

    monkeypatch.setattr("fonshare_agent.transfer.partial.write_behind", hold)
    step = range(STEP_BYTES // BLOCK)
    fill_with(partial, block, step)
    assert begun.wait(PATIENCE_S)
    fill_with(partial, block, [index + len(step) for index in step[:-1]])
    further = threading.Thread(
        target=fill_with, args=(partial, block, [2 * len(step) - 1])
    )
    further.start()
    wait_until(lambda: partial.has(2 * len(step) - 1), "the second step has come")
    assert further.is_alive()
    is_free.set()
    further.join(PATIENCE_S)
    partial.close()


def test_what_went_wrong_aside_is_told_to_who_comes_next_and_once():
    def fail():
        raise StorageError("gone")

    aside = Aside()
    aside.begin(fail)
    with pytest.raises(StorageError, match="gone"):
        aside.begin(fail)
    aside.begin(fail)
    with pytest.raises(StorageError, match="gone"):
        aside.wait()
    aside.wait()
    aside.begin(fail)
    aside.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_aside_is_told_as_well(opened):
    def fail():
        raise ZeroDivisionError

    aside = Aside()
    aside.begin(fail)
    with pytest.raises(StorageError):
        aside.wait()
    aside.wait()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_file_gets_no_name_before_the_sync_that_failed_aside_is_made(
    disk, target, monkeypatch
):
    now, synced, data = [0.0], [], bytes(BLOCK)
    partial = Partial.open(disk, "j", 0, BLOCK, root_of(data), lambda: now[0])
    partial.set_hashes(hashes_of(data))
    with monkeypatch.context() as broken:
        broken.setattr(partial, "_write_out", lambda how: 1 // 0)
        now[0] = SYNC_PERIOD_S
        fill_with(partial, data, [0])
        with pytest.raises(StorageError):
            partial.finish(target, NAME, MODIFIED)
    whole_sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), whole_sync(fd)))
    assert partial.finish(target, NAME, MODIFIED) == NAME
    assert synced
    partial.close()


def test_without_a_thread_it_is_done_at_once(monkeypatch):
    def none_left(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    done = []
    aside = Aside()
    aside.begin(lambda: done.append(1))
    assert done == [1]
    aside.stop()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_where_the_kernel_has_no_such_call_the_data_is_synced(
    tmp_path, monkeypatch, number
):
    def refuse(name, *kinds):
        def call(*arguments):
            raise OSError(number, "no")

        return call

    synced = []
    monkeypatch.setattr("fonshare_agent.transfer.write_behind.libc_call", refuse)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    write_behind(5)
    assert synced == [5]


def test_writing_behind_reaches_the_kernel(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        write_behind(file.fileno())
        write_behind(file.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        write_behind(1 << 20)


def test_files_of_jobs_are_listed_and_discarded_one_by_one_and_together(opened, disk):
    for number in range(3):
        opened(number=number).close()
    Partial.open(disk, "other", 0, 0, root_of(b"")).close()
    assert kept_jobs(disk) == {"job", "other"}

    discard_partials(disk, "job", 1)
    assert listing(disk.path / ".fonshare" / "partial") == ["job-0", "job-2", "other-0"]
    discard_partials(disk, "job")
    discard_partials(disk, "job")
    assert kept_jobs(disk) == {"other"}


def test_only_plain_ids_name_a_folder(disk):
    for bad in ("../x", "", "a-b", "é"):
        with pytest.raises(ValueError, match="cannot name"):
            Partial.open(disk, bad, 0, 0, root_of(b""))


def test_no_descriptor_stays_open_so_that_the_disk_can_be_unmounted(opened, target):
    before = listing("/proc/self/fd")
    partial = opened()
    fill(partial)
    partial.close()
    assert listing("/proc/self/fd") == before
    partial = opened()
    fill(partial)
    partial.finish(target, NAME, MODIFIED)
    partial.remove()
    partial.close()
    assert listing("/proc/self/fd") == before


def test_a_closed_partial_takes_nothing_more(opened, target):
    partial = opened()
    fill(partial)
    partial.close()
    for use in (
        lambda: partial.write_block(0),
        partial.open_for_writing,
        partial.sync,
        lambda: partial.finish(target, NAME, MODIFIED),
        lambda: partial.verify_written(0, BLOCK),
    ):
        with pytest.raises(StorageError, match="closed"):
            use()


# --- pushes ------------------------------------------------------------


def push(partial, offset, end, data=DATA, stretch=30_000):
    """Write as the friends' door does; return the blocks told to be wrong."""
    bad = []
    descriptor = partial.open_for_writing()
    try:
        for at in range(offset, end, stretch):
            piece = data[at : min(at + stretch, end)]
            with partial.writing(at, len(piece)):
                os.pwrite(descriptor, piece, at)
            bad += partial.verify_written(at, len(piece))
    finally:
        os.close(descriptor)
    return bad


def test_a_pushed_file_counts_block_by_block(opened, target):
    partial = opened()
    assert push(partial, 0, BLOCK + 1000) == []
    assert partial.gaps() == [(1, 3)]
    assert push(partial, BLOCK, len(DATA)) == []
    assert partial.is_complete
    assert partial.finish(target, NAME, MODIFIED) == NAME
    assert read(target) == DATA


def test_wrong_pushed_bytes_are_told_and_do_not_count(opened):
    partial = opened()
    wrong = bytes(BLOCK) + DATA[BLOCK:]
    assert push(partial, 0, len(DATA), wrong) == [0]
    assert partial.gaps() == [(0, 1)]


def test_a_push_that_begins_inside_a_block_does_not_complete_it(opened):
    partial = opened()
    push(partial, 500, BLOCK)
    assert partial.gaps() == [(0, 3)]
    push(partial, 0, 1000)
    push(partial, 1000, BLOCK)
    assert partial.gaps() == [(1, 3)]


def test_a_push_over_verified_blocks_makes_them_prove_themselves_again(opened, target):
    partial = opened()
    fill(partial)
    push(partial, 0, 1000, bytes(len(DATA)))
    assert partial.gaps() == [(0, 1)]
    assert not partial.is_complete


def test_a_push_beyond_the_end_leaves_no_tail(opened, target):
    partial = opened()
    fill(partial)
    descriptor = partial.open_for_writing()
    os.pwrite(descriptor, b"tail", len(DATA))
    assert partial.verify_written(len(DATA), 4) == []
    os.close(descriptor)

    assert partial.finish(target, NAME, MODIFIED) == NAME
    assert read(target) == DATA


def test_several_threads_write_blocks_side_by_side(opened, target):
    data = random.Random(2).randbytes(40 * BLOCK)
    partial = opened(data)
    threads = [
        threading.Thread(
            target=lambda part=part: [
                write(partial, index, data) for index in range(part, 40, 4)
            ]
        )
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert partial.finish(target, NAME, MODIFIED) == NAME
    assert read(target) == data


# --- names ------------------------------------------------------------


@pytest.fixture(params=["renameat2", "link", "placeholder"])
def way(request, monkeypatch):
    """The three ways to move without overwriting."""

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")  # as FAT does

    if request.param != "link":
        monkeypatch.setattr(os, "link", refuse)
    if request.param == "placeholder":
        monkeypatch.setattr(placing, "_find_renameat2", lambda: None)
    elif request.param == "renameat2" and placing._find_renameat2() is None:
        pytest.skip("this libc has no renameat2")
    return request.param


def occupy(target, name, content):
    os.makedirs(target, exist_ok=True)
    with open(target + b"/" + name, "wb") as file:
        file.write(content)


def test_a_name_taken_by_other_content_gets_a_number(way, opened, target):
    occupy(target, NAME, b"mine")
    occupy(target, "Bréhat (2).mkv".encode(), DATA[:-1] + b"x")
    occupy(target, "Bréhat (3).mkv".encode(), DATA + b"and more")
    partial = opened()
    fill(partial)

    assert partial.finish(target, NAME, MODIFIED) == "Bréhat (4).mkv".encode()
    assert read(target) == b"mine"
    assert read(target, "Bréhat (4).mkv".encode()) == DATA
    assert len(listing(target)) == 4


def test_a_placeholder_that_somebody_has_filled_meanwhile_is_left_alone(opened, target):
    partial = opened()
    fill(partial)
    partial._files.write_final(NAME, placeholder=True)
    occupy(target, NAME, b"somebody's")

    assert partial.finish(target, NAME, MODIFIED) == "Bréhat (2).mkv".encode()
    assert read(target) == b"somebody's"


def test_a_file_with_the_same_content_is_used_as_it_is(way, opened, target):
    occupy(target, NAME, DATA)
    before = os.stat(target + b"/" + NAME)
    partial = opened()
    fill(partial)

    assert partial.finish(target, NAME, MODIFIED) == NAME
    assert os.stat(target + b"/" + NAME).st_ino == before.st_ino
    assert partial.finish(target, NAME, MODIFIED) == NAME
    assert listing(target) == [NAME]


@pytest.mark.parametrize("kind", ["folder", "link", "dangling"])
def test_a_folder_or_link_of_that_name_is_left_alone(opened, target, tmp_path, kind):
    os.makedirs(target)
    taken = target + b"/" + NAME
    (tmp_path / "elsewhere").write_bytes(DATA)
    if kind == "folder":
        os.mkdir(taken)
    else:
        os.symlink(tmp_path / ("elsewhere" if kind == "link" else "nowhere"), taken)
    partial = opened()
    fill(partial)

    assert partial.finish(target, NAME, MODIFIED) == "Bréhat (2).mkv".encode()
    assert (tmp_path / "elsewhere").read_bytes() == DATA
    assert os.path.islink(taken) == (kind != "folder")


def test_names_of_any_bytes_are_kept(opened, target):
    for number, name in enumerate(
        [b"\xff\xfe.mkv", b"a\nb", b'#%"*', b"-rf", b"x" * 255, b" ", b"con"]
    ):
        partial = opened(number=number)
        fill(partial)
        assert partial.finish(target, name, MODIFIED) == name
        assert read(target, name) == DATA


@pytest.mark.parametrize("folder", ["../outside", ".fonshare/x", "link/inside"])
def test_a_target_outside_of_the_disk_or_through_a_link_is_refused(
    opened, disk, tmp_path, folder
):
    (tmp_path / "outside").mkdir()
    (disk.path / "link").symlink_to(tmp_path / "outside")
    partial = opened()
    fill(partial)

    with pytest.raises((TargetElsewhere, BadPath), match=r"not on the disk|names|link"):
        partial.finish(os.fsencode(disk.path / folder), NAME, MODIFIED)
    assert listing(tmp_path / "outside") == []
    assert partial.is_complete


def test_another_file_system_below_the_disk_is_told(opened, target, monkeypatch):
    def elsewhere(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", elsewhere)
    partial = opened()
    fill(partial)
    with pytest.raises(TargetElsewhere) as caught:
        partial.finish(target, NAME, MODIFIED)
    assert caught.value.code == "target.elsewhere"
    assert partial.is_complete


def test_a_name_that_fat_refuses_gets_a_similar_one(opened, target, monkeypatch):
    real = os.link

    def as_fat(source, name, **options):
        if b":" in name:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(source, name, **options)

    def claim(spot):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(placing, "_find_renameat2", lambda: None)
    monkeypatch.setattr(os, "link", as_fat)
    monkeypatch.setattr(placing, "_claim", claim)
    partial = opened()
    fill(partial)

    assert partial.finish(target, b"Part 1: the sea?.mkv", 0) == b"Part 1_ the sea_.mkv"
    assert read(target, b"Part 1_ the sea_.mkv") == DATA


@given(st.binary(min_size=1, max_size=255).filter(lambda n: b"/" not in n))
def test_every_candidate_name_fits_and_differs(name):
    names = candidate_names(name)
    first = [next(names) for _ in range(12)]
    assert first[0] == name
    assert len(set(first)) == 12
    assert all(0 < len(one) <= 255 for one in first)


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("a.mkv", "a (2).mkv"),
        ("a", "a (2)"),
        (".hidden", ".hidden (2)"),
        ("a.", "a. (2)"),
        ("a.b.c", "a.b (2).c"),
        ("St. Malo to Bréhat and back", "St. Malo to Bréhat and back (2)"),
        ("é" * 125 + ".mkv", "é" * 123 + " (2).mkv"),
    ],
)
def test_the_number_goes_before_the_extension(name, second):
    names = candidate_names(name.encode())
    next(names)
    assert next(names).decode() == second


def test_what_fat_refuses_is_replaced():
    assert storable_name(b"a<b>|c\n?.") == b"a_b__c____"[: len(b"a<b>|c\n?.")]
    assert storable_name(b"\xff.mkv").decode() == "\N{REPLACEMENT CHARACTER}.mkv"
    assert storable_name("Bréhat.mkv".encode()) == "Bréhat.mkv".encode()
    assert storable_name(b"...") == b"___"


def test_a_folder_is_replaced_below_the_disk_only(tmp_path):
    disk = tmp_path / "a:b"
    kept = os.fsencode(disk)
    assert storable_folder(kept + b"/x/Part 1: z", disk) == kept + b"/x/Part 1_ z"
    assert storable_folder(kept, disk) == kept
    assert storable_folder(b"/else/where?", disk) == b"/else/where?"


@pytest.mark.parametrize("modified", [-(2**62), -5, 2**31 + 5, 2**62])
def test_a_time_that_cannot_be_kept_is_left_out(opened, target, modified):
    partial = opened()
    fill(partial)
    assert partial.finish(target, NAME, modified) == NAME


# --- the disk ------------------------------------------------------------


def test_a_file_that_does_not_fit_is_refused_before_anything_is_written(
    disk, monkeypatch
):
    monkeypatch.setattr(Disk, "space", lambda _: DiskSpace(10**9, 200_000_000))
    with pytest.raises(DiskFull, match="do not fit") as caught:
        Partial.open(disk, "job", 0, 200_000_000, Root(bytes(32)))
    assert caught.value.code == "disk.full"
    # The reserve is the smaller of 64 MiB and a hundredth.
    Partial.open(disk, "job", 0, 190_000_000, Root(bytes(32))).close()
    with pytest.raises(DiskFull):
        Partial.open(disk, "job", 0, 190_000_001, Root(bytes(32)))
    monkeypatch.setattr(Disk, "space", lambda _: DiskSpace(10**12, 2**26 + 5))
    Partial.open(disk, "job", 0, 5, Root(bytes(32))).close()


def test_a_disk_that_fills_up_meanwhile_stops_the_next_block(opened, monkeypatch):
    partial = opened()
    write(partial, 0)
    monkeypatch.setattr(Disk, "space", lambda _: DiskSpace(10**9, 10_000_001))
    with pytest.raises(DiskFull):
        partial.write_block(1)
    with pytest.raises(DiskFull):
        partial.open_for_writing()
    assert partial.gaps() == [(1, 3)]
    monkeypatch.undo()
    fill(partial)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EFBIG, FileTooLarge),
        (errno.EROFS, DiskReadOnly),
        (errno.EIO, StorageError),
    ],
)
def test_what_the_system_says_while_writing_is_told_by_its_code(
    opened, monkeypatch, number, expected
):
    partial = opened()

    def fail(*_):
        raise OSError(number, os.strerror(number))

    with partial.write_block(0) as writer:
        monkeypatch.setattr(os, "pwrite", fail)
        with pytest.raises(expected) as caught:
            writer.write(b"x")
    assert type(caught.value) is expected
    monkeypatch.undo()
    fill(partial)


def test_a_file_beyond_what_the_file_system_holds_is_refused_at_once(disk, monkeypatch):
    def as_fat(descriptor, offset, whence):
        if offset >= 2**32:
            raise OSError(errno.EINVAL, "Invalid argument")
        return offset

    monkeypatch.setattr(os, "lseek", as_fat)
    monkeypatch.setattr(Disk, "space", lambda _: DiskSpace(10**12, 10**12))
    with pytest.raises(FileTooLarge) as caught:
        Partial.open(disk, "job", 0, 2**32, Root(bytes(32)))
    assert caught.value.code == "disk.file_too_large"
    Partial.open(disk, "job", 0, 2**32 - 1, Root(bytes(32))).close()


def test_nothing_is_begun_once_the_disk_is_gone(opened, disk, target):
    partial = opened()
    fill(partial)
    (disk.path / ".fonshare" / "disk-id").unlink()
    for use in (
        partial.open_for_writing,
        lambda: partial.finish(target, NAME, MODIFIED),
        lambda: Partial.open(disk, "job", 1, 0, root_of(b"")),
        lambda: discard_partials(disk, "job"),
    ):
        with pytest.raises(DiskMissing):
            use()
    assert not os.path.exists(target)


def test_a_disk_pulled_inside_a_large_block_is_noticed(opened, disk, monkeypatch):
    monkeypatch.setattr("fonshare_agent.transfer.disk_guard.CHECK_BYTES", 1000)
    partial = opened()
    with partial.write_block(0) as writer:
        writer.write(DATA[:999])
        (disk.path / ".fonshare" / "disk-id").unlink()
        with pytest.raises(DiskMissing):
            writer.write(DATA[999:2000])


def test_a_pulled_disk_is_noticed_within_a_mebibyte_of_small_blocks(disk):
    partial, block = large(disk, 4)
    (disk.path / ".fonshare" / "disk-id").unlink()
    with pytest.raises(DiskMissing):
        fill_with(partial, block)
    assert partial.done_bytes < CHECK_BYTES
    partial.close()


def test_a_pulled_disk_is_noticed_within_a_second_on_a_slow_line(opened, disk):
    clock = SimpleNamespace(now=0.0)
    partial = opened(clock=lambda: clock.now)
    (disk.path / ".fonshare" / "disk-id").unlink()
    write(partial, 0)
    clock.now = CHECK_S
    with pytest.raises(DiskMissing):
        partial.write_block(1)


def test_five_gibibytes_take_no_room_before_they_arrive(disk):
    partial = Partial.open(disk, "job", 0, 5 << 30, Root(bytes(32)))
    data = disk.path / ".fonshare/partial/job-0/data"
    assert data.stat().st_blocks == 0
    partial.close()


# --- killed anywhere ------------------------------------------------------------

CALLS = ("open", "pwrite", "fdatasync", "fsync", "rename", "link", "unlink", "mkdir")


def do_job(disk, target, record):
    """The whole job as the agent does it: fetch, finish, note the name, remove."""
    if record.exists():
        discard_partials(disk, "job")
        return
    partial = Partial.open(disk, "job", 0, len(DATA), root_of(DATA))
    if not partial.has_hashes:
        partial.set_hashes(hashes_of(DATA))
    fill(partial)
    name = partial.finish(target, NAME, MODIFIED)
    assert name is not None
    record.write_bytes(name)
    partial.remove()


def die_at(steps, work):
    """Run *work* in a child that exits at its call number *steps*; True if it did."""
    child = os.fork()
    if child == 0:
        left = [steps]

        def dying(real):
            def call(*args, **options):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return real(*args, **options)

            return call

        for name in CALLS:
            setattr(os, name, dying(getattr(os, name)))
        try:
            work()
        except BaseException:
            os._exit(2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 9


def test_killed_at_any_step_the_job_ends_with_the_file_and_nothing_else(
    way, disk, target, tmp_path
):
    record = tmp_path / "record"
    steps, killed = 0, True
    while killed:
        killed = die_at(steps, lambda: do_job(disk, target, record))
        if os.path.isdir(target):
            for name in os.listdir(target):
                content = read(target, name)
                is_placeholder = way == "placeholder" and content == b""
                assert content == DATA or is_placeholder
        if steps % 3 == 0:  # a second kill on the way back
            die_at(steps // 3 + 2, lambda: do_job(disk, target, record))
        do_job(disk, target, record)
        do_job(disk, target, record)

        assert record.read_bytes() == NAME
        assert listing(target) == [NAME]
        assert read(target) == DATA
        assert kept_jobs(disk) == set()
        record.unlink()
        os.unlink(target + b"/" + NAME)
        steps += 1
    assert steps > 30


def test_a_file_taken_away_between_the_rename_and_the_record_is_fetched_again(
    opened, target
):
    partial = opened()
    fill(partial)
    partial.finish(target, NAME, MODIFIED)
    partial.close()
    os.unlink(target + b"/" + NAME)

    again = opened()
    assert again.is_complete
    assert again.finish(target, NAME, MODIFIED) is None
    assert again.gaps() == [(0, 3)]
    fill(again)
    assert again.finish(target, NAME, MODIFIED) == NAME
    assert read(target) == DATA


def test_reading_back_can_be_given_up_and_loses_nothing(opened, target):
    class GivenUp(Exception):
        pass

    def give_up(_):
        raise GivenUp

    partial = opened()
    fill(partial)
    with pytest.raises(GivenUp):
        partial.finish(target, NAME, MODIFIED, give_up)
    assert listing(target) == []
    assert partial.is_complete


# --- the bitmap ------------------------------------------------------------


@given(st.integers(1, 70), st.data())
def test_a_block_map_is_a_set_of_numbers(count, data):
    numbers = data.draw(st.sets(st.integers(0, count - 1)))
    blocks = BlockMap(count)
    for index in range(count):
        blocks.add(index)
    for index in set(range(count)) - numbers:
        blocks.drop(index)

    assert set(blocks) == numbers
    assert len(blocks) == len(numbers)
    missing = [i for first, end in blocks.gaps() for i in range(first, end)]
    assert missing == sorted(set(range(count)) - numbers)
    again = BlockMap.decode(count, blocks.encode())
    assert again is not None
    assert set(again) == numbers


@pytest.mark.parametrize("raw", [b"", b"\xff", b"\x01\x02\x03", b"\x00\x04"])
def test_a_bitmap_of_other_length_or_with_blocks_beyond_the_end_is_refused(raw):
    assert BlockMap.decode(10, raw) is None


def test_a_size_that_no_disk_has_is_refused_before_anything_is_made_of_it(disk):
    root = Root(bytes(32))
    with pytest.raises(FileTooLarge):
        Partial.open(disk, "job", 0, 2**63 - 1, root)


def test_nothing_is_placed_in_the_folder_that_the_disk_takes_for_ours(
    disk, monkeypatch
):
    # As FAT takes FONSHA~1; what it is here called by another name is its own.
    monkeypatch.setattr(own_folder, "PRIVATE_FOLDER", b"ours")
    (disk.path / "ours").mkdir()
    with (
        pytest.raises(BadPath),
        folder_on_disk(disk, os.fsencode(disk.path / "ours" / "new")),
    ):
        pass
    assert not os.listdir(disk.path / "ours")
